"""Text outputs of ``pw.x``: against what ASE reads, each frame by itself, and the settings of the run."""

from __future__ import annotations

import io
import re
import shutil
from contextlib import suppress
from pathlib import Path

import ase.io
import numpy as np
import pytest
from espresso_cases import RECORDINGS as COMPUTED
from espresso_cases import potentials
from pw_cases import RECORDINGS

from coevo.errors import LabellingError
from coevo.labelling.digest import settings_digest
from coevo.labelling.espresso.pseudopotentials import atom_energy_of
from coevo.labelling.imported import read_labels
from coevo.labelling.imported.pwscf.functional import name_of
from coevo.labelling.sanity import SanityLimits

RYDBERG = 13.605693122994
OLD_HUBBARD = """     Simplified LDA+U calculation (l_max = 2) with parameters (eV):
     atomic species    L          U    alpha       J0     beta
        Si             2     4.0000   0.0000   0.0000   0.0000

"""


def recording(name: str) -> Path:
    folder = RECORDINGS / name if (RECORDINGS / name).is_dir() else COMPUTED / name
    (path,) = sorted(folder.glob("pw.out*"))[:1]
    return path


def reasons(path: Path) -> list[str]:
    return [label.reason or label.status for label in (frame.label(SanityLimits()) for frame in read_labels(path).frames)]


@pytest.mark.parametrize("name", ["clean", "scf", "d3", "spin", "charged", "spin_orbit", "relax_ended"])
def test_the_numbers_are_those_that_ase_reads(name: str) -> None:
    imported = read_labels(recording(name))
    images = ase.io.read(recording(name), index=":", format="espresso-out")
    assert len(imported.frames) == len(images)
    for frame, atoms in zip(imported.frames, images, strict=True):
        assert frame.energy == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=1e-9)
        assert frame.forces == pytest.approx(atoms.get_forces())
        assert frame.stress == pytest.approx(atoms.get_stress(voigt=False))
        assert frame.structure.lattice.matrix == pytest.approx(atoms.cell.array)
        assert frame.structure.cart_coords == pytest.approx(atoms.get_positions())
        assert frame.label(SanityLimits()).status == "admitted"


def test_of_exact_exchange_the_last_energy_is_taken() -> None:
    """The lines with one mark hold no exchange, or that of other wavefunctions."""
    path = recording("exact_exchange")
    (energy,) = re.findall(r"^!!\s+total energy\s+=\s+(\S+)", path.read_text(), flags=re.MULTILINE)
    imported = read_labels(path)
    assert imported.frames[0].energy == pytest.approx(float(energy) * RYDBERG / 2, abs=1e-4)
    assert (imported.settings.functional, imported.taken["energy"]) == ("HSE06", "!!   total energy")
    assert imported.settings.parameters["hybrid"] == {"exact_exchange": 0.25}


def test_an_outer_cycle_that_did_not_end_is_not_converged(tmp_path: Path) -> None:
    text = recording("exact_exchange").read_text()
    path = tmp_path / "hse.out"
    path.write_text(re.sub(r"^!!.*$", "", text, flags=re.MULTILINE))
    assert reasons(path) == ["scf_not_converged"]


def test_convergence_is_asked_of_the_numbers_of_each_frame() -> None:
    """The run was told to go on after three iterations, and says of each cycle that it converged."""
    frames = read_labels(recording("unconverged_md")).frames
    assert [frame.converged for frame in frames] == [False, False, True]
    assert "accuracy of" in frames[0].detail
    assert "ended after 3 iterations" in frames[1].detail


@pytest.mark.parametrize("name", ["scf_not_converged", "silent_overlap", "silent_unconverged", "walltime", "output_cut_off"])
def test_an_output_that_went_wrong_gives_no_label(name: str) -> None:
    with suppress(LabellingError):  # there may be nothing in it at all
        assert all(frame.label(SanityLimits()).status == "rejected" for frame in read_labels(recording(name)).frames)


