"""ADiT without its environment: settings, the runner's own parts, and a replay of what its real classes gave."""

from __future__ import annotations

import json
import math
import sys
import types
from typing import Any, ClassVar

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure
from replayed_adit import NUMBERS, RECORDED, REQUEST, RESULT, make_checkout, make_environment, recorded_generator

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.families import loader_of
from coevo.models.contracts import Conditions
from coevo.models.external import exchange
from coevo.models.external.adit import ADIT, AditGenerator

PARTS = ("vae", "dit", "interpolant")
CONDITIONS = Conditions(
    ("Li", "P", "S"), max_atoms=12, chemical_systems=dict(REQUEST["conditions"]["chemical_systems"]), energy_above_hull=0.0
)


@pytest.fixture(scope="module", autouse=True)
def runner_on_the_path():
    """The runner's modules, imported as they do it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ADIT.runner.parent))
        patch.syspath_prepend(str(ADIT.runner.parents[1]))
        yield


def recorded_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDED / "candidates.jsonl").read_text().splitlines()]


class TestSettings:
    def test_weights_are_new_or_a_folder_with_a_model(self, tmp_path):
        new = AditGenerator.initial(GeneratorConfig())
        new.save(tmp_path / "new")
        assert AditGenerator.load(tmp_path / "new").document == {"weights": "new"}
        for bad in ("newest", "ADiT", "a\nb/"):
            with pytest.raises(ValueError, match=r"generator\.adit|adit\.weights|string_pattern|match pattern"):
                GeneratorConfig(adit={"weights": bad})
        with pytest.raises(ConfigError, match=r"got no folder, allowed: a folder with two files \.ckpt of ADiT.*; or new"):
            AditGenerator.initial(GeneratorConfig(adit={"weights": f"{tmp_path}/none"}))
        (tmp_path / "one.ckpt").write_bytes(b"")
        with pytest.raises(ConfigError, match=r"got 1 files \.ckpt"):
            AditGenerator.initial(GeneratorConfig(adit={"weights": f"{tmp_path}/"}))

    def test_reading_a_checkpoint_runs_no_code_and_another_family_is_refused(self, tmp_path):
        assert not loader_of("adit", "generator").runs_code
        AditGenerator.initial(GeneratorConfig()).save(tmp_path / "it")
        (tmp_path / "other").write_bytes((tmp_path / "it").read_bytes().replace(b'"adit"', b'"adix"'))
        with pytest.raises(CheckpointError, match="is of family 'adix', expected 'adit'"):
            AditGenerator.load(tmp_path / "other")

    def test_the_runner_asks_for_each_option_and_for_no_other(self):
        text = "".join(path.read_text() for path in (ADIT.runner, *ADIT.companions))
        options = AditGenerator.initial(GeneratorConfig()).options()
        assert "weights" not in options, "no path of this machine goes into a request; the checkpoint holds the weights"
        for key in options:
            assert f'["{key}"]' in text, key

    def test_what_the_descriptor_says_is_replaced_is_what_the_runner_replaces(self):
        from adit_stand_ins import STAND_INS

        assert dict(ADIT.checkouts[0].missing) == STAND_INS

    def test_its_licence_has_to_be_agreed_to(self, tmp_path, monkeypatch):
        make_environment(tmp_path / "environments", make_checkout(tmp_path / "checkout"), agreed=False)
        monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
        with pytest.raises(ConfigError, match=r"CC-BY-NC-4\.0, was not agreed to here"):
            AditGenerator.initial(GeneratorConfig()).sample(1, CONDITIONS, 0)


class TestReplay:
    @pytest.fixture
    def place(self, tmp_path, monkeypatch):
        """Where the checkout is that the environment names."""
        make_environment(tmp_path / "environments", tmp_path / "checkout")
        monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
        monkeypatch.setenv("COEVO_SCRATCH", str(tmp_path))
        monkeypatch.setenv("COEVO_DEVICE", "cpu")
        return tmp_path / "checkout"

    def test_the_real_runner_makes_of_the_recorded_arrays_what_it_made_then(self, place, monkeypatch):
        make_checkout(place)
        asked: list[dict[str, Any]] = []
        run_process = exchange.run_process

        def spy(command, directory, *more, **named):
            asked.append({"command": command[1:], "request": json.loads((directory / "request.json").read_text())})
            return run_process(command, directory, *more, **named)

        monkeypatch.setattr(exchange, "run_process", spy)
        sample = recorded_generator().sample(10, CONDITIONS, 7)
        assert asked[0]["command"] == ["adit_runner.py", "request.json"]
        assert asked[0]["request"].pop("checkouts") == {"all-atom-diffusion-transformer": str(place)}
        assert asked[0]["request"] == {key: value for key, value in REQUEST.items() if key != "checkouts"}
        assert json.loads((place / "src" / "models" / "calls.json").read_text()) == RESULT["calls"]
        assert sample.rejected == RESULT["output"]["rejected"] == {"off_system": 2, "overlapping": 1}
        expected = recorded_lines()
        assert len(sample.candidates) == len(expected) == 10
        for candidate, line in zip(sample.candidates, expected, strict=True):
            assert candidate.origin == {**line["origin"], "generator": "adit"}
            assert [site.specie.symbol for site in candidate.structure] == line["species"]
            assert np.allclose(candidate.structure.lattice.matrix, line["lattice"], atol=1e-9)
        systems = {candidate.structure.chemical_system for candidate in sample.candidates}
        assert systems <= {"Li-P-S", "Li-S", "Li-P"}

    def test_what_is_no_crystal_is_counted_and_a_batch_that_fails_costs_itself_only(self, place, tmp_path):
        """The recorded arrays, spoiled crystal by crystal; what takes the place of lost draws fails as a batch."""
        arrays = {k: v for k, v in np.load(RECORDED / "decoded.npz").items() if int(k[0]) < 3}
        assert RESULT["calls"][:4] == [[2, 2, 2.0, 25], [4, 1, 2.0, 25], [8, 4, 2.0, 25], [12, 3, 2.0, 25]]
        arrays["0.lengths"][0] = np.nan
        arrays["0.atom_types"][2] = np.inf
        arrays["2.frac_coords"][:8] = 0.5
        arrays["2.lengths"][1] = -arrays["2.lengths"][1]
        arrays["2.angles"][2] = 0.01
        arrays["2.lengths"][3] *= 1e4
        arrays["3.raises"] = np.zeros(1)
        np.savez(tmp_path / "spoiled.npz", **arrays)
        make_checkout(place, tmp_path / "spoiled.npz")
        sample = recorded_generator().sample(10, CONDITIONS, 7)
        assert sample.rejected == {
            "not_finite": 2,
            "overlapping": 1,
            "no_cell": 1,
            "flat_cell": 1,
            "huge_cell": 1,
            "crashed_batch": 3 + 5,
        }
        assert len(sample.candidates) == 1

    def test_tensors_of_another_network_are_one_error(self, place):
        make_checkout(place)
        generator = recorded_generator()
        (generator._model.path / "vae.pt").write_bytes(b"no tensors" * 200_000)
        with pytest.raises(ModelError, match=r"adit: sample: the runner failed \(no_weights\): model: not the files of a model"):
            generator.sample(1, CONDITIONS, 0)


class TestCrystals:
    """Of the decoder's numbers, by an independent tool."""

    @pytest.fixture(scope="class")
    @classmethod
    def crystals(cls, runner_on_the_path):
        import adit_crystals

        return adit_crystals

    def test_cells_are_those_of_pymatgen(self, crystals):
        import coevo_cells as cells

        rng = np.random.default_rng(0)
        made = 0
        for _ in range(200):
            lengths, angles = rng.uniform(1, 12, 3), rng.uniform(0.2, 3.0, 3)
            cell = crystals.cell_of(lengths, angles)
            a, b, c = np.cos(angles)
            volume = 1 - a * a - b * b - c * c + 2 * a * b * c
            assert (cell is None) == (volume <= 0)
            if cell is not None:
                lattice = Lattice.from_parameters(*lengths, *np.degrees(angles))
                assert np.allclose(cell, lattice.matrix, atol=1e-9)
                volumes = lattice.volume / np.array([np.linalg.norm(np.cross(cell[i - 2], cell[i - 1])) for i in range(3)])
                assert np.allclose(cells.heights(cell), volumes)
                made += 1
        assert made > 50
        assert crystals.cell_of([1, -1, 1], [1.5, 1.5, 1.5]) is None
        assert crystals.cell_of([1, 1, 1], [1.5, 3.2, 1.5]) is None

    def test_shortest_distances_are_those_of_pymatgen(self, crystals):
        import coevo_cells as cells

        rng = np.random.default_rng(1)
        below = 0
        for _ in range(100):
            cell = crystals.cell_of(rng.uniform(1.5, 5, 3), rng.uniform(0.8, 2.2, 3))
            if cell is None or cells.heights(cell).min() < 1:
                continue
            positions = rng.uniform(-1, 2, (4, 3))
            structure = Structure(Lattice(cell), ["Li"] * 4, positions)
            pairs = structure.get_neighbor_list(cells.NEAREST)
            assert (cells.nearest(cell, positions) < cells.NEAREST) == (len(pairs[3]) > 0)
            below += len(pairs[3]) > 0
        assert 5 < below < 90

    def test_only_elements_of_the_system_are_left_by_the_mask(self, crystals):
        logits = np.zeros((2, 100))
        logits[:, 8] = 50.0  # oxygen, by far
        logits[0, 16], logits[1, 3] = 1.0, 1.0
        found = crystals.crystal_of(logits, [[0, 0, 0], [0.5, 0.5, 0.5]], [3.0, 3.0, 3.0], [math.pi / 2] * 3, "Li-S")
        assert found["species"] == ["S", "Li"]
        assert np.allclose(found["lattice"], np.eye(3) * 3 * 2 ** (1 / 3))

    def test_draws_follow_systems_numbers_of_atoms_and_compositions(self, crystals):
        atoms = {1: 1.0, 2: 1.0, 3: 2.0, 8: 4.0, 16: 1.0, 30: 9.0}
        conditions = dict(REQUEST["conditions"], chemical_systems={"Li-S": 3.0, "Li-P-S": 1.0, "Cl-Na": 9.0}, max_atoms=16)
        draws = crystals.draws_wanted(conditions, 2000, 1, 2.0, atoms)
        assert [d["draw"] for d in draws] == list(range(4000))
        assert 2900 < sum(d["system"] == "Li-S" for d in draws) < 3100, "three in four; systems with other elements are left out"
        assert {d["atoms"] for d in draws if d["system"] == "Li-S"} == {2, 3, 8, 16}
        assert {d["atoms"] for d in draws if d["system"] == "Li-P-S"} == {3, 8, 16}
        assert draws[:50] == crystals.draws_wanted(conditions, 25, 1, 2.0, atoms)
        some = dict(conditions, chemical_systems={}, compositions=["Li3PS4", "Li2S"])
        sizes = {(d["system"], d["atoms"]) for d in crystals.draws_wanted(some, 200, 1, 1.0, atoms)}
        assert sizes == {("Li-P-S", 8), ("Li-P-S", 16), ("Li-S", 3)}
        assert crystals.draws_wanted(dict(some, compositions=["Li7P3S11"]), 5, 1, 1.0, atoms) == []
        # 21 atoms are no size of crystals in general: a formula that nothing else is known of is drawn all the same
        one = dict(some, compositions=["Li7P3S11"], max_atoms=44)
        assert {d["atoms"] for d in crystals.draws_wanted(one, 50, 1, 1.0, atoms)} == {21, 42}
        both = crystals.draws_wanted(dict(one, compositions=["Li7P3S11", "Li3PS4"]), 2000, 1, 1.0, atoms)
        assert {d["atoms"] for d in both} == {8, 16, 21, 42}
        assert 900 < sum(d["atoms"] in {21, 42} for d in both) < 1100, "as often as the formula whose sizes are known"
        assert crystals.draws_wanted(dict(conditions, elements=["Xx"], chemical_systems={}), 5, 1, 1.0, atoms) == []

    def test_batches_are_of_one_number_of_atoms(self, crystals):
        draws = [{"draw": i, "atoms": n} for i, n in enumerate([3, 8, 3, 3, 8])]
        found = crystals.equal_batches(draws, 2)
        assert [[d["draw"] for d in batch] for batch in found] == [[0, 2], [3], [1, 4]]

    def test_other_compositions_are_dropped_by_name(self, crystals):
        conditions = dict(REQUEST["conditions"], compositions=["Li2S"], chemical_systems={})
        logits = np.zeros((3, 100))
        logits[[0, 1, 2], [3, 3, 16]] = 1.0
        batch = [{"draw": 0, "system": "Li-S", "atoms": 3}]
        corners = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
        out = {"atom_types": logits, "frac_coords": corners, "lengths": [[3.0] * 3], "angles": [[math.pi / 2] * 3]}
        assert Composition("".join(crystals.candidates_of(out, batch, conditions)[0]["species"])).reduced_formula == "Li2S"
        logits[1, 16] = 2.0
        assert crystals.candidates_of(out, batch, conditions) == ["off_composition"]
        logits[:, 3] = 9.0
        assert crystals.candidates_of(out, batch, conditions) == ["off_system"]


