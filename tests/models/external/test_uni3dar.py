"""Uni-3DAR: its class, and its runner with what its programs really wrote, whose interpreter alone is replaced."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from generator_contract import LI_P_S, same_sample
from pydantic import ValidationError
from required_checkouts import require_checkouts
from small_mattergen import strained_examples

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.families import loader_of
from coevo.models.contracts import Conditions, Example, Generator
from coevo.models.external.uni3dar import UNI3DAR, Uni3darGenerator

RECORDED = Path(__file__).parent / "data" / "uni3dar"
SMALL = {
    "hidden": 32,
    "heads": 2,
    "layers": 2,
    "levels": 6,
    "learning_rate": 2e-3,
    "train_batch_size": 8,
    "validation_fraction": 0.3,
    "batch_size": 16,
    "epochs": 2,
    "patience": 50,
}
SAMPLING = {"temperature": 0.5, "oversampling": 12.0, "batch_size": 24}
CONDITIONS = Conditions(LI_P_S, max_atoms=16, chemical_systems={"Li-P-S": 1.0, "Li-S": 1.0})


def settings(**changes) -> GeneratorConfig:
    return GeneratorConfig(family="uni3dar", max_atoms=16, uni3dar={**SMALL, **changes})


class TestWithoutItsEnvironment:
    def test_a_model_directory_becomes_the_first_checkpoint(self, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "weights.pt").write_bytes(b"tensors")
        with pytest.raises(ConfigError, match=r"no model directory: architecture\.json is missing"):
            Uni3darGenerator.initial(settings(weights=str(tmp_path / "folder")))
        (tmp_path / "folder" / "architecture.json").write_text("{}")
        Uni3darGenerator.initial(settings(weights=str(tmp_path / "folder"))).save(tmp_path / "packed")
        assert str(tmp_path).encode() not in (tmp_path / "packed").read_bytes(), "no path of this machine"
        loaded = Uni3darGenerator.load(tmp_path / "packed", settings())
        assert (loaded._model.path / "weights.pt").read_bytes() == b"tensors"
        assert loaded.options()["weights"] == "folder"

    def test_weights_are_small_or_a_path(self, tmp_path):
        assert Uni3darGenerator.initial(settings()).document == {"weights": "small"}
        with pytest.raises(ValidationError, match="weights"):
            settings(weights="mp20")
        with pytest.raises(ConfigError, match=r"no file .*mp20\.pt; download mp20\.pt of dptech/Uni-3DAR"):
            Uni3darGenerator.initial(settings(weights=str(tmp_path / "mp20.pt")))

    def test_widths_are_of_whole_heads_and_draws_enough_for_the_rank(self):
        with pytest.raises(ValidationError, match="got hidden: 40, allowed with heads: 2: a multiple of 16"):
            settings(hidden=40)
        with pytest.raises(ValidationError, match=r"got oversampling: 3, allowed with rank_ratio: 0\.32: 3\.125 and more"):
            settings(rank_ratio=0.32)
        assert settings(rank_ratio=0.32, oversampling=3.125).uni3dar.oversampling == 3.125

    def test_checkpoints_of_other_families_are_refused(self, tmp_path):
        Uni3darGenerator.initial(settings()).save(tmp_path / "it")
        (tmp_path / "other").write_bytes((tmp_path / "it").read_bytes().replace(b'"uni3dar"', b'"uni4dar"'))
        with pytest.raises(CheckpointError, match="is of family 'uni4dar', expected 'uni3dar'"):
            Uni3darGenerator.load(tmp_path / "other")

    def test_its_checkpoints_run_no_code(self):
        assert not loader_of("uni3dar", "generator").runs_code

    def test_runner_and_adapter_agree_on_the_options(self):
        text = "".join(path.read_text() for path in (UNI3DAR.runner, *UNI3DAR.companions))
        for key in GeneratorConfig().uni3dar.model_dump():
            assert f'["{key}"]' in text, key


@pytest.fixture
def replay(tmp_path, monkeypatch):
    """Called with a fault: the family's environment is this interpreter, its checkouts are empty, its programs are replayed."""
    environments = tmp_path / "environments"
    environments.mkdir()
    for checkout in UNI3DAR.checkouts:
        marker = tmp_path / checkout.name / checkout.marker
        marker.parent.mkdir(parents=True)
        marker.write_text("")
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(environments))
    monkeypatch.setenv("COEVO_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("COEVO_DEVICE", "cpu")
    model = tmp_path / "model"
    model.mkdir()
    shutil.copyfile(RECORDED / "sampled-architecture.json", model / "architecture.json")
    torch.save({"a": torch.zeros(542_400)}, model / "weights.pt")  # as many as the network has

    def set_up(fault: str = "", **changes) -> Uni3darGenerator:
        described = {
            "python": sys.executable,
            "checkouts": {checkout.name: str(tmp_path / checkout.name) for checkout in UNI3DAR.checkouts},
            "any_commit": True,
            "variables": {"UNI3DAR_PYTHON": f"{sys.executable} {RECORDED / 'replay.py'}", "UNI3DAR_FAULT": fault},
        }
        (environments / "uni3dar.yaml").write_text(json.dumps(described))  # JSON is YAML
        return Uni3darGenerator.initial(settings(**{"weights": str(model), **SAMPLING, **changes}))

    return set_up


class TestReplay:
    def test_a_real_sample(self, replay):
        sample = replay().sample(6, CONDITIONS, 1)
        recorded = [json.loads(line) for s in ("Li-P-S", "Li-S") for line in (RECORDED / f"{s}.jsonl").read_text().splitlines()]
        written = sum(record["written"] for record in recorded)
        assert len(sample.candidates) == 6
        drawn = sum(record["drawn"] for record in recorded)
        assert sample.rejected["no_crystal"] == drawn - written
        assert len(sample.candidates) + sum(sample.rejected.values()) == drawn
        for candidate in sample.candidates:
            assert candidate.structure.chemical_system == candidate.origin["system"]
            assert candidate.origin["operator"] == "uni3dar"
            # it learned a cube of 6 Å with three atoms
            assert candidate.structure.volume / len(candidate.structure) == pytest.approx(72.0, rel=0.15)

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [("huge", "flat_cell"), ("elements", "off_system"), ("half-written", "half_written"), ("not-finite", "not_finite")],
    )
    def test_bad_output_is_counted(self, replay, fault, reason):
        sample = replay(fault).sample(6, CONDITIONS, 1)
        assert sample.rejected.get(reason, 0) > 0

    @pytest.mark.long
    def test_overlapping_atoms_are_for_screening_to_reject(self, replay):
        sample = replay("overlapping").sample(6, CONDITIONS, 1)
        assert len(sample.candidates) == 6
        assert all(np.allclose(c.structure.frac_coords, 0.0) for c in sample.candidates)

    def test_a_hang_ends_by_the_wall_and_is_counted(self, replay):
        begun = time.monotonic()
        sample = replay("hang", wall=0.05).sample(6, CONDITIONS, 1)
        assert time.monotonic() - begun < 120.0, "the program itself would sleep for ten minutes, twice"
        assert sample.rejected["hang"] > 0
        assert sample.rejected["half_written"] > 0

    @pytest.mark.long
    def test_smaller_batches_when_memory_runs_out(self, replay):
        sample = replay("memory").sample(6, CONDITIONS, 1)
        assert sample.candidates

    @pytest.mark.long
    def test_a_program_that_fails_is_one_error_with_its_last_lines(self, replay):
        with pytest.raises(ModelError, match=r"inference\.py ended with code 1: .*something of the checkout"):
            replay("fails").sample(6, CONDITIONS, 1)

    @pytest.mark.long
    def test_impossible_conditions_start_nothing(self, replay):
        sample = replay("fails").sample(3, Conditions(LI_P_S, max_atoms=4, compositions=("Li7P3S11",)), 0)
        assert (sample.candidates, sample.rejected) == ([], {"no_composition": 3})

    def test_a_real_fit(self, replay, tmp_path):
        fitted, report = replay(weights="small", batch_size=16).fit(strained_examples(), 3)
        losses = [json.loads(line)["loss"] for line in (RECORDED / "losses.jsonl").read_text().splitlines()]
        assert report["history"] == losses
        measured = json.loads((RECORDED / "measured.jsonl").read_text())["loss"]
        assert (report["loss_before"], report["loss_after"]) == (losses[0], measured)
        assert measured == pytest.approx(min(losses), rel=1e-3)
        assert report["training"] + report["validation"] == len(strained_examples())
        assert fitted.document["checkouts"].keys() == {"Uni-3DAR", "Uni-Core"}
        fitted.save(tmp_path / "a")
        Uni3darGenerator.load(tmp_path / "a", settings()).save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        architecture = json.loads((fitted._model.path / "architecture.json").read_text())
        assert architecture == json.loads((RECORDED / "architecture.json").read_text())

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("fault", "match"),
        [
            ("fails", "ended with code 1"),
            ("no-checkpoint", r"it left no .*checkpoint_best\.pt"),
            ("cut", "the runner failed"),
            ("other-network", "they are of another network"),
        ],
    )
    def test_a_training_that_fails_is_one_error(self, replay, fault, match):
        with pytest.raises(ModelError, match=match):
            replay(fault, weights="small").fit(strained_examples(), 3)

    @pytest.mark.long
    def test_too_few_examples_keep_the_parent(self, replay):
        generator = replay()
        fitted, report = generator.fit(strained_examples()[:1], 3)
        assert not report["fitted"]
        assert json.loads((fitted._model.path / "architecture.json").read_text())["merge_level"] == 6

    @pytest.mark.long
    def test_a_checkpoint_with_a_pickle_is_refused(self, replay, tmp_path):
        import pickle

        generator = replay()
        (generator._model.path / "weights.pt").write_bytes(pickle.dumps(Path(tmp_path)))
        with pytest.raises(ModelError, match=r"no_weights.*weights\.pt"):
            generator.sample(1, CONDITIONS, 1)


