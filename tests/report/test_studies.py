"""Studies on the page of a state: in words and tables, as plain text whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_study
from coevo.campaigns.study import run_study
from coevo.campaigns.study_phases import choose_phases
from coevo.flows.studies.registry import KINDS
from coevo.node_store.current import current_store
from coevo.node_store.study_documents import put_study
from coevo.report.writing import write_report
from tiny_node import Coevo, copy_of


def test_the_page_shows_what_studies_say(finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    monkeypatch.setenv("COEVO_DATABASE", coevo.environment["COEVO_DATABASE"])
    monkeypatch.setitem(KINDS, "tiny", tiny_study.TINY_KIND)
    store = current_store()
    view = store.state("tiny")
    study = run_study(store, view, "tiny", tiny_study.TinyStudy(limit=16.0), choose_phases(view, limit=3))
    foreign = {**study.document, "study": "bad", "packages": {"<script>alert(1)</script>": "1"}, "entries": {}}
    put_study(store.backend, "tiny", foreign, "2000-01-01T00:00:00", "it came with <b>.zip")
    write_report(store, "tiny", tmp_path / "page", with_map=False)
    page = (tmp_path / "page" / "index.html").read_text()
    assert '<a href="#studies">' in page
    assert "3 volumes, scaled by 1" in page
    assert "how soft this force field is, is not known" in page
    assert "this coevo knows no study" in page
    assert "<script>alert" not in page
    assert "it came with <b>" not in page
    volume = study.document["results"]["volumes"][study.document["phases"][0]["id"]]
    assert f"{volume:.5g}</td>" in page
    (data,) = (tmp_path / "page" / "data").glob("study-tiny-*.csv")
    assert data.read_text().splitlines()[1].endswith(repr(volume))
    assert "studies" in coevo("status", "tiny").stdout
