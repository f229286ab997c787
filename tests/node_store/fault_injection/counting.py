"""What a database holds and shows, and what was lost, doubled or is half visible after a fault."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from coevo.errors import CoevoError
from coevo.node_store.blobs.stored import stored_blobs
from coevo.node_store.directory.database import EmbeddedBackend
from coevo.node_store.store import NodeStore
from coevo.node_store.upkeep.verification import verify
from coevo.node_store.views import StateView


@dataclass
class Contents:
    """Everything that a reader gets who starts at the branches, and everything that is stored.

    Attributes
    ----------
    branches : dict
        ``node@branch`` to state id.
    states : dict
        ``node@state`` to how often each of its documents comes.
    stored : Counter
        How often each thing is stored, be it visible or not.
    problems : list of str
        What verification finds, and what cannot be read.
    """

    branches: dict[str, str] = field(default_factory=dict)
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def contents(store: NodeStore) -> Contents:
    """Read a database as a whole."""
    found = Contents()
    for node in store.nodes():
        found.problems += [f"{problem.where}: {problem.what}" for problem in verify(store, node).problems]
        for branch, head in store.node(node).branches.items():
            if head is not None:
                found.branches[f"{node}@{branch}"] = head
                _add_history(store, node, head, found)
    found.stored = dict(_stored(store))
    return found


def _add_history(store: NodeStore, node: str, head: str, found: Contents) -> None:
    try:
        view = store.state(f"{node}@{head}")
        for state in (view, *view.ancestors()):
            found.states[f"{node}@{state.id}"] = dict(_documents(store, state))
    except (CoevoError, AssertionError, KeyError) as err:
        found.problems.append(f"{node}@{head} cannot be read: {type(err).__name__}: {err}")


def _documents(store: NodeStore, view: StateView) -> Counter[str]:
    documents: Counter[str] = Counter()
    documents.update(f"structure {d['_id']}" for d in view.structure_documents())
    documents.update(f"reference {d['_id']}" for d in view.references())
    documents.update(f"label {d['_id']} {d['split']}" for d in view.labels())
    documents.update(f"evaluation {d['structure_id']} {d['energy_per_atom']!r}" for d in view.evaluations())
    named = [checkpoint["sha256"] for checkpoint in view.document["checkpoints"].values()]
    for sha256 in [*named, *view.manifest["samples"].values()]:
        store.artifacts.check(sha256)
        documents[f"artifact {sha256}"] += 1
    return documents


def _stored(store: NodeStore) -> Counter[str]:
    found: Counter[str] = Counter(f"blob {blob.sha256}" for blob in stored_blobs(store.artifacts))
    backend = store.backend
    if isinstance(backend, EmbeddedBackend):
        for node in store.nodes():
            found.update(f"state {node} {state}" for state in backend.state_ids(node))
            found.update(f"campaign {campaign['id']}" for campaign in backend.campaigns(node))
        found.update(f"job {key}" for key in backend.job_keys())
        return found
    database = backend.connection.database  # type: ignore[attr-defined]
    for name in database.list_collection_names():
        if name != "locks":
            key = {"evaluations": ("state", "structure_id"), "state_labels": ("state", "label"), "states": ("node", "state")}
            fields = key.get(name, ("_id",))
            found.update(f"{name} {[row.get(field) for field in fields]}" for row in database[name].find())
    return found


@dataclass
class Harm:
    """Numbers of documents (and branches) that a fault harmed; all are 0 if the database keeps its promises.

    Attributes
    ----------
    lost : int
        Gone although they were there, or missing after the operation was repeated.
    doubled : int
        There more often than after an undisturbed operation.
    half_visible : int
        Seen by a reader who may not see them yet, or cannot see them whole.
    examples : list of str
    """

    lost: int = 0
    doubled: int = 0
    half_visible: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, what: str, number: int, example: str) -> None:
        if number:
            setattr(self, what, getattr(self, what) + number)
            self.examples.append(f"{what}: {number} {example}")

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.half_visible)


def harm_at_once(before: Contents, after: Contents, seen: Contents) -> Harm:
    """Judge what a reader sees after a fault: every branch where it was or where it goes, and every state of it whole."""
    harm = Harm()
    for problem in seen.problems:
        harm.add("half_visible", 1, problem)
    for name in {*before.branches, *after.branches, *seen.branches}:
        allowed = {before.branches.get(name), after.branches.get(name)}
        if seen.branches.get(name) not in allowed:
            what = "lost" if name not in seen.branches else "half_visible"
            harm.add(what, 1, f"branch {name} is at {seen.branches.get(name)}, allowed {allowed}")
    known = {**before.states, **after.states}
    for name, documents in seen.states.items():
        if name not in known:
            harm.add("half_visible", len(documents), f"state {name} that nobody commits")
        elif documents != known[name]:
            lacking = Counter(known[name]) - Counter(documents)
            more = Counter(documents) - Counter(known[name])
            harm.add("half_visible", lacking.total(), f"documents of {name} are missing, e.g. {next(iter(lacking), '')}")
            harm.add("doubled", more.total(), f"documents of {name} are there too often, e.g. {next(iter(more), '')}")
    for name in before.states.keys() & after.states.keys() - seen.states.keys():
        harm.add("lost", len(before.states[name]), f"documents of {name}, which was there before")
    return harm


def harm_in_the_end(after: Contents, found: Contents) -> Harm:
    """Judge a database in which the operation was repeated by one in which it was never disturbed."""
    harm = Harm()
    for problem in found.problems:
        harm.add("half_visible", 1, problem)
    for name in {*after.branches, *found.branches}:
        if found.branches.get(name) != after.branches.get(name):
            harm.add("lost", 1, f"branch {name} is at {found.branches.get(name)}, not at {after.branches.get(name)}")
    for name in {*after.states, *found.states}:
        _compare(harm, f"documents of {name}", Counter(after.states.get(name, {})), Counter(found.states.get(name, {})))
    _compare(harm, "stored", Counter(after.stored), Counter(found.stored))
    return harm


def _compare(harm: Harm, what: str, expected: Counter[str], found: Counter[str]) -> None:
    lacking, more = expected - found, found - expected
    harm.add("lost", lacking.total(), f"{what}, e.g. {next(iter(lacking), '')}")
    harm.add("doubled", more.total(), f"{what}, e.g. {next(iter(more), '')}")
