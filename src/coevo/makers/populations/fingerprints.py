"""Fingerprints of a state's population, kept so that the next iteration's curation costs in proportion to its batch.

Rows are named by the content id of the geometry that they were made of, so that a row fits wherever that geometry comes back: in
the next state, on another branch, after a merge. They are kept as results of jobs are: beside the node, not part of the state or
of a bundle. What is missing is made again, and nothing that a stranger sent is believed.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Any

from coevo.makers.step import current_store
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.comparison.uniqueness import Item

PACKAGES = ("numpy", "pymatgen-core")
"""Of whose versions rows depend."""


def fingerprint_table(items: Sequence[Item], states: Iterable[str], workers: int) -> FingerprintTable:
    """Rows of items, in their order and named by their ids.

    Parameters
    ----------
    items : sequence of Item
    states : iterable of str
        Ids of the states whose rows may serve: where the same geometry is among them, it is not described again.
    workers : int
        Processes.
    """
    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.comparison.uniqueness import Item, table_of
    from coevo.node_store.canonical import structure_id

    tables = [table for state in states if (table := _read(state)) is not None]
    named = [Item(structure_id(item.structure), item.structure, item.energy_per_atom) for item in items]
    with task("fingerprinting", len(named), "structures") as advance:
        table = table_of(named, FingerprintTable.joined(tables) if tables else None, workers=workers, progress=advance)
    return replace(table, ids=tuple(item.id for item in items))


def write_table(items: Sequence[Item], table: FingerprintTable) -> dict[str, Any]:
    """Write rows (those of ``fingerprint_table(items, …)``) as an artifact.

    Returns
    -------
    dict
        ``{"sha256": str, "count": int}``
    """
    from coevo.node_store.canonical import structure_id

    named = replace(table, ids=tuple(structure_id(item.structure) for item in items))
    return {"sha256": current_store().artifacts.put_bytes(named.to_bytes()).sha256, "count": len(named)}


def remember(state: str, reference: dict[str, Any]) -> None:
    """Note where the rows of a state are."""
    current_store().put_job_result(_key(state), {"output": {"table": reference}, "provenance": {"name": "fingerprints"}})


def _read(state: str) -> FingerprintTable | None:
    """Rows of a state, None if there are none here."""
    from coevo.analysis.comparison.fingerprint_table import FingerprintTable

    store = current_store()
    found = store.job_result(_key(state))
    if found is None or not store.artifacts.has(found["output"]["table"]["sha256"]):
        return None
    return FingerprintTable.from_bytes(store.artifacts.get_bytes(found["output"]["table"]["sha256"]))


def _key(state: str) -> str:
    from coevo.analysis.comparison.fingerprint_table import TABLE_VERSION
    from coevo.node_store.canonical import digest

    versions = {name: package_version(name) for name in PACKAGES}
    return digest({"fingerprints_of": state, "version": TABLE_VERSION, "packages": versions})
