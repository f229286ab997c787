"""Job keys and stored results: what is in a key, what is not, and when a stored result is used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from jobflow import run_locally

from coevo.errors import CorruptArtifactError
from coevo.makers.progress import reporting_to
from coevo.makers.step import StepMaker, current_store, job_key, provenance_of, read_records, step, write_records
from coevo.models.relaxing.halved_batches import note_halved_batches

RUNS: list[int] = []


@dataclass
class SquareMaker(StepMaker):
    """Square a number and store it as an artifact."""

    name: str = "square"
    factor: float = 1.0
    packages: ClassVar[tuple[str, ...]] = ("numpy",)

    @step
    def make(self, number: int) -> dict:
        RUNS.append(number)
        return {"shard": write_records(current_store(), [{"value": self.factor * number**2}])}


@dataclass
class NextSquareMaker(SquareMaker):
    version: ClassVar[int] = 2


@dataclass
class QuotingMaker(StepMaker):
    """Repeat what a document says, as the origins of a merge do."""

    name: str = "quote"

    @step
    def make(self, text: str) -> dict:
        return {"counts": {"origins": {"a": [json.loads(text)]}}}


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    RUNS.clear()
    return tmp_path / "db"


def run(job) -> dict:
    responses = run_locally(job, log=False, ensure_success=True, raise_immediately=True)
    return responses[job.uuid][1].output


class Listener:
    def __init__(self) -> None:
        self.reused: list[bool] = []

    def job_started(self, name: str) -> None:
        pass

    def job_finished(self, name: str, seconds: float, *, reused: bool) -> None:
        self.reused.append(reused)


def test_a_configuration_starts_no_more_processes_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have come with a bundle; what this machine's own settings say is done."""
    monkeypatch.delenv("COEVO_WORKERS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert [SquareMaker(workers=workers).usable_workers() for workers in (None, 2, 100_000)] == [3, 2, 3]
    monkeypatch.setenv("COEVO_WORKERS", "8")
    assert SquareMaker(workers=2).usable_workers() == 8


def test_a_finished_job_is_not_computed_again() -> None:
    listener = Listener()
    with reporting_to(listener):
        first = run(SquareMaker().make(3))
        second = run(SquareMaker(name="another name", workers=7).make(3))
    assert first == second
    assert RUNS == [3]
    assert listener.reused == [False, True]
    assert list(read_records(current_store(), first["shard"])) == [{"value": 9.0}]


def test_an_output_that_a_decoder_would_act_on_is_stopped_and_not_stored() -> None:
    """The output of a job is decoded where the next one reads it, and what it repeats may be a stranger's."""
    assert run(QuotingMaker().make('{"operator": "a@b"}'))["counts"]["origins"] == {"a": [{"operator": "a@b"}]}
    for _ in range(2):
        hostile = QuotingMaker().make('{"operator": {"@module": "evil", "@callable": "f"}}')
        with pytest.raises(CorruptArtifactError, match=r"job quote was stopped: .*counts\.origins\.a\[0\]\.operator\.@"):
            run(hostile)


def test_what_is_in_a_key_and_what_is_not() -> None:
    key = job_key(SquareMaker(), {"number": 3})
    assert job_key(SquareMaker(name="x", workers=3), {"number": 3}) == key
    assert job_key(SquareMaker(), {"number": 4}) != key
    assert job_key(SquareMaker(factor=2.0), {"number": 3}) != key
    assert job_key(NextSquareMaker(), {"number": 3}) != key


def test_the_versions_of_numerical_packages_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = job_key(SquareMaker(), {"number": 3})
    monkeypatch.setattr("coevo.makers.step.package_version", lambda name: "0.0")
    assert job_key(SquareMaker(), {"number": 3}) != key


def test_a_result_whose_artifact_is_gone_is_computed_again(database: Path) -> None:
    first = run(SquareMaker().make(3))
    sha256 = first["shard"]["sha256"]
    blob = database / "blobs" / sha256[:2] / sha256[2:]
    blob.unlink()
    assert run(SquareMaker().make(3)) == first
    assert RUNS == [3, 3]
    assert blob.exists()


def test_a_job_that_fails_stores_nothing() -> None:
    @dataclass
    class FailingMaker(StepMaker):
        @step
        def make(self) -> dict:
            raise MemoryError("as a worker that ran out of memory")

    with pytest.raises(MemoryError):
        run(FailingMaker().make())
    assert current_store().job_result(job_key(FailingMaker(), {})) is None


def test_provenance_holds_times_and_host_and_the_output_does_not() -> None:
    output = run(SquareMaker(name="tiny/1/square").make(5))
    assert output.keys() == {"shard", "key"}
    (provenance,) = provenance_of([output])
    assert provenance["name"] == "tiny/1/square"
    assert provenance["seconds"] >= 0
    assert provenance["host"]


def test_batches_that_were_halved_are_in_the_result_and_in_its_provenance() -> None:
    @dataclass
    class PredictingMaker(StepMaker):
        halves: dict = field(default_factory=dict)

        @step
        def make(self) -> dict:
            for size in (8, 2, 4):
                note_halved_batches(dict.fromkeys(self.halves, size))
            return {"count": 1}

    note_halved_batches({"out_of_memory": 1})  # of nobody's job
    whole = run(PredictingMaker().make())
    assert whole.keys() == {"count", "key"}
    halved = run(PredictingMaker(halves={"out_of_memory": 1, "crashed": 1}).make())
    assert halved["halved_batches"] == {"crashed": 2, "out_of_memory": 2}
    runs = provenance_of([whole, halved])
    assert [run.get("halved_batches") for run in runs] == [None, {"crashed": 2, "out_of_memory": 2}]
