"""DiffCSP without its environment: settings, folders, what its runner writes and reads, and a real run that is replayed."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
from diffcsp_process import FOLDER
from generator_contract import LI_P_S, li_p_s_examples
from pymatgen.core import Composition, Lattice, Structure

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.families import loader_of
from coevo.models.contracts import Conditions, Example, Sample
from coevo.models.external.diffcsp import DIFFCSP, DiffCSPGenerator, last_checkpoint
from coevo.models.external.families import HERE

SETTINGS = GeneratorConfig(
    family="diffcsp",
    max_atoms=12,
    fit_max_e_hull=2.0,
    diffcsp={
        "weights": "scratch",
        "hidden": 12,
        "layers": 2,
        "frequencies": 4,
        "steps": 20,
        "schedule": "linear",
        "epochs": 250,
        "patience": 250,
        "learning_rate": 1e-2,
        "train_batch_size": 8,
        "validation_fraction": 0.5,
        "batch_size": 8,
        "oversampling": 4.0,
    },
)
CONDITIONS = Conditions(LI_P_S, max_atoms=12, compositions=("Li2S", "Li3P", "LiPS"))


def fit():
    """The fit that was recorded."""
    return DiffCSPGenerator.initial(SETTINGS).fit(li_p_s_examples(), 1)


def sample(generator: DiffCSPGenerator) -> Sample:
    """The sample that was recorded."""
    return generator.sample(6, CONDITIONS, 7)


def make_environment(directory: Path, *, python: str, checkout: str, variables: dict[str, str], timeout: int = 600) -> None:
    """An environment in which a runner starts what stands in this folder in place of its interpreter."""
    script = directory / "python"
    process = Path(__file__).parent / "diffcsp_process.py"
    script.write_text(f"#!{sys.executable}\nimport runpy\nrunpy.run_path({str(process)!r}, run_name='__main__')\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (directory / "sitecustomize.py").write_text(f"import sys\nsys.executable = {str(script)!r}\n")
    document = {
        "python": python,
        "checkouts": {"DiffCSP": checkout},
        "any_commit": True,
        "timeout": timeout,
        "variables": {"PYTHONPATH": str(directory), **variables},
    }
    (directory / "diffcsp.yaml").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def runner():
    """The runner's own modules, imported as it does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "runners"))
        patch.syspath_prepend(str(HERE / "runners" / "diffcsp"))
        yield importlib.import_module


