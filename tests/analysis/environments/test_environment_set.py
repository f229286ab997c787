from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.analysis.environments import kernel_sums
from coevo.analysis.environments.entropy import delta_entropy, entropy
from coevo.analysis.environments.environment_set import EnvironmentSet
from coevo.errors import AnalysisError

H = 0.015


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), parts=st.integers(1, 6), large=st.booleans())
def test_batch_by_batch_gives_the_entropy_of_all(cloud, seed, parts, large):
    rng = np.random.default_rng(seed)
    shuffled = cloud[rng.permutation(len(cloud))]
    cuts = np.sort(rng.integers(0, len(cloud), parts - 1))
    known = EnvironmentSet(H)
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(kernel_sums, "_FEW_COLUMNS", 0)
            patch.setattr(kernel_sums, "_FEW_PAIRS", 0)
        for batch in np.split(shuffled, cuts):
            known.add(batch)
    assert len(known) == len(cloud)
    assert (known.descriptors == shuffled).all()
    assert known.entropy() == pytest.approx(entropy(cloud, H), abs=1e-9)
    assert known.sums == pytest.approx(kernel_sums.kernel_sums(shuffled, shuffled, H), rel=1e-9)


def test_a_large_set_grows_to_the_same_entropy_at_the_cost_of_the_batch(big_cloud, monkeypatch):
    known = EnvironmentSet(H)
    known.add(big_cloud[:2000])
    pairs = []
    plain = kernel_sums.products

    def counting(*arguments):
        multiply = plain(*arguments)

        class Counting:
            piece = multiply.piece

            def __call__(self, row, columns, *, diagonal):
                found = multiply(row, columns, diagonal=diagonal)
                pairs.append(len(found[0]) * len(found[1]))
                return found

        return Counting()

    monkeypatch.setattr(kernel_sums, "products", counting)
    added = big_cloud[2000:2300]
    known.add(added)
    assert 0 < sum(pairs) <= 300 * 2300
    assert known.entropy() == pytest.approx(entropy(big_cloud[:2300], H), abs=1e-9)


def test_what_a_batch_adds(cloud):
    known = EnvironmentSet(H)
    assert known.fraction_new(cloud[:5]) == 1.0
    known.add(cloud[:200])
    batch = np.concatenate([cloud[:10], cloud[:10] + 1.0, cloud[200:]])
    assert (known.delta_entropy(batch) == delta_entropy(batch, cloud[:200], H)).all()
    assert known.fraction_new(batch) == pytest.approx(np.mean(delta_entropy(batch, cloud[:200], H) > 1e-9))
    assert known.fraction_new(cloud[:200]) == 0.0
    assert known.fraction_new(cloud[:10] + 1.0) == 1.0
    assert known.fraction_new(cloud[:0]) == 0.0


def test_stored_sums_are_taken_up(cloud):
    known = EnvironmentSet(H)
    known.add(cloud[:150])
    again = EnvironmentSet.restore(known.descriptors, known.sums, H)
    for some in (known, again):
        some.add(cloud[150:])
    assert (again.sums == known.sums).all()
    assert again.entropy() == known.entropy()
    with pytest.raises(AnalysisError, match="one sum for each row"):
        EnvironmentSet.restore(cloud, known.sums[1:], H)
    with pytest.raises(AnalysisError, match="below 1"):
        EnvironmentSet.restore(cloud, known.sums - 1.0, H)


def test_rows_and_sums_cannot_be_changed_from_outside(cloud):
    known = EnvironmentSet(H)
    known.add(cloud)
    with pytest.raises(ValueError, match="read-only"):
        known.sums[0] = 3.0
    with pytest.raises(ValueError, match="read-only"):
        known.descriptors[0, 0] = 3.0


def test_errors(cloud):
    known = EnvironmentSet(H)
    with pytest.raises(AnalysisError, match="add at least one row"):
        known.entropy()
    known.add(cloud)
    with pytest.raises(AnalysisError, match="same d"):
        known.add(cloud[:, :7])
    broken = cloud.copy()
    broken[0, 0] = np.inf
    with pytest.raises(AnalysisError, match="not finite"):
        known.add(broken)
    assert len(known) == len(cloud)
    assert known.entropy() == entropy(cloud, H)
