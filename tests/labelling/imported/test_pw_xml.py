"""``data-file-schema.xml``: the numbers and settings of the text output of the same run."""

from __future__ import annotations

import gzip
import re
import shutil
import sys
from pathlib import Path

import pytest
from espresso_cases import potentials
from pw_cases import RECORDINGS

from coevo.errors import LabellingError
from coevo.labelling.imported import read_labels
from coevo.labelling.sanity import SanityLimits

NAMES = ["scf", "vc_relax", "relax_ended", "exact_exchange", "d3", "spin", "spin_orbit", "charged", "unconverged_md"]


def document(name: str) -> Path:
    return RECORDINGS / name / "data-file-schema.xml.gz"


@pytest.mark.parametrize("name", NAMES)
def test_text_and_document_of_a_run_say_the_same(name: str) -> None:
    one, other = read_labels(document(name)), read_labels(RECORDINGS / name / "pw.out")
    assert one.settings.functional == other.settings.functional
    parameters = {key: value for key, value in one.settings.parameters.items() if key != "potentials"}
    assert parameters == {key: value for key, value in other.settings.parameters.items() if key != "potentials"}
    assert one.recorded["k_mesh"] == other.recorded["k_mesh"]
    assert [frame.converged for frame in one.frames] == [frame.converged for frame in other.frames]
    for mine, theirs in zip(one.frames, other.frames, strict=True):
        assert mine.energy == pytest.approx(theirs.energy, abs=1e-6)
        assert mine.structure.lattice.matrix == pytest.approx(theirs.structure.lattice.matrix, abs=1e-5)
        assert mine.structure.frac_coords == pytest.approx(theirs.structure.frac_coords, abs=1e-5)
        assert mine.forces == pytest.approx(theirs.forces, abs=1e-6)
        if mine.stress is not None:
            assert mine.stress == pytest.approx(theirs.stress, abs=1e-5)
    assert one.frames[-1].stress is not None
    assert one.frames[-1].label(SanityLimits()).status == "admitted"


def test_the_last_energy_is_not_given_to_atoms_that_moved_after_it(tmp_path: Path) -> None:
    """A relaxation that ends with its steps writes the new positions beside the old energy."""
    (last,) = [frame.structure for frame in read_labels(document("relax_ended")).frames[-1:]]
    text = gzip.decompress(document("relax_ended").read_bytes()).decode()
    head, output = text.split("<output>")
    path = tmp_path / "data-file-schema.xml"
    path.write_text(head + "<output>" + re.sub(r'(<atom name="Si" index="2">)\S+', r"\g<1>0.7", output, count=1))
    frames = read_labels(path).frames
    assert len(frames) == 2
    assert frames[-1].structure.frac_coords == pytest.approx(last.frac_coords)
    assert frames[-1].stress is not None


def test_forces_of_atoms_that_were_held_are_not_taken(tmp_path: Path) -> None:
    text = gzip.decompress(document("relax_ended").read_bytes()).decode()
    path = tmp_path / "data-file-schema.xml"
    path.write_text(re.sub(r"(<free_positions[^>]*>\s*)1 1 1", r"\g<1>0 0 0", text))
    label = read_labels(path).frames[-1].label(SanityLimits())
    assert (label.reason, "give the text output" in label.detail) == ("missing_forces", True)


def test_potentials_that_lie_beside_it_are_hashed_and_judge_the_energy(tmp_path: Path) -> None:
    shutil.copy(document("scf"), tmp_path)
    path = tmp_path / document("scf").name
    assert read_labels(path).potentials == {"Si": "Si.UPF"}
    shutil.copy(potentials() / "Si.UPF", tmp_path)
    found = read_labels(path)
    assert found.potentials == read_labels(RECORDINGS / "scf" / "pw.out").potentials
    assert found.frames[0].free_atoms == pytest.approx(-101.85, abs=0.01)
    assert found.settings == read_labels(RECORDINGS / "scf" / "pw.out").settings


def test_what_is_no_total_energy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabellingError, match="calculation = nscf: no total energies; allowed: md, relax, scf"):
        read_labels(document("nscf"))
    with pytest.raises(LabellingError, match="an electric field"):
        read_labels(document("field"))
    text = gzip.decompress(document("scf").read_bytes()).decode()
    path = tmp_path / "data-file-schema.xml"
    for end, message in (("<output>", "cut off or damaged"), ("<input>", "cut off or damaged")):
        path.write_text(text[: text.index(end) + 100])
        with pytest.raises(LabellingError, match=message):
            read_labels(path)
    path.write_text(re.sub(r"<etot>.*?</etot>", "", text))
    with pytest.raises(LabellingError, match="no total energy"):
        read_labels(path)


def test_without_qeschema_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qeschema", None)
    with pytest.raises(LabellingError, match=r"pip install 'coevo\[qe\]'"):
        read_labels(document("scf"))


def test_another_form_of_d3_is_another_scale(tmp_path: Path) -> None:
    usual = gzip.decompress(document("d3").read_bytes()).decode()
    path = tmp_path / "data-file-schema.xml"
    found = []
    for text in (usual, usual.replace("<dftd3_version>3<", "<dftd3_version>4<"), usual.replace("body>true<", "body>false<")):
        path.write_text(text)
        settings = read_labels(path).settings
        assert settings.functional == "PBE+D3"
        found.append(settings.parameters.get("dispersion"))
    assert found == [None, {"dftd3_version": 4}, {"threebody": False}]


def test_hubbard_corrections_are_told_as_in_the_text_and_those_of_pairs_are_refused(tmp_path: Path) -> None:
    usual = gzip.decompress(document("scf").read_bytes()).decode()
    path = tmp_path / "data-file-schema.xml"

    def with_correction(kind: int, values: str, projectors: str) -> Path:
        tree = f"<lda_plus_u_kind>{kind}</lda_plus_u_kind>{values}<U_projection_type>{projectors}</U_projection_type>"
        path.write_text(usual.replace("</functional>", f"</functional><dftU>{tree}</dftU>"))
        return path

    names = 'specie="Si" label="3d"'
    u = f"<Hubbard_U {names}>0.147</Hubbard_U>"
    settings = read_labels(with_correction(0, u + f"<Hubbard_J0 {names}>0.0184</Hubbard_J0>", "ortho-atomic")).settings
    assert settings.functional == "PBE+U"
    assert settings.parameters["hubbard"] == {"Si": {"d": 4.0001, "J0_d": 0.5007, "projectors": "ortho-atomic"}}
    j = f"<Hubbard_J {names}>0.0257 0.0037 0.0</Hubbard_J>"
    settings = read_labels(with_correction(1, u + j, "atomic")).settings
    assert settings.parameters["hubbard"] == {"Si": {"d": 4.0001, "J_d": 0.6993, "B_d": 0.1007, "form": "Liechtenstein"}}
    with pytest.raises(LabellingError, match=r"DFT\+U\+V"):
        read_labels(with_correction(2, "", "ortho-atomic"))
