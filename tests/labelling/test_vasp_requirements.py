"""What is missing is told before VASP is run: executables, POTCAR libraries, single POTCARs; and what the settings hold."""

from __future__ import annotations

import hashlib
import json

import pytest
from pymatgen.core import SETTINGS, Lattice, Structure
from vasp_machine import Machine, make_machine, potcar_text

from coevo.configs.tree import LabellingConfig, VaspConfig
from coevo.errors import LabellingError
from coevo.labelling.digest import settings_digest
from coevo.labelling.vasp.labeller import VaspLabeller
from coevo.labelling.vasp.requirements import installed_libraries, require_command
from coevo.makers.labels.settings import labeller_for

pytestmark = pytest.mark.filterwarnings("ignore")

FRAME = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def machine(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return make_machine(tmp_path, monkeypatch)


def refusal(machine: Machine, **config: object) -> str:
    """What is said both when the settings are asked for and when frames are to be labelled; VASP is not started."""
    with pytest.raises(LabellingError) as asked:
        machine.labeller(**config).settings()
    with pytest.raises(LabellingError) as labelled:
        machine.labeller(**config).label([FRAME])
    assert str(asked.value) == str(labelled.value)
    assert machine.journal == []
    return str(asked.value)


def test_settings_name_everything_that_changes_the_numbers(machine: Machine) -> None:
    settings = machine.labeller(incar=["KPAR = 2", "EDIFF = 1E-6"], version="6.4").settings()
    assert (settings.code, settings.version, settings.functional, settings.anion_corrected) == ("vasp", "6.4", "PBE", False)
    parameters = settings.parameters
    assert (parameters["input_set"], parameters["encut"], parameters["kspacing"]) == ("MatPESStaticSet", 680.0, 0.22)
    assert parameters["smearing"] == [0, 0.05]
    assert parameters["incar"] == {"EDIFF": 1e-6}
    assert parameters["potcar_library"] == "PBE_64"
    text = potcar_text("Li", "Li_sv")
    assert parameters["potcars"]["Li"] == {
        "symbol": "Li_sv",
        "title": "PAW_PBE Li_sv 01Jan2001",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def test_digests_differ_by_what_changes_the_numbers_and_by_nothing_else(machine: Machine) -> None:
    digests = {
        name: settings_digest(machine.labeller(**config).settings())
        for name, config in {
            "default": {},
            "parallel": {"incar": ["NCORE = 4", "KPAR = 2"]},
            "limits": {"max_errors": 3, "walltime": 3600},
            "cutoff": {"incar": ["ENCUT = 520"]},
            "k-points": {"incar": ["KSPACING = 0.3"]},
            "mp": {"maker": "mp"},
            "version": {"version": "5.4.4"},
        }.items()
    }
    assert digests["parallel"] == digests["limits"] == digests["default"]
    assert len(set(digests.values())) == 5


def test_another_potcar_is_another_digest(machine: Machine) -> None:
    before = settings_digest(machine.labeller().settings())
    path = machine.root / "potcars" / "POT_PAW_PBE_64" / "S" / "POTCAR"
    path.write_text(path.read_text().replace("1.0 2.0 3.0", "1.0 2.0 3.1"))
    assert settings_digest(machine.labeller().settings()) != before


def test_no_directory_of_potcars(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
    assert "PMG_VASP_PSP_DIR is not set" in refusal(machine)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(machine.root / "nowhere"))
    assert f"PMG_VASP_PSP_DIR is {machine.root / 'nowhere'}, which is not a directory" in refusal(machine)


def test_a_missing_potcar_names_the_element_the_library_and_the_places(machine: Machine) -> None:
    (machine.root / "potcars" / "POT_PAW_PBE_64" / "S" / "POTCAR").unlink()
    message = refusal(machine)
    folder = machine.root / "potcars" / "POT_PAW_PBE_64"
    assert message.startswith(f"VASP: no POTCAR of S (S, PBE_64); looked for {folder}/POTCAR.S[.gz] and {folder}/S/POTCAR[.gz]")


def test_a_release_that_is_not_installed(machine: Machine) -> None:
    assert "no POTCAR of Li (Li_sv, PBE_54)" in refusal(machine, potcars="PBE_54")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (potcar_text("P", "S"), "is one of P, not of S"),
        (potcar_text("S", "S", functional="CA"), "was made with Perdew-Zunger81, not PBE"),
        ("not a POTCAR\n", "is damaged"),
        ("", "is damaged"),
    ],
)
def test_a_potcar_of_something_else(machine: Machine, text: str, told: str) -> None:
    (machine.root / "potcars" / "POT_PAW_PBE_64" / "S" / "POTCAR").write_text(text)
    assert told in refusal(machine)


