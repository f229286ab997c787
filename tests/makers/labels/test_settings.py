"""The digest of computed labels goes on when the node gets another element, and is another when a potential changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobflow import run_locally
from pymatgen.core import SETTINGS, Lattice, Structure
from vasp_machine import Machine, make_machine

from coevo.configs.tree import LabellingConfig
from coevo.labelling.contract import LabelSettings
from coevo.labelling.digest import settings_digest
from coevo.makers.label import LabelPacketMaker
from coevo.makers.labels.settings import current_settings, facts_of_label, labeller_for, settings_among
from coevo.makers.step import current_store, job_key, read_records, write_records
from coevo.node_store.canonical import structure_document, structure_id

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = LabellingConfig(code="vasp")


def settings(*elements: str, **changed: str) -> LabelSettings:
    potcars = {element: {"symbol": element, "sha256": changed.get(element, element * 3)} for element in elements}
    return LabelSettings("vasp", "6.4", "PBE", False, {"encut": 680.0, "potcars": potcars})


def label(digest: str, *elements: str, code: str = "vasp", **more: Any) -> dict[str, Any]:
    sites = [{"species": [{"element": element}]} for element in elements]
    return {"code": code, "settings_digest": digest, "status": "admitted", "structure": {"sites": sites}, **more}


OLD = settings_digest(settings("Li", "P", "S"))
ROWS = [label(OLD, "Li", "S"), label(OLD, "P")]


def test_an_extension_by_an_element_keeps_the_digest_of_the_others() -> None:
    extended = settings("Cl", "Li", "P", "S")
    found = settings_among(extended, ROWS)
    assert (found.digest, found.own) == (OLD, settings_digest(extended))
    assert settings_among(settings("Br", "Cl", "Li", "P", "S"), ROWS).digest == OLD
    assert settings_among(settings("Li", "P", "S"), ROWS).digest == OLD


def test_another_potential_or_setting_is_another_digest() -> None:
    for changed in (settings("Cl", "Li", "P", "S", Li="hard"), replace(settings("Cl", "Li", "P", "S"), version="6.5")):
        found = settings_among(changed, ROWS)
        assert found.digest == found.own == settings_digest(changed)
    # also of the element that came later, once labels say which they used
    extended = settings("Cl", "Li", "P", "S")
    later = [*ROWS, label(OLD, "Li", "Cl", **facts_of_label(extended, ["Cl", "Li"]))]
    assert settings_among(extended, later).digest == OLD
    other = settings("Cl", "Li", "P", "S", Cl="hard")
    assert settings_among(other, later).digest == settings_digest(other)


def test_of_two_older_digests_that_of_most_labels_goes_on() -> None:
    """As after a merge of nodes of other elements."""
    one, two = settings_digest(settings("Li", "S")), settings_digest(settings("Li", "P"))
    rows = [label(one, "Li", "S"), label(two, "Li"), label(two, "P"), label(one, "S", code="imported")]
    assert settings_among(settings("Li", "P", "S"), rows).digest == two


@pytest.mark.parametrize("code", ["teacher", "espresso"])
def test_codes_whose_settings_name_no_element_keep_their_digest(code: str) -> None:
    own = LabelSettings(code, "1", "PBE", False, {"weights": "w"})
    assert settings_among(own, ROWS).digest == settings_digest(own)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = make_machine(tmp_path, monkeypatch)
    monkeypatch.setenv("COEVO_VASP_COMMAND", made.command)
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    return made


def test_a_packet_of_an_extended_node_is_stored_under_the_older_digest(machine: Machine) -> None:
    older = settings_digest(labeller_for(CONFIG, elements=("Li", "S")).settings())
    now = current_settings(CONFIG, ("Li", "P", "S"), [label(older, "Li", "S")])
    assert now.digest == older != now.own
    frame = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0.02, 0, 0], [0.5, 0.5, 0.5]])
    record = {
        "id": structure_id(frame),
        "structure": structure_document(frame),
        "family": "f",
        "kind": "relaxed",
        "how": "random",
    }
    maker = LabelPacketMaker(labelling=CONFIG, elements=("Li", "P", "S"), settings_digest=now.own, stored_as=now.digest)
    job = maker.make(write_records(current_store(), [record]))
    output = run_locally(job, log=False, ensure_success=True, raise_immediately=True)[job.uuid][1].output
    (made,) = read_records(current_store(), output["labels"])
    assert made["settings_digest"] == older
    assert set(made["settings_facts"]["potentials"]) == {"Li", "S"}
    assert current_settings(CONFIG, ("Li", "P", "S"), [made]).digest == older
    path = Path(SETTINGS["PMG_VASP_PSP_DIR"]) / "POT_PAW_PBE_64" / "S" / "POTCAR"
    path.write_text(path.read_text().replace("1.0 2.0 3.0", "9.0 2.0 3.0"))
    assert current_settings(CONFIG, ("Li", "P", "S"), [made]).digest != older


def test_the_key_of_a_packet_is_that_of_finished_work_until_it_is_stored_elsewhere() -> None:
    plain = LabelPacketMaker(labelling=CONFIG, elements=("Li",), settings_digest="a")
    key = job_key(plain, {"frames": {}})
    assert key == job_key(replace(plain, stored_as=""), {"frames": {}})
    assert key != job_key(replace(plain, stored_as="b"), {"frames": {}})
