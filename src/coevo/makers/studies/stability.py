"""The result of a study of stability: G(T, p) of each phase, the hulls they make, polymorphs, and who is dynamically unstable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.errors import AnalysisError
from coevo.makers.step import StepMaker, current_store, installed_versions, read_records, step
from coevo.makers.studies.lattice_dynamics import FOLLOWED, HARMONIC, OUTSIDE
from coevo.makers.studies.phonons import PHONON_PACKAGES
from coevo.node_store.shards import write_shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.analysis.phonons.quasi_harmonic import QuasiHarmonic
    from coevo.makers.step import Record, ShardReference

PHASE_FIELDS = ("id", "formula", "kind", "name", "e_hull", "energy_per_atom")
SAME = 5e-4
"""eV/atom; phases that match and are no further apart at rest are one crystal."""
NEGLIGIBLE = 1e-6
"""eV/atom; what the energies of a phase in its state and by its force field differ by without a reason."""


def phase_row(phase: Mapping[str, Any], record: Record) -> Record:
    """Return what the result says of the phonons of a phase.

    Parameters
    ----------
    phase : mapping
        ``id``, ``formula``, ``kind``, ``name``, ``e_hull``, ``energy_per_atom``.
    record : dict
        Of :func:`coevo.makers.studies.phonons.phonons_of_phases`.
    """
    path = record["path"]
    return {
        **{name: phase.get(name) for name in PHASE_FIELDS},
        "status": record["status"],
        "reason": record["reason"],
        "lowest_thz": path[0]["lowest"] if path else None,
        "path": path,
        "given_energy": record["given_energy"],
        "energy": record.get("energy"),
        "supercell_atoms": record.get("supercell_atoms"),
        "supercells": record.get("supercells"),
    }


def entries_of(records: Sequence[Record]) -> dict[str, Record]:
    """Return the fields that queries join to entries and references: ``dynamically_stable``, where it is known."""
    return {
        record["id"]: {"dynamically_stable": record["dynamically_stable"]}
        for record in records
        if record["dynamically_stable"] is not None
    }


@dataclass
class PhononResultMaker(StepMaker):
    """Gather packets of phonons into the result of a study of dynamical stability.

    Attributes
    ----------
    phases : list of dict
        ``id``, ``formula``, ``kind``, ``name``, ``e_hull``, ``energy_per_atom``; in the order of the result.
    """

    name: str = "phonon-result"
    phases: list[dict[str, Any]] = field(default_factory=list)

    @step
    def make(self, packets: list[dict[str, Any]]) -> dict[str, Any]:
        """Gather.

        Parameters
        ----------
        packets : list of dict
            Outputs of :class:`~coevo.makers.studies.phonons.PhononMaker`.

        Returns
        -------
        dict
            ``results``: ``phases`` (:func:`phase_row`), ``counts`` by status; ``entries``, ``artifacts``, ``packages``.
        """
        records, artifact = _gathered(packets)
        rows = [phase_row(phase, records[phase["id"]]) for phase in self.phases]
        results = {"phases": rows, "counts": dict(sorted(Counter(row["status"] for row in rows).items()))}
        return _document(results, records, artifact)


@dataclass
class StabilityResultMaker(StepMaker):
    """Find G(T, p) of each phase and the hulls that they make.

    Attributes
    ----------
    phases : list of dict
        As of :class:`PhononResultMaker`.
    elements : list of str
        Of the node; the hulls are of those that the phases have.
    temperatures, pressures : list of float
        K, GPa.
    formula : str
        Polymorphs of this formula only; empty for hulls.
    matching : dict
        What counts as the same crystal in the node: arguments of :class:`coevo.analysis.comparison.matching.Matching`.
    """

    name: str = "stability-result"
    phases: list[dict[str, Any]] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)
    pressures: list[float] = field(default_factory=list)
    formula: str = ""
    matching: dict[str, Any] = field(default_factory=dict)

    @step
    def make(self, packets: list[dict[str, Any]]) -> dict[str, Any]:
        """Find free energies and hulls.

        Parameters
        ----------
        packets : list of dict
            Outputs of :class:`~coevo.makers.studies.free_energies.FreeEnergyMaker`.

        Returns
        -------
        dict
            ``results``: ``phases``, each with ``gibbs``, ``errors`` (eV/atom), ``volumes`` (Å³/atom) and ``entropies``
            (eV/K/atom) at each pressure and temperature (None where the least value is not within the volumes), the ``residual``
            of its fits and ``shift``; ``static``, energies above the hull of these phases at rest; ``hulls`` at each pressure and
            temperature, with who ``joined`` and ``left`` beside the hull at rest of the phases that have a G there; ``same``,
            phases that are one crystal now; ``polymorphs`` of each formula with several others. ``entries``, ``artifacts``,
            ``packages``.
        """
        records, artifact = _gathered(packets)
        return _document(self.results_of(records), records, artifact)

    def results_of(self, records: Mapping[str, Record]) -> dict[str, Any]:
        """Return the results (:meth:`make`) of records with free energies, by id."""
        rows = [self._row(phase, records[phase["id"]]) for phase in self.phases]
        same = self._same(rows, records)
        others = {each["id"] for each in same}
        return {
            "temperatures": list(self.temperatures),
            "pressures": list(self.pressures),
            "phases": rows,
            "counts": dict(sorted(Counter(row["status"] for row in rows).items())),
            **({"static": None, "hulls": []} if self.formula else self._hulls(rows)),
            "same": same,
            "polymorphs": self._polymorphs([row for row in rows if row["id"] not in others]),
        }

    def _row(self, phase: Mapping[str, Any], record: Record) -> Record:
        row = phase_row(phase, record)
        nothing = [[None] * len(self.temperatures) for _ in self.pressures]
        row |= {"gibbs": nothing, "errors": nothing, "volumes": nothing, "entropies": nothing, "residual": None, "shift": 0.0}
        row["left_out"] = record.get("left_out", [])
        if record["status"] not in (HARMONIC, FOLLOWED):
            return row
        try:
            fit = fitted(record)
        except AnalysisError:
            row["status"] = OUTSIDE  # not unstable: at rest it has no unstable mode, and queries say so
            row["reason"] = (
                f"of {len(record['volumes']) + len(row['left_out'])} volumes {len(row['left_out'])} have no phonons: "
                + (row["left_out"][0]["reason"] if row["left_out"] else "")
            )
            return row
        shift = state_shift(phase, record)
        found = [[fit.gibbs(index, pressure) for index in range(len(self.temperatures))] for pressure in self.pressures]
        row |= {
            "gibbs": [[None if g is None else g.energy + shift for g in line] for line in found],
            "errors": [[None if g is None else g.error for g in line] for line in found],
            "volumes": [[None if g is None else g.volume for g in line] for line in found],
            "entropies": [[None if g is None else g.entropy for g in line] for line in found],
            "residual": {"static": fit.static_residual, "vibrational": fit.residuals.tolist(), "noise": fit.noise.tolist()},
            "shift": shift,
        }
        refused = sum(g is None for line in found for g in line)
        if refused:
            points = len(self.temperatures) * len(self.pressures)
            left_out = len(row["left_out"])
            more = f"; {left_out} of these are left out: {row['left_out'][0]['reason']}" if left_out else ""
            row["reason"] = f"at {refused} of {points} points G is least outside the volumes{more}"
            if refused == points:
                row["status"] = OUTSIDE
        return row

    def _hulls(self, rows: Sequence[Record]) -> Record:
        from coevo.analysis.composition import as_composition
        from coevo.analysis.phonons.hulls import hull_at

        compositions = {row["id"]: row["formula"] for row in rows}
        elements = [symbol for symbol in self.elements if any(symbol in as_composition(row["formula"]) for row in rows)]
        at_rest = {row["id"]: None if row["energy"] is None else row["energy"] + row["shift"] for row in rows if _counts(row)}
        static = hull_at(elements, compositions, at_rest)
        of_same: dict[tuple[str, ...], list[str]] = {}  # most points have the same phases
        hulls = []
        for line, pressure in enumerate(self.pressures):
            for column, temperature in enumerate(self.temperatures):
                hull = hull_at(elements, compositions, {row["id"]: row["gibbs"][line][column] for row in rows})
                # A phase whose G is refused here neither leaves the hull nor lets others join: those here are compared at rest.
                taken = tuple(hull.above)
                if taken not in of_same:
                    of_same[taken] = hull_at(elements, compositions, {name: at_rest.get(name) for name in taken}).stable
                were = of_same[taken]
                hulls.append(
                    {
                        "pressure": pressure,
                        "temperature": temperature,
                        "above": hull.above,
                        "stable": hull.stable,
                        "joined": [name for name in hull.stable if name not in were],
                        "left": [name for name in were if name not in hull.stable],
                        "without": [row["id"] for row in rows if row["gibbs"][line][column] is None],
                        "reason": hull.reason,
                        "missing": list(hull.missing),
                    }
                )
        at_rest_hull = {"above": static.above, "stable": static.stable, "reason": static.reason, "missing": list(static.missing)}
        return {"static": at_rest_hull, "hulls": hulls}

    def _same(self, rows: Sequence[Record], records: Mapping[str, Record]) -> list[Record]:
        """Phases that came to the crystal of another one, as those do that are followed to it; references keep their name."""
        from coevo.analysis.comparison.matching import Matching
        from coevo.analysis.comparison.uniqueness import Item, find_representatives
        from coevo.node_store.canonical import structure_from_document

        taken = {row["id"]: row for row in rows if _counts(row)}
        order = sorted(taken.values(), key=lambda row: (row["status"] == FOLLOWED, row["kind"] != "reference", row["energy"]))
        # matched in this order, and not in that of energies: the place stands for the energy
        items = [
            Item(row["id"], structure_from_document(records[row["id"]]["structure"]), float(place))
            for place, row in enumerate(order)
        ]
        found = find_representatives(items, [], Matching(**self.matching)) if len(items) > 1 else {}
        apart = {name: abs(taken[name]["energy"] - taken[first]["energy"]) for name, first in found.items()}
        return [
            {"id": name, "as": found[name], "difference": apart[name]}
            for name in taken
            if found.get(name, name) != name and apart[name] <= SAME
        ]

    def _polymorphs(self, rows: Sequence[Record]) -> list[Record]:
        """Of each formula with several phases, which is lowest where, and between which temperatures one gives way to another."""
        from coevo.analysis.phonons.hulls import lowest_of, transitions

        formulas: dict[str, list[Record]] = {}
        for row in rows:
            if _counts(row):
                formulas.setdefault(row["formula"], []).append(row)
        found = []
        for formula, mine in formulas.items():
            if len(mine) < 2:
                continue
            lines = []
            for line, pressure in enumerate(self.pressures):
                energies = {row["id"]: row["gibbs"][line] for row in mine}
                errors = {row["id"]: row["errors"][line] for row in mine}
                lines.append(
                    {
                        "pressure": pressure,
                        "lowest": [
                            lowest_of({k: v[column] for k, v in energies.items()}) for column in range(len(self.temperatures))
                        ],
                        "transitions": [vars(each) for each in transitions(self.temperatures, energies, errors)],
                    }
                )
            found.append({"formula": formula, "phases": [row["id"] for row in mine], "pressures": lines})
        return found


def fitted(record: Record) -> QuasiHarmonic:
    """Fit the free energies of a phase over its volumes; raises AnalysisError where there are too few."""
    from coevo.analysis.phonons.quasi_harmonic import quasi_harmonic

    return quasi_harmonic(
        record["volumes"],
        record["energies"],
        record["temperatures"],
        record["free_energies"],
        record["entropies"],
        record["noise"],
    )


def state_shift(phase: Mapping[str, Any], record: Record) -> float:
    """Energy of a phase in its state less that of the force field at the same geometry: of phases with the energy of a label."""
    if phase.get("energy_per_atom") is None or record["given_energy"] is None:
        return 0.0
    shift = float(phase["energy_per_atom"] - record["given_energy"])
    return shift if abs(shift) > NEGLIGIBLE else 0.0


def _counts(row: Mapping[str, Any]) -> bool:
    """Whether a phase takes part in the hulls: an unstable one does not, and is named."""
    return row["status"] in (HARMONIC, FOLLOWED)


def _gathered(packets: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Record], Record]:
    """Return the records of all packets by id, and an artifact with all of them."""
    store = current_store()
    shards: list[ShardReference] = [packet["phases"] for packet in packets]
    records = list(read_records(store, shards))
    artifact = write_shard(store.artifacts, records)
    named = {"name": "phonons.jsonl.zst", "sha256": artifact.sha256, "size": artifact.size}
    return {record["id"]: record for record in records}, named


def _document(results: Record, records: Mapping[str, Record], artifact: Record) -> dict[str, Any]:
    return {
        "results": results,
        "entries": entries_of(list(records.values())),
        "artifacts": [artifact],
        "packages": installed_versions(PHONON_PACKAGES),
    }