class TestSettingsAndFolders:
    def test_scratch_has_no_files_and_the_settings_stay_what_they_are(self, tmp_path):
        DiffCSPGenerator.initial(SETTINGS).save(tmp_path / "it")
        loaded = DiffCSPGenerator.load(tmp_path / "it", SETTINGS)
        assert loaded.document == {"weights": "scratch"}
        assert loaded.options() == SETTINGS.diffcsp.model_dump(mode="json") | {"fit_max_e_hull": 2.0}

    def test_names_that_are_no_folder_are_refused(self):
        with pytest.raises(ValueError, match="weights"):
            GeneratorConfig(family="diffcsp", diffcsp={"weights": "mp_20"})

    def test_a_folder_of_coevos_own_is_copied(self, tmp_path):
        for name in ("network.json", "weights.pt"):
            (tmp_path / name).write_text(name)
        generator = DiffCSPGenerator.initial(GeneratorConfig(family="diffcsp", diffcsp={"weights": str(tmp_path)}))
        generator.save(tmp_path / "packed")
        assert str(tmp_path).encode() not in (tmp_path / "packed").read_bytes(), "no path of this machine"
        assert (DiffCSPGenerator.load(tmp_path / "packed")._model.path / "weights.pt").read_text() == "weights.pt"

    def test_a_folder_of_another_node_comes_with_its_compositions(self, tmp_path):
        for name in ("network.json", "weights.pt"):
            (tmp_path / name).write_text(name)
        config = GeneratorConfig(family="diffcsp", diffcsp={"weights": str(tmp_path)})
        assert "compositions" not in DiffCSPGenerator.initial(config).document
        (tmp_path / "compositions.json").write_text('{"Li2S": {"4": 1.0}}')
        assert DiffCSPGenerator.initial(config).document["compositions"] == {"Li2S": {"4": 1.0}}
        for bad, told in (("[]", "holds no mapping"), ("{", "cannot be read")):
            (tmp_path / "compositions.json").write_text(bad)
            with pytest.raises(ConfigError, match=rf"compositions\.json {told}"):
                DiffCSPGenerator.initial(config)

    def test_a_folder_that_is_none_is_refused(self, tmp_path):
        (tmp_path / "hparams.yaml").write_text("a: 1\n")
        with pytest.raises(ConfigError, match=r"is no model directory of DiffCSP: hparams\.yaml or a file \*\.ckpt is missing"):
            DiffCSPGenerator.initial(GeneratorConfig(family="diffcsp", diffcsp={"weights": f"{tmp_path}/"}))

    def test_the_file_is_that_which_its_own_scripts_take(self, tmp_path):
        for name in ("epoch=9-step=90.ckpt", "epoch=119-step=1200.ckpt", "notes.txt"):
            (tmp_path / name).touch()
        assert last_checkpoint(tmp_path).name == "epoch=119-step=1200.ckpt"
        (tmp_path / "last.ckpt").touch()
        assert last_checkpoint(tmp_path).name == "last.ckpt"

    def test_its_checkpoints_need_no_trust(self):
        assert loader_of("diffcsp", "generator").runs_code is False

    def test_checkpoints_of_other_families_are_refused(self, tmp_path):
        DiffCSPGenerator.initial(SETTINGS).save(tmp_path / "it")
        (tmp_path / "other").write_bytes((tmp_path / "it").read_bytes().replace(b'"diffcsp"', b'"diffcsq"'))
        with pytest.raises(CheckpointError, match="is of family 'diffcsq', expected 'diffcsp'"):
            DiffCSPGenerator.load(tmp_path / "other")

    def test_runner_and_adapter_agree_on_the_options(self):
        text = "".join(path.read_text() for path in (DIFFCSP.runner, *DIFFCSP.companions))
        of_the_network = {"hidden", "layers", "frequencies", "steps", "schedule"}
        for key in GeneratorConfig().diffcsp.model_dump().keys() - of_the_network - {"weights"}:
            assert f'["{key}"]' in text or f"['{key}']" in text, key
        assert '("hidden", "layers", "frequencies", "steps", "schedule")' in text


class TestTheNetwork:
    """Numbers and words of DiffCSP's own configuration (conf/model/*.yaml at the recorded commit)."""

    OWN: ClassVar = {
        "_target_": "diffcsp.pl_modules.diffusion.CSPDiffusion",
        "time_dim": 256,
        "latent_dim": 0,
        "cost_coord": 1.0,
        "cost_lattice": 1.0,
        "timesteps": 1000,
        "decoder": {"hidden_dim": 512, "num_layers": 6, "num_freqs": 128, "edge_style": "fc", "ln": True, "ip": True},
        "beta_scheduler": {"scheduler_mode": "cosine", "timesteps": "${model.timesteps}"},
        "sigma_scheduler": {"sigma_begin": 0.005, "sigma_end": 0.5},
    }

    def test_the_default_is_that_of_diffcsp(self, runner):
        network = runner("diffcsp_network")
        new = network.new_network(GeneratorConfig().diffcsp.model_dump())
        assert new == network.network_of({"model": self.OWN})
        words = network.overrides(new)
        assert "model.decoder.hidden_dim=512" in words
        assert "model.beta_scheduler.scheduler_mode=cosine" in words
        assert "model.decoder.ln=true" in words

    def test_its_size_is_known_before_it_is_built(self, runner, tmp_path):
        import torch

        network = runner("diffcsp_network")
        state = torch.load(FOLDER / "train-best.pt", weights_only=True)
        small = network.new_network(SETTINGS.diffcsp.model_dump())
        assert network.parameters(small) == sum(t.numel() for name, t in state.items() if name.startswith("decoder."))
        own = network.network_of({"model": self.OWN})
        assert network.parameters(own) == pytest.approx(12.3e6, rel=1e-3)
        (tmp_path / "weights.pt").write_bytes((FOLDER / "train-best.pt").read_bytes())
        network.require_size(small, tmp_path / "weights.pt")
        with pytest.raises(
            runner("coevo_runner").TaskError, match=r"weights\.pt has 38539 bytes, the network beside it 49178624"
        ):
            network.require_size(own, tmp_path / "weights.pt")
        with pytest.raises(runner("coevo_runner").TaskError, match="the network has"):
            network.require_size({**own, "hidden": 4096, "layers": 64}, None)

    def test_nothing_of_the_cell_is_left_at_the_end_of_a_linear_schedule(self, runner):
        for steps in (50, 200, 1000):
            options = GeneratorConfig(diffcsp={"steps": steps, "schedule": "linear"}).diffcsp.model_dump()
            network = runner("diffcsp_network").new_network(options)
            left = np.prod(1 - np.linspace(network["beta_start"], network["beta_end"], steps))
            assert left < 1e-3

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"_target_": "diffcsp.pl_modules.diffusion_w_type.CSPDiffusion"}, "describes 'diffcsp.pl_modules.diffusion_w_type"),
            ({"_target_": "os.system"}, "describes 'os.system'"),
            ({"decoder": {"edge_style": "knn"}}, r"model\.decoder\.edge_style: got 'knn', allowed: 'fc'"),
            ({"timesteps": 10**9}, "steps: got '1000000000', allowed: 2 to 10000"),
        ],
    )
    def test_other_models_are_refused(self, runner, change, reason):
        with pytest.raises(runner("coevo_runner").TaskError, match=reason):
            runner("diffcsp_network").network_of({"model": {**self.OWN, **change}})

    def test_numbers_of_a_stranger_are_numbers(self, runner):
        network = runner("diffcsp_network")
        sound = network.network_of({"model": self.OWN})
        for change in (
            {"hidden": "512"},
            {"hidden": True},
            {"layers": 10**6},
            {"schedule": "x] ++a=b"},
            {"_target_": "os.system"},
        ):
            with pytest.raises(runner("coevo_runner").TaskError, match=r"network\.json"):
                network.checked({**sound, **change})


