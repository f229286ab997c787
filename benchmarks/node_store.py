"""What the node store costs: commit, open, query, load, export, import and verify at 1,000, 10,000 and 100,000 structures.

Entries are random Li–P–S cells of 8–16 atoms, nine in ten with a relaxed geometry in their evaluation, with the fields that a
transition writes. Every step runs in a process of its own: its CPU seconds, those of the server, and its peak memory. Numbers are
medians over the repeats (one at 100,000). Both backends: embedded, and MongoDB through SecantusDB, which is not mongod; the
environment variable COEVO_TEST_MONGODB names a real one.

Peers are what structures and energies would otherwise be kept in: one compressed JSON file, and maggma's JSONStore.

    python benchmarks/node_store.py            # about an hour on two cores
    python benchmarks/node_store.py --backends embedded   # what is not measured again stays as it is in the result
    python benchmarks/node_store.py --quick    # some seconds, small sizes; prints only
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from workloads.mongodb_process import Server, mongodb_server

HERE = Path(__file__).parent
RESULT = HERE / "results" / "node_store.json"
PLOT = HERE.parent / "docs" / "node_store.png"
STEPS = ("commit", "open", "load", "export", "verify", "import")
GROWING = ("commit", "export", "verify", "import")
ROWS = {
    "commit": "commit",
    "open": "open, to the first page of a filtered answer",
    "query_first": "filtered query once open, first",
    "query_repeated": "filtered query once open, again",
    "load": "load 100 structures by id",
    "export": "export",
    "import": "import",
    "verify": "verify",
}
VERSIONS = ("coevo", "pymongo", "zstandard", "pydantic-core", "numpy", "maggma", "monty", "mongomock", "SecantusDB")


class Bench:
    """Runs steps in processes of their own, in a directory that is removed afterwards.

    Parameters
    ----------
    directory : Path
    seed : int
    limit : float
        Seconds that a step may take.
    """

    def __init__(self, directory: Path, seed: int, limit: float):
        self.directory = directory
        self.seed = seed
        self.limit = limit

    def step(self, name: str, **task: Any) -> dict[str, Any]:
        """Run one step; what it found, or ``left_out``: why there is nothing."""
        command = [sys.executable, "-m", "workloads.store_steps", json.dumps({"step": name, "seed": self.seed, **task})]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(command, cwd=HERE, env=environment, timeout=self.limit, capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            return {"left_out": f"stopped after {self.limit:.0f} s"}
        if done.returncode:
            print(done.stderr.decode(), file=sys.stderr)
            last = (done.stderr.decode().splitlines() or ["no message"])[-1]
            return {"left_out": f"it failed with exit code {done.returncode}: {last:.200}"}
        return json.loads(done.stdout.splitlines()[-1])


def spent(found: dict[str, Any]) -> float:
    """CPU seconds of our process and of the server."""
    return float(found["cpu_seconds"]) + float(found["server_cpu_seconds"] or 0.0)


def flattened(name: str, found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of one step: opening measures queries too."""
    if name != "open" or "open" not in found:
        return {name: found}
    more = {"answers": found["answers"], "peak_megabytes": found["peak_megabytes"]}
    return {part: {**found[part], **more} for part in ("open", "query_first", "query_repeated")}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number over some runs; what is no number is that of the last run."""
    result = {}
    for key, value in runs[-1].items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        result[key] = round(statistics.median(run[key] for run in runs), 6) if is_number else value
    return {**result, "runs": len(runs)}


def place_of(bench: Bench, server: Server | None, name: str) -> dict[str, Any]:
    """Where a database of its own is."""
    if server is None:
        return {"database": f"file:{bench.directory / name}", "artifacts": None, "server": None}
    blobs = f"file://{bench.directory / name}"
    # SecantusDB does not answer pymongo's monitor during a long scan, which would then cut the connection
    database = f"{server.uri}/coevo_benchmark_{os.getpid()}_{name}?connectTimeoutMS=600000"
    return {"database": database, "artifacts": blobs, "server": server.pid}


def remove(bench: Bench, place: dict[str, Any], name: str) -> None:
    """Remove a database."""
    if place["artifacts"]:
        bench.step("drop", **place)
    shutil.rmtree(bench.directory / name, ignore_errors=True)


def measure_size(bench: Bench, server: Server | None, n: int, repeats: int) -> dict[str, Any]:
    """All steps at one size."""
    runs: dict[str, list[dict[str, Any]]] = {}
    left_out: dict[str, str] = {}
    bundle = bench.directory / "bundle.coevo"
    for _ in range(repeats):
        first, second = (place_of(bench, server, name) for name in ("first", "second"))
        for name in STEPS:
            needed = {"commit", "export"} if name == "import" else {"commit"}
            if lacking := needed & left_out.keys():
                left_out[name] = f"there is no {min(lacking)}"
                continue
            found = bench.step(name, **(second if name == "import" else first), n=n, bundle=str(bundle))
            if "left_out" in found:
                left_out[name] = found["left_out"]
                continue
            for row, numbers in flattened(name, found).items():
                runs.setdefault(row, []).append(numbers)
                print(f"{n:>8} {row:16} {show(numbers)}", flush=True)
        for place, name in ((first, "first"), (second, "second")):
            remove(bench, place, name)
        bundle.unlink(missing_ok=True)
    return {**{row: median(found) for row, found in runs.items()}, **({"left_out": left_out} if left_out else {})}


def show(numbers: dict[str, Any]) -> str:
    """One row for the terminal."""
    server = "" if numbers["server_cpu_seconds"] is None else f" + {numbers['server_cpu_seconds']:.3f} s of the server"
    peak = f", peak {numbers['peak_megabytes']:.0f} MB" if "peak_megabytes" in numbers else ""
    return f"CPU {numbers['cpu_seconds']:.3f} s{server}, wall {numbers['wall_seconds']:.3f} s{peak}"


def measure_lineage(bench: Bench, server: Server | None, n: int, earlier: tuple[int, ...]) -> dict[str, Any]:
    """Cost of a commit of ``n`` evaluations, with so many states before it; medians of up to three neighbouring commits."""
    place = place_of(bench, server, "lineage")
    bench.step("commit", **place, n=n)
    found = bench.step("later_commits", **place, n=n, earlier=max(earlier) + 1)
    remove(bench, place, "lineage")
    if "left_out" in found:
        return found
    commits = {int(number): numbers for number, numbers in found["commits"].items()}
    result = {}
    for number in earlier:
        near = [commits[k] for k in (number - 1, number, number + 1) if k in commits]
        result[str(number)] = median(near)
        print(f"{n:>8} after {number} states: {show(result[str(number)])}", flush=True)
    return {"evaluations": n, "commits": result, "ratio_last_to_first": round(spent(near[-1]) / spent(commits[min(commits)]), 3)}


def growth(sizes: dict[str, Any]) -> dict[str, float]:
    """Exponent of CPU seconds against structures, between the two largest sizes: 1 is linear."""
    if len(sizes) < 2:
        return {}
    small, large = sorted(map(int, sizes))[-2:]
    return {
        row: round(math.log(spent(sizes[str(large)][row]) / spent(sizes[str(small)][row])) / math.log(large / small), 3)
        for row in GROWING
        if row in sizes[str(large)] and row in sizes[str(small)]
    }


def measure_peers(bench: Bench, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Insert, open and query with the peers."""
    found: dict[str, Any] = {}
    for peer, file in (("json_file", "peer.json.gz"), ("maggma", "peer.json")):
        found[peer] = {}
        for n in sizes:
            task = {"n": n, "file": str(bench.directory / file)}
            inserted = bench.step(f"{peer}_insert", **task)
            opened = inserted if "left_out" in inserted else bench.step(f"{peer}_open", **task)
            (bench.directory / file).unlink(missing_ok=True)
            if "left_out" in opened:
                found[peer][str(n)] = opened
                break  # larger ones take longer
            found[peer][str(n)] = {"insert": inserted, **{key: opened[key] for key in ("open", "query_repeated", "answers")}}
            print(f"{n:>8} {peer} insert {show(inserted)}; query {show(opened['query_repeated'])}", flush=True)
    return found


