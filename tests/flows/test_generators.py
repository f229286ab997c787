"""How several generators are wired into flows, and how their checkpoints go on: in transitions, merges and extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import Node, config_for, evaluation, pool

from coevo.campaigns.merging import Target, merge
from coevo.campaigns.starting import start_from
from coevo.configs.loading import parse_config
from coevo.configs.tree import GeneratorConfig
from coevo.errors import ConfigError
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.lineage import ExtendMaker, MergeMaker, StartMaker
from coevo.flows.transition import CoevolutionMaker, SeedMaker
from coevo.makers.generators import entries_again, generator_metrics, generators_for, unfitted
from coevo.makers.step import current_store
from coevo.node_store.canonical import structure_id
from coevo.node_store.recorded import generator_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import Flow

    from coevo.configs.tree import NodeConfig
    from coevo.node_store.store import NodeStore

CHECKPOINT = {"family": "chgnet", "format": "safetensors", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}
EMBEDDED = {**CHECKPOINT, "family": "embedded", "format": "json", "sha256": "1" * 64}
MATTERGEN = {**CHECKPOINT, "family": "mattergen", "format": "model-tar-1", "sha256": "2" * 64}
SLOTS = {"force_field": CHECKPOINT, "generator": EMBEDDED, "generator/mattergen": MATTERGEN}
PARENT = "f" * 64
MIXTURE = "  mixture: {embedded: 0.6, mattergen: 0.4}\n"


def mixed(tiny_text: str, mixture: str = MIXTURE) -> NodeConfig:
    return parse_config(tiny_text.replace("generator:\n", f"generator:\n{mixture}"), "tiny")


def jobs_by_name(flow: Flow) -> dict[str, Any]:
    return {job.name.split("/", 2)[2]: job for job in flow.jobs}


def test_each_family_draws_its_share_and_is_fitted(tiny_text: str) -> None:
    """8 candidates, 4 a shard: 4.8 and 3.2 of them are 5 and 3."""
    flow = CoevolutionMaker(config=mixed(tiny_text)).make(PARENT, 3, CHECKPOINT, EMBEDDED, generators={"mattergen": MATTERGEN})
    jobs = jobs_by_name(flow)
    drawn = {name: job.function_args for name, job in jobs.items() if name.startswith("generate/")}
    assert drawn == {
        "generate/embedded/0000": (EMBEDDED, 3, 0, 4),
        "generate/embedded/0001": (EMBEDDED, 3, 1, 1),
        "generate/mattergen/0002": (MATTERGEN, 3, 2, 3),
    }
    sections = {name: jobs[name].function.__self__.generator for name in drawn}
    assert {name: (each.family, each.mixture) for name, each in sections.items()} == {
        name: (name.split("/")[1], {}) for name in drawn
    }
    assert jobs["curate"].function_kwargs["drawn_by"] == [
        {"family": "embedded", "asked": 4},
        {"family": "embedded", "asked": 1},
        {"family": "mattergen", "asked": 3},
    ]
    fits = {name: job for name, job in jobs.items() if name.startswith("train-generator")}
    assert {name: job.function_args[2] for name, job in fits.items()} == {
        "train-generator/embedded": EMBEDDED,
        "train-generator/mattergen": MATTERGEN,
    }
    (done,) = jobs["commit"].function_args
    assert done["generator"].uuid == fits["train-generator/embedded"].uuid
    assert {name: each.uuid for name, each in done["generators"].items()} == {"mattergen": fits["train-generator/mattergen"].uuid}
    assert set(jobs["measure"].function_kwargs["generators"]) == {"embedded", "mattergen"}


def test_a_node_of_one_generator_is_wired_as_ever(tiny_text: str) -> None:
    jobs = jobs_by_name(CoevolutionMaker(config=parse_config(tiny_text, "tiny")).make(PARENT, 3, CHECKPOINT, EMBEDDED))
    assert [name for name in jobs if name.startswith(("generate", "train-generator"))] == [
        "generate/0000",
        "generate/0001",
        "train-generator",
    ]
    assert "drawn_by" not in jobs["curate"].function_kwargs
    assert "generators" not in jobs["measure"].function_kwargs
    assert "generators" not in jobs["commit"].function_args[0]


def test_one_without_weight_draws_nothing_and_stays(tiny_text: str) -> None:
    config = mixed(tiny_text, "  mixture: {embedded: 0, mattergen: 1}\n")
    jobs = jobs_by_name(
        CoevolutionMaker(config=config).make(PARENT, 3, CHECKPOINT, EMBEDDED, generators={"mattergen": MATTERGEN})
    )
    assert [name for name in jobs if name.startswith(("generate", "train-generator"))] == [
        "generate/mattergen/0000",
        "generate/mattergen/0001",
        "train-generator/mattergen",
    ]
    kept = jobs["commit"].function_args[0]["generator"]
    assert kept["checkpoint"] == EMBEDDED
    assert kept["report"] == {"reason": "its weight in generator.mixture is 0"}


def test_every_flow_hands_all_generators_on(tiny_text: str) -> None:
    config, shard = mixed(tiny_text), {"sha256": "e" * 64}
    start = dict.fromkeys(("population", "structures", "references", "labels", "splits"), shard)
    fitted = {**MATTERGEN, "parent": "3" * 64}
    flows = {
        "seed": SeedMaker(config=config).make(shard, CHECKPOINT, EMBEDDED, None, {"mattergen": MATTERGEN}),
        "merge": MergeMaker(config=config).make([PARENT, "d" * 64], PARENT, None, 3, SLOTS, ""),
        "kept": MergeMaker(config=config, train=False).make([PARENT, "d" * 64], PARENT, None, 3, SLOTS, ""),
        "extend": ExtendMaker(config=config).make(PARENT, 3, shard, SLOTS, ""),
        "label": LabelFlowMaker(config=config).add([], PARENT, 3, SLOTS, ""),
        "start": StartMaker(config=config).make(
            start, CHECKPOINT, EMBEDDED, {}, offsets={}, fit_generator=False, labels=False, generators={"mattergen": MATTERGEN}
        ),
        "start with fitted ones": StartMaker(config=config).make(
            start, CHECKPOINT, EMBEDDED, {}, offsets={}, fit_generator=False, labels=False, generators={"mattergen": fitted}
        ),
    }
    fits = {name: [job for job in jobs_by_name(flow) if job.startswith("train-generator")] for name, flow in flows.items()}
    both = ["train-generator/embedded", "train-generator/mattergen"]
    assert fits == {
        "seed": both,
        "merge": both,
        "kept": [],
        "extend": [],
        "label": [],
        "start": ["train-generator/mattergen"],  # which has learned nothing yet
        "start with fitted ones": [],
    }
    for name, flow in flows.items():
        jobs = jobs_by_name(flow)
        (done,) = jobs["commit"].function_args
        assert set(done["generators"]) == {"mattergen"}, name
        assert set(jobs["measure"].function_kwargs["generators"]) == {"embedded", "mattergen"}, name
        if "train-generator/mattergen" not in jobs:
            kept = fitted if name == "start with fitted ones" else MATTERGEN
            assert done["generators"]["mattergen"]["checkpoint"] == kept, name


def test_a_flow_that_was_not_given_a_generator_says_so(tiny_text: str) -> None:
    with pytest.raises(ConfigError, match=r"generator.mixture has mattergen, and the flow was not given their checkpoints"):
        CoevolutionMaker(config=mixed(tiny_text)).make(PARENT, 3, CHECKPOINT, EMBEDDED)


# --- through the store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}/db")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    return current_store()


def with_mixture(config: NodeConfig, mixture: dict[str, float]) -> NodeConfig:
    return config.model_copy(update={"generator": GeneratorConfig(fit=False, mixture=mixture)})


BOTH = {"embedded": 0.5, "mattergen": 0.5}


def test_generators_come_and_go_with_the_mixture(store: NodeStore, tiny_text: str) -> None:
    alone, both = parse_config(tiny_text, "tiny"), mixed(tiny_text)
    before = {"force_field": CHECKPOINT, "generator": EMBEDDED}
    added = generators_for(both, before)
    assert added == {"generator": EMBEDDED, "generator/mattergen": unfitted(both, "mattergen")}
    assert store.artifacts.has(added["generator/mattergen"]["sha256"])
    assert generators_for(both, SLOTS) == {"generator": EMBEDDED, "generator/mattergen": MATTERGEN}
    assert generators_for(alone, SLOTS) == {"generator": EMBEDDED}
    # of another family than its slot says, which a stranger may write: it is not taken for what it is not
    odd = {**SLOTS, "generator/mattergen": {**EMBEDDED, "sha256": "4" * 64}}
    assert generators_for(both, odd)["generator/mattergen"] == added["generator/mattergen"]
    # a slot of the one state, and what it lacks of the other
    assert generators_for(both, before, SLOTS) == {"generator": EMBEDDED, "generator/mattergen": MATTERGEN}
    other_main = {"generator": MATTERGEN, "generator/embedded": EMBEDDED}
    assert generators_for(both, other_main) == {"generator": EMBEDDED, "generator/mattergen": MATTERGEN}


def test_a_merge_has_the_generators_of_its_start_and_what_that_lacks_of_the_other(store: NodeStore) -> None:
    config = with_mixture(config_for("mixed"), BOTH)
    document = unfitted(config, "mattergen")
    own = unfitted(
        with_mixture(config_for("mixed"), BOTH).model_copy(
            update={"generator": GeneratorConfig(mixture=BOTH, mattergen={"weights": "small"})}  # type: ignore[arg-type]
        ),
        "mattergen",
    )
    assert own["sha256"] != document["sha256"]
    left = Node(store, config, generators={"generator/mattergen": own})
    seed, crystals = left.seed(), pool()
    one = left.grow(seed, "one", crystals[:2], {})
    bare = Node(store, with_mixture(config_for("bare"), BOTH), generators={})
    other = bare.grow(bare.seed(), "other", crystals[2:4], {})
    for start, sides in (("left", (one, other)), ("right", (one, other))):
        view, outcome = merge(store, *sides, Target("mixed", f"from-{start}"), train=False, start=start)  # type: ignore[arg-type]
        assert outcome == "merged"
        kept = view.document["checkpoints"]["generator/mattergen"]
        assert (kept["sha256"], kept["parents"]) == (own["sha256"], [own["sha256"]])
        told = view.document["metrics"]["generators"]
        assert {family: (each["fitted"], each["entries"]) for family, each in told.items()} == {
            "embedded": (False, 0),  # these entries name no generator
            "mattergen": (False, 0),
        }


def test_a_merge_says_how_long_the_fits_of_all_its_generators_took(store: NodeStore) -> None:
    """That in the slot ``generator`` too."""
    fitting = GeneratorConfig(mixture={"embedded": 1.0})
    node = Node(store, config_for("fitted").model_copy(update={"generator": fitting}))
    seed, crystals = node.seed(), pool()
    sides = [node.grow(seed, name, [crystals[number]], {}) for number, name in enumerate(("one", "other"))]
    view, outcome = merge(store, *sides, Target("fitted", "both"))
    assert outcome == "merged"
    assert view.document["metrics"]["generators"]["embedded"]["fitted"] is True
    assert set(generator_seconds(view)) == {"embedded"}


def test_entries_that_came_from_another_node_are_in_no_count(store: NodeStore) -> None:
    """A generator that goes on drew them in the node that they came from; so say the metrics, and what verify counts again."""
    source = Node(store, with_mixture(config_for("source"), {"embedded": 1.0}))
    seed = source.seed()
    drew = seed.document["checkpoints"]["generator"]["sha256"]
    view = source.grow(seed, "main", pool()[:3], {}, drawn_by=drew)
    assert entries_again(view, ["embedded"])["embedded"]["entries"] == 3
    assert start_from(store, f"source@{view.id}", "started", [], lambda _: None)
    first = store.state("started")
    assert first.document["counts"]["entries"] == 3
    assert first.document["checkpoints"]["generator"]["sha256"] == drew
    none = {"entries": 0, "stable": 0, "sun": 0}
    told = first.document["metrics"]["generators"]["embedded"]
    assert {key: told[key] for key in none} == none == entries_again(first, ["embedded"])["embedded"]
    # one more of the same generator, in the node's own first iteration
    new = structure_id(pool()[4])
    documents = [*first.evaluations(), evaluation(pool()[4], "entry", 1)]
    trained = {"embedded": {"checkpoint": first.document["checkpoints"]["generator"], "fitted": False, "report": {}}}
    next_one = generator_metrics(documents, trained, [first], [{"id": new, "origin": {"generator": drew}}])
    assert next_one["embedded"]["entries"] == 1
