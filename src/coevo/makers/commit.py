"""Commit: gather the outputs of a transition into a draft and hand it to the node store, which makes the state visible."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import job

from coevo.errors import ConfigError
from coevo.makers.committee.members import slot_of
from coevo.makers.generators import slot_of as generators_slot
from coevo.makers.outputs import Transition
from coevo.makers.populations.fingerprints import remember
from coevo.makers.step import StepMaker, current_store, provenance_of, read_records
from coevo.output.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import AuditRuns, Checkpoint, Committed, Committee, TrainedGenerator
    from coevo.node_store.states import StateDraft
    from coevo.node_store.views import StateView


@dataclass
class CommitMaker(StepMaker):
    """Commit a state. Not stored under a key: the commit itself is idempotent.

    Attributes
    ----------
    config : NodeConfig
    branch : str
    """

    name: str = "commit"
    config: NodeConfig = field(kw_only=True)
    branch: str = "main"

    @job
    def make(self, transition: Transition, *others: Any, **outputs: Any) -> Committed:
        """Commit.

        Parameters
        ----------
        transition : Transition
            What the state is made of.
        others, outputs : Any
            Its fields one by one, in their order and by name: so they stand in jobs that an earlier version queued.

        Returns
        -------
        dict
            ``state``: id of the new state.
        """
        done: Transition = as_one(Transition, transition, others, outputs)
        store = current_store()
        reporter().job_started(self.name)
        parent = done.get("parent")
        view = None if parent is None else store.state(f"{self.config.node.name}@{parent}")
        refuse_other_scale(self.config, [view] if view else [])
        draft = self._draft(view, done)
        draft.checkpoints = {
            "force_field": self._located(done["force_field"]),
            "generator": self._located(done["generator"]["checkpoint"]),
            **self._generators(done.get("generators")),
            **self._members(done.get("committee")),
        }
        draft.metrics = done["measured"]["metrics"]
        draft.provenance = {"jobs": provenance_of(_runs(done))}
        state = store.commit(draft, branch=self.branch, expected=parent)
        remember(state, done["assessed"]["fingerprints"])
        reporter().job_finished(self.name, 0.0, reused=False)
        return {"state": state}

    def _located(self, checkpoint: Checkpoint) -> Checkpoint:
        """Add where the checkpoint is, for people; the URI is not part of the state id."""
        return {**checkpoint, "uri": current_store().artifacts.uri_of(checkpoint["sha256"])}

    def _generators(self, generators: Mapping[str, TrainedGenerator] | None) -> dict[str, Checkpoint]:
        """Checkpoints of the generators beside that in the slot ``generator``, by the slots that a state keeps them in."""
        return {generators_slot(family): self._located(each["checkpoint"]) for family, each in (generators or {}).items()}

    def _members(self, committee: Committee | None) -> dict[str, Checkpoint]:
        """Checkpoints of the members of a second opinion, by the slots that a state keeps them in."""
        found = (committee or {"checkpoints": {}})["checkpoints"]
        return {slot_of(name): self._located(each) for name, each in found.items() if each is not None}

    def _draft(self, view: StateView | None, done: Transition) -> StateDraft:
        from coevo.makers.populations.population import describe
        from coevo.node_store.canonical import structure_from_document
        from coevo.node_store.states import StateDraft

        store, iteration = current_store(), done["iteration"]
        curated, trained, references = done.get("curated"), done.get("trained"), done.get("references")
        evaluations = list(read_records(store, done["assessed"]["evaluations"]))
        evaluated = {document["structure_id"] for document in evaluations}
        structures = []
        for row in read_records(store, curated["admitted"]) if curated else ():
            if row["id"] in evaluated:
                described = describe(structure_from_document(row["structure"]))
                structures.append({"_id": row["id"], "structure": row["structure"], **described, "origin": row["origin"]})
        samples = dict(view.manifest.get("samples", {})) if view else {}
        if curated:
            samples[str(iteration)] = curated["sample"]["sha256"]
        inherited = dict(view.manifest.get("offsets", {})) if view else {}
        counts = done["assessed"]["counts"]
        return StateDraft(
            node=self.config.node.name,
            parents=(view.id,) if view else (),
            iteration=iteration,
            message=f"iteration {iteration}: {counts['entries']} entries, {counts['sun']} S.U.N." if view else "references",
            config=self.config.identity(),
            checkpoints={},
            metrics={},
            structures=structures,
            references=list(read_records(store, references)) if references else [],
            labels=list(read_records(store, trained["labels"])) if trained else [],
            evaluations=evaluations,
            splits={row["id"]: row["split"] for row in read_records(store, trained["splits"])} if trained else {},
            samples=samples,
            offsets=trained["offsets"] if trained else inherited,
            provenance={},
        )


def refuse_other_scale(config: NodeConfig, parents: Sequence[StateView]) -> None:
    """Refuse a state on another energy scale than its parents, whoever wired its flow.

    Raises
    ------
    ConfigError
    """
    for view in parents:
        section = view.document["config"].get("node")
        scale = section.get("energy_scale") if isinstance(section, dict) else None
        if scale not in {None, config.node.energy_scale}:
            raise ConfigError(
                f"node {config.node.name}: node.energy_scale is {config.node.energy_scale}, that of its parent {view.id[:12]} "
                f"{scale}; nothing was committed; start a node on the other scale: coevo init NEW --from-state "
                f"{view.node}@{view.id[:12]} --set screening.force_field.family=FAMILY"
            )


def as_one(document: type, first: Any, others: Sequence[Any], outputs: Mapping[str, Any]) -> Any:
    """Return what a commit is given as the one document that it is: a job of an earlier version holds its fields one by one."""
    if not others:
        return first
    return {**dict(zip(document.__annotations__, (first, *others), strict=False)), **outputs}


def _runs(done: Transition) -> Iterator[Mapping[str, Any]]:
    """Outputs of the jobs of a transition, in the order in which a state names them."""
    yield from [*(done.get("drawn") or []), *(done.get("generated") or []), *(done.get("screened") or [])]
    yield from done.get("bred") or []
    yield from (done.get("labelled") or {"packets": []})["packets"]
    yield from [*done["evaluated"]["runs"], done["assessed"], done["generator"], done["measured"]]
    yield from filter(None, (done.get("curated"), done.get("selected"), done.get("trained"), done.get("environments")))
    yield from runs_of_committee(done.get("committee"))
    yield from runs_of_audit(done.get("audited"))
    yield from (done.get("generators") or {}).values()


def runs_of_audit(audited: AuditRuns | None) -> Iterator[Mapping[str, Any]]:
    """Outputs of the jobs of an audit, and of that whose place it takes."""
    if audited is not None:
        yield from [audited["before"], *audited["audit"]["references"], *audited["audit"]["packets"]]


def runs_of_committee(committee: Committee | None) -> Iterator[Mapping[str, Any]]:
    """Outputs of the jobs of a second opinion."""
    if committee is not None:
        yield from [*committee["steps"], *committee["evaluated"]["runs"]]
