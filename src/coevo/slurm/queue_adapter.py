"""FireWorks' queue adapter for SLURM, with the lines that coevo's sites need and a count of jobs by site and class.

FireWorks' own counts every job of the user in a partition, so that two classes in one partition, or jobs that are not coevo's,
would use up each other's ``max_in_queue``; and it swallows what sbatch says when it refuses a job.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

TEMPLATE = Path(__file__).with_name("queue_script.txt")
SUBMIT_TIMEOUT = 120.0
"""Seconds that sbatch may take; a controller under load answers late."""


class SiteQueueAdapter(CommonAdapter):
    """CommonAdapter for SLURM with coevo's template.

    Attributes
    ----------
    last_error : str or None
        What sbatch said when it refused the last job of this process; FireWorks copies adapters, so it is the class's.
    """

    _fw_name = "{{coevo.slurm.queue_adapter.SiteQueueAdapter}}"

    last_error: ClassVar[str | None] = None

    def __init__(
        self,
        q_type: str = "SLURM",
        q_name: str | None = None,
        template_file: str | None = None,
        timeout: int | None = 120,
        **parameters: Any,
    ) -> None:
        super().__init__(q_type, q_name, template_file or str(TEMPLATE), timeout, **parameters)

    def get_script_str(self, launch_dir: str) -> str:
        """Return the job script; the job's name is ``title``, because FireWorks drops slashes from ``job_name``."""
        self.pop("job_name", None)
        return str(super().get_script_str(launch_dir))

    def _get_status_cmd(self, username: str) -> list[str]:
        return [self.q_commands[self.q_type]["status_cmd"], "--noheader", "--format=%k", f"--user={username}"]

    def _parse_njobs(self, output_str: str, username: str) -> int:  # noqa: ARG002
        return sum(line.strip() == self["comment"] for line in output_str.splitlines())

    def submit_to_queue(self, script_file: str) -> str | None:
        """Submit a job.

        Parameters
        ----------
        script_file : str

        Returns
        -------
        str or None
            SLURM's id of the job; None if sbatch refused it, which :attr:`last_error` explains.
        """
        command = [self.q_commands[self.q_type]["submit_cmd"], script_file]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SUBMIT_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            self._refused(f"sbatch did not answer within {SUBMIT_TIMEOUT:g} s; the job may be in the queue all the same")
            return None
        except OSError as err:
            self._refused(f"{command[0]}: {err.strerror}")
            return None
        match = re.search(r"Submitted batch job\s+(\d+)", done.stdout)
        if done.returncode or match is None:
            self._refused(" ".join((done.stderr + " " + done.stdout).split()) or f"sbatch ended with {done.returncode}")
            return None
        type(self).last_error = None
        return match[1]

    def _refused(self, reason: str) -> None:
        type(self).last_error = reason
