"""Commit: gather the outputs of a transition into a draft and hand it to the node store, which makes the state visible."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import job

from coevo.makers.populations.fingerprints import remember
from coevo.makers.progress import reporter
from coevo.makers.step import StepMaker, current_store, provenance_of, read_records

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Committed
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
    def make(
        self,
        evaluated: dict[str, Any],
        assessed: dict[str, Any],
        generator: dict[str, Any],
        force_field: dict[str, Any],
        measured: dict[str, Any],
        iteration: int,
        parent: str | None = None,
        references: dict[str, Any] | None = None,
        generated: list[dict[str, Any]] | None = None,
        screened: list[dict[str, Any]] | None = None,
        curated: dict[str, Any] | None = None,
        selected: dict[str, Any] | None = None,
        labelled: dict[str, Any] | None = None,
        trained: dict[str, Any] | None = None,
    ) -> Committed:
        """Commit.

        Parameters
        ----------
        evaluated, assessed, measured, curated, selected, labelled, trained, generator : dict
            Outputs of the steps of the transition.
        generated, screened : list of dict
            Outputs of the generate and screen jobs.
        force_field : dict
            Adopted force-field checkpoint.
        iteration : int
        parent : str or None
            Id of the parent state; None for the first one.
        references : dict or None
            Shard reference of reference documents that are new in this state.

        Returns
        -------
        dict
            ``state``: id of the new state.
        """
        store = current_store()
        reporter().job_started(self.name)
        view = None if parent is None else store.state(f"{self.config.node.name}@{parent}")
        trained = trained or {}
        draft = self._draft(view, assessed, curated, trained, references, iteration)
        draft.checkpoints = {"force_field": self._located(force_field), "generator": self._located(generator["checkpoint"])}
        draft.metrics = measured["metrics"]
        packets = labelled["packets"] if labelled else []
        runs = [*(generated or []), *(screened or []), *packets, *evaluated["runs"], assessed, generator, measured]
        runs += [output for output in (curated, selected, trained) if output]
        draft.provenance = {"jobs": provenance_of(runs)}
        state = store.commit(draft, branch=self.branch, expected=parent)
        remember(state, assessed["fingerprints"])
        reporter().job_finished(self.name, 0.0, reused=False)
        return {"state": state}

    def _located(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Add where the checkpoint is, for people; the URI is not part of the state id."""
        return {**checkpoint, "uri": current_store().artifacts.uri_of(checkpoint["sha256"])}

    def _draft(
        self,
        view: StateView | None,
        assessed: dict[str, Any],
        curated: dict[str, Any] | None,
        trained: dict[str, Any],
        references: dict[str, Any] | None,
        iteration: int,
    ) -> StateDraft:
        from coevo.makers.populations.population import describe
        from coevo.node_store.canonical import structure_from_document
        from coevo.node_store.states import StateDraft

        store = current_store()
        evaluations = list(read_records(store, assessed["evaluations"]))
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
        counts = assessed["counts"]
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
