"""What the commands of studies print, with the frame that all kinds share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from printed import printed, wide

import tiny_study
from coevo.app.commands.study.running import duration, study_command
from coevo.errors import ConfigError, QueryError
from coevo.flows.studies.registry import KINDS
from coevo.node_store.current import current_store
from tiny_node import Coevo, copy_of

__all__ = ["printed"]
OPTIONS: dict[str, Any] = {"where": None, "formula": None, "references": False, "limit": 2, "plan": False, "format": "table"}


@pytest.fixture
def coevo(finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Coevo:
    coevo = copy_of(finished.directory, tmp_path)
    monkeypatch.setenv("COEVO_DATABASE", coevo.environment["COEVO_DATABASE"])
    wide(monkeypatch, 200)
    monkeypatch.setitem(KINDS, "tiny", tiny_study.TINY_KIND)
    return coevo


def test_a_study_is_planned_made_listed_and_shown(coevo: Coevo, printed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tiny_study.TinyStudy(scale=2.0)
    study_command("tiny", "tiny", settings, **OPTIONS | {"plan": True, "format": "json"})
    plan = json.loads(capsys.readouterr().out)
    assert (plan["jobs"], plan["lines"]) == (3, ["0.001 s an atom"])
    study_command("tiny", "tiny", settings, **OPTIONS | {"plan": True})
    assert "3 jobs, CPU time about 0 s" in capsys.readouterr().out
    assert current_store().studies("tiny") == []

    study_command("tiny", "tiny", settings, **OPTIONS)
    made = capsys.readouterr()
    (study,) = current_store().studies("tiny")
    first = study.document["phases"][0]
    assert f"tiny of 2 phases: {first['formula']} {first['id'][:8]}" in made.err
    assert "--limit leaves" in made.err
    assert f"kept beside the state: coevo study show tiny {study.id[:10]}" in made.err
    assert "2 volumes, scaled by 2" in made.out
    assert "how soft this force field is, is not known" in made.out
    assert f"made by force_field {study.document['checkpoints']['force_field'][:12]}; tiny 1" in made.out
    for arguments in (("tiny",), ("tiny", "tiny"), ("tiny", study.id[:8]), ("tiny@main", study.id)):
        assert "2 volumes, scaled by 2" in printed("study", "show", *arguments).out
    table = printed("study", "show", "tiny", "--format", "csv").out.splitlines()
    assert table[0] == "formula,phase,volume (Å³/atom)"
    assert table[1] == f"{first['formula']},{first['id'][:8]},{study.document['results']['volumes'][first['id']]!r}"
    assert json.loads(printed("study", "show", "tiny", "--format", "json").out)["id"] == study.id
    listed = printed("study", "list", "tiny").out
    assert study.id[:10] in listed
    assert "tiny: 1 study, newest first" in listed
    status = json.loads(printed("status", "tiny", "--format", "json").out)
    assert status["head"]["studies"] == "tiny (coevo study list tiny)"
    assert printed("show", "tiny", first["id"]).out.count("by the state's force field (coevo study list REF)") == 1


def test_nothing_to_study_is_one_error_and_exit_code_2(coevo: Coevo, printed: Any) -> None:
    with pytest.raises(QueryError, match="no phase matches the filter energy_above_hull > 90"):
        study_command("tiny", "tiny", tiny_study.TinyStudy(), **OPTIONS | {"where": "energy_above_hull > 90"})
    shown = printed("study", "show", "tiny")
    assert (shown.code, "there is no study of tiny@" in shown.err) == (2, True)
    assert printed("study", "show", "nowhere").code == 2


def test_a_submission_needs_a_site(coevo: Coevo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COEVO_SITE", raising=False)
    with pytest.raises(ConfigError, match="site"):
        study_command("tiny", "tiny", tiny_study.TinyStudy(), **OPTIONS | {"submit": True})


@pytest.mark.parametrize(("seconds", "words"), [(40.4, "about 40 s"), (700.0, "about 12 min"), (19_800.0, "about 5.5 h")])
def test_times_are_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
