"""Labels and a force field that one constant per element does not bring together: how far they are apart, in words.

What the offsets between two energy scales leave (:mod:`coevo.analysis.hull.energy_scale`) is a difference between elements and
compounds that no constant per element takes away. A force field that is trained on such labels learns it, and every formation
energy with it: r2SCAN labels for a force field of corrected PBE left 0.1 eV/atom in Li-P-S, as much as decides about stability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.hull.energy_scale import Offsets, Residual

LIMIT = 0.030
"""eV/atom; offsets with a larger ``residual_rms`` are refused. Two sets of PBE potentials differ by less: ``pw.x`` with those of
SG15 and the Materials Project's VASP by 28 meV/atom in the formation energy of Li2S, a residual of 13 (docs/espresso.md)."""


def is_mismatch(offsets: Offsets) -> bool:
    """Whether two energy scales are further apart than offsets can mend."""
    return offsets.residual_rms > LIMIT


def mismatch_words(offsets: Offsets) -> str:
    """Say why offsets are refused, with every residual, the limit and what to do."""
    return (
        "the labels do not fit the energy scale of the force field, so nothing is trained on them: after one offset per element "
        f"{_rms_words(offsets)}, allowed: {1000 * LIMIT:.0f} "
        f"(force field minus label: {residual_words(offsets.residuals)} meV/atom); "
        "take labels and a force field of one functional (another labelling.teacher or labelling.code, or other weights at "
        "screening.force_field; for plain PBE labels a force field on node.energy_scale: pbe), or accept it with "
        "labelling.accept_scale_mismatch: true"
    )


def offsets_words(offsets: Offsets, most: int | None = 3, *, accepted: bool) -> str:
    """Say how well labels and force field fit together: the residual, and of which references it is largest.

    Parameters
    ----------
    offsets : Offsets
    most : int or None
        Residuals that are told; all by None.
    accepted : bool
        Whether the configuration accepts a mismatch (``labelling.accept_scale_mismatch``). Offsets are frozen, so some stay that
        it would not have fitted.
    """
    if not offsets.is_tested:
        return _rms_words(offsets)
    known = residual_words(offsets.residuals, most)
    what = "largest residuals" if most is not None and len(offsets.residuals) > most else "residuals"
    told = f"; {what}, force field minus label: {known} meV/atom" if known else ""
    why = "accepted" if accepted else "frozen as they were fitted, labelling.accept_scale_mismatch is off"
    beyond = f" (more than {1000 * LIMIT:.0f}: {why})" if is_mismatch(offsets) else ""
    return f"{_rms_words(offsets)}{beyond}{told}"


def residual_words(residuals: Sequence[Residual], most: int | None = None) -> str:
    """Residuals in meV/atom, the largest first; a formula that two references have is told apart by the beginning of the id."""
    formulas = [residual.formula for residual in residuals]
    return ", ".join(
        f"{residual.formula}{f' {residual.reference[:8]}' if formulas.count(residual.formula) > 1 else ''} "
        f"{1000 * residual.value:+.0f}".replace("-", "\u2212")
        for residual in largest_first(residuals)[:most]
    )


def largest_first(residuals: Sequence[Residual]) -> list[Residual]:
    """Sort residuals by size, those that agree to 1e-6 eV/atom by formula and id."""
    return sorted(residuals, key=lambda residual: (-round(abs(residual.value), 6), residual.formula, residual.reference))


def _rms_words(offsets: Offsets) -> str:
    if not offsets.is_tested:
        return f"how far the references are off is not known: {offsets.n} of them for as many constants, which meet them exactly"
    return f"the references are off by {1000 * offsets.residual_rms:.0f} meV/atom (rms)"
