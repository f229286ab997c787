"""The examples of docs/python.md, as they stand there and in that order, on a small node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo.uri_parser import parse_uri

from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo, copy_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
DEMO = "li-p-s-demo"
SERVER = '{"database": "coevo", "host": "localhost", "port": 27017, "username": "reader", "password": "…"}'


def blocks(on_a_server: bool) -> str:
    """The Python of the page as one program: what reads a server, or all else."""
    found = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(block for block in found if (SERVER in block) == on_a_server).replace(DEMO, "tiny")


def run(program: str, directory: Path, **environment: str) -> str:
    """Run a program as a user does, who has set nothing but the database."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("COEVO_", "OMP_", "JOBFLOW"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env={**inherited, "COEVO_WORKERS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.long
def test_the_examples_run_and_the_flow_ends_in_the_state_of_coevo_run(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    store = open_store(Settings(database=f"file:{coevo.database}"))
    head, before = store.state("tiny").id, store.state("tiny~1").id
    (coevo.database / "tiny" / "refs" / "main").write_text(before + "\n")
    shutil.rmtree(coevo.database / "jobs")  # so that all is computed again
    printed = run(blocks(on_a_server=False), tmp_path, COEVO_DATABASE=f"file:{coevo.database}")
    assert f"tiny@{head[:12]}, iteration 2" in printed.splitlines()[-1]
    assert store.state("tiny").id == head
    assert " 0 notes" in coevo("verify", "tiny").stderr


@pytest.mark.long
@pytest.mark.service
def test_a_server_is_read_through_maggma(mongodb_uri: str, finished: Coevo, tmp_path: Path) -> None:
    coevo = Coevo(tmp_path, COEVO_DATABASE=mongodb_uri, COEVO_ARTIFACTS=f"file://{tmp_path}/artifacts")
    finished("export", "tiny", str(tmp_path / "tiny.zip"))
    coevo("import", "tiny.zip")
    check = """
from pymatgen.core import Structure
print(head, Structure.from_dict(geometry).composition.reduced_formula, rows[0]["formula"])
"""
    address = parse_uri(mongodb_uri)
    (host, port), database = address["nodelist"][0], address["database"]
    server = repr({"database": database, "host": host, "port": port})
    printed = run(blocks(on_a_server=True).replace(SERVER, server) + check, tmp_path).split()
    assert printed[0] == open_store(Settings(database=f"file:{finished.database}")).state("tiny").id
    assert printed[1] == printed[2]
