from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chunk_tasks import die_on_seven, fail_on_seven, total
from coevo.errors import AnalysisError
from coevo.processes import hold_numerics, map_chunks

CPU = Path("/proc/cpuinfo")
CHUNKS = [[k, k + 1] for k in range(0, 40, 2)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_are_in_order(workers):
    told: list[int] = []
    assert list(map_chunks(total, CHUNKS, workers=workers, progress=told.append)) == [sum(chunk) for chunk in CHUNKS]
    assert sum(told) == 40


def test_chunks_are_taken_as_they_are_needed():
    """A generator of many chunks is not held as a whole."""
    taken: list[int] = []

    def chunks():
        for k in range(100):
            taken.append(k)
            yield [k]

    results = map_chunks(total, chunks(), workers=2)
    next(results)
    assert len(taken) < 20
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_raised_as_they_are(workers):
    with pytest.raises(ValueError, match="seven"):
        list(map_chunks(fail_on_seven, CHUNKS, workers=workers))


def test_a_killed_worker_is_one_clear_error():
    with pytest.raises(AnalysisError, match="use fewer workers"):
        list(map_chunks(die_on_seven, CHUNKS, workers=2))


def test_nothing():
    assert list(map_chunks(total, [], workers=2)) == []


def test_workers_import_from_where_the_call_is_made(tmp_path, monkeypatch):
    """Also modules of a place that came onto the path when the workers ran already."""
    assert list(map_chunks(total, CHUNKS, workers=2))
    (tmp_path / "tasks_of_another_place.py").write_text("def first(chunk):\n    return chunk[0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = importlib.import_module("tasks_of_another_place").first
    assert list(map_chunks(first, CHUNKS, workers=2)) == [chunk[0] for chunk in CHUNKS]


JOBS = """
import multiprocessing, sys
from coevo.processes import hold_numerics, map_chunks

def job(*, fails):
    assert list(map_chunks(len, [[1], [2, 3]], workers=2)) == [1, 2]
    if fails:
        sys.exit(7)

if __name__ == "__main__":
    for fails in (False, True):
        process = multiprocessing.get_context("fork").Process(target=job, kwargs={"fails": fails})
        process.start()
        process.join()
        print(process.exitcode)
"""
"""What ``coevo.slurm.worker`` does with a job."""


@pytest.mark.timing
def test_a_job_that_had_workers_ends(tmp_path):
    script = tmp_path / "jobs.py"
    script.write_text(JOBS)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.split() == ["0", "7"]


PRODUCT = """
import coevo.app.cli
import numpy as np

rng = np.random.default_rng(0)
print(np.sum(rng.normal(size=(97, 211)) @ rng.normal(size=(211, 103))).hex())
"""


@pytest.mark.skipif(
    not CPU.exists() or " avx2 " not in CPU.read_text(), reason="without AVX2, or Linux to say so, OpenBLAS chooses its kernels"
)
def test_numbers_do_not_hang_on_the_kernels_that_openblas_would_choose() -> None:
    """The command line chooses them before NumPy is imported, and one thread."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    told = {**plain, "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}
    found = [subprocess.check_output([sys.executable, "-c", PRODUCT], env=env, text=True) for env in (plain, told)]
    assert found[0] == found[1]


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    hold_numerics()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_CORETYPE"]) == ("3", "Zen")
