"""Commit a merge, an extension or labels: entries are those of the parents; references or labels may be new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobflow import job

from coevo.makers.commit import CommitMaker
from coevo.makers.populations.fingerprints import remember
from coevo.makers.progress import reporter
from coevo.makers.step import current_store, provenance_of, read_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.makers.outputs import Committed


@dataclass
class CommitUnionMaker(CommitMaker):
    """Commit a state of one parent or two whose entries are those of the parents."""

    @job
    def make(  # type: ignore[override]
        self,
        united: dict[str, Any],
        evaluated: dict[str, Any],
        assessed: dict[str, Any],
        force_field: dict[str, Any],
        generator: dict[str, Any],
        measured: dict[str, Any],
        iteration: int,
        parents: list[str],
        expected: str | None,
        message: str,
        trained: dict[str, Any] | None = None,
    ) -> Committed:
        """Commit.

        Parameters
        ----------
        united, evaluated, assessed, measured, trained : dict
            Outputs of the steps before.
        force_field, generator : dict
            Checkpoints of the new state.
        iteration : int
        parents : list of str
            Ids of the parent states, the one that is continued first.
        expected : str or None
            Head of the branch when the work began.
        message : str

        Returns
        -------
        dict
            ``state``: id of the new state.
        """
        from coevo.node_store.states import StateDraft

        store = current_store()
        reporter().job_started(self.name)
        evaluations = list(read_records(store, assessed["evaluations"]))
        evaluated_ids = {document["structure_id"] for document in evaluations}
        views = [store.state(f"{self.config.node.name}@{parent}") for parent in parents]
        runs = [united, *evaluated["runs"], assessed, measured, *([trained] if trained else [])]
        draft = StateDraft(
            node=self.config.node.name,
            parents=tuple(parents),
            iteration=iteration,
            message=message,
            config=self.config.identity(),
            checkpoints={
                kind: self._located(self._descended(checkpoint, [view.document["checkpoints"][kind] for view in views]))
                for kind, checkpoint in (("force_field", force_field), ("generator", generator))
            },
            metrics=measured["metrics"],
            labels=list(read_records(store, trained["labels"])) if trained else [],
            references=[row for row in read_records(store, united["references"]) if row["_id"] in evaluated_ids],
            evaluations=evaluations,
            splits={row["id"]: row["split"] for row in read_records(store, (trained or united)["splits"])},
            samples={since: shard["sha256"] for since, shard in united["samples"].items()},
            offsets=trained["offsets"] if trained else united["offsets"],
            provenance={"jobs": provenance_of(runs)},
        )
        state = store.commit(draft, branch=self.branch, expected=expected)
        remember(state, assessed["fingerprints"])
        reporter().job_finished(self.name, 0.0, reused=False)
        return {"state": state}

    def _descended(self, checkpoint: dict[str, Any], parents: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Record the checkpoints of all parent states beside the one that it was trained from."""
        return {**checkpoint, "parents": [parent["sha256"] for parent in parents]}
