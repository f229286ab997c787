"""The command line as a user meets it: output, exit codes, messages, and nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from pathlib import Path

import pytest

from signalled_runs import start
from tiny_node import TINY, Coevo


def test_the_table_of_an_iteration_has_every_row(finished: Coevo) -> None:
    first, _, steps = (finished.directory / "run.txt").read_text().split("time per step")
    for row in (
        "candidates",
        "rejected",
        "relaxed",
        "unique",
        "stable",
        "novel",
        "S.U.N.",
        "labels",
        "prequential RMSE",
        "entropy",
        "reference set",
    ):
        assert row in first, row
    assert "li-p-s without 8 phases, 6 structures" in first
    assert "labelled by teacher" in first
    for step in ("generate", "screen", "curate", "label", "assess", "measure"):
        assert f"{step} " in steps


def test_every_table_of_a_node_with_a_teacher_names_it(finished: Coevo) -> None:
    teacher = "labels: CHGNet r2scan, a teacher, no first principles"
    entry = json.loads(finished("query", "tiny", "--limit", "1", "--format", "json").stdout)[0]["structure_id"]
    for command in (
        ("status", "tiny"),
        ("show", "tiny"),
        ("show", "tiny", entry),
        ("log", "tiny"),
        ("query", "tiny"),
        ("branch", "tiny"),
    ):
        assert teacher in " ".join(finished(*command).stdout.split()), command
    assert (finished.directory / "run.txt").read_text().count(teacher) == 2


def test_the_residuals_of_the_offsets_are_told(finished: Coevo) -> None:
    """CHGNet's r2SCAN weights against its corrected PBE ones: 64 meV/atom over the six small phases, most of it in Li3P."""
    ((digest, offsets),) = json.loads(finished("show", "tiny", "--format", "json").stdout)["offsets"].items()
    residuals = {row["formula"]: row["value"] for row in offsets["residuals"]}
    assert max(residuals, key=lambda formula: abs(residuals[formula])) == "Li3P"
    mean_square = sum(value**2 for value in residuals.values()) / len(residuals)
    assert mean_square**0.5 == pytest.approx(offsets["residual_rms"])
    told = (
        f"settings {digest[:8]}: the references are off by {1000 * offsets['residual_rms']:.0f} meV/atom (rms) (more than 30: acc"
    )
    for command in (("status", "tiny"), ("show", "tiny")):
        text = " ".join(finished(*command).stdout.replace("│", " ").split())
        assert told in text
        assert f"Li3P {1000 * residuals['Li3P']:+.0f}" in text


def test_log_lists_states_newest_first(finished: Coevo) -> None:
    log = json.loads(finished("log", "tiny", "--format", "json").stdout)
    assert [state["iteration"] for state in log] == [2, 1, 0]
    assert log[0]["parents"] == [log[1]["id"]]
    assert log[2]["parents"] == []
    for state in log:
        assert {"id", "iteration", "parents", "counts", "metrics"} <= state.keys()
    assert log[0]["id"][:8] in finished("log", "tiny").stdout


def test_status_and_show(finished: Coevo) -> None:
    status = json.loads(finished("status", "tiny", "--format", "json").stdout)
    assert status["head"]["iteration"] == 2
    assert [campaign["status"] for campaign in status["campaigns"]] == ["finished"]
    assert "tiny" in finished("status").stdout
    told = finished("status", "tiny")
    assert "median E_hull of candidates" in told.stdout
    assert told.stderr.startswith("next: ")
    assert [row["iterations"] for row in status["head"]["signals"] if row["name"] == "labelled frames"] == [[0, 1, 2]]
    assert told.stderr.split("next: ")[1].split()[0] in status["head"]["next"]
    assert "all" in finished("verify", "tiny", "--signals").stderr
    shown = json.loads(finished("show", "tiny@main~1", "--format", "json").stdout)
    assert shown["iteration"] == 1
    assert shown["config"]["node"]["name"] == "tiny"
    entry = json.loads(finished("query", "tiny", "--limit", "1", "--format", "json").stdout)[0]["structure_id"]
    assert json.loads(finished("show", "tiny", entry, "--format", "json").stdout)["structure_id"] == entry
    assert "an id that begins with 'zzzz'" in finished("show", "tiny", "zzzz", code=2).stderr