def test_a_frame_that_is_computed_twice_is_one() -> None:
    """The last cycle of vc-relax is at the place of the one before, with plane waves of the new cell."""
    images = ase.io.read(recording("vc_relax"), index=":", format="espresso-out")
    frames = read_labels(recording("vc_relax")).frames
    assert len(frames) == len(images) - 1
    assert frames[-1].energy == pytest.approx(images[-1].get_potential_energy() / 2)
    assert frames[-1].structure.lattice.matrix == pytest.approx(images[-1].cell.array)
    assert abs(frames[0].structure.volume - frames[-1].structure.volume) > 0.1


def test_stars_cost_their_frame_and_no_other(tmp_path: Path) -> None:
    text = recording("relax_ended").read_text()
    path = tmp_path / "stars.out"
    path.write_text(re.sub(r"force = +\S+", "force =  ************", text, count=1))
    assert reasons(path) == ["not_finite", "admitted"]
    path.write_text(re.sub(r"(kbar\)     P=.*\n.*\n) +\S+", r"\1 ************", text, count=1))
    assert reasons(path) == ["not_finite", "admitted"]
    path.write_text(text.replace("   bands (ev):\n\n", "   bands (ev):\n\n  ***********  nonsense\n"))
    assert reasons(path) == ["admitted", "admitted"]


def test_of_a_killed_run_the_whole_frames_are_used(tmp_path: Path) -> None:
    text = recording("unconverged_md").read_text()
    whole = reasons(recording("unconverged_md"))
    path = tmp_path / "killed.out"
    last = text.rindex("Forces acting")
    path.write_text(text[:last])
    assert reasons(path)[:2] == whole[:2]
    assert reasons(path)[2] == "missing_forces"
    path.write_text(text[: text.rindex("iteration #  1") + 40])
    assert reasons(path) == [*whole[:2], "scf_not_converged"]
    path.write_text(text[: text.index("Self-consistent Calculation")])
    with pytest.raises(LabellingError, match="no self-consistent cycle in it"):
        read_labels(path)


def test_runs_of_something_else_are_refused(tmp_path: Path) -> None:
    for name, message in (("field", "an electric field"), ("nscf", r"not self-consistent \(nscf or bands\)")):
        with pytest.raises(LabellingError, match=message):
            read_labels(recording(name))
    path = tmp_path / "molecule.out"
    text = recording("scf").read_text()
    path.write_text(text.replace("     celldm(1)", "     Assuming isolated system, Martyna-Tuckerman method\n\n     celldm(1)"))
    with pytest.raises(LabellingError, match="a molecule or a slab"):
        read_labels(path)


def test_runs_in_one_file_must_have_one_set_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "both.out"
    path.write_text(recording("scf").read_text() + recording("relax_ended").read_text())
    assert len(read_labels(path).frames) == 2  # the first frame of the relaxation is that of the static run
    path.write_text(recording("scf").read_text() + recording("nscf").read_text())
    imported = read_labels(path)
    assert (len(imported.frames), "not self-consistent" in imported.notes[0]) == (1, True)
    path.write_text(recording("scf").read_text() + recording("d3").read_text())
    with pytest.raises(LabellingError, match="runs of different settings"):
        read_labels(path)


@pytest.mark.parametrize(
    ("name", "functional", "parameters"),
    [
        ("scf", "PBE", {}),
        ("d3", "PBE+D3", {}),
        ("spin", "PBE", {"spin": 2}),
        ("spin_orbit", "PBE", {"spin": "spin-orbit"}),
        ("charged", "PBE", {"charge": 1.0}),
        ("silent_functional", "PBEsol", {}),
    ],
)
def test_settings_are_told_from_the_head(name: str, functional: str, parameters: dict[str, object]) -> None:
    imported = read_labels(recording(name))
    assert imported.settings.functional == functional
    found = imported.settings.parameters
    assert {key: found.get(key) for key in parameters} == parameters
    assert found.get("spin") == parameters.get("spin", 1)
    assert found["ecutrho_ry"] == 4 * found["ecutwfc_ry"]
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in imported.potentials.values())
    assert imported.recorded["version"].startswith("6.7")


