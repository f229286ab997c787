"""What is done about each failure of pw.x: exact corrections and their escalation, on outputs that pw.x really printed."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from espresso_cases import CASES, RECORDINGS

from coevo.labelling.espresso.handlers import CORRECTIONS, PwErrorHandler
from coevo.labelling.espresso.modder import PwInput, PwModder
from coevo.labelling.espresso.parsing import MESSAGES, diagnose, find_errors, last_words

AGAIN = {"CONTROL->restart_mode": "from_scratch"}
RESTART = {"CONTROL->restart_mode": "restart"}
DAVID, PARO, CG = ({"ELECTRONS->diagonalization": method} for method in ("david", "paro", "cg"))
LESS_MEMORY = {"ELECTRONS->diago_david_ndim": 2}
SMEARING = {"SYSTEM->occupations": "smearing", "SYSTEM->smearing": "mv", "SYSTEM->degauss": 0.01}
LOCAL_TF = {"ELECTRONS->mixing_mode": "local-TF"}

ESCALATIONS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "scf_not_converged": (
        "scf_not_converged",
        [{"ELECTRONS->mixing_beta": 0.56, **AGAIN}, LOCAL_TF, {"ELECTRONS->electron_maxstep": 6}],
    ),
    "walltime": ("walltime", [RESTART, RESTART, RESTART]),
    "smearing_needed": ("smearing_needed", [SMEARING]),
    "too_few_bands": ("too_few_bands", [{"SYSTEM->nbnd": 6}, {"SYSTEM->nbnd": 10}, {"SYSTEM->nbnd": 14}]),
    "fermi_level_not_bracketed": ("too_few_bands", [{"SYSTEM->nbnd": 10}] * 3),
    "diagonalisation_failed": ("diagonalisation_failed", [DAVID, PARO, CG]),
    "out_of_memory": ("out_of_memory", [LESS_MEMORY, CG]),
    "killed": ("killed", [LESS_MEMORY, CG]),
    "killed_under_mpirun": ("killed", [LESS_MEMORY, CG]),
    "crashed": ("crashed", [AGAIN, CG]),
    "output_cut_off": ("output_cut_off", [AGAIN, DAVID, CG]),
    "s_matrix_not_positive": ("s_matrix_not_positive", [DAVID, PARO, CG]),
    "restart_not_read": ("restart_not_read", [AGAIN]),
    "overlapping_atoms": ("overlapping_atoms", []),
    "too_few_plane_waves": ("too_few_plane_waves", []),
    "potential_not_found": ("potential_not_found", []),
    "namelist_not_read": ("input_not_read", []),
    "card_not_read": ("input_not_read", []),
    "directory_not_writable": ("directory_not_writable", []),
}
"""Recording to its error and the values that its corrections set, one after the other; then the run is given up."""


def copy_of(name: str, directory: Path) -> Path:
    return Path(shutil.copytree(RECORDINGS / name, directory / "run"))


@pytest.mark.parametrize("name", ESCALATIONS)
def test_a_failure_is_corrected_step_by_step_and_then_given_up(name: str, tmp_path: Path) -> None:
    run = copy_of(name, tmp_path)
    before = PwInput.from_file(run / "pw.in")
    handler = PwErrorHandler()
    error, steps = ESCALATIONS[name]
    for number, values in enumerate(steps, start=1):
        assert handler.check(str(run))
        corrected = handler.correct(str(run))
        assert corrected["errors"][0] == error
        assert corrected["actions"] == [{"dict": "pw.in", "action": {"_set": values}}]
        after = PwInput.from_file(run / "pw.in")
        assert {key: after.get(key) for key in values} == values
        assert after.cards == before.cards
        with tarfile.open(run / f"error.{number}.tar.gz") as kept:
            assert f"error.{number}/pw.out" in kept.getnames()
    assert handler.check(str(run))
    assert handler.correct(str(run)) == {"errors": corrected["errors"] if steps else [error], "actions": None}


def test_a_correction_changes_nothing_that_a_label_is_defined_by() -> None:
    defining = {"ecutwfc", "ecutrho", "nspin", "conv_thr", "input_dft", "nat", "pseudo_dir", "tot_charge"}
    for corrections in CORRECTIONS.values():
        for correction in corrections:
            assert not {key.partition("->")[2] for key in correction.changes} & defining
            if "SYSTEM->degauss" in correction.changes:
                assert correction.unless == {"SYSTEM->occupations": "smearing"}


def test_errors_have_counts_of_their_own(tmp_path: Path) -> None:
    handler = PwErrorHandler()
    first, second = copy_of("scf_not_converged", tmp_path / "a"), copy_of("walltime", tmp_path / "b")
    for run, values in ((first, {"ELECTRONS->mixing_beta": 0.56, **AGAIN}), (second, RESTART), (first, LOCAL_TF)):
        assert handler.check(str(run))
        assert handler.correct(str(run))["actions"][0]["action"]["_set"] == values


def test_smearing_is_the_last_resort_of_an_input_without_any(tmp_path: Path) -> None:
    run = copy_of("scf_not_converged", tmp_path)
    text = (run / "pw.in").read_text().replace("occupations = 'smearing'", "occupations = 'fixed'")
    (run / "pw.in").write_text(text.replace("  smearing = 'mv'\n", "").replace("  degauss = 0.01\n", ""))
    handler = PwErrorHandler()
    applied = []
    while handler.check(str(run)):
        correction = handler.correct(str(run))
        if correction["actions"] is None:
            break
        applied.append(correction["actions"][0]["action"]["_set"])
    assert applied[-1] == SMEARING
    assert len(applied) == 4


@pytest.mark.parametrize("name", ["clean", *(name for name in CASES if name.startswith("silent"))])
def test_what_ends_without_an_error_is_left_to_the_validators(name: str, tmp_path: Path) -> None:
    assert not PwErrorHandler().check(str(copy_of(name, tmp_path)))


def test_every_recording_is_of_the_input_beside_it() -> None:
    assert sorted(path.name for path in RECORDINGS.iterdir()) == sorted(CASES)
    for name, case in CASES.items():
        assert (RECORDINGS / name / "pw.in").read_text() == case.text()
        assert all(path.stat().st_size < 60_000 for path in (RECORDINGS / name).iterdir())


@pytest.mark.parametrize(
    ("block", "error"),
    [
        ("Error in routine  cdiaghg (7):\n     problems computing cholesky", "cholesky_failed"),
        ("Error in routine  zhegvd (1):\n     error in zhegvd", "diagonalisation_failed"),
        ("Error in routine  rdiaghg (1):\n     eigenvectors failed to converge", "diagonalisation_failed"),
        ("Error in routine  davcio (10):\n     error while reading from file ./out/pw.wfc1", "restart_not_read"),
        ("Error in routine  something (1):\n     nobody has seen this", "unknown_error"),
        ("Fortran runtime error: No space left on device", "disk_full"),
    ],
)
def test_messages_that_these_potentials_do_not_provoke(block: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "pw.out").write_text(f" %%%%%%%%%%\n     {block}\n %%%%%%%%%%\n\n     stopping ...\n")
    assert diagnose(tmp_path)[0] == error


def test_the_cause_comes_before_its_consequences() -> None:
    text = "Error in routine c_bands (1):\n too many bands are not converged\nconvergence NOT achieved after 3 iterations"
    assert find_errors(text) == ["diagonalisation_failed", "scf_not_converged"]
    assert len({name for name, _ in MESSAGES}) >= 15


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ({"returncode": -9}, "killed"),
        ({"returncode": 1}, "output_cut_off"),
        ({"returncode": -15, "timed_out": True}, "timed_out"),
    ],
)
def test_an_output_without_a_message_is_told_by_how_the_run_ended(status: dict[str, Any], error: str, tmp_path: Path) -> None:
    run = copy_of("killed", tmp_path)
    (run / "std_err.txt").write_text("")
    (run / "pw.status.json").write_text(json.dumps(status))
    assert diagnose(run) == [error]


def test_a_clean_output_that_lost_its_end_is_cut_off_at_whatever_line(tmp_path: Path) -> None:
    run = copy_of("clean", tmp_path)
    lines = (run / "pw.out").read_text().splitlines()
    for length in range(0, len(lines) - 5, 7):
        (run / "pw.out").write_text("\n".join(lines[:length]))
        assert diagnose(run) == ["output_cut_off"]


def test_a_message_that_the_output_lost_is_read_from_the_file_crash(tmp_path: Path) -> None:
    run = copy_of("s_matrix_not_positive", tmp_path)
    output, _, message = (run / "pw.out").read_text().partition(" %%%%")
    (run / "pw.out").write_text(output)
    assert diagnose(run) == ["output_cut_off"]
    (run / "CRASH").write_text(message)
    assert diagnose(run)[0] == "s_matrix_not_positive"


def test_the_last_words_of_a_run_name_the_routine() -> None:
    text = (RECORDINGS / "too_few_bands" / "pw.out").read_text()
    assert last_words(text) == "Error in routine setup (1): too few bands"


class TestModder:
    def test_keys_are_found_in_any_case_and_other_lines_stay(self, tmp_path: Path) -> None:
        run = copy_of("clean", tmp_path)
        before = PwInput.from_file(run / "pw.in")
        actions = [{"dict": "pw.in", "action": {"_set": {"electrons->Mixing_Beta": 0.3}, "_unset": {"SYSTEM->degauss": 1}}}]
        PwModder(directory=str(run)).apply_actions(actions)
        after = PwInput.from_file(run / "pw.in")
        assert after.get("ELECTRONS->mixing_beta") == 0.3
        assert after.get("SYSTEM->degauss") is None
        assert after.get("ELECTRONS->conv_thr") == 1e-9
        assert after.cards == before.cards

    def test_writing_what_was_read_changes_nothing(self) -> None:
        for name in CASES:
            content = PwInput.from_file(RECORDINGS / name / "pw.in")
            assert PwInput.from_text(content.to_text()) == content

    @pytest.mark.parametrize("action", [{"dict": "INCAR", "action": {}}, {"dict": "pw.in", "action": {"_multiply": {"a->b": 1}}}])
    def test_an_action_that_is_not_supported_is_refused(self, action: dict[str, Any], tmp_path: Path) -> None:
        run = copy_of("clean", tmp_path)
        with pytest.raises(ValueError, match=r"allowed: one on dict pw\.in|not a supported action"):
            PwModder(directory=str(run)).apply_actions([action])
