"""``coevo init`` with values of the command line, and from a state of another node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plain_family import install_plain

from signalled_runs import killed
from tiny_node import TINY, Coevo, copy_of

PLAIN = ("--set", "screening.force_field.family=plain")
START = ("init", "tiny-plain", "--from-state", "tiny", *PLAIN)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return install_plain(tmp_path_factory.mktemp("installed"))


def shown(coevo: Coevo, ref: str) -> dict[str, Any]:
    return json.loads(coevo("show", ref, "--format", "json").stdout)


def said(text: str) -> str:
    """What was printed, whatever the width of the terminal."""
    return " ".join(text.split())


@pytest.mark.long
def test_values_are_as_if_they_stood_in_the_file(seeded: Path, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    one, other = copy_of(seeded, tmp_path / "one"), copy_of(seeded, tmp_path / "other")
    told = one(
        "init", "--like", "tiny.yaml", "--name", "six", "--set", "generator.candidates=6", "--set", "training.epochs=3"
    ).stderr
    assert "next: coevo run six -n 2" in told
    text = TINY.replace("name: tiny", "name: six").replace("candidates: 8", "candidates: 6").replace("epochs: 2", "epochs: 3")
    (other.directory / "six.yaml").write_text(text)
    other("init", "six.yaml")
    assert shown(one, "six")["id"] == shown(other, "six")["id"]
    assert shown(one, "six")["config"] == shown(other, "six")["config"]
    assert (one.database / "six" / "node.yaml").read_text() == text
    assert (
        "exists already with this configuration"
        in other("init", "tiny.yaml", "--name", "six", "--set", "generator.candidates=6", "--set", "training.epochs=3").stderr
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tiny.yaml", "--set", "screening.fmax=fast"], "--set: screening.fmax: got fast, allowed: a number > 0 and <= 1 eV/Å"),
        (["--like", "tiny.yaml", "--set", "screening.fmaks=1"], "--set: screening.fmaks: unknown key; did you mean fmax?"),
        (["tiny.yaml", "--set", "fmax"], "--set: got fmax, allowed: section.key=VALUE"),
        (["tiny.yaml", "--set", "node.branch_seed=3", "--name", "new"], "node.branch_seed: got 3, allowed: nothing"),
        (["tiny.yaml", "--name", "New"], "--name: node.name: got New, allowed: text matching"),
        (["tiny.yaml", "--set", "screening.fmax=0.3"], "node tiny exists already, with another configuration"),
        (
            ["tiny.yaml", "--like", "li-p-s-demo"],
            "give either CONFIG (a preset or a YAML file; --like is the same) or --elements",
        ),
        (["tiny.yaml", "--elements", "Li,P"], "give either CONFIG"),
        (
            ["tiny.yaml", "--references", "li-p-s"],
            "--references goes with --elements; for CONFIG say --set node.references=SET|FILE",
        ),
        (["--from-state", "tiny"], "give the name of the new node, once: coevo init NEW --from-state REF"),
        (["new", "--name", "newer", "--from-state", "tiny"], "give the name of the new node, once"),
        (["new", "--from-state", "tiny", "--elements", "Li,P,S"], "--elements does not go with it"),
        (["new", "--from-state", "tiny", "--like", "li-p-s-demo"], "--like does not go with it"),
        (["new", "--from-state", "nowhere"], "there is no node 'nowhere'"),
        (["new", "--from-state", "tiny@try"], "node tiny has no branch or state 'try'"),
        (["new", "--from-state", "tiny.yaml"], "--from-state: got tiny.yaml, a file, allowed: a state of the database"),
        (["tiny", "--from-state", "tiny"], "tiny is the node of that state; choose the name of a new node"),
        (["new", "--from-state", "tiny", "--set", "screening.fmax=x"], "--set: screening.fmax: got x"),
        (["new", "--from-state", "tiny", "--set", "node.elements=[Li, S]"], "got Li, S, without P of tiny@"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(seeded: Path, arguments: list[str], told: str) -> None:
    coevo = Coevo(seeded)  # is only read
    done = coevo("init", *arguments, code=2)
    assert told in said(done.stderr)
    assert len(said(done.stderr)) < 700
    assert [folder.name for folder in coevo.database.iterdir() if (folder / "node.yaml").exists()] == ["tiny"]


@pytest.fixture
def copied(finished: Coevo, tmp_path: Path, path: str) -> Coevo:
    """The tiny node after two transitions, with the plain force field at hand."""
    (tmp_path / "node").mkdir()
    return copy_of(finished.directory, tmp_path / "node", PYTHONPATH=path)


@pytest.mark.long
def test_a_node_from_a_state(copied: Coevo, tmp_path: Path) -> None:
    source = shown(copied, "tiny")
    done = copied(*START)
    origin = f"tiny@{source['id'][:12]}"
    assert "configuration: node.energy_scale: pbe, which follows from the force field that is given" in done.stderr
    assert f"tiny-plain starts from {origin}:" in done.stderr
    assert "force field: plain raw as published" in done.stderr
    assert "energy scale: mp2020 -> pbe" in done.stderr
    assert "generator: that of the state goes on" in done.stderr
    state = shown(copied, "tiny-plain")
    assert state["started_from"] == {"node": "tiny", "state": source["id"]}
    assert state["counts"] == {**source["counts"], **{f"{kind}_added": state["counts"][name] for kind, name in KINDS.items()}}
    for command in (("show", "tiny-plain"), ("log", "tiny-plain")):
        found = copied(*command)
        assert f"{origin}: {state['counts']['entries']} entries" in said(found.stdout + found.stderr).replace("│ ", "")
    assert f"started from tiny@{source['id'][:8]}" in copied("log", "tiny-plain", "--graph").stdout
    assert json.loads(copied("log", "tiny-plain", "--format", "json").stdout)[0]["started_from"] == state["started_from"]
    assert "nothing to do" in copied(*START).stderr
    difference = json.loads(copied("diff", "tiny", "tiny-plain", "--format", "json").stdout)
    assert (difference["only_left"]["labels"], difference["only_right"]["labels"], difference["splits"]) == ([], [], [])
    counts = state["counts"]
    assert f"{counts['entries'] + counts['references']} structures; stable: [" in compared(copied)
    copied("verify", "tiny-plain", "--signals")
    copied("export", "tiny-plain", str(tmp_path / "plain.coevo"))
    other = Coevo(tmp_path, PYTHONPATH=copied.environment["PYTHONPATH"])
    other("import", str(tmp_path / "plain.coevo"))
    other("verify", "tiny-plain")
    assert shown(other, "tiny-plain")["id"] == state["id"]


def compared(coevo: Coevo) -> str:
    """What the example of docs/force-fields.md prints of the two nodes."""
    page = (Path(__file__).resolve().parents[4] / "docs" / "force-fields.md").read_text(encoding="utf-8")
    [example] = [block for block in page.split("```python\n")[1:] if "li-p-s-by-chgnet" in block]
    program = example.partition("```")[0].replace("li-p-s-sevennet", "tiny").replace("li-p-s-by-chgnet", "tiny-plain")
    command = [sys.executable, "-W", "error::FutureWarning", "-c", program]
    done = subprocess.run(command, env=coevo.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


KINDS = {"structures": "entries", "references": "references", "labels": "labels"}


@pytest.mark.long
@pytest.mark.timing
def test_it_is_killed_and_goes_on_and_runs_on(copied: Coevo, finished: Coevo, tmp_path: Path) -> None:
    killed(copied, *START, name="tiny-plain/0/re-evaluate/0000")
    assert "has no state" in said(copied("run", "tiny-plain", code=2).stderr)
    assert "result reused" in copied(*START).stderr
    (tmp_path / "undisturbed").mkdir()
    undisturbed = copy_of(finished.directory, tmp_path / "undisturbed", PYTHONPATH=copied.environment["PYTHONPATH"])
    undisturbed(*START)
    first = shown(copied, "tiny-plain")
    assert first["id"] == shown(undisturbed, "tiny-plain")["id"]
    copied("run", "tiny-plain", "-n", "1")
    state = shown(copied, "tiny-plain")
    assert (state["parents"], state["started_from"], state["iteration"]) == ([first["id"]], None, 1)
    assert (
        set(first["manifest"]["labels"] if isinstance(first["manifest"], dict) and "labels" in first["manifest"] else ()) <= set()
    )
    copied("verify", "tiny-plain", "--signals")
    copied("report", "tiny-plain", "--output", str(tmp_path / "report"), "--without-map")
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"tiny@{first['started_from']['state'][:12]}" in page


COMMANDS = (
    ["run", "tiny"],
    ["run", "tiny", "--plan"],
    ["label", "tiny", "--limit", "1"],
    ["add", "tiny", "refs.json", "--as", "references"],
)


@pytest.mark.parametrize("change", ["force_field: {family: plain}", "force_field: {family: plain}\n  # and the scale"])
def test_another_force_field_of_a_live_node_is_refused(seeded: Path, tmp_path: Path, path: str, change: str) -> None:
    """By all commands that act, before they do, whether or not the text also says the scale that follows."""
    coevo = copy_of(seeded, tmp_path, PYTHONPATH=path)
    live = coevo.database / "tiny" / "node.yaml"
    text = live.read_text().replace("screening:\n", f"screening:\n  {change}\n")
    live.write_text(text.replace("  seed: 7\n", "  seed: 7\n  energy_scale: pbe\n") if "scale" in change else text)
    before = shown(coevo, "tiny")["id"]
    (tmp_path / "refs.json").write_text("[]")
    for command in COMMANDS:
        told = said(coevo(*command, code=2).stderr)
        assert "screening.force_field.family: chgnet -> plain" in told
        assert f"coevo init NEW --from-state tiny@{before[:12]} --set screening.force_field.family=plain" in told
    assert json.loads(coevo("status", "tiny", "--format", "json").stdout)["campaigns"] == []
    assert shown(coevo, "tiny")["id"] == before