def ratios(embedded: dict[str, Any], peers: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds of a peer over those of the embedded node store: above 1, the node store takes less."""
    result: dict[str, Any] = {}
    for peer, sizes in peers.items():
        for n, found in sizes.items():
            if n in embedded and "insert" in found and "query_repeated" in embedded[n]:
                ours, rows = embedded[n], (("insert", "commit"), ("open", "open"), ("query_repeated", "query_repeated"))
                result.setdefault(peer, {})[n] = {
                    row: round(found[row]["cpu_seconds"] / ours[our]["cpu_seconds"], 3) for row, our in rows
                }
    return result


def targets(embedded: dict[str, Any]) -> dict[str, Any]:
    """The aims for the embedded backend, in seconds; wall seconds are those of a machine that others use too."""
    aims = (("10000", "commit", 10.0), ("100000", "query_first", 0.5), ("100000", "open", 15.0))
    result = {}
    for n, row, aim in aims:
        if found := embedded.get(n, {}).get(row):
            seconds = {key: found[key] for key in ("cpu_seconds", "wall_seconds")}
            result[f"{row} at {n}"] = {"aim": aim, **seconds, "reached": found["cpu_seconds"] <= aim}
    return result


def print_table(report: dict[str, Any]) -> None:
    """CPU seconds (with the server's) and peak memory."""
    for backend, found in report["backends"].items():
        sizes = list(found["sizes"])
        print(f"\n{backend} ({found['server'] or 'no server'}): CPU seconds, wall seconds, peak MB")
        print(f"{'':48}" + "".join(f"{n:>28}" for n in sizes))
        for row, label in ROWS.items():
            cells = [found["sizes"][n].get(row) for n in sizes]
            texts = ["-" if c is None else f"{spent(c):.3f} {c['wall_seconds']:.3f} {c['peak_megabytes']:.0f}" for c in cells]
            print(f"{label:48}" + "".join(f"{text:>28}" for text in texts))
        print(f"growth: {found['growth']}")
    print(f"\npeer over embedded, CPU: {json.dumps(report['ratios'])}\ntargets: {json.dumps(report['targets'])}")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each; write nothing unless told where")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--backends", nargs="+", choices=("embedded", "mongodb"), default=["embedded", "mongodb"])
    parser.add_argument("--repeats", type=int, default=3, help="runs at sizes below 100,000")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a step may take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-lineage", action="store_true", help="leave out commits after many earlier states")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--merge", type=Path, nargs="*", default=[], help="results to take from what is not measured now")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    found = parser.parse_args()
    found.earlier, found.lineage, found.peer_sizes = (1, 10, 100), 1_000, (1_000, 10_000, 100_000)
    if found.quick:
        found.sizes, found.repeats, found.earlier, found.lineage, found.peer_sizes = [50, 100], 1, (1, 2), 20, (100,)
    else:
        found.output, found.plot = found.output or RESULT, found.plot or PLOT
    return found


