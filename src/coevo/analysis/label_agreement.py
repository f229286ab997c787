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

SIGNIFICANT = {"forces": 0.1, "stress": 0.02, "energy": 0.01}
"""Of the force field, eV/Å, eV/Å³ and eV/atom; frames whose largest component is smaller say nothing of sign and scale.
Stresses of two functionals differ by their lattice constants, about 0.01 eV/Å³ in a frame that is relaxed by one of them."""
SIGNIFICANT_DIFFERENCE = 0.003
"""eV/Å³; of stresses of frames of one composition from their mean, in which such a difference is not left."""
FEWEST = 5
"""Frames with significant numbers."""
CORRELATION = 0.6
"""Below this magnitude, labels and force field do not go together enough to tell a scale."""
MOST_OF_THEM = 0.8
"""Share of the frames that must have the sign of them all."""
ALLOWED = (0.4, 2.5)
"""Scales between a code and a force field that are no question of units: softening of potentials, other functionals."""
BEYOND = {"forces": 2.0, "stress": 0.1}
"""eV/Å and eV/Å³ (16 GPa); one frame with such numbers tells, if those of the force field are a tenth of it or less."""
UNITS = {
    "forces": {
        25.711: "Ry/bohr and eV/Å",
        51.422: "hartree/bohr and eV/Å",
        13.606: "rydberg and eV",
        27.211: "hartree and eV",
        23.061: "kcal/mol and eV",
        96.485: "kJ/mol and eV",
    },
    "stress": {
        10.0: "kbar and GPa",
        160.218: "GPa and eV/Å³",
        1602.18: "kbar and eV/Å³",
        91.8: "Ry/bohr³ and eV/Å³",
        183.6: "hartree/bohr³ and eV/Å³",
    },
    "energy": {
        13.606: "rydberg and eV",
        27.211: "hartree and eV",
        23.061: "kcal/mol and eV",
        96.485: "kJ/mol and eV",
        1000.0: "meV and eV",
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


def compare(quantity: str, labels: Sequence[ArrayLike], model: Sequence[ArrayLike], formulas: Sequence[str]) -> Agreement:
    """Compare labels with what a force field says of the same frames.

    Parameters
    ----------
    quantity : {"forces", "stress", "energy"}
    labels, model : sequences of arrays
        One array a frame, of one shape in both: forces (n_atoms, 3) in eV/Å, stresses (3, 3) in eV/Å³, energies in eV/atom.
    formulas : sequence of str
        Composition of each frame. Energies, and stresses where there are three frames of a composition, are compared as
        differences from the mean of the composition: what two codes or functionals differ by is not left in them.
    """
    pairs = [
        (np.ravel(np.asarray(x, dtype=float)), np.ravel(np.asarray(y, dtype=float))) for x, y in zip(labels, model, strict=True)
    ]
    rows: list[tuple[FloatArray, FloatArray]] = []
    for formula in sorted(set(formulas)):
        own = [pair for pair, name in zip(pairs, formulas, strict=True) if name == formula]
        limit = SIGNIFICANT[quantity]
        if quantity != "forces" and len(own) > 2:
            mean_x, mean_y = (np.mean([pair[side] for pair in own], axis=0) for side in (0, 1))
            own = [(x - mean_x, y - mean_y) for x, y in own]
            limit = min(limit, SIGNIFICANT_DIFFERENCE) if quantity == "stress" else limit
        elif quantity == "energy":
            own = []
        rows += [(x, y) for x, y in own if len(y) and np.abs(y).max() >= limit]
    found = _compared(quantity, rows)
    return (_far_beyond(quantity, pairs) or found) if found.verdict == "not_compared" else found


def _far_beyond(quantity: str, pairs: Sequence[tuple[FloatArray, FloatArray]]) -> Agreement | None:
    """Tell numbers of another size from few frames, which say nothing of a sign; None if there are none, or not in most."""
    large = [pair for pair in pairs if len(pair[0]) and np.abs(pair[0]).max() >= BEYOND.get(quantity, np.inf)]
    sizes = [(float(np.linalg.norm(x)), float(np.linalg.norm(y))) for x, y in large]
    far = [x / max(y, 1e-6) for x, y in sizes if x > 10.0 * y]
    if not far or 2 * len(far) < len(large):
        return None
    factor = float(np.median(far))
    times = f"{factor:.3g} times as large as the force field's in {len(far)} of the frames"
    words = f"are {times}{_unit(quantity, factor)}; look at their unit"
    return Agreement(quantity, len(far), None, factor, "wrong_scale", words)


def _compared(quantity: str, rows: Sequence[tuple[FloatArray, FloatArray]]) -> Agreement:
    count = len(rows)
    if count < FEWEST:
        what = {"forces": "large forces", "stress": "a large stress", "energy": "an energy that tells"}[quantity]
        return Agreement(
            quantity, count, None, None, "not_compared", f"not compared: {count} frames with {what}, {FEWEST} needed"
        )
    x, y = np.concatenate([x for x, _ in rows]), np.concatenate([y for _, y in rows])
    size = float(np.sqrt((x**2).sum()))
    if size == 0.0:
        return Agreement(quantity, count, None, 0.0, "wrong_scale", f"are zero in {count} frames where the force field's are not")
    correlation = float((x * y).sum() / (size * np.sqrt((y**2).sum())))
    scale = float(np.copysign(size / np.sqrt((y**2).sum()), correlation))
    agreeing = float(np.mean([np.sign((x * y).sum()) == np.sign(correlation) for x, y in rows]))
    return Agreement(quantity, count, correlation, scale, *_verdict(quantity, count, correlation, scale, agreeing))


def _verdict(quantity: str, count: int, correlation: float, scale: float, agreeing: float) -> tuple[str, str]:
    numbers = f"correlation {correlation:.2f}, factor {scale:.3g}, {count} frames"
    if abs(correlation) < CORRELATION or agreeing < MOST_OF_THEM:
        if not 0.1 < abs(scale) < 10.0:
            return (
                "wrong_scale",
                f"have nothing to do with the force field's and another size ({numbers}); look at key, unit and order",
            )
        return "not_compared", f"not compared: they do not go with the force field's ({numbers})"
    found = _unit(quantity, abs(scale))
    size = "" if ALLOWED[0] <= abs(scale) <= ALLOWED[1] else f" and a factor {abs(scale):.3g} off{found}"
    if scale < 0:
        hint = (
            "; VASP and pw.x print pressures, and ASE's stress is positive where a cell wants to shrink"
            if quantity == "stress"
            else ""
        )
        return "wrong_sign", f"are anti-correlated with the force field's{size} ({numbers}): their sign is wrong{hint}"
    if size:
        return (
            "wrong_scale",
            f"go with the force field's and are a factor {abs(scale):.3g} off{found} ({numbers}): their unit is wrong",
        )
    return "agrees", ""


def _unit(quantity: str, scale: float) -> str:
    """Units that a factor may come from: those within a factor of 1.8, because a force field is softer or stiffer than a code."""
    near = {
        abs(np.log(scale / wanted)): f"{factor:g}: {words}"
        for factor, words in UNITS[quantity].items()
        for wanted in (factor, 1.0 / factor)
        if abs(np.log(scale / wanted)) < np.log(1.8)
    }
    return f" (near {'; '.join(near[distance] for distance in sorted(near))})" if near else ""
