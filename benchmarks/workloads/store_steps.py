"""One measured step of the node store in a process of its own, so that peaks of memory do not mix.

    python -m workloads.store_steps '{"step": "open", "database": "file:DIR", "artifacts": null, "n": 1000, …}'

prints one line of JSON: CPU seconds of this process and its children, wall seconds, and the peak resident memory.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads import li_p_s_population as population

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coevo.node_store.store import NodeStore

QUERY: dict[str, Any] = {"energy_above_hull": {"$lte": 0.02}, "chemsys": "Li-P-S"}
OTHER_QUERY: dict[str, Any] = {"energy_above_hull": {"$lte": 0.1}, "is_sun": True}
SORT = [("energy_above_hull", 1)]
FIELDS = ["structure_id", "formula", "energy_above_hull"]
REPEATS = 9
LONG = 30.0
"""Seconds after which a query is not repeated any more."""
LOADED = 100


class Clock:
    """CPU and wall seconds between two points, of this process and, if its id is known, of the server."""

    def __init__(self, server: int | None):
        self._server = server
        self.found: dict[str, float | None] = {}

    @contextmanager
    def measured(self) -> Iterator[None]:
        server, cpu, wall = server_seconds(self._server), cpu_seconds(), time.perf_counter()
        yield
        self.found = {"cpu_seconds": cpu_seconds() - cpu, "wall_seconds": time.perf_counter() - wall}
        spent = server_seconds(self._server)
        self.found["server_cpu_seconds"] = None if server is None or spent is None else spent - server

    def median_of(self, repeats: int, work: Callable[[], Any]) -> dict[str, float | None]:
        """Medians over at most so many runs, fewer if they take long."""
        found: list[dict[str, float | None]] = []
        while len(found) < repeats and sum(float(one["wall_seconds"] or 0.0) for one in found) < LONG:
            with self.measured():
                work()
            found.append(self.found)
        return {
            key: None if found[0][key] is None else statistics.median(float(one[key] or 0.0) for one in found) for key in found[0]
        }


def cpu_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def server_seconds(pid: int | None) -> float | None:
    """CPU seconds of a process of this machine so far."""
    if pid is None:
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_store(task: dict[str, Any]) -> NodeStore:
    from coevo.node_store.store import open_store as opened
    from coevo.settings import Settings

    return opened(Settings(database=task["database"], artifacts=task["artifacts"]))


# --- steps: each returns what its clock found, and what it produced


def commit(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    with open_store(task) as store:
        population.create_node(store)
        draft = population.first_draft(store, task["n"], task["seed"])
        before = resident_megabytes()
        with clock.measured():
            state = store.commit(draft, "main", None)
    return {**clock.found, "draft_megabytes": before, "state": state}


def later_commits(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Commit states that add nothing and evaluate all entries again; each is committed by a store opened for it."""
    found: dict[str, Any] = {}
    rows = [row for row, _ in population.rows(task["n"], task["seed"])]
    for number in range(1, task["earlier"] + 2):
        with open_store(task) as store:
            (parent,) = [store.head(population.NODE)]
            assert parent is not None
            references = list(store.state(population.NODE).references())
            draft = population.next_draft(store, (parent,), number, rows, references)
            draft.splits = dict(store.state(population.NODE).manifest["labels"])
        with open_store(task) as store:
            store.head(population.NODE)  # connected
            with clock.measured():
                store.commit(draft, "main", parent)
        found[str(number)] = clock.found
    return {"commits": found}


def opened(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """From nothing to the first page of a filtered answer, then filtered queries of the open state."""
    store = open_store(task)
    with clock.measured():
        view = store.state(population.NODE)
        page = list(view.entries(OTHER_QUERY, FIELDS, SORT, limit=20))
    first_page = clock.found
    with clock.measured():
        answer = list(view.entries(QUERY, FIELDS, SORT))
    first = clock.found
    repeated = clock.median_of(REPEATS, lambda: list(view.entries(QUERY, FIELDS, SORT)))
    assert all(row["energy_above_hull"] <= 0.02 for row in answer)
    assert page
    return {"open": first_page, "query_first": first, "query_repeated": repeated, "answers": len(answer)}


def load(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Structures of entries by id, relaxed, as pymatgen objects."""
    with open_store(task) as store:
        view = store.state(population.NODE)
        ids = view.manifest["structures"]
        chosen = [ids[(index * 7919) % len(ids)] for index in range(LOADED)]
        with clock.measured():
            atoms = sum(len(view.structure(identifier)) for identifier in chosen)
    return {**clock.found, "atoms": atoms}


def export(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    from coevo.node_store.bundles.export import export_bundle, heads_of

    with open_store(task) as store:
        store.head(population.NODE)
        with clock.measured():
            report = export_bundle(store, heads_of(store, population.NODE), Path(task["bundle"]))
    return {**clock.found, "bundle_megabytes": report.size / 1e6}


def imported(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    from coevo.node_store.bundles.importing import import_bundle

    with open_store(task) as store:
        store.nodes()
        with clock.measured():
            report = import_bundle(store, Path(task["bundle"]))
        assert report.states_added == report.states
        return {**clock.found, "state": store.head(population.NODE)}


def verified(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    from coevo.node_store.upkeep.verification import verify

    with open_store(task) as store:
        store.nodes()
        with clock.measured():
            result = verify(store, population.NODE)
    assert not result.problems, result.problems[0]
    return {**clock.found, "evaluations": result.counts["evaluations"]}


def drop(task: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Remove a database from its server."""
    from pymongo import MongoClient

    client: MongoClient[dict[str, Any]] = MongoClient(task["database"])
    with client:
        client.drop_database(client.get_default_database().name)
    return dict(clock.found)


STEPS = {
    "drop": drop,
    "commit": commit,
    "later_commits": later_commits,
    "open": opened,
    "load": load,
    "export": export,
    "import": imported,
    "verify": verified,
}


def main() -> None:
    import pymatgen.core  # noqa: F401 - a process that commits or verifies has it, and its import is not measured

    task = json.loads(sys.argv[1])
    clock = Clock(task.get("server"))
    if task["step"] in STEPS:
        found = STEPS[task["step"]](task, clock)
    else:
        from workloads.store_peers import PEERS

        found = PEERS[task["step"]](task, clock)
    # since the beginning of this process: the one that starts it is small, for Linux hands its peak on to its children
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({**found, "peak_megabytes": peak}))


if __name__ == "__main__":
    main()
