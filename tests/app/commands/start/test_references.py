"""Command ``references fetch``, and ``init`` with databases among its references, against databases on localhost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from printed import Printed, printed, wide  # noqa: F401 (a fixture)

from coevo.app.commands.start.loop import _config_for
from coevo.configs.references import load_references
from coevo.errors import ProviderError, ReferenceDataError
from crystal_piles import known_phases, write_extxyz
from fake_databases import OptimadeDatabase
from stub_server import Answer, StubServer
from tiny_node import Coevo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PHASES = {name: s for name, s in known_phases(32).items() if len(s) <= 8 or s.symbol_set == ("S",)}
"""Of Li, P, S, Li2S, Li3P."""


@pytest.fixture
def database() -> OptimadeDatabase:
    return OptimadeDatabase({f"agm{n}": (s, 0.03 * n, -0.1 * n) for n, s in enumerate(PHASES.values())})


@pytest.fixture
def server(database: OptimadeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    monkeypatch.chdir(tmp_path)
    wide(monkeypatch)
    with StubServer(database) as running:
        yield running


def test_a_table_says_what_became_of_everything(printed: Callable[..., Printed], server: StubServer) -> None:  # noqa: F811
    asked = ("references", "fetch", "--elements", "Li-P-S", "--from", f"alexandria@{server.url}", "--output", "known.json")
    done = printed(*asked, "--max-e-hull", "inf")
    assert done.code == 0, done.err
    assert f"known.json: {len(PHASES)} phases" in done.out
    rows = {words[3]: words[4:6] for words in map(str.split, done.out.splitlines()) if words[:1] == ["alexandria"]}
    assert rows["Li-P"] == ["1", "1"]
    assert rows["P-S"] == ["–", "–"]
    assert "CC-BY-4.0 (as Alexandria publishes its data), names no version, read 2" in done.err
    assert "next: coevo init --elements Li,P,S --references known.json" in done.err
    again = printed(*asked)
    assert (again.code, "it is there already and is not overwritten" in again.err) == (2, True)
    document = json.loads(printed(*asked, "--force", "--format", "json").out)
    assert document["phases"] == 5  # S alone is above 0.1 eV/atom, and its lowest stays
    assert sum(row["above"] for row in document["counts"]) == len(PHASES) - 5
    assert document["databases"][0]["licence"] == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--from", "nope"), "--from 'nope': no database; allowed: mp, oqmd, alexandria"),
        (("--from", "oqmd", "--max-e-hull", "nan"), "--max-e-hull: got nan"),
        (("--from", "oqmd", "--timeout", "0"), "--timeout"),
        (("--from", "oqmd", "--output", "a.cif"), "got '.cif', allowed: a file called .json"),
        (("--from", "mp"), "mp: no API key; set MP_API_KEY"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    printed: Callable[..., Printed],  # noqa: F811
    options: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pymatgen.core import SETTINGS

    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(SETTINGS, "PMG_MAPI_KEY", raising=False)
    for name in ("MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    output = () if "--output" in options else ("--output", "a.json")
    done = printed("references", "fetch", "--elements", "Li,S", *options, *output)
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_databases_of_a_new_node_become_a_file(server: StubServer, database: OptimadeDatabase, tmp_path: Path) -> None:
    """The configuration names the file, which serves again; a changed question is refused."""
    spec = f"alexandria@{server.url}"
    loaded = _config_for("Li,P,S", spec, None, "li-p-s-demo")
    path = Path(loaded.config.node.references)
    assert path.parent == tmp_path
    assert path.name.startswith("li-p-s-alexandria-")
    assert {r.name.split()[0] for r in load_references(str(path), ["Li", "P", "S"])} == {"agm0", "agm1", "agm2", "agm3", "agm4"}
    before, asked = path.read_text(), len(database.asked)
    again = _config_for("S,P,Li", spec, None, "li-p-s-demo")
    assert again.config.node.references == str(path)
    assert (path.read_text(), len(database.asked)) == (before, asked)
    path.write_text(before.replace('"max_e_hull": 0.1', '"max_e_hull": 0.2'))
    with pytest.raises(ReferenceDataError, match=r"answers another question \(max_e_hull: 0.2, asked: 0.1\)"):
        _config_for("Li,P,S", spec, None, "li-p-s-demo")


def test_databases_and_a_file_of_ones_own(server: StubServer, database: OptimadeDatabase, tmp_path: Path) -> None:
    """What no database has may come from the file, elements among it."""
    del database.rows["agm0"]
    lithium = next(s for s in PHASES.values() if s.symbol_set == ("Li",))
    write_extxyz(tmp_path / "own.extxyz", [lithium])
    spec = f"alexandria@{server.url}"
    loaded = _config_for("Li,P,S", f"{spec}+own.extxyz", None, "li-p-s-demo")
    fetched, own = loaded.config.node.references.split(" + ")
    assert own == str(tmp_path / "own.extxyz")
    names = [r.name for r in load_references(loaded.config.node.references, ["Li", "P", "S"])]
    assert len(names) == len(load_references(fetched, ["Li", "P", "S"], complete=False)) + 1


def test_a_database_that_fails_leaves_no_file(server: StubServer, database: OptimadeDatabase, tmp_path: Path) -> None:
    database.faults["Li-S"] = lambda: Answer({"errors": [{"detail": "too slow"}]}, 400)
    with pytest.raises(ProviderError, match="1 of 7 sub-systems could not be read"):
        _config_for("Li,P,S", f"alexandria@{server.url}", None, "li-p-s-demo")
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


@pytest.mark.long
def test_a_node_from_nothing(server: StubServer, tmp_path: Path) -> None:
    coevo = Coevo(tmp_path)
    done = coevo("init", "--elements", "Li,P,S", "--references", f"alexandria@{server.url}", "--name", "new")
    assert "references: fetched into " in done.stderr
    state = json.loads(coevo("show", "new", "--format", "json").stdout)
    assert state["metrics"]["reference_set"]["size"] == 5
