"""How a race and several generations are wired into a transition; the second generation breeds from the first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from coevo.campaigns.planning import Start, plan
from coevo.configs.loading import parse_config
from coevo.configs.step_classes import class_of
from coevo.errors import ConfigError
from coevo.flows.transition import CoevolutionMaker
from coevo.makers.step import read_records
from coevo.node_store.store import open_store
from coevo.settings import Settings
from signalled_runs import killed
from tiny_node import Coevo, copy_of

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINT = {"family": "chgnet", "format": "safetensors", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}
EMBEDDED = {**CHECKPOINT, "family": "embedded", "format": "json", "sha256": "1" * 64}
RACING = "  racing: 3\n  racing_steps: 5\n"
BREEDING = "  generations: 3\n"


def with_keys(text: str, keys: str) -> str:
    return text.replace("generator:\n", f"generator:\n{keys}", 1)


def jobs_of(text: str) -> dict[str, Any]:
    flow = CoevolutionMaker(config=parse_config(text, "tiny")).make("f" * 64, 3, CHECKPOINT, EMBEDDED)
    return {job.name.removeprefix("tiny/3/"): job for job in flow.jobs}


def test_a_race_stands_between_draws_and_relaxations(tiny_text: str) -> None:
    jobs = jobs_of(with_keys(tiny_text, RACING))
    assert set(jobs) - set(jobs_of(tiny_text)) == {"race/0000", "race/0001"}
    drawn, race, screen = jobs["generate/0001"], jobs["race/0001"], jobs["screen/0001"]
    assert drawn.function_args == (EMBEDDED, 3, 1, 12)
    assert (race.function_args[0].uuid, *race.function_args[1:]) == (drawn.uuid, CHECKPOINT, 4)
    assert screen.function_args[0].uuid == race.uuid
    assert class_of("tiny/3/race/0001") == "screen"


def test_each_generation_is_drawn_by_a_fit_on_all_before(tiny_text: str) -> None:
    """8 candidates in three parts are 2, 3 and 3."""
    jobs = jobs_of(with_keys(tiny_text, BREEDING))
    assert [jobs[f"generate/000{k}"].function_args[1:] for k in range(3)] == [(3, 0, 2), (3, 1, 3), (3, 2, 3)]
    assert jobs["generate/0000"].function_args[0] == EMBEDDED
    for part in (1, 2):
        breed = jobs[f"breed/000{part}"]
        assert jobs[f"generate/000{part}"].function_args[0].uuid == breed.uuid
        before, screened, parent, *numbers = breed.function_args
        assert (before, parent, numbers) == (EMBEDDED, "f" * 64, [3, part])
        assert [output.uuid for output in screened] == [jobs[f"screen/000{k}"].uuid for k in range(part)]
    assert jobs["train-generator"].function_args[2] == EMBEDDED
    assert class_of("tiny/3/breed/0001") == "small"


def test_a_plan_counts_the_draws_and_the_fits(tiny_text: str) -> None:
    config = parse_config(with_keys(tiny_text, RACING + BREEDING), "tiny")
    rows = {row.step: (row.jobs, row.items) for row in plan(config, Start(0, 6), 1, workers=2)}
    assert (rows["generate"], rows["race"], rows["screen"], rows["breed"]) == ((3, 24), (3, 24), (3, 8), (2, 16))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("  family: mattergen\n", "with mattergen, allowed: 1, or the family embedded alone"),
        ("  mixture: {embedded: 1, mattergen: 1}\n", "with embedded, mattergen, allowed: 1, or the family embedded alone"),
        ("  fit: false\n", "with fit: false, allowed: 1"),
    ],
)
def test_generations_need_a_fit_that_takes_seconds(tiny_text: str, keys: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_config(with_keys(tiny_text, keys + BREEDING), "tiny")


def results(coevo: Coevo) -> dict[str, Any]:
    """Outputs of finished jobs by name."""
    rows = [json.loads(path.read_text())["document"] for path in (coevo.database / "jobs").glob("*/*.json")]
    return {row["provenance"]["name"]: row["output"] for row in rows if "provenance" in row}


BRED = "  racing: 2\n  racing_steps: 2\n  generations: 2\n  variation_fraction: 1.0\n"


@pytest.mark.long
@pytest.mark.timing
def test_the_second_generation_has_parents_in_the_first_whoever_computes_and_whatever_is_killed(
    seeded: Path, tmp_path: Path, tiny_text: str
) -> None:
    text = with_keys(tiny_text, BRED).replace("structures: 5", "structures: 0").replace("candidates: 8", "candidates: 12")
    text = text.replace("shard_size: 4", "shard_size: 6")
    heads = []
    for name, workers in (("one", "1"), ("two", "2")):
        coevo = copy_of(seeded, tmp_path / name, COEVO_WORKERS=workers)
        (coevo.database / "tiny" / "node.yaml").write_text(text)
        if name == "two":
            killed(coevo, "run", "tiny", "-n", "1", results=len(results(coevo)) + 5)
        coevo("run", "tiny", "-n", "1")
        heads.append(json.loads(coevo("log", "tiny", "--format", "json").stdout)[0]["id"])
    assert heads[0] == heads[1]
    found, store = results(coevo), open_store(Settings(database=f"file:{coevo.database}"))
    first = {row["id"] for row in read_records(store, found["tiny/1/screen/0000"]["relaxed"])}
    second = list(read_records(store, found["tiny/1/race/0001"]["candidates"]))
    assert found["tiny/1/breed/0001"]["report"]["bred_from"] > 0
    assert any(first & set(row["origin"].get("parents", [])) for row in second)
    assert {row["origin"]["generator"] for row in second} == {found["tiny/1/breed/0001"]["checkpoint"]["sha256"]}
    counts = store.state("tiny@main").document["metrics"]["iteration"]
    assert (counts["candidates"], counts["drawn"]) == (12, 24)
    assert counts["rejected_by_generator"]["raced_out"] == 12
    assert 1 <= counts["formulas"]["candidates"] <= 12
