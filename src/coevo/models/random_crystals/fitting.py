"""Learn from examples: everything is counted again from all of them (full replay), so the order of fits leaves no trace."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.random_crystals.chemistry import prior_volume
from coevo.models.random_crystals.compositions import reduced_key
from coevo.models.random_crystals.focus import report as focus_report
from coevo.models.random_crystals.focus import track
from coevo.models.random_crystals.geometry import nearest_distances, primitive
from coevo.models.random_crystals.knowledge import (
    ENERGY_CENTRES,
    Composition,
    Knowledge,
    Occupation,
    Parent,
    Unit,
    energy_bin,
    pair_key,
    preference,
)
from coevo.models.random_crystals.unit_charges import charges_of
from coevo.models.random_crystals.units import MAX_UNIT, fragments, same_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.contracts import Example

MAX_PARENTS = 400
PARENTS_PER_KIND = 6
"""Parents of one reduced formula and space group, at most."""
PARENTS_PER_FORMULA = 40
MAX_PARENT_ATOMS = 64
MAX_UNITS = 60
UNITS_PER_FORMULA = 4
MAX_OCCUPATIONS = 300
CHARGES_PER_FORMULA = 3
"""Examples of one reduced formula that charges of units are read off, at most."""
CHARGES_BELOW = 0.1
"""E_hull of these, eV/atom, at most."""
_RIDGE = 2.0
"""Weight of the prior volume of an element against the examples, in examples."""


class _Analysed:
    """An example with what the fit reads from it."""

    def __init__(self, example: Example):
        import spglib

        self.id = example.id
        self.energy = float(example.energy_above_hull)
        self.structure = primitive(example.structure)
        self.symbols = [site.specie.symbol for site in self.structure]
        self.amounts = {s: self.symbols.count(s) for s in sorted(set(self.symbols))}
        self.key = reduced_key(self.amounts)
        self.bin = energy_bin(self.energy)
        cell: Any = (self.structure.lattice.matrix, self.structure.frac_coords, [site.specie.Z for site in self.structure])
        found = spglib.get_symmetry_dataset(cell, symprec=0.05, angle_tolerance=5)
        self.space_group = int(found.number) if found is not None else 1
        self.sites = None if found is None else _standard_sites(found)

    @property
    def formula(self) -> str:
        """The reduced formula, as the key of the tables."""
        return " ".join(f"{s}{n}" for s, n in self.key)


def _standard_sites(dataset: Any) -> dict[str, tuple[str, ...]]:
    """Wyckoff labels per element in the standardised conventional cell, from spglib's dataset."""
    import spglib
    from pymatgen.core import Element

    cell = (dataset.std_lattice, dataset.std_positions, dataset.std_types)
    standard = spglib.get_symmetry_dataset(cell, symprec=0.05, angle_tolerance=5)
    if standard is None or standard.number != dataset.number:
        return {}
    orbits: dict[int, list[int]] = {}
    for atom, orbit in enumerate(standard.crystallographic_orbits):
        orbits.setdefault(int(orbit), []).append(atom)
    sites: dict[str, list[str]] = {}
    for orbit, atoms in sorted(orbits.items()):
        symbol = Element.from_Z(int(dataset.std_types[orbit])).symbol
        sites.setdefault(symbol, []).append(f"{len(atoms)}{standard.wyckoffs[orbit]}")
    return {s: tuple(sorted(labels)) for s, labels in sorted(sites.items())}


def _count(table: dict[Any, list[int]], key: Any, index: int) -> None:
    table.setdefault(key, [0] * len(ENERGY_CENTRES))[index] += 1


def _compositions(examples: Sequence[_Analysed]) -> dict[str, Composition]:
    groups: dict[str, list[_Analysed]] = {}
    for example in examples:
        groups.setdefault(example.formula, []).append(example)
    found = {}
    for formula, members in sorted(groups.items()):
        bins = [0] * len(ENERGY_CENTRES)
        cells: dict[int, int] = {}
        atoms = sum(n for _, n in members[0].key)
        for m in members:
            bins[m.bin] += 1
            units = len(m.symbols) // atoms
            cells[units] = cells.get(units, 0) + 1
        weights = np.array([preference(m.energy, 0.0) + 1e-6 for m in members])
        volumes = np.array([m.structure.volume / len(m.symbols) for m in members])
        found[formula] = Composition(
            amounts=dict(members[0].key), bins=tuple(bins), cells=cells, volume=float((weights * volumes).sum() / weights.sum())
        )
    return found