def test_query_filters_sorts_and_limits(finished: Coevo) -> None:
    rows = json.loads(finished("query", "tiny", "--format", "json").stdout)
    energies = [row["energy_above_hull"] for row in rows]
    assert energies == sorted(energies)
    wanted = {r["structure_id"] for r in rows if "P" in r["elements"] and r["energy_above_hull"] < 0.2}
    text = finished("query", "tiny", 'elements HAS "P" AND energy_above_hull < 0.2', "--format", "csv").stdout
    assert {row["structure_id"] for row in csv.DictReader(io.StringIO(text))} == wanted
    assert wanted, "the filter must select something, or this test shows nothing"
    falling = json.loads(finished("query", "tiny", "--sort=-nsites", "--limit", "3", "--format", "json").stdout)
    assert [r["nsites"] for r in falling] == sorted((r["nsites"] for r in rows), reverse=True)[:3]


def test_an_exported_cif_reads_back_to_matching_structures(finished: Coevo, tmp_path: Path) -> None:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.cif import CifParser

    from coevo.node_store.store import open_store
    from coevo.settings import Settings

    target = tmp_path / "entries.cif"
    finished("query", "tiny", "--format", "cif", "--output", str(target))
    rows = json.loads(finished("query", "tiny", "--format", "json").stdout)
    structures = CifParser(target).parse_structures(primitive=False)
    view = open_store(Settings(database=f"file:{finished.database}")).state("tiny")
    assert len(structures) == len(rows) > 0
    for row, structure in zip(rows, structures, strict=True):
        assert StructureMatcher(scale=False).fit(structure, view.structure(row["structure_id"]))


def test_extended_xyz_reads_back(finished: Coevo, tmp_path: Path) -> None:
    from ase.io import read

    target = tmp_path / "entries.extxyz"
    finished("query", "tiny", "--format", "extxyz", "--output", str(target))
    rows = json.loads(finished("query", "tiny", "--format", "json").stdout)
    frames = read(target, ":")
    assert [len(atoms) for atoms in frames] == [row["nsites"] for row in rows]
    assert [atoms.info["energy_above_hull"] for atoms in frames] == pytest.approx([r["energy_above_hull"] for r in rows])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nope"], ["nope", "tiny"]),
        (["log", "tiny@main~9"], ["main"]),
        (["log", "tiny@ffff"], ["ffff"]),
        (["query", "tiny", "energy_above_hul < 1"], ["energy_above_hul", "energy_above_hull"]),
        (["query", "tiny", "energy_above_hull <"], ["filter"]),
        (["query", "tiny", "--sort", "colour"], ["colour", "energy_above_hull"]),
        (["query", "tiny", "--format", "cif", "--output", "/no/such/place.cif"], ["/no/such/place.cif"]),
        (["init", "no-such-preset"], ["no-such-preset", "li-p-s-demo"]),
        (["init"], ["--elements"]),
        (["init", "--elements", "Na,Cl", "--references", ""], ["--references"]),
        (["init", "--elements", "Zn,Po"], ["no structure of Po alone", "FILE+elements"]),
        (["init", "--elements", "Na,Xx", "--references", "x.cif"], ["Xx"]),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_code_2(finished: Coevo, arguments: list[str], words: list[str]) -> None:
    done = finished(*arguments, code=2)
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("max_e_hull: 0.5", "max_e_hull: -0.5"), ["tiny.yaml", "curation.max_e_hull", "-0.5", ">= 0"]),
        (("max_e_hull: 0.5", "max_e_hul: 0.5"), ["tiny.yaml", "max_e_hul", "max_e_hull"]),
        (("[Li, P, S]", "[Li, P, Qq]"), ["tiny.yaml", "Qq"]),
        (("epochs: 2", "epochs: two"), ["tiny.yaml", "training.epochs", "two"]),
    ],
)
def test_a_bad_configuration_writes_nothing(tmp_path: Path, tiny_text: str, change: tuple[str, str], words: list[str]) -> None:
    assert change[0] in tiny_text
    (tmp_path / "tiny.yaml").write_text(tiny_text.replace(*change))
    coevo = Coevo(tmp_path)
    message = coevo("init", "tiny.yaml", code=2).stderr
    for word in words:
        assert word in message
    assert not coevo.database.exists()


