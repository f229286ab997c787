"""Reaction energies by Quantum ESPRESSO: entries of a state against the references that its force field decomposes them into.

Single points at the geometries of the state, by coevo's own labelling code, each stored in a file as soon as it is there: a run
that was killed goes on. The products of a reaction are those of the force field's hull of the references, so that both compare
the same reaction.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from coevo.makers.populations.population import Member

SETTINGS: dict[str, Any] = {"ecutwfc": 50.0, "k_spacing": 0.4, "max_seconds": 36_000}
"""Of :class:`coevo.configs.tree.EspressoConfig`; the rest are its defaults."""


class Energies:
    """Energies of structures by ``pw.x``, kept in a JSON file.

    Parameters
    ----------
    path : Path
        Content id of the structure to energy (eV/atom), or to the reason why there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, member: Member) -> float | None:
        """Energy of a member at its present geometry, eV/atom; None where there is none."""
        from coevo.node_store.canonical import structure_id

        key = structure_id(member.structure)
        if key not in self.found:
            self.found[key] = self._label(member)
            self.path.write_text(json.dumps(self.found, indent=1))
        value = self.found[key]
        return value if isinstance(value, float) else None

    def _label(self, member: Member) -> float | str:
        from coevo.configs.tree import EspressoConfig
        from coevo.labelling.espresso.labeller import EspressoLabeller
        from coevo.labelling.espresso.pseudopotentials import directory_of_potentials, split_command
        from coevo.settings import read_settings

        settings = read_settings()
        with tempfile.TemporaryDirectory() as scratch:
            labeller = EspressoLabeller(
                EspressoConfig(**SETTINGS),
                command=split_command(settings.espresso_command),
                potentials=directory_of_potentials(settings.pseudopotentials),
                scratch=Path(scratch),
            )
            (result,) = labeller.label([member.structure])
        print(
            f"  pw.x: {member.document['formula']} ({len(member.structure)} atoms) {result.energy or result.reason}", flush=True
        )
        return float(result.energy) if result.energy is not None else f"{result.reason}: {result.detail}"


class Products:
    """What the force field decomposes structures into: the phases of its hull of the references.

    Parameters
    ----------
    references : list of Member
    model_energies : dict
        Id to the energy of the state's force field, eV/atom.
    elements : list of str
    """

    def __init__(self, references: list[Member], model_energies: dict[str, float], elements: list[str]) -> None:
        from coevo.analysis.composition import fractions
        from coevo.analysis.hull.hull import Hull

        self._references, self._elements = references, elements
        shares = fractions([m.structure for m in references], elements)
        self._hull = Hull.from_points(elements, shares, [model_energies[m.id] for m in references])

    def of(self, member: Member) -> list[tuple[Member, float]]:
        """Products of an entry and their shares of its atoms."""
        from coevo.analysis.composition import fractions

        found = self._hull.decomposition(fractions([member.structure], self._elements)[0])
        return [(self._references[i], share) for i, share in found.items()]


def reactions(
    drawn: list[tuple[str, Member]], products: Products, model_energies: dict[str, float], path: Path
) -> list[dict[str, Any]]:
    """Energies of the reactions from products to entries, by the model and by pw.x.

    Parameters
    ----------
    drawn : list of (str, Member)
        Stratum and entry.
    products : Products
    model_energies : dict
        Id to the energy of the state's force field, eV/atom.
    path : Path
        File of the energies.

    Returns
    -------
    list of dict
        ``stratum, id, formula, atoms, products, model_mev, pwx_mev`` (meV/atom, positive: the products are more stable; None
        where a calculation has no energy).
    """
    energies = Energies(path)
    rows = []
    for stratum, member in drawn:
        phases, shares = zip(*products.of(member), strict=True)
        model = model_energies[member.id] - sum(x * model_energies[m.id] for m, x in zip(phases, shares, strict=True))
        own = energies.of(member)
        theirs = [energies.of(phase) for phase in phases]
        known = None if own is None or None in theirs else own - float(np.dot(shares, np.array(theirs, dtype=float)))
        rows.append(
            {
                "stratum": stratum,
                "id": member.id,
                "formula": member.document["formula"],
                "atoms": len(member.structure),
                "products": {m.document["formula"]: round(x, 4) for m, x in zip(phases, shares, strict=True)},
                "model_mev": round(1e3 * model, 1),
                "pwx_mev": None if known is None else round(1e3 * known, 1),
            }
        )
    return rows
