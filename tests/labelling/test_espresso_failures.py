"""Failures of the real pw.x under the real custodian: each ends corrected, or rejected or given up for the right reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from custodian import Custodian
from custodian.custodian import NonRecoverableError, ValidationError
from espresso_cases import CASES, GAMMA, HEAVY, MANY_K, Case, in_shell, potentials
from pw_executable import require_pw
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import EspressoConfig
from coevo.errors import LabellingError
from coevo.labelling.espresso.handlers import PwErrorHandler
from coevo.labelling.espresso.job import PwJob
from coevo.labelling.espresso.labeller import EspressoLabeller
from coevo.labelling.espresso.modder import PwInput
from coevo.labelling.espresso.parsing import parse_output
from coevo.labelling.espresso.running import PwValidator
from coevo.labelling.sanity import SanityLimits

ONCE = "if [ ! -e attempted ]; then touch attempted; {first}; else {then}; fi"
"""A machine that fails at the first attempt only."""

AT_WORK = "mkfifo held; {exec} pw.x <> held"
"""It has begun, and waits for an input that never comes, until it is ended."""

KILLED_AT_WORK = AT_WORK.format(exec="") + " & until [ -e input_tmp.in ]; do :; done; kill -9 $!; wait $!"
"""When it begins to read."""

LIMIT = 600.0
"""Seconds for an attempt."""


@pytest.fixture(autouse=True)
def pw() -> None:
    require_pw()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another process does; in vain, the test fails at what comes next."""
    deadline = time.monotonic() + LIMIT
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)


def at_gamma(case: Case) -> Case:
    """The case with Γ alone: in most, what goes wrong is the same, and it is there soon."""
    return replace(case, k_points=GAMMA)


