"""The benchmarks of force fields run, and what they write is what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


@pytest.mark.long
def test_what_is_measured_on_a_gpu(gpu, tmp_path, monkeypatch):
    """On the CPU, all of it: three crystals, two at once, two steps."""
    result = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--device", "cpu", "--output", str(result)])
    gpu.main()
    report = json.loads(result.read_text())
    assert (report["structures"], report["left_out"]) == (3, [])
    assert report["versions"]["chgnet"]
    found = report["families"]["chgnet"]
    ase, cases = found["ase_one_by_one"], found["cases"]
    assert (ase["single_points"]["done"], ase["relaxations"]["done"], ase["relaxations"]["predictions"]) == (3, 3, 9)
    ways = [(case["task"], case["batch"], case["optimiser"]) for case in cases]
    assert ways == [("single_points", 2, None), ("relaxations", 2, "fire"), ("relaxations", 2, "lbfgs")]
    assert [case["predictions"] for case in cases] == [3, 9, 9]
    for case in cases:
        assert (case["done"], case["error"], case["peak_device_bytes"]) == (3, None, None)
        assert set(case["shares"]) == {"neighbour_lists", "graphs", "to_device", "network", "optimiser_and_rest"}
        assert sum(case["shares"].values()) == pytest.approx(1.0, abs=1e-3)
        assert all(share > 0 for share in case["shares"].values())
        assert case["over_ase"] > 0
    assert [row["done"] for row in found["family_batches_without_worker"]] == [3]
    assert found["seconds_for_all"]["ase_extrapolated"] > 0


def test_without_a_gpu_nothing_is_measured(gpu, tmp_path, monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit) as stopped:
        gpu.main()
    assert stopped.value.code == 2
    assert "sees no GPU here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def quick(family: str, result: Path) -> dict:
    command = [sys.executable, str(BENCHMARKS / "force_fields.py"), family, "--quick", "--output", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())["families"][family]


@pytest.mark.parametrize(
    "family", [pytest.param("chgnet", marks=pytest.mark.long), pytest.param("sevennet", marks=pytest.mark.models)]
)
def test_families_through_their_worker(family, tmp_path):
    found = quick(family, tmp_path / "force_fields.json")
    assert found["start_up"]["cpu_seconds"] > 0
    points, relaxed = found["single_points"], found["relaxations"]["arms"]
    assert points["structures"] == 4
    assert {"ase", "own_batches", "worker_batches", "worker_one_by_one", "evaluate"} == set(points["arms"])
    assert points["arms"]["worker_batches"]["largest_dE_mev_per_atom"] == 0.0  # the same batches, the same numbers
    assert all(arm["largest_dE_mev_per_atom"] < 0.1 for arm in points["arms"].values())
    assert all(arm["efs_per_cpu_second"] > 0 for arm in points["arms"].values())
    overhead = found["worker_overhead"]
    assert (overhead["structures"], overhead["pairs"]) == (4, 1)
    assert overhead["worker_cpu_seconds"] == pytest.approx(overhead["own_cpu_seconds"] * (1 + overhead["overhead"]), abs=5e-3)
    assert relaxed["fire"]["n_both_converged"] == relaxed["fire"]["converged"] == relaxed["ase"]["converged"] > 0
    assert relaxed["fire"]["steps"] == relaxed["ase"]["steps"]
    assert relaxed["fire"]["median_abs_dE_both_mev"] < 0.1
    assert relaxed["fire"]["cpu_seconds_worker"] > relaxed["fire"]["cpu_seconds_coevo"] > 0
    assert found["worker_killed"]["same_sha256"]
