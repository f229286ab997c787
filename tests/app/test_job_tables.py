"""Tables of jobs: what is counted, what is shown one by one, and what fits on a screen."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from coevo.app.tables.jobs import duration, jobs_view, watched_view
from coevo.slurm.job_table import JobRow

DONE = JobRow("n/1/generate/0000", 1, 1, "generate", "completed", "gpu", "c", seconds=12.4)
ROWS = [
    DONE,
    replace(DONE, name="n/1/commit", step="commit", fw_id=2),
    replace(DONE, name="n/2/generate/0000", iteration=2, fw_id=3),
    replace(DONE, name="n/2/screen/0000", iteration=2, step="screen", state="running", slurm_id="17", seconds=64.0, fw_id=4),
    replace(DONE, name="n/2/label/0000", iteration=2, step="label", state="fizzled", error="ValueError: no", reruns=2, fw_id=5),
    replace(DONE, name="n/2/curate", iteration=2, step="curate", state="waiting", seconds=None, fw_id=6),
]


def text_of(view: RenderableType) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()


def test_steps_stand_in_the_order_of_the_loop_and_jobs_on_their_way_one_by_one() -> None:
    text = text_of(jobs_view(ROWS, each=False))
    counted = text.split("what went wrong")[0]
    assert counted.index("generate") < counted.index("commit")
    assert counted.rindex("screen") < counted.rindex("curate") < counted.rindex("label")
    single = text.split("what went wrong")[1]
    assert "n/2/screen/0000" in single
    assert "ValueError: no" in single
    assert "n/1/commit" not in single
    assert "n/1/commit" in text_of(jobs_view(ROWS, each=True))


def test_a_screen_shows_what_is_on_its_way_first_and_no_finished_iteration() -> None:
    text = text_of(watched_view(ROWS))
    assert text.index("ValueError: no") < text.index("iteration")
    assert "commit" not in text
    assert "commit" in text_of(watched_view(ROWS[:2]))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h 0 min"), (180000, "2 d 2 h")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
