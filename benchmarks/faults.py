"""Faults in the middle of everything that changes a database, and what they harm: the numbers must be 0.

Each operation (a commit; making, moving and deleting branches; a merge with bringing another node's history; an import; garbage
collection) is cut short at every possible point, one after the other, each time on a fresh copy of the same database:

* ``kill``: SIGKILL to the process before each call that changes something, of the operating system and of the MongoDB driver;
* ``full disk``: a file system of a few MB with less and less space left (embedded);
* ``dropped connection``: a proxy cuts it at each write, before the server gets it, and after the server did it;
* ``server dies``: SIGKILL to the server before each write; it starts again on the same files.

Then the database is opened again, read and verified, the operation repeated, and the database compared with one that was never
disturbed. *lost*: documents or branches that are gone; *doubled*: there more often than they should be; *half visible*: what a
reader sees who may not see it yet, or cannot see it whole, and every problem that ``coevo verify`` finds. At the end the commit
is broken on purpose (the branch moves before the documents), to see that the counters count.

The server is SecantusDB, which is not mongod; the environment variable COEVO_TEST_MONGODB names a real one (its death is left to
SecantusDB). The tests run the same code on a part of the points (tests/node_store/test_faults.py).

    python benchmarks/faults.py                 # about half an hour on two cores
    python benchmarks/faults.py --limit 5       # five points each; prints only
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "faults.json"
sys.path[:0] = [str(HERE.parent / "tests" / "node_store" / below) for below in ("", "upkeep")]  # the same code as the tests

from fault_injection.own_server import OwnServer  # noqa: E402
from fault_injection.running import inject, may_mount  # noqa: E402

OPERATIONS = ("commit", "branch", "merge", "import", "gc")
FAULTS: dict[str, dict[str, tuple[str, ...]]] = {
    "embedded": {"kill": OPERATIONS, "full disk": ("commit", "merge", "import", "gc")},
    "mongodb": {"kill": OPERATIONS, "dropped connection": OPERATIONS, "server dies": ("commit", "import")},
}
HARM = ("lost", "doubled", "half_visible")
EVERY_POINT = 10_000


def run_fault(
    directory: Path, server: str | None, operation: str, fault: str, limit: int, *, broken: bool = False
) -> dict[str, Any]:
    site = directory / f"{fault}_{operation}{'_broken' if broken else ''}".replace(" ", "_")
    started = time.monotonic()
    found = inject(site, server, operation, fault, limit=limit, broken=broken, timeout=7200)
    shutil.rmtree(site, ignore_errors=True)
    harm = ", ".join(f"{found[name]} {name}" for name in HARM)
    print(
        f"{fault} in {operation}: {found['faults']} of {found['possible']} points, {harm}, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    for example in found["examples"]:
        print(f"    {example}", flush=True)
    return found


def run_backend(name: str, directory: Path, server: str | None, limit: int) -> dict[str, Any]:
    """All faults of one backend, and the order broken on purpose."""
    faults: dict[str, dict[str, Any]] = {}
    for fault, operations in FAULTS[name].items():
        if fault == "full disk" and not may_mount(directory):
            raise SystemExit("this kernel lets no user mount a file system of his own: the full disk cannot be tried here")
        faults[fault] = {operation: run_fault(directory, server, operation, fault, limit) for operation in operations}
    broken = run_fault(directory, server, "commit", "kill", min(limit, 12), broken=True)
    all_found = [found for operations in faults.values() for found in operations.values()]
    return {
        "kills": sum(found["faults"] for found in faults["kill"].values()),
        "other_faults": {fault: sum(f["faults"] for f in found.values()) for fault, found in faults.items() if fault != "kill"},
        **{harm: sum(found[harm] for found in all_found) for harm in HARM},
        "by_operation": {
            fault: {operation: _numbers(found) for operation, found in operations.items()} for fault, operations in faults.items()
        },
        "order_broken_on_purpose": _numbers(broken),
    }


def _numbers(found: dict[str, Any]) -> dict[str, int]:
    return {name: int(found[name]) for name in ("faults", "possible", *HARM)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=None, help="points of each operation; the result is printed only")
    parser.add_argument("--backends", nargs="+", choices=tuple(FAULTS), default=list(FAULTS))
    arguments = parser.parse_args()
    limit = arguments.limit or EVERY_POINT
    result: dict[str, Any] = {
        "benchmark": "faults",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in ("coevo", "pymongo", "SecantusDB", "zstandard")},
        "backends": {},
    }
    with tempfile.TemporaryDirectory(prefix="coevo-faults-") as folder, ExitStack() as stack:
        for name in arguments.backends:
            directory = Path(folder) / name
            directory.mkdir()
            uri = None
            if name == "mongodb" and not (uri := os.environ.get("COEVO_TEST_MONGODB")):
                server = OwnServer(directory / "server")
                server.start()
                stack.callback(server.kill)
                uri = server.uri
            print(f"== {name}", flush=True)
            result["backends"][name] = run_backend(name, directory, uri, limit)
    numbers = {name: {key: found[key] for key in ("kills", "other_faults", *HARM)} for name, found in result["backends"].items()}
    print(json.dumps(numbers, indent=2))
    if arguments.limit is None and set(arguments.backends) == set(FAULTS):
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
        print(f"written to {RESULT}")
    if any(found[harm] for found in result["backends"].values() for harm in HARM):
        raise SystemExit("something was harmed")


if __name__ == "__main__":
    main()
