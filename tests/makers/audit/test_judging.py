"""The auditor's hull and what follows from its energies, on numbers that can be checked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.configs.tree import CurationConfig
from coevo.makers.audit.judge import estimates_of, with_verdicts
from coevo.makers.audit.strata import candidates_of_strata, said_in

FORMULAS = {"li": "Li", "s": "S", "a": "Li2S", "b": "LiS", "c": "LiS"}


def said(energy: float | None, *, is_bound: bool = False, reason: str = "") -> dict[str, Any]:
    return {"energy_per_atom": energy, "is_bound": is_bound, "reason": reason}


REFERENCES = {"li": said(-2.0), "s": said(-4.0)}


def test_an_electron_excess_is_reported_apart() -> None:
    drawn = {
        name: {"stratum": "sun", "energy_above_hull": 0.0, "electron_excess": excess}
        for name, excess in (("a", 0.4), ("b", 0.0), ("c", None), ("d", 0.1))
    }
    verdicts = {"a": "unstable", "b": "stable", "c": "stable", "d": "stable"}
    above, looks = {"a": 0.3, "b": 0.0, "c": 0.1, "d": 0.2}, {name: said(-1.0, is_bound=name == "d") for name in drawn}
    found = estimates_of(drawn, {"sun": 8, "unstable": 0, "rejected": 0}, verdicts, above, looks)
    assert (found["precision"]["share"], found["precision"]["population"], found["sun"]["count"]) == (0.75, 8, 6.0)
    assert (found["electron_excess"]["low_count"], found["electron_excess"]["n"]) == (1, 2)
    assert found["false_unstable"] is None
    assert found["strata"]["sun"]["error"]["n"] == 3  # the bound says nothing of the error
    assert found["strata"]["sun"]["error"]["mean"] == pytest.approx(-0.4 / 3)
    plain = {name: row | {"electron_excess": None} for name, row in drawn.items()}
    assert "electron_excess" not in estimates_of(plain, {"sun": 8, "unstable": 0, "rejected": 0}, verdicts, above, looks)


def test_only_entries_that_were_looked_at_get_a_verdict() -> None:
    rows = [{"kind": kind, "structure_id": name} for kind, name in (("entry", "a"), ("entry", "b"), ("reference", "c"))]
    found = with_verdicts(rows, {"a": "undecided", "c": "stable"}, {"c": 0.0})
    assert found == [{**rows[0], "audit_verdict": "undecided", "energy_above_hull_audit": None}, rows[1], rows[2]]


def test_candidates_are_looked_at_that_their_energy_alone_kept_out() -> None:
    screened = [
        {"id": name, "structure": name, "formula": "LiS", "is_unique": unique, "energy_above_hull": above}
        for name, unique, above in (("a", True, 0.3), ("b", False, 0.3), ("c", True, 0.2))
    ]
    found = candidates_of_strata([], [], screened, CurationConfig(max_e_hull=0.2))
    assert {name: row["stratum"] for name, row in found.items()} == {"a": "rejected"}


def test_labels_are_energies_of_a_fixed_geometry() -> None:
    labels = [
        {"frame": "a", "status": "admitted", "energy_per_atom": -3.0, "reason": ""},
        {"frame": "b", "status": "rejected", "energy_per_atom": -9.0, "reason": "large_force"},
    ]
    assert list(said_in(labels)) == [
        {"id": "a", "energy_per_atom": -3.0, "is_bound": True, "reason": ""},
        {"id": "b", "energy_per_atom": None, "is_bound": False, "reason": "large_force"},
    ]
