"""The operations that faults are put into; each can be repeated after it was cut short, as a user would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from li_p_s_states import CONFIG, NODE, Lineage, evaluation, new_node
from upkeep_cases import furnished_node, make_old

from coevo.node_store.bundles.export import export_bundle, heads_of
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.lineage.transfers import bring_history
from coevo.node_store.store import NodeStore, open_store
from coevo.node_store.upkeep.garbage import collect_garbage
from coevo.settings import Settings

OTHER = "other"


@dataclass(frozen=True)
class Operation:
    """Something that changes a database.

    Attributes
    ----------
    prepare : callable
        Makes the database that it begins with; the second argument is a directory for files beside it.
    run : callable
        Does it; doing it again completes it, or changes nothing.
    """

    prepare: Callable[[NodeStore, Path], None]
    run: Callable[[NodeStore, Path], None]


def _continued(store: NodeStore, parents: tuple[str, ...], iteration: int, variant: int = 0) -> Lineage:
    """The lineage as it was when the parent was committed: drafts are drawn from seeds, so they are made again."""
    lineage = new_node(store)
    for number in range(iteration):
        lineage.iteration = number
        lineage.draft()
    lineage.parents, lineage.iteration, lineage.variant = parents, iteration, variant
    return lineage


def _prepare_commit(store: NodeStore, files: Path) -> None:
    furnished_node(store)


def _commit(store: NodeStore, files: Path) -> None:
    """A third state on main."""
    parent = store.state(f"{NODE}@main")
    start = parent.id if parent.iteration == 1 else parent.parents[0]
    store.commit(_continued(store, (start,), 2).draft(n_entries=6), "main", start)


def _prepare_branches(store: NodeStore, files: Path) -> None:
    furnished_node(store)
    store.create_branch(store.state(f"{NODE}~1"), "behind")
    store.create_branch(store.state(f"{NODE}@try"), "old")


def _move_branches(store: NodeStore, files: Path) -> None:
    """One branch is made, one goes forward, one is deleted."""
    head, before = store.state(f"{NODE}@main"), store.state(f"{NODE}@main~1")
    store.create_branch(before, "made.1")
    if store.head(NODE, "behind") != head.id:
        store.move_branch(head, "behind", before.id)
    if store.head(NODE, "old") is not None:
        store.delete_branch(NODE, "old")


def _prepare_merge(store: NodeStore, files: Path) -> None:
    """Another node of the same database, whose history begins with a state that this one has not."""
    lineage = furnished_node(store)
    text = store.read_config_text(NODE).replace(NODE, OTHER)
    store.create_node(OTHER, ["Li", "P", "S"], {**CONFIG, "node": {**CONFIG["node"], "name": OTHER}}, text)
    other = Lineage(store, variant=6)
    first = store.commit(other.draft(node=OTHER, n_entries=3), "main", None)
    other.parents, other.iteration = (first,), 1
    store.commit(other.draft(node=OTHER, n_entries=2), "main", first)
    assert lineage.iteration == 2


def _merge(store: NodeStore, files: Path) -> None:
    """The other node's history is brought here, and a state of two parents committed."""
    theirs = store.state(OTHER)
    right = bring_history(store, theirs, NODE)
    main = store.state(f"{NODE}@main")
    left = main if main.iteration == 1 else store.state(f"{NODE}@{main.parents[0]}")
    ours = _continued(store, (left.id, right.id), 2)
    draft = ours.draft(n_entries=1, message="merged")
    known = {document["structure_id"] for document in draft.evaluations}
    other = Lineage(store, variant=6)
    for number in range(2):
        other.iteration = number
        other.draft(n_entries=3 - number)
    for structures, kind in ((other.entries, "entry"), (other.references, "reference")):
        made = [evaluation(structure, kind, 77 + number) for number, structure in enumerate(structures)]
        draft.evaluations += [document for document in made if document["structure_id"] not in known]
    draft.splits = {**draft.splits, **other.splits}
    store.commit(draft, "main", left.id)


def _prepare_import(store: NodeStore, files: Path) -> None:
    """A bundle of a node with two branches, and a database that has its first state only."""
    source = open_store(Settings(database=f"file:{files / 'source'}"))
    furnished_node(source)
    export_bundle(source, heads_of(source, NODE, whole_node=True), files / "bundle.zip")
    export_bundle(source, {"main": source.state(f"{NODE}~1")}, files / "first.zip")
    import_bundle(store, files / "first.zip")


def _import(store: NodeStore, files: Path) -> None:
    import_bundle(store, files / "bundle.zip")


def _prepare_gc(store: NodeStore, files: Path) -> None:
    """Two states that no branch has, and artifacts that nothing names, all of them old."""
    lineage = furnished_node(store)
    fork = lineage.fork(variant=3)
    first = store.commit(fork.draft(n_entries=2, n_labels=1), "loose", None)
    fork.parents, fork.iteration = (first,), fork.iteration + 1
    store.commit(fork.draft(n_entries=1, n_labels=1), "loose", first)
    store.delete_branch(NODE, "loose")
    for number in range(4):
        store.artifacts.put_bytes(b"nobody wants this %d" % number)
    make_old(store)


def _gc(store: NodeStore, files: Path) -> None:
    collect_garbage(store, delete=True, artifacts_not_shared=True)


OPERATIONS: dict[str, Operation] = {
    "commit": Operation(_prepare_commit, _commit),
    "branch": Operation(_prepare_branches, _move_branches),
    "merge": Operation(_prepare_merge, _merge),
    "import": Operation(_prepare_import, _import),
    "gc": Operation(_prepare_gc, _gc),
}
