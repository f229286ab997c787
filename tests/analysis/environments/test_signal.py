"""The environments' signal against QUESTS, on crystals of the bundled phases and shaken ones."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from pymatgen.io.ase import AseAtomsAdaptor
from quests.descriptor import get_descriptors_multicomponent
from quests.entropy import delta_entropy as quests_delta_entropy
from quests.entropy import entropy as quests_entropy

from coevo.analysis.environments.descriptors import descriptors_of, multicomponent_descriptors_of
from coevo.analysis.environments.entropy import draws, sampled_entropies
from coevo.analysis.environments.signal import Share, entropy_document, multicomponent_entropies, new_environments
from coevo.configs.references import load_references

ELEMENTS = ("Li", "P", "S")
H = 0.015


@pytest.fixture(scope="module")
def crystals():
    known = [phase.structure for phase in load_references("li-p-s", ELEMENTS) if len(phase.structure) < 60]
    shaken = [structure.copy().perturb(0.02 * (i + 1), seed=i) for i, structure in enumerate(known)]
    return [*known, *shaken]


def centres(structures):
    return [site.specie.symbol for structure in structures for site in structure]


def test_multicomponent_entropies_equal_quests(crystals):
    crystals = crystals[len(crystals) // 2 :]  # of perfect ones the k-th neighbour is one of several
    found = multicomponent_entropies(
        crystals, 60, elements=ELEMENTS, neighbours=32, cutoff=5.0, bandwidth=H, subsamples=3, seed=5
    )
    atoms = [AseAtomsAdaptor.get_atoms(structure, msonable=False) for structure in crystals]
    theirs = get_descriptors_multicomponent(atoms, k=32, cutoff=5.0, species=list(ELEMENTS))
    symbols = np.array(centres(crystals))
    for name in (None, *ELEMENTS):
        mine = np.arange(len(symbols)) if name is None else np.flatnonzero(symbols == name)
        values = [quests_entropy(theirs[mine[rows]], h=H) for rows in draws(len(mine), 60, 3, 5)]
        estimate = found.total if name is None else found.per_species[name]
        assert estimate.mean == pytest.approx(np.mean(values), abs=1e-6)
        assert estimate.standard_error == pytest.approx(np.std(values, ddof=1) / sqrt(3), abs=1e-6)
    assert found.counts == {name: int((symbols == name).sum()) for name in ELEMENTS}


def test_both_descriptors_draw_the_same_atoms_and_seeing_species_never_lowers_the_entropy(crystals):
    sampling = {"bandwidth": H, "subsamples": 2, "seed": 3}
    X, _ = descriptors_of(crystals)
    plain = sampled_entropies(X, centres(crystals), 80, elements=ELEMENTS, **sampling)
    seeing = multicomponent_entropies(crystals, 80, elements=ELEMENTS, neighbours=32, cutoff=5.0, **sampling)
    assert seeing.total.mean >= plain.total.mean
    assert all(seeing.per_species[name].mean >= plain.per_species[name].mean for name in ELEMENTS)


def test_chosen_rows_are_those_of_the_whole_description(crystals):
    rng = np.random.default_rng(0)
    chosen = [np.sort(rng.choice(len(s), size=min(3, len(s)), replace=False)) for s in crystals]
    rows = multicomponent_descriptors_of(crystals, ELEMENTS, atoms=chosen)
    whole = [
        multicomponent_descriptors_of([s], ELEMENTS, atoms=[np.arange(len(s))])[sites]
        for s, sites in zip(crystals, chosen, strict=True)
    ]
    assert (rows == np.concatenate(whole)).all()
    assert multicomponent_descriptors_of([], ELEMENTS, atoms=[]).shape == (0, 4 * 63)


def test_too_few_environments_are_no_signal(crystals):
    found = multicomponent_entropies(
        crystals[:2], 10_000, elements=ELEMENTS, neighbours=32, cutoff=5.0, bandwidth=H, subsamples=2, seed=0
    )
    assert found.total is None
    assert entropy_document(found, 10) is None


def test_share_of_new_environments_equals_quests(crystals):
    known, new = crystals[::2], crystals[1::2]
    (X, _), (Y, _) = descriptors_of(known), descriptors_of(new)
    found = new_environments(Y, centres(new), X, centres(known), elements=ELEMENTS, limit=10_000, bandwidth=H, seed=0)
    of_new, of_known = np.array(centres(new)), np.array(centres(known))
    hits = 0
    for name in ELEMENTS:
        gain = quests_delta_entropy(Y[of_new == name], X[of_known == name], h=H)
        share = found.per_species[name]
        assert (share.fraction, share.n) == ((gain > 1e-9).mean(), len(gain))
        hits += (gain > 1e-9).sum()
    assert found.total == Share.counted(int(hits), len(Y))
    assert 0.0 < found.total.fraction < 1.0


def test_nothing_is_new_among_what_is_known_and_all_of_it_without(crystals):
    X, _ = descriptors_of(crystals)
    arguments = {"elements": (*ELEMENTS, "O"), "limit": 50, "bandwidth": H, "seed": 0}
    again = new_environments(X, centres(crystals), X, centres(crystals), **arguments)
    assert (again.total.fraction, again.total.n) == (0.0, 50)
    assert again.per_species["O"] is None
    first = new_environments(X, centres(crystals), X[:0], [], **arguments)
    assert first.total.fraction == 1.0
    assert new_environments(X[:0], [], X, centres(crystals), **arguments).to_dict() is None