def run(case: Case, directory: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """Run a case through custodian; return each error with the values that its correction set."""
    (directory / "pw.in").write_text(case.text(str(potentials())))
    job = PwJob(list(case.command), timeout=LIMIT)
    custodian = Custodian([PwErrorHandler()], [job], [PwValidator("PBE")], max_errors=9, directory=str(directory))
    try:
        custodian.run()
    finally:
        log = json.loads((directory / "custodian.json").read_text())[-1]["corrections"]
        steps = [(step["errors"][0], step["actions"][0]["action"]["_set"] if step["actions"] else None) for step in log]
        directory.joinpath("steps.json").write_text(json.dumps(steps))
    return steps


def steps_of(directory: Path) -> list[list[Any]]:
    return json.loads((directory / "steps.json").read_text())


CORRECTED: dict[str, tuple[Case, list[tuple[str, dict[str, Any]]]]] = {
    "an SCF cycle that needs more steps": (
        replace(CASES["scf_not_converged"], electrons={"electron_maxstep": 6, "conv_thr": "1d-9"}),
        [
            ("scf_not_converged", {"ELECTRONS->mixing_beta": 0.56, "CONTROL->restart_mode": "from_scratch"}),
            ("scf_not_converged", {"ELECTRONS->mixing_mode": "local-TF"}),
            ("scf_not_converged", {"ELECTRONS->electron_maxstep": 12}),
        ],
    ),
    "a metal with fixed occupations": (
        CASES["smearing_needed"],
        [("smearing_needed", {"SYSTEM->occupations": "smearing", "SYSTEM->smearing": "mv", "SYSTEM->degauss": 0.01})],
    ),
    "too few bands": (CASES["too_few_bands"], [("too_few_bands", {"SYSTEM->nbnd": 6})]),
    "a diagonalisation that fails": (
        CASES["diagonalisation_failed"],
        [("diagonalisation_failed", {"ELECTRONS->diagonalization": "david"})],
    ),
    "a process killed for its memory": (
        replace(
            CASES["clean"],
            command=in_shell(ONCE.format(first=KILLED_AT_WORK, then='exec pw.x "$@"')),
        ),
        [("killed", {"ELECTRONS->diago_david_ndim": 2})],
    ),
    "an output cut off": (
        replace(CASES["clean"], command=in_shell(ONCE.format(first='pw.x "$@" | head -80; exit 38', then='exec pw.x "$@"'))),
        [("output_cut_off", {"CONTROL->restart_mode": "from_scratch"})],
    ),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", CORRECTED)
def test_a_failure_is_corrected(name: str, tmp_path: Path) -> None:
    case, steps = CORRECTED[name]
    assert run(at_gamma(case), tmp_path) == steps
    output = parse_output((tmp_path / "pw.out").read_text())
    assert output.done
    assert output.energy < -150
    assert not (tmp_path / "out").exists(), "charge density and wavefunctions are removed after success"
    assert len(list(tmp_path.glob("error.*.tar.gz"))) == len(steps)


@pytest.mark.long
@pytest.mark.timing
def test_a_restart_ends_at_the_energy_of_an_undisturbed_run(tmp_path: Path) -> None:
    for name in ("disturbed", "undisturbed"):
        (tmp_path / name).mkdir()
    # its time is up while it is in the middle of an iteration, whatever it had got to by then; it never converges before that
    held = 'pw.x "$@" & until grep -q "iteration #" pw.out; do :; done; kill -STOP $!; sleep 12; kill -CONT $!; wait $!'
    more_time = 'sed -i "s/max_seconds.*/max_seconds = 600/; s/conv_thr.*/conv_thr = 1d-12/" pw.in; exec pw.x "$@"'
    endless = {"conv_thr": "1d-99", "electron_maxstep": 1_000_000}
    whole = replace(CASES["walltime"], control={}, k_points="K_POINTS automatic\n3 3 3 0 0 0")
    in_time = in_shell(ONCE.format(first=held, then=more_time))
    short = replace(whole, control={"max_seconds": 10}, electrons=endless, command=in_time)
    assert run(short, tmp_path / "disturbed") == [("walltime", {"CONTROL->restart_mode": "restart"})]
    run(whole, tmp_path / "undisturbed")
    disturbed, undisturbed = (parse_output((tmp_path / n / "pw.out").read_text()) for n in ("disturbed", "undisturbed"))
    assert "restarted from kpoint" in (tmp_path / "disturbed" / "pw.out").read_text()
    assert disturbed.energy == pytest.approx(undisturbed.energy, abs=1e-7)
    assert disturbed.stress == pytest.approx(undisturbed.stress, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("overlapping_atoms", ["overlapping_atoms"]),
        ("too_few_plane_waves", ["too_few_plane_waves"]),
        ("namelist_not_read", ["input_not_read"]),
        ("restart_not_read", ["restart_not_read", "restart_not_read"]),
        ("output_cut_off", ["output_cut_off", "output_cut_off", "too_few_plane_waves"]),
    ],
)
def test_what_cannot_be_corrected_is_given_up(name: str, errors: list[str], tmp_path: Path) -> None:
    with pytest.raises(NonRecoverableError):
        run(CASES[name], tmp_path)
    steps = steps_of(tmp_path)
    assert [error for error, _ in steps] == errors
    assert steps[-1][1] is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("silent_overlap", "not_finite"),
        ("silent_unconverged", "scf_not_converged"),
        ("silent_functional", "wrong_functional"),
        ("silent_no_forces", "results_missing"),
    ],
)
def test_nonsense_with_exit_code_0_is_rejected(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        run(at_gamma(CASES[name]), tmp_path)
    assert json.loads((tmp_path / "pw.status.json").read_text())["returncode"] == 0
    assert caught.value.validator.reason == reason


class TestJob:
    def test_pw_is_never_left_to_look_for_a_potential_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """pw.x takes Li.UPF from ESPRESSO_PSEUDO where pseudo_dir does not name another directory, and says nothing."""
        monkeypatch.setenv("ESPRESSO_PSEUDO", str(potentials("LDA")))
        clean = at_gamma(CASES["clean"])
        text = clean.text(str(potentials()))
        (tmp_path / "pw.in").write_text("\n".join(line for line in text.splitlines() if "pseudo_dir" not in line) + "\n")
        done = subprocess.run(["pw.x", "-in", "pw.in"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert str(potentials("LDA") / "Li.UPF") in done.stdout, "the danger is real"
        with pytest.raises(LabellingError, match=r"pseudo_dir is '.', allowed: an absolute path"):
            PwJob(["pw.x"]).setup(str(tmp_path))
        (tmp_path / "pw.in").write_text(text.replace("Li.UPF", "Lithium.UPF"))
        with pytest.raises(LabellingError, match=r"the pseudopotential Lithium.UPF is not in .*PBE"):
            PwJob(["pw.x"]).setup(str(tmp_path))
        assert run(clean, tmp_path) == []
        assert parse_output((tmp_path / "pw.out").read_text()).potentials["Li"][0] == str(potentials() / "Li.UPF")

    @pytest.mark.parametrize("outdir", ["../elsewhere", "/var/tmp", "", "."])
    def test_scratch_stays_below_the_run(self, outdir: str, tmp_path: Path) -> None:
        (tmp_path / "pw.in").write_text(CASES["clean"].text(str(potentials())).replace("./out", outdir))
        with pytest.raises(LabellingError, match="allowed: a directory below that of the run"):
            PwJob(["pw.x"]).setup(str(tmp_path))

    @pytest.mark.long
    @pytest.mark.timing
    def test_a_run_that_hangs_is_ended_with_all_its_processes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hanging = in_shell(ONCE.format(first="sleep 977 & echo $! > noted; mv noted child; wait", then='exec pw.x "$@"'))
        attempts = []

        class Process(subprocess.Popen[bytes]):
            def wait(self, timeout: float | None = None) -> int:
                """The time of the first attempt is over as soon as it hangs."""
                if timeout == LIMIT and not attempts:
                    attempts.append(self.pid)
                    until((tmp_path / "child").exists)
                    raise subprocess.TimeoutExpired(self.args, timeout)
                return super().wait(timeout)

        monkeypatch.setattr(subprocess, "Popen", Process)
        steps = run(replace(at_gamma(CASES["clean"]), command=hanging), tmp_path)
        assert steps == [("timed_out", {"CONTROL->restart_mode": "from_scratch"})]
        assert not _alive(int((tmp_path / "child").read_text()))

    @staticmethod
    def cancel_at_work(job: PwJob, reading: Path) -> None:
        """End the job when it has begun."""
        until(reading.exists)
        job.cancel()

    @pytest.mark.timing
    def test_a_cancelled_run_ends_and_does_not_begin_again(self, tmp_path: Path) -> None:
        (tmp_path / "pw.in").write_text(CASES["killed"].text(str(potentials())))
        job = PwJob(list(in_shell(AT_WORK.format(exec="exec"))))
        threading.Thread(target=self.cancel_at_work, args=(job, tmp_path / "input_tmp.in")).start()
        process = job.run(str(tmp_path))
        assert process.returncode == -signal.SIGTERM
        with pytest.raises(LabellingError, match="cancelled"):
            job.run(str(tmp_path))

    def test_a_run_that_is_cancelled_while_it_is_started_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "pw.in").write_text(CASES["killed"].text(str(potentials())))
        job, start = PwJob(["pw.x"]), subprocess.Popen

        def start_cancelled(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
            job.cancel()
            return start(*arguments, **options)

        monkeypatch.setattr(subprocess, "Popen", start_cancelled)
        assert job.run(str(tmp_path)).returncode == -signal.SIGTERM

    def test_it_can_be_written_to_custodians_log_and_read_back(self) -> None:
        job = PwJob(["mpirun", "-np", "2", "pw.x"], timeout=5.0)
        assert PwJob.from_dict(job.as_dict()).as_dict() == job.as_dict()


class TestLabeller:
    @pytest.fixture
    def frame(self) -> Structure:
        cell = Lattice([[0.0, 2.86, 2.86], [2.86, 0.0, 2.86], [2.86, 2.86, 0.0]])
        return Structure(cell, ["S", "Li", "Li"], [[0, 0, 0], [0.25, 0.24, 0.25], [0.75, 0.75, 0.77]])

    def labeller(self, scratch: Path, command: tuple[str, ...] = ("pw.x",), **values: Any) -> EspressoLabeller:
        config = EspressoConfig(**{"ecutwfc": 20.0, "k_spacing": 2.0, "mixing_beta": 0.7, **values})
        limits = SanityLimits(min_distance=1e-5)
        return EspressoLabeller(config, command=command, potentials=potentials(), scratch=scratch, limits=limits)

    @pytest.mark.long
    def test_a_corrected_label_tells_its_story(self, frame: Structure, tmp_path: Path) -> None:
        (label,) = self.labeller(tmp_path, electron_maxstep=6).label([frame])
        assert label.status == "admitted"
        assert label.detail.endswith("scf_not_converged (electron_maxstep = 12)")
        (straight,) = self.labeller(tmp_path).label([frame])
        assert (straight.status, straight.detail) == ("admitted", "")
        assert label.energy == pytest.approx(straight.energy, abs=1e-6)
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_label_has_a_reason_and_its_run_is_kept(self, frame: Structure, tmp_path: Path) -> None:
        (label,) = self.labeller(tmp_path, electron_maxstep=2, max_corrections=2).label([frame])
        assert (label.status, label.reason, label.energy, label.forces, label.stress) == (
            "failed",
            "scf_not_converged",
            None,
            None,
            None,
        )
        assert label.detail.startswith("convergence NOT achieved after 2 iterations: stopping; corrected: ")
        assert [path.name for path in tmp_path.iterdir()] == [label.detail.rpartition(" ")[2]]

    @pytest.mark.long
    def test_atoms_that_only_pw_finds_too_near_are_rejected(self, frame: Structure, tmp_path: Path) -> None:
        near = Structure(Lattice.cubic(6.0), ["Li", "S"], [[0, 0, 0], [0.004 / 6, 0, 0]])
        bad, good = self.labeller(tmp_path).label([near, frame])
        assert (bad.status, bad.reason) == ("rejected", "not_finite")
        assert good.status == "admitted"

    def test_a_machine_that_fails_ends_the_job_and_labels_nothing(self, frame: Structure, tmp_path: Path) -> None:
        full = in_shell('case "$2" in empty.in) exec pw.x "$@";; *) echo "No space left on device" >&2; exit 1;; esac')
        with pytest.raises(LabellingError, match=r"pw.x cannot work on this machine \(disk_full\): No space left on device"):
            self.labeller(tmp_path, command=full).label([frame])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_inputs_differ_from_one_another_where_they_should() -> None:
    assert PwInput.from_text(Case(system=HEAVY, k_points=MANY_K).text()).get("SYSTEM->ecutwfc") == 60.0
