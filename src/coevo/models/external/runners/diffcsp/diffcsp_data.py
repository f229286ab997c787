"""Examples as DiffCSP reads them: tables with a CIF in each row, for training and for validation."""

from __future__ import annotations

import csv
import hashlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PROPERTY = "energy_above_hull"
"""A column that DiffCSP asks for; its model of structures does not use it."""
MOST_ATOMS = 64
"""Of an example: the network has an edge for each pair of its atoms."""
REPEATS = 4
"""Times that each crystal for validation is in the table: each is given noise of its own."""

_SYMBOLS = """
    X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh
    Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr
    Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm
"""
SYMBOLS = _SYMBOLS.split()
"""By atomic number; DiffCSP knows 100 elements."""


def write_tables(directory: Path, training: list[dict[str, Any]], validation: list[dict[str, Any]]) -> None:
    """Write ``train.csv`` and ``val.csv``."""
    directory.mkdir(parents=True)
    _write(directory / "train.csv", training, 1)
    _write(directory / "val.csv", validation, REPEATS)


def _write(path: Path, examples: list[dict[str, Any]], repeats: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["material_id", PROPERTY, "cif"])
        for repeat in range(repeats):
            for example in examples:
                table.writerow([f"{example['id']}/{repeat}", repr(float(example[PROPERTY])), cif(example)])


def cif(example: dict[str, Any]) -> str:
    """An example as a CIF in P1, which says the lengths and angles of the cell."""
    a, b, c = example["lattice"]
    lengths = [math.sqrt(sum(x * x for x in row)) for row in (a, b, c)]
    angles = [_angle(b, c), _angle(a, c), _angle(a, b)]
    lines = ["data_example", "_symmetry_space_group_name_H-M 'P 1'", "_symmetry_Int_Tables_number 1"]
    lines += [f"_cell_length_{name} {value:.8f}" for name, value in zip("abc", lengths)]  # noqa: B905 - Python 3.8
    lines += [f"_cell_angle_{name} {value:.8f}" for name, value in zip(("alpha", "beta", "gamma"), angles)]  # noqa: B905
    lines += ["loop_", "_symmetry_equiv_pos_as_xyz", "'x, y, z'"]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += ["_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z", "_atom_site_occupancy"]
    sites = zip(example["species"], example["positions"])  # noqa: B905
    for index, (symbol, (x, y, z)) in enumerate(sites):
        lines.append(f"{symbol}{index} {symbol} {x % 1.0:.8f} {y % 1.0:.8f} {z % 1.0:.8f} 1")
    return "\n".join(lines) + "\n"


def _angle(first: list[float], second: list[float]) -> float:
    product = sum(x * y for x, y in zip(first, second))  # noqa: B905
    norms = math.sqrt(sum(x * x for x in first) * sum(x * x for x in second))
    return math.degrees(math.acos(max(-1.0, min(1.0, product / norms))))


def split(examples: list[dict[str, Any]], fraction: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Examples for training and for validation, by their ids alone, so that each stays where it is in every iteration.

    Where chance leaves none of three or more for validation, it is the one whose turn would come next: a network from scratch has
    to be trained on the few references that a node begins with. If that one leaves the examples, one that was learned from takes
    its place.
    """
    places = [_place(example["id"]) for example in examples]
    border = fraction if len(examples) < 3 else max(fraction, min(places, default=0.0))
    of_validation = [place < fraction or place == border for place in places]
    training = [example for example, held in zip(examples, of_validation) if not held]  # noqa: B905 - Python 3.8
    return training, [example for example, held in zip(examples, of_validation) if held]  # noqa: B905


def _place(identity: str) -> float:
    """A number from 0 to 1 that follows from an id."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") / 2**32
