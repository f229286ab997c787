"""Which entries a generator may learn from: what it knows of formulas, units and occupations comes from these, as do parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.configs.electrons import has_electron_excess
from coevo.makers.populations.hull_members import REFUTED, WITHHELD

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_example(evaluation: Mapping[str, Any], *, safe: bool) -> bool:
    """Whether a generator is fitted on an entry or reference.

    Parameters
    ----------
    evaluation : mapping
        Its evaluation document; of a state with a second opinion, with what the members say.
    safe : bool
        Leave out entries that are in doubt, disputed, or have an electron excess. What a label refuted is never an example, and a
        reference, which is known to exist, always is one. An auditor's verdict is not asked: it takes no part in training.
    """
    if evaluation["duplicate_of"] is not None or evaluation.get("hull_status") == REFUTED:
        return False
    if not safe or evaluation["kind"] == "reference":
        return True
    if evaluation.get("hull_status") in WITHHELD or has_electron_excess(evaluation.get("electron_excess")):
        return False
    return not is_disputed(evaluation)


def is_disputed(evaluation: Mapping[str, Any]) -> bool:
    """Whether an entry is S.U.N. by the state's force field and members of another training do not agree.

    Such entries are to be labelled (``selection.uncertainty_fraction``) before anything is bred from them.
    """
    return bool(evaluation.get("is_sun")) and evaluation.get("is_confidently_sun") is False
