"""Import: a bundle is verified as a whole, then its blobs and states are stored, and the branches are moved last."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.configs.describing import local_values
from coevo.configs.loading import leaves, parse_config
from coevo.errors import BranchMovedError, CheckpointError, CorruptArtifactError, NodeExistsError
from coevo.node_store.bundles.archive import Archive
from coevo.node_store.bundles.config import node_config
from coevo.node_store.bundles.format import BundleLimits, silent_task
from coevo.node_store.bundles.reader import MEGABYTE, BundleReader, Megabytes
from coevo.node_store.lineage.transfers import put_state
from coevo.node_store.runs import now
from coevo.node_store.seeds import note_seed
from coevo.node_store.states import kept_names
from coevo.node_store.study_documents import put_study, read_study, study_keys
from coevo.node_store.trust.arrivals import live_values, note_arrived, note_configuration, note_omitted, unagreed
from coevo.node_store.trust.loading import declared_checkpoints, loader_for, mark_imported
from coevo.node_store.views import open_state

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.node_store.bundles.format import Member, OmittedCheckpoint, Task
    from coevo.node_store.store import NodeStore
    from coevo.node_store.trust.loading import Declared

_ATTEMPTS = 5


@dataclass
class BranchReport:
    """What became of a branch of a bundle.

    Attributes
    ----------
    branch : str
    state : str
        The state of the bundle.
    outcome : {"created", "fast-forwarded", "unchanged", "ahead", "kept"}
        Ahead: the branch of this node contains the state already. Kept: it has diverged, and the state is branch ``kept_as``.
    kept_as : str or None
    """

    branch: str
    state: str
    outcome: str
    kept_as: str | None = None


@dataclass
class ImportReport:
    """What was imported.

    Attributes
    ----------
    node : str
    created : bool
        Whether the node is new.
    states, states_added : int
        In the bundle, and of these those that the node had not.
    entries, references, labels : int
        Structures, references and labels of all states, each once.
    blobs, blobs_added : int
    studies, studies_added : int
    branches : list of BranchReport
    configuration : dict
        Values of the node's live configuration that came in a bundle and that nobody has agreed to, by their keys.
    untrusted : dict
        Checkpoints of the bundle that are not loaded until somebody trusts them, sha256 to reason.
    not_loadable : dict
        Those that nothing here reads as what they are declared to be, sha256 to reason; trust alone does not help.
    omitted : list of OmittedCheckpoint
        Checkpoints that a thin bundle left out.
    not_here : list of OmittedCheckpoint
        Those of them that this store has not.
    """

    node: str
    created: bool = False
    states: int = 0
    states_added: int = 0
    entries: int = 0
    references: int = 0
    labels: int = 0
    blobs: int = 0
    blobs_added: int = 0
    studies: int = 0
    studies_added: int = 0
    branches: list[BranchReport] = field(default_factory=list)
    untrusted: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    not_loadable: dict[str, str] = field(default_factory=dict)
    omitted: list[OmittedCheckpoint] = field(default_factory=list)
    not_here: list[OmittedCheckpoint] = field(default_factory=list)


def import_bundle(
    store: NodeStore,
    path: Path,
    *,
    node: str | None = None,
    trust: bool = False,
    limits: BundleLimits | None = None,
    task: Task = silent_task,
) -> ImportReport:
    """Bring the states of a bundle into a node.

    Nothing becomes visible before everything in the bundle has been verified, and no branch moves before all states are stored. A
    bundle that is imported again changes nothing; an import that was killed is completed by the next one.

    Parameters
    ----------
    store : NodeStore
    path : Path
    node : str, optional
        Name of the node; that of the bundle by default. Created if it does not exist.
    trust : bool
        Trust the checkpoints of the bundle, also those whose loader can run code.
    limits : BundleLimits, optional
    task : Task
        Told of the progress.

    Raises
    ------
    BundleError
        If the file is no bundle, is over a limit, is damaged or hostile; nothing was stored.
    NodeExistsError
        If a node of the name has other elements.
    StorageError
        If the storage fails; import again.
    """
    with Archive(path, limits or BundleLimits()) as archive:
        bundle = BundleReader(archive)
        name = bundle.contents.node.name if node is None else node
        creation = _creation(store, bundle, name)
        bundle.verify(task)
        if creation is None:
            _refuse_another_force_field(store, bundle, name)
        report = ImportReport(name, created=creation is not None)
        _note_arrivals(store, bundle, name, creation)
        _store_blobs(store, bundle, report, trust=trust, task=task)
        if creation is not None:
            store.create_node(name, bundle.contents.node.elements, *creation)
        _store_states(store, bundle, report, task)
        _store_studies(store, bundle, report)
        here = store.backend.branches(name)
        for branch, state in sorted(bundle.contents.heads.items()):
            if branch in bundle.contents.seeds and branch not in here:
                note_seed(store.backend, name, branch, state, bundle.contents.seeds[branch])
            report.branches.append(_move_branch(store, name, branch, state))
        waiting = unagreed(store, name).values()
        live = live_values(store, name)
        report.configuration = {r["key"]: r["value"] for r in waiting if live.get(r["key"]) == r["value"]}
        return report


def _creation(store: NodeStore, bundle: BundleReader, name: str) -> tuple[dict[str, Any], str] | None:
    """Return configuration and text with which the node is to be created; None if it is there already."""
    elements = bundle.contents.node.elements
    config, text = node_config(bundle.contents.node, name, bundle.archive.path, checked=name not in store.nodes())
    if name not in store.nodes():
        return config, text
    found = store.node(name).elements
    if sorted(found) != sorted(elements):
        raise NodeExistsError(
            f"node {name} exists already with elements {', '.join(found)}; the bundle's are {', '.join(elements)}; import it "
            "under another name: --as NODE"
        )
    return None


def _refuse_another_force_field(store: NodeStore, bundle: BundleReader, name: str) -> None:
    """Refuse states of another energy scale or family than the node's: energies of two scales never meet in one node.

    Raises
    ------
    NodeExistsError
        Nothing was stored.
    """
    here = _force_field(store.node(name).config)
    for branch, state in sorted(bundle.contents.heads.items()):
        there = _force_field(bundle.document(state)["config"])
        if any(one is not None and other is not None and one != other for one, other in zip(here, there, strict=True)):
            raise NodeExistsError(
                f"node {name} exists already, with the force field {here[0]} on the energy scale {here[1]}; branch {branch} of "
                f"the bundle has {str(there[0])[:40]} on {str(there[1])[:40]}; import it under another name: --as NODE"
            )


def _force_field(config: dict[str, Any]) -> tuple[Any, Any]:
    """Family and energy scale of a configuration, as far as it says them."""
    found = leaves(config)
    return found.get("screening.force_field.family"), found.get("node.energy_scale")


def _note_arrivals(store: NodeStore, bundle: BundleReader, node: str, creation: tuple[dict[str, Any], str] | None) -> None:
    """Remember what of the bundle the user has to agree to, and what it left out, before anything of it is stored."""
    origin = f"it came with {bundle.archive.path.name}, imported into node {node} on {now()[:10]}"
    values = []
    if creation is not None:
        live = parse_config(creation[1], "its configuration").model_dump(mode="json")
        values += [*local_values(live).items(), *local_values(creation[0]).items()]
    left_out: dict[str, None] = {}
    for state in bundle.contents.states:
        if creation is None and _is_stored(store, node, state):
            continue
        document = bundle.document(state)
        values += local_values(document["config"]).items()
        for checkpoint in document["checkpoints"].values():
            if checkpoint["sha256"] not in bundle.blobs and not store.artifacts.has(checkpoint["sha256"]):
                left_out[checkpoint["sha256"]] = None
    note_configuration(store, node, values, origin)
    note_omitted(store, node, left_out, origin)


# --- blobs and trust


def _store_blobs(store: NodeStore, bundle: BundleReader, report: ImportReport, *, trust: bool, task: Task) -> None:
    declared = declared_checkpoints(bundle.document(state) for state in bundle.contents.states)
    # marks before blobs: an import that dies in between leaves nothing that could be taken for our own
    origin = f"it came with {bundle.archive.path.name}, imported into node {report.node} on {now()[:10]}"
    mark_imported(store, bundle.blobs, declared, origin)
    if trust:
        for sha256 in sorted(declared):
            store.backend.mark_trusted(sha256, origin)
    total = sum(member.size for member in bundle.blobs.values())
    with task("storing blobs", total // MEGABYTE, "MB") as advance:
        done = Megabytes(advance)
        for _, member in sorted(bundle.blobs.items()):
            report.blobs_added += _store_blob(store, bundle, member)
            done.add(member.size)
    note_arrived(store, set(bundle.blobs))
    report.blobs = len(bundle.blobs)
    report.omitted = bundle.contents.omitted_checkpoints
    report.not_here = [checkpoint for checkpoint in report.omitted if not store.artifacts.has(checkpoint.sha256)]
    _report_trust(store, declared, report)


def _report_trust(store: NodeStore, declared: Declared, report: ImportReport) -> None:
    """Say which checkpoints cannot be loaded, be it for want of a loader or of trust."""
    marked = store.backend.untrusted()
    for sha256, uses in sorted(declared.items()):
        for role, checkpoint in uses:
            try:
                loader = loader_for(checkpoint, role)
            except CheckpointError as err:
                report.not_loadable[sha256] = str(err)
                if sha256 in marked:
                    report.untrusted.setdefault(sha256, f"nothing here is known to read it; {marked[sha256]}")
                continue
            if loader.runs_code and sha256 in marked and sha256 not in loader.published.values():
                report.untrusted[sha256] = f"reading {loader} can run code of whoever made it; {marked[sha256]}"


def _store_blob(store: NodeStore, bundle: BundleReader, member: Member) -> bool:
    new = not store.artifacts.has(member.sha256)
    with bundle.archive.open(member) as stream:
        store.artifacts.put_stream(stream, member.sha256)  # type: ignore[arg-type]
    return new


# --- states and branches


def _store_states(store: NodeStore, bundle: BundleReader, report: ImportReport, task: Task) -> None:
    members: dict[str, set[str]] = {"structures": set(), "references": set(), "labels": set()}
    states = bundle.contents.states
    with task("storing states", len(states), "states") as advance:
        for state in states:
            document = bundle.document(state)
            prepared = bundle.prepared(document)
            for kind, ids in members.items():
                ids.update(prepared.manifest[kind])
            if not _is_stored(store, report.node, state):
                put_state(store, report.node, prepared)
                report.states_added += 1
            advance(1)
    report.states = len(states)
    report.entries, report.references, report.labels = (len(ids) for ids in members.values())


def _store_studies(store: NodeStore, bundle: BundleReader, report: ImportReport) -> None:
    """Store the studies that are not here, in their order; what says the same as one that was made here stays that one."""
    origin = f"it came with {bundle.archive.path.name}"
    here = set(study_keys(store.backend, report.node))
    for study in bundle.contents.studies:
        if (study.state, study.id) not in here or not _is_study(store, report.node, study.state, study.id):
            put_study(store.backend, report.node, bundle.study(study), now(), origin)
            report.studies_added += 1
    report.studies = len(bundle.contents.studies)


def _is_stored(store: NodeStore, node: str, state: str) -> bool:
    # one that is damaged is stored again
    with suppress(CorruptArtifactError):
        return store.backend.state_document(node, state) is not None
    return False


def _is_study(store: NodeStore, node: str, state: str, study: str) -> bool:
    # one that is damaged is stored again
    with suppress(CorruptArtifactError):
        return read_study(store.backend, node, state, study) is not None
    return False


def _move_branch(store: NodeStore, node: str, branch: str, state: str) -> BranchReport:
    """Create or fast-forward a branch; where it has diverged, keep the state under another name."""
    view = open_state(store.backend, store.artifacts, node, state)
    ancestors = {ancestor.id for ancestor in view.ancestors()}
    for _ in range(_ATTEMPTS):  # somebody else may move the branch meanwhile
        found = store.backend.branches(node).get(branch)
        if found == state:
            return BranchReport(branch, state, "unchanged")
        if found is not None and found not in ancestors:
            break
        with suppress(BranchMovedError):
            store.move_branch(view, branch, found)
            return BranchReport(branch, state, "created" if found is None else "fast-forwarded")
    assert found is not None
    head = open_state(store.backend, store.artifacts, node, found)
    if any(ancestor.id == state for ancestor in head.ancestors()):
        return BranchReport(branch, state, "ahead")
    for kept_as in kept_names(branch, state):
        if store.backend.move_branch(node, kept_as, None, state) in {None, state}:
            break
    return BranchReport(branch, state, "kept", kept_as)
