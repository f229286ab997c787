"""The local manager beside jobflow's own: the same jobs in the same order, the same responses, the same errors."""

from __future__ import annotations

import itertools
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from jobflow import CURRENT_JOB, Flow, JobStore, OutputReference, Response, job, run_locally
from maggma.stores import MemoryStore

from coevo.campaigns.local_manager import run_side_by_side
from coevo.makers.step import StepMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ran: list[str] = []
context: ContextVar[str] = ContextVar("context", default="")

PATIENCE = 600
"""Seconds after which what is waited for does not come."""
_changed = threading.Condition()


@job
def note(name: str, *_: Any, **response: Any) -> Any:
    ran.append(name)
    assert CURRENT_JOB.job is not None
    return Response(output=name, **response)


@job
def become(name: str, *, how: str, stop: str = "") -> Any:
    ran.append(name)
    inner = note(f"{name}: inner", **({stop: True} if stop else {}))
    last = note(f"{name}: last", inner.output)
    made = Flow([last, inner], output=last.output) if how == "replace" else Flow([last, inner])
    return Response(output=name, **{how: made})


@job
def become_all(name: str) -> Any:
    ran.append(name)
    parts = {how: Flow([note(f"{name}: {how}")]) for how in ("replace", "detour", "addition")}
    return Response(output=name, **parts)


@job
def replaced_by_a_job(name: str, times: int) -> Any:
    ran.append(name)
    return Response(replace=replaced_by_a_job(name + "'", times - 1)) if times else name


@job
def fail(_: Any = None) -> None:
    ran.append("fail")
    raise ArithmeticError("told as it is")


def chain(first: Any) -> Flow:
    second = note("second", first.output)
    return Flow([note("third", second.output), second, first])


FLOWS: dict[str, Callable[[], Flow]] = {
    "chain": lambda: chain(note("first")),
    "replaced": lambda: chain(become("first", how="replace")),
    "detour": lambda: chain(become("first", how="detour")),
    "addition": lambda: chain(become("first", how="addition")),
    "all": lambda: chain(become_all("first")),
    "a job for a job": lambda: chain(replaced_by_a_job("first", 3)),
    "stopped children": lambda: chain(note("first", stop_children=True)),
    "stopped children within": lambda: chain(become("first", how="replace", stop="stop_children")),
    "stopped": lambda: chain(note("first", stop_jobflow=True)),
    "stopped within": lambda: chain(become("first", how="detour", stop="stop_jobflow")),
    "error": lambda: chain(fail()),
    "error of a child": lambda: Flow([first := note("first"), failing := fail(first.output), note("never", failing.output)]),
}


def plain(output: Any) -> str:
    """A text, or what else it is: uuids differ from run to run."""
    return output if isinstance(output, str) else type(output).__name__


def outcome(run: Callable[[Flow, JobStore], Any], flow: Flow) -> tuple[Any, ...]:
    """What was run, in order; what it gave and stored; and how it ended."""
    ran.clear()
    store = JobStore(MemoryStore())
    names = {one.uuid: one.name for one, _ in flow.iterflow()}
    try:
        responses = run(flow, store)
    except Exception as error:  # noqa: BLE001
        ended: Any = (type(error), str(error))
    else:
        ended = {
            (names.get(uuid, "new"), index, plain(response.output))
            for uuid, runs in responses.items()
            for index, response in runs.items()
        }
    stored = sorted((document["name"], document["index"], plain(document["output"])) for document in store.query())
    return list(ran), ended, stored


@pytest.mark.parametrize("name", FLOWS)
def test_it_does_what_run_locally_does(name: str) -> None:
    def as_jobflow_does(flow: Flow, store: JobStore) -> Any:
        return run_locally(flow, log=False, store=store, ensure_success=True, raise_immediately=True)

    assert outcome(run_side_by_side, FLOWS[name]()) == outcome(as_jobflow_does, FLOWS[name]())


