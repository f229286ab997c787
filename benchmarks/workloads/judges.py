"""Judges of what a node calls stable: a force field of another family, and reaction energies by Quantum ESPRESSO."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.contracts import Prediction
from local_run import cpu_seconds

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.makers.populations.population import Member
    from coevo.models.contracts import Failure
    from coevo.node_store.store import NodeStore

STABLE = 0.1
"""eV/atom above the hull of the references."""


class FrozenModel:
    """A DPA-3 model that was frozen as TorchScript (``.pth``), which coevo does not read: single points without its environment.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        import torch

        self._model = torch.jit.load(path, map_location="cpu")
        self._types = list(self._model.get_type_map())

    def evaluate(self, structures: list[Structure], *, workers: int) -> list[Prediction | Failure]:  # noqa: ARG002
        """Energies per atom; forces and stresses are left out."""
        import torch

        found: list[Prediction | Failure] = []
        for structure in structures:
            # It takes volumes by their sign: a cell whose vectors are left-handed is inverted, which leaves the energy.
            hand = float(np.sign(np.linalg.det(structure.lattice.matrix)))
            positions = torch.tensor(hand * structure.cart_coords[None])
            types = torch.tensor([[self._types.index(site.specie.symbol) for site in structure]])
            energy = self._model(positions, types, torch.tensor(hand * structure.lattice.matrix.reshape(1, 9)))["energy"].item()
            nothing = np.full((len(structure), 3), np.nan)
            found.append(Prediction(energy / len(structure), nothing, np.full((3, 3), np.nan)))
        return found


def judge_named(name: str) -> Any:
    """The judge of ``FAMILY:WEIGHTS``, or of ``dpa3:PATH`` of a frozen model."""
    from coevo.models.registry import force_field_from

    family, _, weights = name.partition(":")
    if family == "dpa3" and weights.endswith(".pth"):
        return FrozenModel(weights)
    return force_field_from(family, weights or None)


def in_order(members: list[Member], seed: int) -> list[Member]:
    """Members in an order that depends on their ids and the seed alone, so that a larger draw holds the smaller one."""
    return sorted(members, key=lambda m: hashlib.sha256(f"{m.id} {seed}".encode()).hexdigest())


def judge(store: NodeStore, judge_name: str, wanted: int, seed: int) -> dict[str, Any]:
    """Compare state and judge on entries that are drawn at random, and on all that the state has on its hull."""
    from coevo.makers.populations.population import hull_of, members

    view = store.state("discovery@main")
    references = members(view, "reference")
    entries = [m for m in members(view, "entry") if m.document["duplicate_of"] is None]
    drawn = in_order(entries, seed)[:wanted]
    sun = in_order([m for m in entries if m.document["is_sun"]], seed)[:wanted]
    on_hull = [m for m in entries if m.document["energy_above_hull"] <= 1e-8]
    asked = list({m.id: m for m in (*references, *drawn, *sun, *on_hull)}.values())
    before = cpu_seconds()
    found = judge_named(judge_name).evaluate([m.structure for m in asked], workers=1)
    cost = cpu_seconds() - before
    energies = {m.id: p.energy for m, p in zip(asked, found, strict=True) if isinstance(p, Prediction)}
    lost = [m.id for m in references if m.id not in energies]
    if lost:
        raise SystemExit(f"{judge_name} gave no energy of {len(lost)} references, so it has no hull: {lost[0]}")
    elements = view.document["elements"]
    theirs = hull_of(elements, [(m.structure, energies[m.id]) for m in references])
    ours = hull_of(elements, [(m.structure, m.document.get("model_energy_per_atom") or m.energy_per_atom) for m in references])
    above = {"judge": _above(theirs, asked, energies), "model": _above(ours, asked, {m.id: m.energy_per_atom for m in asked})}
    return {
        "judged_by": judge_name if "/" not in judge_name else f"{judge_name.partition(':')[0]}:{Path(judge_name).name}",
        "judge_cpu_seconds": round(cost, 1),
        "random": _shares(drawn, above),
        "sun": _shares(sun, above),
        "entries": len(entries),
        "entries_sun": sum(m.document["is_sun"] for m in entries),
        "on_hull": [
            {"formula": m.document["formula"], "id": m.id, "judge_above_references_mev": round(1e3 * above["judge"][m.id], 1)}
            for m in on_hull
            if m.id in above["judge"]
        ],
        "on_hull_with_electron_excess": sum(_excess(m) for m in on_hull),
        "sun_with_electron_excess": sum(_excess(m) for m in entries if m.document["is_sun"]),
    }


