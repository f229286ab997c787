"""Who gets the labels of a small budget where labelled phases make the hull."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coevo.configs.loading import parse_config
from coevo.configs.tree import CurationConfig, LabellingConfig, NodeSection, SelectionConfig
from coevo.flows.labelled_hull import selecting
from coevo.labelling.contract import LabelSettings
from coevo.labelling.digest import settings_digest
from coevo.makers.labels import settings as labelling_settings
from coevo.makers.labels.hull_phases import HullPhases
from coevo.makers.select import SelectMaker, _counts_of

NODE = NodeSection(name="select", elements=("Li", "S"), references="li-p-s")


def chosen(structures: int, hull: HullPhases) -> dict[str, str]:
    maker = SelectMaker(node=NODE, selection=SelectionConfig(structures=structures, random_fraction=0.0))
    return maker._choose({}, set(), hull, {}, "a state", 1)


def test_entries_in_doubt_come_after_phases_on_the_hull_within_the_budget() -> None:
    rows: dict[str, Any] = {name: {"id": name, "structure": {}, "path": []} for name in ("c", "a", "d", "b")}
    hull = HullPhases(phases={i: rows[i] for i in ("c", "a")}, doubted={i: rows[i] for i in ("d", "b")})
    assert chosen(3, hull) == {"c": "hull", "a": "hull", "d": "doubt"}
    assert chosen(9, hull) == {"c": "hull", "a": "hull", "d": "doubt", "b": "doubt"}
    assert chosen(1, hull) == {"c": "hull"}
    # what is in doubt away from the hull is none of the phases by which the hull is checked
    assert _counts_of(hull, chosen(9, hull)) == {"wanted": 2, "in_doubt": 2, "references": 0}
    assert _counts_of(HullPhases(phases=hull.phases), {}) == {"wanted": 2, "references": 0}


def test_the_digest_of_the_labels_is_asked_for_where_it_can_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine without pw.x, which labels nothing, the step does not fail."""
    view: Any = SimpleNamespace(labels=list)
    monkeypatch.setenv("COEVO_ESPRESSO_COMMAND", str(tmp_path / "pw.x"))
    assert SelectMaker(node=NODE, labelling=LabellingConfig(code="espresso"))._settings_digest(view) == ""
    assert SelectMaker(node=NODE)._settings_digest(view) == ""
    settings = LabelSettings("teacher", "1", "r2SCAN", False, {})
    monkeypatch.setattr(labelling_settings, "labeller_for", lambda *_, **__: SimpleNamespace(settings=lambda: settings))
    found = SelectMaker(node=NODE, labelling=LabellingConfig(code="teacher"))._settings_digest(view)
    assert found == settings_digest(settings)


def test_the_step_knows_the_settings_of_the_labels_where_the_configuration_says_them() -> None:
    text = "node: {name: select, elements: [Li, S], references: li-p-s}\n"
    assert selecting(parse_config(text, "model")) == {}
    config = parse_config(text + "curation: {hull: labelled}\n", "labelled")
    assert isinstance(config.curation, CurationConfig)
    assert isinstance(selecting(config)["labelling"], LabellingConfig)
    assert "labelling" not in selecting(config, labels_itself=False)