def measure_backend(bench: Bench, server: Server | None, chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything of one backend."""
    print(f"\n{'mongodb: ' + server.what if server else 'embedded'}", flush=True)
    found: dict[str, Any] = {"server": server.what if server else None}
    if not chosen.no_lineage:
        found["earlier_states"] = measure_lineage(bench, server, chosen.lineage, chosen.earlier)
    date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    sizes = {n: measure_size(bench, server, n, chosen.repeats if n < 100_000 else 1) for n in chosen.sizes}
    return {**found, "sizes": {str(n): {**rows, "date": date} for n, rows in sizes.items()}}


def merged(reports: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Backends and peers of some results, later ones win; growth is that of them all."""
    backends: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    for report in reports:
        for backend, found in report["backends"].items():
            known = backends.get(backend, {"sizes": {}})
            sizes = {**known["sizes"], **found["sizes"]}
            backends[backend] = {**known, **found, "sizes": {n: sizes[n] for n in sorted(sizes, key=int)}}
        for peer, found in report["peers"].items():
            peers[peer] = {**peers.get(peer, {}), **found}
    for found in backends.values():
        found["growth"] = growth(found["sizes"])
    return backends, peers


def main() -> None:
    """Run the benchmark and write its result."""
    chosen = options()
    now: dict[str, Any] = {"backends": {}, "peers": {}}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coevo-node-store-")))
        bench = Bench(directory, chosen.seed, chosen.limit)
        for backend in chosen.backends if chosen.sizes else ():
            server = stack.enter_context(mongodb_server(directory)) if backend == "mongodb" else None
            now["backends"][backend] = measure_backend(bench, server, chosen)
        if "embedded" in chosen.backends and not chosen.no_peers:
            now["peers"] = measure_peers(bench, chosen.peer_sizes)
    earlier = [
        json.loads(path.read_text()) for path in [*chosen.merge, *([chosen.output] if chosen.output else [])] if path.is_file()
    ]
    backends, peers = merged([*earlier, now])
    embedded = backends.get("embedded", {"sizes": {}})["sizes"]
    report = {
        "benchmark": "node_store",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seed": chosen.seed,
        "settings": {"repeats": chosen.repeats, "step_limit_seconds": chosen.limit},
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "targets": targets(embedded),
        "ratios": ratios(embedded, peers),
        "backends": backends,
        "peers": peers,
    }
    print_table(report)
    if chosen.output:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text(json.dumps(report, indent=2) + "\n")
        print(f"written to {chosen.output}")
    if chosen.plot and backends:
        from workloads.store_plot import draw

        draw(report, chosen.plot)


if __name__ == "__main__":
    main()