def test_settings_that_differ_have_digests_that_do() -> None:
    names = ["scf", "d3", "spin", "spin_orbit", "charged", "exact_exchange"]
    digests = {name: settings_digest(read_labels(recording(name)).settings) for name in names}
    assert len(set(digests.values())) == len(names)
    assert settings_digest(read_labels(recording("relax_ended")).settings) == digests["scf"]


def test_smearing_is_recorded() -> None:
    assert read_labels(recording("scf")).recorded["smearing"] == {"kind": "fixed", "width_ry": 0.0}
    smeared = read_labels(recording("charged"))
    assert smeared.recorded["smearing"] == {"kind": "Marzari-Vanderbilt smearing", "width_ry": 0.01}
    assert read_labels(recording("spin")).recorded["total_magnetization"]


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("PBE", "PBE"),
        ("SLA  PW   PBX  PBC", "PBE"),
        ("SLA PW PBE PBE", "PBE"),
        ("SLA+PW+PBE+PBE", "PBE"),
        ("SLA  PW   PSX  PSC", "PBEsol"),
        ("SLA  PZ   NOGX NOGC", "LDA"),
        ("R2SCAN", "r2SCAN"),
        ("XC-000I-000I-000I-000I-497L-498L", "r2SCAN"),
        ("XC-001L-012L-101L-130L-000I-000I", "XC-001L-012L-101L-130L-000I-000I"),
        ("XC-000I-000I-101L-130L-000I-000I", "PBE"),
        ("XC-001I-004I-003I-004I-000I-000I", "PBE"),
        ("XC-001I-004I-010I-008I-000I-000I", "PBEsol"),
        ("XC-001I-001I-000I-000I-000I-000I", "LDA"),
        ("VDW-DF2-B86R", "rev-vdW-DF2"),
        ("HSE", "HSE06"),
        ("PBE0", "PBE0"),
        ("SOMETHING NEW", "SOMETHING NEW"),
    ],
)
def test_a_functional_has_one_name_however_it_is_printed(printed: str, name: str) -> None:
    assert name_of(printed) == name


@pytest.mark.parametrize("form", ["SLA PW PBE PBE ( 1 4 3 4 0 0)", "SLA  PW   PBX  PBC\n        (   1   4   3   4   0   0   0)"])
def test_every_way_of_printing_it_is_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "old.out"
    path.write_text(recording("scf").read_text().replace("Exchange-correlation= PBE", f"Exchange-correlation      = {form}"))
    assert read_labels(path, functional="PBE").settings.functional == "PBE"


def test_energies_are_judged_from_the_free_atoms(tmp_path: Path) -> None:
    """−106 eV/atom of silicon is on the scale of its potential; without the file of that, only the sign tells."""
    imported = read_labels(recording("scf"))
    assert imported.frames[0].free_atoms is None
    assert "checked for their sign only" in imported.notes[0]
    assert imported.frames[0].label(SanityLimits()).energy == pytest.approx(-105.899, abs=1e-3)
    path = tmp_path / "pw.out"
    shutil.copy(recording("scf"), path)
    shutil.copy(potentials() / "Si.UPF", tmp_path)
    found = read_labels(path)
    zero = atom_energy_of(tmp_path / "Si.UPF")
    assert zero is not None
    assert found.frames[0].free_atoms == pytest.approx(zero * RYDBERG)
    assert found.notes == []
    assert reasons(path) == ["admitted"]
    label = found.frames[0].label(SanityLimits(energy_range=(-3.0, 20.0)))
    assert (label.reason, "-4.0" in label.detail) == ("energy_out_of_range", True)
    (tmp_path / "Si.UPF").write_text("another potential")
    assert read_labels(path).frames[0].free_atoms is None


def test_a_positive_energy_is_never_admitted(tmp_path: Path) -> None:
    path = tmp_path / "pw.out"
    path.write_text(re.sub(r"(?m)^(!    total energy +=) +\S+", r"\1     4647.0", recording("scf").read_text()))
    assert reasons(path) == ["energy_out_of_range"]


