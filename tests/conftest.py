"""A node small enough that a whole transition takes seconds, shared by the tests of makers, flows and the command line."""

from __future__ import annotations

import coevo.app  # noqa: F401 - before all that imports NumPy: it holds what NumPy's results depend on

# isort: split
import atexit
import functools
import gc
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest
from filelock import FileLock
from pymatgen.symmetry.groups import SpaceGroup

from mongodb_server import mongodb_server, mongodb_uri
from slurm_cluster import slurm_cluster
from tiny_node import TINY, Coevo, copy_of
from unflushed import leave_flushes_to_the_system

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

__all__ = ["mongodb_server", "mongodb_uri", "slurm_cluster"]

os.environ["OMP_NUM_THREADS"] = "1"
leave_flushes_to_the_system()

# The same examples each time, and no time limit for any of them: a busy machine holds up whichever it likes. So it is in CI.
hypothesis.settings.register_profile(
    "of any machine",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("of any machine")


def keep_space_groups() -> None:
    """Let each space group be made once a process.

    pymatgen forgets one that is not in use, and compares each of its operations with all others when it makes it again: nearly
    a second for Fm-3m, in which many of the tests' crystals are.
    """
    make, kept = SpaceGroup.__init__, {}

    @functools.wraps(make)
    def make_and_keep(self: SpaceGroup, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)
        kept[id(self)] = self

    SpaceGroup.__init__ = make_and_keep


keep_space_groups()


def end_without_taking_apart() -> None:
    """Let a test process of pytest-xdist end without the last step of its interpreter.

    That takes apart each of the imported packages, and the run waits for it: four seconds of computing in each test process.
    """
    mine = os.getpid()

    def end() -> None:
        if os.getpid() == mine:  # and no fork of it, which has an exit code of its own
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    atexit.register(end)  # before all that the tests import, and so called after it


if os.environ.get("PYTEST_XDIST_WORKER"):
    end_without_taking_apart()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among what is imported, which stays: neither while it comes nor ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def tiny_text() -> str:
    return TINY


LONGEST_FIRST = (
    "slurm/test_campaign.py",
    "slurm/test_disturbed_campaign.py",
    "slurm/test_orchestration_benchmark.py",
    "slurm/jobflow_remote/test_campaign.py",
    "node_store/test_faults.py",
    "app/test_espresso_node.py",
    "app/test_readme.py",
    "campaigns/test_resume.py",
    "app/commands/lineage/test_merge.py",
    "app/commands/lineage/test_bundles.py",
    "report/test_page.py",
    "report/test_report.py",
    # in a new environment numba compiles QUESTS here, and the modules beside it find that done
    "analysis/environments/test_entropy.py",
    "labelling/test_espresso.py",
    "labelling/test_espresso_failures.py",
    "models/chgnet/test_chgnet.py",
    "slurm/test_site_commands_on_jobs.py",
    "tests/test_processes.py",
)
"""Modules with which the run begins, so that none of them is left for its end, when the other test process has nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((place for place, end in enumerate(LONGEST_FIRST) if path.endswith(end)), len(LONGEST_FIRST))

    items.sort(key=place)


LONGEST = 900
"""Seconds that a test may take: one that does not end is a failure with its name, and the others run.

So much more on a machine as more processes want to compute than it has cores.
"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    def too_long(signum: int, frame: object) -> None:
        raise TimeoutError(f"{item.nodeid} took longer than {longest} s")

    longest = int(LONGEST * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
    limited = item.get_closest_marker("long") is None and item.get_closest_marker("models") is None
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(longest if limited else 0)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A directory that the first of the test processes makes and the others wait for."""
    root = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    directory, done = root / name, root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            make(directory)
            done.touch()
    return directory


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    """A directory with an initialised tiny node; copy it, do not change it."""

    def make(directory: Path) -> None:
        (directory / "tiny.yaml").write_text(tiny_text)
        Coevo(directory)("init", "tiny.yaml")

    return made_once(tmp_path_factory, "seeded", make)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, seeded: Path) -> Coevo:
    """A tiny node after two transitions that nobody disturbed, with what the command printed; read it, do not change it."""

    def make(directory: Path) -> None:
        (directory / "run.txt").write_text(copy_of(seeded, directory)("run", "tiny", "-n", "2").stdout)

    return Coevo(made_once(tmp_path_factory, "finished", make))


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, finished: Coevo) -> Path:
    """The report of that node with its map, as the command writes it; read it, do not change it."""

    def make(directory: Path) -> None:
        finished("report", "tiny", "--output", str(directory / "tiny"))

    return made_once(tmp_path_factory, "report", make) / "tiny"


@pytest.fixture
def fresh(seeded: Path, tmp_path: Path) -> Coevo:
    """A command line on a copy of the initialised tiny node."""
    return copy_of(seeded, tmp_path)
