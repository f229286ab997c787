"""What a user would otherwise keep structures and energies in: one JSON file, or maggma's JSONStore. One step a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads import li_p_s_population as population
from workloads.store_steps import FIELDS, OTHER_QUERY, QUERY, REPEATS, SORT, Clock

if TYPE_CHECKING:
    from collections.abc import Callable


def documents(task: dict[str, Any]) -> list[dict[str, Any]]:
    """One document for each entry: its evaluation, and its structure as admitted."""
    return [{**found, "structure": row["structure"]} for row, found in population.rows(task["n"], task["seed"])]


def _matches(document: dict[str, Any]) -> bool:
    return bool(document["chemsys"] == "Li-P-S" and document["energy_above_hull"] <= 0.02)


def json_file_insert(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Write all documents to one compressed JSON file, as monty's ``dumpfn`` does; no check, no flush to the disk."""
    from monty.serialization import dumpfn

    rows = documents(task)
    with clock.measured():
        dumpfn(rows, task["file"])
    return dict(clock.found)


def json_file_open(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Read the file, and filter the list by a comprehension."""
    from monty.serialization import loadfn

    with clock.measured():
        rows = loadfn(task["file"], cls=None)
    found = {"open": clock.found}

    def query() -> list[dict[str, Any]]:
        matching = sorted(filter(_matches, rows), key=lambda row: (row["energy_above_hull"], row["structure_id"]))
        return [{name: row[name] for name in FIELDS} for row in matching]

    return {**found, "query_repeated": clock.median_of(REPEATS, query), "answers": len(query())}


def maggma_insert(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Update an empty JSONStore that has an index on its key."""
    from maggma.stores import JSONStore

    rows = documents(task)
    store = JSONStore(task["file"], read_only=False, key="structure_id")
    store.connect()
    store.ensure_index("structure_id", unique=True)
    with clock.measured():
        store.update(rows)
    return dict(clock.found)


def maggma_open(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Open it and query it."""
    from maggma.stores import JSONStore

    store = JSONStore(task["file"], key="structure_id")
    with clock.measured():
        store.connect()
        page = list(store.query(OTHER_QUERY, FIELDS, sort=dict(SORT), limit=20))
    found = {"open": clock.found}

    def query() -> list[dict[str, Any]]:
        return list(store.query(QUERY, FIELDS, sort=dict(SORT)))

    assert page
    return {**found, "query_repeated": clock.median_of(3, query), "answers": len(query())}


PEERS: dict[str, Callable[[dict[str, Any], Clock], dict[str, Any]]] = {
    "json_file_insert": json_file_insert,
    "json_file_open": json_file_open,
    "maggma_insert": maggma_insert,
    "maggma_open": maggma_open,
}