@pytest.mark.models
class TestUni3dar:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def environment(cls, tmp_path_factory):
        require_checkouts(UNI3DAR)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COEVO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> Uni3darGenerator:
        generator, report = Uni3darGenerator.initial(settings(epochs=4)).fit(strained_examples(), 1)
        assert report["fitted"]
        assert report["loss_after"] < report["loss_before"]
        return generator

    def test_its_environment_is_whole(self):
        from coevo.models.external.checking import examine_environment

        found = examine_environment(UNI3DAR)
        assert found.broken == []
        assert found.versions["unicore"]

    def test_it_is_a_generator(self, fitted):
        assert isinstance(fitted, Generator)
        assert fitted.sample(0, Conditions(LI_P_S), 0).candidates == []

    def test_the_same_seed_gives_the_same_sample_and_every_draw_is_accounted_for(self, fitted):
        first, again = fitted.sample(4, CONDITIONS, 7), fitted.sample(4, CONDITIONS, 7)
        assert same_sample(first, again)
        assert len(first.candidates) + sum(first.rejected.values()) >= 4

    def test_three_generations_continue_one_another_from_other_paths(self, fitted, tmp_path):
        """Each fit begins where its parent ended, and the third knows the first's data no worse than the first did."""
        generator, last, chain = fitted, None, [fitted]
        for generation in range(2):
            generator.save(tmp_path / f"{generation}")
            moved = tmp_path / f"other-{generation}"
            moved.mkdir()
            (tmp_path / f"{generation}").rename(moved / "checkpoint")
            loaded = Uni3darGenerator.load(moved / "checkpoint", settings(epochs=4))
            generator, report = loaded.fit(strained_examples(), 1)
            assert last is None or report["loss_before"] == last, "the same data and seed: the same validation"
            assert report["loss_after"] <= report["loss_before"]
            last = report["loss_after"]
            chain.append(generator)
        assert json.loads(json.dumps(report)) == report
        # what the third fit's weights lose on the first fit's data: a fit of one step says it before it begins
        first, third = (g.fit(strained_examples(), 1)[1]["loss_before"] for g in (chain[0], chain[2]))
        assert third <= first

    def test_published_files_are_read_and_continued(self, fitted, tmp_path):
        """A file as Uni-Core's trainer writes it, named by the user's own configuration."""
        from argparse import Namespace

        state = torch.load(fitted._model.path / "weights.pt", weights_only=True)
        args = Namespace(**json.loads((fitted._model.path / "architecture.json").read_text()), data_type="crystal")
        torch.save({"args": args, "model": state, "ema": {"params": state, "decay": 0.999}}, tmp_path / "mp20.pt")
        read = Uni3darGenerator.initial(settings(weights=str(tmp_path / "mp20.pt")))
        assert read.document["weights"] == "file"
        assert (read._model.path / "weights.pt").read_bytes() == (fitted._model.path / "weights.pt").read_bytes()

    def test_the_checkouts_are_left_as_they_are(self, fitted):
        from coevo.models.external.checkouts import verified_checkouts

        fitted.sample(1, Conditions(LI_P_S, max_atoms=8), 0)
        assert all(checkout.tested for checkout in verified_checkouts(UNI3DAR))
        for checkout in verified_checkouts(UNI3DAR):
            assert not list(checkout.path.rglob("__pycache__"))


@pytest.mark.long
def test_examples_that_it_cannot_learn_from_are_told(replay):
    large = [
        Example(f"{e.id}-large", e.structure.copy().make_supercell([6, 6, 6], in_place=False), 0.0)
        for e in strained_examples()[:1]
    ]
    _, report = replay().fit(large, 3)
    assert report["left_out"] == {"too_many_atoms": 1}
