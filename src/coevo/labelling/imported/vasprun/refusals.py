"""VASP runs whose numbers are no energies, forces and stresses of the ground state: a table of checks, each with its sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.labelling.imported.vasprun.functional import POTENTIALS_ONLY

if TYPE_CHECKING:
    from collections.abc import Callable

    from coevo.labelling.imported.vasprun.tags import Tags

SELF_CONSISTENT = ("NORMAL", "VERYFAST", "FAST", "CONJUGATE", "ALL", "DAMPED", "SUBROT", "EXACT")
"""ALGO that minimises the energy. VASP reads as many letters as it needs."""

NOT_SELF_CONSISTENT_IALGO = {2, 3}


def not_minimised(tags: Tags) -> str | None:
    """ALGO = CHI, GW0, BSE, ACFDT, None, … compute something else than a ground state."""
    algo = tags.word("ALGO") or str(tags.asked("ALGO") or "").strip().upper()
    if algo and not any(name.startswith(algo) or algo.startswith(name) for name in SELF_CONSISTENT):
        return f"ALGO = {algo.capitalize()}"
    ialgo = int(tags.number("IALGO", 38))
    return f"IALGO = {ialgo}, which minimises nothing" if ialgo in NOT_SELF_CONSISTENT_IALGO and not algo else None


def fixed_density(tags: Tags) -> str | None:
    """ICHARG from 10 on keeps the density that was read: band structures and densities of states."""
    number = int(tags.number("ICHARG", 0))
    return f"ICHARG = {number}: the density was kept as it was read, the run is not self-consistent" if number >= 10 else None


def linear_response(tags: Tags) -> str | None:
    """In runs of density-functional perturbation theory the electronic steps are those of responses."""
    number = int(tags.number("IBRION", -1))
    if number in {7, 8}:
        return f"IBRION = {number}: density-functional perturbation theory"
    for name in ("LEPSILON", "LCALCEPS", "LCHIMAG", "LRPA", "LCALCPOL"):
        if tags.flag(name):
            return f"{name} is set: a response of the ground state, or its polarisation"
    return None


def no_energy_functional(tags: Tags) -> str | None:
    """A Becke-Johnson potential is the derivative of no energy."""
    meta = tags.word("METAGGA")
    return f"METAGGA = {meta}: a potential that is the derivative of no energy" if meta in POTENTIALS_ONLY else None


def outer_field(tags: Tags) -> str | None:
    """An electric field or a solvent is no property of the crystal."""
    if abs(tags.number("EFIELD", 0.0)) > 1e-12 or any(abs(value) > 1e-12 for value in tags.numbers("EFIELD_PEAD")):
        return "an electric field is applied (EFIELD)"
    return "LSOL is set: the crystal is in a solvent" if tags.flag("LSOL") else None


def chain_of_images(tags: Tags) -> str | None:
    """Forces of a nudged elastic band hold springs."""
    number = int(tags.number("IMAGES", 0))
    return f"IMAGES = {number}: the forces of a nudged elastic band hold its springs" if number > 0 else None


CHECKS: tuple[Callable[[Tags], str | None], ...] = (
    not_minimised,
    fixed_density,
    linear_response,
    no_energy_functional,
    outer_field,
    chain_of_images,
)


def why_no_labels(tags: Tags) -> str | None:
    """Say why a run's numbers are no labels; None if they may be."""
    return next((sentence for sentence in (check(tags) for check in CHECKS) if sentence), None)
