"""What may be called audited, agreed, and agreement with the labeller."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from coevo.analysis.audit.estimates import Audited, Stratum, estimates
from coevo.analysis.audit.words import audit_rows, audit_words, count_words, entry_rows, error_words, verdict_word
from coevo.errors import CorruptArtifactError
from coevo.node_store.recorded import readable


def metrics(kind: str, name: str, functional: str, relation: str, **more: Any) -> dict[str, Any]:
    sample = [Audited("stable", 0.0, 0.01)] * 6 + [Audited("unstable", 0.0, 0.2)] * 2 + [Audited("undecided", 0.0)] * 2
    others = {
        "unstable": Stratum(10, [Audited("unstable", 0.3, 0.5), Audited("stable", 0.2, 0.1)]),
        "rejected": Stratum(30, [Audited("unstable", 0.9, 0.8)]),
    }
    told = {
        "auditor": {"kind": kind, "name": name, "functional": functional},
        "relation": relation,
        "reason": "",
        "failed": {"exploded": 2},
        **estimates({"sun": Stratum(50, sample), **others}),
        **more,
    }
    return {"population": {"sun": 48}, "audit": told}


@pytest.mark.parametrize(
    ("told", "title", "begin"),
    [
        (("first_principles", "espresso", "PBE", "independent"), "audited", "audited by espresso PBE: "),
        (("force_field", "sevennet/7net-0", "PBE", "independent"), "agreed", "agreed by sevennet/7net-0: "),
        (("force_field", "chgnet/r2scan", "r2SCAN", "labeller"), "agreement", "agreement with the labeller, chgnet/r2scan: "),
        (("first_principles", "vasp", "PBE", "labeller"), "agreement", "agreement with the labeller, vasp: "),
        (("force_field", "a/b", "PBE", "related"), "agreement", "agreement with a/b, of which it is not known that it took no"),
    ],
)
def test_who_looked_decides_what_it_is_called(told: tuple[str, str, str, str], title: str, begin: str) -> None:
    found = metrics(*told)
    assert audit_rows(found)[0][0] == title
    assert audit_words(found).startswith(begin)
    everything = " ".join(" ".join(row) for row in audit_rows(found)) + count_words(found)
    assert ("audited" in everything) is (title == "audited")
    assert ("agreed" in everything) is (title == "agreed")


def test_the_numbers_are_there_with_their_intervals() -> None:
    found = metrics("force_field", "a/b", "PBE", "independent")
    assert audit_words(found) == (
        "agreed by a/b: 30 to 40 (16 to 47) of 50 S.U.N. by the model; precision 0.60 to 0.80 (0.31 to 0.94, 95 %), 10 looked "
        "at, 2 of them undecided"
    )
    assert count_words(found) == "agreed 30 to 40 (16 to 47)"
    words = error_words(found)
    assert re.match(r"false stable 0.20 to 0.40 \(0.\d\d to 0.\d\d; 10 looked at of 50\); ", words)
    assert "S.U.N. by the model -58, entries not stable -50, candidates rejected by energy +100 meV/atom" in words
    assert words.endswith("not relaxed or failed: 2 exploded")


def test_the_count_of_the_model_never_stands_alone() -> None:
    assert audit_rows({"population": {"sun": 7}}) == [("not audited", "7 S.U.N. by the model alone, not audited")]
    silent = metrics("force_field", "a/b", "", "independent", reason="the hull has no phase of pure P")
    assert audit_words(silent) == "48 S.U.N. by the model alone, not audited: the hull has no phase of pure P"


def test_an_entry_says_who_looked_at_it() -> None:
    found = metrics("first_principles", "espresso", "PBE", "independent")
    row = {"audit_verdict": "undecided", "energy_above_hull_audit": 0.25}
    assert entry_rows(row, found) == [("audited", "undecided (audited by espresso PBE, single points): E_hull 0.2500 eV/atom")]
    assert entry_rows({}, found) == []
    assert verdict_word(row) == "auditor: undecided"
    assert verdict_word({}) == ""


def test_single_points_say_what_they_are_and_are_no_bound() -> None:
    words = audit_words(metrics("first_principles", "espresso", "PBE", "independent"))
    assert words.endswith("by single points of structures and references that it did not relax: these can confirm and not reject")
    assert "single points" not in audit_words(metrics("force_field", "a/b", "PBE", "independent"))
    references = {"asked": 14, "answered": 14, "not_relaxed": 1}
    relaxing = metrics("first_principles", "espresso", "PBE", "independent", references=references)
    relaxing["audit"]["auditor"]["relaxed"] = {"steps": 5, "fmax": 0.1}
    words = audit_words(relaxing)
    assert "relaxed by at most 5 steps of its own: what is not relaxed by then can be confirmed and not rejected" in words
    assert words.endswith("1 of 14 references not relaxed to the end")
    assert entry_rows({"audit_verdict": "unstable", "energy_above_hull_audit": 0.25}, relaxing) == [
        ("audited", "unstable (audited by espresso PBE): E_hull 0.2500 eV/atom")
    ]


def test_references_that_are_missing_or_not_relaxed_are_counted() -> None:
    counts = {"asked": 14, "answered": 12, "not_relaxed": 3}
    words = audit_words(metrics("force_field", "a/b", "PBE", "independent", references=counts))
    assert "2 of 14 references without an energy, what has their elements is not called stable" in words
    assert words.endswith("3 of 14 references not relaxed to the end")
    by_code = audit_words(metrics("first_principles", "vasp", "PBE", "independent", references={**counts, "not_relaxed": 12}))
    assert "2 of 14 references" in by_code
    assert "not relaxed to the end" not in by_code


def test_data_in_common_are_named() -> None:
    found = metrics("force_field", "sevennet/7net-l3i5", "PBE", "independent", shared_data="MPtrj")
    begin = "agreed by sevennet/7net-l3i5 (its data, MPtrj, are those of the state's force field too): "
    assert audit_words(found).startswith(begin)
    assert count_words(found).startswith("agreed 30 to 40 (")
    related = metrics("force_field", "a/b", "PBE", "related", shared_data="MPtrj")
    assert "its data" not in audit_words(related)


@pytest.mark.parametrize("audit", ["text", 3, [1], {"auditor": "x"}, {"precision": {"share": "1"}, "auditor": {}, "reason": ""}])
def test_somebody_else_s_numbers_are_one_error(audit: Any) -> None:
    view: Any = SimpleNamespace(node="a", id="0" * 64)
    with pytest.raises(CorruptArtifactError, match="are not those that this coevo writes"), readable(view):
        audit_rows({"population": {"sun": 1}, "audit": audit})
