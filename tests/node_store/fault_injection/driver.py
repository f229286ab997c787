"""Runs one operation again and again, each time with a fault at another point, and judges what is left.

Run as a process of its own, which forks one child for each step, so that nothing is remembered between them::

    python -m fault_injection.driver '{"directory": …, "server": null, "operation": "commit", "fault": "kill", "limit": 20}'

The answer is JSON on standard output: how many faults there were, at how many possible points, and the harm that was counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mongomock  # noqa: F401 - once, before the forks, as the others
import pymatgen.core  # noqa: F401
import pymongo  # noqa: F401
from upkeep_cases import VALID_CONFIG

from coevo.configs.loading import parse_config
from coevo.errors import StorageError
from fault_injection.children import in_child, must
from fault_injection.counting import Contents, Harm, contents, harm_at_once, harm_in_the_end
from fault_injection.faults import Calls, DroppingProxy, branch_moved_first, kill_this_process
from fault_injection.operations import OPERATIONS, Operation
from fault_injection.own_server import OwnServer
from fault_injection.worksite import Worksite

SIGKILLED = -9
MOST_POINTS = 5000
FILLER = "filler"
SERVER_DIES = "server dies"


class Driver:
    """One operation on one backend.

    Parameters
    ----------
    directory : Path
    server : str or None
    operation : str
    broken : bool
        Whether the order of a commit is broken on purpose.
    own : OwnServer or None
        The server, if it may be killed.
    """

    def __init__(
        self, directory: Path, server: str | None, operation: str, *, broken: bool = False, own: OwnServer | None = None
    ):
        self.own = own
        self.site = Worksite(directory, server)
        self.operation: Operation = OPERATIONS[operation]
        self.broken = broken
        self.before = Contents()
        self.after = Contents()

    def _run(self, server: str | None = None) -> None:
        with branch_moved_first() if self.broken else nullcontext(), self.site.open(server) as store:
            self.operation.run(store, self.site.live)

    def _read(self) -> dict[str, Any]:
        with self.site.open() as store:
            return contents(store).to_dict()

    def _prepare(self) -> None:
        self.site.clear()
        with self.site.open() as store:
            self.operation.prepare(store, self.site.live)
        self.site.keep()

    def begin(self) -> None:
        """Make the database, and see what it holds before and after an operation that nobody disturbs."""
        parse_config(VALID_CONFIG, "once, before the forks")
        must(self._prepare)
        must(self.site.restore)
        self.before = Contents(**must(self._read))
        must(self._run)
        self.after = Contents(**must(self._read))
        assert not self.before.problems, self.before.problems
        assert not self.after.problems, self.after.problems
        assert self.before != self.after
        must(self._run)  # repeating it changes nothing
        assert harm_in_the_end(self.after, Contents(**must(self._read))).examples == []

    def judge(self, total: Harm) -> None:
        """Look at what a fault left, repeat the operation, look again, and add up the harm."""
        seen = Contents(**must(self._read))
        _add(total, harm_at_once(self.before, self.after, seen))
        code, _ = in_child(self._repeat)
        if code:
            total.add("lost", 1, "the operation cannot be repeated")
        _add(total, harm_in_the_end(self.after, Contents(**must(self._read))))

    def _repeat(self) -> None:
        with self.site.open() as store:
            self.operation.run(store, self.site.live)

    # --- faults

    def count_calls(self) -> int:
        def counted() -> int:
            calls = Calls(None, lambda: None)
            calls.watch(system=True, driver=bool(self.site.server))
            self._run()
            return calls.count

        must(self.site.restore)
        return int(must(counted))

    def kill(self, limit: int) -> dict[str, Any]:
        """SIGKILL before each call that changes something (at most ``limit`` of them, evenly spread)."""
        possible, faults, harm = self.count_calls(), 0, Harm()
        # a broken order shows near the end, when the documents are written
        for point in range(max(1, possible - limit), possible) if self.broken else spread(possible, limit):

            def killed(point: int = point) -> None:
                Calls(point, kill_this_process).watch(system=True, driver=bool(self.site.server))
                self._run()

            must(self.site.restore)
            code, _ = in_child(killed)
            assert code == SIGKILLED, f"point {point} of {possible}: exit code {code}"
            faults += 1
            self.judge(harm)
        return _answer(faults, possible, harm)

    def drop_connection(self, limit: int) -> dict[str, Any]:
        """Cut the connection at each write command, before the server gets it and after it was done."""
        assert self.site.server
        address = urlsplit(self.site.server)

        def cut(point: int, after: bool) -> dict[str, Any]:
            proxy = DroppingProxy(str(address.hostname), int(address.port or 27017), point, after=after)
            try:
                self._run(f"mongodb://127.0.0.1:{proxy.port}")
            except StorageError:
                return {"error": True, "writes": proxy.writes, "dropped": proxy.dropped}
            return {"error": False, "writes": proxy.writes, "dropped": proxy.dropped}

        must(self.site.restore)
        possible = int(must(lambda: cut(MOST_POINTS, False))["writes"])
        faults, harm = 0, Harm()
        for point in spread(possible, limit):
            for after in (False, True):
                must(self.site.restore)
                done = must(lambda point=point, after=after: cut(point, after))  # type: ignore[misc]
                assert done["dropped"], f"write {point} of {possible}: the connection was not cut"
                faults += 1
                self.judge(harm)
        return _answer(faults, 2 * possible, harm)

    def kill_server(self, limit: int) -> dict[str, Any]:
        """SIGKILL to the server before each write; it starts again on the same files."""
        assert self.own

        def counted() -> int:
            calls = Calls(None, lambda: None)
            calls.watch(system=False, driver=True)
            self._run()
            return calls.count

        must(self.site.restore)
        possible, faults, harm = int(must(counted)), 0, Harm()
        for point in spread(possible, limit):

            def orphaned(point: int = point) -> bool:
                assert self.own
                Calls(point, self.own.kill).watch(system=False, driver=True)
                try:
                    self._run()
                except StorageError:
                    return True
                return False

            must(self.site.restore)
            assert must(orphaned), f"write {point} of {possible}: the server died and nobody noticed"
            self.own.wait()
            self.own.start()
            faults += 1
            self.judge(harm)
        return _answer(faults, possible, harm)

    def full_disk(self, limit: int) -> dict[str, Any]:
        """Leave less and less space free on a small file system that is mounted at the work site, in a namespace of its own."""
        faults, harm = 0, Harm()
        possible = 40
        for point in spread(possible, limit):
            must(self.site.restore)
            self._fill(leave=4096 * (point - 1))
            code, error = in_child(self._full)
            assert code == 0
            (self.site.directory / FILLER).unlink()
            faults += error
            self.judge(harm)
        return _answer(faults, possible, harm)

    def _full(self) -> bool:
        try:
            self._run()
        except StorageError as err:
            if "No space left on device" not in str(err):
                raise
            return True
        return False

    def _fill(self, leave: int) -> None:
        """Write until the file system is full, and give so many bytes back."""
        path = self.site.directory / FILLER
        with path.open("wb", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(bytes(4096))
            file.truncate(max(0, path.stat().st_size - leave))


def spread(possible: int, limit: int) -> Iterator[int]:
    """Choose at most so many of the points from 1 to ``possible``, evenly, the first and the last among them."""
    if possible <= limit:
        yield from range(1, possible + 1)
    else:
        yield from sorted({1 + round(number * (possible - 1) / (limit - 1)) for number in range(limit)})


def _add(total: Harm, harm: Harm) -> None:
    total.lost += harm.lost
    total.doubled += harm.doubled
    total.half_visible += harm.half_visible
    total.examples = [*total.examples, *harm.examples][:5]


def _answer(faults: int, possible: int, harm: Harm) -> dict[str, Any]:
    return {
        "faults": faults,
        "possible": possible,
        "lost": harm.lost,
        "doubled": harm.doubled,
        "half_visible": harm.half_visible,
        "examples": harm.examples,
    }


FAULTS: dict[str, Callable[[Driver, int], dict[str, Any]]] = {
    "kill": Driver.kill,
    "dropped connection": Driver.drop_connection,
    "full disk": Driver.full_disk,
    SERVER_DIES: Driver.kill_server,
}


def main(request: dict[str, Any]) -> dict[str, Any]:
    directory, server, own = Path(request["directory"]), request["server"], None
    if request["fault"] == SERVER_DIES:
        own = OwnServer(directory / "server")
        own.start()
        server = own.uri
    driver = Driver(directory, server, request["operation"], broken=request["broken"], own=own)
    try:
        driver.begin()
        return FAULTS[request["fault"]](driver, request["limit"])
    finally:
        if own:
            own.kill()
        else:
            driver.site.drop()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    asked = json.loads(sys.argv[1])
    if asked.get("mount"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={asked['mount']}", "tmpfs", asked["directory"]], check=True)
    print(json.dumps(main(asked)))
