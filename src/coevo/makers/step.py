"""The base of all Makers, the job decorator, and the key under which a finished job's result is stored (docs/architecture.md).

A job is a pure function of its artifacts. Its key hashes the Maker's class and version, its parameters, its inputs and the
versions of the numerical packages it uses. A job that finds its key done, with all its artifacts present, returns the stored
result: that is how a killed campaign resumes and why a rerun is safe.

Also here, shards between jobs: a job writes records as one artifact and passes its reference, never the structures themselves.
"""

from __future__ import annotations

import inspect
import platform
import threading
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import wraps
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Any, ClassVar

from jobflow import Maker, job
from pydantic import BaseModel

from coevo.configs.section import Section, identifying
from coevo.errors import CheckpointError, CorruptArtifactError
from coevo.families import descriptor_of
from coevo.makers.progress import reporter
from coevo.makers.result_spool import put_patiently, take_in_spooled
from coevo.models.external.logs import keeping_logs
from coevo.models.relaxing.halved_batches import noting_halved_batches
from coevo.node_store.current import current_store
from coevo.node_store.shards import read_shard, write_shard
from coevo.processes import has_processes, preload
from coevo.settings import read_settings, usable_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from coevo.node_store.store import NodeStore


Document = dict[str, Any]


@dataclass
class StepMaker(Maker):
    """Base of the Makers of single jobs.

    Attributes
    ----------
    name : str
        Name of the job; not part of its identity.
    workers : int or None
        Worker processes of the job; not part of its identity. None takes ``COEVO_WORKERS`` or all usable cores.
    version : int
        Raised when the step computes something else from the same inputs, so that older results are not taken for new ones.
    packages : tuple of str
        Distributions whose versions change the numbers.
    later : mapping of str to object
        Parameters, and arguments of ``make``, that were added after results had been stored, with the value that means "as
        before": they enter the key where they have another one.
    """

    name: str = "step"
    workers: int | None = None

    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()
    not_in_key: ClassVar[frozenset[str]] = frozenset({"name", "workers"})
    later: ClassVar[Mapping[str, Any]] = {}

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:  # noqa: ARG002 - of steps that run a model: its family's
        """Versions of the distributions that change the numbers of this job; results are stored under the key with these.

        Results of earlier versions, stored under a key with ``packages``, are found as well.
        """
        return installed_versions(self.packages)

    def usable_workers(self) -> int:
        """Worker processes to use on this machine."""
        return usable_workers(self.workers)

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:  # noqa: ARG002 - of steps that run a model: its family
        """Worker processes that do the work of this job, if it may run in a thread beside others; 0 if it must run alone.

        What is needed of ``inputs`` may not be known yet (a reference to an output); such a job runs alone.
        """
        return 0


def workers_of_family(maker: StepMaker, role: str, family: str) -> int:
    """Worker processes for a job that runs a model of a family, if they do all its work (:attr:`Family.in_workers`); else 0."""
    try:
        modules = descriptor_of(family, role).in_workers
    except CheckpointError:  # not known here: its job will say so
        return 0
    workers = maker.usable_workers()
    if not modules or not has_processes(workers):
        return 0
    if role == "force_field":
        from coevo.models.registry import resolved_device

        if resolved_device(read_settings().device) != "cpu":
            return 0
    preload(*modules)
    return workers


