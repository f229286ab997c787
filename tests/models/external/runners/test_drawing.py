"""What runners of generators share: batches of draws and what they lose, and fits: validation, strata, the best weights."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
import torch

from coevo.models.external.families import HERE


@pytest.fixture(scope="module")
def runner():
    """Imports modules that are copied beside the runners, as they do it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "runners"))
        yield lambda name: importlib.import_module(name)
    for name in list(sys.modules):
        if name.startswith("coevo_"):
            sys.modules.pop(name)


class TestDraws:
    @pytest.fixture
    def drawn(self, runner, tmp_path, monkeypatch):
        """Draws of batches that a function makes."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "output").mkdir()
        drawing, compositions = runner("coevo_drawing"), runner("coevo_compositions")
        conditions = {"elements": ["Li", "S"], "max_atoms": 6, "chemical_systems": {}, "compositions": ["Li2S"]}

        def draw(batch, n=8, size=4, **changes):
            request = {"n": n, "seed": 1, "options": {"batch_size": size, "oversampling": 1.5}}
            found = compositions.Compositions(conditions | changes)
            result = drawing.drawn(request, found, batch, operator="it")
            return result, [json.loads(line) for line in (tmp_path / "output" / "candidates.jsonl").read_text().splitlines()]

        return draw

    @staticmethod
    def crystal(draw, edge=4.0):
        return {
            "lattice": (edge * np.eye(3)).tolist(),
            "species": draw.species(),
            "positions": [[k / draw.atoms] * 3 for k in range(draw.atoms)],
        }

    def test_what_is_dropped_is_drawn_again_as_far_as_that_is_allowed(self, drawn):
        edges = iter([1e5, 4.0, float("nan"), 4.0, 0.5, 4.0, 60.0, *[4.0] * 20])
        result, candidates = drawn(lambda draws: [self.crystal(draw, next(edges)) for draw in draws])
        assert result["rejected"] == {"huge_cell": 2, "not_finite": 1, "flat_cell": 1}
        assert len(candidates) == 8
        assert [c["origin"]["draw"] for c in candidates] == [1, 3, 5, 7, 8, 9, 10, 11]
        assert {c["origin"]["formula"] for c in candidates} <= {"Li2S", "Li4S2"}
        result, candidates = drawn(lambda draws: [self.crystal(draw, 1e5) for draw in draws])
        assert (result["rejected"], candidates) == ({"huge_cell": 12}, [])

    def test_a_batch_that_crashes_is_counted(self, drawn):
        calls = []

        def batch(draws):
            calls.append(len(draws))
            if len(calls) == 1:
                raise ZeroDivisionError("an empty graph")
            return [self.crystal(draw) for draw in draws]

        result, candidates = drawn(batch)
        assert (result["rejected"], len(candidates), calls) == ({"crashed_batch": 4}, 8, [4, 4, 4])

    def test_memory_that_runs_out_halves_the_batch(self, drawn, runner):
        calls = []

        def batch(draws, most=1):
            calls.append(len(draws))
            if len(draws) > most:
                raise torch.cuda.OutOfMemoryError
            return [self.crystal(draw) for draw in draws]

        result, candidates = drawn(batch, n=2)
        assert (len(candidates), calls, result["report"]) == (2, [2, 1, 1], {"batch_size": 1, "drawn": 2})
        with pytest.raises(runner("coevo_runner").TaskError, match="batch size of 1"):
            drawn(lambda draws: batch(draws, 0))

    def test_a_batch_is_seeded_by_its_place(self, drawn):
        seen = []

        def batch(draws):
            seen.append((float(torch.rand(1)), float(np.random.random())))  # noqa: NPY002 - what packages draw from
            return [self.crystal(draw) for draw in draws]

        drawn(batch)
        torch.rand(3)
        drawn(batch)
        assert seen[:2] == seen[2:]
        assert seen[0] != seen[1]

    def test_impossible_conditions(self, drawn):
        assert drawn(lambda draws: [], compositions=["Li7S9"])[0]["rejected"] == {"no_composition": 8}


class TestFits:
    def test_validation_examples_stay_so_and_there_is_one(self, runner):
        parts = runner("coevo_fitting").parts
        examples = [{"id": f"structure-{k}"} for k in range(200)]
        training, validation = parts(examples, 0.1)
        assert len(training) + len(validation) == 200
        assert 8 <= len(validation) <= 36  # four standard deviations of 200 draws of 0.1
        again = parts(examples[50:], 0.1)[1]
        assert again == [e for e in validation if e in examples[50:]]
        few = training[:5]
        assert [len(part) for part in parts(few, 0.01)] == [4, 1]
        assert parts(few[::-1], 0.01)[1] == parts(few, 0.01)[1]
        assert parts([], 0.1) == ([], [])

    def test_strata_count_by_the_square_root_of_their_size(self, runner):
        weights = runner("coevo_fitting").strata_weights([{"energy_above_hull": e} for e in (0.0, 0.001, 0.002, 0.003, 0.3)])
        assert weights.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 1.0])

    @pytest.mark.parametrize(
        ("losses", "best", "run"),
        [
            ([3.0, 2.0, 2.5, 1.0, 1.5, 1.6, 0.1], 3, 5),
            ([3.0, 4.0, 5.0, 1.0], 0, 2),
            ([3.0, 2.0, float("nan"), 1.0], 1, 1),
        ],
    )
    def test_the_best_weights_stay(self, runner, tmp_path, monkeypatch, losses, best, run):
        monkeypatch.chdir(tmp_path)
        weights, given = {"w": torch.zeros(1)}, iter(losses)
        kept, report = runner("coevo_fitting").trained(
            {"epochs": 6, "patience": 2}, lambda count: weights["w"].add_(1), lambda: next(given), lambda: weights
        )
        assert float(kept["w"]) == best
        assert (report["epochs_run"], report["loss_before"], report["loss_after"]) == (run, 3.0, losses[best])