class TestWhatIsWrittenForIt:
    @pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF")  # thirds are rounded to thirds
    def test_a_cif_is_the_crystal(self, runner):
        for example in li_p_s_examples():
            structure = example.structure
            record = {
                "lattice": structure.lattice.matrix.tolist(),
                "species": [site.specie.symbol for site in structure],
                "positions": (structure.frac_coords - 1.0).tolist(),
            }
            read = Structure.from_str(runner("diffcsp_data").cif(record), "cif")
            assert read.composition == structure.composition
            np.testing.assert_allclose(read.lattice.parameters, structure.lattice.parameters, atol=1e-6)
            np.testing.assert_allclose(
                np.sort(read.distance_matrix.ravel()), np.sort(structure.distance_matrix.ravel()), atol=1e-5
            )

    def test_validation_follows_from_ids(self, runner):
        split = runner("diffcsp_data").split
        examples = [{"id": f"id{k}"} for k in range(2000)]
        training, validation = split(examples, 0.1)
        assert 150 < len(validation) < 250
        assert len(training) + len(validation) == 2000
        assert split(examples[:500], 0.1)[1] == [e for e in validation if e in examples[:500]], "each stays where it is"
        assert all(e in split(examples, 0.3)[1] for e in validation)

    def test_one_of_a_few_is_for_validation(self, runner):
        split = runner("diffcsp_data").split
        few = split([{"id": f"id{k}"} for k in range(2000)], 0.1)[0][:5]
        training, validation = split(few, 0.1)
        assert (len(training), len(validation)) == (4, 1)
        assert split(few[:2], 0.1) == (few[:2], [])
        assert split([], 0.1) == ([], [])

    def test_symbols_are_by_atomic_number(self, runner):
        from pymatgen.core import Element

        symbols = runner("diffcsp_data").SYMBOLS
        assert symbols[1:] == [Element.from_Z(z).symbol for z in range(1, 101)]