def test_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dos.out"
    path.write_bytes(recording("relax_ended").read_bytes().replace(b"\n", b"\r\n"))
    one, other = read_labels(path), read_labels(recording("relax_ended"))
    assert one.settings == other.settings
    assert [frame.energy for frame in one.frames] == [frame.energy for frame in other.frames]


def test_hubbard_u_is_of_its_species(tmp_path: Path) -> None:
    path = tmp_path / "u.out"
    text = recording("scf").read_text()
    for words in (
        OLD_HUBBARD,
        "     Hubbard parameters of DFT+U (eV):\n     U(Si-3d)  =  4.0000\n\n",
    ):
        path.write_text(text.replace("     celldm(1)", words + "     celldm(1)", 1))
        imported = read_labels(path)
        assert imported.settings.functional == "PBE+U"
        assert imported.settings.parameters["hubbard"] == {"Si": {"d": 4.0}}


INTERNAL = "     Internal variables: lda_plus_u =T, lda_plus_u_kind = {}\n\n"


@pytest.mark.parametrize(
    ("words", "hubbard"),
    [
        ("     U(Si-3d)  =  4.0000\n     J0(Si-3d) =  0.5000\n" + INTERNAL.format(0), {"d": 4.0, "J0_d": 0.5}),
        ("     U(Si-3d) =  4.0000\n     alpha(Si-3d) =  0.1000\n" + INTERNAL.format(0), {"d": 4.0, "alpha_d": 0.1}),
        (
            "     U(Si-3d) =  4.0000\n     J(Si-3d) =  0.7000\n     B(Si-3d) =  0.1000\n" + INTERNAL.format(1),
            {"d": 4.0, "J_d": 0.7, "B_d": 0.1, "form": "Liechtenstein"},
        ),
        (
            "     Hubbard projectors: ortho-atomic\n     U(Si-3d) =  4.0000\n" + INTERNAL.format(0),
            {"d": 4.0, "projectors": "ortho-atomic"},
        ),
        ("     Hubbard projectors: atomic\n     U(Si-3d) =  4.0000\n" + INTERNAL.format(0), {"d": 4.0}),
        (OLD_HUBBARD.replace("4.0000   0.0000   0.0000", "4.0000   0.0000   0.5000"), {"d": 4.0, "J0_d": 0.5}),
    ],
)
def test_what_stands_beside_u_is_told(tmp_path: Path, words: str, hubbard: dict[str, object]) -> None:
    path = tmp_path / "u.out"
    path.write_text(recording("scf").read_text().replace("     celldm(1)", words + "     celldm(1)", 1))
    settings = read_labels(path).settings
    assert (settings.functional, settings.parameters["hubbard"]) == ("PBE+U", {"Si": hubbard})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (INTERNAL.format(2), r"DFT\+U\+V, whose V are of pairs"),
        (INTERNAL.format(0), "no U of an element is printed"),
    ],
)
def test_a_hubbard_correction_that_is_not_told_by_element_is_refused(tmp_path: Path, words: str, message: str) -> None:
    """Such a run printed no U, and was taken for PBE."""
    path = tmp_path / "v.out"
    path.write_text(recording("scf").read_text().replace("     celldm(1)", words + "     celldm(1)", 1))
    with pytest.raises(LabellingError, match=message):
        read_labels(path)


def test_what_ase_reads_of_a_recording_is_what_it_read() -> None:
    """The recordings hold the free energy: with smearing, ``!`` is F and its derivatives are the forces."""
    text = recording("charged").read_text()
    (smearing,) = re.findall(r"smearing contrib. \(-TS\)\s+=\s+(\S+)", text)
    (internal,) = re.findall(r"internal energy E=F\+TS\s+=\s+(\S+)", text)
    atoms = ase.io.read(io.StringIO(text), format="espresso-out")
    assert np.isclose(atoms.get_potential_energy(), (float(internal) + float(smearing)) * RYDBERG, atol=1e-4)