def test_a_reference_file_with_a_foreign_element_writes_nothing(tmp_path: Path) -> None:
    from pymatgen.core import Lattice, Structure

    Structure(Lattice.cubic(5.6), ["K", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(filename=str(tmp_path / "refs.cif"))
    coevo = Coevo(tmp_path)
    message = coevo("init", "--elements", "Na,Cl", "--references", "refs.cif", code=2).stderr
    assert "refs.cif" in message
    assert "K" in message
    assert not coevo.database.exists()


def test_a_new_system_from_elements_and_a_file_of_structures(tmp_path: Path) -> None:
    from ase.build import bulk, molecule
    from ase.io import write

    chlorine = molecule("Cl2")
    chlorine.set_cell([6.0, 6.0, 6.0])
    chlorine.pbc = True
    write(tmp_path / "refs.extxyz", [bulk("Na", "bcc", a=4.2), chlorine, bulk("NaCl", "rocksalt", a=5.64)])
    coevo = Coevo(tmp_path)
    done = coevo("init", "--elements", "Na,Cl", "--references", "refs.extxyz")
    assert "coevo run cl-na" in done.stderr or "coevo run na-cl" in done.stderr
    shown = json.loads(coevo("status", "--format", "json").stdout)[0]
    assert shown["elements"] == ["Cl", "Na"]
    assert shown["head"]["reference_set"]["size"] == 3


def test_a_new_system_from_its_elements_alone(tmp_path: Path) -> None:
    coevo = Coevo(tmp_path)
    told = coevo("init", "--elements", "Zn,Cu").stderr
    assert "references: the bundled set elements, one crystal of each element" in told
    (shown,) = json.loads(coevo("status", "--format", "json").stdout)
    assert (shown["node"], shown["elements"]) == ("zn-cu", ["Cu", "Zn"])
    assert shown["head"]["references"] == "elements (one crystal of each element)"
    assert shown["head"]["reference_set"] == {"name": "elements", "size": 2}


@pytest.mark.long
def test_an_iteration_from_elements_alone_finds_compounds(tmp_path: Path) -> None:
    sizes = "generator:" + TINY.partition("generator:")[2]
    (tmp_path / "zn-s.yaml").write_text(f"node: {{name: zn-s, elements: [Zn, S], references: elements, seed: 7}}\n{sizes}")
    coevo = Coevo(tmp_path)
    coevo("init", "zn-s.yaml")
    coevo("run", "zn-s")
    shown = json.loads(coevo("show", "zn-s", "--format", "json").stdout)
    assert shown["counts"]["references"] == 2
    assert shown["counts"]["entries"] > 0


@pytest.mark.long
def test_an_edit_of_the_live_configuration_is_recorded_and_printed(fresh: Coevo) -> None:
    live = fresh.database / "tiny" / "node.yaml"
    live.write_text(live.read_text().replace("max_e_hull: 0.5", "max_e_hull: 0.4"))
    done = fresh("run", "tiny")
    assert "curation.max_e_hull: 0.5 -> 0.4" in done.stderr
    assert json.loads(fresh("show", "tiny", "--format", "json").stdout)["config"]["curation"]["max_e_hull"] == 0.4
    assert json.loads(fresh("show", "tiny~1", "--format", "json").stdout)["config"]["curation"]["max_e_hull"] == 0.5


@pytest.mark.parametrize(
    ("old", "new"), [("[Li, P, S]", "[Li, P, S, Cl]"), ("seed: 7", "seed: 7\n  descriptor: {bandwidth: 0.02}")]
)
def test_what_cannot_change_is_refused(fresh: Coevo, old: str, new: str) -> None:
    live = fresh.database / "tiny" / "node.yaml"
    live.write_text(live.read_text().replace(old, new))
    message = fresh("run", "tiny", code=2).stderr
    assert "node.yaml" in message or "cannot change" in message
    assert json.loads(fresh("log", "tiny", "--format", "json").stdout)[0]["iteration"] == 0
    assert json.loads(fresh("status", "tiny", "--format", "json").stdout)["campaigns"] == []


@pytest.mark.long
@pytest.mark.timing
def test_two_runs_on_one_node_at_once(fresh: Coevo) -> None:
    stored = len(list((fresh.database / "jobs").glob("*/*.json")))
    first, told = start(fresh, "run", "tiny", number=signal.SIGSTOP, results=stored + 1)
    # in the middle of its work, for as long as it takes to look at it
    assert os.WIFSTOPPED(os.waitpid(first.pid, os.WUNTRACED)[1]), first.communicate()
    assert told.exists()
    try:
        message = fresh("run", "tiny", code=2).stderr
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert str(first.pid) in message
    first.communicate(timeout=1800)
    assert first.returncode == 0
    assert json.loads(fresh("log", "tiny", "--format", "json").stdout)[0]["iteration"] == 1


def damage(path: Path, change: bytes | None) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    if change is None:
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= change[0]
        path.write_bytes(content)


CHANGES = pytest.mark.parametrize("change", [b"\x01", None], ids=["flipped", "truncated"])


def refused(coevo: Coevo, change: bytes | None) -> tuple[Path, bytes]:
    """Damage the force field's checkpoint and see that a run names it and loses nothing; return the file and what it held."""
    before = json.loads(coevo("log", "tiny", "--format", "json").stdout)
    sha256 = before[0]["checkpoints"]["force_field"]["sha256"]
    blob = coevo.database / "blobs" / sha256[:2] / sha256[2:]
    intact = blob.read_bytes()
    damage(blob, change)
    message = coevo("run", "tiny", code=2).stderr
    assert sha256[:8] in message
    assert json.loads(coevo("log", "tiny", "--format", "json").stdout) == before
    return blob, intact


@CHANGES
def test_a_damaged_checkpoint_is_named_and_nothing_is_lost(fresh: Coevo, change: bytes | None) -> None:
    blob, intact = refused(fresh, change)
    blob.write_bytes(intact)
    fresh("verify", "tiny")


@pytest.mark.long
@CHANGES
def test_a_node_whose_checkpoint_was_repaired_runs_on(fresh: Coevo, change: bytes | None) -> None:
    blob, intact = refused(fresh, change)
    blob.write_bytes(intact)
    fresh("run", "tiny")
    assert json.loads(fresh("log", "tiny", "--format", "json").stdout)[0]["iteration"] == 1


def test_doctor_reports_and_hints(tmp_path: Path) -> None:
    findings = {row["what"]: row for row in json.loads(Coevo(tmp_path)("doctor", "--format", "json").stdout)}
    assert {"database", "force field", "GPU", "Quantum ESPRESSO", "VASP", "SLURM", "phonopy"} <= findings.keys()
    assert all(row["hint"] for row in findings.values() if row["condition"] != "ok")


@pytest.mark.parametrize("artifacts", [{}, {"COEVO_ARTIFACTS": "memory://coevo"}], ids=["no artifact store", "no server"])
def test_doctor_finds_a_database_that_does_not_work_and_keeps_its_password(tmp_path: Path, artifacts: dict[str, str]) -> None:
    broken = Coevo(tmp_path, COEVO_DATABASE="mongodb://user:secret@127.0.0.1:1/coevo?serverSelectionTimeoutMS=500", **artifacts)
    done = broken("doctor", "--format", "json", code=1)
    (database,) = [row for row in json.loads(done.stdout) if row["what"] == "database"]
    assert database["condition"] == "problem"
    assert "secret" not in done.stdout + done.stderr


def test_a_mongodb_database_needs_an_artifact_store(tmp_path: Path) -> None:
    done = Coevo(tmp_path, COEVO_DATABASE="mongodb://127.0.0.1:1/coevo")("status", code=2)
    assert "COEVO_ARTIFACTS" in done.stderr
