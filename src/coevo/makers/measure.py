"""Measure: the maturity signals and all numbers that the new state reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import MaturityConfig, NodeSection
from coevo.makers.progress import task
from coevo.makers.seeds import seed_for
from coevo.makers.shards import read_records
from coevo.makers.step import StepMaker, current_store, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.node_store.views import StateView

SIGNALS = (
    "environment_entropy",
    "energy_rmse_mev_per_atom",
    "force_rmse_mev_per_angstrom",
    "force_field",
    "ruler",
)
"""Metrics that maturity is judged by."""


@dataclass
class MeasureMaker(StepMaker):
    """Measure a state before it is committed.

    Attributes
    ----------
    node : NodeSection
    maturity : MaturityConfig
    """

    name: str = "measure"
    node: NodeSection = field(default=None)  # type: ignore[assignment]
    maturity: MaturityConfig = field(default_factory=MaturityConfig)

    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core")

    @step
    def make(
        self,
        assessed: dict[str, Any],
        sources: list[dict[str, Any]],
        generator: dict[str, Any],
        iteration: int,
        parent: str | None = None,
        curated: dict[str, Any] | None = None,
        selected: dict[str, Any] | None = None,
        labelled: dict[str, Any] | None = None,
        trained: dict[str, Any] | None = None,
        united: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Measure.

        Parameters
        ----------
        assessed, curated, selected, labelled, trained, generator, united : dict
            Outputs of the steps before; those that a first state, a merge or an extension has not are None.
        sources : list of dict
            Shard references of the geometries.
        iteration : int
        parent : str or None

        Returns
        -------
        dict
            ``metrics``: what the state records.
        """
        view = self._open(parent)
        documents = list(read_records(current_store(), assessed["evaluations"]))
        live = [d for d in documents if d["kind"] == "entry" and d["duplicate_of"] is None]
        environments = self._environments(documents, sources, iteration)
        errors = self._errors(trained)
        ruler = self._ruler(assessed)
        metrics = {
            "population": assessed["counts"],
            "validation": assessed["validation"],
            "reference_set": {"name": self.node.references, "size": assessed["counts"]["references"]},
            "diversity": self._diversity(live),
            **environments,
            "ruler": ruler,
            "generator": {"fitted": generator["fitted"], "report": generator["report"]},
            "ruler_median_e_hull": ruler[str(iteration)]["q50"] if str(iteration) in ruler else None,
            "environment_entropy": environments["entropy"]["mean"] if environments["entropy"] else None,
            **errors,
        }
        if united is not None:
            metrics["union"] = united["counts"]
        if trained is not None:
            metrics["force_field"] = {k: v for k, v in trained.items() if k not in _NOT_METRICS}
        if labelled is not None:
            metrics["labels"] = self._label_counts(labelled)
        if curated is not None and selected is not None:
            metrics["iteration"] = {**curated["counts"], "energy_above_hull": curated["energy_above_hull"]}
            metrics["selection"] = selected["counts"]
        metrics["maturity"] = self._maturity(view, metrics)
        return {"metrics": metrics}

    def _open(self, parent: str | None) -> StateView | None:
        from coevo.makers.population import open_state

        return None if parent is None else open_state(current_store(), self.node.name, parent)

    def _errors(self, trained: dict[str, Any] | None) -> dict[str, float | None]:
        """Error of the adopted model on the test split."""
        names = ("energy_rmse_mev_per_atom", "force_rmse_mev_per_angstrom")
        if trained is None:
            return dict.fromkeys(names)
        test = trained.get("test_after") if trained["adopted"] else trained.get("test_before")
        whole = test["all"] if test is not None else None
        return {name: whole[name] if whole is not None else None for name in names}

    def _environments(self, documents: list[dict[str, Any]], sources: list[dict[str, Any]], iteration: int) -> dict[str, Any]:
        """Entropies of the entries' local environments, by both descriptors, and how much of what is new in the state is new."""
        from coevo.analysis.descriptors import descriptors_of
        from coevo.analysis.entropy import sampled_entropies
        from coevo.analysis.environment_signal import entropy_document, multicomponent_entropies
        from coevo.node_store.canonical import structure_from_document

        alive = {d["structure_id"]: d for d in documents if d["kind"] == "reference" or d["duplicate_of"] is None}
        geometries = {r["id"]: r["structure"] for r in read_records(current_store(), sources) if r["kind"] != "sample"}
        ids = {kind: sorted(i for i, d in alive.items() if d["kind"] == kind) for kind in ("entry", "reference")}
        entries, references = ([structure_from_document(geometries[i]) for i in ids[kind]] for kind in ("entry", "reference"))
        descriptor, workers = self.node.descriptor, self.usable_workers()
        k, cutoff = descriptor.neighbours, descriptor.cutoff
        with task("measuring environments", len(entries), "structures") as advance:
            X, _ = descriptors_of(entries, k, cutoff, workers=workers, progress=advance)
        of_references, _ = descriptors_of(references, k, cutoff, workers=workers)
        seed = seed_for(self.node.seed, self.node.name, iteration, "entropy")
        size, elements = self.maturity.environments, self.node.elements
        sampling: dict[str, Any] = {"bandwidth": descriptor.bandwidth, "subsamples": self.maturity.subsamples, "seed": seed}
        plain = sampled_entropies(X, _centres(entries), size, elements=elements, **sampling)
        with task("environments by species", len(entries), "structures") as advance:
            seeing = multicomponent_entropies(
                entries, size, elements=elements, neighbours=k, cutoff=cutoff, workers=workers, progress=advance, **sampling
            )
        since = [alive[i]["iteration_added"] for i in ids["entry"]]
        return {
            "entropy": entropy_document(plain, len(X)),
            "entropy_multicomponent": entropy_document(seeing, len(X)),
            "new_environments": self._new(X, of_references, entries, references, since, iteration),
        }

    def _new(
        self, X: Any, of_references: Any, entries: list[Any], references: list[Any], since: list[int], iteration: int
    ) -> dict[str, Any] | None:
        """Share of the newest entries' environments that are like none of the older entries' and the references'."""
        import numpy as np

        from coevo.analysis.environment_signal import new_environments

        added = np.repeat([value == iteration for value in since], [len(structure) for structure in entries]).astype(bool)
        species = np.array(_centres(entries), dtype=str)
        return new_environments(
            X[added],
            species[added].tolist(),
            np.concatenate([X[~added], of_references]),
            [*species[~added].tolist(), *_centres(references)],
            elements=self.node.elements,
            limit=self.maturity.environments,
            bandwidth=self.node.descriptor.bandwidth,
            seed=seed_for(self.node.seed, self.node.name, iteration, "new-environments"),
        ).to_dict()

    def _ruler(self, assessed: dict[str, Any]) -> dict[str, Any]:
        """Every iteration's sample, by the present model on the present hull."""
        from coevo.analysis.ruler import SampledCandidate, summarise

        by_iteration: dict[str, list[SampledCandidate]] = {}
        for row in read_records(current_store(), assessed["samples"]):
            candidate = SampledCandidate(**{key: value for key, value in row.items() if key != "since"})
            by_iteration.setdefault(str(row["since"]), []).append(candidate)
        return {since: summarise(sample) for since, sample in by_iteration.items()}

    def _diversity(self, live: list[dict[str, Any]]) -> dict[str, Any]:
        from coevo.analysis.diversity import shannon_entropy

        formulas = Counter(d["formula"] for d in live)
        groups = Counter(d["space_group"] for d in live)
        return {
            "formulas": len(formulas),
            "formula_entropy": shannon_entropy(formulas),
            "space_groups": len(groups),
            "space_group_entropy": shannon_entropy(groups),
        }

    def _label_counts(self, labelled: dict[str, Any]) -> dict[str, Any]:
        status: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for packet in labelled["packets"]:
            status.update(packet["counts"])
            reasons.update(packet["reasons"])
        return {"status": dict(sorted(status.items())), "reasons": dict(sorted(reasons.items()))}

    def _maturity(self, view: StateView | None, metrics: dict[str, Any]) -> dict[str, Any]:
        from coevo.analysis.maturity import maturity

        states = [] if view is None else [state.document["metrics"] for state in [*reversed(list(view.first_parents())), view]]
        history = [{name: row.get(name) for name in SIGNALS} for row in [*states, metrics]]
        return maturity(history, self.maturity).to_dict()


def _centres(structures: Sequence[Structure]) -> list[str]:
    """Species of the atoms of all structures, in order."""
    return [site.specie.symbol for structure in structures for site in structure]


_NOT_METRICS = frozenset({"labels", "splits", "offsets", "key"})
