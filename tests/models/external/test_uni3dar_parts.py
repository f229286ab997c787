"""Parts of Uni-3DAR's runner that need neither its environment nor a checkout: attention, crystals, examples, walls."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write
from pymatgen.core import Lattice

from coevo.models.external.families import HERE

LI_P_S = {
    "elements": ["Li", "P", "S"],
    "max_atoms": 8,
    "chemical_systems": {},
    "compositions": [],
    "energy_above_hull": 0.0,
}


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch):
    """As in the directory of a run, where all modules of the runner lie."""
    monkeypatch.syspath_prepend(str(HERE / "runners"))
    monkeypatch.syspath_prepend(str(HERE / "runners" / "uni3dar"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def module(name: str) -> types.ModuleType:
    return importlib.import_module(f"uni3dar_{name}")


def plain_attention(q, k, v, *, causal: bool):
    """Softmax of scaled products, one query of one head after the other; the last query sees the last key."""
    out = torch.zeros(q.shape)
    for head in range(q.shape[1]):
        for i in range(len(q)):
            seen = len(k) - len(q) + i + 1 if causal else len(k)
            scores = k[:seen, head] @ q[i, head] / q.shape[-1] ** 0.5
            out[i, head] = torch.softmax(scores, dim=0) @ v[:seen, head]
    return out


class TestAttention:
    @pytest.mark.parametrize("causal", [True, False])
    def test_sequences_one_behind_the_other_are_those_of_a_plain_attention(self, causal):
        torch.manual_seed(0)
        lengths = [3, 1, 5]
        q, k, v = torch.randn(3, sum(lengths), 2, 4)
        borders = torch.tensor([0, 3, 4, 9], dtype=torch.int32)
        # as Uni-3DAR's attention.py calls it
        found = module("attention").flash_attn_varlen_func(
            q, k, v, borders, borders, 5, 5, 0.0, deterministic=False, causal=causal
        )
        wanted = [
            plain_attention(a, b, c, causal=causal)
            for a, b, c in zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
        ]
        torch.testing.assert_close(found, torch.cat(wanted))

    @pytest.mark.parametrize("queries", [6, 2])
    @pytest.mark.parametrize("causal", [True, False])
    def test_a_batch_with_more_keys_than_queries(self, queries, causal):
        torch.manual_seed(1)
        q, k, v = torch.randn(2, queries, 2, 4), torch.randn(2, 6, 2, 4), torch.randn(2, 6, 2, 4)
        found = module("attention").flash_attn_func(q, k, v, dropout_p=0.0, deterministic=False, causal=causal)
        wanted = [plain_attention(q[i], k[i], v[i], causal=causal) for i in range(2)]
        torch.testing.assert_close(found, torch.stack(wanted))

    def test_it_is_found_where_there_is_no_other(self, monkeypatch):
        for name in ("flash_attn", "flash_attn.flash_attn_interface"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        assert module("attention").install()
        found = importlib.import_module("flash_attn.flash_attn_interface")
        assert found.flash_attn_func is module("attention").flash_attn_func
        assert not module("attention").install(), "once is enough: now there is one"
        for name in ("flash_attn", "flash_attn.flash_attn_interface"):
            monkeypatch.delitem(sys.modules, name)


def cif_of(*crystals: Atoms) -> str:
    """As inference.py writes them."""
    text = ""
    for atoms in crystals:
        buffer = io.BytesIO()
        write(buffer, atoms, format="cif")
        text += buffer.getvalue().decode() + "\n"
    return text


LI2S = Atoms(
    "Li2S", scaled_positions=[[0.25] * 3, [0.75] * 3, [0, 0, 0]], cell=[[0, 2.86, 2.9], [2.8, 0.1, 2.86], [2.86, 2.86, 0]]
)


class TestCrystals:
    def test_a_file_of_ase_is_read_as_it_was_written(self):
        species, lattice, positions = module("crystals").read_cif(cif_of(LI2S, LI2S))[1]
        assert species == ["Li", "Li", "S"]
        assert np.allclose(lattice @ lattice.T, np.array(LI2S.cell) @ np.array(LI2S.cell).T, atol=1e-4)
        assert np.allclose(positions, LI2S.get_scaled_positions(), atol=1e-4)

    def test_cells_are_those_of_pymatgen_up_to_a_turn(self):
        numbers = (3.0, 4.5, 6.1, 71.0, 95.0, 118.0)
        lattice = Lattice(module("crystals").lattice_of(*numbers))
        assert np.allclose(lattice.parameters, numbers)

    def test_every_place_where_a_file_may_be_cut_is_noticed(self):
        whole = cif_of(LI2S, LI2S)
        read_cif = module("crystals").read_cif
        first = len(cif_of(LI2S))
        assert [crystal is None for crystal in read_cif(whole)] == [False, False]
        for end in range(first + 6, len(whole)):
            found = read_cif(whole[:end])
            assert found[0] is not None
            # a number may have lost digits, a block some of its atoms
            assert found[1] is None, whole[:end][-40:]

    @pytest.mark.parametrize("bad", ["", "data_x\n\n", "no crystal at all", "data_image0\n_cell_length_a nan?\n\n"])
    def test_what_is_no_crystal_is_none(self, bad):
        assert [crystal for crystal in module("crystals").read_cif(bad) if crystal is not None] == []

    @pytest.mark.parametrize(
        ("symbols", "change", "conditions", "fault"),
        [
            (["Li", "P", "S"], 0.0, {}, ""),
            (["Li", "Li", "S"], 0.0, {}, "off_system"),
            (["Li", "Li", "S"], 0.0, {"chemical_systems": {"Li-S": 1.0}}, ""),
            (["Li", "Li", "S"], 0.0, {"chemical_systems": {"Li-S": 0.0, "Li-P-S": 1.0}}, "off_system"),
            (["Li", "P", "S"], np.nan, {}, "not_finite"),
            (["Li", "P", "S"], -4.0, {}, "flat_cell"),
            (["Li", "P", "S"], 0.0, {"max_atoms": 2}, "too_many_atoms"),
            (["Li", "P", "S"], 0.0, {"compositions": ["Li3PS4"]}, "off_composition"),
            (["Li", "P", "S"], 0.0, {"compositions": ["Li2P2S2", "Li3PS4"]}, ""),
        ],
    )
    def test_faults(self, symbols, change, conditions, fault):
        lattice = np.diag([4.0, 4.0, 4.0 + change])
        found = module("crystals").fault_of(symbols, lattice, np.zeros((3, 3)), {**LI_P_S, **conditions})
        assert found == fault

    @pytest.mark.parametrize(
        ("conditions", "systems"),
        [
            ({}, {"Li-P-S": 1.0}),
            ({"chemical_systems": {"S-Li": 0.5, "P": 1.5, "Na": 1.0, "S": 0.0}}, {"Li-S": 0.5, "P": 1.5}),
            ({"compositions": ["Li3PS4", "Li2S", "Li7P3S11"]}, {"Li-P-S": 1.0, "Li-S": 1.0}),
            ({"compositions": ["Li7P3S11"]}, {}),
            ({"compositions": ["Li2S"], "chemical_systems": {"Li-P-S": 1.0}}, {}),
            ({"max_atoms": 2}, {}),
        ],
    )
    def test_systems(self, conditions, systems):
        assert module("crystals").systems_of({**LI_P_S, **conditions}) == systems

    def test_shares_are_by_weight_and_all_there(self):
        found = module("sampling").shares({"Li-P-S": 3.0, "Li-S": 1.0}, 4000, 7)
        assert sum(found.values()) == 4000
        assert abs(found["Li-S"] - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5, "five deviations of a binomial"
        assert module("sampling").shares({"P": 1.0}, 3, 0) == {"P": 3}


EXAMPLE = {"id": "x", "species": ["Li", "S"], "positions": [[0, 0, 0], [0.5, 0.5, 0.5]], "lattice": np.eye(3).tolist()}


class TestExamples:
    def test_a_value_is_what_the_trainer_unpacks(self):
        """Its LMDBDataset: gzip.decompress, then pickle.loads; then keys of its crystals."""
        found = pickle.loads(gzip.decompress(module("data").encoded(EXAMPLE)))
        assert found["atom_type"] == ["Li", "S"], "a list: the trainer adds it to a list of corners"
        assert found["atom_pos"].shape == (2, 3), "an array: of a list the trainer would draw one conformation"
        assert np.array_equal(found["lattice_matrix"], np.eye(3))
        assert module("data").encoded(EXAMPLE) == module("data").encoded(EXAMPLE), "without the time of day"

    @pytest.mark.parametrize(
        ("edges", "second", "fault"),
        [
            ((4, 4, 4), (0.5, 0.5, 0.5), ""),
            ((4, 4, 40), (0.5, 0.5, 0.5), ""),
            # the diagonal: 2^8 cells of 0.24 Å are 61.44 Å, of which 2 Å are left free
            ((34, 34, 34), (0.5, 0.5, 0.5), ""),
            ((35, 35, 35), (0.5, 0.5, 0.5), "large_cell"),
            ((4, 4, 60), (0.5, 0.5, 0.5), "large_cell"),
            ((4, 4, 4), (0.1, 0.0, 0.0), "overlapping_atoms"),
            ((4, 4, 4), (1.1, 0.0, 0.0), "overlapping_atoms"),
        ],
    )
    def test_what_the_trainer_cannot_place_is_left_out(self, edges, second, fault):
        example = {**EXAMPLE, "lattice": np.diag(edges).tolist(), "positions": [[0, 0, 0], list(second)]}
        assert module("data").fault_of_example(example, module("model").PUBLISHED) == fault

    def test_many_atoms_are_left_out(self):
        example = {**EXAMPLE, "species": ["Li"] * 129}
        assert module("data").fault_of_example(example, module("model").PUBLISHED) == "too_many_atoms"


def test_a_fit_has_an_example_for_validation_even_of_few(tmp_path, monkeypatch):
    """By their ids alone these 14 would all be for training at a tenth, as those of a quarter of all such sets are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output").mkdir()
    numbers = {f"reference-{k}": int(hashlib.sha256(f"reference-{k}".encode()).hexdigest()[:8], 16) / 2**32 for k in range(40)}
    chosen = [name for name, number in numbers.items() if number >= 0.1][:14]
    examples = [{**EXAMPLE, "id": name, "lattice": np.diag([4.0] * 3).tolist(), "energy_above_hull": 0.0} for name in chosen]
    (tmp_path / "examples.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
    training, given = module("training"), {}

    def train(_request, _architecture, _checkpoint, learned, validated, *, gpu):
        given.update(training=learned, validation=validated)
        return None, {"loss_before": 1.0, "loss_after": 1.0}

    monkeypatch.setattr(training, "opened", lambda _request: (module("model").PUBLISHED, "parent.pt"))
    monkeypatch.setattr(training, "state_of", lambda _checkpoint: {"a": torch.zeros(1)})
    monkeypatch.setattr(training, "train", train)
    options = {"fit_max_e_hull": 0.1, "validation_fraction": 0.1}
    report = training.fit({"options": options, "document": {}, "examples": "examples.jsonl", "device": "cpu"})["report"]
    assert (report["fitted"], report["training"], report["validation"]) == (True, 13, 1)
    assert [e["id"] for e in given["validation"]] == [min(chosen, key=numbers.get)]


class TestArguments:
    def test_the_network_is_repeated_as_the_published_scripts_have_it(self):
        """scripts/inference_mp20.sh of Uni-3DAR."""
        words = module("arguments").network(module("model").PUBLISHED)
        told = dict(zip(words[::2], words[1::2], strict=True))
        assert {k: told[k] for k in ("--emb-dim", "--num-head", "--layer", "--merge-level", "--recycle", "--max-num-atom")} == {
            "--emb-dim": "768",
            "--num-head": "12",
            "--layer": "12",
            "--merge-level": "8",
            "--recycle": "2",
            "--max-num-atom": "128",
        }
        assert (told["--grid-len"], told["--xyz-resolution"]) == ("0.24", "0.01")

    def test_bf16_on_a_gpu_only(self):
        told = {"data": "d", "checkpoint": "c", "save_dir": "s", "temporary": "t", "epochs": 1, "patience": 1, "batch_size": 2}
        told |= {"learning_rate": 1e-3, "ema_decay": 0.9, "augmentation": 0.5, "seed": 3}
        for gpu, wanted, other in ((True, "--bf16", "--cpu"), (False, "--cpu", "--bf16")):
            words = module("arguments").training("/checkout", module("model").PUBLISHED, told, gpu=gpu)
            assert wanted in words
            assert other not in words

    def test_averages_are_shorter_than_a_fit(self):
        decay = module("arguments").decay
        assert decay(0.999, 100_000) == 0.999
        assert decay(0.999, 100) == pytest.approx(0.9)
        assert decay(0.999, 3) == 1e-3

    @pytest.mark.parametrize(
        "change",
        [
            *({"layer": 0}, {"layer": True}, {"layer": 10**400}, {"emb_dim": 770}, {"more": 1}),
            *({"grid_len": float("nan")}, {"xyz_resolution": 1e-320}, {"xyz_resolution": 1.0}),
        ],
    )
    def test_an_architecture_is_numbers_within_limits(self, change):
        with pytest.raises(importlib.import_module("coevo_runner").TaskError, match=r"architecture\.json"):
            module("model").checked({**module("model").PUBLISHED, **change})


class TestModels:
    @staticmethod
    def written(directory, state, **changes) -> dict:
        """A model of a network of 0.04 million parameters."""
        model = module("model")
        architecture = {**model.PUBLISHED, "emb_dim": 8, "num_head": 1, "layer": 1, "max_num_atom": 1, **changes}
        model.write_model(directory, architecture, state)
        return architecture

    def test_a_model_that_was_written_is_read(self, tmp_path):
        state = {"a": torch.arange(43_000.0)}
        architecture = self.written(tmp_path, state)
        found, weights = module("model").read_model(tmp_path)
        assert found == architecture
        assert torch.equal(weights["a"], state["a"])

    def test_parameters_are_those_of_a_network_that_was_built(self):
        """The recorded one, of Uni-3DAR's own classes."""
        recorded = Path(__file__).parent / "data" / "uni3dar"
        state = torch.load(io.BytesIO(gzip.decompress((recorded / "untrained.pt.gz").read_bytes())), weights_only=True)
        found = module("model").parameters(json.loads((recorded / "architecture.json").read_text()))
        assert found == sum(tensor.numel() for tensor in state.values())
        # as Uni-3DAR's own classes built it
        assert module("model").parameters(module("model").PUBLISHED) == 96_375_552

    @pytest.mark.parametrize(
        "changes", [{"layer": 256}, {"max_num_atom": 1024}, {"emb_dim": 8192, "num_head": 256}, {"xyz_resolution": 0.0003}]
    )
    def test_a_network_larger_than_its_weights_is_not_built(self, tmp_path, changes):
        self.written(tmp_path, {"a": torch.arange(43_000.0)}, **changes)
        with pytest.raises(importlib.import_module("coevo_runner").TaskError, match=r"weights\.pt has \d+ bytes, the network"):
            module("model").read_model(tmp_path)

    def test_one_number_repeated_without_end_is_not_copied(self, tmp_path):
        self.written(tmp_path, {"a": torch.arange(43_000.0), "b": torch.zeros(1).expand(10**12)})
        with pytest.raises(importlib.import_module("coevo_runner").TaskError, match=r"its tensors 4000000172000"):
            module("model").read_model(tmp_path)

    @pytest.mark.parametrize("text", ["[" * 10**6, " " * 10**6 + "{}", '{"emb_dim": ' + "9" * 4000 + "}"])
    def test_no_more_than_numbers_are_read_of_an_architecture(self, tmp_path, text):
        self.written(tmp_path, {"a": torch.arange(43_000.0)})
        (tmp_path / "architecture.json").write_text(text)
        with pytest.raises(importlib.import_module("coevo_runner").TaskError, match=r"architecture\.json"):
            module("model").read_model(tmp_path)

    @pytest.mark.parametrize(
        "content", [b"no weights", b"", pickle.dumps({"a": 1}, protocol=2), pickle.dumps(Path("/"), protocol=2)]
    )
    def test_no_pickle_is_read_as_weights(self, tmp_path, content):
        model = module("model")
        model.write_model(tmp_path, model.PUBLISHED, {"a": torch.arange(3.0)})
        (tmp_path / "weights.pt").write_bytes(content)
        with pytest.raises(importlib.import_module("coevo_runner").TaskError, match=r"weights\.pt"):
            model.read_model(tmp_path)

    def test_weights_that_are_not_finite_are_refused(self):
        with pytest.raises(importlib.import_module("coevo_runner").TaskError, match="not finite"):
            module("model").plain_state({"a": torch.tensor([float("nan")])})

    def test_a_published_file_is_read_with_its_own_network(self, tmp_path):
        """What the trainer of Uni-Core writes: the arguments of its command line, the weights, and their average."""
        from argparse import Namespace

        args = Namespace(emb_dim=64, num_head=4, layer=3, data_type="crystal", crystal_pxrd=0, crystal_component=0, recycle=1)
        state = {"args": args, "model": {"a": torch.zeros(2)}, "ema": {"params": {"a": torch.ones(2)}, "decay": 0.999}}
        torch.save(state, tmp_path / "mp20.pt")
        architecture, weights = module("model").read_own(tmp_path / "mp20.pt")
        assert (architecture["emb_dim"], architecture["layer"], architecture["recycle"]) == (64, 3, 1)
        assert architecture["merge_level"] == 8, "what it does not say is as published"
        assert weights["a"].tolist() == [1.0, 1.0], "the average is what inference.py reads"

    @pytest.mark.parametrize(
        ("args", "match"),
        [
            ({"data_type": "molecule"}, "a model of molecules"),
            ({"crystal_component": 1}, "mp20_csp"),
            ({"crystal_pxrd": 4}, "mp20_csp"),
        ],
    )
    def test_published_files_of_other_models_are_refused(self, tmp_path, args, match):
        from argparse import Namespace

        torch.save({"args": Namespace(**args), "ema": {"params": {"a": torch.ones(2)}}}, tmp_path / "it.pt")
        with pytest.raises(importlib.import_module("coevo_runner").TaskError, match=match):
            module("model").read_own(tmp_path / "it.pt")


def fake_sampler() -> types.ModuleType:
    """A sampler with the methods that are watched: sequence k gets ``growth[k % 2]`` nodes more in each of ``steps[k % len]``.

    Those of the rows ``no_crystal`` are none; the scores of others fall with their rows.
    """

    class Uni3DARSampler:
        growth = (2, 2)
        steps = (3, 10**9)
        no_crystal = frozenset()
        error: Exception | None = None

        def __init__(self):
            self.args = types.SimpleNamespace(batch_size=2, rank_ratio=0.5)
            self.made = 0

        def tree_expand(self, raw_feat, _cur_type, _pred_type, _next_feat, count_vars):
            new = []
            for feat, row in zip(raw_feat, count_vars["acc_tokens"].tolist(), strict=True):
                more = self.growth[row % 2] if self.made < self.steps[row % len(self.steps)] else 0
                new.append(torch.cat([feat, torch.zeros(more, 8)]))
            return new, count_vars

        def pop_and_delete(self, raw_feat, decoder_feat, _phy_pos, _cond, count_vars, _cache, scores, finished):
            keep = torch.tensor([len(feat) > 0 for feat in raw_feat])
            finished += [[decoder_feat[i]] for i in range(len(raw_feat)) if not keep[i]]
            for key in count_vars:
                count_vars[key] = count_vars[key][keep]
            return [feat[1:] for feat in raw_feat if len(feat)], decoder_feat[keep], count_vars, scores, finished

        def generate(self):
            if self.error is not None:
                raise self.error
            n = self.args.batch_size
            raw_feat, decoder_feat = [torch.zeros(1, 8)] * n, torch.arange(n)
            count_vars = {"acc_tokens": torch.arange(n)}
            finished: list = []
            self.made = 0
            while raw_feat:
                self.made += 1
                raw_feat, count_vars = self.tree_expand(raw_feat, None, None, None, count_vars)
                raw_feat, decoder_feat, count_vars, _, finished = self.pop_and_delete(
                    raw_feat, decoder_feat, None, None, count_vars, None, None, finished
                )
            return sampler.results_from_predictions("crystal", 0, finished, self.args.rank_ratio)[:2]

    sampler = types.ModuleType("sampler")
    sampler.Uni3DARSampler = Uni3DARSampler

    def results_from_predictions(_type, _level, finished, _ratio):
        """The likeliest first, as the sampler's own."""
        rows = sorted((int(row) for (row,) in finished if int(row) not in Uni3DARSampler.no_crystal), reverse=True)
        return [atoms_of(row) for row in rows], [-float(row) for row in rows], [1] * len(rows)

    sampler.results_from_predictions = results_from_predictions
    return sampler


def atoms_of(row: int) -> Atoms:
    """A crystal that tells from which row it is."""
    atoms = LI2S.copy()
    atoms.set_cell(atoms.cell * (1 + row / 100), scale_atoms=True)
    return atoms


class TestWalls:
    def settings(self, tmp_path, **changes):
        conditions = {**LI_P_S, "chemical_systems": {"Li-S": 1.0}}
        settings = {"nodes": 15, "seconds": 60.0, "batches": 3, "wanted": 100, "seed": 1, "conditions": conditions}
        settings |= {"size": 2, "draws": 100, "ratio": 0.5}
        return {**settings, "record": str(tmp_path / "record.jsonl"), **changes}

    def records(self, tmp_path):
        return [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]

    def test_a_sequence_without_end_is_cut_and_is_no_crystal(self, tmp_path):
        sampler = fake_sampler()
        module("watch").Watched(self.settings(tmp_path), sampler).install()
        model = sampler.Uni3DARSampler()
        found, _ = model.generate()
        assert self.records(tmp_path) == [{"batch": 0, "drawn": 2, "crystals": 1, "written": 1, "too_long": 1}]
        assert len(found) == 1, "half of one crystal: the likeliest one is kept"

    @pytest.mark.parametrize(
        ("crystals", "ratio", "kept"), [(0, 0.3, 0), (1, 0.01, 1), (3, 0.32, 1), (4, 0.32, 2), (100, 0.32, 32), (7, 1.0, 7)]
    )
    def test_a_share_of_some_crystals_is_one_at_least(self, crystals, ratio, kept):
        assert module("watch").kept_by_rank(crystals, ratio) == kept

    def test_crystals_stay_in_the_order_of_their_draws_whatever_their_length_and_score(self, tmp_path):
        sampler = fake_sampler()
        sampler.Uni3DARSampler.steps = (5, 4, 2, 3)
        module("watch").Watched(self.settings(tmp_path, size=8, ratio=1.0), sampler).install()
        model = sampler.Uni3DARSampler()
        for ratio, rows in ((1.0, range(8)), (0.5, range(4, 8))):
            model.args.rank_ratio = ratio
            found, scores = model.generate()
            assert scores == [-float(row) for row in rows], "the likeliest half are the last rows"
            assert np.allclose([atoms.cell[0, 1] for atoms in found], [2.86 * (1 + row / 100) for row in rows])

    def test_a_batch_is_as_large_as_what_is_missing_needs(self, tmp_path):
        for ratio, first in ((1.0, 6), (0.32, 19)):
            sampler = fake_sampler()
            sampler.Uni3DARSampler.steps = (3,)
            (tmp_path / "record.jsonl").unlink(missing_ok=True)
            watched = module("watch").Watched(self.settings(tmp_path, wanted=6, size=64, ratio=ratio), sampler)
            watched.install()
            model = sampler.Uni3DARSampler()
            model.args.rank_ratio = ratio
            model.generate()
            assert self.records(tmp_path)[0]["drawn"] == first
            with pytest.raises(SystemExit):
                model.generate()

    def test_batches_grow_where_few_draws_are_good(self, tmp_path):
        """One of each batch is: 6, then 5/(2/7), 4/(3/25), and what is left of 100 draws."""
        sampler = fake_sampler()
        sampler.Uni3DARSampler.steps = (3,)
        sampler.Uni3DARSampler.no_crystal = frozenset(range(1, 64))
        settings = self.settings(tmp_path, wanted=6, size=64, ratio=1.0, batches=9)
        module("watch").Watched(settings, sampler).install()
        model = sampler.Uni3DARSampler()
        for _ in range(4):
            model.generate()
        with pytest.raises(SystemExit):
            model.generate()
        assert [record["drawn"] for record in self.records(tmp_path)] == [6, 18, 34, 42]

    def test_a_batch_without_end_is_lost_by_its_wall_and_the_next_one_drawn(self, tmp_path):
        sampler = fake_sampler()
        seconds = iter(range(1000))
        module("watch").Watched(self.settings(tmp_path, nodes=10**9, seconds=30), sampler, lambda: next(seconds)).install()
        model = sampler.Uni3DARSampler()
        assert model.generate() == ([], [])
        sampler.Uni3DARSampler.steps = (3, 3)
        model.generate()
        assert [record.get("lost") for record in self.records(tmp_path)] == ["time_limit", None]

    def test_a_crash_costs_its_batch_and_memory_ends_the_program(self, tmp_path):
        sampler = fake_sampler()
        module("watch").Watched(self.settings(tmp_path), sampler).install()
        model = sampler.Uni3DARSampler()
        sampler.Uni3DARSampler.error = RuntimeError("probability tensor contains either inf, nan or element < 0")
        assert model.generate() == ([], [])
        assert self.records(tmp_path)[0]["lost"] == "crashed_batch"
        sampler.Uni3DARSampler.error = RuntimeError("CUDA out of memory. Tried to allocate")
        with pytest.raises(SystemExit) as ended:
            model.generate()
        assert ended.value.code == module("watch").OUT_OF_MEMORY
        assert self.records(tmp_path)[1:] == [{"batch": 1, "drawn": 0, "written": 0, "lost": "out_of_memory", "size": 2}]

    def test_the_program_ends_with_enough_crystals_or_enough_batches(self, tmp_path):
        for changes, batches in (({"wanted": 1}, 1), ({}, 3)):
            sampler = fake_sampler()
            sampler.Uni3DARSampler.steps = (3, 3)
            (tmp_path / "record.jsonl").unlink(missing_ok=True)
            module("watch").Watched(self.settings(tmp_path, **changes), sampler).install()
            model = sampler.Uni3DARSampler()
            for _ in range(batches):
                model.generate()
            with pytest.raises(SystemExit) as ended:
                model.generate()
            assert ended.value.code == 0
            assert len(self.records(tmp_path)) == batches

    def test_the_bound_of_nodes_leaves_room_for_every_crystal(self):
        """8 corners and n atoms in octrees of L levels: at most one node a level for each, besides the two roots."""
        assert module("arguments").most_nodes({"merge_level": 8}, 20) == 8 * 28


@pytest.mark.parametrize(
    ("wanted", "oversampling", "ratio", "bad", "kept"),
    [
        (10, 3.0, 1.0, (), 10),
        (10, 3.0, 0.4, (), 10),
        (1, 3.0, 0.34, (), 1),
        (10, 3.0, 1.0, (1, 2, 3, 5), 10),
        (10, 1.0, 1.0, (1, 2, 3, 5), 4),  # of two batches of five, after memory ran out at ten
        (5, 20.0, 0.1, (0, 1), 5),
        (3, 2.0, 1.0, range(100), 0),
    ],
)
def test_every_draw_is_a_candidate_or_counted(tmp_path, monkeypatch, wanted, oversampling, ratio, bad, kept):
    """The runner with a program that draws by the fake sampler, as inference.py draws, and runs out of memory at first."""
    monkeypatch.chdir(tmp_path)
    runs: list[list[int]] = []

    def start(_request, _task, settings, words, *, seconds):
        sampler = fake_sampler()
        sampler.Uni3DARSampler.steps = (3, 3, 3, 3, 3, 3, 3, 10**9)
        sampler.Uni3DARSampler.no_crystal = frozenset(bad)
        sampler.Uni3DARSampler.error = None if runs else RuntimeError("out of memory")
        module("watch").Watched(settings, sampler).install()
        runs.append([])
        model = sampler.Uni3DARSampler()
        model.args.rank_ratio = ratio
        target = Path(words[words.index("--save-path") + 1])
        count, most = 0, int(words[words.index("--num-samples") + 1])
        try:
            while count < most:
                found, _ = model.generate()
                runs[-1].append(model.args.batch_size)
                with target.open("a") as file:
                    file.write(cif_of(*found[: most - count]))
                count += len(found)
        except SystemExit as ended:
            return ended.code, []
        return 0, []

    sampling = module("sampling")
    monkeypatch.setattr(sampling, "start", start)
    options = {"batch_size": 16, "oversampling": oversampling, "rank_ratio": ratio, "temperature": 1.0, "wall": 60.0}
    conditions = {**LI_P_S, "chemical_systems": {"Li-S": 1.0}}
    request = {"options": options, "conditions": conditions, "seed": 3, "checkouts": {"Uni-3DAR": "a", "Uni-Core": "b"}}
    draw = sampling.Draw(request, module("model").PUBLISHED, "it.pt", gpu=False)
    draw.system("Li-S", wanted)
    assert len(draw.candidates) == kept
    assert draw.drawn == sum(sum(batches) for batches in runs)
    assert len(draw.candidates) + sum(draw.rejected.values()) == draw.drawn <= -(-wanted * oversampling // 1)
    if not bad and ratio == 1.0:
        assert draw.drawn <= wanted + 4, "one in eight is too long"
