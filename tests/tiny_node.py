"""The ``coevo`` command in a process of its own, and a node so small that a whole transition takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from warm_processes import run_coevo

TINY = """
node:
  name: tiny
  elements: [Li, P, S]
  references: li-p-s
  seed: 7
# the six phases of small cells
references:
  exclude: ["alpha-S8 (Fddd)", "P fibrous red (P-1, 42)", "P2S5 (P4S10)", P4S3, "P4S6 (P2S3)", P4S7, Li7P3S11,
    "Li7PS6 (cubic argyrodite model)"]
generator:
  candidates: 8
  shard_size: 4
  max_atoms: 8
screening:
  fmax: 0.2
  max_steps: 80
  batch_size: 2
curation:
  max_e_hull: 0.5
  stable_threshold: 0.2
selection:
  structures: 5
labelling:
  # CHGNet's r2SCAN weights teach those of corrected PBE here
  accept_scale_mismatch: true
  frames_per_job: 12
training:
  epochs: 2
  batch_size: 4
  min_frames: 4
  test_fraction: 0.3
  validation_fraction: 0.3
maturity:
  environments: 20
  subsamples: 2
  ruler_size: 4
"""


class Coevo:
    """The command line in a process of its own, on a database of its own.

    Parameters
    ----------
    directory : Path
        Working directory; the database is ``directory/db``.
    """

    def __init__(self, directory: Path, **environment: str):
        self.directory = directory
        self.database = directory / "db"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("COEVO_")},
            "COEVO_DATABASE": f"file:{self.database}",
            "OMP_NUM_THREADS": "1",
            # tests run side by side; test_resume.py asks for more
            "COEVO_WORKERS": "1",
            "COLUMNS": "200",
            **environment,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "coevo.app.cli", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In a session of its own, which what it starts belongs to."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_coevo(arguments, cwd=self.directory, env=self.environment, timeout=1800)
        assert done.returncode == code, f"exit code {done.returncode}, expected {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done


def copy_of(source: Path, target: Path, **environment: str) -> Coevo:
    """Copy a database with ``cp -a`` (blobs are read-only) and return a command line on the copy."""
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)
    return Coevo(target, **environment)