def _volumes(compositions: dict[str, Composition]) -> tuple[dict[str, float], float]:
    """Volume per atom of each element by ridge regression to the prior, and the spread of log(volume / prediction)."""
    symbols = sorted({s for c in compositions.values() for s in c.amounts})
    prior = np.array([prior_volume(s) for s in symbols])
    rows, values = [], []
    for c in compositions.values():
        atoms = sum(c.amounts.values())
        rows.append([c.amounts.get(s, 0) / atoms for s in symbols])
        values.append(c.volume)
    x, y = np.array(rows), np.array(values)
    gram = x.T @ x + _RIDGE * 0.1 * np.eye(len(symbols))
    solution = np.maximum(np.linalg.solve(gram, x.T @ y + _RIDGE * 0.1 * prior), 0.3 * prior)
    spread = float(np.std(np.log(y / (x @ solution)))) if len(y) > 2 else 0.15
    return {s: float(v) for s, v in zip(symbols, solution, strict=True)}, min(max(spread, 0.05), 0.3)


def _distances(examples: Sequence[_Analysed]) -> dict[str, float]:
    """Shortest distance of each pair of elements, Å: the 5 % quantile over examples of each example's shortest."""
    shortest: dict[str, list[float]] = {}
    for example in examples:
        coords = example.structure.frac_coords
        distances = nearest_distances(example.structure.lattice.matrix, coords, coords, same=True)
        index = {s: [i for i, t in enumerate(example.symbols) if t == s] for s in example.amounts}
        for a, rows in index.items():
            for b, columns in index.items():
                if a <= b:
                    shortest.setdefault(pair_key(a, b), []).append(float(distances[np.ix_(rows, columns)].min()))
    return {k: float(np.quantile(v, 0.05)) for k, v in sorted(shortest.items())}


def _units(examples: Sequence[_Analysed]) -> tuple[Unit, ...]:
    """Distinct fragments, from low to high energy of the examples that hold them."""
    kinds: list[tuple[tuple[str, ...], NDArray[np.float64], list[int], str]] = []
    for example in examples:
        fresh: set[int] = set()
        for fragment in fragments(example.structure):
            if len(fragment.species) > MAX_UNIT:
                continue
            match = next(
                (
                    k
                    for k, kind in enumerate(kinds)
                    if kind[0] == fragment.species and same_unit(kind[0], kind[1], fragment.coordinates)
                ),
                None,
            )
            if match is None:
                if sum(kind[0] == fragment.species for kind in kinds) >= UNITS_PER_FORMULA or len(kinds) >= MAX_UNITS:
                    continue
                match = len(kinds)
                kinds.append((fragment.species, fragment.coordinates, [0] * len(ENERGY_CENTRES), example.id))
            if match not in fresh:
                fresh.add(match)
                kinds[match][2][example.bin] += 1
    return tuple(
        Unit(
            formula="".join(f"{s}{species.count(s)}" for s in sorted(set(species))),
            species=species,
            coordinates=tuple((float(x), float(y), float(z)) for x, y, z in coordinates),
            bins=tuple(bins),
            source=source,
        )
        for species, coordinates, bins, source in kinds
    )


def _charges(examples: Sequence[_Analysed]) -> dict[str, int]:
    """Charges of the units in the best examples of each formula; ``examples`` are sorted by energy."""
    best: dict[str, list[Structure]] = {}
    for example in examples:
        members = best.setdefault(example.formula, [])
        if len(members) < CHARGES_PER_FORMULA and example.energy <= CHARGES_BELOW:
            members.append(example.structure)
    return charges_of(structure for members in best.values() for structure in members)


