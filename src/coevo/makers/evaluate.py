"""Re-evaluate: every reference, entry and sampled candidate by the state's own force field, so that a state is coherent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from jobflow import Flow, Response, job

from coevo.configs.tree import NodeSection, ScreeningConfig
from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import FIRST_PACKAGES, family_of, relaxation_settings
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, workers_of_family, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import Checkpoint, Curated, Evaluated, Reevaluated, TrainedForceField, United
    from coevo.makers.step import Record, ShardReference
    from coevo.models.contracts import ForceField, Prediction
    from coevo.node_store.views import StateView


def largest_generalised_force(structure: Any, prediction: Prediction) -> float:
    """Largest of the atomic forces and the cell's generalised forces V σ / n (ASE's ``FrechetCellFilter``), eV/Å and eV."""
    import numpy as np

    cell = np.linalg.norm(prediction.stress * structure.volume / len(structure), axis=1).max()
    return max(prediction.fmax, float(cell))


@dataclass
class EvaluateMaker(StepMaker):
    """Evaluate one shard: single points first, relaxation where the forces ask for it.

    Attributes
    ----------
    screening : ScreeningConfig
    """

    name: str = "evaluate"
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)

    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, self.screening.force_field.family))

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, structures: ShardReference, checkpoint: Checkpoint) -> Evaluated:
        """Evaluate.

        Parameters
        ----------
        structures : dict
            Shard reference of ``{id, kind, structure, …}``.
        checkpoint : dict
            Force-field checkpoint.

        Returns
        -------
        dict
            ``evaluated`` (shard reference: the records with ``structure``, ``energy_per_atom``, ``fmax``; a record that could not
            be evaluated has ``energy_per_atom`` None and a ``note``).
        """
        store = current_store()
        records = list(read_records(store, structures))
        force_field = load_force_field(store, checkpoint)
        evaluated = evaluate_records(force_field, records, self.screening, self.usable_workers())
        return {"evaluated": write_records(store, evaluated)}


@dataclass
class ReevaluateMaker(StepMaker):
    """Cut the population into shards, one evaluation job each; what the same force field has evaluated is carried over.

    Attributes
    ----------
    node : NodeSection
    screening : ScreeningConfig
    shard_size : int
        Structures per job.
    """

    name: str = "re-evaluate"
    node: NodeSection = field(kw_only=True)
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)
    shard_size: int = 500

    @job
    def make(self, curated: Curated, trained: TrainedForceField, parent: str, iteration: int) -> Response[Reevaluated]:
        """Fan out; the output is ``{"shards": [shard references], "runs": [{"key": …}]}``.

        Parameters
        ----------
        curated, trained : dict
            Outputs of the curate and train-force-field jobs.
        parent : str
            Id of the parent state.
        iteration : int
        """
        from coevo.makers.populations.population import open_state, population_records

        store = current_store()
        view = open_state(store, self.node.name, parent)
        records = [*population_records(view), *self._admitted(curated, iteration), *self._samples(view, curated, iteration)]
        return self._evaluated(records, trained["checkpoint"])

    def _evaluated(self, records: list[Record], checkpoint: Checkpoint) -> Response[Reevaluated]:
        """Carry over what this force field has evaluated, and evaluate the rest."""
        carried = [r for r in records if r["model"] == checkpoint["sha256"]]
        stale = [r for r in records if r["model"] != checkpoint["sha256"]]
        shards = [write_records(current_store(), carried)] if carried else []
        return self._fan_out(shards, stale, checkpoint)

    def _fan_out(self, shards: list[ShardReference], stale: list[Record], checkpoint: Checkpoint) -> Response[Reevaluated]:
        store = current_store()
        jobs = []
        for index, start in enumerate(range(0, len(stale), self.shard_size)):
            maker = EvaluateMaker(name=f"{self.name}/{index:04d}", screening=self.screening, workers=self.workers)
            part = [{k: v for k, v in r.items() if k != "model"} for r in stale[start : start + self.shard_size]]
            jobs.append(maker.make(write_records(store, part), checkpoint))
        if not jobs:
            return Response(output={"shards": shards, "runs": []})
        output = {
            "shards": [*shards, *[evaluation.output["evaluated"] for evaluation in jobs]],
            "runs": [{"key": evaluation.output["key"]} for evaluation in jobs],
        }
        return Response(replace=Flow(jobs, output=output, name=self.name))

    def _admitted(self, curated: Curated, iteration: int) -> list[Record]:
        keys = ("id", "structure", "energy_per_atom", "fmax")
        return [
            {**{key: row[key] for key in keys}, "kind": "entry", "note": "", "since": iteration, "model": curated["model"]}
            for row in read_records(current_store(), curated["admitted"])
        ]

    def _samples(self, view: StateView, curated: Curated, iteration: int) -> list[Record]:
        """Samples of all iterations, each as that iteration screened it."""
        samples = {**view.manifest.get("samples", {}), str(iteration): curated["sample"]["sha256"]}
        records = []
        for since, sha256 in sorted(samples.items(), key=lambda item: int(item[0])):
            model = curated["model"] if since == str(iteration) else ""
            rows = read_records(current_store(), {"sha256": sha256})
            records += [{**row, "kind": "sample", "note": "", "since": int(since), "model": model} for row in rows]
        return records


@dataclass
class ReevaluateUnionMaker(ReevaluateMaker):
    """Evaluate a united population by one force field."""

    @job
    def make(self, united: United, checkpoint: Checkpoint) -> Response[Reevaluated]:  # type: ignore[override]
        """Fan out; the output is ``{"shards": [shard references], "runs": [{"key": …}]}``.

        Parameters
        ----------
        united : dict
            Output of the unite job.
        checkpoint : dict
            Force-field checkpoint of the new state.
        """
        store = current_store()
        records = list(read_records(store, united["population"]))
        for since, shard in united["samples"].items():
            rows = read_records(store, shard)
            records += [{**row, "kind": "sample", "note": "", "since": int(since), "model": ""} for row in rows]
        return self._evaluated(records, checkpoint)


@dataclass
class EvaluateReferencesMaker(ReevaluateMaker):
    """Evaluate the references of a new node, which has no parent state."""

    name: str = "evaluate-references"

    @job
    def make(self, references: ShardReference, checkpoint: Checkpoint) -> Response[Reevaluated]:  # type: ignore[override]
        """Fan out; the output is ``{"shards": [shard references], "runs": [{"key": …}]}``.

        Parameters
        ----------
        references : dict
            Shard reference of reference documents.
        checkpoint : dict
            Force-field checkpoint.
        """
        rows = read_records(current_store(), references)
        stale = [{"id": r["_id"], "kind": "reference", "structure": r["structure"], "since": 0} for r in rows]
        return self._fan_out([], stale, checkpoint)


def evaluate_records(force_field: ForceField, records: list[Record], screening: ScreeningConfig, workers: int) -> list[Record]:
    """Evaluate records at their geometry, and relax again those whose forces ask for it.

    Parameters
    ----------
    force_field : ForceField
    records : list of dict
        With ``structure``.
    screening : ScreeningConfig
    workers : int

    Returns
    -------
    list of dict
        The records with ``energy_per_atom`` (eV/atom; None after a failure), ``fmax`` (eV/Å), ``note`` and, where it was relaxed,
        the new ``structure``.
    """
    from coevo.models.contracts import Failure, Relaxation
    from coevo.node_store.canonical import structure_document, structure_from_document

    structures = [structure_from_document(record["structure"]) for record in records]
    with task("evaluating", len(structures), "structures") as advance:
        predictions = force_field.evaluate(structures, workers=workers, progress=advance)
    rows: list[Record] = []
    to_relax: list[int] = []
    for index, (record, structure, p) in enumerate(zip(records, structures, predictions, strict=True)):
        if isinstance(p, Failure):
            rows.append({**record, "energy_per_atom": None, "fmax": None, "note": f"{p.reason}: {p.detail}"})
            continue
        rows.append({**record, "energy_per_atom": p.energy, "fmax": p.fmax, "note": ""})
        if largest_generalised_force(structure, p) > screening.fmax:
            to_relax.append(index)
    settings = relaxation_settings(screening)
    with task("relaxing again", len(to_relax), "structures") as advance:
        results = force_field.relax([structures[i] for i in to_relax], settings, workers=workers, progress=advance)
    for index, result in zip(to_relax, results, strict=True):
        if isinstance(result, Relaxation):
            found = {"energy_per_atom": result.prediction.energy, "fmax": result.prediction.fmax}
            rows[index] = {**rows[index], **found, "structure": structure_document(result.structure)}
        else:
            # The single point stands: the geometry is an older model's, and the note says so.
            rows[index] = {**rows[index], "note": f"not relaxed again: {result.reason}"}
    return rows
