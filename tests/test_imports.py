"""What importing coevo costs, and the links at the repository root."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import coevo

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "torch",
    "chgnet",
    "pyxtal",
    "ase",
    "pymatgen",
    "quests",
    "numba",
    "sklearn",
    "matplotlib",
    "optimade",
    "mongomock",
    "spglib",
}
LINKS = ("configs", "flows", "makers", "node_store", "slurm")


def modules_after(*names: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after importing the names."""
    code = f"import {', '.join(names)}; import json, sys; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def rooms() -> list[str]:
    return sorted(f"coevo.{module.name}" for module in pkgutil.iter_modules(coevo.__path__) if module.ispkg)


def modules_of(room: str) -> list[str]:
    """Return the room and its modules, one level deep: those that graphs are built from and documents name."""
    path = Path(coevo.__path__[0]) / room.partition(".")[2]
    return [room, *sorted(f"{room}.{module.name}" for module in pkgutil.iter_modules([str(path)]) if not module.ispkg)]


@pytest.fixture(scope="module")
def of_jobflow() -> set[str]:
    return modules_after("jobflow")


def test_there_are_rooms_to_look_at() -> None:
    assert {"coevo.flows", "coevo.makers", "coevo.app", "coevo.configs"} <= set(rooms())


@pytest.mark.parametrize("room", ["coevo.flows", "coevo.makers"])
def test_graphs_import_nothing_heavy_beyond_jobflow(room: str, of_jobflow: set[str]) -> None:
    assert (modules_after(*modules_of(room)) - of_jobflow) & HEAVY == set()


def test_the_command_line_imports_nothing_heavy_beyond_jobflow(of_jobflow: set[str]) -> None:
    assert (modules_after("coevo.app.cli") - of_jobflow) & HEAVY == set()


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_nothing_heavy_by_itself(room: str) -> None:
    assert modules_after(room) & HEAVY == set()


def test_configurations_and_settings_need_no_science() -> None:
    names = (
        "coevo.settings",
        "coevo.configs.loading",
        "coevo.configs.references",
        "coevo.labelling.teacher",
        "coevo.labelling.espresso.labeller",
        "coevo.slurm.detection",
    )
    assert modules_after(*names) & (HEAVY | {"jobflow", "scipy", "pymongo"}) == set()


def test_commands_that_look_open_the_store_without_jobs(tmp_path: Path) -> None:
    code = (
        "import json, sys; from coevo.app import cli; from coevo.node_store.current import current_store; "
        "from coevo.settings import usable_workers; usable_workers(); current_store().nodes(); "
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    settings = {"COEVO_DATABASE": f"file:{tmp_path / 'db'}", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **settings}
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded & (HEAVY | {"jobflow", "maggma", "boto3", "pymongo"}) == set()


@pytest.mark.parametrize("name", LINKS)
def test_a_link_at_the_root_leads_to_its_room(name: str) -> None:
    link = ROOT / name
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == (ROOT / "src" / "coevo" / name).resolve()
    assert (link / "__init__.py").is_file()


def test_no_module_imports_through_a_link() -> None:
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in {"import", "from"}:
                assert words[1].partition(".")[0] not in LINKS, f"{path}: {line.strip()}"
