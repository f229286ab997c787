"""Small git repositories, and a family that runs from a checkout of one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from coevo.families import Checkout, ExternalFamily

RUNNER = """
import os, sys
from coevo_runner import OUTPUT, run

def here(request):
    (name, path), = request["checkouts"].items()
    sys.path.insert(0, path)
    import lattice
    return name, path, lattice.CONSTANT

def check(request):
    name, path, constant = here(request)
    told = {"torch_scatter": "sums of our own\\x1b[2J", "bytecode": os.environ.get("PYTHONDONTWRITEBYTECODE", "")}
    many = {str(i): "" for i in range(1000)} if os.environ.get("MANY_STAND_INS") else {}
    return {"versions": {"lattice": str(constant)}, "device": "cpu", "weights": {"small": None}, "stand_ins": {**told, **many}}

def fit(request):
    name, path, constant = here(request)
    (OUTPUT / "model").mkdir()
    (OUTPUT / "model" / "constant.txt").write_text(str(constant))
    return {"model": "model", "document": {"constant": constant}, "report": {}}

run("lattices", {"check": check, "fit": fit})
"""


def git(directory: Path, *arguments: str) -> str:
    """Run git as somebody whose own configuration does not matter."""
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "nobody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["git", *arguments], cwd=directory, env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_repository(directory: Path, **files: str) -> str:
    """Make a repository with ``lattice.py`` and ``data/numbers.csv``; return its commit."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    for name, text in {"lattice.py": "CONSTANT = 1\n", "data/numbers.csv": "1\n", ".gitignore": "*.log\n", **files}.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return commit_all(directory)


def commit_all(directory: Path) -> str:
    """Commit what is there; return the commit."""
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "change")
    return git(directory, "rev-parse", "HEAD")


def family_of(directory: Path, *checkouts: Checkout) -> ExternalFamily:
    """A family without packages whose runner imports from its one checkout."""
    (directory / "lattices_runner.py").write_text(RUNNER)
    (directory / "lattices.txt").write_text("")
    return ExternalFamily("lattices", directory / "lattices_runner.py", directory / "lattices.txt", checkouts=checkouts)