def _plain(value: Any) -> Any:
    """Turn parameters into JSON types for hashing."""
    if isinstance(value, Section):
        return identifying(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of distributions of this interpreter."""
    return {name: package_version(name) for name in packages}


def versions_of_family(maker: StepMaker, role: str, family: str) -> dict[str, str]:
    """Versions that the numbers of a job depend on that runs a model of a family: those that its descriptor names."""
    try:
        descriptor = descriptor_of(family, role)
    except CheckpointError:  # not known here: its job will say so, and a finished one is found by its old key
        return installed_versions(maker.packages)
    mine = descriptor.packages or maker.packages
    pinned = {f"{family}: {name}": version for name, version in descriptor.environment_versions().items()}
    return installed_versions(mine) | pinned


def job_keys(maker: StepMaker, inputs: dict[str, Any]) -> tuple[str, ...]:
    """Return the key that the result of a job is stored under, and keys under which earlier versions may have stored it."""
    return tuple(dict.fromkeys((job_key(maker, inputs, maker.versions(inputs)), job_key(maker, inputs))))


def job_key(maker: StepMaker, inputs: dict[str, Any], versions: Mapping[str, str] | None = None) -> str:
    """Return the key of a job: 64 hexadecimal digits.

    Parameters
    ----------
    maker : StepMaker
    inputs : dict
        Arguments of ``make`` by name, with every reference resolved.
    versions : mapping of str to str, optional
        Of distributions; those of ``maker.packages`` by default, as all keys had them at first.
    """
    from coevo.node_store.canonical import digest

    parameters = {f.name: getattr(maker, f.name) for f in fields(maker) if f.name not in maker.not_in_key}
    return digest(
        {
            "maker": type(maker).__name__,
            "version": maker.version,
            "parameters": _as_before(maker, parameters),
            "inputs": _as_before(maker, inputs),
            "packages": installed_versions(maker.packages) if versions is None else dict(versions),
        }
    )


def _as_before(maker: StepMaker, values: dict[str, Any]) -> Any:
    """Values in plain types, without those that were added later and have the value that means "as before"."""
    return _plain({name: value for name, value in values.items() if name not in maker.later or value != maker.later[name]})


def _artifacts(value: Any) -> Iterator[str]:
    """Every sha256 that a result document refers to."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "sha256" and isinstance(item, str):
                yield item
            else:
                yield from _artifacts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _artifacts(item)


def _all_present(store: NodeStore, output: Document) -> bool:
    return all(store.artifacts.has(sha256) for sha256 in _artifacts(output))


def _check_output(maker: StepMaker, output: Document) -> None:
    """Stop what the decoder of the next job would build objects from: text of a state may have found its way into an output."""
    from coevo.node_store.marked_keys import refuse_marked_keys

    try:
        refuse_marked_keys(output, "output")
    except ValueError as err:
        raise CorruptArtifactError(
            f"job {maker.name} was stopped: {err}; a document of the state that it read holds it: see coevo verify"
        ) from None


def _finished(store: NodeStore, keys: Iterable[str]) -> Document | None:
    """The output of a job that is done with all its artifacts present, under one of its keys."""
    for key in keys:
        take_in_spooled(store, key)
        found = store.job_result(key)
        if found is not None and _all_present(store, found["output"]):
            return found["output"]
        if found is not None:
            # Its artifacts were removed: the stored result is of no use, and the one computed now takes its place.
            store.drop_job_result(key)
    return None


def _run_once(maker: StepMaker, keys: tuple[str, ...], compute: Callable[[], Mapping[str, Any]]) -> Document:
    store, key = current_store(), keys[0]
    listener = reporter()
    listener.job_started(maker.name)
    finished = _finished(store, keys)
    if finished is not None:
        _check_output(maker, finished)
        listener.job_finished(maker.name, 0.0, reused=True)
        return finished
    started, clock = datetime.now(UTC), time.perf_counter()
    logs: list[Document] = []

    def keep_log(name: str, data: bytes) -> None:
        if data:
            logs.append({"name": name, "sha256": store.artifacts.put_bytes(data).sha256})

    with keeping_logs(keep_log), noting_halved_batches() as halved:
        output: Document = {**compute(), "key": key}
    if halved:
        output["halved_batches"] = dict(sorted(halved.items()))
    _check_output(maker, output)
    seconds = time.perf_counter() - clock
    # Only of jobs that run side by side in threads does it matter when exactly: their times overlap.
    timespec = "seconds" if threading.current_thread() is threading.main_thread() else "milliseconds"
    provenance: Document = {
        "name": maker.name,
        "maker": type(maker).__name__,
        "host": platform.node(),
        "started": started.isoformat(timespec=timespec),
        "seconds": seconds,
    }
    if logs:
        provenance["logs"] = logs
    if halved:
        provenance["halved_batches"] = output["halved_batches"]
    winner = put_patiently(store, key, {"output": output, "provenance": provenance})
    listener.job_finished(maker.name, seconds, reused=False)
    return winner["output"]


def step(method: Callable[..., Mapping[str, Any]]) -> Callable[..., Any]:
    """Make ``StepMaker.make`` a jobflow job whose result is stored under its key.

    The result is a small JSON document of references (``{"sha256": …}``) and counts; ``key`` is added to it, and
    ``halved_batches`` where batches of a force field were answered in parts.
    """
    signature = inspect.signature(method)

    @wraps(method)
    def make(self: StepMaker, *args: Any, **kwargs: Any) -> Document:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        inputs = {name: value for name, value in bound.arguments.items() if name != "self"}
        return _run_once(self, job_keys(self, inputs), lambda: method(self, *args, **kwargs))

    return job(make)


def provenance_of(outputs: Iterable[Mapping[str, Any]]) -> list[Document]:
    """Collect what is stored about the runs of these outputs (name, host, start, seconds), in order."""
    store = current_store()
    runs = [store.job_result(output["key"]) for output in outputs if "key" in output]
    return [run["provenance"] for run in runs if run is not None]


Record = dict[str, Any]
ShardReference = dict[str, Any]
"""``{"sha256": str, "count": int}``."""


def write_records(store: NodeStore, records: Iterable[Record]) -> ShardReference:
    """Write records (JSON documents) as one shard."""
    rows = list(records)
    return {"sha256": write_shard(store.artifacts, rows).sha256, "count": len(rows)}


def read_records(store: NodeStore, shards: ShardReference | Sequence[ShardReference]) -> Iterator[Record]:
    """Read the records of one shard or of several, in order; every byte is verified against its hash."""
    for shard in [shards] if isinstance(shards, dict) else shards:
        yield from read_shard(store.artifacts, shard["sha256"])
