"""What an interrupt (Ctrl-C) leaves behind, by command, and how to go on."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import threading
import time
from contextlib import suppress
from itertools import count
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

EXIT_CODE = 130
"""128 and the number of SIGINT, as shells have it."""

_EVERY = 0.1
"""Seconds between two looks for workers that were started late."""

_RESUMED = "nothing is lost, finished jobs are not done again; run the same command again: {again}"
_WHOLE = "nothing was written; run the same command again: {again}"
_REPEATED = "it may be repeated: {again}"
_LEFT = {
    "run": _RESUMED,
    "init": _RESUMED,
    "label": _RESUMED,
    "add": _RESUMED,
    "merge": _RESUMED,
    "extend": _RESUMED,
    "submit": "what was submitted stays and is not submitted twice; run the same command again: {again}",
    "launch": "jobs that were sent to the queue or begun go on; send the others: {again}",
    "jobs": "the jobs go on; look again: {again}",
    "rerun": f"what was made ready stays so; {_REPEATED}",
    "cancel": f"the campaign may be cancelled in part; {_REPEATED}",
    "pause": f"some jobs may be paused; {_REPEATED}",
    "resume": f"some jobs may go on; {_REPEATED}",
    "completeness": _RESUMED,
    "analyse": _WHOLE,
    "report": _WHOLE,
    "export": _WHOLE,
    "motifs": _WHOLE,
    "rediscover": _WHOLE,
    "query": _WHOLE,
    "import": "no branch is at half a history; what was copied is used when the same command is run again: {again}",
    "gc": f"what is needed was not touched; {_REPEATED}",
    "migrate": f"the states are as they were; {_REPEATED}",
    "env": "an environment is used only when it is complete; run the same command again: {again}",
}
_READING = "nothing was changed; run the same command again: {again}"


def handle_interrupts() -> None:
    """Have an interrupt end the worker processes, which ignore it, and raise :class:`KeyboardInterrupt`.

    Workers are ended first: one that has not finished its start would complain of what is gone by then, and one that works would
    be waited for. Programs such as pw.x are ended by whoever started them; a second interrupt does not disturb that.
    """
    times = count(1)

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of signal handlers
        _end_workers()
        press = next(times)
        if press == 1:
            threading.Thread(target=_end_late_workers, daemon=True).start()
        if press != 2:
            raise KeyboardInterrupt

    with suppress(ValueError):  # not in the main thread, where signals do not arrive either
        signal.signal(signal.SIGINT, interrupt)


def end_at_once() -> None:
    """Have a further interrupt end this process without a word: nothing is left to be tidied up."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_workers() -> None:
    server = getattr(forkserver._forkserver, "_forkserver_pid", None)  # type: ignore[attr-defined]  # noqa: SLF001
    if server is not None:
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGSTOP)  # it forks no further one
            for worker in _children_of(server):  # also one that this process has not heard of yet
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            os.kill(server, signal.SIGKILL)
    for process in multiprocessing.active_children():
        process.kill()


def _children_of(process: int) -> list[int]:
    """Process ids of the children of a single-threaded process; none where the system does not tell."""
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _end_late_workers() -> None:
    """End workers until this process ends.

    A thread that was about to start one does so when the others have been ended, by a new server, and the pool, which has ended
    those that it knew, waits for this one for ever.
    """
    while True:
        time.sleep(_EVERY)
        with suppress(RuntimeError, ValueError):  # one is started, or its end is taken note of, in this moment
            _end_workers()


def what_to_do(command: str | None, arguments: Sequence[str]) -> str:
    """Say what an interrupted command left and what to do next.

    Parameters
    ----------
    command : str or None
        Name of the command; None if it had not begun.
    arguments : sequence of str
        As given, without the program.

    Returns
    -------
    str
        One sentence with the command to type.
    """
    return "interrupted: " + _LEFT.get(command or "", _READING).format(again=shlex.join(["coevo", *arguments]))
