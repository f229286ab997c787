"""Studies beside a state on its page: what each says, and of how many S.U.N. entries they speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.study_sections import sections_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.study_documents import StoredStudy
    from coevo.node_store.views import StateView

STABLE_FILTER = "is_sun = TRUE AND dynamically_stable = TRUE"
UNSTABLE_FILTER = "is_sun = TRUE AND dynamically_stable = FALSE"


def study_blocks(view: StateView, studies: Sequence[StoredStudy]) -> list[dict[str, Any]]:
    """Return each study of a state, the newest first: what the report says of it, and the command that says all."""
    return [
        {"section": section, "command": f"coevo study show {view.node}@{view.id[:16]} {section.id[:16]}"}
        for section in sections_of(studies)
    ]


def studied_sun(view: StateView) -> list[tuple[str, int, str]]:
    """Return what studies say of S.U.N. entries: a word, of how many, the filter that finds them; nothing if of none."""
    found = [
        ("dynamically stable", view.count_entries({"is_sun": True, "dynamically_stable": True}), STABLE_FILTER),
        ("dynamically unstable", view.count_entries({"is_sun": True, "dynamically_stable": False}), UNSTABLE_FILTER),
    ]
    return found if any(number for _, number, _ in found) else []
