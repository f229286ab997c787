"""Fields of a state that OPTIMADE does not define, with their definitions and units, as ``/info/structures`` tells them."""

from __future__ import annotations

from typing import Any

from coevo.node_store.queries.query_fields import FIELDS

PREFIX = "coevo"
_LEFT_OUT = frozenset({"structure_id"})  # which is OPTIMADE's id
_WHOLE_NUMBERS = frozenset({"space_group", "iteration_added"})
_UNITS = (("eV/atom", "eV/atom"), ("e-/atom", "e/atom"), ("eV/Å", "eV/angstrom"), ("Å³", "angstrom^3/atom"))
JOINED = frozenset(name for name, field in FIELDS.items() if field.joined)
"""Fields that studies say: to filter by, not to sort by."""
OF_STATE = {"state": "id of the state that says this: coevo show NODE@ID", "node": "node of the state"}
"""Fields that are the same for all entries of a state."""


def own_fields() -> dict[str, dict[str, Any]]:
    """Return the definition of each field of ours by its name in evaluations."""
    found = {}
    for name, field in FIELDS.items():
        if field.standard or name in _LEFT_OUT:
            continue
        kind = {"string": "string", "boolean": "boolean", "number": "float"}[field.type]
        definition: dict[str, Any] = {
            "type": "integer" if name in _WHOLE_NUMBERS else kind,
            "description": f"{field.meaning}; by the state's force field unless something else is said"
            + ("; null: not known, for no study speaks of it" if field.joined else ""),
            "sortable": not field.joined,
        }
        unit = next((unit for text, unit in _UNITS if field.type == "number" and text in field.meaning), None)
        found[name] = definition | ({"unit": unit} if unit else {})
    for name, meaning in OF_STATE.items():
        found[name] = {"type": "string", "description": meaning, "sortable": False}
    return found
