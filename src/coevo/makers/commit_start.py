"""Commit the first state of a node that begins with the structures, references and labels of another state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobflow import job

from coevo.makers.commit import CommitMaker, runs_of_committee
from coevo.makers.populations.fingerprints import remember
from coevo.makers.step import current_store, provenance_of, read_records
from coevo.output.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Committed, StartTransition


@dataclass
class CommitStartMaker(CommitMaker):
    """Commit a state without parents whose documents are those of another state, with evaluations of its own."""

    @job
    def make(self, transition: StartTransition) -> Committed:  # type: ignore[override]
        """Commit.

        Parameters
        ----------
        transition : StartTransition
            What the state is made of.

        Returns
        -------
        dict
            ``state``: id of the new state.
        """
        from coevo.node_store.states import StateDraft

        store, done = current_store(), transition
        reporter().job_started(self.name)
        start, trained, origin = done["start"], done.get("trained"), done["started_from"]
        evaluations = list(read_records(store, done["assessed"]["evaluations"]))
        kinds = {document["structure_id"]: document["kind"] for document in evaluations}
        runs: list[Mapping[str, Any]] = [
            *done["evaluated"]["runs"],
            *([trained] if trained else []),
            done["assessed"],
            done["generator"],
            done["measured"],
            *filter(None, [done.get("environments")]),
            *runs_of_committee(done.get("committee")),
            *(done.get("generators") or {}).values(),
        ]
        draft = StateDraft(
            node=self.config.node.name,
            iteration=0,
            message=f"started from {origin['node']}@{origin['state'][:8]}",
            config=self.config.identity(),
            checkpoints={
                "force_field": self._located(done["force_field"]),
                "generator": self._located(done["generator"]["checkpoint"]),
                **self._generators(done.get("generators")),
                **self._members(done.get("committee")),
            },
            metrics=done["measured"]["metrics"],
            # one that the force field cannot evaluate is not in the state, as in a re-evaluation
            structures=[row for row in read_records(store, start["structures"]) if kinds.get(row["_id"]) == "entry"],
            references=[row for row in read_records(store, start["references"]) if kinds.get(row["_id"]) == "reference"],
            labels=list(read_records(store, start["labels"])),
            evaluations=evaluations,
            splits={row["id"]: row["split"] for row in read_records(store, start["splits"])},
            offsets=trained["offsets"] if trained else {},
            provenance={"jobs": provenance_of(runs)},
            started_from=origin,
        )
        state = store.commit(draft, branch=self.branch)
        remember(state, done["assessed"]["fingerprints"])
        reporter().job_finished(self.name, 0.0, reused=False)
        return {"state": state}
