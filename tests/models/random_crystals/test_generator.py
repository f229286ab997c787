"""The embedded generator: the contract, its learned distributions, its units and its operators."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from generator_contract import LI_P_S, GeneratorContract, li_p_s_examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition, Lattice, Molecule, Structure
from pymatgen.symmetry.analyzer import PointGroupAnalyzer, SpacegroupAnalyzer

from coevo.configs.references import load_references
from coevo.configs.tree import GeneratorConfig
from coevo.errors import ModelError
from coevo.models.contracts import Conditions, Example
from coevo.models.random_crystals import packing, space_groups, symmetric, variation
from coevo.models.random_crystals.chemistry import neutrality
from coevo.models.random_crystals.compositions import cell_contents
from coevo.models.random_crystals.context import SamplingContext
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.models.random_crystals.geometry import RejectedDrawError, nearest_distances
from coevo.models.random_crystals.knowledge import ENERGY_CENTRES, Knowledge, binned_preference, energy_bin, preference
from coevo.models.random_crystals.unit_orientation import Site, orientation, point_operations
from coevo.models.random_crystals.units import fragments, same_unit


class TestEmbeddedGenerator(GeneratorContract):
    generator_class = EmbeddedGenerator


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Learned from the bundled known phases."""
    references = load_references("li-p-s", LI_P_S)
    examples = [Example(r.name, r.structure, 0.0) for r in references] + li_p_s_examples()
    return EmbeddedGenerator.initial(GeneratorConfig()).fit(examples, 0)[0].knowledge


@pytest.fixture(scope="module")
def context(knowledge) -> SamplingContext:
    return SamplingContext(knowledge, Conditions(LI_P_S, max_atoms=16))


