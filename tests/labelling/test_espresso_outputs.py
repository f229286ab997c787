"""Reading and judging outputs of pw.x, above all those that end with JOB DONE and are wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from espresso_cases import CASES, PSEUDO, RECORDINGS, potentials

from coevo.labelling.espresso.parsing import parse_output
from coevo.labelling.espresso.running import CHECKS, PwValidator

RYDBERG, BOHR = 13.605691930242388, 0.529177208590253  # CODATA 2006, with which pw.x is made

SILENT = {
    "silent_overlap": "not_finite",
    "silent_unconverged": "scf_not_converged",
    "silent_no_forces": "results_missing",
    "silent_functional": "wrong_functional",
    "silent_potential": "wrong_potential",
}
"""Recordings of runs with exit code 0 and JOB DONE to the reason for which they are rejected."""


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recording, with the directory of the PBE potentials in place of the one it was made with."""
    directory = Path(shutil.copytree(RECORDINGS / request.param, tmp_path / "run"))
    for name in ("pw.in", "pw.out"):
        path = directory / name
        path.write_text(path.read_text().replace(PSEUDO, str(potentials())))
    return directory


def rewrite(run: Path, old: str, new: str) -> None:
    text = (run / "pw.out").read_text()
    changed = re.sub(old, new, text, flags=re.MULTILINE)
    assert changed != text
    (run / "pw.out").write_text(changed)


def test_the_numbers_of_a_clean_run_are_those_in_its_output() -> None:
    text = (RECORDINGS / "clean" / "pw.out").read_text()
    output = parse_output(text)
    assert (output.version, output.done, output.n_atoms, output.functionals) == ("6.7MaX", True, 3, ("PBE",))
    assert output.potentials["Li"] == ("/pseudo/Li.UPF", "4cef7915913aee29453886285e0c65b8")
    printed = float(re.search(r"^! +total energy += +(\S+) Ry", text, flags=re.MULTILINE).group(1))
    assert output.energy == pytest.approx(printed * RYDBERG / 3, rel=1e-9)
    forces = [[float(x) for x in line.split()[-3:]] for line in text.splitlines() if line.strip().startswith("atom    ")]
    np.testing.assert_allclose(output.forces, np.array(forces)[:3] * RYDBERG / BOHR, rtol=1e-8)
    rows = text.split("total   stress")[1].splitlines()[1:4]
    stress = np.array([[float(x) for x in row.split()[:3]] for row in rows])
    np.testing.assert_allclose(output.stress, -stress * RYDBERG / BOHR**3, rtol=1e-8)


def test_overflowing_numbers_are_nan_and_no_error() -> None:
    output = parse_output((RECORDINGS / "silent_overlap" / "pw.out").read_text())
    assert output.overflow
    assert output.done
    assert np.isnan(output.forces[0, 0])
    assert output.energy > 30_000


@pytest.mark.parametrize("name", CASES)
def test_any_recording_can_be_read_and_cut_at_any_line(name: str) -> None:
    text = (RECORDINGS / name / "pw.out").read_text()
    lines = text.splitlines(keepends=True)
    parse_output(text)
    for length in range(0, len(lines), 11):
        assert not parse_output("".join(lines[:length])).done


def test_numbers_that_touch_are_parted() -> None:
    text = (RECORDINGS / "clean" / "pw.out").read_text()
    touching = re.sub(r"(atom    1 type  1   force = ).*", r"\1  -123.45678901-1234.56789012-1234.56789012", text)
    first = parse_output(touching).forces[0] * BOHR / RYDBERG
    np.testing.assert_allclose(first, [-123.45678901, -1234.56789012, -1234.56789012], rtol=1e-8)


@pytest.mark.parametrize("run", ["clean"], indirect=True)
def test_a_clean_run_is_accepted(run: Path) -> None:
    validator = PwValidator("PBE")
    assert not validator.check(str(run)), validator.detail
    assert PwValidator("PBEsol").check(str(run))


@pytest.mark.parametrize(("run", "reason"), SILENT.items(), indirect=["run"])
def test_nonsense_with_exit_code_0_is_rejected(run: Path, reason: str) -> None:
    text = (run / "pw.out").read_text()
    assert "JOB DONE" in text
    assert '"returncode": 0' in (run / "pw.status.json").read_text()
    if reason != "results_missing":
        assert "convergence has been achieved" in text
    validator = PwValidator("PBE")
    assert validator.check(str(run))
    assert validator.reason == reason
    assert validator.detail


@pytest.mark.parametrize("run", ["clean"], indirect=True)
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (r"JOB DONE", "", "not_done"),
        (r"convergence has been achieved", "convergence NOT achieved", "scf_not_converged"),
        (r"estimated scf accuracy    <.*Ry", "estimated scf accuracy    <       1.5E-09 Ry", "scf_not_converged"),
        (r"^!    total energy              =.*Ry", "!    total energy              =              NaN Ry", "not_finite"),
        (r"^!    total energy              =.*Ry", "!    total energy              = ************ Ry", "not_finite"),
        (r"(atom    2 type  2   force = ).*", r"\1    0.00000000 **************    0.00000000", "not_finite"),
        (r"(total   stress.*\n).*", r"\1  *************   0.00000000   0.00000000   0.0  0.0  0.0", "not_finite"),
        (r"^!    total energy", "     total energy", "results_missing"),
        (r"total   stress", "stress", "results_missing"),
        (r"Forces acting on atoms", "Forces", "results_missing"),
        (r"number of atoms/cell      =            3", "number of atoms/cell      =            2", "atoms_differ"),
        (r"MD5 check sum: 4cef", "MD5 check sum: 4cee", "wrong_potential"),
        (r"PseudoPot. # 1 for", "PseudoPot. # 1", "wrong_potential"),
        (r"Exchange-correlation= PBE", "Exchange-correlation= SLA PW NOGX NOGC", "wrong_functional"),
    ],
)
def test_one_wrong_line_is_enough(run: Path, old: str, new: str, reason: str) -> None:
    rewrite(run, old, new)
    validator = PwValidator("PBE")
    assert validator.check(str(run))
    assert validator.reason == reason


@pytest.mark.parametrize("run", ["clean"], indirect=True)
def test_without_a_sum_the_path_of_the_potential_decides(run: Path) -> None:
    rewrite(run, r"     MD5 check sum.*\n", "")
    assert not PwValidator("PBE").check(str(run))
    rewrite(run, re.escape(str(potentials() / "S.UPF")), "/usr/share/espresso/pseudo/S.UPF")
    validator = PwValidator("PBE")
    assert validator.check(str(run))
    assert validator.reason == "wrong_potential"
    assert "/usr/share/espresso/pseudo/S.UPF" in validator.detail


def test_reasons_are_single_words() -> None:
    assert all(re.fullmatch(r"[a-z_]+", reason) for reason in CHECKS)
