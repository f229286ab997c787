"""Which structures get labels: a random sample, new local environments, and low energy above hull.

Also here, displaced and strained frames: relaxed structures alone have no forces to learn from.

Also here, train, validation and test by family: all frames of one structure stay together, for ever.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np

from coevo.analysis.environments.entropy_gain import greedy_entropy_gain
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure


def rattled(structure: Structure, stdev: float, seed: int) -> Structure:
    """Copy with every atom displaced by independent normal deviates.

    Parameters
    ----------
    structure : Structure
    stdev : float
        Standard deviation of each Cartesian component, Å.
    seed : int
    """
    displacements = np.random.default_rng(seed).normal(0.0, stdev, size=(len(structure), 3))
    return _rebuilt(structure, structure.lattice.matrix, structure.cart_coords + displacements)


def strained(structure: Structure, max_strain: float, seed: int) -> Structure:
    """Copy under a random homogeneous strain: fractional coordinates stay, cell and atoms follow x -> (1 + e) x.

    Parameters
    ----------
    structure : Structure
    max_strain : float
        The six components of the symmetric strain e are uniform in [-max_strain, max_strain].
    seed : int
    """
    components = np.random.default_rng(seed).uniform(-max_strain, max_strain, size=6)
    strain = np.zeros((3, 3))
    strain[np.triu_indices(3)] = components
    strain = strain + np.triu(strain, 1).T
    deformation = np.eye(3) + strain
    return _rebuilt(structure, structure.lattice.matrix @ deformation, structure.cart_coords @ deformation)


def _rebuilt(structure: Structure, cell: NDArray[np.float64], cartesian: NDArray[np.float64]) -> Structure:
    """Same species at new places, without properties: energies or forces of the old geometry must not travel along."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(cell), [site.specie for site in structure], cartesian, coords_are_cartesian=True)


def select_structures(
    ids: Sequence[str],
    energies_above_hull: ArrayLike,
    descriptors_per_structure: Sequence[NDArray[np.float64]],
    known_descriptors: NDArray[np.float64],
    *,
    budget: int,
    random_fraction: float,
    novelty_fraction: float,
    bandwidth: float,
    seed: int,
    max_novelty_e_hull: float | None = None,
) -> dict[str, str]:
    """Spend a budget of structures.

    The random share is drawn first and uniformly among all that were screened, so that it is an honest sample of what the
    generator makes. Then structures that add most new environments to the known and drawn ones
    (:func:`coevo.analysis.environments.entropy_gain.greedy_entropy_gain`), then those of lowest energy above hull. What one share
    cannot use (nothing new is left) goes to the next. The result does not depend on the order of the arguments.

    Parameters
    ----------
    ids : sequence of str, length n
    energies_above_hull : array, shape (n,)
        eV/atom.
    descriptors_per_structure : sequence of ndarray, shape (n_atoms, d)
        Environments of each structure.
    known_descriptors : ndarray, shape (N, d)
        Environments that have labels already; may be empty.
    budget : int
    random_fraction, novelty_fraction : float
        Shares of the budget, rounded; a random share above zero is at least one structure.
    bandwidth : float
        1/Å.
    seed : int
    max_novelty_e_hull : float, optional
        Only structures up to this energy above hull, eV/atom, are chosen for their environments; the wreckage that a generator
        makes has the newest of all.

    Returns
    -------
    dict of str to str
        Id to ``"random"``, ``"environment"`` or ``"stability"``, in the order of choice.

    Raises
    ------
    AnalysisError
        If lengths differ, an id is repeated or an energy is not finite.
    """
    energies = np.asarray(energies_above_hull, dtype=float)
    if not len(ids) == len(energies) == len(descriptors_per_structure):
        counts = f"{len(ids)} ids, {len(energies)} energies and {len(descriptors_per_structure)} sets of descriptors"
        raise AnalysisError(f"got {counts}; one each is needed")
    if len(set(ids)) != len(ids):
        raise AnalysisError("an id is repeated among the structures to select from; give each structure once")
    if not np.isfinite(energies).all():
        raise AnalysisError(
            f"energy above hull of {ids[int(np.flatnonzero(~np.isfinite(energies))[0])]} is not finite; leave it out"
        )
    budget = min(budget, len(ids))
    order = sorted(range(len(ids)), key=lambda index: ids[index])
    n_random = _share(budget, random_fraction)
    drawn = [order[i] for i in np.sort(np.random.default_rng(seed).choice(len(order), size=n_random, replace=False))]
    how = dict.fromkeys(drawn, "random")

    n_novel = min(round(budget * novelty_fraction), budget - n_random)
    pool = [i for i in order if i not in how and (max_novelty_e_hull is None or energies[i] <= max_novelty_e_hull)]
    known = [batch for batch in (known_descriptors, *(descriptors_per_structure[i] for i in drawn)) if len(batch)]
    base = np.concatenate(known) if known else np.empty((0, 0))
    for choice in greedy_entropy_gain([descriptors_per_structure[i] for i in pool], base, bandwidth, n_novel):
        how[pool[choice]] = "environment"

    by_energy = sorted((i for i in order if i not in how), key=lambda index: (energies[index], ids[index]))
    how.update(dict.fromkeys(by_energy[: budget - len(how)], "stability"))
    return {ids[index]: reason for index, reason in how.items()}


def _share(budget: int, fraction: float) -> int:
    """Structures drawn at random: rounded, but never none of a positive share."""
    if budget <= 0 or fraction <= 0:
        return 0
    return min(budget, max(1, round(budget * fraction)))


Split = Literal["train", "validation", "test"]


def split_of(family: str, *, test_fraction: float, validation_fraction: float, seed: int) -> Split:
    """Split of a family, from the hash of its id alone.

    It does not depend on other families or on the iteration. Raising ``test_fraction`` only moves families into test.

    Parameters
    ----------
    family : str
        Id of the source structure of the frames.
    test_fraction, validation_fraction : float
        Expected shares.
    seed : int

    Raises
    ------
    AnalysisError
        If the shares are not within [0, 1] together.
    """
    if test_fraction < 0 or validation_fraction < 0 or not test_fraction + validation_fraction <= 1:
        raise AnalysisError(
            f"test_fraction {test_fraction} and validation_fraction {validation_fraction} must be >= 0 and sum to at most 1"
        )
    position = position_of(family, seed)
    if position < test_fraction:
        return "test"
    return "validation" if position < test_fraction + validation_fraction else "train"


def position_of(family: str, seed: int) -> float:
    """Place of a family in [0, 1), from the hash of its id: test first, then validation, then train."""
    digest = hashlib.sha256(f"coevo-split:{seed}:{family}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
