"""What a runner is told of trust, and what it does with a model that nobody vouches for."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from example_family import install_example, use_this_python

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ModelError
from coevo.models.contracts import Conditions
from coevo.models.external.families import HERE, ExternalFamily
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.mattergen import MATTERGEN, MatterGenGenerator
from coevo.models.registry import generator_from

RUNNER = """
import json
from pathlib import Path
from coevo_runner import OUTPUT, require_trust, run, write_candidates

def told(request):
    print("TOLD", json.dumps({key: request.get(key) for key in ("trusted", "sources", "model")}))

def sample(request):
    told(request)
    if request["model"]:
        require_trust(request)
    return {"candidates": write_candidates([]), "rejected": {"none": request["n"]}}

def fit(request):
    told(request)
    (OUTPUT / "model").mkdir()
    (OUTPUT / "model" / "weights").write_text("1")
    return {"model": "model", "document": {}, "report": {}}

run("careful", {"sample": sample, "fit": fit})
"""


@pytest.fixture
def careful(tmp_path, monkeypatch):
    """A family whose runner reads a model only if it is trusted."""
    (tmp_path / "careful_runner.py").write_text(RUNNER)
    (tmp_path / "requirements.txt").write_text("")
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
    use_this_python(tmp_path / "environments", "careful")

    class Careful(ExternalGenerator):
        family = "careful"
        external = ExternalFamily("careful", tmp_path / "careful_runner.py", tmp_path / "requirements.txt")

    return Careful


def test_a_runner_is_told_and_refuses_what_nobody_vouches_for(careful, tmp_path):
    conditions = Conditions(("Li",))
    fitted, _ = careful.initial().fit([], 0)
    assert fitted.sample(1, conditions, 0).rejected == {"none": 1}
    fitted.save(tmp_path / "checkpoint")
    loaded = careful.load(tmp_path / "checkpoint", GeneratorConfig())
    assert not loaded.trusted
    with pytest.raises(ModelError, match=r"not_trusted.*coevo trust SHA256"):
        loaded.sample(1, conditions, 0)
    assert careful.load(tmp_path / "checkpoint", trusted=True).sample(1, conditions, 0).rejected == {"none": 1}
    assert careful.initial().sample(1, conditions, 0).rejected == {"none": 1}


def test_the_registry_hands_trust_on(tmp_path, monkeypatch):
    for path in install_example(tmp_path):
        monkeypatch.syspath_prepend(path)
    from coevo.models.registry import generator_class

    generator_class("random-cells").initial().save(tmp_path / "checkpoint")
    assert generator_from("random-cells", tmp_path / "checkpoint", trusted=True).trusted


def test_a_folder_of_the_users_own_settings_is_trusted_and_its_copy_elsewhere_is_not(tmp_path):
    """What the checkpoint of the folder holds is the same; only here the settings vouch for it."""
    folder = tmp_path / "weights"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("lightning_module: {}\n")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"a pickle")
    mine = MatterGenGenerator.initial(GeneratorConfig(mattergen={"weights": str(folder)}))
    assert mine.trusted
    mine.save(tmp_path / "checkpoint")
    assert not MatterGenGenerator.load(tmp_path / "checkpoint").trusted
    request = mine._request(0)
    assert (request["trusted"], request["sources"]) == (True, ["huggingface:microsoft/mattergen"])
    json.dumps(request)


@pytest.fixture
def decision(monkeypatch):
    """The module of MatterGen's runner that decides; nothing of torch is needed for it."""
    for folder in (HERE / "runners", HERE / "runners" / "mattergen"):
        monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield importlib.import_module("mattergen_trust")
    for name in set(sys.modules) - before:
        if name in {"mattergen_trust", "coevo_runner"}:
            del sys.modules[name]


def test_the_module_that_decides_goes_with_the_runner():
    assert "mattergen_trust.py" in {path.name for path in MATTERGEN.companions}


@pytest.mark.parametrize("said", [{}, {"trusted": False}, {"trusted": None}, {"trusted": 1}, {"trusted": "true"}])
def test_mattergens_runner_refuses_a_model_unless_it_is_told_that_it_is_trusted(decision, said):
    request = {"model": "input/model", "options": {"weights": "small"}, **said}
    with pytest.raises(decision.TaskError, match=r"coevo did not say that it is trusted.*coevo trust") as caught:
        decision.model_to_read(request)
    assert caught.value.reason == "not_trusted"


def test_mattergens_runner_reads_what_is_trusted_and_what_is_published(decision):
    assert decision.model_to_read({"model": "input/model", "trusted": True}) == "input/model"
    assert decision.model_to_read({"model": None}) is None
    published = {"options": {"weights": "mattergen_base"}, "sources": ["huggingface:microsoft/mattergen"]}
    assert decision.weights_to_read(published) == "mattergen_base"
    for change, message in (
        ({"sources": []}, "no source that is trusted"),
        ({"sources": ["huggingface:somebody/else"]}, "no source that is trusted"),
        ({"options": {"weights": "../../x"}}, "is no name of published weights"),
        ({"options": {"weights": None}}, "is no name of published weights"),
    ):
        with pytest.raises(decision.TaskError, match=message):
            decision.weights_to_read({**published, **change})