def test_installed_libraries_are_counted(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed_libraries() == {"PBE_64": 3, "PBE": 3}
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(machine.root / "bin"))
    assert installed_libraries() == {}


def test_no_executable(machine: Machine) -> None:
    (machine.root / "bin" / "vasp_std").unlink()
    assert f"no executable {machine.command!r} on PATH" in refusal(machine)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("mpirun -n 4 vasp_nowhere", "vasp_nowhere"),
        ("launcher_nowhere vasp_std", "launcher_nowhere"),
        ("", "empty"),
        ("vasp_std 'x", "cannot be read"),
    ],
)
def test_commands_that_cannot_start(machine: Machine, monkeypatch: pytest.MonkeyPatch, command: str, missing: str) -> None:
    (machine.root / "bin" / "mpirun").write_text("#!/bin/sh\n")
    (machine.root / "bin" / "mpirun").chmod(0o755)
    monkeypatch.setenv("PATH", str(machine.root / "bin"), prepend=":")
    with pytest.raises(LabellingError, match=missing):
        require_command(command)
    assert require_command("mpirun -n 4 vasp_std") == machine.command
    assert require_command(machine.command) == machine.command


def test_an_element_that_the_node_does_not_have(machine: Machine) -> None:
    with pytest.raises(LabellingError, match="frames hold Na; allowed: Li, P, S"):
        machine.labeller().label([Structure(Lattice.cubic(4.0), ["Na"], [[0, 0, 0]])])
    with pytest.raises(LabellingError, match="elements of the node are not given"):
        VaspLabeller(VaspConfig(), [], command=machine.command).settings()


def test_another_version_of_vasp_stops_the_labelling(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_VERSION", "5.4.4.18Apr17-6-g9f103f2a35")
    with pytest.raises(LabellingError, match=r"is VASP 5.4.4.* and labelling.vasp.version is 6"):
        machine.labeller().label([FRAME])
    assert machine.labeller(version="5.4.4").label([FRAME])[0].status == "admitted"


def test_updates_in_a_file_of_atomate2_change_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from atomate2 import SETTINGS as ATOMATE2

    monkeypatch.setattr(ATOMATE2, "VASP_INCAR_UPDATES", {"ENCUT": 200})
    assert machine.labeller().label([FRAME])[0].status == "admitted"
    assert machine.journal[0][1] == "680.0"


def test_the_configuration_names_vasp(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_VASP_COMMAND", machine.command)
    config = LabellingConfig(code="vasp", vasp={"incar": ["ENCUT = 500"]}, max_force=0.001)
    labeller = labeller_for(config, elements=("Li", "S"))
    assert labeller.code == "vasp"
    assert json.loads(json.dumps(labeller.settings().parameters))["encut"] == 500.0
    slanted = FRAME.copy()
    slanted.translate_sites([0], [0.1, 0.0, 0.0], frac_coords=False)
    assert labeller.label([slanted])[0].reason == "large_force"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("GGA = PS", "GGA may not be set"),
        ("NSW = 5", "NSW may not be set"),
        ("ENCUT", "not an INCAR line"),
        ("ENCUT = 500; GGA = PS", "not an INCAR line"),
        ("ENCUT = 500\nGGA = PS", "not an INCAR line"),
        ("encut = 500", "not an INCAR line"),
    ],
)
def test_incar_lines_that_are_refused(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        VaspConfig(incar=[line])


def test_the_number_of_a_version_may_be_written_without_quotes() -> None:
    assert [VaspConfig(version=value).version for value in (6, 6.4, "6.4.2")] == ["6", "6.4", "6.4.2"]
