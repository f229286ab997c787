"""Which phases of a state a study is asked of, and what of the state it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import QueryError
from coevo.makers.populations.hull_members import is_counted
from coevo.makers.populations.population import members
from coevo.node_store.canonical import structure_document
from coevo.node_store.queries.hints import filter_hints
from coevo.node_store.queries.queries import parse_filter
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class StudyPhases:
    """The phases of a study.

    Attributes
    ----------
    phases : tuple of dict
        As :class:`coevo.flows.studies.inputs.StudyInputs` has them, the most stable first.
    left_out : int
        Phases that match and that ``limit`` leaves out.
    """

    phases: tuple[dict[str, Any], ...]
    left_out: int = 0


def choose_phases(
    view: StateView, where: str | None = None, *, formula: str | None = None, references: bool = False, limit: int = 0
) -> StudyPhases:
    """Choose phases of a state, the most stable first; duplicates are left out.

    Parameters
    ----------
    view : StateView
    where : str, optional
        OPTIMADE filter.
    formula : str, optional
        Only polymorphs of this composition, however the formula is written.
    references : bool
        Known phases as well, and not entries alone.
    limit : int
        At most so many; 0: all.

    Raises
    ------
    QueryError
        If the filter or the formula is not valid, or nothing matches; the message says what there is.
    """
    conditions: list[dict[str, Any]] = [{"duplicate_of": None}]
    filter_ = parse_filter(where or "")
    if filter_:
        conditions.append(filter_)
    if formula is not None:
        conditions.append({"formula": _reduced(formula)})
    kinds: tuple[Literal["entry", "reference"], ...] = ("entry", "reference") if references else ("entry",)
    order = [("energy_above_hull", 1)]
    found = [row for row in view.matching({"$and": conditions}, kinds=kinds, sort=order) if row["energy_per_atom"] is not None]
    if not found:
        raise QueryError(_nothing(view, where, formula, references, filter_))
    names = {document["_id"]: document.get("name") for document in view.references()} if references else {}
    chosen = found[:limit] if limit else found
    return StudyPhases(tuple(_phase(row, names) for row in chosen), len(found) - len(chosen))


def structure_records(view: StateView, phases: StudyPhases) -> Iterator[dict[str, Any]]:
    """Yield the structures of phases as jobs pass them, relaxed by the state's force field."""
    for phase in phases.phases:
        yield {"id": phase["id"], "structure": structure_document(view.structure(phase["id"]))}


def hull_records(view: StateView) -> Iterator[dict[str, Any]]:
    """Yield what makes the hull of a state, with its energies there; references first, each kind in the order of ids."""
    for kind in ("reference", "entry"):
        for member in members(view, kind):  # type: ignore[arg-type]
            if is_counted(member.document):
                amounts = member.structure.composition.get_el_amt_dict()
                yield {
                    "id": member.id,
                    "kind": kind,
                    "composition": {symbol: amounts[symbol] for symbol in sorted(amounts)},
                    "energy_per_atom": member.energy_per_atom,
                }


def _phase(row: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    name = names.get(row["structure_id"])
    return {
        "id": row["structure_id"],
        "formula": row["formula"],
        "kind": row["kind"],
        "name": None if name is None else str(name),
        "e_hull": row["energy_above_hull"],
        "energy_per_atom": row["energy_per_atom"],
    }


def _reduced(formula: str) -> str:
    from pymatgen.core import Composition, Element

    try:
        found = Composition(formula)
    except (ValueError, KeyError, TypeError, ArithmeticError):
        found = None
    if not found or not all(isinstance(element, Element) for element in found.elements):
        raise QueryError(f"--formula: got {formula!r:.80}, allowed: a formula such as Li3PS4")
    return str(found.reduced_formula)


def _nothing(view: StateView, where: str | None, formula: str | None, references: bool, filter_: dict[str, Any]) -> str:
    asked = " and ".join([*([f"the filter {where}"] if where else []), *([f"--formula {formula}"] if formula else [])])
    number = counted(sum(1 for _ in view.matching({"duplicate_of": None}, kinds=("entry",))), "entries")
    known = counted(len(view.manifest["references"]), "references")
    more = "" if references else "; --references takes known phases as well"
    hints = "".join(f"; {hint}" for hint in filter_hints(filter_, view.document["elements"])) if filter_ else ""
    what = f"no phase matches {asked}" if asked else "there is no phase to study"
    return f"{what}: {view.node}@{view.id[:12]} has {number} and {known}{more}{hints}"
