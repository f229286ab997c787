"""Single points of a population by each member of the second opinion, at the geometries of the state's own force field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Response, job

from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import family_of
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, workers_of_family, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Checkpoint, Evaluated, MembersEvaluated
    from coevo.makers.step import ShardReference


@dataclass
class EvaluateMemberMaker(StepMaker):
    """Energies of one shard by one member."""

    name: str = "re-evaluate-member"

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, ""))

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, structures: ShardReference, checkpoint: Checkpoint) -> Evaluated:
        """Evaluate.

        Parameters
        ----------
        structures : dict
            Shard reference of ``{id, structure}``.
        checkpoint : dict
            Of the member.

        Returns
        -------
        dict
            ``evaluated`` (shard reference of ``{id, energy_per_atom, note}``, on the member's own scale, eV/atom; None where it
            has no answer).
        """
        from coevo.models.contracts import Prediction
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        records = list(read_records(store, structures))
        force_field = load_force_field(store, checkpoint)
        crystals = [structure_from_document(record["structure"]) for record in records]
        with task("evaluating", len(crystals), "structures") as advance:
            found = force_field.evaluate(crystals, workers=self.usable_workers(), progress=advance)
        rows = [
            {"id": record["id"], "energy_per_atom": p.energy, "note": ""}
            if isinstance(p, Prediction)
            else {"id": record["id"], "energy_per_atom": None, "note": f"{p.reason}: {p.detail}"}
            for record, p in zip(records, found, strict=True)
        ]
        return {"evaluated": write_records(store, rows)}


@dataclass
class EvaluateMembersMaker(StepMaker):
    """Cut a population into shards, one job for each shard and member.

    Attributes
    ----------
    shard_size : int
        Structures per job.
    """

    name: str = "re-evaluate-member"
    shard_size: int = 500

    @job
    def make(
        self, shards: ShardReference | list[ShardReference], members: dict[str, Checkpoint | None]
    ) -> Response[MembersEvaluated]:
        """Fan out; the output is ``{"members": {name: [shard references]}, "runs": [{"key": …}]}``.

        Parameters
        ----------
        shards : dict or list of dict
            Shard references of records with ``id``, ``structure`` and ``energy_per_atom``; samples of the ruler are left out, and
            so is what the state's own force field could not evaluate.
        members : dict
            Checkpoints by name; None for a member that has not been fitted yet.
        """
        store = current_store()
        records = [
            {"id": r["id"], "structure": r["structure"]}
            for r in read_records(store, shards)
            if r.get("kind") != "sample" and r["energy_per_atom"] is not None
        ]
        parts = [write_records(store, records[i : i + self.shard_size]) for i in range(0, len(records), self.shard_size)]
        jobs: dict[str, list[Any]] = {}
        for name, checkpoint in sorted(members.items()):
            if checkpoint is not None:
                makers = [EvaluateMemberMaker(f"{self.name}/{name}/{index:04d}", self.workers) for index in range(len(parts))]
                jobs[name] = [maker.make(part, checkpoint) for maker, part in zip(makers, parts, strict=True)]
        flat = [each for group in jobs.values() for each in group]
        output: MembersEvaluated = {
            "members": {name: [each.output["evaluated"] for each in group] for name, group in jobs.items()},
            "runs": [{"key": each.output["key"]} for each in flat],
        }
        return Response(replace=Flow(flat, output=output, name=self.name)) if flat else Response(output=output)