def drawn(operator, context, count, seed=0):
    """Structures that pass the checks, from an operator."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(60 * count):
        try:
            structure, origin = operator(context, rng)
            context.check(structure)
        except RejectedDrawError:
            continue
        found.append((structure, origin))
        if len(found) == count:
            break
    assert len(found) == count
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_distances_are_those_of_pymatgen(seed):
    rng = np.random.default_rng(seed)
    lattice = Lattice(rng.normal(size=(3, 3)) + 4 * np.eye(3)).get_lll_reduced_lattice()
    a, b = rng.random((3, 3)), rng.random((4, 3))
    np.testing.assert_allclose(nearest_distances(lattice.matrix, a, b), lattice.get_all_distances(a, b), atol=1e-8)


def test_neutral_compositions_are_preferred():
    for neutral, other in [
        ({"Li": 3, "P": 1, "S": 4}, {"Li": 8, "P": 1, "S": 2}),
        ({"Na": 1, "Cl": 1}, {"Na": 3, "Cl": 1}),
        ({"Fe": 2, "O": 3}, {"Fe": 1, "O": 5}),
    ]:
        assert neutrality(neutral) > 3 * neutrality(other)


def test_cell_contents_are_all_compositions():
    assert set(cell_contents(("A", "B"), 4)) == {(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (2, 2)}
    assert len(cell_contents(("A", "B", "C"), 16)) == 560
    large = cell_contents(tuple("ABCDEFGH"), 40)
    assert 1000 < len(large) <= 20_000
    assert all(sum(c) <= 40 and min(c) >= 1 for c in large)


@given(energy=st.floats(-0.5, 2.0), target=st.floats(0.0, 1.0))
def test_a_higher_target_flattens_the_preference(energy, target):
    assert preference(energy, target) >= preference(energy, 0.0) - 1e-12
    counts = [0] * len(ENERGY_CENTRES)
    counts[energy_bin(energy)] = 2
    assert 0 < binned_preference(tuple(counts), target) <= 2


def test_fit_learns_the_phases(knowledge):
    assert {"P1S4", "P2S7", "P4S3", "S8"} <= {u.formula for u in knowledge.units}
    assert {225, 194, 229} <= set(knowledge.space_groups)
    assert 1.9 < knowledge.distances["P-S"] < 2.1
    assert 2.2 < knowledge.distances["Li-S"] < 2.6
    occupations = {(o.space_group, tuple(sorted(o.sites.items()))) for o in knowledge.occupations}
    assert (225, (("Li", ("8c",)), ("S", ("4a",)))) in occupations
    assert "bad" not in {p.id for p in knowledge.parents}


def test_predicted_volumes_follow_the_examples(context):
    assert context.volume({"Li": 8, "S": 4}) / 12 == pytest.approx(15.6, rel=0.06)
    assert context.volume({"S": 16}) / 16 == pytest.approx(36.1, rel=0.1)
    assert context.volume({"Li": 6, "P": 2, "S": 8}) / 16 == pytest.approx(20.7, rel=0.06)


def test_examples_above_the_limit_have_no_weight():
    generator = EmbeddedGenerator.initial(GeneratorConfig(fit_max_e_hull=0.001))
    fitted, report = generator.fit(li_p_s_examples(), 0)
    assert report["used"] == 3
    assert {p.id for p in fitted.knowledge.parents} == {"li2s", "li3p", "li"}


def test_fit_shifts_compositions_to_the_good_examples():
    good = [Example(f"g{k}", s.structure, 0.0) for k, s in enumerate(li_p_s_examples()) if s.id == "gamma"] * 1
    conditions = Conditions(LI_P_S, max_atoms=8)
    initial = EmbeddedGenerator.initial(GeneratorConfig())
    fitted = initial.fit(good, 0)[0]

    def share(generator):
        rows, weights = SamplingContext(generator.knowledge, conditions).compositions.table(frozenset(LI_P_S))
        return sum(w for r, w in zip(rows, weights, strict=True) if r == {"Li": 3, "P": 1, "S": 4}) / weights.sum()

    assert share(fitted) > 2 * share(initial)
    _, weights = SamplingContext(fitted.knowledge, conditions).compositions.table(frozenset(LI_P_S))
    assert weights.min() > 0, "every composition keeps a chance"


def test_target_energy_decides_how_sharp_parents_are_preferred(knowledge):
    worse = knowledge.model_copy(
        update={
            "parents": tuple(p.model_copy(update={"energy_above_hull": 0.05 * k}) for k, p in enumerate(knowledge.parents[:3]))
        }
    )

    def ratio(target):
        weights = [w for _, w in SamplingContext(worse, Conditions(LI_P_S, energy_above_hull=target)).parents]
        return weights[0] / weights[2]

    assert ratio(0.0) > ratio(0.2) > 1.0


def test_fragments_of_known_phases():
    formulas = {}
    for reference in load_references("li-p-s", LI_P_S):
        found = fragments(reference.structure)
        formulas[reference.name] = Counter(Composition(Counter(f.species)).formula.replace(" ", "") for f in found)
    assert formulas["Li2S"] == {}
    assert formulas["Li7P3S11"] == {"P1S4": 2, "P2S7": 2}
    assert set(formulas["P4S3"]) == {"P4S3"}


def test_a_fragment_across_the_boundary_is_unwrapped():
    structure = Structure(Lattice.cubic(12.0), ["P", "P"], [[0.02, 0, 0], [-0.16, 0, 0]])
    (fragment,) = fragments(structure)
    assert np.linalg.norm(fragment.coordinates[0] - fragment.coordinates[1]) == pytest.approx(0.18 * 12.0)


def test_a_chain_is_no_unit():
    assert fragments(Structure(Lattice.orthorhombic(2.1, 9.0, 9.0), ["S"], [[0, 0, 0]])) == []


def test_unit_shapes_do_not_depend_on_orientation():
    (unit, *_) = fragments(next(e.structure for e in li_p_s_examples() if e.id == "gamma"))
    turned = unit.coordinates @ Lattice.cubic(1.0).matrix[[1, 2, 0]]
    assert same_unit(unit.species, unit.coordinates, turned)
    assert not same_unit(unit.species, unit.coordinates, 1.15 * unit.coordinates)


def test_a_tetrahedron_is_oriented_on_special_sites(knowledge):
    unit = next(u for u in knowledge.units if u.formula == "P1S4")
    operations = point_operations(unit.species, unit.coordinates)
    group = PointGroupAnalyzer(Molecule(unit.species, unit.coordinates), tolerance=0.3)
    assert len(operations) + 1 == len(group.get_symmetry_operations())
    mirror = np.diag([1.0, 1.0, -1.0])
    turn = orientation(Site([mirror]), operations, np.random.default_rng(0))
    body = np.array(unit.coordinates) @ turn.T
    image = body @ mirror
    assert np.linalg.norm(body[:, None] - image[None], axis=-1).min(axis=1).max() < 0.3
    assert orientation(Site([-np.eye(3)]), operations, np.random.default_rng(0)) is None, "a tetrahedron has no inversion"


def test_random_crystals_have_the_space_group_that_was_drawn(context):
    for structure, origin in drawn(symmetric.draw_symmetric, context, 8):
        found = SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_operations()
        number = origin["space_group"]
        assert len(found) >= len(space_groups.positions(number)[0].rotations) / space_groups.centring(number)


def test_packed_crystals_hold_their_units_intact(context):
    conditions = Conditions(LI_P_S, max_atoms=16, compositions=("Li3PS4", "Li4P2S7", "P4S3"))
    complete = 0
    for structure, origin in drawn(packing.draw_packing, SamplingContext(context.knowledge, conditions), 12):
        units = Counter(origin["units"])
        used = sum((Composition(u) for u in origin["units"]), Composition({}))
        if any(used[s] < structure.composition[s] for s in ("P", "S")):
            continue  # single atoms beside the units may join them
        complete += 1
        found = Counter("".join(f"{s}{f.species.count(s)}" for s in sorted(set(f.species))) for f in fragments(structure))
        assert found == units
    assert complete >= 4


@pytest.mark.parametrize("name", sorted(variation.OPERATORS))
def test_each_variation_gives_valid_children(context, name):
    ids = {p.id for p, _ in context.parents}
    conditions = Conditions(LI_P_S, max_atoms=16, chemical_systems={"Li-P-S": 1, "Li-S": 1, "Li-P": 1})
    wide = SamplingContext(context.knowledge, conditions)
    for _, origin in drawn(variation.OPERATORS[name][1], wide, 2):
        assert origin["operator"] == name
        assert set(origin["parents"]) <= ids


def test_exchange_changes_the_composition(context):
    parents = {p.id: Composition(Counter(p.species)).reduced_formula for p, _ in context.parents}
    for structure, origin in drawn(variation.exchange, context, 5):
        assert len(structure) <= 16
        assert structure.chemical_system == "Li-P-S"
        assert origin["parents"][0] in parents


def test_checks_reject_what_they_should(context):
    lattice = Lattice.cubic(4.5)
    for structure, reason in [
        (Structure(lattice, ["Li", "Na"], [[0, 0, 0], [0.5, 0.5, 0.5]]), "off_system"),
        (Structure(lattice, ["Li", "S", "P"], [[0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0.5]]), "too_close"),
        (Structure(Lattice.cubic(12.0), ["Li", "S", "P"], np.eye(3) / 2), "volume"),
        (Structure(Lattice.orthorhombic(2, 2, 40), ["Li", "S", "P"], np.eye(3) / 2), "cell_shape"),
        (Structure(lattice, ["Li", "P", *["S"] * 15], np.random.default_rng(0).random((17, 3))), "too_many_atoms"),
        (Structure(lattice, ["Li"], [[np.nan, 0, 0]]), "not_finite"),
    ]:
        with pytest.raises(RejectedDrawError) as caught:
            context.check(structure)
        assert caught.value.reason == reason


def test_senseless_requests_are_errors():
    generator = EmbeddedGenerator.initial()
    with pytest.raises(ModelError, match="give n"):
        generator.sample(-1, Conditions(LI_P_S), 0)
    with pytest.raises(ModelError, match="elements"):
        generator.sample(1, Conditions(()), 0)


def test_fractions_of_the_settings_are_the_mix(knowledge):
    def operators(**fractions):
        generator = EmbeddedGenerator(knowledge.model_copy(update={"settings": GeneratorConfig(**fractions)}))
        sample = generator.sample(12, Conditions(LI_P_S, max_atoms=16), 0)
        return {c.origin["operator"] for c in sample.candidates}

    assert operators(variation_fraction=1.0) <= set(variation.OPERATORS)
    assert operators(variation_fraction=0.0, unit_fraction=1.0) == {"units"}
    assert operators(variation_fraction=0.0, unit_fraction=0.0) <= {"symmetric", "occupation"}


@pytest.mark.parametrize("number", [1, 2, 15, 70, 146, 155, 166, 194, 227])
def test_space_groups_are_those_of_pyxtal(number):
    from pyxtal.symmetry import Group

    group, found = Group(number), space_groups.positions(number)
    assert [p.label for p in found] == [f"{w.multiplicity}{w.letter}" for w in group]
    assert [p.freedom for p in found] == [w.get_dof() for w in group]
    for position, wyckoff in zip(found, group, strict=True):
        assert np.array_equal(position.rotations, [op.rotation_matrix for op in wyckoff.ops])
        assert np.array_equal(position.translations, [op.translation_vector for op in wyckoff.ops])
    assert space_groups.order(number) == found[0].multiplicity
    assert space_groups.centring(number) == group.cellsize()
    assert space_groups.crystal_family(number) == group.lattice_type
    assert space_groups.smallest(number) == min(w.multiplicity for w in group)
    for counts in ((1,), (2, 1), (3, 1, 4), (5, 2), (8, 8, 8)):
        conventional = [n * group.cellsize() for n in counts]
        assert space_groups.compatible(number, counts) == group.check_compatible(conventional)[0]


def test_workers_draw_no_more_than_one_process_would():
    """Where nothing can be drawn, the draws end and are counted as ever."""
    impossible = Conditions(LI_P_S, max_atoms=1, compositions=("Li7P3S11",))
    samples = [EmbeddedGenerator.initial().sample(2, impossible, 0, workers=workers) for workers in (1, 2)]
    assert samples[0].candidates == samples[1].candidates == []
    assert samples[0].rejected == samples[1].rejected == {"no_composition": 28}


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("n", [0, 1, 7])
# outermost: the processes stay for the cases that have as many
@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.long)])
def test_workers_do_not_change_a_draw(knowledge, workers, n, taught):
    generator = EmbeddedGenerator(knowledge) if taught else EmbeddedGenerator.initial()
    conditions = Conditions(LI_P_S, max_atoms=10)

    def drawn_by(workers: int):
        told = []
        sample = generator.sample(n, conditions, 3, progress=told.append, workers=workers)
        assert sum(told) == len(sample.candidates) == n
        return [(c.structure.as_dict(), c.origin) for c in sample.candidates], sample.rejected

    assert drawn_by(workers) == drawn_by(1)


def test_settings_given_at_loading_take_the_place_of_the_checkpoints(tmp_path):
    path = tmp_path / "checkpoint"
    EmbeddedGenerator.initial(GeneratorConfig(variation_fraction=0.4)).save(path)
    assert EmbeddedGenerator.load(path).knowledge.settings.variation_fraction == 0.4
    assert EmbeddedGenerator.load(path, GeneratorConfig(variation_fraction=0.1)).knowledge.settings.variation_fraction == 0.1