class TestStandIns:
    def test_scatter_sums_and_means_rows_of_an_index(self, runner):
        import torch

        scatter = runner("diffcsp_stand_ins").scatter
        rows = torch.arange(24, dtype=torch.float32).reshape(8, 3) ** 2
        index = torch.tensor([4, 0, 0, 2, 4, 4, 2, 0])
        for reduce, of in (("sum", torch.sum), ("mean", torch.mean)):
            wanted = torch.stack([of(rows[index == k], 0) if k in {0, 2, 4} else torch.zeros(3) for k in range(6)])
            assert torch.allclose(scatter(rows, index, dim=0, reduce=reduce, dim_size=6), wanted)
            assert torch.allclose(scatter(rows, index, dim=0, reduce=reduce), wanted[:5])
        with pytest.raises(NotImplementedError, match="sums and means"):
            scatter(rows, index, dim=0, reduce="max")

    def test_a_crystal_that_cannot_be_read_costs_itself_only(self, runner, tmp_path, monkeypatch):
        import torch

        def process_one(row, **told):
            assert told == {"niggli": True, "primitive": False, "graph_method": "none", "prop_list": ["energy_above_hull"]}
            if "Xe0" in row["cif"]:
                raise ValueError("no reduced cell")
            return {"mp_id": row["material_id"], "volume": Structure.from_str(row["cif"], "cif").volume}

        module = ModuleType("diffcsp.common.data_utils")
        module.process_one = process_one
        monkeypatch.setitem(sys.modules, "diffcsp", ModuleType("diffcsp"))
        monkeypatch.setitem(sys.modules, "diffcsp.common", ModuleType("diffcsp.common"))
        monkeypatch.setitem(sys.modules, "diffcsp.common.data_utils", module)
        sound = {"lattice": (3 * np.eye(3)).tolist(), "species": ["Li"], "positions": [[0, 0, 0]], "energy_above_hull": 0.0}
        examples = [{"id": "a", **sound}, {"id": "b", **sound, "species": ["Xe"]}]
        bad = {"id": "c", **sound, "species": ["Xe"]}
        runner("diffcsp_data").write_tables(tmp_path / "tables", examples, [*examples[:1], bad])
        assert runner("diffcsp_launcher").prepare(tmp_path / "tables") == {"train": 1, "val": 1}, "of a crystal's four rows one"
        kept = {name: torch.load(tmp_path / "tables" / f"{name}_ori.pt") for name in ("train", "val")}
        assert kept["train"] == [{"mp_id": "a/0", "volume": pytest.approx(27.0)}]
        assert [row["mp_id"] for row in kept["val"]] == ["a/0", "a/1", "a/2", "a/3"]
        runner("diffcsp_data").write_tables(tmp_path / "none", examples[1:], examples[:1])
        with pytest.raises(runner("coevo_runner").TaskError, match=r"none of the crystals of train\.csv"):
            runner("diffcsp_launcher").prepare(tmp_path / "none")


class TestDraws:
    def draw(self, structure):
        return {
            "lattice": structure.lattice.matrix.tolist(),
            "positions": structure.frac_coords.tolist(),
            "numbers": [site.specie.Z for site in structure],
        }

    def test_crystals_have_no_fault_and_their_shortest_distance_is_right(self, runner):
        draws = runner("diffcsp_draws")
        for example in li_p_s_examples():
            structure = example.structure
            drawn = self.draw(structure)
            assert draws.fault_of(drawn, drawn["numbers"]) == ""
            shortest = min(n.nn_distance for site in structure for n in structure.get_neighbors(site, 6.0))
            assert runner("coevo_cells").nearest(structure.lattice.matrix, structure.frac_coords) == pytest.approx(
                shortest, abs=1e-6
            )

    def test_the_image_of_an_atom_is_near_in_a_thin_cell(self, runner):
        thin = Structure(Lattice.from_parameters(0.4, 20, 20, 90, 90, 90), ["Li"], [[0.3, 0.1, 0.2]])
        assert runner("coevo_cells").nearest(thin.lattice.matrix, thin.frac_coords) == pytest.approx(0.4)
        assert runner("diffcsp_draws").fault_of(self.draw(thin), [3]) == "flat_cell"

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ({"lattice": [[200, 0, 0], [0, 4, 0], [0, 0, 4]]}, "huge_cell"),
            ({"lattice": [[8, 0, 0], [0, 8, 0], [0, 0, 8]]}, "huge_cell"),
            ({"lattice": [[0.9, 0, 0], [0, 9, 0], [0, 0, 9]]}, "flat_cell"),
            ({"lattice": [[4, 0, 0], [0, 4, 0], [4, 4, 0]]}, "flat_cell"),
            ({"lattice": [[math.nan, 0, 0], [0, 4, 0], [0, 0, 4]]}, "not_finite"),
            ({"lattice": "cell"}, "malformed"),
            ({"positions": [[0, 0, 0]]}, "malformed"),
            ({"positions": [[0, 0, 0], [0.999, 0, 0]]}, "overlapping"),
            ({"numbers": [3, 26]}, "wrong_elements"),
            ({"numbers": None}, "malformed"),
        ],
    )
    def test_faults_are_named(self, runner, change, fault):
        sound = {"lattice": (4 * np.eye(3)).tolist(), "positions": [[0, 0, 0], [0.5, 0.5, 0.5]], "numbers": [3, 16]}
        draws = runner("diffcsp_draws")
        assert draws.fault_of(sound, [3, 16]) == ""
        assert draws.fault_of({**sound, **change}, [3, 16]) == fault

    def test_what_is_no_mapping_is_malformed(self, runner):
        assert runner("diffcsp_draws").fault_of([1], [3]) == "malformed"


