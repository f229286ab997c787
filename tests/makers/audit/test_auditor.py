"""Whether an auditor took part in what made a state, and what is believed of records of earlier audits."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.configs.audit_section import AuditConfig
from coevo.configs.tree import ForceFieldConfig, LabellingConfig
from coevo.configs.uncertainty_section import OtherForceField
from coevo.errors import StateNotFoundError
from coevo.makers.audit.auditor import ATTEMPTS, earlier_records, relation_of
from coevo.makers.audit.strata import said_in
from coevo.makers.committee.teachers import teachers_of

FITTED = {"family": "chgnet", "sha256": "a" * 64, "parent": "b" * 64}
PUBLISHED = {"family": "chgnet", "sha256": "b" * 64, "parent": None}
TEACHER = {("teacher", "r2SCAN", "d1")}
L3I5 = {"family": "sevennet", "weights": "7net-l3i5"}


def relation(
    audit: dict[str, Any],
    checkpoint: dict[str, Any],
    sources: set[tuple[str, str, str]],
    *,
    taught_by: dict[str, str | None] | None = None,
    functional: str = "",
    **labelling: Any,
) -> str:
    """``taught_by`` has the teachers by digest; by default the present one made all labels of teachers."""
    section = LabellingConfig(**labelling)
    present = f"{section.teacher.family}/{section.teacher.weights}"
    teachers = {}
    for code, of, digest in sources:
        if code == "teacher":
            name = present if taught_by is None else taught_by.get(digest)
            teachers[of, digest] = OtherForceField.of(name) if name else None
    return relation_of(AuditConfig(**audit), checkpoint, ForceFieldConfig(), section, sources, teachers, functional)[0]  # type: ignore[arg-type]


def test_the_teacher_of_a_student_is_no_auditor_of_it() -> None:
    audit = {"auditor": "force_field", "force_field": {"family": "chgnet", "weights": "r2scan"}}
    assert relation(audit, FITTED, TEACHER) == "labeller"
    # nor once the node has another teacher: what it learned from this one is still there
    other = {"family": "sevennet", "weights": "7net-0"}
    both = TEACHER | {("teacher", "PBE", "d2")}
    assert relation(audit, FITTED, both, teacher=other, taught_by={"d1": None, "d2": "sevennet/7net-0"}) == "related"
    assert relation(audit, FITTED, both, teacher=other, taught_by={"d1": "chgnet/r2scan", "d2": "sevennet/7net-0"}) == "labeller"


def test_a_former_teacher_is_no_auditor_whoever_labels_now() -> None:
    """A CHGNet that learned r2SCAN from SevenNet and now learns from pw.x, or from another teacher."""
    audit = {"auditor": "force_field", "force_field": {"family": "sevennet", "weights": "7net-mf-0-r2scan"}}
    sources = {("teacher", "r2SCAN", "d1"), ("espresso", "PBE", "d2")}
    former = {"d1": "sevennet/7net-mf-0-r2scan"}
    assert relation(audit, FITTED, sources, code="espresso", taught_by=former) == "labeller"
    assert relation(audit, FITTED, sources, code="teacher", taught_by=former) == "labeller"
    # of another one of whom nobody knows who it was, it is not known that it was not this one
    for elsewhere in ({"family": "mace", "weights": "small-omat-0"}, {"family": "sevennet", "weights": "7net-mf-0-r2scan"}):
        asked = {"auditor": "force_field", "force_field": elsewhere}
        assert relation(asked, FITTED, sources, code="espresso", taught_by={"d1": None}) == "related"
    relative = {"auditor": "force_field", "force_field": L3I5}
    assert relation(relative, FITTED, sources, code="espresso", taught_by=former) == "related"


def test_a_force_field_with_the_same_data_takes_no_part_only_after_a_fit_on_another_functional() -> None:
    audit = {"auditor": "force_field", "force_field": L3I5}
    assert relation(audit, PUBLISHED, TEACHER) == "related"  # both are PBE of MPtrj
    assert relation(audit, FITTED, TEACHER) == "independent"
    assert relation(audit, FITTED, {("espresso", "PBE", "d1")}) == "related"


def test_data_that_an_independent_force_field_shares_are_named() -> None:
    teachers = {("r2SCAN", "d1"): OtherForceField("chgnet", "r2scan")}
    told = [
        relation_of(
            AuditConfig.model_validate({"auditor": "force_field", "force_field": chosen}),
            FITTED,  # type: ignore[arg-type]
            ForceFieldConfig(),
            LabellingConfig(),
            TEACHER,
            teachers,
        )
        for chosen in (L3I5, {"family": "dpa3", "weights": "DPA-3.1-3M-omat24"})
    ]
    assert told == [("independent", "MPtrj"), ("independent", "")]


def test_relatives_of_the_teacher_take_part() -> None:
    audit = {"auditor": "force_field", "force_field": L3I5}
    assert relation(audit, FITTED, TEACHER, teacher={"family": "sevennet", "weights": "7net-mf-0-r2scan"}) == "related"


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (set(), "independent"),
        (TEACHER, "independent"),
        ({("vasp", "PBE", "d2")}, "independent"),
        (TEACHER | {("espresso", "PBE", "d2")}, "labeller"),
        # a file, a Maker or somebody's code may be the auditor itself, as far as its functional allows it
        ({("imported", "PBE", "d2")}, "related"),
        ({("maker", "", "d2")}, "related"),
        ({("somebodys", "r2SCAN", "d2")}, "independent"),
        ({("somebodys", "r2SCAN", "d2"), ("imported", "PBE+U", "d3")}, "related"),
    ],
)
def test_a_code_takes_no_part_unless_it_labelled(sources: set[tuple[str, str, str]], found: str) -> None:
    assert relation({"auditor": "espresso"}, FITTED, sources, functional="PBE") == found


class State:
    """A state with metrics, labels and a configuration, and those that it descends from."""

    started_from = None

    def __init__(self, identifier: str, audit: Any = None, *parents: State, labels: Any = (), config: Any = None) -> None:
        self.id, self._parents, self._labels = identifier, parents, labels
        self.document = {"metrics": {"audit": audit}, "config": config or {}}
        self.manifest = {"labels": {label["_id"]: "train" for label in labels}}

    def labels(self) -> Any:
        return iter(self._labels)

    def parent_views(self) -> list[State]:
        return list(self._parents)

    def ancestors(self) -> list[State]:
        return [state for parent in self._parents for state in (parent, *parent.ancestors())]


AUDITOR: dict[str, Any] = {"kind": "force_field", "name": "a/b", "functional": "PBE", "digest": "1", "relaxed": {"max_steps": 60}}
RECORD: dict[str, Any] = {"id": "x", "energy_per_atom": -3.0, "is_bound": False, "reason": "", "iteration": 2}


def earlier(*views: State) -> dict[str, dict[str, Any]]:
    return earlier_records(views, AUDITOR, ("Li", "S"))  # type: ignore[arg-type]


def test_records_of_the_same_auditor_are_read_and_nothing_else_of_them() -> None:
    bad = [
        {"id": "y", "energy_per_atom": 1e300, "is_bound": False, "reason": ""},
        {"id": "z", "energy_per_atom": "-3", "is_bound": False, "reason": ""},
        {"id": ["w"], "energy_per_atom": -3.0, "is_bound": False, "reason": ""},
        {"id": "v", "energy_per_atom": float("nan"), "is_bound": True, "reason": ""},
        "u",
    ]
    lasting = {**RECORD, "id": "t", "energy_per_atom": None, "reason": "exploded"}
    older = State("1", {"auditor": AUDITOR, "records": [RECORD, lasting]})
    another = State("2", {"auditor": {**AUDITOR, "digest": "2"}, "records": [{**RECORD, "id": "s"}]})
    strange = [State("5", {"auditor": AUDITOR, "records": 3}), State("6", 3), State("7")]
    marked = {**RECORD, "@module": "os", "energy_per_atom": -3.5, "formula": "Li2S"}
    newer = State("3", {"auditor": AUDITOR, "records": [marked, *bad]}, older, another, *strange)
    assert earlier(newer) == {
        "x": {"id": "x", "energy_per_atom": -3.5, "is_bound": False, "reason": "", "formula": "Li2S"},
        "t": {"id": "t", "energy_per_atom": None, "is_bound": False, "reason": "exploded"},
    }


@pytest.mark.parametrize("formula", ["Li3P", "", "nonsense", "Li0", "Li1e300S", 7, "Li" * 60])
def test_a_formula_is_read_only_if_it_is_one_of_the_node(formula: Any) -> None:
    found = earlier(State("1", {"auditor": AUDITOR, "records": [{**RECORD, "formula": formula}]}))
    assert "formula" not in found["x"]


def test_records_of_all_parents_of_a_merge_count_and_batches_make_no_other_auditor() -> None:
    batched = {**AUDITOR, "relaxed": {"max_steps": 60, "batch_size": 4}}
    one = State("1", {"auditor": batched, "records": [RECORD]})
    other = State("2", {"auditor": AUDITOR, "records": [{**RECORD, "id": "y"}]})
    assert set(earlier(one, other)) == set(earlier(State("3", None, one, other))) == {"x", "y"}
    longer = {**AUDITOR, "relaxed": {"max_steps": 90, "batch_size": 4}}
    assert earlier(State("1", {"auditor": longer, "records": [RECORD]})) == {}


def test_what_failed_for_a_reason_that_may_pass_is_asked_again_a_few_times() -> None:
    failed = {**RECORD, "energy_per_atom": None, "reason": "walltime", "again": True}
    states = [State("0", {"auditor": AUDITOR, "records": [failed]})]
    for number in range(1, ATTEMPTS):
        assert earlier(states[-1])["x"]["again"] is True
        states.append(State(str(number), {"auditor": AUDITOR, "records": [failed]}, states[-1]))
    assert "again" not in earlier(states[-1])["x"]
    answered = State("9", {"auditor": AUDITOR, "records": [RECORD]}, states[0])
    assert earlier(answered)["x"]["energy_per_atom"] == -3.0
    assert earlier(State("8", None, answered, states[1]))["x"]["energy_per_atom"] == -3.0


def test_which_failures_may_pass() -> None:
    rows = [
        {"id": "a", "energy_per_atom": None, "is_bound": False, "reason": "exploded"},
        {"id": "b", "energy_per_atom": None, "is_bound": False, "reason": "calculation_failed"},
        {"id": "c", "energy_per_atom": -1.0, "is_bound": True, "reason": "not_converged"},
        {"frame": "d", "energy_per_atom": None, "status": "failed", "reason": "walltime"},
        {"frame": "e", "energy_per_atom": None, "status": "rejected", "reason": "large_force"},
    ]
    assert [row["id"] for row in said_in(rows) if row.get("again")] == ["b", "d"]


def taught(identifier: str, digest: str = "d1", functional: str = "r2SCAN") -> dict[str, Any]:
    return {"_id": identifier, "code": "teacher", "functional": functional, "settings_digest": digest, "status": "admitted"}


def labelled_by(code: str, family: str = "chgnet", weights: str = "r2scan") -> dict[str, Any]:
    return {"labelling": {"code": code, "teacher": {"family": family, "weights": weights}}}


def test_labels_are_of_the_teacher_whose_state_had_them_first() -> None:
    seven = "7net-mf-0-r2scan"
    first = State("1", labels=[taught("a")], config=labelled_by("teacher"))
    second = State("2", None, first, labels=[taught("a"), taught("b", "d2")], config=labelled_by("teacher", "sevennet", seven))
    elsewhere = State("3", labels=[taught("c", "d3")], config=labelled_by("espresso"))
    by_code = State("4", None, second, elsewhere, labels=[taught("a"), taught("b", "d2"), taught("c", "d3")])
    found = teachers_of(None, [by_code], [taught("e", "d2")], LabellingConfig(code="espresso"))  # type: ignore[arg-type, list-item]
    assert found == {
        ("r2SCAN", "d1"): OtherForceField("chgnet", "r2scan"),
        ("r2SCAN", "d2"): OtherForceField("sevennet", seven),
        ("r2SCAN", "d3"): None,
    }
    # the functional of the labels is none that this teacher has
    wrong = State("5", labels=[taught("a", functional="PBE")], config=labelled_by("teacher"))
    assert teachers_of(None, [wrong], [], LabellingConfig()) == {("PBE", "d1"): None}  # type: ignore[arg-type, list-item]
    new = teachers_of(None, [], [taught("a")], LabellingConfig())  # type: ignore[arg-type]
    assert new == {("r2SCAN", "d1"): OtherForceField("chgnet", "r2scan")}


def test_labels_that_a_node_began_with_are_not_of_its_own_teacher() -> None:
    begun = State("1", labels=[taught("a")], config=labelled_by("teacher"))
    begun.started_from = {"node": "gone", "state": "0"}  # type: ignore[assignment]

    class Store:
        origin: State | None = None

        def state(self, ref: str) -> State:
            if self.origin is None:
                raise StateNotFoundError(ref)
            return self.origin

    store: Any = Store()
    assert teachers_of(store, [begun], [], LabellingConfig()) == {("r2SCAN", "d1"): None}  # type: ignore[list-item]
    store.origin = State("0", labels=[taught("a")], config=labelled_by("teacher", "sevennet", "7net-mf-0-r2scan"))
    found = teachers_of(store, [begun], [], LabellingConfig())  # type: ignore[list-item]
    assert found == {("r2SCAN", "d1"): OtherForceField("sevennet", "7net-mf-0-r2scan")}
