"""Verdicts on the hull of the auditor's own energies, with numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.makers.audit.auditor_hull import AuditorHull

FORMULAS = {"Li": "Li", "S": "S", "P": "P", "Li2S": "Li2S", "x": "LiS", "y": "LiS2", "z": "P2S5", "gone": "Li3S"}
ELEMENTS = ("Li", "P", "S")


def said(energy: float | None, *, is_bound: bool = False) -> dict[str, Any]:
    return {"energy_per_atom": energy, "is_bound": is_bound, "reason": "" if energy is not None else "walltime"}


def judged(
    references: dict[str, Any], looked: dict[str, Any], *, relaxes: bool = True
) -> tuple[dict[str, float], dict[str, str]]:
    everything = {"Li": said(0.0), "P": said(0.0), "S": said(0.0), **references}
    hull = AuditorHull.of(ELEMENTS, FORMULAS, everything, looked, relaxes=relaxes)
    assert hull.reason == ""
    return hull.judged([i for i in looked if i != "gone"], 0.05)


def test_a_reference_without_an_energy_leaves_undecided_what_it_may_compete_with() -> None:
    looked = {"x": said(-0.5), "y": said(0.2), "z": said(-0.1)}
    above, verdicts = judged({"Li2S": said(-1.0)}, looked)
    # LiS lies on the tie line of Li2S and S: 3/4 of -1 eV/atom
    assert verdicts == {"x": "unstable", "y": "unstable", "z": "stable"}
    assert above["x"] == pytest.approx(0.25)
    above, verdicts = judged({"Li2S": said(None)}, looked)
    # without Li2S, LiS would be stable; LiS2 lies above even so; P2S5 has no lithium
    assert verdicts == {"x": "undecided", "y": "unstable", "z": "stable"}
    assert set(above) == {"z"}


@pytest.mark.parametrize(("relaxes", "verdict"), [(True, "undecided"), (False, "stable")])
def test_a_rival_that_was_not_relaxed_leaves_stable_undecided(relaxes: bool, verdict: str) -> None:
    loose = {"Li2S": said(-1.0, is_bound=True)}
    on_the_line, below, far = {"x": said(-0.74)}, {"x": said(-0.8)}, {"z": said(-0.1)}
    assert judged(loose, on_the_line, relaxes=relaxes)[1] == {"x": verdict}
    assert judged(loose, below, relaxes=relaxes)[1] == {"x": verdict}
    assert judged(loose, far, relaxes=relaxes)[1] == {"z": "stable"}
    assert judged({"Li2S": said(-1.0)}, below)[1] == {"x": "stable"}
    # what is not stable beside an upper bound is not beside a lower energy
    assert judged(loose, {"x": said(-0.5)}, relaxes=relaxes)[1] == {"x": "unstable"}


def test_a_candidate_that_is_gone_stays_on_the_hull() -> None:
    references = {"Li2S": said(-1.0)}
    looked = {"x": said(-0.74)}
    assert judged(references, looked)[1] == {"x": "stable"}
    # Li3S at -1.6 eV/atom with S: LiS at 2/3 of it, -1.0667
    above, verdicts = judged(references, {**looked, "gone": said(-1.6)})
    assert verdicts == {"x": "unstable"}
    assert above["x"] == pytest.approx(-0.74 + 1.6 * 2 / 3)


def test_a_single_point_confirms_and_never_rejects() -> None:
    looked = {"x": said(-0.5, is_bound=True), "y": said(-0.6, is_bound=True), "z": said(None)}
    assert judged({"Li2S": said(-1.0, is_bound=True)}, looked, relaxes=False)[1] == {
        "x": "undecided",
        "y": "stable",
        "z": "undecided",
    }


def test_without_an_energy_of_an_element_there_is_no_hull() -> None:
    hull = AuditorHull.of(ELEMENTS, FORMULAS, {"Li": said(0.0), "S": said(0.0), "P": said(None)}, {"x": said(-1.0)}, relaxes=True)
    assert "pure P" in hull.reason
    assert hull.judged(["x"], 0.1) == ({}, {"x": "undecided"})
    nothing = AuditorHull.of(ELEMENTS, FORMULAS, {}, {}, relaxes=True)
    assert nothing.judged([], 0.1) == ({}, {})
