"""Chemeleon-DNG without its environment: configuration, what its runner does around the network, real files given back."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import shutil
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from generator_contract import LI_P_S
from replayed_chemeleon import make_package, recorded_generator
from small_chemeleon import CONDITIONS, NUMBER, RECORDED, SEED, TINY, settings
from small_mattergen import strained_examples

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.families import loader_of
from coevo.models.contracts import Generator
from coevo.models.external.chemeleon import PUBLISHED_FILE, ChemeleonGenerator
from coevo.models.external.families import HERE
from coevo.models.registry import generator_class

FAMILY = ChemeleonGenerator.external

REPLAY = """#!{python}
# The environment's interpreter, which has run already: gives back what it wrote.
import json, pathlib, shutil, sys
assert sys.argv[1:] == ["chemeleon_dng_runner.py", "request.json"], sys.argv
request = json.loads(pathlib.Path("request.json").read_text())
recorded = pathlib.Path({recorded!r})
name = "fit" if request["task"] == "fit" else "sample" if request["options"]["bounded_cells"] else "huge"
expected = json.loads((recorded / name / "request.json").read_text())
different = [key for key in expected if request.get(key) != expected[key] and key not in ("options", "document")]
different += [key for key in expected["options"] if request["options"].get(key) != expected["options"][key]]
assert not different, different
shutil.copytree(recorded / name / "output", "output")
shutil.copyfile(recorded / name / "result.json", "result.json")
"""


@pytest.fixture
def recorded(tmp_path, monkeypatch) -> Path:
    """A copy of the recorded files, which the environment's interpreter gives back."""
    shutil.copytree(RECORDED, tmp_path / "recorded")
    python = tmp_path / "python"
    python.write_text(REPLAY.format(python=sys.executable, recorded=str(tmp_path / "recorded")))
    python.chmod(0o755)
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "chemeleon-dng.yaml").write_text(f"python: {python}\n")
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("COEVO_SCRATCH", str(tmp_path))
    monkeypatch.setenv("COEVO_DEVICE", "cpu")
    return tmp_path / "recorded"