class TestReplay:
    """A real run of a tiny model, recorded by ``record_diffcsp.py``: only the executable is replaced.

    Its command lines must be those that were recorded, and the files are those that DiffCSP wrote.
    """

    @pytest.fixture
    def start(self, tmp_path, monkeypatch):
        """Make the environment, with a fault if one is named."""

        def start(fault: str = "", timeout: int = 600) -> None:
            checkout = tmp_path / "DiffCSP"
            (checkout / "diffcsp").mkdir(parents=True, exist_ok=True)
            (checkout / "diffcsp" / "run.py").touch()
            variables = {"RECORDING": str(FOLDER), "FAULT": fault}
            make_environment(tmp_path, python=sys.executable, checkout=str(checkout), variables=variables, timeout=timeout)
            for name, value in {"ENVIRONMENTS": tmp_path, "SCRATCH": tmp_path, "DEVICE": "cpu"}.items():
                monkeypatch.setenv(f"COEVO_{name}", str(value))

        return start

    @pytest.fixture
    def fitted(self, runner) -> DiffCSPGenerator:
        """A model with the recorded fit's table of compositions, by which draws are chosen; nothing reads its weights here."""
        examples = [
            {"species": [s.specie.symbol for s in e.structure], "energy_above_hull": e.energy_above_hull}
            for e in li_p_s_examples()
        ]
        return DiffCSPGenerator(None, {"compositions": runner("coevo_compositions").learned(examples)}, SETTINGS)

    def test_a_fit(self, start, tmp_path):
        import torch

        start()
        fitted, report = fit()
        recorded = json.loads((FOLDER / "train.done.json").read_text())
        assert report["history"] == recorded["losses"]
        assert report["loss_before"] == recorded["losses"][0] > report["loss_after"] == min(recorded["losses"])
        assert (report["training"], report["validation"], report["epochs_run"], report["improved"]) == (2, 3, 250, True)
        assert fitted.document["compositions"].keys() == {"Li", "Li2S", "Li3P", "Li3PS4", "LiPS"}
        assert fitted.document["checkouts"] == {"DiffCSP": "no commit"}
        fitted.save(tmp_path / "checkpoint")
        loaded = DiffCSPGenerator.load(tmp_path / "checkpoint", SETTINGS)
        assert json.loads((loaded._model.path / "compositions.json").read_text()) == fitted.document["compositions"]
        assert (loaded._model.path / "weights.pt").read_bytes() == (FOLDER / "train-best.pt").read_bytes()
        state = torch.load(loaded._model.path / "weights.pt", weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
        assert state["decoder.node_embedding.weight"].shape == (100, 12)

    def test_a_sample(self, start, fitted):
        start()
        found = sample(fitted)
        drawn = [json.loads(line) for line in (FOLDER / "sample-draws.jsonl").read_text().splitlines()]
        assert len(found.candidates) + sum(found.rejected.values()) == len(drawn)
        # one of the six that were kept when it was recorded is less than 1 Å thick
        assert len(found.candidates) == 5
        assert found.rejected == {"flat_cell": 2, "overlapping": 1}
        for candidate in found.candidates:
            line = next(line for line in drawn if line["draw"] == candidate.origin["draw"])
            assert candidate.structure.volume == pytest.approx(abs(np.linalg.det(line["lattice"])))
            assert [site.specie.Z for site in candidate.structure] == line["numbers"]
            assert candidate.structure.composition == Composition(candidate.origin["formula"])
            assert candidate.structure.composition.reduced_formula in CONDITIONS.compositions
            assert candidate.origin["composition"] == "asked"

    @pytest.mark.parametrize(
        ("fault", "rejected"),
        [
            ("huge", {"huge_cell": 8}),
            ("overlap", {"flat_cell": 2, "overlapping": 6}),
            ("elements", {"wrong_elements": 8}),
            ("nan", {"not_finite": 8}),
            ("list", {"malformed": 8}),
        ],
    )
    def test_draws_that_are_no_crystals_are_counted(self, start, fitted, fault, rejected):
        start(fault)
        found = sample(fitted)
        assert (found.candidates, found.rejected) == ([], rejected)

    def test_a_draw_counts_once(self, start, fitted):
        start("twice")
        found = sample(fitted)
        assert len(found.candidates) <= 1
        assert found.rejected["malformed"] == 7

    def test_a_killed_process_leaves_what_it_had_drawn(self, start, fitted):
        """Half the file is whole lines and a half one; of the six draws that were asked for the others are counted."""
        start("killed")
        text = (FOLDER / "sample-draws.jsonl").read_text()
        lines = text[: len(text) // 2].count("\n")
        found = sample(fitted)
        assert 0 < len(found.candidates) <= lines < 6
        assert found.rejected["malformed"] == 1
        assert found.rejected.get("crashed_batch", 0) == 6 - lines - 1

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ("nothing", r"sample: the runner failed \(launcher\): DiffCSP ended with exit code 1 and without a result"),
            ("half-result", r"sample: the runner failed \(launcher\): sample\.json\.done is half written"),
        ],
    )
    def test_a_process_that_gives_nothing_is_one_error(self, start, fitted, fault, reason):
        start(fault)
        with pytest.raises(ModelError, match=reason):
            sample(fitted)

    def test_a_process_that_hangs_is_ended(self, start, fitted):
        start("hang", timeout=2)
        with pytest.raises(ModelError, match="ended after its time limit"):
            sample(fitted)

    def test_a_fit_without_weights_is_one_error(self, start):
        start("half-weights")
        with pytest.raises(
            ModelError, match=r"fit: the runner failed \(no_training\): DiffCSP's run\.py left no losses or no weights"
        ):
            fit()

    def test_crystals_of_too_many_atoms_are_left_out_and_counted(self, start):
        """The tables are the recorded ones, without it."""
        start()
        first = li_p_s_examples()[0]
        large = Example("large", first.structure.copy().make_supercell([4, 4, 4], in_place=False), 0.0)
        assert len(large.structure) > 64
        _, report = DiffCSPGenerator.initial(SETTINGS).fit([*li_p_s_examples(), large], 1)
        assert (report["examples"], report["training"], report["validation"]) == (6, 2, 3)
        assert report["left_out"] == {"too_many_atoms": 1}

    def test_what_diffcsp_cannot_read_is_in_no_part(self, runner, monkeypatch, tmp_path):
        module = runner("diffcsp_runner")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "output").mkdir()
        told = {"losses": [3.0, 2.0], "best": 2.0, "unreadable": {"train": 2, "val": 1}}

        def launch(_mode, _request, task, _words):
            Path(task["best"]).write_bytes(b"")
            return told

        monkeypatch.setattr(module, "launch", launch)
        example = {"lattice": (3 * np.eye(3)).tolist(), "species": ["Li"], "positions": [[0, 0, 0]], "energy_above_hull": 0.0}
        examples = [{**example, "id": f"{k}"} for k in range(9)]
        request = {"options": SETTINGS.diffcsp.model_dump(mode="json"), "seed": 0}
        network = runner("diffcsp_network").new_network(request["options"])
        report = module.train(request, examples[:6], examples[6:], network, None)
        assert (report["training"], report["validation"], report["unreadable"]) == (4, 2, 3)
        assert report["improved"]
        told.update(losses=[2.0, 3.0])
        shutil.rmtree(tmp_path / "work")
        assert not module.train(request, examples[:6], examples[6:], network, None)["improved"], "the parent's weights came back"

    def test_too_few_examples_are_a_reason_and_the_model_stays(self, start, tmp_path):
        start("nothing")  # DiffCSP is not run at all
        kept, report = DiffCSPGenerator.initial(SETTINGS).fit(li_p_s_examples()[:1], 1)
        assert (report["fitted"], report["examples"]) == (False, 1)
        assert "needs 2 and 1" in report["reason"]
        assert sorted(path.name for path in kept._model.path.iterdir()) == ["compositions.json", "network.json"]

    def test_what_cannot_be_drawn_is_counted_before_anything_is_run(self, start, fitted):
        start("nothing")
        found = fitted.sample(3, Conditions(LI_P_S, max_atoms=4, compositions=("Li7P3S11",)), 0)
        assert (found.candidates, found.rejected) == ([], {"no_composition": 3})
