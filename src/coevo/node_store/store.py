"""The node store: nodes, states, branches, campaigns and job results over one database and one artifact store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

from coevo.errors import (
    ArtifactNotFoundError,
    BranchMovedError,
    CampaignError,
    ConfigError,
    CorruptArtifactError,
    NodeExistsError,
    NodeNotFoundError,
    StateNotFoundError,
)
from coevo.node_store.artifacts import ArtifactStore
from coevo.node_store.canonical import digest, plain
from coevo.node_store.documents import BRANCH_NAME, NODE_NAME, SCHEMA_VERSION, CampaignDocument, NodeDocument
from coevo.node_store.runs import now
from coevo.node_store.states import prepare
from coevo.node_store.views import StateView, open_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from coevo.node_store.backend import Backend
    from coevo.node_store.states import PreparedState, StateDraft
    from coevo.settings import Settings

_REFERENCE = re.compile(r"(?P<node>[^@~]+)(?:@(?P<name>[^@~]+))?(?:~(?P<back>\d+))?")
_PREFIX = re.compile(r"[0-9a-f]{4,64}")
MAIN = "main"


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
        from coevo.node_store.embedded import EmbeddedBackend

        backend = EmbeddedBackend(settings.directory)
        return NodeStore(backend, ArtifactStore(settings.artifacts or str(backend.directory / "blobs")))
    from coevo.node_store.mongodb import MongoBackend

    assert settings.artifacts is not None
    return NodeStore(MongoBackend(settings.database), ArtifactStore(settings.artifacts))


class NodeStore:
    """A database of nodes.

    Attributes
    ----------
    artifacts : ArtifactStore
        Blobs: checkpoints, shards, manifests.
    """

    def __init__(self, backend: Backend, artifacts: ArtifactStore):
        self._backend = backend
        self.artifacts = artifacts

    def close(self) -> None:
        """Give connections to a server back; a store of an embedded database needs no closing."""
        self._backend.close()

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
        stored = self._backend.create_node(document)
        for key in ("elements", "config"):
            if digest(_without_resources(stored[key])) != digest(_without_resources(document[key])):
                what = "another configuration" if key == "config" else "other elements"
                raise NodeExistsError(
                    f"node {name} exists already, with {what}: it was created on {stored['created'][:19]} with elements "
                    f"{', '.join(stored['elements'])}; choose another name, or run the node that is there"
                )

    def nodes(self) -> list[str]:
        """Return the names of all nodes, sorted."""
        return self._backend.node_names()

    def node(self, name: str) -> NodeDocument:
        """Return a node's document, with its live configuration and its branches.

        Raises
        ------
        NodeNotFoundError
            If there is none of this name.
        """
        stored = self._node(name)
        branches: dict[str, str | None] = {MAIN: None, **self._backend.branches(name)}
        return NodeDocument(**{**stored, "config_text": self._backend.read_config_text(name), "branches": branches})

    def _node(self, name: str) -> dict[str, Any]:
        stored = self._backend.node_document(name) if re.fullmatch(NODE_NAME, name) else None
        if stored is None:
            known = ", ".join(self.nodes()) or "none"
            raise NodeNotFoundError(f"there is no node {name!r}; nodes of this database: {known}; coevo init creates one")
        if stored["schema_version"] > SCHEMA_VERSION:
            raise ConfigError(
                f"node {name} has schema version {stored['schema_version']}, this coevo reads up to {SCHEMA_VERSION}; "
                "install a newer coevo"
            )
        return stored

    def read_config_text(self, name: str) -> str:
        """Return the live configuration of a node, YAML."""
        self._node(name)
        return self._backend.read_config_text(name)

    def config_source(self, name: str) -> str:
        """Say where the live configuration of a node stands, for messages."""
        return self._backend.config_source(name)

    def write_config_text(self, name: str, text: str) -> None:
        """Replace the live configuration of a node; the next state records it."""
        self._node(name)
        self._backend.write_config_text(name, text)

    # --- states

    def head(self, node: str, branch: str = MAIN) -> str | None:
        """Return the state id of a branch, or None if the branch has no state yet."""
        self._node(node)
        return self._backend.branches(node).get(branch)

    def resolve(self, ref: str) -> StateView:
        """Open a state: ``node``, ``node@branch``, ``node@branch~n`` (n states back) or ``node@idprefix``.

        Raises
        ------
        NodeNotFoundError
            If there is no such node.
        StateNotFoundError
            If no state answers to the reference; the message says what there is.
        """
        match = _REFERENCE.fullmatch(ref)
        if not match:
            raise StateNotFoundError(f"{ref!r} is no reference to a state; write NODE, NODE@BRANCH, NODE@BRANCH~N or NODE@ID")
        node, name, back = match["node"], match["name"] or MAIN, int(match["back"] or 0)
        self._node(node)
        view = open_state(self._backend, self.artifacts, node, self._find(node, name))
        for step in range(back):
            parent = view.parent()
            if parent is None:
                raise StateNotFoundError(f"{ref!r} goes {back} states back, but {node}@{name} has only {step} before it")
            view = parent
        return view

    def _find(self, node: str, name: str) -> str:
        branches = self._backend.branches(node)
        if name in branches:
            if self._backend.state_document(node, branches[name]) is None:
                raise CorruptArtifactError(
                    f"branch {name} of node {node} is at state {branches[name]}, which is not stored any more; restore the state "
                    "from a copy"
                )
            return branches[name]
        found = self._backend.state_ids(node, name) if _PREFIX.fullmatch(name) else []
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(state[:16] for state in found[:10])
            raise StateNotFoundError(f"{node}@{name} is ambiguous: {len(found)} states start with it ({shown}); give more digits")
        if not branches:
            raise StateNotFoundError(f"node {node} has no state yet; run coevo init again, which makes the first one")
        known = ", ".join(f"{branch} ({state[:8]})" for branch, state in branches.items())
        raise StateNotFoundError(f"node {node} has no branch or state {name!r}; branches: {known}; an id needs at least 4 digits")

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
        if not re.fullmatch(BRANCH_NAME, branch):
            raise ConfigError(
                f"{branch!r} cannot name a branch: allowed are letters, digits and . - _, the first a letter or digit"
            )
        self._node(draft.node)
        prepared = prepare(draft)
        if self._has_arrived(draft.node, self.head(draft.node, branch), prepared.id):
            return prepared.id
        self._check_complete(draft, prepared)
        manifest = self.artifacts.put_bytes(prepared.manifest_bytes)
        document = {**prepared.document, "manifest": manifest.to_dict(), "created": now()}
        self._backend.write_state(draft.node, document, prepared)
        found = self._backend.move_branch(draft.node, branch, expected, prepared.id)
        if found == expected or self._has_arrived(draft.node, found, prepared.id):
            return prepared.id
        raise self._lost_race(draft.node, branch, expected, found, prepared.id)

    def _has_arrived(self, node: str, head: str | None, state: str) -> bool:
        if head is None:
            return False
        if head == state:
            return True
        view = open_state(self._backend, self.artifacts, node, head)
        return any(ancestor.id == state for ancestor in view.ancestors())

    def _check_complete(self, draft: StateDraft, prepared: PreparedState) -> None:
        """Refuse a state whose parents, documents or artifacts are not stored: it could not be read back."""
        for parent in draft.parents:
            open_state(self._backend, self.artifacts, draft.node, parent)
        for kind, new in (("structures", prepared.structures), ("references", prepared.references), ("labels", prepared.labels)):
            inherited = set(prepared.manifest[kind]) - {document["_id"] for document in new}
            missing = inherited - self._backend.known(draft.node, draft.parents, kind, inherited)  # type: ignore[arg-type]
            if missing:
                raise ValueError(
                    f"{len(missing)} {kind} of the draft are neither new in it nor documents of its parents, e.g. {min(missing)}"
                )
        named = {f"checkpoint {kind}": document["sha256"] for kind, document in prepared.document["checkpoints"].items()}
        named |= {f"sample of iteration {iteration}": sha256 for iteration, sha256 in prepared.manifest["samples"].items()}
        for what, sha256 in named.items():
            if not self.artifacts.has(sha256):
                raise ArtifactNotFoundError(
                    f"the {what}, artifact {sha256}, is not in {self.artifacts.uri}; store it before the commit"
                )

    def _lost_race(self, node: str, branch: str, expected: str | None, found: str | None, state: str) -> BranchMovedError:
        for digits in (8, 16, 64):
            kept_as = f"{branch}-{state[:digits]}"
            if self._backend.move_branch(node, kept_as, None, state) in {None, state}:
                break
        return BranchMovedError(
            f"branch {branch} of node {node} moved while this state was made: expected {expected}, found {found}; "
            f"nothing is lost: the work is branch {kept_as}, to be merged or continued",
            expected=expected,
            found=found,
            kept_as=kept_as,
        )

    # --- jobs

    def job_result(self, key: str) -> dict[str, Any] | None:
        """Return the result document stored under a job key, or None."""
        return self._backend.job_result(key)

    def put_job_result(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        """Store a result unless the key has one; return the one that is stored: the first writer's."""
        return self._backend.put_job_result(key, document)

    def drop_job_result(self, key: str) -> None:
        """Forget a job's result: its artifacts are gone, so it cannot be used."""
        self._backend.drop_job_result(key)

    # --- campaigns

    def campaigns(self, node: str) -> list[CampaignDocument]:
        """Return the campaigns of a node, oldest first."""
        self._node(node)
        return [CampaignDocument(**document) for document in self._backend.campaigns(node)]

    def unfinished_campaign(self, node: str, branch: str = MAIN) -> CampaignDocument | None:
        """Return the campaign that is to be finished before a new one starts on this branch, or None."""
        running = [campaign for campaign in self.campaigns(node) if campaign.branch == branch and campaign.status == "running"]
        return running[0] if running else None

    def start_campaign(self, node: str, branch: str, iterations: int, start: str | None) -> CampaignDocument:
        """Record a campaign before it runs; recording the one that is running already returns it.

        Parameters
        ----------
        node, branch : str
        iterations : int
            Transitions to make.
        start : str or None
            Head of the branch now.

        Raises
        ------
        CampaignError
            If another campaign of the branch is not finished.
        """
        unfinished = self.unfinished_campaign(node, branch)
        if unfinished:
            if (unfinished.iterations, unfinished.start) == (iterations, start):
                return unfinished
            raise CampaignError(
                f"campaign {unfinished.id} of {node}@{branch} is not finished ({unfinished.iterations} iterations from "
                f"{unfinished.start or 'nothing'}, recorded {unfinished.created[:19]}); finish it first: coevo run {node}"
            )
        # numbered, because a campaign may start where an earlier one started (and ended without a new state)
        number = sum(campaign.branch == branch for campaign in self.campaigns(node))
        identity = {"node": node, "branch": branch, "start": start, "iterations": iterations, "number": number}
        document = {key: value for key, value in identity.items() if key != "number"}
        document |= {"id": digest(identity)[:24], "status": "running", "created": now(), "ended": None}
        return CampaignDocument(**self._backend.insert_campaign(document))

    def finish_campaign(self, identifier: str, status: str = "finished") -> None:
        """Record how a campaign ended.

        Raises
        ------
        CampaignError
            If there is no campaign of this id.
        """
        if not self._backend.update_campaign(identifier, {"status": status, "ended": now()}):
            raise CampaignError(f"there is no campaign {identifier!r}")

    def run_lock(self, node: str) -> AbstractContextManager[None]:
        """Hold a node for one run (a context manager); it is freed when the process ends, however it ends.

        Raises
        ------
        NodeBusyError
            When entered, if another process holds it; the message names pid, host and since when.
        """
        self._node(node)
        return self._backend.run_lock(node)


def _without_resources(value: Any) -> Any:
    """Leave out of a configuration what says how fast and not what; other values are returned as they are."""
    return {key: item for key, item in value.items() if key != "resources"} if isinstance(value, dict) else value
