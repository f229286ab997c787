"""No text of a stranger's documents acts on a terminal, a page or a spreadsheet, whatever command shows it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_texts import HOSTILE, MARKUP, commit_poisoned, unsafe_in
from printed import Printed, printed, wide

from coevo.node_store.store import open_store
from coevo.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiny_node import Coevo

__all__ = ["printed"]


@pytest.fixture(scope="module")
def database(finished: Coevo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose node ``tiny`` has a head with hostile texts."""
    place = tmp_path_factory.mktemp("hostile") / "db"
    shutil.copytree(finished.database, place)
    with open_store(Settings(database=f"file:{place}")) as store:
        commit_poisoned(store, store.state("tiny"))
    return place


@pytest.fixture
def coevo(
    database: Path, printed: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Printed]:
    """Run a command on that database, and check what it printed."""
    wide(monkeypatch)
    monkeypatch.setenv("COEVO_DATABASE", f"file:{database}")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, code: int = 0) -> Printed:
        done = printed(*arguments)
        assert done.code == code, done
        assert not unsafe_in(done.out), arguments
        assert not unsafe_in(done.err), arguments
        return done

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "tiny"),
        ("status",),
        ("show", "tiny"),
        ("branch", "tiny"),
        ("diff", "tiny", "tiny~1", "--limit", "0"),
        ("motifs", "tiny"),
    ],
)
def test_tables_show_markup_as_it_is_written(coevo: Callable[..., Printed], arguments: tuple[str, ...]) -> None:
    out = coevo(*arguments).out
    if arguments[0] != "motifs":  # its names are those of the census
        assert MARKUP in out
        assert r"\x1b[31m\x07\r\nforged\t\x7f\x9b\u202eevil\u2066\u200b\u200e\u2028" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("log", "tiny"),
        ("log", "tiny", "--graph", "--all"),
        ("query", "tiny"),
        ("query", "tiny", "--format", "csv"),
        ("query", "tiny", "--format", "cif"),
        ("query", "tiny", "--format", "extxyz"),
        ("motifs", "tiny", "--format", "csv"),
        ("motifs", "tiny", "--tolerance"),
        ("rediscover", "tiny"),
        ("rediscover", "tiny", "--format", "csv"),
        ("analyse", "tiny"),
        ("verify", "tiny"),
        ("verify", "tiny", "--quick"),
        ("gc",),
        ("run", "tiny", "--plan"),
        ("trust", "tiny"),
    ],
)
def test_nothing_that_acts_on_a_terminal_is_printed(coevo: Callable[..., Printed], arguments: tuple[str, ...]) -> None:
    done = coevo(*arguments)
    assert done.out or done.err


def test_an_entry_and_a_reference_are_shown(coevo: Callable[..., Printed]) -> None:
    rows = json.loads(coevo("diff", "tiny", "tiny~1", "--format", "json").out)["only_left"]
    for kind in ("entries", "references"):
        assert coevo("show", "tiny", rows[kind][0]["id"]).out