def by_first_principles(
    place: Path, store: NodeStore, wanted: int, largest: int, largest_product: int, seed: int
) -> dict[str, Any]:
    """Reaction energies by pw.x: a third with an electron excess or on the hull, a third S.U.N., the rest others.

    Drawn among entries of at most ``largest`` atoms whose products all have at most ``largest_product``.
    """
    from coevo.makers.populations.population import members
    from workloads.reactions_by_pwx import SETTINGS, Products, reactions

    view = store.state("discovery@main")
    references = members(view, "reference")
    entries = [m for m in members(view, "entry") if not m.document["duplicate_of"] and len(m.structure) <= largest]
    energies = {m.id: m.document.get("model_energy_per_atom") or m.energy_per_atom for m in (*references, *entries)}
    products = Products(references, energies, view.document["elements"])
    left = in_order([m for m in entries if max(len(p.structure) for p, _ in products.of(m)) <= largest_product], seed)
    population = len(left)
    drawn: list[tuple[str, Member]] = []
    for stratum, share, belongs in (
        ("electron excess or on the hull", wanted // 3, lambda m: _excess(m) or m.document["energy_above_hull"] <= 1e-8),
        ("S.U.N.", wanted // 3, lambda m: m.document["is_sun"]),
        ("others", wanted - 2 * (wanted // 3), lambda m: not m.document["is_sun"]),
    ):
        taken = [m for m in left if belongs(m)][:share]
        drawn += [(stratum, m) for m in taken]
        left = [m for m in left if m not in taken]
    rows = reactions(drawn, products, energies, place / "pwx.json")
    known = [row for row in rows if row["pwx_mev"] is not None]
    return {
        "code": "pw.x, PBE, sg15-pbe, single points at the geometries of the state",
        "settings": SETTINGS,
        "largest_cell": largest,
        "largest_product": largest_product,
        "drawn_from": population,
        "reactions": rows,
        "same_sign": sum((row["model_mev"] > 0) == (row["pwx_mev"] > 0) for row in known),
        "known": len(known),
    }


def _excess(member: Member) -> bool:
    from coevo.configs.electrons import electron_excess

    return (electron_excess(member.structure.composition.get_el_amt_dict()) or 0.0) > 0.0


def _above(hull: Any, asked: list[Member], energies: dict[str, float]) -> dict[str, float]:
    from coevo.analysis.composition import fractions

    there = [m for m in asked if m.id in energies]
    shares = fractions([m.structure for m in there], hull.elements)
    values = hull.energy_above_hull(shares, [energies[m.id] for m in there])
    return {m.id: float(value) for m, value in zip(there, values, strict=True)}


def _shares(drawn: list[Member], above: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Share that is stable by the model and by the judge, with Wilson's 95 % intervals, and the mean error of E_hull."""
    from coevo.analysis.intervals import wilson

    both = [m.id for m in drawn if m.id in above["judge"]]
    if not both:
        return {"n": 0}
    row: dict[str, Any] = {"n": len(both)}
    for who in ("model", "judge"):
        count = sum(above[who][i] <= STABLE for i in both)
        row |= {f"{who}_share": count / len(both), f"{who}_interval": [round(x, 4) for x in wilson(count, len(both))]}
    errors = [above["model"][i] - above["judge"][i] for i in both]
    return {**row, "mean_model_minus_judge_mev": round(1e3 * sum(errors) / len(errors), 1)}