class TestExamples:
    """What the networks are given of an example, against pymatgen; only PyTorch Geometric's container is replaced."""

    CELLS: ClassVar = {
        "skewed": [[3.1, 0.2, -0.4], [7.9, 5.0, 0.3], [-1.2, 9.7, 6.1]],
        "left-handed": [[0.0, 5.0, 0.4], [4.0, 0.0, 0.0], [0.3, 0.1, 6.0]],
        "rotated": [[0.0, 0.0, 4.0], [5.0, 0.0, 0.0], [0.5, 6.0, 0.0]],
    }

    @pytest.fixture
    def data_of(self, runner_on_the_path, monkeypatch):
        import adit_training

        module = types.ModuleType("torch_geometric.data")
        module.Data = lambda **fields: types.SimpleNamespace(**fields)
        monkeypatch.setitem(sys.modules, "torch_geometric", types.ModuleType("torch_geometric"))
        monkeypatch.setitem(sys.modules, "torch_geometric.data", module)
        return adit_training.crystal_data

    @pytest.mark.parametrize("name", CELLS)
    def test_it_is_the_same_crystal(self, data_of, name):
        lattice = np.array(self.CELLS[name])
        assert (np.linalg.det(lattice) < 0) == (name == "left-handed")
        positions = np.array([[0.1, 0.2, 0.3], [0.65, 0.4, 0.9], [-0.3, 1.7, 0.5], [0.45, 0.05, 0.6]])
        species = ["Li", "P", "S", "S"]
        given = Structure(Lattice(lattice), species, positions)
        data = data_of({"lattice": lattice.tolist(), "species": species, "positions": positions.tolist()})
        made = Structure(Lattice(data.cell[0].numpy()), species, data.frac_coords.numpy())
        assert made.volume == pytest.approx(given.volume, rel=1e-5)
        assert np.allclose(made.distance_matrix, given.distance_matrix, atol=1e-4)
        shells = [sorted(n.nn_distance for n in s.get_neighbors(s[1], 6.0)) for s in (made, given)]
        assert len(shells[0]) > 8
        assert np.allclose(*shells, atol=1e-4)
        assert data.atom_types.tolist() == [site.specie.Z for site in given]
        assert np.allclose(data.pos.numpy(), made.cart_coords, atol=1e-5)
        assert (data.frac_coords.min() >= 0, data.frac_coords.max() < 1) == (True, True)
        # Niggli-reduced, in the orientation that follows from lengths and angles, which the decoder's cells have too
        reduced = given.lattice.get_niggli_reduced_lattice()
        assert np.allclose(np.sort(data.lengths[0].numpy()), np.sort(reduced.lengths), atol=1e-4)
        assert np.allclose(data.cell[0].numpy(), Lattice.from_parameters(*data.lattices[0].tolist()).matrix, atol=1e-4)
        assert np.allclose(data.lengths_scaled.numpy() * 4 ** (1 / 3), data.lengths.numpy(), rtol=1e-6)
        scaled = [*data.lengths_scaled[0].tolist(), *np.radians(data.angles[0].numpy())]
        assert np.allclose(data.lattices_scaled[0], scaled, rtol=1e-5)


