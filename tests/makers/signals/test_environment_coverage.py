"""Which iterations' shares a state records, on atoms that are counted by hand."""

from __future__ import annotations

from typing import Any

from coevo.configs.tree import MaturityConfig
from coevo.makers.signals.environment_coverage import iterations_to_look_at

MATURITY = MaturityConfig(patience=2, coverage_tolerance=0.02)


def looked_at(sizes: list[int], maturity: MaturityConfig = MATURITY, *, every: bool = False) -> list[int]:
    """Of iterations with one entry each, of so many atoms of Li and of P, and a duplicate that does not count."""
    evaluations: list[dict[str, Any]] = [{"kind": "reference", "structure_id": "r", "iteration_added": 0, "duplicate_of": None}]
    geometries = {"r": structure(5000)}
    for number, size in enumerate(sizes, start=1):
        for name, duplicate in ((f"{number}", None), (f"{number} again", f"{number}")):
            evaluations.append(
                {"kind": "entry", "structure_id": name, "iteration_added": number, "duplicate_of": duplicate},
            )
            geometries[name] = structure(size if duplicate is None else 5000)
    return iterations_to_look_at(evaluations, geometries, [len(sizes) + 1], ("Li", "P"), maturity, every=every)


def structure(size: int) -> dict[str, Any]:
    return {"sites": [{"species": [{"element": symbol, "occu": 1}]} for symbol in ("Li", "P") for _ in range(size)]}


def test_iterations_with_atoms_enough_are_the_last_ones_alone() -> None:
    # the last of them made candidates and no entry
    assert looked_at([3000, 3000, 3000, 2000, 10]) == [4, 5, 6]
    assert looked_at([3000, 3000, 3000, 2000, 10], every=True) == [1, 2, 3, 4, 5, 6]


def test_of_few_atoms_there_are_as_many_iterations_as_it_takes() -> None:
    # of earlier iterations 500 atoms are looked at: 1500 and 500 are 2000
    assert looked_at([3000, 3000, 3000, 1500, 10]) == [3, 4, 5, 6]
    assert looked_at([3000, 3000, 3000, 400, 10]) == [1, 2, 3, 4, 5, 6]
    assert looked_at([40, 40, 40, 40, 40]) == [1, 2, 3, 4, 5, 6]
    # a small tolerance asks for more: 2 · 767 of a share of half a per cent, 2 · 3838 of a tenth of one
    small = MATURITY.model_copy(update={"coverage_tolerance": 0.001})
    assert looked_at([3000, 3000, 3000, 2000, 10], small) == [1, 2, 3, 4, 5, 6]


def test_a_young_node_has_what_there_is() -> None:
    assert looked_at([]) == [1]
    assert looked_at([40]) == [1, 2]
