"""Do labels and a force field speak of the same quantities: signs and units of forces, stresses and energies.

A force field that is only roughly right still gives forces and stresses that go with those of a first-principles code. So labels
that go against them, or with them at another scale, have a wrong sign or unit: a stress in kbar or with VASP's sign, forces in
rydberg per bohr, energies of the whole cell. Nothing of this is seen in the numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

SIGNIFICANT = {"forces": 0.1, "stress": 0.01, "energy": 0.01}
"""Of the force field, eV/Å, eV/Å³ and eV/atom; frames whose largest component is smaller say nothing of sign and scale."""
FEWEST = 4
"""Frames with significant numbers."""
CORRELATION = 0.6
"""Below this magnitude, labels and force field do not go together enough to tell a scale."""
ALLOWED = (0.4, 2.5)
"""Scales between a code and a force field that are no question of units: softening of potentials, other functionals."""
UNITS = {
    "forces": {
        25.711: "as if eV/Å were written for Ry/bohr, or the other way round",
        51.422: "as between Ha/bohr and eV/Å",
        13.606: "as between rydberg and eV",
        27.211: "as between hartree and eV",
        23.061: "as between kcal/mol and eV",
        96.485: "as between kJ/mol and eV",
    },
    "stress": {
        10.0: "as between kbar and GPa",
        160.218: "as between GPa and eV/Å³",
        1602.18: "as between kbar and eV/Å³",
        91.8: "as between Ry/bohr³ and eV/Å³",
        183.6: "as between Ha/bohr³ and eV/Å³",
    },
    "energy": {
        13.606: "as between rydberg and eV",
        27.211: "as between hartree and eV",
        23.061: "as between kcal/mol and eV",
        96.485: "as between kJ/mol and eV",
        1000.0: "as between meV and eV",
    },
}
"""Factor to where it comes from; its inverse too."""


@dataclass(frozen=True)
class Agreement:
    """How labels of one quantity go with a force field.

    Attributes
    ----------
    quantity : str
        ``forces``, ``stress`` or ``energy``.
    frames : int
        Frames with significant numbers.
    correlation : float or None
        Without a mean taken off; None if not compared.
    scale : float or None
        Root mean square of the labels over that of the force field, with the sign of the correlation.
    verdict : str
        ``agrees``, ``wrong_sign``, ``wrong_scale`` or ``not_compared``.
    words : str
        What people should know; empty if it agrees.
    """

    quantity: str
    frames: int
    correlation: float | None
    scale: float | None
    verdict: str
    words: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether sign or unit are in doubt."""
        return self.verdict in {"wrong_sign", "wrong_scale"}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(vars(self))


def compare(quantity: str, labels: Sequence[ArrayLike], model: Sequence[ArrayLike]) -> Agreement:
    """Compare labels with what a force field says of the same frames.

    Parameters
    ----------
    quantity : {"forces", "stress", "energy"}
    labels, model : sequences of arrays
        One array a frame, of the same shape in both: forces (n_atoms, 3) in eV/Å, stresses (3, 3) in eV/Å³; for energies one array
        a composition with the differences of its frames from their mean, eV/atom.
    """
    limit = SIGNIFICANT[quantity]
    rows = [(np.ravel(np.asarray(x, dtype=float)), np.ravel(np.asarray(y, dtype=float))) for x, y in zip(labels, model, strict=True)]
    rows = [(x, y) for x, y in rows if len(y) and np.abs(y).max() >= limit]
    count = sum(len(y) for _, y in rows) if quantity == "energy" else len(rows)
    if count < FEWEST:
        what = f"{limit:g} eV/atom apart" if quantity == "energy" else f"above {limit:g} {'eV/Å' if quantity == 'forces' else 'eV/Å³'}"
        return Agreement(
            quantity, count, None, None, "not_compared", f"not compared: {count} frames with {quantity} {what}, {FEWEST} are needed"
        )
    x, y = np.concatenate([x for x, _ in rows]), np.concatenate([y for _, y in rows])
    size = float(np.sqrt((x**2).sum()))
    if size == 0.0:
        return Agreement(quantity, count, None, 0.0, "wrong_scale", f"are zero in {count} frames where the force field's are not")
    correlation = float((x * y).sum() / (size * np.sqrt((y**2).sum())))
    scale = float(np.copysign(size / np.sqrt((y**2).sum()), correlation))
    return Agreement(quantity, count, correlation, scale, *_verdict(quantity, count, correlation, scale))


def _verdict(quantity: str, count: int, correlation: float, scale: float) -> tuple[str, str]:
    numbers = f"correlation {correlation:.2f}, factor {scale:.3g}, {count} frames"
    if abs(correlation) < CORRELATION:
        if not 0.1 < abs(scale) < 10.0:
            return "wrong_scale", f"have nothing to do with the force field's and another size ({numbers}); look at key, unit and order"
        return "not_compared", f"not compared: they do not go with the force field's ({numbers})"
    found = _unit(quantity, abs(scale))
    size = "" if ALLOWED[0] <= abs(scale) <= ALLOWED[1] else f" and a factor {abs(scale):.3g} off{found}"
    if scale < 0:
        hint = "; VASP and pw.x print pressures, and ASE's stress is positive where a cell wants to shrink" if quantity == "stress" else ""
        return "wrong_sign", f"are anti-correlated with the force field's{size} ({numbers}): their sign is wrong{hint}"
    if size:
        return "wrong_scale", f"go with the force field's and are a factor {abs(scale):.3g} off{found} ({numbers}): their unit is wrong"
    return "agrees", ""


def _unit(quantity: str, scale: float) -> str:
    """Where a factor comes from, if it is a known one within a quarter."""
    ratios = {abs(np.log(scale / wanted)): words for factor, words in UNITS[quantity].items() for wanted in (factor, 1.0 / factor)}
    nearest = min(ratios)
    return f", {ratios[nearest]}" if nearest < np.log(1.25) else ""
