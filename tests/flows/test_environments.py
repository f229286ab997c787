"""The calibration of environments in flows: who gets one, who hands it on, and what a merge makes of two."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import Node, config_for, pool
from pymatgen.core import Lattice, Structure

from coevo.campaigns.merging import Target, merge
from coevo.configs.loading import parse_config
from coevo.configs.tree import NodeConfig
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.lineage import ExtendMaker, MergeMaker, StartMaker
from coevo.flows.transition import CoevolutionMaker, SeedMaker
from coevo.makers.calibrate_environments import CalibrateEnvironmentsMaker
from coevo.makers.signals.environment_calibration import known_calibration
from coevo.makers.signals.recomputation import compare_signals
from coevo.makers.step import current_store
from coevo.studies.states.environment_coverage import environment_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.store import NodeStore

CHECKPOINT = {"family": "chgnet", "format": "safetensors", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}
SHARD = {"sha256": "0" * 64, "count": 1}
_numbers = itertools.count()


def flows(config: NodeConfig) -> list[Any]:
    checkpoints = {"force_field": CHECKPOINT, "generator": CHECKPOINT}
    start: Any = dict.fromkeys(("population", "structures", "references", "labels", "splits"), SHARD)
    start_options = {"offsets": {}, "fit_generator": False, "labels": False}
    return [
        SeedMaker(config=config).make(SHARD, CHECKPOINT, CHECKPOINT),
        CoevolutionMaker(config=config).make("f" * 64, 3, CHECKPOINT, CHECKPOINT),
        LabelFlowMaker(config=config).add([], "f" * 64, 3, checkpoints, ""),
        MergeMaker(config=config).make(["f" * 64, "e" * 64], "f" * 64, None, 3, checkpoints, ""),
        ExtendMaker(config=config).make("f" * 64, 3, SHARD, checkpoints, ""),
        StartMaker(config=config).make(start, CHECKPOINT, CHECKPOINT, {"node": "a", "state": "b"}, **start_options),
    ]


def test_each_flow_calibrates_where_it_is_asked_for_and_only_there(tiny_text: str) -> None:
    config = parse_config(tiny_text, "tiny")
    asked = config.model_copy(update={"maturity": config.maturity.model_copy(update={"environment_signal": "coverage"})})
    for without, flow in zip(flows(config), flows(asked), strict=True):
        names = [job.name.partition("/")[2].partition("/")[2] for job in flow.jobs]
        before = [job.name.partition("/")[2].partition("/")[2] for job in without.jobs]
        assert "calibrate-environments" not in before
        assert [name for name in names if name != "calibrate-environments"] == before
        assert names.index("calibrate-environments") < names.index("measure")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeStore]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{tmp_path_factory.mktemp('environments')}/db")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        yield current_store()


def calibration(delta: float, force_field: str) -> dict[str, Any]:
    crystal = {"id": "a", "formula": "Li2S", "atoms": 24, "delta": delta, "delta90": 2 * delta}
    return {
        "delta": delta,
        "delta90": 2 * delta,
        "per_species": {},
        "reason": "",
        "crystals": [crystal],
        "left_out": [],
        "elements": ["Li", "P", "S"],
        "not_held": [],
        "temperature": 300.0,
        "timestep": 2.0,
        "apart": 200.0,
        "snapshots": 3,
        "force_field": force_field * 64,
        "quests": {"bandwidth": 0.015, "of_volume": 0.02},
        "told_apart": {"classes": 1, "pairs": 0, "left_out": 0, "largest": None, "mixed": []},
    }


class Calibrated(Node):
    """A node whose states say at what resolution they look."""

    metrics: dict[str, Any]

    def _commit(self, branch: str, parent: Any, **fields: Any) -> Any:
        return super()._commit(branch, parent, metrics=self.metrics, **fields)


def two_states(store: NodeStore, *calibrations: dict[str, Any] | None) -> list[Any]:
    """Two branches of one node, each with an entry or two, and with these calibrations."""
    plain = config_for(f"merged-{next(_numbers)}").model_dump(mode="json")
    plain["maturity"] |= {"environment_signal": "coverage", "environments": 10, "subsamples": 2}
    node = Calibrated(store, NodeConfig.model_validate(plain))
    node.metrics = {}
    seed, crystals = node.seed(), pool()
    views = []
    for number, found in enumerate(calibrations):
        node.metrics = {"environment_calibration": found} if found else {}
        views.append(node.grow(seed, f"b{number}", [crystals[number], crystals[number + 3]], {}))
    return views


@pytest.mark.parametrize("order", [(0, 1), pytest.param((1, 0), marks=pytest.mark.long), (None, 1)])
def test_a_merge_names_both_and_goes_on_with_that_of_the_first(store: NodeStore, order) -> None:
    both = (calibration(0.06, "a"), calibration(0.09, "b"))
    left, right = two_states(store, *(None if place is None else both[place] for place in order))
    view, _ = merge(store, left, right, Target(left.node, f"both-{next(_numbers)}"), train=False)
    metrics = view.document["metrics"]
    first = both[order[1] if order[0] is None else order[0]]
    found = metrics["environment_calibration"]
    assert known_calibration(metrics, ("Li", "P", "S")) == first
    assert [one and one["delta"] for one in found["merged"]] == [None if p is None else both[p]["delta"] for p in order]
    assert metrics["environment_coverage"]["distance"] == first["delta90"]
    assert list(metrics["environment_coverage"]["iterations"]) == ["1"]
    assert metrics["maturity"]["signals"][1]["cause"] == "short"
    assert "of the merged states: δ = " in environment_words(metrics)
    rows = compare_signals(store, view, NodeConfig.model_validate(view.document["config"]), 1)
    assert [row.name for row in rows if not row.agrees] == []
    assert sum("far from older ones" in row.name for row in rows) == 3


def test_a_node_that_was_judged_by_entropy_for_a_while_keeps_its_calibration(store: NodeStore) -> None:
    node = Calibrated(store, config_for(f"switched-{next(_numbers)}"))
    oldest, newest = calibration(0.06, "a"), calibration(0.09, "b")
    view = None
    for number, found in enumerate((oldest, newest, None, None)):
        node.metrics = {"environment_calibration": found} if found else {}
        view = node.grow(view, "main", [pool()[number]], {}) if view else node.seed()
    assert view is not None
    maker = CalibrateEnvironmentsMaker(node=node.config.node)
    output: Any = CalibrateEnvironmentsMaker.make.original(maker, CHECKPOINT, [view.id])  # type: ignore[attr-defined]
    assert output["calibration"] == newest


@pytest.mark.long
def test_a_state_that_moved_an_atom_far_is_found(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = two_states(store, calibration(0.06, "a"), None)
    view, _ = merge(store, left, right, Target(left.node, f"both-{next(_numbers)}"), train=False)
    moved = Structure(Lattice.cubic(9.0), ["Li", "S"], [[0, 0, 0], [0.27, 0, 0]])
    read = view.structure
    entry = next(view.evaluations("entry"))["structure_id"]
    monkeypatch.setattr(view, "structure", lambda identifier, *args, **kw: moved if identifier == entry else read(identifier))
    rows = compare_signals(store, view, NodeConfig.model_validate(view.document["config"]), 1)
    assert not all(row.agrees for row in rows)
