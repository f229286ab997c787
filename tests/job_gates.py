"""Gates at which jobs of a site wait for the test, so that it meets them at work however fast or slow they are."""

from __future__ import annotations

import os
from pathlib import Path

HOOK = Path(__file__).with_name("waiting_jobs")
"""On the path of the jobs, where its ``sitecustomize.py`` is loaded by Python."""


class JobGates:
    """The gates of one site.

    Parameters
    ----------
    directory : Path
        Is made; each closed gate is a folder in it.
    """

    def __init__(self, directory: Path):
        directory.mkdir()
        self._directory = directory

    @property
    def variables(self) -> str:
        """What the jobs' environment needs, as part of a mapping of YAML."""
        path = os.pathsep.join([str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])])
        return f'JOB_GATES: "{self._directory}", PYTHONPATH: "{path}"'

    def _of(self, name: str) -> Path:
        return self._directory / name.replace("/", "_")

    def hold(self, *names: str) -> None:
        """Let jobs that have not begun wait when they run, and those of the same name that come later."""
        for name in names:
            self._of(name).mkdir()

    def waiting(self, name: str) -> set[int]:
        """Return the process ids of the jobs of a name that are or were at its gate."""
        return {int(path.name) for path in self._of(name).iterdir()}

    def let_go(self, name: str) -> None:
        """Let the jobs of a name go on that wait, and those that come."""
        gate = self._of(name)
        gate.rename(gate.with_suffix(".open"))
