"""What `coevo serve` costs: start-up, pages, filters, OPTIMADE, memory, and fifty clients at once.

Each node is served by a process of its own; an address is asked for once after the start (first) and then nine times (the median
is told). Wall seconds as a client of the same machine sees them, and CPU seconds of the server.

    python benchmarks/serve.py                                  # 10,000 and 100,000 made-up entries
    python benchmarks/serve.py --nodes real=file:DIR            # and a node of a database that is there
    python benchmarks/serve.py --sizes 1000 --print             # seconds; writes nothing
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from workloads import served_node

RESULT = Path(__file__).parent / "results" / "serve.json"
REPEATS = 9
FILTER = 'elements HAS ALL "Li","P","S" AND energy_above_hull < 0.02'
SEARCH = 'formula CONTAINS "Li3"'
OPTIMADE = 'elements HAS ALL "Li","P","S" AND _coevo_energy_above_hull < 0.02'
CLIENTS = 50


class Serving:
    """A server in a process of its own."""

    def __init__(self, database: str):
        environment = {**os.environ, "COEVO_DATABASE": database, "OMP_NUM_THREADS": "1"}
        begun = time.perf_counter()
        command = [sys.executable, "-m", "coevo.app.cli", "serve", "--port", "0"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = ""
        while "serving" not in said:
            said = self.process.stderr.readline()
            assert said, self.process.wait()
        self.url = re.search(r"http://[^/ ]+", said)[0]  # type: ignore[index]
        self.get("/")
        self.start = {"wall_seconds": time.perf_counter() - begun, "cpu_seconds": self.cpu()}

    def get(self, path: str) -> bytes:
        with urlopen(self.url + path, timeout=600) as answer:
            return bytes(answer.read())

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self, name: str) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1e3  # type: ignore[index]

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)

    def measured(self, path: str) -> dict[str, Any]:
        walls, cpu = [], []
        for _ in range(1 + REPEATS):
            before, begun = self.cpu(), time.perf_counter()
            body = self.get(path)
            walls.append(time.perf_counter() - begun)
            cpu.append(self.cpu() - before)
        return {
            "first_wall_seconds": walls[0],
            "first_cpu_seconds": cpu[0],
            "wall_seconds": statistics.median(walls[1:]),
            "kilobytes": len(body) / 1e3,
        }


def measure(database: str, node: str) -> dict[str, Any]:
    serving = Serving(database)
    try:
        found: dict[str, Any] = {"start": serving.start, "megabytes_after_start": serving.megabytes("VmRSS")}
        table = f"/{node}/main/entries"
        text = serving.get(table).decode()
        entry = re.search(rf"/{node}/[0-9a-f]{{64}}/entries/[0-9a-f]{{64}}", text)[0]  # type: ignore[index]
        total = int(re.search(r'id="total">(\d+)', text)[1])  # type: ignore[index]
    finally:
        serving.end()
    serving = Serving(database)
    try:
        found["entries"] = total
        paths = {
            "state": f"/{node}/main",
            "table": table,
            "filter": f"{table}?filter={quote(FILTER)}",
            "text search": f"{table}?filter={quote(SEARCH)}",
            "last page, by volume": f"{table}?sort=-volume_per_atom&page={-(-total // 50)}",
            "entry": entry,
            "CIF": f"{entry}/structure.cif",
            "OPTIMADE, 100 structures": "/optimade/v1/structures?page_limit=100",
            "OPTIMADE, filter": f"/optimade/v1/structures?filter={quote(OPTIMADE)}",
        }
        found["requests"] = {name: serving.measured(path) for name, path in paths.items()}
        begun = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(serving.get, [list(paths.values())[number % len(paths)] for number in range(CLIENTS)]))
        found["fifty_clients_wall_seconds"] = time.perf_counter() - begun
        found["megabytes"] = serving.megabytes("VmRSS")
        begun = time.perf_counter()
        serving.get(f"/{node}/main/figures/hull.svg")
        found["hull_figure_wall_seconds"] = time.perf_counter() - begun
        found["peak_megabytes"] = serving.megabytes("VmHWM")
    finally:
        serving.end()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--nodes", nargs="*", default=[], metavar="NODE=DATABASE", help="nodes that are there")
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for text in options.nodes:
        node, _, database = text.partition("=")
        found[node] = measure(database, node)
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            served_node.build(Path(folder) / "db", size)
            found[f"{size} made-up entries"] = measure(f"file:{folder}/db", served_node.NODE)
    versions = {name: version(name) for name in ("coevo", "optimade", "fastapi", "uvicorn", "starlette")}
    report = {"python": platform.python_version(), "versions": versions, "load_before": os.getloadavg()[0], "nodes": found}
    text = json.dumps(report, indent=2)
    print(text)
    if not options.print:
        RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