@pytest.fixture(scope="module")
def runner():
    """Imports modules of the runner that need torch, but not the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "runners"))
        patch.syspath_prepend(str(FAMILY.runner.parent))
        yield lambda name: importlib.import_module(name)
    for name in list(sys.modules):
        if name.startswith(("coevo_", "chemeleon_dng")):
            sys.modules.pop(name)


class TestConfiguration:
    def test_it_is_a_family_whose_checkpoints_run_no_code(self):
        assert generator_class("chemeleon-dng") is ChemeleonGenerator
        assert isinstance(ChemeleonGenerator.initial(), Generator)
        assert loader_of("chemeleon-dng", "generator").runs_code is False
        assert GeneratorConfig(family="chemeleon-dng").own_section == GeneratorConfig().chemeleon_dng

    def test_its_section_is_in_use_with_it_only(self):
        assert "chemeleon_dng" in GeneratorConfig().not_in_use()
        others = GeneratorConfig().not_in_use() - {"chemeleon_dng"}
        assert GeneratorConfig(family="chemeleon-dng").not_in_use() == others | {"depth"}

    def test_names_and_files(self, tmp_path):
        named = ChemeleonGenerator.initial(settings(weights="chemeleon_csp_mp_20_v0.0.2"))
        named.save(tmp_path / "named")
        assert ChemeleonGenerator.load(tmp_path / "named", settings()).options()["weights"] == "chemeleon_csp_mp_20_v0.0.2"
        with pytest.raises(ConfigError, match=r"generator.chemeleon_dng.weights: there is no file .*give the path"):
            ChemeleonGenerator.initial(settings(weights=f"{tmp_path}/none.ckpt"))
        (tmp_path / "own.ckpt").write_bytes(b"weights")
        own = ChemeleonGenerator.initial(settings(weights=f"{tmp_path}/own.ckpt"))
        own.save(tmp_path / "packed")
        assert str(tmp_path).encode() not in (tmp_path / "packed").read_bytes(), "no path of this machine"
        loaded = ChemeleonGenerator.load(tmp_path / "packed", settings())
        assert (loaded._model.path / PUBLISHED_FILE).read_bytes() == b"weights"
        assert loaded.options()["weights"] == "file"

    def test_checkpoints_of_other_families_are_refused(self, tmp_path):
        ChemeleonGenerator.initial(settings()).save(tmp_path / "it")
        (tmp_path / "other").write_bytes((tmp_path / "it").read_bytes().replace(b'"chemeleon-dng"', b'"chameleon-dng"'))
        with pytest.raises(CheckpointError, match="is of family 'chameleon-dng', expected 'chemeleon-dng'"):
            ChemeleonGenerator.load(tmp_path / "other")

    def test_runner_and_adapter_agree_on_the_options(self):
        text = "".join(path.read_text() for path in (FAMILY.runner, *FAMILY.companions))
        for key in ChemeleonGenerator.initial().options():
            assert f'["{key}"]' in text, key


class TestRealFilesGivenBack:
    def test_a_fit_is_saved_and_moves_to_another_path(self, recorded, tmp_path):
        fitted, report = ChemeleonGenerator.initial(settings(TINY)).fit(strained_examples(), SEED)
        assert (report["training"], report["validation"], report["epochs_run"]) == (35, 5, 2)
        assert report["loss_after"] == report["history"][2] < report["history"][1] < report["loss_before"]
        fitted.save(tmp_path / "checkpoint")
        loaded = ChemeleonGenerator.load(tmp_path / "checkpoint", settings(TINY))
        assert sorted(path.name for path in loaded._model.path.iterdir()) == ["model.json", "weights.pt"]
        assert loaded.document == fitted.document
        told = json.loads((loaded._model.path / "model.json").read_text())
        assert set(told["compositions"]) == {"Li", "Li2S", "Li3P", "Li3PS4", "LiPS"}

    def test_a_sample_has_the_compositions_that_were_drawn(self, recorded):
        fitted, _ = ChemeleonGenerator.initial(settings(TINY)).fit(strained_examples(), SEED)
        told = []
        sample = fitted.sample(NUMBER, CONDITIONS, SEED, progress=told.append)
        assert (len(sample.candidates), sample.rejected, sum(told)) == (NUMBER, {}, NUMBER)
        for candidate in sample.candidates:
            counts = candidate.structure.composition.get_el_amt_dict()
            formula = "".join(f"{s}{int(n) if n > 1 else ''}" for s, n in sorted(counts.items()))
            assert candidate.origin["formula"] == formula
            assert candidate.origin["generator"] == candidate.origin["operator"] == "chemeleon-dng"
            assert 5 < candidate.structure.volume / len(candidate.structure) < 60, "as the examples, and a little more"

    def test_without_bounds_the_cells_of_a_poor_network_are_huge_and_counted(self, recorded):
        fitted, _ = ChemeleonGenerator.initial(settings(TINY)).fit(strained_examples(), SEED)
        fitted.settings = settings(TINY, bounded_cells=False)
        sample = fitted.sample(NUMBER, CONDITIONS, SEED)
        assert (sample.candidates, sample.rejected) == ([], {"huge_cell": 9})

    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (lambda r: r | {"species": ["Na", *r["species"][1:]]}, "off_system"),
            (lambda r: r | {"lattice": (1000 * np.array(r["lattice"])).tolist()}, "flat_cell"),
            (lambda r: r | {"lattice": (1e-3 * np.array(r["lattice"])).tolist()}, "flat_cell"),
            (lambda r: r | {"positions": r["positions"][:-1]}, "malformed"),
            (lambda r: r | {"positions": [[float("nan")] * 3, *r["positions"][1:]]}, "not_finite"),
        ],
    )
    def test_what_is_no_crystal_of_these_conditions_is_counted(self, recorded, spoil, reason):
        fitted, _ = ChemeleonGenerator.initial(settings(TINY)).fit(strained_examples(), SEED)
        path = recorded / "sample" / "output" / "candidates.jsonl"
        first, *others = path.read_text().splitlines()
        path.write_text("\n".join([json.dumps(spoil(json.loads(first))), *others]) + "\n")
        sample = fitted.sample(NUMBER, CONDITIONS, SEED)
        assert (len(sample.candidates), sample.rejected) == (NUMBER - 1, {reason: 1})

    def test_half_written_files(self, recorded):
        fitted, _ = ChemeleonGenerator.initial(settings(TINY)).fit(strained_examples(), SEED)
        path = recorded / "sample" / "output" / "candidates.jsonl"
        path.write_bytes(path.read_bytes()[:-40])
        assert fitted.sample(NUMBER, CONDITIONS, SEED).rejected == {"malformed": 1}
        result = recorded / "sample" / "result.json"
        result.write_bytes(result.read_bytes()[:60])
        with pytest.raises(ModelError, match="chemeleon-dng"):
            fitted.sample(NUMBER, CONDITIONS, SEED)


class TestTheRealRunner:
    """The runner as it is, with a package in place of the real one that draws what that drew (``replayed_chemeleon.py``)."""

    @pytest.fixture(autouse=True)
    def place(self, tmp_path, monkeypatch):
        make_package(tmp_path / "package", tmp_path / "environments")
        for name, value in {"ENVIRONMENTS": tmp_path / "environments", "SCRATCH": tmp_path, "DEVICE": "cpu"}.items():
            monkeypatch.setenv(f"COEVO_{name}", str(value))

    def test_it_makes_of_the_recorded_arrays_what_it_made_then(self):
        lines = [json.loads(line) for line in (RECORDED / "sample" / "output" / "candidates.jsonl").read_text().splitlines()]
        generator = recorded_generator()
        sample = generator.sample(NUMBER, CONDITIONS, SEED)
        # one of those recorded has atoms at 0.48 Å: the runner of that time counted none as overlapping
        assert (len(sample.candidates), sample.rejected) == (NUMBER, {"overlapping": 1})
        assert [c.origin["draw"] for c in sample.candidates] == [0, 2, 3, 4, 5, 6]
        del lines[1]
        for candidate, line in zip(sample.candidates, lines, strict=False):
            assert candidate.origin == {**line["origin"], "generator": "chemeleon-dng"}
            assert [site.specie.symbol for site in candidate.structure] == line["species"]
            assert np.allclose(candidate.structure.lattice.matrix, line["lattice"], rtol=1e-6)
            apart = candidate.structure.frac_coords - np.array(line["positions"])
            assert np.allclose(apart, np.round(apart), atol=1e-6)
        generator.settings = settings(TINY, bounded_cells=False)
        assert generator.sample(NUMBER, CONDITIONS, SEED).rejected == {"huge_cell": 9}

    def test_a_fit_that_gets_no_better_says_so(self, runner, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for now, improved in (([2.0, 3.0, 2.0], False), ([2.0, 3.0, 1.5], True)):
            losses = iter(now)
            _, report = runner("coevo_fitting").trained(
                {"epochs": 2, "patience": 9}, lambda _count: None, lambda losses=losses: next(losses), dict
            )
            assert (report["improved"], report["loss_after"]) == (improved, min(now))

    def test_a_fit_learns_what_the_recorded_one_learned_beside_its_network(self, tmp_path):
        quick = settings(TINY, learning_rate=0.1)
        fitted, report = ChemeleonGenerator.initial(quick).fit(strained_examples(), SEED)
        recorded = json.loads((RECORDED / "fit" / "output" / "model" / "model.json").read_text())
        told = json.loads((fitted._model.path / "model.json").read_text())
        assert told == recorded
        assert (report["training"], report["validation"], report["epochs_run"], report["improved"]) == (35, 5, 2, True)
        assert report["loss_after"] == min(report["history"]) < report["loss_before"]
        fitted.save(tmp_path / "checkpoint")
        _, further = ChemeleonGenerator.load(tmp_path / "checkpoint", quick).fit(strained_examples(), SEED)
        assert further["loss_before"] == report["loss_after"], "it goes on from its parent's weights"


class TestCells:
    def test_bounds_are_those_of_the_examples_and_a_little_more(self, runner):
        cells = runner("chemeleon_dng_cells")
        found = cells.bounds_of([np.diag([4.0, 4.0, 6.0]), np.diag([2.0, 3.0, 3.0])], [8, 1])
        # over the cube root of the number of atoms: 2, 2, 3 and 2, 3, 3; a quarter of the range and 0.3 beyond
        assert np.allclose(np.diag(found["least"]), [1.7, 1.45, 2.7])
        assert np.allclose(np.diag(found["most"]), [2.3, 3.55, 3.3])
        assert found["volume"] == pytest.approx([12 / 1.25, 18 * 1.25])
        bounds = cells.bounds_for(found, torch.tensor([27, 1]))
        assert bounds["least"].shape == bounds["most"].shape == (2, 3, 3)
        assert float(bounds["most"][0, 1, 1]) == pytest.approx(3 * 3.55)
        held = cells.held(torch.stack([1e4 * torch.eye(3), torch.zeros(3, 3)]), bounds)
        # too large: the most of each element, scaled to 22.5 Å³ an atom; nothing: the least, scaled to 9.6 Å³
        assert torch.linalg.det(held).tolist() == pytest.approx([27 * 22.5, 9.6], rel=1e-5)
        assert (held[0] / held[0, 0, 0]).diagonal().tolist() == pytest.approx([1, 3.55 / 2.3, 3.3 / 2.3], rel=1e-5)
        assert cells.bounds_for(None, torch.tensor([1])) is None

    def test_where_no_bound_is_reached_a_step_is_that_of_the_paper(self, runner):
        """x' = (x − β/√(1 − ᾱ) ε)/√α + σ z (Ho et al., algorithm 2), with numbers made by hand."""
        step = runner("chemeleon_dng_cells").bounded_step
        alpha, below = 0.9, 0.8
        kept = alpha * below
        variance = (1 - alpha) * (1 - below) / (1 - kept)
        levels = {"alpha": alpha, "kept": kept, "kept_below": below, "variance": variance}
        levels = {name: torch.tensor(value, dtype=torch.float64) for name, value in levels.items()}
        rng = np.random.default_rng(0)
        cell, eps, noise = (torch.tensor(rng.normal(size=(2, 3, 3))) for _ in range(3))
        wide = {"least": torch.tensor(-1e3), "most": torch.tensor(1e3), "volume": torch.tensor([0.0, 1e9])[:, None]}
        expected = (cell - (1 - alpha) / np.sqrt(1 - kept) * eps) / np.sqrt(alpha) + np.sqrt(variance) * noise
        assert torch.allclose(step(eps, cell, levels, wide, noise), expected, rtol=1e-12)
        # the last step of a denoising gives what it aims at, here a bound
        last = {**levels, "kept": levels["alpha"], "kept_below": torch.tensor(1.0, dtype=torch.float64)}
        cube = 2 * torch.eye(3, dtype=torch.float64)
        tight = {"least": cube, "most": cube, "volume": torch.tensor([0.0, 1e9])[:, None]}
        assert torch.allclose(step(eps, cell, last, tight, 0 * noise), cube.expand(2, 3, 3))


