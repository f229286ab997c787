"""Run a Flow in this process as jobflow's ``run_locally`` does, with jobs that say so side by side.

A job whose work is done by the worker processes (:mod:`coevo.processes`) leaves them idle while it reads, writes and waits for
its last batch. Several such jobs run in threads, so that the workers always have something to do. All other jobs run alone and
in the main thread: they use the machine themselves, or are not made for threads. Only the function of a job runs in its thread;
jobflow's part, which keeps the running job in a global, stays in the main thread.
"""

from __future__ import annotations

import inspect
import threading
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import MethodType
from typing import TYPE_CHECKING, Any

from coevo.makers.step import StepMaker
from coevo.processes import given_up, start_workers

if TYPE_CHECKING:
    from jobflow import Flow, Job, JobStore, Response

_MOST_BESIDE = 8
"""Jobs that run side by side, at most: each holds a shard in memory."""


@dataclass(eq=False)
class _Place:
    """A job among those of the run.

    Attributes
    ----------
    job : Job
    parents : list of str
        Their uuids.
    after : list of _Place
        What must be complete before it begins.
    workers : int
        Worker processes that do its work, if it may run beside others; 0 if it runs alone.
    diversions : list of _Place
        What it was replaced by or detoured to; it is complete when they are.
    """

    job: Job
    parents: list[str]
    after: list[_Place]
    workers: int
    diversions: list[_Place] = field(default_factory=list)
    ran: bool = False

    @property
    def complete(self) -> bool:
        return self.ran and all(diversion.complete for diversion in self.diversions)


def run_side_by_side(flow: Flow, store: JobStore) -> dict[str, dict[int, Response]]:
    """Run a Flow; the first error ends it, as with ``run_locally(…, ensure_success=True, raise_immediately=True)``.

    Parameters
    ----------
    flow : Flow
    store : JobStore

    Returns
    -------
    dict
        The responses of the jobs, ``{uuid: {index: response}}``.

    Raises
    ------
    RuntimeError
        A job stopped the others or its children.
    """
    from jobflow.core.flow import get_flow

    store.connect()
    run = _Run(store, _places(get_flow(flow), []))
    try:
        run.to_its_end()
    finally:
        run.give_up()
    if not run.successful:
        raise RuntimeError("Flow did not finish running successfully")
    return run.responses


def _places(flow: Flow, after: list[_Place]) -> list[_Place]:
    """The jobs of a Flow in the order in which they run one by one, each after its parents."""
    places: dict[str, _Place] = {}
    for job, parents in flow.iterflow():
        needed = after + [places[uuid] for uuid in parents if uuid in places]
        places[job.uuid] = _Place(job, parents, needed, _workers_beside(job))
    return list(places.values())


def _workers_beside(job: Job) -> int:
    """Worker processes that do the work of a job which may run beside others; 0 for all other jobs.

    Its Maker's class must say so itself: what it says is not true of a class derived from it.
    """
    maker, plain = job.maker, job.config.resolve_references is True and not job.config.expose_store
    if not (plain and isinstance(maker, StepMaker) and "workers_beside_others" in vars(type(maker))):
        return 0
    bound = inspect.signature(job.function).bind(*job.function_args, **job.function_kwargs)
    return maker.workers_beside_others(bound.arguments)


class _Run:
    """The jobs of a Flow: those that wait, in order, and those that run in threads."""

    def __init__(self, store: JobStore, places: list[_Place]) -> None:
        self.responses: dict[str, dict[int, Response]] = {}
        self.successful = True
        self._store = store
        self._waiting = places
        self._running: dict[_Place, threading.Thread] = {}
        self._done: SimpleQueue[tuple[_Place, Any, BaseException | None]] = SimpleQueue()
        self._stopped_parents: set[str] = set()
        self._stopped = False
        self._given_up = threading.Event()

    def to_its_end(self) -> None:
        """Run all jobs, or until one fails or stops all."""
        while (self._waiting or self._running) and not self._stopped:
            place = self._next()
            if place is None:
                self._take_what_is_done()
                continue
            self._waiting.remove(place)
            if self._stopped_parents.intersection(place.parents):
                self._stopped_parents.add(place.job.uuid)
                self.successful, place.ran = False, True
            elif place.workers:
                self._begin(place)
            else:
                self._run(place)

    def give_up(self) -> None:
        """Have what still runs in threads begin nothing more, and wait for its end."""
        self._given_up.set()
        for thread in self._running.values():
            thread.join()

    def _next(self) -> _Place | None:
        """The first job that may begin now."""
        for place in self._waiting:
            room = min(place.workers + 1, _MOST_BESIDE) if place.workers else 1
            if len(self._running) < room and all(other.complete for other in place.after):
                return place
        return None

    def _begin(self, place: _Place) -> None:
        """Have a thread compute what the function of a job returns."""
        job = place.job
        start_workers(place.workers)  # by the main thread, which alone can shield their server from interrupts
        job.resolve_args(store=self._store)
        decorated: Any = job.function
        function = MethodType(decorated.original, job.maker)
        context = copy_context()
        context.run(given_up.set, self._given_up)

        def work() -> None:
            try:
                self._done.put((place, context.run(function, *job.function_args, **job.function_kwargs), None))
            except BaseException as error:  # noqa: BLE001  (raised by the main thread)
                self._done.put((place, None, error))

        self._running[place] = threading.Thread(target=work, name=job.name, daemon=True)
        self._running[place].start()

    def _take_what_is_done(self) -> None:
        """Wait for a thread; the job then runs with what its function has given."""
        place, output, error = self._done.get()
        self._running.pop(place).join()
        if error is not None:
            raise error

        def given(*_: Any, **__: Any) -> Any:
            return output

        place.job.function = given
        self._run(place)

    def _run(self, place: _Place) -> None:
        """Run a job, and put what it turns into before all that waits."""
        job = place.job
        response = job.run(store=self._store)
        place.ran = True
        self.responses.setdefault(job.uuid, {})[job.index] = response
        if response.stop_children:
            self._stopped_parents.add(job.uuid)
        if response.stop_jobflow:
            self.successful, self._stopped = False, True
            return
        for made in (response.replace, response.detour, response.addition):
            if made is not None:
                flow: Any = made  # one by now, whatever the job gave
                place.diversions += _places(flow, place.diversions.copy())
        self._waiting[:0] = place.diversions
