"""Measure: the maturity signals and all numbers that the new state reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import CurationConfig, MaturityConfig, NodeSection
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.outputs import (
        Assessed,
        CalibratedEnvironments,
        Curated,
        Labelled,
        Measured,
        MeasuredModel,
        Selected,
        TrainedForceField,
        TrainedGenerator,
        United,
    )
    from coevo.makers.step import Document, Record, ShardReference
    from coevo.node_store.views import StateView

SIGNALS = (
    "environment_entropy",
    "energy_rmse_mev_per_atom",
    "force_rmse_mev_per_angstrom",
    "force_field",
    "ruler",
    "environment_calibration",
    "environment_coverage",
)
"""Metrics that maturity is judged by."""


@dataclass
class MeasureMaker(StepMaker):
    """Measure a state before it is committed.

    Attributes
    ----------
    node : NodeSection
    maturity : MaturityConfig
    curation : CurationConfig or None
        Of a hull of labelled phases, which is a signal more; None: the hull is of all that the force field says.
    """

    name: str = "measure"
    node: NodeSection = field(kw_only=True)
    maturity: MaturityConfig = field(default_factory=MaturityConfig)
    curation: CurationConfig | None = None

    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core")
    later: ClassVar[Mapping[str, Any]] = {"model": None, "curation": None, "environments": None, "generators": None}

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Also those of the family of the model that is measured."""
        model, own = inputs.get("model"), super().versions(inputs)
        return own | versions_of_family(self, "force_field", model["force_field"]["family"]) if model else own

    @step
    def make(
        self,
        assessed: Assessed,
        sources: list[ShardReference],
        generator: TrainedGenerator,
        iteration: int,
        parent: str | None = None,
        curated: Curated | None = None,
        selected: Selected | None = None,
        labelled: Labelled | None = None,
        trained: TrainedForceField | None = None,
        united: United | None = None,
        model: MeasuredModel | None = None,
        environments: CalibratedEnvironments | None = None,
        generators: Mapping[str, TrainedGenerator] | None = None,
    ) -> Measured:
        """Measure.

        Parameters
        ----------
        assessed, curated, selected, labelled, trained, generator, united : dict
            Outputs of the steps before; those that a first state, a merge or an extension has not are None.
        sources : list of dict
            Shard references of the geometries.
        iteration : int
        parent : str or None
        model : dict or None
            The state's force field, and what it is compared with; None in a job of an earlier version.
        environments : dict or None
            Output of the calibrate-environments job, of a node whose maturity is judged by coverage.
        generators : dict or None
            Of a mixture, what became of each generator, by family.

        Returns
        -------
        dict
            ``metrics``: what the state records.
        """
        from coevo.makers.generators import generator_metrics
        from coevo.makers.populations.population import open_state
        from coevo.makers.signals.environment_coverage import COVERAGE, coverage_metrics, iterations_to_look_at
        from coevo.makers.signals.measures import environment_metrics
        from coevo.makers.signals.model_checks import model_metrics

        view = self._open(parent)
        documents = list(read_records(current_store(), assessed["evaluations"]))
        live = [d for d in documents if d["kind"] == "entry" and d["duplicate_of"] is None]
        geometries = {r["id"]: r["structure"] for r in read_records(current_store(), sources) if r["kind"] != "sample"}
        entropies = environment_metrics(documents, geometries, self.node, self.maturity, iteration, workers=self.usable_workers())
        errors = self._errors(trained)
        ruler = self._ruler(assessed)
        metrics = {
            "population": assessed["counts"],
            "validation": assessed["validation"],
            "reference_set": {"name": self.node.references, "size": assessed["counts"]["references"]},
            "diversity": self._diversity(live),
            **entropies,
            "ruler": ruler,
            "generator": {"fitted": generator["fitted"], "report": generator["report"]},
            "ruler_median_e_hull": ruler[str(iteration)]["q50"] if str(iteration) in ruler else None,
            "environment_entropy": entropies["entropy"]["mean"] if entropies["entropy"] else None,
            **errors,
        }
        if environments is not None:
            every = united is not None or view is None or not view.document["metrics"].get(COVERAGE)
            looked_at = iterations_to_look_at(
                documents, geometries, map(int, ruler), self.node.elements, self.maturity, every=every
            )
            metrics |= coverage_metrics(
                documents,
                geometries,
                self.node,
                self.maturity,
                environments["calibration"],
                looked_at,
                iteration,
                workers=self.usable_workers(),
            )
        if assessed.get("committee"):
            metrics["committee"] = assessed["committee"]
        if assessed.get("audit"):
            metrics["audit"] = assessed["audit"]
        if model is not None:
            metrics |= model_metrics(current_store(), self.node.name, model, self.maturity, iteration, self.usable_workers())
        if generators is not None:
            parents = [open_state(current_store(), self.node.name, each) for each in (model["parents"] if model else [])]
            admitted = read_records(current_store(), curated["admitted"]) if curated else ()
            metrics["generators"] = generator_metrics(documents, generators, parents, admitted)
        if united is not None:
            metrics["union"] = united["counts"]
        if trained is not None:
            metrics["force_field"] = {k: v for k, v in trained.items() if k not in _NOT_METRICS}
        if labelled is not None:
            metrics["labels"] = self._label_counts(labelled)
        if curated is not None and selected is not None:
            metrics["iteration"] = {**curated["counts"], "energy_above_hull": curated["energy_above_hull"]}
            metrics["selection"] = selected["counts"]
        if self.curation is not None:
            metrics["hull_check"] = self._hull_check(view, curated, selected, trained)
        metrics["maturity"] = self._maturity(view, metrics)
        return {"metrics": metrics}

    def _open(self, parent: str | None) -> StateView | None:
        from coevo.makers.populations.population import open_state

        return None if parent is None else open_state(current_store(), self.node.name, parent)

    def _errors(self, trained: TrainedForceField | None) -> dict[str, float | None]:
        """Error of the adopted model on the test split."""
        names = ("energy_rmse_mev_per_atom", "force_rmse_mev_per_angstrom")
        if trained is None:
            return dict.fromkeys(names)
        test = trained.get("test_after") if trained["adopted"] else trained.get("test_before")
        whole = test["all"] if test is not None else None
        return {name: whole[name] if whole is not None else None for name in names}

    def _ruler(self, assessed: Assessed) -> Document:
        """Every iteration's sample, by the present model on the present hull."""
        from coevo.makers.signals.measures import summaries

        return summaries(read_records(current_store(), assessed["samples"]))

    def _diversity(self, live: list[Record]) -> Document:
        from coevo.analysis.signals.diversity import shannon_entropy

        formulas = Counter(d["formula"] for d in live)
        groups = Counter(d["space_group"] for d in live)
        return {
            "formulas": len(formulas),
            "formula_entropy": shannon_entropy(formulas),
            "space_groups": len(groups),
            "space_group_entropy": shannon_entropy(groups),
        }

    def _label_counts(self, labelled: Labelled) -> Document:
        status: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for packet in labelled["packets"]:
            status.update(packet["counts"])
            reasons.update(packet["reasons"])
        warnings = [text for packet in labelled["packets"] for text in packet.get("warnings", ())]
        counts = {"status": dict(sorted(status.items())), "reasons": dict(sorted(reasons.items()))}
        said = {"warnings": warnings, "notes": labelled.get("notes")}
        return counts | {name: texts for name, texts in said.items() if texts}

    def _hull_check(
        self,
        view: StateView | None,
        curated: Curated | None,
        selected: Selected | None,
        trained: TrainedForceField | None,
    ) -> Document | None:
        """What labels say of the phases on the hull that got one in this iteration; None of a state that no iteration made."""
        from coevo.makers.populations.population import model_energy
        from coevo.makers.signals.hull_check import hull_check, hull_frames

        if self.curation is None or view is None or curated is None or selected is None or trained is None:
            return None
        store = current_store()
        frames = hull_frames(read_records(store, trained["labels"]), trained["offsets"], self.node)
        energies = {row["id"]: row["energy_per_atom"] for row in read_records(store, curated["admitted"])}
        energies |= {d["structure_id"]: model_energy(d) for d in view.evaluations("entry")}
        return hull_check(frames, energies, selected["counts"].get("hull", {}).get("wanted", 0), self.curation)

    def _maturity(self, view: StateView | None, metrics: Document) -> Document:
        from coevo.analysis.signals.maturity import maturity

        states = [] if view is None else [state.document["metrics"] for state in [*reversed(list(view.first_parents())), view]]
        names = [*SIGNALS, *(() if self.curation is None else ("hull_check", "population"))]
        history = [{name: row.get(name) for name in names} for row in [*states, metrics]]
        return maturity(history, self.maturity).to_dict()


_NOT_METRICS = frozenset({"labels", "splits", "offsets", "key"})