@dataclass
class Beside(StepMaker):
    """A job that may run beside others, and notes which do.

    It ends when so many have run at once, and the job of a name has ended that runs beside it.
    """

    meet: int = 1
    outlives: str = ""
    together: ClassVar[set[int]] = set()
    threads: ClassVar[list[str]] = []
    running: ClassVar[list[str]] = []

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """All that have a plain number."""
        return 0 if isinstance(inputs["number"], OutputReference) else 2

    @job
    def make(self, number: int, after: Any = None) -> Any:
        """Wait for the others."""
        assert not isinstance(after, OutputReference)
        with _changed:
            Beside.threads.append(threading.current_thread().name)
            Beside.running.append(self.name)
            Beside.together.add(len(Beside.running))
            _changed.notify_all()
            assert _changed.wait_for(lambda: max(Beside.together) >= self.meet, PATIENCE)
            Beside.running.remove(self.name)
        for thread in threading.enumerate():
            if thread.name == self.outlives:
                thread.join(PATIENCE)
        ran.append(self.name)
        if number == -1:
            raise ArithmeticError(f"{self.name} in {context.get()}")
        return number


class Derived(Beside):
    """Says nothing itself."""


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    for noted in (ran, Beside.together, Beside.threads, Beside.running):
        noted.clear()


def test_jobs_that_say_so_run_beside_each_other_and_others_alone() -> None:
    first = [Beside(name=f"first {k}", meet=3).make(k) for k in range(3)]
    second = [Beside(name=f"second {k}").make(k, one.output) for k, one in enumerate(first)]
    alone = note("alone", [one.output for one in second])
    last = Beside(name="last").make(alone.output)
    responses = run_side_by_side(Flow([*first, *second, alone, last]), JobStore(MemoryStore()))
    assert max(Beside.together) == 3
    assert threading.main_thread().name not in Beside.threads[:-1]
    assert Beside.threads[-1] == threading.main_thread().name  # its number was not known
    assert ran.index("alone") == 6
    assert [responses[one.uuid][1].output for one in second] == [0, 1, 2]


def test_a_derived_class_runs_alone() -> None:
    flow = Flow([Derived(name=str(k)).make(k) for k in range(3)])
    with pytest.warns(UserWarning, match="not connected"):
        run_side_by_side(flow, JobStore(MemoryStore()))
    assert Beside.together == {1}


def test_the_first_error_ends_all_in_the_context_of_the_caller() -> None:
    token = context.set("here")
    good = [Beside(name=f"good {k}", meet=3, outlives="bad").make(k) for k in range(8)]
    jobs = [Beside(name="bad", meet=3).make(-1), *good]
    try:
        with pytest.raises(ArithmeticError, match="bad in here"), pytest.warns(UserWarning, match="not connected"):
            run_side_by_side(Flow(jobs), JobStore(MemoryStore()))
    finally:
        context.reset(token)
    assert not Beside.running
    assert sorted(ran) == ["bad", "good 0", "good 1"]


def test_what_runs_beside_a_job_that_fails_begins_nothing_more() -> None:
    """Its chunks end with it: a shard of hours does not hold up an error."""
    jobs = [Chunks(name="endless").make(), Beside(name="bad", meet=2).make(-1)]
    with pytest.raises(ArithmeticError), pytest.warns(UserWarning, match="not connected"):
        run_side_by_side(Flow(jobs), JobStore(MemoryStore()))
    assert all("endless" not in thread.name for thread in threading.enumerate())


@dataclass
class Chunks(StepMaker):
    """A job of chunks in worker processes that never come to an end; they meet the job beside it."""

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Two."""
        return 2

    @job
    def make(self) -> None:
        """Sleep a little in each chunk."""
        from coevo.processes import map_chunks

        def done(_: int) -> None:
            with _changed:
                Beside.together.add(len(Beside.running) + 1)
                _changed.notify_all()

        for _ in map_chunks(time.sleep, itertools.repeat(0.01), workers=2, progress=done):
            pass
