"""README's commands on the demo node, as they stand there and in that order, on a small node of the demo's name."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tiny_node import Coevo
from warm_processes import write_program

README = Path(__file__).parents[2] / "README.md"
DEMO = "li-p-s-demo"

SAYS = {
    "run": "iteration",
    "status": "signals",
    "report": "index.html",
    "motifs": "motif",
    "log": "S.U.N.",
    "query": "",
    "show": "force_field: ",
    "diff": "only in",
    "branch": "goes on with seed",
    "merge": "is at the merge",
    "export": "demo.zip",
    "verify": "no problem",
}
"""A word of what each command prints."""


def commands() -> list[str]:
    """Lines of the bash blocks of README that are commands of coevo on the demo node."""
    blocks = re.findall(r"^```bash\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("coevo ") and DEMO in line]


def test_the_block_shows_branch_run_and_merge() -> None:
    verbs = [shlex.split(line)[1] for line in commands()]
    assert set(verbs) <= set(SAYS)
    where = verbs.index("branch")
    assert verbs[where : where + 3] == ["branch", "run", "merge"]


@pytest.mark.long
def test_the_commands_do_what_they_say(finished: Coevo, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin" / "coevo")
    finished("export", "tiny", str(tmp_path / "tiny.zip"))
    coevo = Coevo(tmp_path)
    coevo.environment["PATH"] = f"{tmp_path / 'bin'}:{coevo.environment['PATH']}"
    coevo("import", "tiny.zip", "--as", DEMO)
    for line in commands():
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=coevo.environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert SAYS[shlex.split(line)[1]] in done.stdout + done.stderr, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    _the_merge_is_of_two(coevo)


def _the_merge_is_of_two(coevo: Coevo) -> None:
    head, other = (json.loads(coevo("show", ref, "--format", "json").stdout) for ref in (DEMO, f"{DEMO}@try"))
    left = json.loads(coevo("show", f"{DEMO}~1", "--format", "json").stdout)
    assert head["parents"] == [left["id"], other["id"]]
    assert left["id"] != other["id"]
    assert other["branch_seed"] > 0
    assert head["branch_seed"] == left["branch_seed"] == 0
    labels = [view["counts"]["labels"] for view in (left, other, head)]
    assert labels[2] > max(labels[:2])
    assert labels[2] == labels[0] + labels[1] - head["metrics"]["union"]["labels_in_both"]
    rows = {row["name"]: row["seed"] for row in json.loads(coevo("branch", DEMO, "--format", "json").stdout)}
    assert rows == {"main": 0, "try": other["branch_seed"]}
