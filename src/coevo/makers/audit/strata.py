"""What may be audited of a state, each with its stratum; and what the auditor's jobs said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.draw import model_energy_above_hull, stratum_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from coevo.configs.tree import CurationConfig
    from coevo.makers.step import Record


def candidates_of_strata(
    documents: Iterable[Mapping[str, Any]],
    records: Iterable[Mapping[str, Any]],
    screened: Iterable[Mapping[str, Any]],
    curation: CurationConfig,
) -> dict[str, Record]:
    """Structures of the strata by id: ``structure, formula, stratum, energy_above_hull, electron_excess``.

    Parameters
    ----------
    documents : iterable of dict
        Evaluations of the state.
    records : iterable of dict
        Evaluated records, with the geometries.
    screened : iterable of dict
        Relaxed candidates of the iteration as it was curated: those that are unique and are no entries for their energy alone are
        looked at as they were relaxed then.
    curation : CurationConfig
    """
    geometries = {r["id"]: r["structure"] for r in records if r["kind"] == "entry"}
    found: dict[str, Record] = {}
    for document in documents:
        stratum = stratum_of(document, curation.stable_threshold)
        if stratum is not None:
            identifier = document["structure_id"]
            found[identifier] = _row(geometries[identifier], stratum, model_energy_above_hull(document), document)
    for row in screened:
        if row["is_unique"] and row["energy_above_hull"] > curation.max_e_hull and row["id"] not in found:
            found[row["id"]] = _row(row["structure"], "rejected", float(row["energy_above_hull"]), row)
    return found


def _row(structure: Any, stratum: str, above: float, source: Mapping[str, Any]) -> Record:
    from coevo.node_store.canonical import structure_from_document

    formula = source.get("formula") or structure_from_document(structure).composition.reduced_formula
    excess = source.get("electron_excess")
    return {"structure": structure, "formula": formula, "stratum": stratum, "energy_above_hull": above, "electron_excess": excess}


LASTING = frozenset(
    {"exploded", "collapsed", "not_converged", "nan", "no_neighbours", "empty", "disordered", "unsupported_element"}
)
"""Reasons of a force field that are the structure's; others, as of an environment or a machine, may pass."""


def said_in(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """What packets say: rows of who relaxes, a code with ``status``, or labels of a code, which are single points.

    Those without an energy for a reason that may pass have ``again``: a label that failed was not judged.
    """
    for row in rows:
        if "frame" not in row:
            lasts = row["status"] != "failed" if "status" in row else row["reason"] in LASTING
            told = {key: value for key, value in row.items() if key != "status"}
            yield {**told, **({"again": True} if row["energy_per_atom"] is None and not lasts else {})}
            continue
        admitted = row["status"] == "admitted"
        yield {
            "id": row["frame"],
            "energy_per_atom": row["energy_per_atom"] if admitted else None,
            "is_bound": admitted,
            "reason": "" if admitted else row["reason"],
            **({"again": True} if row["status"] == "failed" else {}),
        }
