"""Labels by another code for once: who labels a few entries changes nothing of who makes the hull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from coevo.campaigns import labelling
from coevo.configs.loading import parse_config
from coevo.makers.assess import AssessMaker
from coevo.makers.label import LabelMaker
from coevo.makers.step import current_store

if TYPE_CHECKING:
    from tiny_node import Coevo


class Planned(Exception):
    """The flow is made, and not run."""


@pytest.mark.parametrize(("code", "labeller", "asked"), [("teacher", "qe", "espresso"), ("vasp", "teacher", "teacher")])
def test_another_code_for_once_does_not_judge_the_hull(
    fresh: Coevo, monkeypatch: pytest.MonkeyPatch, code: str, labeller: str, asked: str
) -> None:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{fresh.database}")
    store, made = current_store(), []
    config = parse_config(store.read_config_text("tiny"), "tiny")
    changes: dict[str, Any] = {
        "curation": config.curation.model_copy(update={"hull": "labelled"}),
        "labelling": config.labelling.model_copy(update={"code": code}),
    }
    monkeypatch.setattr(labelling, "live_config", lambda *_: config.model_copy(update=changes))

    def keep(flow: Any) -> None:
        made.append(flow)
        raise Planned

    monkeypatch.setattr(labelling, "run_flow", keep)
    with pytest.raises(Planned):
        labelling.label_head(store, "tiny", "main", limit=1, labeller=labeller, competing=False, say=lambda _: None)
    makers = [job.maker for job in made[0].jobs]
    (assess,) = [maker for maker in makers if isinstance(maker, AssessMaker)]
    (label,) = [maker for maker in makers if isinstance(maker, LabelMaker)]
    assert label.labelling.code == asked
    assert assess.first_principles is (code == "vasp"), "as the next transition of the node has it"