class TestFiles:
    """Of a published file nothing but tensors and plain values is restored."""

    @pytest.fixture
    def published(self, tmp_path) -> Path:
        """A checkpoint of Lightning as the package has it, with objects of classes that are not here."""
        modules = {name: types.ModuleType(name) for name in ("absent", "absent.models")}
        kinds = {name: type(name, (), {"__module__": "absent.models"}) for name in ("DDPM", "DSM", "Task")}
        vars(modules["absent.models"]).update(kinds)
        cells, places = kinds["DDPM"](), kinds["DSM"]()
        cells.alphas = torch.linspace(1.0, 0.5, 4)
        places.__dict__.update(sigma_begin=0.005, sigma_end=0.5, sigmas_norm=torch.ones(4))
        network = {"hidden_dim": 8, "time_dim": 8, "num_layers": 1, "num_freqs": 8, "max_atoms": 100, "pred_atom_types": False}
        content = {
            "state_dict": {"model.a": torch.arange(3.0), "other": torch.zeros(2000)},
            "hyper_parameters": {
                "task": kinds["Task"](),
                "num_timesteps": 3,
                "diffusion_lattice": cells,
                "diffusion_frac_coord": places,
                "model_configs": network,
            },
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, module in modules.items():
                patch.setitem(sys.modules, name, module)
            torch.save(content, tmp_path / PUBLISHED_FILE)
        return tmp_path

    def test_settings_and_tensors_are_found(self, runner, published):
        told, tensors = runner("chemeleon_dng_files").read_directory(published)
        assert told["num_timesteps"] == 3
        assert told["network"]["hidden_dim"] == 8
        assert (told["sigma_begin"], told["sigma_end"]) == (0.005, 0.5)
        assert tensors["network.a"].tolist() == [0.0, 1.0, 2.0]
        assert sorted(tensors) == ["alphas", "network.a", "sigmas_norm"]
        assert json.loads(json.dumps(told)) == told

    def test_what_a_pickle_would_run_is_not_run(self, runner, published):
        class Harmful:
            def __reduce__(self):
                return os.mkdir, (str(published / "harmed"),)

        content = pickle.dumps({"state_dict": Harmful(), "hyper_parameters": [Harmful()]}, protocol=2)
        harmful = published / "harmful.ckpt"
        with zipfile.ZipFile(published / PUBLISHED_FILE) as source, zipfile.ZipFile(harmful, "w") as target:
            for name in source.namelist():
                target.writestr(name, content if name.endswith("data.pkl") else source.read(name))
        files, runs = runner("chemeleon_dng_files"), runner("coevo_runner")
        with pytest.raises(runs.TaskError, match="has no state_dict"):
            files.restored(harmful)
        assert not (published / "harmed").exists()
        for content in (b"", b"no zip", pickle.dumps(Harmful())):
            harmful.write_bytes(content)
            with pytest.raises(runs.TaskError, match="cannot be read as a checkpoint"):
                files.restored(harmful)
        assert not (published / "harmed").exists()

    def test_a_model_that_draws_compositions_of_its_own_is_refused(self, runner, published, monkeypatch):
        files = runner("chemeleon_dng_files")
        whole = files.restored(published / PUBLISHED_FILE)
        whole["hyper_parameters"]["model_configs"]["pred_atom_types"] = True
        monkeypatch.setattr(files, "restored", lambda _path: whole)
        with pytest.raises(runner("coevo_runner").TaskError, match="allowed: a model that takes one, such as chemeleon_csp"):
            files.published_parts(published / PUBLISHED_FILE)

    def test_published_weights_are_looked_for_in_two_places(self, runner, tmp_path, monkeypatch):
        files = runner("chemeleon_dng_files")
        name = files.PUBLISHED[0]
        monkeypatch.setenv("CHEMELEON_CKPTS", str(tmp_path / "a"))
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "b"))
        assert files.published_place(name) is None
        with pytest.raises(
            runner("coevo_runner").TaskError, match="looked for in the directory that the variable CHEMELEON_CKPTS"
        ):
            files.published_file(name)
        with pytest.raises(runner("coevo_runner").TaskError, match=r"got weights '\.\./x', allowed: fresh, chemeleon_csp"):
            files.published_file("../x")
        for folder in (tmp_path / "b" / "ckpts", tmp_path / "a"):
            folder.mkdir(parents=True)
            (folder / f"{name}.ckpt").touch()
            assert files.published_place(name) == str(folder / f"{name}.ckpt")

    def test_recorded_weights_are_read_and_others_refused(self, runner, tmp_path):
        files, runs = runner("chemeleon_dng_files"), runner("coevo_runner")
        shutil.copytree(RECORDED / "fit" / "output" / "model", tmp_path / "model")
        told, tensors = files.read_directory(tmp_path / "model")
        files.write_directory(tmp_path / "again", told, tensors)
        assert torch.equal(files.read_directory(tmp_path / "again")[1]["alphas"], tensors["alphas"])
        for change in ({"num_timesteps": 7}, {"num_timesteps": 10**9}, {"network": None}, {"num_timesteps": True}):
            with pytest.raises(runs.TaskError, match="the model"):
                files.checked({**told, **change}, tensors, 10**6)
        large = {**told, "network": {**told["network"], "hidden_dim": 4096, "num_layers": 32, "num_freqs": 1024}}
        size = (tmp_path / "model" / "weights.pt").stat().st_size
        # 1,936 parameters as torch counts them, biases and norms among them; the large network has 4.2 billion
        assert 0.9 * 1936 < files.parameters(told["network"]) <= 1936
        with pytest.raises(runs.TaskError, match=rf"weights have {size} bytes, the network of its settings 161"):
            files.checked(large, tensors, size)
        # small numbers beside those that the network is built of hide nothing
        with pytest.raises(runs.TaskError, match="hidden_dim"):
            files.checked({**told, "network": {}, **told["network"]}, tensors, 10**6)
        (tmp_path / "model" / "weights.pt").write_bytes(pickle.dumps(print, protocol=2))
        with pytest.raises(runs.TaskError, match="the model cannot be read"):
            files.read_directory(tmp_path / "model")


def test_its_name_is_that_of_the_package():
    assert [pin for pin in FAMILY.pins() if pin.startswith("chemeleon")] == ["chemeleon-dng==0.1.5"]
    assert CONDITIONS.elements == LI_P_S
