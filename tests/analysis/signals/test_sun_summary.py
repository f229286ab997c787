from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from coevo.analysis.signals.sun_summary import sun_summary
from coevo.errors import AnalysisError

REFERENCES = {"reference_set": "li-p-s", "reference_size": 16}

# Six structures: a and b are equal, c is alone, d is a known phase twice (d, e), f failed.
E_HULL = np.array([0.0, 0.02, 0.3, 0.05, 0.05, np.nan])
UNIQUE = np.array([True, False, True, True, False, True])
MATCHED = [None, None, None, "Li2S", "Li2S", None]
VALID = np.array([True, True, True, True, False, True])


def test_counts_by_hand():
    found = sun_summary(E_HULL, UNIQUE, MATCHED, generated=10, valid=VALID, **REFERENCES)
    assert (found.generated, found.assessed, found.valid, found.rediscovered) == (10, 5, 4, 1)
    expected = {
        ("assessed", "generated", None): (5, 10),
        ("valid", "generated", None): (4, 10),
        ("valid", "assessed", None): (4, 5),
        ("unique", "generated", None): (4, 10),
        ("unique", "assessed", None): (3, 5),
        ("novel", "assessed", None): (3, 5),
        ("unique_novel", "generated", None): (3, 10),
        ("stable", "generated", 0.0): (1, 10),
        ("stable", "assessed", 0.1): (4, 5),
        ("stable", "valid", 0.1): (3, 4),
        ("stable_unique", "assessed", 0.1): (2, 5),
        ("stable_novel", "assessed", 0.1): (2, 5),
        ("sun", "generated", 0.0): (1, 10),
        ("sun", "generated", 0.1): (1, 10),
        ("sun", "assessed", 0.1): (1, 5),
        ("sun", "valid", 0.1): (1, 4),
    }
    assert {key: ((r := found.rate(*key)).count, r.of) for key in expected} == expected
    assert found.rate("sun", "generated", 0.1).rate == 0.1
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["reference_set"] == "li-p-s"
    assert len(document["rates"]) == len(found.rates) == 3 * (5 + 2 * 4)
    withheld = sun_summary(E_HULL, UNIQUE, MATCHED, generated=10, withheld=E_HULL == 0.0, **REFERENCES)
    assert withheld.rate("sun", "generated", 0.1).count == 0
    assert withheld.rate("stable", "generated", 0.1).count == 4  # its energy is what it is


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.floats(-0.5, 1.0) | st.just(float("nan")), st.integers(0, 3), st.booleans()), min_size=0, max_size=25
    ),
    rejected=st.integers(0, 5),
)
def test_equals_mattergens_definition(rows, rejected):
    """A plain loop over groups: first in order of energy, stable, matching nothing; over all that were submitted."""
    rows = sorted(rows, key=lambda row: (np.isnan(row[0]), row[0]))
    e_hull = np.array([row[0] for row in rows])
    first: dict[int, int] = {}
    for index, row in enumerate(rows):
        first.setdefault(row[1], index)
    unique = np.array([first[row[1]] == index for index, row in enumerate(rows)], dtype=bool)
    found = sun_summary(e_hull, unique, ["x" if row[2] else None for row in rows], generated=len(rows) + rejected, **REFERENCES)
    groups = [rows[i] for i in first.values()]
    for threshold in (0.0, 0.1):
        rate = found.rate("sun", "generated", threshold)
        assert rate.count == sum(e <= threshold and not known for e, _, known in groups)
        assert rate.of == len(rows) + rejected
        counts = [found.rate(what, "generated", threshold).count for what in ("sun", "stable_unique", "stable")]
        assert counts == sorted(counts)
    assert found.rate("unique", "generated").count == len(groups)


def test_the_unique_one_must_be_stable_itself():
    # The stable structure repeats an entry that was there before: it is nobody's S.U.N.
    found = sun_summary([0.0, 0.2, 0.2], [False, True, False], [None] * 3, generated=3, **REFERENCES)
    assert found.rate("sun", "generated", 0.1).count == 0


def test_nothing_at_all():
    found = sun_summary([], [], [], generated=0, valid=[], **REFERENCES)
    rate = found.rate("sun", "generated", 0.1)
    assert (rate.count, rate.of, rate.rate, rate.low) == (0, 0, None, None)
    all_rejected = sun_summary([], [], [], generated=8, **REFERENCES).rate("sun", "generated", 0.1)
    assert (all_rejected.rate, all_rejected.low) == (0.0, 0.0)
    assert all_rejected.high == pytest.approx(binomtest(0, 8).proportion_ci(0.95, method="wilson").high)


def test_errors_say_what_does_not_fit():
    with pytest.raises(AnalysisError, match="generated is 5, but 6 structures are given"):
        sun_summary(E_HULL, UNIQUE, MATCHED, generated=5, **REFERENCES)
    with pytest.raises(AnalysisError, match=r"unique has shape \(5,\)"):
        sun_summary(E_HULL, UNIQUE[1:], MATCHED, generated=6, **REFERENCES)
    with pytest.raises(AnalysisError, match="type int64"):
        sun_summary(E_HULL, np.arange(6), MATCHED, generated=6, **REFERENCES)
    with pytest.raises(AnalysisError, match="no rate 'sun' of 'valid'"):
        sun_summary(E_HULL, UNIQUE, MATCHED, generated=6, **REFERENCES).rate("sun", "valid", 0.1)