class TestModelFiles:
    def test_sizes_of_somebody_else_are_bounded_before_anything_is_built(self, runner_on_the_path):
        import adit_model
        from coevo_runner import TaskError

        sizes = {part: found for part, found in json.loads((RECORDED / "adit.json").read_text()).items() if part in PARTS}
        assert adit_model.checked_sizes(sizes) == sizes
        options = GeneratorConfig().adit.model_dump()
        assert adit_model.checked_sizes(adit_model.new_sizes(options))["dit"]["nhead"] == 6, "as DiT-S"
        assert adit_model.checked_sizes(adit_model.new_sizes(options))["vae"]["dim_feedforward"] == 2048
        for part, name, value in (
            ("vae", "d_model", 10**9),
            ("vae", "num_layers", True),
            ("dit", "num_layers", 10_000),
            ("dit", "nhead", 7),
            ("dit", "mlp", "4"),
            ("interpolant", "num_timesteps", 0),
            ("vae", "more", 1),
        ):
            with pytest.raises(TaskError, match=rf"adit\.json: {part}"):
                adit_model.checked_sizes({**sizes, part: {**sizes[part], name: value}})
        for other in (None, [], {}, {"vae": 1}):
            with pytest.raises(TaskError, match=r"adit\.json: vae"):
                adit_model.checked_sizes(other)

    def test_a_network_is_no_larger_than_the_file_of_its_tensors(self, runner_on_the_path, tmp_path):
        import torch
        from adit_model import load_model, parameters
        from coevo_runner import TaskError

        told = json.loads((RECORDED / "adit.json").read_text())
        for name, count in parameters(told).items():
            assert 0.95 < count / NUMBERS[name[:3]] <= 1, "matrices are nearly all of a network"
            (tmp_path / name).write_bytes(bytes(4 * count))
        large = {**told["vae"], "d_model": 4096, "dim_feedforward": 16384, "num_layers": 64, "nhead": 64}
        for change, refused in (
            ({"vae": large}, r"vae\.pt has 876544 bytes, the network that adit\.json describes 10321"),
            ({"dit": {**told["dit"], "d_model": 4096, "num_layers": 64}}, r"dit\.pt has 1064960 bytes, the network"),
        ):
            (tmp_path / "adit.json").write_text(json.dumps({**told, **change}))
            with pytest.raises(TaskError, match=refused):
                load_model(tmp_path, torch.device("cpu"))

    def test_numbers_of_atoms_of_a_checkpoint_are_numbers(self, runner_on_the_path):
        import adit_model
        from coevo_runner import TaskError

        assert adit_model.number_of_atoms({"document": {"atoms": {"12": 0.25, "3": 0.75}}}, "") == {3: 0.75, 12: 0.25}
        for told in ({}, [], {"a": 1}, {"3": -1}, {"3": 0}, {"3": float("inf")}, {"100000": 1}, "12"):
            with pytest.raises(TaskError, match="numbers of atoms"):
                adit_model.number_of_atoms({"document": {"atoms": told}}, "")

    def test_numbers_of_atoms_are_those_of_the_examples_and_of_crystals_in_general(self, runner_on_the_path):
        from adit_training import numbers_of_atoms

        assert numbers_of_atoms([3, 3, 16, 12], {2: 0.5, 12: 0.5}) == {"2": 0.25, "3": 0.25, "12": 0.375, "16": 0.125}

    def test_an_element_is_known_only_if_the_autoencoder_got_better(self, runner_on_the_path, tmp_path, monkeypatch):
        import adit_training

        cell = {"lattice": (4 * np.eye(3)).tolist(), "positions": [[0, 0, 0]], "energy_above_hull": 0.0}
        examples = [{"id": f"{k}", "species": ["Na" if k % 2 else "S"], **cell} for k in range(12)]
        (tmp_path / "examples.jsonl").write_text("".join(json.dumps(e) + "\n" for e in examples))
        monkeypatch.chdir(tmp_path)
        told = {"improved": False}

        class Model:
            def save(self, directory, document):
                pass

        for name, value in {
            "checkout_of": "",
            "open_model": Model(),
            "crystal_data": None,
            "fit_autoencoder": told,
            "fit_diffusion": {"improved": True},
            "atoms_of_mp20": {1: 1.0},
        }.items():
            monkeypatch.setattr(adit_training, name, lambda *_told, _value=value: _value)
        request = dict(REQUEST, examples="examples.jsonl", document={"elements": ["Li", "S"]})
        found = adit_training.fit(request)
        assert found["report"]["autoencoder"] == {"fitted": True, "new_elements": ["Na"], "improved": False}
        assert found["document"]["elements"] == ["Li", "S"], "the next fit tries again"
        told["improved"] = True
        assert adit_training.fit(request)["document"]["elements"] == ["Li", "Na", "S"]

    def test_validation_examples_stay_so_and_none_was_learned_from(self, runner_on_the_path):
        from adit_training import split

        examples = [{"id": f"crystal-{i}"} for i in range(400)]
        training, validation = split(examples, 0.1)
        assert 20 < len(validation) < 60
        assert len(training) + len(validation) == 400
        for first in range(0, 390, 7):
            learned, kept = split(examples[first : first + 6], 0.1)
            assert kept, "also where no id falls below the share"
            more_learned, more_kept = split(examples[max(0, first - 30) : first + 40], 0.1)
            assert not {e["id"] for e in learned} & {e["id"] for e in more_kept}
            assert more_learned
        assert split(examples[:2], 0.1) == (examples[:2], [])


