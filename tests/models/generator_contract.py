"""The suite that every generator family must pass; a family subclasses it and gives its class."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition, Lattice, Structure

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError
from coevo.models.contracts import Conditions, Example, Generator, Sample

LI_P_S = ("Li", "P", "S")


def li_p_s_examples() -> list[Example]:
    """Published phases with rounded coordinates (Li2S, Li3P, γ-Li3PS4 in Pmn2_1, bcc Li), and a bad crystal."""
    li2s = Structure.from_spacegroup(225, Lattice.cubic(5.72), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
    li3p = Structure.from_spacegroup(
        194,
        Lattice.hexagonal(4.24, 7.61),
        ["Li", "Li", "P"],
        [[1 / 3, 2 / 3, 0.5806], [0, 0, 0.25], [1 / 3, 2 / 3, 0.25]],
        tol=1e-2,
    )
    gamma = Structure.from_spacegroup(
        31,
        Lattice.orthorhombic(7.708, 6.535, 6.136),
        ["Li", "Li", "P", "S", "S", "S"],
        [[0.256, 0.326, 0.002], [0, 0.152, 0.493], [0, 0.821, 0.0], [0.219, 0.669, 0.891], [0, 0.119, 0.887], [0, 0.803, 0.334]],
    )
    lithium = Structure(Lattice.cubic(3.43), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    bad = Structure(Lattice.cubic(4.0), ["Li", "S", "P"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    energies = {"li2s": (li2s, 0.0), "li3p": (li3p, 0.0), "gamma": (gamma, 0.002), "li": (lithium, 0.0), "bad": (bad, 1.5)}
    return [Example(name, structure, energy) for name, (structure, energy) in energies.items()]


def same_sample(a: Sample, b: Sample) -> bool:
    """Equal bit for bit."""
    return a.rejected == b.rejected and [(c.structure.as_dict(), c.origin) for c in a.candidates] == [
        (c.structure.as_dict(), c.origin) for c in b.candidates
    ]


class GeneratorContract:
    """Subclass it, name it ``Test…`` and set ``generator_class``.

    Attributes
    ----------
    generator_class : type
        With ``initial(settings)`` and ``load(path)``.
    n : int
        Candidates per check; the family must be able to draw so many of each kind asked for here.
    """

    generator_class: ClassVar[Any]
    n: ClassVar[int] = 12

    @pytest.fixture(scope="class")
    @classmethod
    def initial(cls) -> Generator:
        return cls.generator_class.initial(GeneratorConfig())

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> Generator:
        return cls.generator_class.initial(GeneratorConfig()).fit(li_p_s_examples(), 3)[0]

    @pytest.fixture(params=["initial", "fitted"])
    def generator(self, request: pytest.FixtureRequest) -> Generator:
        found: Generator = request.getfixturevalue(request.param)
        return found

    def test_is_a_generator_with_a_family_and_a_format(self, generator):
        assert isinstance(generator, Generator)
        assert generator.family
        assert generator.format

    def test_gives_as_many_well_formed_candidates_as_asked(self, generator):
        sample = generator.sample(self.n, Conditions(LI_P_S, max_atoms=14), 5)
        assert len(sample.candidates) == self.n
        for candidate in sample.candidates:
            structure = candidate.structure
            assert structure.is_ordered
            assert len(structure) <= 14
            assert {e.symbol for e in structure.composition} <= set(LI_P_S)
            assert np.isfinite(structure.frac_coords).all()
            assert structure.distance_matrix[np.triu_indices(len(structure), 1)].min(initial=9.0) > 1.0
            assert 5.0 < structure.volume / len(structure) < 120.0
            assert candidate.origin["operator"]
            json.dumps(candidate.origin, allow_nan=False)

    def test_same_seed_same_candidates_other_seed_others(self, generator):
        conditions = Conditions(LI_P_S, max_atoms=10)
        first, again, other = (generator.sample(4, conditions, seed) for seed in (11, 11, 12))
        assert same_sample(first, again)
        assert not same_sample(first, other)

    def test_a_longer_sample_starts_with_the_shorter_one(self, generator):
        conditions = Conditions(LI_P_S, max_atoms=10)
        short, long = generator.sample(2, conditions, 1), generator.sample(5, conditions, 1)
        assert [c.structure.as_dict() for c in long.candidates[:2]] == [c.structure.as_dict() for c in short.candidates]

    def test_compositions_are_respected(self, generator):
        wanted = ("Li3PS4", "Li2S")
        sample = generator.sample(self.n, Conditions(LI_P_S, max_atoms=16, compositions=wanted), 2)
        assert len(sample.candidates) == self.n
        assert {c.structure.composition.reduced_formula for c in sample.candidates} == set(wanted)

    def test_chemical_systems_are_respected(self, generator):
        sample = generator.sample(self.n, Conditions(LI_P_S, max_atoms=9, chemical_systems={"Li-S": 1.0, "P": 1.0}), 2)
        assert len(sample.candidates) == self.n
        assert {c.structure.chemical_system for c in sample.candidates} == {"Li-S", "P"}

    def test_without_systems_every_element_is_there(self, generator):
        sample = generator.sample(6, Conditions(LI_P_S, max_atoms=9), 8)
        assert {c.structure.chemical_system for c in sample.candidates} == {"Li-P-S"}

    def test_a_single_element_works(self, generator):
        sample = generator.sample(4, Conditions(("S",), max_atoms=6), 0)
        assert [c.structure.chemical_system for c in sample.candidates] == ["S"] * 4

    @pytest.mark.parametrize("elements", [("Na", "Cl"), ("Fe", "O"), ("Mg", "Si", "O"), ("Cu", "Zn")])
    def test_other_systems_work_as_well(self, generator, elements):
        sample = generator.sample(4, Conditions(elements, max_atoms=8), 0)
        assert len(sample.candidates) == 4
        assert all({e.symbol for e in c.structure.composition} == set(elements) for c in sample.candidates)

    def test_impossible_conditions_end_with_counted_rejections(self, generator):
        sample = generator.sample(3, Conditions(LI_P_S, max_atoms=4, compositions=("Li7P3S11",)), 0)
        assert sample.candidates == []
        assert sum(sample.rejected.values()) > 0
        assert all(isinstance(k, str) and v > 0 for k, v in sample.rejected.items())

    def test_nothing_asked_nothing_given(self, generator):
        assert generator.sample(0, Conditions(LI_P_S), 0).candidates == []

    def test_save_and_load_give_the_same_bytes_and_candidates(self, generator, tmp_path):
        generator.save(tmp_path / "a")
        generator.save(tmp_path / "b")
        loaded = self.generator_class.load(tmp_path / "a")
        loaded.save(tmp_path / "c")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
        conditions = Conditions(LI_P_S, max_atoms=12)
        told: list[int] = []
        assert same_sample(generator.sample(5, conditions, 4), loaded.sample(5, conditions, 4, progress=told.append))
        assert sum(told) == 5

    def test_broken_or_foreign_checkpoints_are_refused(self, fitted, tmp_path):
        fitted.save(tmp_path / "good")
        whole = (tmp_path / "good").read_bytes()
        for name, content in {
            "short": whole[: len(whole) // 2],
            "empty": b"",
            "binary": bytes(range(256)),
            "foreign": b'{"kind": "something-else"}',
            "list": b"[]",
        }.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(CheckpointError, match="checkpoint"):
                self.generator_class.load(tmp_path / name)
        with pytest.raises(CheckpointError, match="missing"):
            self.generator_class.load(tmp_path / "missing")

    def test_fit_gives_a_new_generator_a_json_report_and_leaves_itself(self, initial, tmp_path):
        initial.save(tmp_path / "before")
        fitted, report = initial.fit(li_p_s_examples(), 3)
        initial.save(tmp_path / "after")
        fitted.save(tmp_path / "fitted")
        assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes() != (tmp_path / "fitted").read_bytes()
        assert json.loads(json.dumps(report, allow_nan=False)) == report

    def test_fit_depends_on_the_examples_only(self, initial, fitted, tmp_path):
        """Neither on their order nor on what was learned before: full replay."""
        examples = li_p_s_examples()
        for name, generator in {"a": fitted, "b": initial.fit(examples[::-1], 3)[0], "c": fitted.fit(examples, 3)[0]}.items():
            generator.save(tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()

    def test_fit_on_nothing_works(self, initial):
        fitted, report = initial.fit([], 0)
        assert len(fitted.sample(3, Conditions(LI_P_S, max_atoms=8), 0).candidates) == 3
        json.dumps(report, allow_nan=False)

    def test_fit_brings_draws_closer_to_the_good_examples(self, initial, fitted):
        """Volumes per atom of bcc Li come nearer to the example's 20.2 Å³."""
        conditions = Conditions(("Li",), max_atoms=8)

        def error(generator: Generator) -> float:
            volumes = [c.structure.volume / len(c.structure) for c in generator.sample(24, conditions, 1).candidates]
            return float(np.mean(np.abs(np.log(np.array(volumes) / 20.2))))

        assert error(fitted) < error(initial)

    @settings(max_examples=12, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        max_atoms=st.integers(3, 12),
        target=st.floats(0.0, 0.5),
        formulas=st.sampled_from([(), ("Li2S",), ("LiPS2", "Li3P"), ("S",)]),
    )
    def test_conditions_hold_for_any_seed(self, seed, max_atoms, target, formulas):
        generator = self.generator_class.initial(GeneratorConfig()).fit(li_p_s_examples(), 3)[0]
        conditions = Conditions(LI_P_S, max_atoms=max_atoms, compositions=formulas, energy_above_hull=target)
        sample = generator.sample(2, conditions, seed)
        allowed = {Composition(f).reduced_formula for f in formulas}
        for candidate in sample.candidates:
            assert len(candidate.structure) <= max_atoms
            assert not allowed or candidate.structure.composition.reduced_formula in allowed
