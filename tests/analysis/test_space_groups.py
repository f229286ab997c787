"""Names of space groups, against pymatgen's table and the boundaries of the International Tables."""

from __future__ import annotations

import pytest
from pymatgen.symmetry.groups import SpaceGroup

from coevo.analysis.space_groups import LAST_GROUP, crystal_system, space_group_symbol


@pytest.mark.parametrize(
    ("number", "symbol"),
    [(1, "P1"), (14, "P2_1/c"), (62, "Pnma"), (166, "R-3m"), (194, "P6_3/mmc"), (225, "Fm-3m"), (230, "Ia-3d")],
)
def test_symbols_are_the_short_ones(number: int, symbol: str) -> None:
    assert space_group_symbol(number) == symbol
    assert SpaceGroup(symbol).int_number == number


def test_systems_are_those_of_pymatgen() -> None:
    for number in (1, 2, 3, 15, 16, 74, 75, 142, 143, 167, 168, 194, 195, LAST_GROUP):
        assert crystal_system(number) == SpaceGroup.from_int_number(number).crystal_system
    for number in (0, 231):
        with pytest.raises(ValueError, match="no number of a space group"):
            crystal_system(number)
