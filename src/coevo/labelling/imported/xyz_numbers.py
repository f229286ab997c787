"""Energy, forces and stress of a frame of extended XYZ in eV, eV/Å and eV/Å³: which keys, which units, which sign and order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.configs.structures.extended_xyz import FrameError, numbers_in
from coevo.configs.structures.extended_xyz.units import declared_units, energy_factor, force_factor, length_factor, stress_factor
from coevo.labelling.imported.xyz_keys import choose_keys, key_parts, same_energy_keys

if TYPE_CHECKING:
    from coevo.configs.structures.extended_xyz import XyzFrame
    from coevo.labelling.contract import FloatArray
    from coevo.labelling.imported.contract import LabelKeys
    from coevo.labelling.imported.xyz_keys import ChosenKeys

_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))
"""Places of xx yy zz yz xz xy in a matrix: the order of ASE (``ase.stress``) and MACE."""

_SAME_ENERGY = 1e-3
"""eV/atom; two keys for one energy agree within it."""
_SYMMETRY = 0.02
"""Of the largest component: what a stress may deviate from symmetry by rounding and Pulay noise, and from its virial."""
_SMALL_STRESS = 1e-5
"""eV/Å³."""


@dataclass(frozen=True)
class FrameNumbers:
    """Numbers of a frame.

    Attributes
    ----------
    energy : float
        eV/atom.
    forces : ndarray, shape (n_atoms, 3), or None
        eV/Å.
    stress : ndarray, shape (3, 3), or None
        eV/Å³, ASE sign.
    keys : ChosenKeys
    voigt : bool
        Whether the order of six numbers with shear had to be assumed.
    """

    energy: float
    forces: FloatArray | None
    stress: FloatArray | None
    keys: ChosenKeys
    voigt: bool = False


def energy_of(frame: XyzFrame, named: LabelKeys) -> tuple[float, str]:
    """Return the energy alone, eV/atom, and its key; raises as :func:`numbers_of`, and looks at no forces."""
    keys = choose_keys(frame, named, energy_only=True)
    return _energy(frame, keys), str(keys.energy)


def numbers_of(frame: XyzFrame, named: LabelKeys) -> FrameNumbers:
    """Return energy, forces and stress of one calculation.

    Parameters
    ----------
    frame : XyzFrame
        With a cell.
    named : LabelKeys

    Raises
    ------
    FrameError
        ``missing_…``, ``unclear_keys``, ``unknown_unit``, ``unclear_unit``, ``unclear_stress``, ``unreadable`` or ``not_finite``.
    """
    keys = choose_keys(frame, named)
    _check_declared(frame, keys)
    energy = _energy(frame, keys)
    assert keys.forces is not None
    _check_same_forces(frame, keys)
    forces = frame.array(keys.forces) * force_factor(_unit(frame, keys.forces, "forces"))
    if forces.shape != (len(frame), 3):
        raise FrameError("missing_forces", f"{keys.forces} has {forces.shape[1]} columns, expected 3")
    if not np.isfinite(forces).all():
        raise FrameError("not_finite", f"{keys.forces} holds what is no finite number")
    stress, voigt = _stress(frame, keys)
    return FrameNumbers(energy, forces, stress, keys, voigt)


def _energy(frame: XyzFrame, keys: ChosenKeys) -> float:
    assert keys.energy is not None
    energy = _total(frame, keys.energy)
    for other in same_energy_keys(frame, keys):
        value = _total(frame, other)
        if not abs(value - energy) <= _SAME_ENERGY * len(frame):
            raise FrameError(
                "unclear_keys",
                f"{keys.energy} and {other} are {energy:.6g} and {value:.6g} eV; name the one that is meant with --energy-key",
            )
    return energy / len(frame)


def _total(frame: XyzFrame, key: str) -> float:
    """Energy of the frame by one key, eV."""
    values = numbers_in(frame.info[key])
    if values.shape != (1,):
        raise FrameError("unreadable", f"{key} is {frame.info[key][:40]!r}, expected one number")
    if not np.isfinite(values).all():
        raise FrameError("not_finite", f"{key} is {frame.info[key][:40]!r}")
    parts = key_parts(key)
    unit = _unit(frame, key, "energy")
    if parts is not None and parts.stem == "energy_per_atom":
        unit = f"{unit or 'eV'}/atom" if "atom" not in (unit or "").lower() else unit
    return float(values[0]) * energy_factor(unit, len(frame))


def _unit(frame: XyzFrame, key: str, quantity: str) -> str | None:
    parts = key_parts(key)
    return declared_units(frame.info, parts.family if parts else "").get(quantity)


def _check_declared(frame: XyzFrame, keys: ChosenKeys) -> None:
    """Refuse to guess: where energy, forces or lengths are in other units, all that is read must say its unit."""
    virial_only = keys.stress is None
    quantities = {"energy": keys.energy, "forces": keys.forces, "virial" if virial_only else "stress": keys.virial or keys.stress}
    units = {quantity: _unit(frame, key, quantity) for quantity, key in quantities.items() if key}
    other = [
        f"{quantity} in {units[quantity]}"
        for quantity, factor in (("energy", energy_factor(units.get("energy"), 1)), ("forces", force_factor(units.get("forces"))))
        if abs(factor - 1.0) > 1e-9
    ]
    if abs(length_factor(frame.info) - 1.0) > 1e-9:
        other.append("lengths in another unit than Å")
    silent = [quantity for quantity, unit in units.items() if unit is None]
    if other and silent:
        said = f"it declares {', '.join(other)}, and no unit of {', '.join(silent)}; add {silent[0]}_unit"
        raise FrameError("unclear_unit", said)


def _check_same_forces(frame: XyzFrame, keys: ChosenKeys) -> None:
    """Two columns of forces in one family (``force`` and ``forces``) must agree."""
    assert keys.forces is not None
    first = key_parts(keys.forces)
    if first is None:
        return
    for key in frame.columns:
        parts = key_parts(key)
        if key == keys.forces or parts is None or (parts.quantity, parts.family) != ("forces", first.family):
            continue
        both = frame.array(key), frame.array(keys.forces)
        if both[0].shape == both[1].shape and not np.allclose(*both, rtol=1e-4, atol=1e-5):
            raise FrameError("unclear_keys", f"{keys.forces} and {key} differ; name the one that is meant with --forces-key")


def _stress(frame: XyzFrame, keys: ChosenKeys) -> tuple[FloatArray, bool]:
    """Stress of a frame, from its stress or its virial; where both are there they must agree."""
    assert frame.lattice is not None
    found, voigt = [], False
    for quantity, key in (("stress", keys.stress), ("virial", keys.virial)):
        if key is None:
            continue
        matrix, assumed = _matrix(frame.info[key], key)
        unit = _unit(frame, key, quantity)
        if quantity == "stress":
            found.append(matrix * stress_factor(unit))
        else:
            # W = -V sigma in QUIP, GPUMD, MACE, NequIP and dpdata alike
            found.append(-matrix * energy_factor(unit, len(frame)) / abs(np.linalg.det(frame.lattice)))
        voigt = voigt or assumed
    if len(found) > 1:
        largest = max(np.abs(found[0]).max(), np.abs(found[1]).max())
        if not np.abs(found[0] - found[1]).max() <= _SYMMETRY * largest + _SMALL_STRESS:
            raise FrameError(
                "unclear_stress",
                f"{keys.stress} is not -{keys.virial}/volume; name the one that is right with --stress-key or --virial-key",
            )
    return found[0], voigt


def _matrix(text: str, key: str) -> tuple[FloatArray, bool]:
    """Nine numbers, or six in the order xx yy zz yz xz xy, as a symmetric matrix; and whether that order was assumed."""
    values = numbers_in(text)
    if not np.isfinite(values).all():
        raise FrameError("not_finite", f"{key} is {text[:40]!r}")
    if values.shape == (6,):
        return values[np.array(_VOIGT)], bool(np.abs(values[3:]).max() > _SMALL_STRESS)
    if values.shape != (9,):
        raise FrameError("unreadable", f"{key} has {values.size} numbers, expected 9, or 6 (xx yy zz yz xz xy)")
    matrix = values.reshape(3, 3)
    if np.abs(matrix - matrix.T).max() > _SYMMETRY * np.abs(matrix).max() + _SMALL_STRESS:
        raise FrameError("unclear_stress", f"{key} is not symmetric, so what its numbers are is not clear")
    return 0.5 * (matrix + matrix.T), False
