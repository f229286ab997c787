"""The benchmark of orchestration runs its jobs on a cluster of its own, and its parts are those of the whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_cluster import need_slurm

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.long
def test_the_quick_benchmark_splits_what_a_job_costs(tmp_path):
    need_slurm()
    result, plot = tmp_path / "orchestration.json", tmp_path / "plot.png"
    command = [sys.executable, str(BENCHMARKS / "orchestration.py"), "--quick", "--parts", "commands", "single"]
    done = subprocess.run(
        [*command, "--output", str(result), "--plot", str(plot)], capture_output=True, text=True, check=False, timeout=3600
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    assert "slurm" in report["versions"]
    single = report["parts"]["single"]["found"]["4"]
    cpu = single["cpu_seconds"]
    assert single["jobs"] == single["allocations"] == 4
    assert min(cpu["worker"], cpu["server"]) > 0
    assert sum(cpu[part] for part in ("worker", "launcher", "programs", "server", "slurm")) == pytest.approx(
        cpu["total"], abs=1e-5
    )
    assert set(single["stages"]["all"]) == {"queue", "start", "job", "end"}
    assert all(seconds > 0 for seconds in single["stages"]["all"].values())
    asked = report["parts"]["commands"]["found"]["5 in workflows of 5"]
    assert asked["by_command"]["findAndModify fireworks"]["count"] >= 1
    assert sum(one["count"] for one in asked["by_command"].values()) == pytest.approx(asked["commands"])
    assert asked["commands_wall_seconds"] > 0  # of all threads: FireWorks pings while a job runs
    assert plot.read_bytes().startswith(b"\x89PNG")