def _parents(examples: Sequence[_Analysed]) -> tuple[Parent, ...]:
    """Low-energy examples, few of one kind; ``examples`` are sorted by energy."""
    per_kind: dict[tuple[str, int], int] = {}
    per_formula: dict[str, int] = {}
    chosen: list[Parent] = []
    for example in examples:
        kind = (example.formula, example.space_group)
        if len(example.symbols) > MAX_PARENT_ATOMS or len(chosen) >= MAX_PARENTS:
            continue
        if per_kind.get(kind, 0) >= PARENTS_PER_KIND or per_formula.get(example.formula, 0) >= PARENTS_PER_FORMULA:
            continue
        per_kind[kind] = per_kind.get(kind, 0) + 1
        per_formula[example.formula] = per_formula.get(example.formula, 0) + 1
        chosen.append(
            Parent(
                id=example.id,
                energy_above_hull=example.energy,
                space_group=example.space_group,
                lattice=_triples(example.structure.lattice.matrix),
                species=tuple(example.symbols),
                coordinates=_triples(example.structure.frac_coords),
            )
        )
    return tuple(chosen)


def _triples(array: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in array)


def learn(knowledge: Knowledge, examples: Sequence[Example]) -> tuple[Knowledge, dict[str, Any]]:
    """Learn from examples; what ``knowledge`` held before is replaced, its settings are kept.

    Parameters
    ----------
    knowledge : Knowledge
        Gives the settings; ``fit_max_e_hull`` is the E_hull above which an example has no weight. With ``depth`` its rounds in
        focus are counted on.
    examples : sequence of Example

    Returns
    -------
    Knowledge, dict
        What was learned, and the report (JSON).
    """
    limit = knowledge.settings.fit_max_e_hull
    good = [e for e in examples if math.isfinite(e.energy_above_hull) and e.energy_above_hull <= limit]
    analysed = sorted((_Analysed(e) for e in good), key=lambda e: (e.energy, e.id))
    report: dict[str, Any] = {"examples": len(examples), "used": len(analysed), "fit_max_e_hull": limit}
    tracked = track(knowledge, examples)
    if not analysed:
        report |= {"note": "no example within fit_max_e_hull: the prior is kept"}
        return Knowledge(settings=knowledge.settings, tracked=tracked), report
    compositions = _compositions(analysed)
    volumes, spread = _volumes(compositions)
    groups: dict[int, list[int]] = {}
    occupations: dict[tuple[int, tuple[tuple[str, tuple[str, ...]], ...]], list[int]] = {}
    for example in analysed:
        _count(groups, example.space_group, example.bin)
        if example.sites and (len(occupations) < MAX_OCCUPATIONS) and example.space_group > 1:
            _count(occupations, (example.space_group, tuple(sorted(example.sites.items()))), example.bin)
    learned = Knowledge(
        settings=knowledge.settings,
        examples=len(analysed),
        compositions=compositions,
        space_groups={n: tuple(b) for n, b in sorted(groups.items())},
        occupations=tuple(Occupation(space_group=n, sites=dict(s), bins=tuple(b)) for (n, s), b in sorted(occupations.items())),
        volumes=volumes,
        volume_spread=spread,
        distances=_distances(analysed),
        units=_units(analysed),
        parents=_parents(analysed),
        tracked=tracked,
        charges=_charges(analysed) if knowledge.settings.depth.in_use else {},
    )
    report |= summary(learned) | focus_report(learned, examples)
    return learned, report | ({"unit_charges": learned.charges} if learned.charges else {})


def summary(knowledge: Knowledge) -> dict[str, Any]:
    """The learned distributions in a few numbers (JSON)."""
    return {
        "compositions": len(knowledge.compositions),
        "space_groups": len(knowledge.space_groups),
        "occupations": len(knowledge.occupations),
        "units": sorted({u.formula for u in knowledge.units}),
        "parents": len(knowledge.parents),
        "volumes_per_atom": dict(knowledge.volumes),
        "shortest_distances": dict(knowledge.distances),
        "lowest_e_hull": min((p.energy_above_hull for p in knowledge.parents), default=None),
    }
