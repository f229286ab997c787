"""Who is in doubt: what is like a false minimum and has no label."""

from __future__ import annotations

from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.environments import nearness
from coevo.configs.tree import DescriptorConfig, NodeSection
from coevo.makers.labels.doubt import in_doubt
from coevo.makers.populations.hull_members import Standing
from coevo.makers.populations.population import Member

NODE = NodeSection(name="doubt", elements=("Li", "S"), references="li-p-s", descriptor=DescriptorConfig(neighbours=8, cutoff=4.0))


def member(name: str, structure: Structure, *, stable: bool = True, duplicate: str | None = None) -> Member:
    formula = structure.composition.reduced_formula
    return Member(
        name, structure, -1.0, {"structure_id": name, "formula": formula, "is_stable": stable, "duplicate_of": duplicate}
    )


def caesium_chloride(length: float) -> Structure:
    return Structure(Lattice.cubic(length), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def rocksalt(length: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def with_two_more(structure: Structure) -> Structure:
    """Another composition whose other environments stay as they are: a supercell without one lithium."""
    larger = structure.make_supercell([4, 4, 4] if len(structure) == 2 else [2, 2, 2], in_place=False)
    larger.remove_sites([0])
    return larger


FALSE, TRUE = caesium_chloride(3.1), rocksalt(5.2)
ENTRIES = [
    member("false", FALSE),
    member("true", TRUE),
    member("same formula", rocksalt(5.3)),
    member("its environments", with_two_more(FALSE)),
    member("the other's environments", with_two_more(TRUE)),
    member("not stable", caesium_chloride(3.2), stable=False),
    member("a duplicate", caesium_chloride(3.1), duplicate="false"),
]


def doubted(standing: Standing) -> set[str]:
    documents: list[Any] = [m.document for m in ENTRIES]
    lithium = Structure(Lattice.cubic(3.4), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return set(in_doubt(documents, [member("Li", lithium)], ENTRIES, standing, NODE, 1))


def test_in_doubt_are_its_formula_and_its_environments() -> None:
    standing = Standing(frozenset({"false", "true"}), {"false": -0.7}, frozenset({"false"}))
    assert doubted(standing) == {"same formula", "its environments"}


def test_a_label_ends_the_doubt() -> None:
    labelled = frozenset({"false", "true", "same formula", "its environments"})
    assert doubted(Standing(labelled, {"false": -0.7}, frozenset({"false"}))) == set()


def test_what_a_label_finds_below_the_force_field_makes_no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearness, "nearest_of", lambda *_, **__: pytest.fail("nothing is to be computed"))
    assert doubted(Standing(frozenset({"false", "true"}), {"false": -1.3}, frozenset())) == set()
