"""``coevo references compare``: a state's energies of its references beside those of databases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import Node, config_for
from printed import Printed, printed, wide  # noqa: F401 (a fixture)

from coevo.makers.step import current_store
from coevo.studies.reference_databases.comparing import agreements, beside_databases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from coevo.node_store.views import StateView


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateView:
    """A state with a crystal of each element, ``Li1`` and so on, 0.05 eV/atom above its hull each."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}/db")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    return Node(current_store(), config_for("known")).seed()


class View:
    """References of a state as their documents are: name, formula, energy above hull and formation energy (eV/atom)."""

    node = "stand-in"

    def __init__(self, *rows: tuple[str, str, float, float]):
        self._rows = rows

    def references(self) -> list[dict[str, Any]]:
        return [{"_id": name, "name": name} for name, *_ in self._rows]

    def evaluations(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "reference"
        keys = ("structure_id", "formula", "energy_above_hull", "formation_energy_per_atom")
        return [{**dict(zip(keys, row, strict=True)), "nelements": 1 if row[1] in {"Li", "S"} else 2} for row in self._rows]


def says(database: str, entry: str, hull: float | None, formation: float | None) -> dict[str, Any]:
    return {"database": database, "id": entry, "energy_above_hull": hull, "formation_energy_per_atom": formation}


def fetched(path: Path, told: dict[str, list[dict[str, Any]]]) -> Path:
    path.write_text(json.dumps({"phases": [{"name": name, "databases": databases} for name, databases in told.items()]}))
    return path


def test_two_hulls_side_by_side(tmp_path: Path) -> None:
    """The lowest of two entries of a database counts; elements have no part in the difference of formation energies."""
    view: Any = View(
        ("Li bcc", "Li", 0.0, 0.0),
        ("Li2S", "Li2S", 0.0, -1.4),
        ("Li3P", "Li3P", 0.02, -0.7),
        ("LiP", "LiP", 0.0, -0.5),
        ("unknown", "S", 0.0, 0.0),
    )
    told = {
        "Li bcc": [says("mp", "mp-1", 0.05, 0.05), says("oqmd", "7", None, None)],
        "Li2S": [says("mp", "mp-2", 0.2, 9.0), says("mp", "mp-3", -0.01, -1.5)],
        "Li3P": [says("mp", "mp-4", 0.0, -0.4)],
        "LiP": [says("mp", "mp-5", None, None)],
        "nowhere": [says("mp", "mp-6", 0.0, -1.0)],
    }
    rows = beside_databases(view, fetched(tmp_path / "known.json", told))
    assert [(row.name, row.database, row.id) for row in rows] == [
        ("Li bcc", "mp", "mp-1"),
        ("Li bcc", "oqmd", "7"),
        ("Li2S", "mp", "mp-3"),
        ("LiP", "mp", "mp-5"),
        ("Li3P", "mp", "mp-4"),
    ]
    mp, oqmd = agreements(rows)
    assert (mp.database, mp.phases, mp.compounds) == ("mp", 3, 2)
    assert mp.mean_difference == pytest.approx((0.1 - 0.3) / 2)
    assert mp.mean_absolute_difference == pytest.approx((0.1 + 0.3) / 2)
    assert (mp.both, mp.only_ours, mp.only_theirs) == (["Li2S"], ["Li"], ["Li3P"])
    assert (oqmd.phases, oqmd.compounds, oqmd.mean_difference) == (0, 0, None)


def test_what_is_printed(
    state: StateView,
    printed: Callable[..., Printed],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = fetched(
        tmp_path / "known.json", {"Li1": [says("mp\x1b[31m", "mp-1", 0.0, 0.01)], "P1": [says("oqmd", "7", None, None)]}
    )
    wide(monkeypatch)
    done = printed("references", "compare", "known", path)
    assert ["Li1", "Li", "mp", "[31m", "0.050", "0.000", "-0.100", "0.010"] in [line.split() for line in done.out.splitlines()]
    assert "mp [31m: 1 phases of both; on both hulls: none; only here: none; only there: Li" in done.out
    document = json.loads(printed("references", "compare", "known", path, "--format", "json").out)
    assert (len(document["phases"]), document["state"]) == (2, state.id)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "not a file of coevo references fetch"),
        ('{"phases": [{"name": "x"}]}', "not a file of coevo references fetch"),
        ('{"phases": []}', "no reference of known is called as one of its phases"),
    ],
)
def test_other_files(state: StateView, printed: Callable[..., Printed], tmp_path: Path, text: str, words: str) -> None:  # noqa: F811
    (tmp_path / "x.json").write_text(text)
    done = printed("references", "compare", "known", tmp_path / "x.json")
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert words in done.err.replace("\n", " ")
