"""Progress of the running campaign on the terminal: a bar with rate for the present task, one line for each finished job."""

from __future__ import annotations

from threading import local
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from coevo.output.plain_text import plain

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, RenderableType
    from rich.progress import Task, TaskID


class RateColumn(TextColumn):
    """Units per second of a task."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        """Render ``12.3 structures/s``."""
        if not task.speed:
            return Text("")
        unit = task.fields.get("unit", "")
        speed = task.speed
        return Text(f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit.removesuffix('s')}", style="cyan")


class _Running(local):
    """The job of a thread and its bars: several jobs may run side by side, each in a thread."""

    def __init__(self) -> None:
        self.job = ""
        self.tasks: list[TaskID] = []


class ProgressBars:
    """A reporter (:mod:`coevo.output.progress`) that draws on a console.

    Parameters
    ----------
    console : Console
        Standard error, so that a command's output stays clean.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_interactive,  # into a file no bars are drawn, and no blank line is left by them
        )
        self._here = _Running()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def job_started(self, name: str) -> None:
        """Remember the job's name for its bars."""
        self._here.job = name

    def job_finished(self, name: str, seconds: float, *, reused: bool) -> None:
        """Print one line."""
        how = "done before, result reused" if reused else f"{seconds:8.1f} s"
        self._progress.console.print(Text.assemble("  ", ("✓", "green"), f" {plain(name):<44} {how}"))

    def stop(self) -> None:
        """Take the bars off the terminal, so that a result can be printed."""
        self._progress.stop()

    def above(self, renderable: RenderableType, console: Console) -> None:
        """Print something on another console without tearing the bars."""
        self._progress.stop()
        console.print(renderable)
        self._progress.start()

    def task_started(self, what: str, total: int, unit: str) -> None:
        """Draw a bar."""
        self._here.tasks.append(self._progress.add_task(plain(f"{self._here.job}: {what}"), total=total, unit=unit))

    def task_advanced(self, count: int) -> None:
        """Advance the latest bar."""
        if self._here.tasks:
            self._progress.advance(self._here.tasks[-1], count)

    def task_finished(self) -> None:
        """Remove the latest bar."""
        if self._here.tasks:
            self._progress.remove_task(self._here.tasks.pop())
