"""Select: which structures get labels within the budget, and which frames of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import CurationConfig, LabellingConfig, NodeSection, SelectionConfig
from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.makers.step import StepMaker, current_store, read_records, step, write_records
from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.makers.labels.hull_phases import HullPhases
    from coevo.makers.labels.stiff_frames import StiffFrames
    from coevo.makers.outputs import Curated, MembersEvaluated, Selected
    from coevo.makers.step import Record
    from coevo.node_store.views import StateView


@dataclass
class SelectMaker(StepMaker):
    """Choose structures at random, by uncertainty, by stability and by new local environments, and make their frames.

    Attributes
    ----------
    node : NodeSection
    selection : SelectionConfig
    uncertainty : UncertaintyConfig
        Of the second opinion, whose members say where they differ.
    curation : CurationConfig or None
        Of a hull of labelled phases: those on it or near it come first. None: the hull asks for no labels.
    first_principles : bool
        Of such a hull: labels of teachers do not count.
    labelling : LabellingConfig or None
        Of such a hull: whose settings this iteration's labels are made with. None: not known (a label step of the user's).
    """

    name: str = "select"
    node: NodeSection = field(kw_only=True)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    curation: CurationConfig | None = None
    first_principles: bool = False
    labelling: LabellingConfig | None = None

    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core")
    later: ClassVar[Mapping[str, Any]] = {
        "uncertainty": UncertaintyConfig(),
        "spread": None,
        "curation": None,
        "first_principles": False,
        "labelling": None,
    }

    @step
    def make(self, curated: Curated, parent: str, iteration: int, spread: MembersEvaluated | None = None) -> Selected:
        """Select.

        Parameters
        ----------
        curated : dict
            Output of the curate job.
        parent : str
            Id of the parent state.
        iteration : int
        spread : dict or None
            Energies of the admitted candidates by the parent's members.

        Returns
        -------
        dict
            ``frames`` (shard reference), ``counts`` (structures by the way they were chosen, frames by kind; a ``note``, if the
            share of uncertainty could not be chosen; of a hull of labelled phases ``hull``: how many had no label and were not
            drawn at random, how many further ones are in doubt, if any, and how many references were asked for; ``stiff``:
            labelled phases with frames of their own beside the budget, by the way they were chosen).
        """
        from collections import Counter

        from coevo.makers.populations.hull_members import ASKED, DOUBT

        store = current_store()
        screened = {row["id"]: row for row in read_records(store, curated["screened"])}
        admitted = {row["id"] for row in read_records(store, curated["admitted"])}
        spreads, note = self._spreads(screened, spread, parent)
        hull = self._hull_phases({i: screened[i] for i in admitted}, parent)
        chosen = self._choose(screened, admitted, hull, spreads, parent, iteration)
        frames = list(hull.references) if hull else []
        for index, (structure_id, how) in enumerate(sorted(chosen.items())):
            seed = seed_for(self.node, iteration, "frames", index)
            rows: Mapping[str, Record] = screened
            if hull and how in {ASKED, DOUBT}:
                rows = hull.phases if how == ASKED else hull.doubted
            frames += self._frames_of(rows[structure_id], how, seed)
        stiff = self._stiff_frames(parent)
        frames += stiff.frames
        return {
            "frames": write_records(store, frames),
            "counts": {
                "structures": dict(sorted(Counter(chosen.values()).items())),
                "frames": dict(sorted(Counter(frame["kind"] for frame in frames).items())),
                **({"note": note} if note else {}),
                **({"hull": _counts_of(hull, chosen)} if hull else {}),
                **({"stiff": stiff.phases} if stiff.phases else {}),
            },
        }

    def _stiff_frames(self, parent: str) -> StiffFrames:
        """Further frames of phases that have labels; none where nothing is labelled."""
        from coevo.makers.labels.stiff_frames import WITHIN, StiffFrames, stiff_frames
        from coevo.makers.populations.population import open_state

        if not self.selection.structures:
            return StiffFrames()
        window = WITHIN if self.curation is None else self.curation.hull_window
        return stiff_frames(open_state(current_store(), self.node.name, parent), self.node, self.selection, window)

    def _hull_phases(self, admitted: Mapping[str, Record], parent: str) -> HullPhases | None:
        """Phases on the hull that want a label; None where the hull is not one of labelled phases."""
        from coevo.makers.labels.hull_phases import unlabelled_on_hull
        from coevo.makers.populations.population import open_state

        if self.curation is None:
            return None
        view = open_state(current_store(), self.node.name, parent)
        return unlabelled_on_hull(
            view,
            admitted,
            self.node.elements,
            self.curation,
            first_principles=self.first_principles,
            settings_digest=self._settings_digest(view),
        )

    def _settings_digest(self, view: StateView) -> str:
        """Of the labels of this iteration; empty where a step of the user's makes them, or this machine cannot make any.

        Only the machines that label need have what labels take (executables, potentials), and this step may run on others.
        """
        from coevo.errors import LabellingError
        from coevo.makers.labels.settings import current_settings

        if self.labelling is None:
            return ""
        try:
            return current_settings(self.labelling, self.node.elements, view.labels()).digest
        except LabellingError:
            return ""

    def _spreads(
        self, screened: Mapping[str, Record], evaluated: MembersEvaluated | None, parent: str
    ) -> tuple[dict[str, float], str]:
        """Spread of each admitted candidate over the parent's members, eV/atom; and what is to be said if there is none."""
        from coevo.makers.committee.candidates import NO_MEMBERS, candidate_spreads
        from coevo.makers.populations.population import open_state

        if not self.selection.uncertainty_fraction:
            return {}, ""
        found: dict[str, float] = {}
        if evaluated is not None:
            view = open_state(current_store(), self.node.name, parent)
            found = candidate_spreads(screened, evaluated, view, self.node, self.uncertainty)
        return found, "" if found else NO_MEMBERS

    def _choose(
        self,
        screened: Mapping[str, Record],
        admitted: set[str],
        hull: HullPhases | None,
        spreads: Mapping[str, float],
        parent: str,
        iteration: int,
    ) -> dict[str, str]:
        """Draw the random share from all screened structures first (an honest test sample), the rest from admitted ones.

        Phases on a hull of labelled phases come next, entries of the parent among them, then those in doubt, then where the
        members differ most, then what has new environments, then what is most stable.
        """
        import numpy as np

        from coevo.analysis.environments.descriptors import descriptors_of, rows_by_structure
        from coevo.analysis.selection import select_structures
        from coevo.makers.populations.hull_members import ASKED, DOUBT
        from coevo.makers.populations.population import open_state
        from coevo.node_store.canonical import structure_from_document

        phases, doubted = (hull.phases, hull.doubted) if hull else ({}, {})
        wanted = {**phases, **doubted}
        budget = min(self.selection.structures, len(screened.keys() | wanted.keys()))
        at_random = min(budget, round(budget * self.selection.random_fraction), len(screened))
        ids = sorted(screened)
        rng = np.random.default_rng(seed_for(self.node, iteration, "select"))
        drawn = {ids[i] for i in rng.choice(len(ids), size=at_random, replace=False)} if at_random else set()
        how = dict.fromkeys(sorted(drawn), "random")
        asked = [i for i in wanted if i not in drawn][: budget - at_random]
        how |= {i: ASKED if i in phases else DOUBT for i in asked}
        pool = sorted(admitted - how.keys())
        share = min(round(budget * self.selection.uncertainty_fraction), budget - len(how))
        uncertain = sorted((i for i in pool if i in spreads), key=lambda i: (-spreads[i], i))[:share]
        how |= dict.fromkeys(uncertain, "uncertainty")
        pool = [i for i in pool if i not in how]
        if not pool or budget <= len(how):
            return how
        k, cutoff = self.node.descriptor.neighbours, self.node.descriptor.cutoff
        known = self._known_environments(open_state(current_store(), self.node.name, parent))
        rows = {**wanted, **screened}
        of_drawn, _ = descriptors_of([structure_from_document(rows[i]["structure"]) for i in how], k, cutoff)
        structures = [structure_from_document(screened[i]["structure"]) for i in pool]
        with task("describing environments", len(pool), "structures") as advance:
            of_pool = rows_by_structure(*descriptors_of(structures, k, cutoff, workers=self.usable_workers(), progress=advance))
        return how | select_structures(
            pool,
            [screened[i]["energy_above_hull"] for i in pool],
            of_pool,
            np.concatenate([known, of_drawn]),
            budget=min(budget - len(how), len(pool)),
            random_fraction=0.0,
            novelty_fraction=self.selection.novelty_fraction,
            bandwidth=self.node.descriptor.bandwidth,
            seed=seed_for(self.node, iteration, "select", 1),
        )

    def _known_environments(self, view: StateView) -> Any:
        """Descriptors of what has labels already, and of the references."""
        from coevo.analysis.environments.descriptors import descriptors_of
        from coevo.makers.populations.population import members
        from coevo.node_store.canonical import structure_from_document

        k, cutoff = self.node.descriptor.neighbours, self.node.descriptor.cutoff
        frames = [structure_from_document(d["structure"]) for d in view.labels() if d["kind"] == "relaxed"]
        structures = [m.structure for m in members(view, "reference")] + frames
        return descriptors_of(structures, k, cutoff)[0]

    def _frames_of(self, row: Record, how: str, seed: int) -> list[Record]:
        from coevo.analysis.selection import rattled, strained
        from coevo.node_store.canonical import structure_document, structure_from_document, structure_id

        relaxed = structure_from_document(row["structure"])
        frames = [("relaxed", relaxed)]
        stdev, strain = self.selection.rattle_stdev, self.selection.max_strain
        frames += [("rattled", rattled(relaxed, stdev, seed + i)) for i in range(self.selection.rattled)]
        frames += [("strained", strained(relaxed, strain, seed + 1000 + i)) for i in range(self.selection.strained)]
        path = row["path"][: self.selection.path]
        frames += [("path", structure_from_document(document)) for document in path]
        return [
            {"id": structure_id(s), "structure": structure_document(s), "family": row["id"], "kind": kind, "how": how}
            for kind, s in frames
        ]


def _counts_of(hull: HullPhases, chosen: Mapping[str, str]) -> dict[str, int]:
    """What was on the hull without a label, phases that were not drawn at random, and references; and what else is in doubt."""
    wanted = sum(chosen.get(i) != "random" for i in hull.phases)
    doubted = {"in_doubt": len(hull.doubted)} if hull.doubted else {}
    return {"wanted": wanted, **doubted, "references": len(hull.references)}
