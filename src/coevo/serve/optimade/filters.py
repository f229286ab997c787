"""OPTIMADE's filters over the evaluations of a state.

The optimade package translates a filter into MongoDB's language over the properties of structures; here its conditions become
conditions on evaluations, which the backends of the store answer. Properties that all entries share, and those that none has, are
decided at once; ratios of elements follow from formulas, of which there are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import QueryError
from coevo.node_store.queries.document_filters import applies
from coevo.serve.optimade.fields import OF_STATE, own_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STORED = {
    "id": "structure_id",
    "immutable_id": "structure_id",
    "elements": "elements",
    "nelements": "nelements",
    "chemical_formula_reduced": "chemical_formula_reduced",
    "chemical_formula_descriptive": "formula",
    "chemical_formula_anonymous": "chemical_formula_anonymous",
    "nsites": "nsites",
}
"""Property of OPTIMADE, as the optimade package calls it, to field of evaluations."""
GEOMETRY = frozenset({"lattice_vectors", "cartesian_site_positions", "species", "species_at_sites"})
"""Properties that every entry has and no filter looks into."""
ALWAYS: dict[str, Any] = {}
NEVER: dict[str, Any] = {"structure_id": {"$in": []}}
_PRESENCE = ("$exists", "$eq", "$ne")


class NotSupportedError(QueryError):
    """A filter on what evaluations do not hold."""


def state_query(query: dict[str, Any], constants: dict[str, Any], formulas: Callable[[], Iterable[str]]) -> dict[str, Any]:
    """Return a filter over evaluations.

    Parameters
    ----------
    query : dict
        From the optimade package's transformer.
    constants : dict
        Properties that are the same for all entries.
    formulas : callable
        Gives all values of ``chemical_formula_reduced`` in the state.

    Raises
    ------
    NotSupportedError
        If it looks into positions, cells or species.
    """
    own = set(own_fields()) - set(OF_STATE)

    def filtered(part: dict[str, Any]) -> dict[str, Any]:
        conditions = [entry(name, value) for name, value in part.items()]
        return conditions[0] if len(conditions) == 1 else {"$and": conditions} if conditions else ALWAYS

    def entry(name: str, value: Any) -> dict[str, Any]:
        if name in {"$and", "$or", "$nor"}:
            return {name: [filtered(part) for part in value]}
        top, dot, rest = name.partition(".")
        if top in GEOMETRY:
            return _of_geometry(name, value)
        if top == "elements" and dot and set(value) == {"$exists"}:  # of HAS ONLY: every entry has an element
            return ALWAYS if bool(value["$exists"]) == (rest == "0") else NEVER
        if top == "elements_ratios":
            test = applies({name: value})
            return {"chemical_formula_reduced": {"$in": [each for each in formulas() if test({"elements_ratios": ratios(each)})]}}
        if top in STORED:
            return {STORED[top] + dot + rest: value}
        if top in own:
            return {name: value}
        return ALWAYS if applies({name: value})(constants) else NEVER

    return filtered(query)


def _of_geometry(name: str, value: Any) -> dict[str, Any]:
    """Whether there is one: there always is."""
    if "." not in name and len(value) == 1:
        ((operator, operand),) = value.items()
        if operator in _PRESENCE and (operator == "$exists" or operand is None):
            return ALWAYS if operator == "$ne" or (operator == "$exists" and operand) else NEVER
    raise NotSupportedError(f"filters do not look into {name.partition('.')[0]}; ask for it with response_fields")


def ratios(formula: str) -> list[float]:
    """Shares of the elements of a reduced formula of OPTIMADE, in the order of the alphabet."""
    import re

    amounts = [int(amount or 1) for _, amount in re.findall(r"([A-Z][a-z]?)(\d*)", formula)]
    return [amount / sum(amounts) for amount in amounts]
