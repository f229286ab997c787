"""Commit a merge, an extension or labels: entries are those of the parents; references or labels may be new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobflow import job

from coevo.makers.commit import CommitMaker, as_one, refuse_other_scale, runs_of_audit, runs_of_committee
from coevo.makers.outputs import UnionTransition
from coevo.makers.populations.fingerprints import remember
from coevo.makers.step import current_store, provenance_of, read_records
from coevo.output.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.makers.outputs import Checkpoint, Committed


@dataclass
class CommitUnionMaker(CommitMaker):
    """Commit a state of one parent or two whose entries are those of the parents."""

    @job
    def make(self, transition: UnionTransition, *others: Any, **outputs: Any) -> Committed:  # type: ignore[override]
        """Commit.

        Parameters
        ----------
        transition : UnionTransition
            What the state is made of.
        others, outputs : Any
            Its fields one by one, in their order and by name: so they stand in jobs that an earlier version queued.

        Returns
        -------
        dict
            ``state``: id of the new state.
        """
        from coevo.node_store.states import StateDraft

        done: UnionTransition = as_one(UnionTransition, transition, others, outputs)
        united, assessed, trained = done["united"], done["assessed"], done.get("trained")
        store = current_store()
        reporter().job_started(self.name)
        evaluations = list(read_records(store, assessed["evaluations"]))
        evaluated_ids = {document["structure_id"] for document in evaluations}
        views = [store.state(f"{self.config.node.name}@{parent}") for parent in done["parents"]]
        refuse_other_scale(self.config, views)
        runs: list[Mapping[str, Any]] = [
            united,
            *done["evaluated"]["runs"],
            assessed,
            done["measured"],
            *([trained] if trained else []),
            *filter(None, [done.get("environments")]),
            *runs_of_committee(done.get("committee")),
            *runs_of_audit(done.get("audited")),
            *filter(None, [done.get("fitted_generator")]),
            *(done.get("generators") or {}).values(),
        ]
        draft = StateDraft(
            node=self.config.node.name,
            parents=tuple(done["parents"]),
            iteration=done["iteration"],
            message=done["message"],
            config=self.config.identity(),
            checkpoints={
                kind: self._located(
                    self._descended(
                        checkpoint, [v.document["checkpoints"][kind] for v in views if kind in v.document["checkpoints"]]
                    )
                )
                for kind, checkpoint in (
                    ("force_field", done["force_field"]),
                    ("generator", done["generator"]),
                    *self._generators(done.get("generators")).items(),
                    *self._members(done.get("committee")).items(),
                )
            },
            metrics=done["measured"]["metrics"],
            labels=list(read_records(store, trained["labels"])) if trained else [],
            references=[row for row in read_records(store, united["references"]) if row["_id"] in evaluated_ids],
            evaluations=evaluations,
            splits={row["id"]: row["split"] for row in read_records(store, (trained or united)["splits"])},
            samples={since: shard["sha256"] for since, shard in united["samples"].items()},
            offsets=trained["offsets"] if trained else united["offsets"],
            provenance={"jobs": provenance_of(runs)},
        )
        state = store.commit(draft, branch=self.branch, expected=done["expected"])
        remember(state, assessed["fingerprints"])
        reporter().job_finished(self.name, 0.0, reused=False)
        return {"state": state}

    def _descended(self, checkpoint: Checkpoint, parents: Sequence[Checkpoint]) -> Checkpoint:
        """Record the checkpoints of all parent states beside the one that it was trained from."""
        return {**checkpoint, "parents": [parent["sha256"] for parent in parents]}
