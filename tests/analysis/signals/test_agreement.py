"""Spread over voices, agreement, and on whose word something is stable."""

from __future__ import annotations

import numpy as np
import pytest

from coevo.analysis.signals.agreement import Training, agreed, agreement_table, independent_pairs, spread

NAN = float("nan")
OWN = Training("chgnet", "r2SCAN", "MP-r2SCAN", "the node's labels")
MPTRJ = Training("chgnet", "PBE", "MPtrj")


def test_spread_is_the_sample_standard_deviation_of_those_who_speak() -> None:
    values = [[0.1, 0.2, 0.6], [0.1, NAN, 0.3], [0.4, NAN, NAN], [0.2, 0.2, 0.2]]
    found = spread(values)
    assert found[0] == pytest.approx(np.std(values[0], ddof=1))
    assert found[1] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert np.isnan(found[2])
    assert found[3] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("one", "other", "independent"),
    [
        (OWN, Training("sevennet", "PBE", "MPtrj"), True),  # another functional
        (OWN, Training("sevennet", "r2SCAN", "MP-r2SCAN"), False),  # what the teacher was trained on
        (MPTRJ, Training("sevennet", "PBE", "MPtrj"), False),
        (MPTRJ, Training("mace", "PBE", "MPtrj+sAlex"), False),  # a data set in common
        (MPTRJ, Training("mace", "PBE", "OMat24"), True),
        (MPTRJ, Training("chgnet", "r2SCAN", "MP-r2SCAN"), False),  # one architecture
        (MPTRJ, Training("other", "", ""), False),  # nothing is known of it
        (MPTRJ, Training("other", "pbe", ""), False),
        # fitted on some frames, and trained on MPtrj before
        (Training("chgnet", "PBE", "MPtrj+labels by espresso"), Training("sevennet", "PBE", "MPtrj"), False),
        (Training("chgnet", "PBE", "MPtrj+labels by espresso"), Training("mace", "PBE", "OMat24"), True),
        (Training("chgnet", "PBE", ""), Training("sevennet", "PBE", "MPtrj"), False),
        (Training("chgnet", "", "MPtrj"), Training("sevennet", "r2SCAN", "MPtrj"), False),
    ],
)
def test_what_counts_as_another_training(one: Training, other: Training, independent: bool) -> None:
    assert one.is_independent_of(other) is independent
    assert other.is_independent_of(one) is independent


def test_a_group_says_what_most_of_its_voices_say() -> None:
    other = Training("sevennet", "PBE", "MPtrj")
    voices = [OWN, OWN, OWN, other]
    assert independent_pairs(voices) == [(0, 3), (1, 3), (2, 3)]
    stable = [
        [1, 1, 0, 1],  # two of three, and the other family
        [1, 0, 0, 1],  # most of its own say no
        [1, 1, 1, 0],
        [1, 1, 1, NAN],  # the other family says nothing
        [NAN, NAN, 1, 1],
    ]
    assert agreed(stable, voices) == [True, False, False, None, True]


def test_members_of_one_training_never_agree_on_their_own() -> None:
    assert agreed([[1, 1, 1]], [OWN, OWN, OWN]) == [None]
    assert agreed([[1, 1]], [MPTRJ, Training("sevennet", "PBE", "MPtrj")]) == [None]


def test_the_table_compares_what_all_speak_of() -> None:
    found = agreement_table([[1, 1, 1], [1, 0, 1], [0, 0, 0], [1, NAN, 1]])
    assert found == {
        "compared": 3,
        "stable": [2, 1, 2],
        "pairs": [[1.0, 2 / 3, 1.0], [2 / 3, 1.0, 2 / 3], [1.0, 2 / 3, 1.0]],
        "all": 1,
        "any": 2,
    }
    assert agreement_table(np.empty((0, 2)))["pairs"] == [[None, None], [None, None]]


def test_a_student_has_the_errors_of_its_teacher() -> None:
    # PBE of another family would be another voice than r2SCAN-CHGNet, but not than a SevenNet that taught it
    witness = Training("sevennet", "PBE", "MPtrj")
    assert OWN.is_independent_of(witness)
    student = Training("chgnet", "r2SCAN", "MP-r2SCAN", "", frozenset({Training("sevennet", "r2SCAN", "MatPES")}))
    assert not student.is_independent_of(witness)
    assert not witness.is_independent_of(student)
    assert agreed([[1, 1]], [student, witness]) == [None]
    unknown = Training("chgnet", "r2SCAN", "MP-r2SCAN", "", frozenset({Training("")}))
    assert not unknown.is_independent_of(witness)
    assert unknown != OWN
