"""SLURM detection against executables of the shape of SLURM's own; only the executables are replaced."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from coevo.slurm import detection
from coevo.slurm.detection import find_slurm

UP = 'echo "Slurmctld(primary) at headnode is UP"'
DOWN = 'echo "Slurmctld(primary) at headnode is DOWN"; exit 1'


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory that is all of PATH, except for the shell and sleep."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "sleep"):
        (folder / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(detection, "TIMEOUT", 600.0)
    return folder


def executable(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_no_sbatch_means_no_slurm(bin_dir: Path) -> None:
    executable(bin_dir / "scontrol", UP)
    assert find_slurm() is None


def test_a_controller_that_is_up(bin_dir: Path) -> None:
    sbatch = executable(bin_dir / "sbatch", 'test "$1" = --version && echo "slurm-wlm 22.05.8"')
    executable(bin_dir / "scontrol", f'test "$1" = ping && {UP}')
    found = find_slurm()
    assert found is not None
    assert found.sbatch == sbatch
    assert found.version == "22.05.8"
    assert found.controller_answers
    assert found.detail == "Slurmctld(primary) at headnode is UP"


@pytest.mark.parametrize(
    ("told", "version"), [("slurm 23.11.4", "23.11.4"), ("slurm 24.05.0-rc1", "24.05.0-rc1"), ("who knows", None)]
)
def test_version_strings(bin_dir: Path, told: str, version: str | None) -> None:
    executable(bin_dir / "sbatch", f'echo "{told}"')
    found = find_slurm()
    assert found is not None
    assert found.version == version
    assert not found.controller_answers
    assert "no scontrol" in found.detail


@pytest.mark.parametrize("body", [DOWN, 'echo "slurm_load_ctl_conf error: Unable to contact slurm controller" >&2; exit 1'])
def test_a_controller_that_is_down(bin_dir: Path, body: str) -> None:
    executable(bin_dir / "sbatch", 'echo "slurm 23.11.4"')
    executable(bin_dir / "scontrol", body)
    found = find_slurm()
    assert found is not None
    assert not found.controller_answers
    assert "DOWN" in found.detail or "Unable to contact" in found.detail


@pytest.mark.timing
def test_a_controller_that_hangs_is_given_up(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "TIMEOUT", 0.3)
    executable(bin_dir / "sbatch", 'echo "slurm 23.11.4"')
    executable(bin_dir / "scontrol", "exec sleep 3000")
    started = time.monotonic()
    found = find_slurm()
    assert time.monotonic() - started < 2000
    assert found is not None
    assert not found.controller_answers
    assert found.detail == "no answer within 0.3 s"


def test_an_sbatch_that_cannot_be_run(bin_dir: Path) -> None:
    (bin_dir / "sbatch").write_bytes(b"\x7fELF not a program")
    (bin_dir / "sbatch").chmod(0o755)
    found = find_slurm()
    assert found is not None
    assert found.version is None
