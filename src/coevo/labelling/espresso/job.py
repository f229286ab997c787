"""One run of ``pw.x`` as a custodian job."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from custodian.custodian import Job

from coevo.errors import LabellingError
from coevo.labelling.espresso.modder import PwInput
from coevo.labelling.espresso.parsing import STATUS_FILE
from coevo.labelling.espresso.pseudopotentials import pw_environment

LEFT_OVERS = ("CRASH", "input_tmp.in")


class PwJob(Job):
    """Run ``pw.x`` in a directory that holds its input.

    Charge density and wavefunctions are kept below the directory, survive a failed attempt (a restart reads them) and are
    removed after success.

    Parameters
    ----------
    command : list of str
        Such as ``["mpirun", "-np", "4", "pw.x"]``; ``-in`` and the input file are appended.
    input_file, output_file, stderr_file : str
        Names in the directory of the run.
    timeout : float or None
        Seconds after which an attempt is ended by force, for a run that hangs; beyond the input's own ``max_seconds``.
    accepted : list of int, optional
        Exit codes other than 0 that are no failure by themselves; what the run is worth is asked of its output.
    """

    def __init__(
        self,
        command: list[str],
        input_file: str = "pw.in",
        output_file: str = "pw.out",
        stderr_file: str = "std_err.txt",
        timeout: float | None = None,
        accepted: list[int] | None = None,
    ):
        self.command = list(command)
        self.input_file = input_file
        self.output_file = output_file
        self.stderr_file = stderr_file
        self.timeout = timeout
        self.accepted = list(accepted or [])
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def setup(self, directory: str = "./") -> None:
        """Check before the run that scratch lies in the directory of the run and that the input's potentials are where it says.

        Raises
        ------
        LabellingError
            If ``outdir`` leads out of the directory, ``pseudo_dir`` is not absolute, or a potential is not in it: pw.x would
            look in other directories without saying so.
        """
        content = PwInput.from_file(Path(directory) / self.input_file)
        self._outdir(directory, content)
        pseudo_dir = Path(str(content.get("CONTROL->pseudo_dir") or ""))
        if not pseudo_dir.is_absolute():
            raise LabellingError(f"{self.input_file}: pseudo_dir is {str(pseudo_dir)!r}, allowed: an absolute path")
        for name in potentials_of(content):
            if not (pseudo_dir / name).is_file():
                raise LabellingError(f"{self.input_file}: the pseudopotential {name} is not in {pseudo_dir}")

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Run to the end, and write the exit code where the handlers can read it.

        Returns
        -------
        subprocess.Popen
            Ended.

        Raises
        ------
        LabellingError
            If the command cannot be started, or the job was cancelled.
        """
        if self._cancelled:
            raise LabellingError("the run was cancelled")
        folder = Path(directory)
        for name in (STATUS_FILE, *LEFT_OVERS):
            (folder / name).unlink(missing_ok=True)
        timed_out = False
        with (folder / self.output_file).open("wb") as output, (folder / self.stderr_file).open("wb") as errors:
            try:
                process = subprocess.Popen(
                    [*self.command, "-in", self.input_file],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=pw_environment(),
                    start_new_session=True,
                )
            except OSError as err:
                raise LabellingError(f"{self.command[0]} cannot be started: {err.strerror}") from None
            self._process = process
            try:
                if self._cancelled:  # while it was started
                    self.terminate()
                process.wait(timeout=self.timeout)
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                self.terminate()  # also when this process is interrupted: nothing is left running
        status = {"returncode": process.returncode, "timed_out": timed_out}
        (folder / STATUS_FILE).write_text(json.dumps(status), encoding="utf-8")
        if process.returncode in self.accepted:
            process.returncode = 0  # for custodian, which gives up at any other
        return process

    def postprocess(self, directory: str = "./") -> None:
        """Remove charge density and wavefunctions, after success."""
        content = PwInput.from_file(Path(directory) / self.input_file)
        shutil.rmtree(self._outdir(directory, content), ignore_errors=True)
        for name in LEFT_OVERS:
            (Path(directory) / name).unlink(missing_ok=True)

    def cancel(self) -> None:
        """End the run from another thread, and let no further attempt begin."""
        self._cancelled = True
        self.terminate()

    def terminate(self, directory: str = "./") -> None:  # noqa: ARG002 - custodian passes it
        """End the run and all its processes; nothing if it has ended."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=10)
            except ProcessLookupError:
                process.wait()
            except subprocess.TimeoutExpired:
                continue
            return

    def _outdir(self, directory: str, content: PwInput) -> Path:
        """The scratch of pw.x, which must lie below the directory of the run because it is removed."""
        run, named = Path(directory).resolve(), str(content.get("CONTROL->outdir") or "")
        outdir = (run / named).resolve()
        if not named or run not in outdir.parents:
            raise LabellingError(f"{self.input_file}: outdir is {named!r}, allowed: a directory below that of the run")
        return outdir

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments, for custodian's log."""
        names = ("command", "input_file", "output_file", "stderr_file", "timeout", "accepted")
        module, name = type(self).__module__, type(self).__name__
        return {"@module": module, "@class": name, **{key: getattr(self, key) for key in names}}


def potentials_of(content: PwInput) -> dict[str, str]:
    """Return the file names in the card ATOMIC_SPECIES; keys are the file names, values the labels of their species."""
    lines = iter(content.cards)
    for line in lines:
        if line.split()[0].upper() == "ATOMIC_SPECIES":
            species = [next(lines).split() for _ in range(int(content.get("SYSTEM->ntyp")))]
            return {words[2]: words[0] for words in species}
    return {}
