"""A packet of frames labelled by a job: its labels, and the digest of settings that they must have."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobflow import run_locally
from pymatgen.core import SETTINGS, Lattice, Structure
from vasp_machine import Machine, make_machine

from coevo.configs.tree import LabellingConfig
from coevo.errors import LabellingError
from coevo.labelling.digest import settings_digest
from coevo.makers.label import LabelPacketMaker
from coevo.makers.labels.settings import labeller_for
from coevo.makers.step import current_store, read_records, write_records
from coevo.node_store.canonical import structure_document, structure_id

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = LabellingConfig(code="vasp")
ELEMENTS = ("Li", "S")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = make_machine(tmp_path, monkeypatch)
    monkeypatch.setenv("COEVO_VASP_COMMAND", made.command)
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    return made


def packet_of(*frames: Structure) -> dict:
    records = [
        {"id": structure_id(x), "structure": structure_document(x), "family": "f", "kind": "relaxed", "how": "random"}
        for x in frames
    ]
    return write_records(current_store(), records)


def label(frames: dict, digest: str = "") -> dict:
    job = LabelPacketMaker(labelling=CONFIG, elements=ELEMENTS, settings_digest=digest).make(frames)
    return run_locally(job, log=False, ensure_success=True, raise_immediately=True)[job.uuid][1].output


def test_a_packet_is_labelled_by_vasp_inside_a_job(machine: Machine) -> None:
    sound = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0.02, 0, 0], [0.5, 0.5, 0.5]])
    near = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0], [0.01, 0, 0]])
    frames = packet_of(sound, near)
    output = label(frames)
    assert output["counts"] == {"admitted": 1, "rejected": 1}
    assert output["reasons"] == {"overlap": 1}
    first, second = read_records(current_store(), output["labels"])
    digest = settings_digest(labeller_for(CONFIG, elements=ELEMENTS).settings())
    assert (first["code"], first["functional"], first["settings_digest"]) == ("vasp", "PBE", digest)
    assert first["energy_per_atom"] is not None
    assert second["energy_per_atom"] is None
    assert label(frames) == output
    assert len(machine.journal) == 1


def test_a_worker_with_another_potcar_does_not_label(machine: Machine) -> None:
    frames = packet_of(Structure(Lattice.cubic(4.0), ["Li", "S"], [[0.02, 0, 0], [0.5, 0.5, 0.5]]))
    digest = settings_digest(labeller_for(CONFIG, elements=ELEMENTS).settings())
    path = Path(SETTINGS["PMG_VASP_PSP_DIR"]) / "POT_PAW_PBE_64" / "S" / "POTCAR"
    text = path.read_text()
    path.write_text(text.replace("1.0 2.0 3.0", "9.0 2.0 3.0"))
    with pytest.raises(LabellingError, match="the settings of this machine have the digest"):
        label(frames, digest)
    assert machine.journal == []
    path.write_text(text)
    assert label(frames, digest)["counts"] == {"admitted": 1}
