"""The node store: nodes, states, branches, campaigns and job results over one database and one artifact store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

from coevo.errors import (
    BranchExistsError,
    BranchMovedError,
    CampaignError,
    ConfigError,
    NodeExistsError,
    NodeNotFoundError,
    StateNotFoundError,
    UnmergedBranchError,
)
from coevo.node_store import seeds
from coevo.node_store.blobs.artifacts import ArtifactStore
from coevo.node_store.canonical import digest, plain
from coevo.node_store.documents import NODE_NAME, SCHEMA_VERSION, NodeDocument
from coevo.node_store.names import MAIN, find_state, parse_reference
from coevo.node_store.runs import Campaigns, check_branch_name, now
from coevo.node_store.states import commit
from coevo.node_store.study_documents import read_studies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.node_store.backend import Backend
    from coevo.node_store.states import StateDraft
    from coevo.node_store.study_documents import StoredStudy
    from coevo.node_store.views import StateView
    from coevo.settings import Settings


def open_store(settings: Settings | None = None) -> NodeStore:
    """Open the database and artifact store that the settings (``COEVO_*`` variables by default) name.

    Raises
    ------
    ConfigError
        If the settings are not valid.
    """
    from coevo.settings import read_settings

    settings = settings or read_settings()
    backend: Backend
    if settings.is_embedded:
        from coevo.node_store.directory.database import EmbeddedBackend

        backend = EmbeddedBackend(settings.directory)
        return NodeStore(backend, ArtifactStore(settings.artifacts or str(backend.directory / "blobs")))
    from coevo.node_store.mongodb.database import MongoBackend

    assert settings.artifacts is not None
    return NodeStore(MongoBackend(settings.database), ArtifactStore(settings.artifacts))


class NodeStore(Campaigns):
    """A database of nodes.

    Attributes
    ----------
    backend : Backend
        The documents; for the modules of this package.
    artifacts : ArtifactStore
        Blobs: checkpoints, shards, manifests.
    """

    def __init__(self, backend: Backend, artifacts: ArtifactStore):
        self.backend = backend
        self.artifacts = artifacts

    def close(self) -> None:
        """Give connections to a server back; a store of an embedded database needs no closing."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- nodes

    def create_node(self, name: str, elements: Sequence[str], config: dict[str, Any], config_text: str) -> None:
        """Create a node; creating the same node again changes nothing.

        Raises
        ------
        NodeExistsError
            If a node of this name was created with other elements or another configuration.
        ConfigError
            If the name cannot be one of a node.
        """
        if not re.fullmatch(NODE_NAME, name):
            raise ConfigError(f"{name!r} cannot name a node: allowed are 1 to 64 of a-z 0-9 . - _, the first a letter or digit")
        document = {
            "name": name,
            "elements": sorted(elements),
            "config": plain(config),
            "config_text": config_text,
            "created": now(),
            "schema_version": SCHEMA_VERSION,
        }
        stored = self.backend.create_node(document)
        for key in ("elements", "config"):
            if digest(_without_resources(stored[key])) != digest(_without_resources(document[key])):
                what = "another configuration" if key == "config" else "other elements"
                raise NodeExistsError(
                    f"node {name} exists already, with {what}: it was created on {stored['created'][:19]} with elements "
                    f"{', '.join(stored['elements'])}; choose another name, or run the node that is there"
                )

    def nodes(self) -> list[str]:
        """Return the names of all nodes, sorted."""
        return self.backend.node_names()

    def node(self, name: str) -> NodeDocument:
        """Return a node's document, with its live configuration and its branches.

        Raises
        ------
        NodeNotFoundError
            If there is none of this name.
        """
        stored = self._node(name)
        branches: dict[str, str | None] = {MAIN: None, **self.backend.branches(name)}
        return NodeDocument(**{**stored, "config_text": self.backend.read_config_text(name), "branches": branches})

    def _node(self, name: str) -> dict[str, Any]:
        stored = self.backend.node_document(name) if re.fullmatch(NODE_NAME, name) else None
        if stored is None:
            known = ", ".join(self.nodes()) or "none"
            raise NodeNotFoundError(
                f"there is no node {name!r}; nodes of the database {self.place}: {known}; coevo init creates one"
            )
        if stored["schema_version"] > SCHEMA_VERSION:
            raise ConfigError(
                f"node {name} has schema version {stored['schema_version']}, this coevo reads up to {SCHEMA_VERSION}; "
                "install a newer coevo"
            )
        if stored["schema_version"] < SCHEMA_VERSION:
            raise ConfigError(
                f"node {name} is stored as schema version {stored['schema_version']}, this coevo reads and writes version "
                f"{SCHEMA_VERSION}; bring it there (its states keep their ids): coevo migrate {name}"
            )
        return stored

    def read_config_text(self, name: str) -> str:
        """Return the live configuration of a node, YAML."""
        self._node(name)
        return self.backend.read_config_text(name)

    def config_source(self, name: str) -> str:
        """Say where the live configuration of a node stands, for messages."""
        return self.backend.config_source(name)

    def log_directory(self, node: str) -> Path | None:
        """Where logs of a node can be written beside it; None if the database is on a server."""
        return self.backend.log_directory(node)

    @property
    def place(self) -> str:
        """Where the database is, for messages."""
        return self.backend.place

    def write_config_text(self, name: str, text: str) -> None:
        """Replace the live configuration of a node; the next state records it."""
        self._node(name)
        self.backend.write_config_text(name, text)

    # --- states

    def head(self, node: str, branch: str = MAIN) -> str | None:
        """Return the state id of a branch, or None if the branch has no state yet."""
        self._node(node)
        return self.backend.branches(node).get(branch)

    def state(self, ref: str) -> StateView:
        """Open a state: ``node``, ``node@branch``, ``node@branch~n`` (n states back) or ``node@idprefix``.

        Raises
        ------
        NodeNotFoundError
            If there is no such node.
        StateNotFoundError
            If no state answers to the reference; the message says what there is.
        """
        match = parse_reference(ref)
        self._node(match.node)
        return find_state(self.backend, self.artifacts, match)

    # --- branches

    def create_branch(self, view: StateView, name: str, *, seed: int | None = None) -> int:
        """Give a state of this store a branch of its own; creating the same branch again changes nothing.

        Parameters
        ----------
        view : StateView
        name : str
        seed : int, optional
            With which the branch goes on, in [0, 2**32); 0 is the node's own. That of the state by default.

        Returns
        -------
        int
            The seed with which the branch goes on.

        Raises
        ------
        ConfigError
            If the name cannot be one of a branch, or the seed is none.
        BranchExistsError
            If the branch is there already, at another state.
        CampaignError
            If the branch is there already, and its unfinished campaign uses another seed.
        """
        check_branch_name(name)
        seeds.check_seed(seed)
        if seed is not None and self.head(view.node, name) in {None, view.id}:
            # before the branch: one that a crash leaves without it would do the work of another branch again
            seeds.give_seed(self.backend, name, view, seed)
        found = self.backend.move_branch(view.node, name, None, view.id)
        if found not in {None, view.id}:
            raise BranchExistsError(
                f"branch {name} of node {view.node} exists already, at state {str(found)[:16]}; choose another name, or "
                f"delete it first: coevo branch {view.node}@{name} --delete"
            )
        return seeds.seed_of_branch(self.backend, view.node, name, view)

    def delete_branch(self, node: str, name: str, *, unmerged: bool = True) -> str:
        """Remove a branch and return the state at which it was; the state stays until garbage is collected.

        Parameters
        ----------
        node, name : str
        unmerged : bool
            Also if no other branch is at its state or descends from it; as ``git branch -D`` and not ``-d``.

        Raises
        ------
        UnmergedBranchError
            If no other branch holds its work, and ``unmerged`` is false.
        StateNotFoundError
            If there is no such branch.
        NodeBusyError
            If another process is running this branch.
        CampaignError
            If a campaign of the branch is not finished.
        BranchMovedError
            If another process moved the branch meanwhile.
        """
        head = self.head(node, name)
        if head is None:
            known = ", ".join(self.backend.branches(node)) or "none"
            raise StateNotFoundError(f"node {node} has no branch {name!r}; branches: {known}")
        with self.run_lock(node, name):  # no campaign starts in between
            unfinished = self.unfinished_campaign(node, name)
            if unfinished:
                raise CampaignError(
                    f"campaign {unfinished.id} of {node}@{name} is not finished; finish it before the branch is deleted: "
                    f"coevo run {node} --branch {name}"
                )
            if not unmerged and not self._is_held_elsewhere(node, name, head):
                raise UnmergedBranchError(
                    f"branch {name} of node {node} was not removed: no other branch is at its state {head[:12]} or descends from "
                    f"it, so its work would be lost; merge it first, keep it by another name (coevo branch {node}@{head[:12]} "
                    f"NAME), or insist: coevo branch {node}@{name} --delete --force"
                )
            found = self.backend.delete_branch(node, name, head)
        if found not in {head, None}:  # None: another process has removed it just now
            raise BranchMovedError(
                f"branch {name} of node {node} moved while it was deleted: expected {head}, found {found}; it was kept",
                expected=head,
                found=found,
                kept_as=name,
            )
        seeds.forget_seed(self.backend, node, name)
        return head

    def _is_held_elsewhere(self, node: str, name: str, head: str) -> bool:
        """Whether another branch is at a state, or descends from it."""
        others = {state for other, state in self.backend.branches(node).items() if other != name}
        return head in others or any(
            ancestor.id == head for state in sorted(others) for ancestor in self.state(f"{node}@{state}").ancestors()
        )

    def move_branch(self, view: StateView, branch: str, expected: str | None) -> None:
        """Move a branch to a state of its node (a fast-forward), if it is at ``expected`` (None: no such branch yet).

        Raises
        ------
        BranchMovedError
            If the branch is elsewhere; it stays there.
        BranchExistsError
            If the state does not descend from ``expected``: states would be left without a branch, and collected as garbage.
        """
        check_branch_name(branch)
        if expected not in {None, view.id} and all(ancestor.id != expected for ancestor in view.ancestors()):
            raise BranchExistsError(
                f"branch {branch} of node {view.node} cannot move from {expected} to {view.id}, which does not descend from it; "
                "merge them, or give the state a branch of its own"
            )
        found = self.backend.move_branch(view.node, branch, expected, view.id)
        if found not in {expected, view.id}:
            raise BranchMovedError(
                f"branch {branch} of node {view.node} is not at {expected} but at {found}; it was not moved",
                expected=expected,
                found=found,
                kept_as=branch,
            )
        seed = seeds.noted_seed(self.backend, view.node, branch, expected) if expected else None
        if seed is not None:  # the branch keeps a seed that no state of its own has recorded yet
            seeds.note_seed(self.backend, view.node, branch, view.id, seed)

    # --- commit

    def commit(self, draft: StateDraft, branch: str = MAIN, expected: str | None = None) -> str:
        """Store a state and move a branch to it: artifacts, documents, state document, then compare-and-swap.

        A crash anywhere leaves the branch where it was, and committing the same draft again completes it. If the branch is
        already at this state, or descends from it, the commit has succeeded before and changes nothing.

        Parameters
        ----------
        draft : StateDraft
        branch : str
        expected : str or None
            State id at which the branch was when the work began; None for a branch without a state.

        Returns
        -------
        str
            The state id.

        Raises
        ------
        BranchMovedError
            If the branch is elsewhere. The work is kept: the state is stored, as branch ``NAME-<first 8 digits of its id>``.
        ArtifactNotFoundError
            If a checkpoint or sample that the draft names is not in the artifact store.
        ValueError
            If the draft is not complete and consistent.
        StorageError
            If the storage fails; nothing visible has changed.
        """
        self._node(draft.node)
        return commit(self.backend, self.artifacts, draft, branch, expected)

    # --- studies

    def studies(self, node: str, state: str | None = None) -> list[StoredStudy]:
        """Return the studies of a node, or of the state of this full id, in the order in which they were stored."""
        self._node(node)
        return read_studies(self.backend, node, state)

    # --- jobs

    def job_result(self, key: str) -> dict[str, Any] | None:
        """Return the result document stored under a job key, or None."""
        return self.backend.job_result(key)

    def put_job_result(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        """Store a result unless the key has one; return the one that is stored: the first writer's."""
        return self.backend.put_job_result(key, document)

    def drop_job_result(self, key: str) -> None:
        """Forget a job's result: its artifacts are gone, so it cannot be used."""
        self.backend.drop_job_result(key)


def _without_resources(value: Any) -> Any:
    """Leave out of a configuration what says how fast and not what; other values are returned as they are."""
    return {key: item for key, item in value.items() if key != "resources"} if isinstance(value, dict) else value
