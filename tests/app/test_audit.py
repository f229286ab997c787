"""Nodes with an audit: by a force field that took no part, and by the teacher, which is called what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from second_family import SHIFT, install_witness

from tiny_node import TINY, Coevo

SECTION = """
audit:
  auditor: force_field
  force_field: {family: %s, weights: %s}
  structures: 5
"""
NODE = TINY.replace("max_e_hull: 0.5", "max_e_hull: 0.3")

pytestmark = pytest.mark.long


def after_two_transitions(directory: Path, family: str, weights: str) -> Coevo:
    coevo = Coevo(directory, PYTHONPATH=install_witness(directory / "installed"))
    (directory / "tiny.yaml").write_text(NODE + SECTION % (family, weights))
    coevo("init", "tiny.yaml")
    (directory / "run.txt").write_text(coevo("run", "tiny", "-n", "2").stdout)
    return coevo


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """A tiny node that a force field of another family and other training looks at; read it, do not change it."""
    return after_two_transitions(tmp_path_factory.mktemp("witnessed"), "witness", "elsewhere")


def shown(coevo: Coevo, ref: str) -> dict[str, Any]:
    return json.loads(coevo("show", ref, "--format", "json").stdout)


def queried(coevo: Coevo, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(coevo("query", "tiny", *arguments, "--format", "json").stdout)


def test_what_was_audited_before_counts_and_is_not_computed_again(witnessed: Coevo) -> None:
    first, second = (shown(witnessed, ref)["metrics"]["audit"] for ref in ("tiny~1", "tiny"))
    assert first["relation"] == second["relation"] == "independent"
    assert first["auditor"] == second["auditor"]
    assert (first["new"], second["new"]) == (5, 5)
    assert not {r["id"] for r in first["records"]} & {r["id"] for r in second["records"]}
    looked = sum(row["n"] for row in second["strata"].values())
    assert 5 < looked <= 10
    # the references are computed once, in the same job
    jobs = [
        {run["name"] for run in shown(witnessed, ref)["provenance"]["jobs"] if "/audit/" in run["name"]}
        for ref in ("tiny~1", "tiny")
    ]
    assert jobs == [{"tiny/1/audit/0000", "tiny/1/audit/0001"}, {"tiny/1/audit/0000", "tiny/2/audit/0001"}]


def test_the_hull_is_that_of_the_auditor_s_own_energies(witnessed: Coevo) -> None:
    """Against pymatgen: references relaxed by what the witness is, on its scale, and all that it said in both states."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.contracts import Relaxation, RelaxationSettings
    from coevo.node_store.canonical import structure_from_document
    from coevo.node_store.store import open_store
    from coevo.settings import read_settings

    view = open_store(read_settings(database=witnessed.environment["COEVO_DATABASE"])).state("tiny")
    crystals = [structure_from_document(reference["structure"]) for reference in view.references()]
    settings = RelaxationSettings(fmax=0.2, max_steps=60, batch_size=2)
    relaxed = ChgnetForceField.published("0.2.0").relax(crystals, settings)
    assert all(isinstance(result, Relaxation) for result in relaxed)
    said = {r["id"]: r for ref in ("tiny~1", "tiny") for r in shown(witnessed, ref)["metrics"]["audit"]["records"]}
    documents = {d["structure_id"]: d for d in view.evaluations("entry")}
    points = [
        PDEntry(crystal.composition, result.prediction.energy * len(crystal) + sum(SHIFT[site.specie.symbol] for site in crystal))
        for crystal, result in zip(crystals, relaxed, strict=True)
    ]
    entries = {
        i: PDEntry(c := view.structure(i).composition, r["energy_per_atom"] * c.num_atoms)
        for i, r in said.items()
        if i in documents  # rejected candidates lie above the hull of the others
    }
    diagram = PhaseDiagram([*points, *entries.values()])
    looked = {i: d for i, d in documents.items() if d.get("audit_verdict")}
    assert set(looked) == set(entries)
    for identifier, document in looked.items():
        assert document["energy_above_hull_audit"] == pytest.approx(diagram.get_e_above_hull(entries[identifier]), abs=1e-4)
        assert document["audit_verdict"] == ("stable" if document["energy_above_hull_audit"] <= 0.2 else "unstable")


def test_labels_and_merges_are_judged_by_what_was_said_before(witnessed: Coevo, tmp_path: Path) -> None:
    shutil.copytree(witnessed.directory, tmp_path / "copy")
    coevo = Coevo(tmp_path / "copy", PYTHONPATH=witnessed.environment["PYTHONPATH"])
    before = shown(coevo, "tiny")["metrics"]["audit"]
    coevo("branch", "tiny@main", "side")
    coevo("label", "tiny", "--limit", "1")
    labelled = shown(coevo, "tiny")["metrics"]["audit"]
    assert (labelled["new"], labelled["records"]) == (0, [])
    assert labelled["references"] == before["references"]
    assert labelled["strata"]["sun"]["n"] == before["strata"]["sun"]["n"]
    assert labelled["precision"] is not None
    coevo("label", "tiny@side", "--limit", "2")
    coevo("merge", "tiny@main", "tiny@side", "--into", "tiny@main", "--no-train")
    merged = shown(coevo, "tiny")["metrics"]["audit"]
    assert merged["relation"] == "independent"
    assert merged["strata"]["sun"] == labelled["strata"]["sun"]
    assert "agreed by witness/elsewhere: " in coevo("status", "tiny").stdout
    assert "agreed " in coevo("branch", "tiny").stdout
    assert coevo("verify", "tiny").returncode == 0


def test_tables_lead_with_what_the_auditor_says(witnessed: Coevo, tmp_path: Path) -> None:
    told = shown(witnessed, "tiny")["metrics"]["audit"]
    words = f"agreed by witness/elsewhere: {told['sun']['count']:.0f} ("
    status = witnessed("status", "tiny").stdout
    assert words in status
    assert status.index(words) < status.index("S.U.N. (one family)")
    assert words in (witnessed.directory / "run.txt").read_text()
    assert words in witnessed("show", "tiny").stdout
    assert f"agreed {told['sun']['count']:.0f} (" in witnessed("log", "tiny").stdout
    witnessed("report", "tiny", "--output", str(tmp_path / "report"))
    page = (tmp_path / "report" / "index.html").read_text()
    assert words in page
    assert page.index(words) < page.index("S.U.N. (one family)")
    for text in (status, page, (witnessed.directory / "run.txt").read_text()):
        assert "audited" not in text.replace("not audited", "")
    stable = queried(witnessed, 'audit_verdict = "stable" AND energy_above_hull_audit <= 0.2')
    assert stable
    assert {row["audit_verdict"] for row in stable} == {"stable"}
    one = witnessed("show", "tiny", stable[0]["structure_id"][:12]).stdout
    assert "stable (agreed by witness/elsewhere): E_hull" in one
    assert witnessed("verify", "tiny").returncode == 0


def test_the_teacher_of_a_node_is_not_its_auditor(tmp_path: Path) -> None:
    coevo = after_two_transitions(tmp_path, "chgnet", "r2scan")
    told = shown(coevo, "tiny")["metrics"]["audit"]
    assert told["relation"] == "labeller"
    everything = coevo("status", "tiny").stdout + (tmp_path / "run.txt").read_text() + coevo("log", "tiny").stdout
    assert "agreement with the labeller, chgnet/r2scan: " in everything
    assert "agreed" not in everything
    assert "audited" not in everything.replace("not audited", "")
    assert queried(coevo, "audit_verdict IS KNOWN") == []
