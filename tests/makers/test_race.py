"""A race keeps the shares of formulas as they were drawn and the best of each, whatever the energies of the others."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobflow import run_locally
from pymatgen.core import Lattice, Structure

from coevo.makers.race import RaceMaker, places, winners
from coevo.makers.step import current_store, read_records, write_records
from coevo.models.contracts import Failure, Prediction
from coevo.node_store.canonical import structure_document, structure_id

CHECKPOINT = {"family": "chgnet", "format": "safetensors", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}


def test_places_are_those_of_the_shares() -> None:
    """6, 3 and 1 of 10 draws: of 5 places 3, 1.5 and 0.5; the one that is left goes to the first of the equal remainders."""
    assert places(["Li2S"] * 6 + ["Li3P"] * 3 + ["P2S5"], 5) == {"Li2S": 3, "Li3P": 2, "P2S5": 0}


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.floats(-9, 9) | st.just(math.inf)), max_size=40), st.integers(0, 50))
def test_a_formula_has_its_share_and_its_best(draws: list[tuple[str, float]], count: int) -> None:
    formulas, energies = [name for name, _ in draws], [energy for _, energy in draws]
    kept = winners(formulas, energies, count)
    assert kept == sorted(set(kept))
    assert len(kept) == min(count, len(draws))
    for name, number in Counter(formulas).items():
        of_it = [k for k in kept if formulas[k] == name]
        assert abs(len(of_it) - number * len(kept) / len(draws)) < 1
        left = [k for k, other in enumerate(formulas) if other == name and k not in kept]
        assert max((energies[k] for k in of_it), default=-math.inf) <= min((energies[k] for k in left), default=math.inf)


class Looking:
    """Says a lower energy the larger the cell is; of potassium nothing."""

    def __init__(self) -> None:
        self.seen = 0

    def evaluate(self, structures, *, workers=1, progress=None):
        import numpy as np

        self.seen += len(structures)
        return [
            Failure("nan") if s[0].specie.symbol == "K" else Prediction(-s.volume, np.zeros((len(s), 3)), np.zeros((3, 3)))
            for s in structures
        ]

    def relax(self, structures, settings, *, workers=1, progress=None):
        raise AssertionError("steps: 0 relaxes nothing")


@pytest.fixture
def raced(monkeypatch, tmp_path):
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)

    def race(structures: list[Structure], count: int):
        model, store = Looking(), current_store()
        monkeypatch.setattr("coevo.makers.race.load_force_field", lambda *_: model)
        rows = [
            {"id": structure_id(s), "structure": structure_document(s), "origin": {"number": k}} for k, s in enumerate(structures)
        ]
        generated = {"candidates": write_records(store, rows), "rejected": {"too_close": 2}}
        job = RaceMaker(elements=["Li", "K", "S"]).make(generated, CHECKPOINT, count)
        output = run_locally(job, log=False, raise_immediately=True)[job.uuid][1].output
        return model, output, [row["origin"]["number"] for row in read_records(store, output["candidates"])]

    return race


def cube(symbol: str, length: float) -> Structure:
    return Structure(Lattice.cubic(length), [symbol], [[0, 0, 0]])


def test_what_is_left_out_is_counted_and_what_cannot_be_looked_at_goes_last(raced) -> None:
    """Of 4 Li and 2 K two and one are kept; the second Li is so dense that screening would refuse it, and no model sees it."""
    structures = [cube("Li", 3.0), cube("Li", 1.0), cube("K", 3.5), cube("Li", 3.2), cube("Li", 3.1), cube("K", 3.6)]
    model, output, kept = raced(structures, 3)
    assert kept == [2, 3, 4]
    assert output["rejected"] == {"raced_out": 3, "too_close": 2}
    assert (output["drawn"], output["steps"], output["candidates"]["count"]) == (6, 0, 3)
    assert model.seen == 5


def test_where_there_are_no_more_than_wanted_nothing_is_looked_at(raced) -> None:
    model, output, kept = raced([cube("Li", 3.0), cube("S", 3.0)], 2)
    assert (kept, model.seen, output["rejected"]) == ([0, 1], 0, {"too_close": 2})