def test_out_of_memory_halves_the_batch_and_loses_no_draw(runner_on_the_path, tmp_path, monkeypatch):
    import adit_runner
    from coevo_runner import TaskError

    (tmp_path / "output").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adit_runner, "checkout_of", lambda _request: "")
    monkeypatch.setattr(adit_runner, "open_model", lambda _request, _device: None)
    most, tried = 2, []

    def draw(_model, batch, _request):
        tried.append(len(batch))
        if len(batch) > most:
            raise MemoryError
        return [{"origin": {"draw": one["draw"]}} for one in batch]

    monkeypatch.setattr(adit_runner, "draw_batch", draw)
    request = dict(REQUEST, n=20, document={"atoms": {"3": 0.5, "8": 0.5}})
    found = adit_runner.sample(request)
    lines = [json.loads(line)["origin"]["draw"] for line in (tmp_path / "output" / "candidates.jsonl").read_text().splitlines()]
    assert lines == list(range(20)), "in the order of the draws"
    assert found["rejected"] == {}
    assert found["report"]["drawn"] == 20
    failed = [size for size in tried if size > 2]
    assert 1 <= len(failed) <= 3, "what memory did not suffice for is not tried again"
    assert failed == sorted(failed, reverse=True)
    most = 0
    with pytest.raises(TaskError, match="out of memory at a batch size of 1"):
        adit_runner.sample(request)
