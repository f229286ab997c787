"""Whether an auditor took part in what made a state, and what is believed of records of earlier audits."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.configs.audit_section import AuditConfig
from coevo.configs.tree import ForceFieldConfig, LabellingConfig
from coevo.makers.audit.auditor import earlier_records, relation_of

FITTED = {"family": "chgnet", "sha256": "a" * 64, "parent": "b" * 64}
PUBLISHED = {"family": "chgnet", "sha256": "b" * 64, "parent": None}
TEACHER = {("teacher", "r2SCAN", "d1")}
L3I5 = {"family": "sevennet", "weights": "7net-l3i5"}


def relation(audit: dict[str, Any], checkpoint: dict[str, Any], sources: set[tuple[str, str, str]], **labelling: Any) -> str:
    return relation_of(AuditConfig(**audit), checkpoint, ForceFieldConfig(), LabellingConfig(**labelling), sources)


def test_the_teacher_of_a_student_is_no_auditor_of_it() -> None:
    audit = {"auditor": "force_field", "force_field": {"family": "chgnet", "weights": "r2scan"}}
    assert relation(audit, FITTED, TEACHER) == "labeller"
    # nor once the node has another teacher: what it learned from this one is still there
    other = {"family": "sevennet", "weights": "7net-0"}
    assert relation(audit, FITTED, TEACHER | {("teacher", "PBE", "d2")}, teacher=other) == "related"


def test_a_force_field_with_the_same_data_takes_no_part_only_after_a_fit_on_another_functional() -> None:
    audit = {"auditor": "force_field", "force_field": L3I5}
    assert relation(audit, PUBLISHED, TEACHER) == "related"  # both are PBE of MPtrj
    assert relation(audit, FITTED, TEACHER) == "independent"
    assert relation(audit, FITTED, {("espresso", "PBE", "d1")}) == "related"


def test_relatives_of_the_teacher_take_part() -> None:
    audit = {"auditor": "force_field", "force_field": L3I5}
    assert relation(audit, FITTED, TEACHER, teacher={"family": "sevennet", "weights": "7net-mf-0-r2scan"}) == "related"


@pytest.mark.parametrize(
    ("sources", "found"),
    [(set(), "independent"), (TEACHER, "independent"), (TEACHER | {("espresso", "PBE", "d2")}, "labeller")],
)
def test_a_code_takes_no_part_unless_it_labelled(sources: set[tuple[str, str, str]], found: str) -> None:
    assert relation({"auditor": "espresso"}, FITTED, sources) == found


class State:
    """A state with metrics, and those before it."""

    def __init__(self, audit: Any, *before: State) -> None:
        self.document, self._before = {"metrics": {"audit": audit}}, before

    def first_parents(self) -> tuple[State, ...]:
        return self._before


def test_records_of_the_same_auditor_are_read_and_nothing_else_of_them() -> None:
    auditor = {"kind": "force_field", "name": "a/b", "functional": "PBE", "digest": "1", "relaxed": {"max_steps": 60}}
    record = {"id": "x", "energy_per_atom": -3.0, "is_bound": False, "reason": "", "iteration": 2}
    bad = [
        {"id": "y", "energy_per_atom": 1e300, "is_bound": False, "reason": ""},
        {"id": "z", "energy_per_atom": "-3", "is_bound": False, "reason": ""},
        {"id": ["w"], "energy_per_atom": -3.0, "is_bound": False, "reason": ""},
        {"id": "v", "energy_per_atom": float("nan"), "is_bound": True, "reason": ""},
        "u",
    ]
    older = State({"auditor": auditor, "records": [record, {**record, "id": "t", "energy_per_atom": None, "reason": "exploded"}]})
    another = State({"auditor": {**auditor, "digest": "2"}, "records": [{**record, "id": "s"}]})
    marked = {**record, "@module": "os", "energy_per_atom": -3.5}
    newer = State({"auditor": auditor, "records": [marked, *bad]}, older, another, State(None))
    found: Any = earlier_records(newer, auditor)  # type: ignore[arg-type]
    assert found == {
        "x": {"id": "x", "energy_per_atom": -3.5, "is_bound": False, "reason": ""},
        "t": {"id": "t", "energy_per_atom": None, "is_bound": False, "reason": "exploded"},
    }
