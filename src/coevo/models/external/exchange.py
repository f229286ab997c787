"""A run's directory: request and input files in, result and output files out; what comes out is believed in nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from coevo.errors import ModelError
from coevo.models.external.checkouts import VerifiedCheckout, variables_of, verified_checkouts
from coevo.models.external.environment import environment_of
from coevo.models.external.families import PROTOCOL_FILE, WORKER_FILE
from coevo.models.external.logs import hand_over
from coevo.models.external.process import run_process
from coevo.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from coevo.models.contracts import Progress
    from coevo.models.external.families import ExternalFamily

PROTOCOL = 1
"""Version of the protocol, in every request and every result."""

LOG = "runner.log"
RESULT_LIMIT = 4 * 1024 * 1024
"""Bytes of ``result.json``, at most."""

_LAST_LINES = 15
_LINE = 300


@dataclass(frozen=True)
class Finished:
    """A run that said ``done``.

    Attributes
    ----------
    output : dict
        The result's ``output``, plain JSON.
    directory : Path
        Where its files are; removed when the block ends.
    checkouts : tuple of VerifiedCheckout
        What the family ran from.
    """

    output: dict[str, Any]
    directory: Path
    checkouts: tuple[VerifiedCheckout, ...] = ()

    def file(self, name: Any, limit: int) -> Path:
        """Return an output file that the result names.

        Parameters
        ----------
        name : object
            What the result says: the name of a regular file in ``output``, without a directory.
        limit : int
            Bytes, at most.

        Raises
        ------
        ModelError
            If it is not a plain name, no regular file, or larger.
        """
        path = self._inside(name)
        if path.is_symlink() or not path.is_file():
            raise ModelError(f"the runner's result names {name!r}, which is no regular file in its output")
        if path.stat().st_size > limit:
            raise ModelError(f"the runner's file {name} has {path.stat().st_size} bytes, allowed: {limit}")
        return path

    def folder(self, name: Any) -> Path:
        """Return an output directory that the result names; raises as :meth:`file`."""
        path = self._inside(name)
        if path.is_symlink() or not path.is_dir():
            raise ModelError(f"the runner's result names {name!r}, which is no directory in its output")
        return path

    def _inside(self, name: Any) -> Path:
        if not isinstance(name, str) or not name or "/" in name or "\\" in name or "\0" in name or name in {".", ".."}:
            raise ModelError(f"the runner's result names the file {str(name)[:80]!r}, allowed: a name without a directory")
        output = self.directory / "output"
        if output.is_symlink():
            raise ModelError("the runner's output is a symbolic link, allowed: a directory")
        return output / name


@contextmanager
def run_task(
    family: ExternalFamily,
    task: str,
    request: Mapping[str, Any],
    *,
    prepare: Callable[[Path], None] = lambda _directory: None,
    progress: Progress | None = None,
) -> Iterator[Finished]:
    """Run one task of a family in its environment.

    Parameters
    ----------
    family : ExternalFamily
    task : str
        ``sample``, ``fit`` or ``check``.
    request : mapping
        JSON; ``protocol``, ``family``, ``task`` and ``device`` are added, and for a family that runs from checkouts
        ``checkouts``: name to absolute path, each verified.
    prepare : callable
        Writes input files below the directory it is given (``input``).
    progress : callable, optional
        Told of what the runner tells by ``advance``.

    Yields
    ------
    Finished
        Its files are there until the block ends.

    Raises
    ------
    ConfigError
        If the family has no environment, or a checkout of it is absent or not what was tested.
    ModelError
        If the run failed: its message names the log, which is kept, and has its last lines.
    """
    environment, checkouts = environment_of(family), verified_checkouts(family)
    base = scratch_directory()
    directory = Path(tempfile.mkdtemp(prefix=f"coevo-{family.name}-", dir=base))
    log, failed = directory / LOG, True
    try:
        for script in (PROTOCOL_FILE, WORKER_FILE, family.runner, *family.companions):
            shutil.copyfile(script, directory / script.name)
        (directory / "input").mkdir()
        prepare(directory / "input")
        full = {**request, "protocol": PROTOCOL, "family": family.name, "task": task, "device": environment.device}
        if family.checkouts:
            full["checkouts"] = {checkout.name: str(checkout.path) for checkout in checkouts}
            # the log is kept with the job: it begins with what ran
            log.write_text("".join(f"checkout {checkout}\n" for checkout in checkouts), encoding="utf-8")
        (directory / "request.json").write_text(json.dumps(full, allow_nan=False, sort_keys=True), encoding="utf-8")
        counter = _Progress(directory, progress)
        try:
            ended = run_process(
                environment.command(family.runner.name, "request.json"),
                directory,
                variables_of(environment, checkouts),
                log,
                timeout=environment.described.timeout,
                secrets=environment.secrets(),
                tick=counter.tick,
            )
        finally:
            if log.is_file():
                hand_over(f"{family.name}-{task}", log.read_bytes())
        counter.read()
        try:
            output = _read_result(directory, family.name, task, str(ended), failed=ended.timed_out or ended.code != 0)
            yield Finished(output, directory, checkouts)
        except ModelError as err:
            raise ModelError(f"{family.name}: {task}: {err}{_story(log)}") from None
        failed = False
    finally:
        _clean(directory, log, keep=failed)


def scratch_directory() -> Path | None:
    """Where runs are made: ``COEVO_SCRATCH`` or the directory of temporary files."""
    scratch = read_settings().scratch
    if scratch is None:
        return None
    path = Path(scratch).expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ModelError(f"COEVO_SCRATCH: {path} cannot be made: {err.strerror}") from None
    return path


def _read_result(directory: Path, family: str, task: str, how: str, *, failed: bool) -> dict[str, Any]:
    """Read and check ``result.json``; raises ModelError unless it says ``done`` in this protocol."""
    path = directory / "result.json"
    if path.is_symlink() or not path.is_file():
        raise ModelError(f"the run gave no result ({how})")
    if path.stat().st_size > RESULT_LIMIT:
        raise ModelError(f"result.json has {path.stat().st_size} bytes, allowed: {RESULT_LIMIT} ({how})")
    try:
        result = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise ModelError(f"result.json is not JSON ({how}): {str(err)[:200]}") from None
    if not isinstance(result, dict):
        raise ModelError(f"result.json holds no mapping ({how})")
    for key, expected in (("protocol", PROTOCOL), ("family", family), ("task", task)):
        if result.get(key) != expected or type(result.get(key)) is not type(expected):
            raise ModelError(f"result.json: {key}: got {str(result.get(key))[:80]!r}, allowed: {expected!r} ({how})")
    if result.get("status") != "done":
        reason, message = str(result.get("reason"))[:80], str(result.get("message"))[:1000]
        raise ModelError(f"the runner failed ({reason}): {message}")
    if failed:
        raise ModelError(f"the runner said done, but {how}")
    output = result.get("output")
    if not isinstance(output, dict):
        raise ModelError("result.json: output: no mapping")
    return output


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def last_lines(log: Path) -> list[str]:
    """Return the last lines of a log, each cut to a length for a message, without control characters."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 32_768))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = ["".join(c if c.isprintable() else " " for c in line).rstrip()[:_LINE] for line in text.splitlines()]
    return [line for line in lines if line][-_LAST_LINES:]


def _story(log: Path) -> str:
    lines = last_lines(log)
    if not lines:
        return f"\nlog: {log} (empty)"
    return "\n".join([f"\nlog: {log}, its last lines:", *(f"  {line}" for line in lines)])


def _clean(directory: Path, log: Path, *, keep: bool) -> None:
    """Remove a run's directory; of a failed one the log, the request and the result stay."""
    if not keep or not log.is_file():
        shutil.rmtree(directory, ignore_errors=True)
        return
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in {LOG, "request.json", "result.json"}:
            path.unlink(missing_ok=True)


class _Progress:
    """Shows the run that we live, and tells what it says of its progress."""

    _LIMIT = 1_000_000

    def __init__(self, directory: Path, progress: Progress | None):
        self._alive, self._path, self._progress, self._read = directory / "alive", directory / "progress", progress, 0
        self._alive.touch()

    def tick(self) -> None:
        with suppress(OSError):
            self._alive.touch()
        self.read()

    def read(self) -> None:
        if self._progress is None or self._path.is_symlink() or not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            text = file.read(self._LIMIT)
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        count = sum(int(line) for line in whole.split(b"\n") if line.isdigit() and len(line) < 9)
        if count:
            self._progress(count)