@pytest.mark.parametrize(
    "arguments", [("show", "tiny"), ("status", "tiny"), ("log", "tiny"), ("branch", "tiny"), ("diff", "tiny", "tiny~1")]
)
def test_json_is_ascii_and_loses_nothing(coevo: Callable[..., Printed], arguments: tuple[str, ...]) -> None:
    out = coevo(*arguments, "--format", "json").out
    assert out.isascii()
    assert any(HOSTILE in text for text in texts_of(json.loads(out)))


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in texts_of(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []


def test_files_of_structures_with_hostile_names(coevo: Callable[..., Printed], tmp_path: Path) -> None:
    """As targets, as known structures and as a pile: the names come from the file."""
    structure = {
        "lattice": {"matrix": [[5.6, 0, 0], [0, 5.6, 0], [0, 0, 5.6]]},
        "sites": [{"species": [{"element": s, "occu": 1}], "abc": [x, x, x]} for s, x in (("Li", 0.0), ("S", 0.5))],
    }
    phases = [{"name": HOSTILE, "source": HOSTILE, "structure": structure}]
    file = tmp_path / "phases[red].json"
    file.write_text(json.dumps(phases))
    assert MARKUP in coevo("rediscover", "tiny", "--targets", file).out
    rows = csv.DictReader(io.StringIO(coevo("rediscover", "tiny", "--targets", file, "--format", "csv").out))
    assert [row["name"][:5] for row in rows] == ["'=1+1"]
    for kind in ("table", "csv", "json"):
        coevo("rediscover", "tiny", "--against", file, "--all", "--format", kind)
    assert "phases[red].json" in coevo("analyse", file, "--output", tmp_path / "numbers").out
    names = [row["id"] for row in csv.DictReader((tmp_path / "numbers" / "structures.csv").open())]
    assert all(not unsafe_in(name) and not name.startswith("=") for name in names)
    assert not unsafe_in((tmp_path / "numbers" / "summary.json").read_text())


@pytest.mark.long
def test_a_report_holds_no_character_that_acts(coevo: Callable[..., Printed], tmp_path: Path) -> None:
    if not os.environ.get("CI"):  # there it must be installed
        pytest.importorskip("matplotlib")
    folder = tmp_path / "report"
    coevo("report", "tiny", "-o", folder, "--without-map")
    checked = 0
    for path in folder.rglob("*"):
        if path.suffix in {".html", ".css", ".js", ".json", ".svg", ".csv", ".cif", ".extxyz"}:
            assert not unsafe_in(path.read_text(encoding="utf-8")), path.name
            checked += 1
    assert checked > 15
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "</script><b>" not in page
    assert r"\x1b[31m" in page
    for path in (folder / "data").glob("*.csv"):
        for row in csv.reader(path.open(encoding="utf-8")):
            assert not any(cell.startswith(("=", "@")) for cell in row), path.name


def test_a_bundle_is_exported_and_imported_with_its_words(coevo: Callable[..., Printed], tmp_path: Path) -> None:
    coevo("export", "tiny~1", tmp_path / "a.zip")
    other = tmp_path / "other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{other}")
        assert "states" in coevo("import", tmp_path / "a.zip").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("log", "x\x1b[2J\u202e"),
        ("show", "tiny", "zz\x1b[2J"),
        ("query", "tiny", "elements HAS \x1b\u202e"),
        ("query", "tiny", "--sort", "[/v2]\x1b"),
        ("nosuch\x1b\u202e",),
        ("run", "tiny", "--nosuch\x1b"),
        ("run", "tiny", "-n", "1", "[/v2]\x1b\u202e"),
        ("import", "no\x1b\u202e\nfile[/v2].zip"),
        ("init", "no\x1b[/v2].yaml"),
        ("analyse", "no\x1b[/v2].cif"),
        ("analyse", "no\udc80.cif"),
        ("report", "tiny", "-o", "/dev/null/\x1b/[/v2]"),
        ("rediscover", "tiny", "--targets", "[/v2]\x1b.json"),
        ("site", "show", "[/v2]\x1b.yaml"),
    ],
)
def test_errors_quote_what_is_wrong_literally(coevo: Callable[..., Printed], arguments: tuple[str, ...]) -> None:
    done = coevo(*arguments, code=2)
    assert done.out == ""
    assert done.err.startswith("coevo: ")
    assert "[/v2]" in done.err or "[/v2]" not in "".join(arguments)


def test_tables_of_jobs_and_progress_are_plain() -> None:
    from dataclasses import fields

    from coevo.app.progress_bars import ProgressBars
    from coevo.app.tables.jobs import jobs_view, watched_view
    from coevo.app.terminal import PlainConsole
    from coevo.slurm.job_table import JobRow

    values: dict[str, Any] = {field.name: None for field in fields(JobRow)}
    texts = {"name": HOSTILE, "error": HOSTILE, "step": HOSTILE, "state": "fizzled", "category": HOSTILE, "slurm_id": HOSTILE}
    row = JobRow(**{**values, **texts, "fw_id": 1, "iteration": 1, "reruns": 0})
    file = io.StringIO()
    console = PlainConsole(file=file, width=1000, force_terminal=False)
    for view in (jobs_view([row], each=True), watched_view([row])):
        console.print(view)
    with ProgressBars(console) as bars:
        bars.job_started(HOSTILE)
        bars.task_started(HOSTILE, 3, "things")
        bars.task_advanced(1)
        bars.task_finished()
        bars.job_finished(HOSTILE, 1.0, reused=False)
    assert not unsafe_in(file.getvalue())
    assert file.getvalue().count(MARKUP) >= 4
