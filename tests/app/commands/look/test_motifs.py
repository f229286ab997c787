"""``coevo motifs`` on a state and on files: what it prints is what the store holds; bad input is one line and exit code 2."""

from __future__ import annotations

import csv
import io
import json

import pytest

from coevo.analysis.motifs.motifs import motifs_of
from coevo.node_store.store import open_store
from coevo.settings import Settings
from crystal_piles import cif_text, known_phases, write_extxyz, write_zip
from tiny_node import Coevo

LI3PS4 = "beta-Li3PS4 (ordered approximant)"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return Coevo(tmp_path_factory.mktemp("motifs"))


@pytest.fixture(scope="module")
def pile(here):
    phases = known_phases()
    return write_extxyz(here.directory / "pile.extxyz", [phases[LI3PS4], phases["Li2S"], phases["P black"], phases["Li3P"]])


def test_a_state(finished):
    found = json.loads(finished("motifs", "tiny", "--format", "json").stdout)
    view = open_store(Settings(database=f"file:{finished.database}")).state("tiny")
    entries = [d for d in view.evaluations("entry") if not d["duplicate_of"]]
    assert found["structures"] == len(entries) > 0
    references = list(view.evaluations("reference"))
    assert found["references"] == len(references) > 0
    rows = {row["label"]: row for row in found["motifs"]}
    expected: dict[str, list] = {}
    for document in entries:
        for motif in motifs_of(view.structure(document["structure_id"])):
            expected.setdefault(motif.label, []).append(document)
    for label, row in rows.items():
        carriers = expected.get(label, [])
        assert row["carriers"] == len(carriers)
        assert row["best_e_hull"] == min((d["energy_above_hull"] for d in carriers), default=None)
        assert row["first_iteration"] == min((d["iteration_added"] for d in carriers), default=None)
    assert set(expected) <= set(rows)
    with_bare_sulfur = [d["structure_id"] for d in references if d["formula"] == "Li2S"]
    assert next(row["references"] for row in found["motifs"] if row["name"] == "S (bare)") == sorted(with_bare_sulfur)
    charges = found["charges"]
    assert charges["balanced"] + len(charges["unbalanced"]) + charges["unknown"] == found["structures"] + found["references"]


def test_the_table_and_the_csv_say_the_same(finished):
    table = finished("motifs", "tiny").stdout
    rows = list(csv.DictReader(io.StringIO(finished("motifs", "tiny", "--format", "csv").stdout)))
    assert f"{len(rows)} motifs in" in table
    assert "charges add up to zero in" in " ".join(table.split())
    for row in rows:
        assert row["name"] in table
    assert (
        finished("motifs", "tiny", "--format", "csv", "--workers", "2").stdout
        == finished("motifs", "tiny", "--format", "csv").stdout
    )


def test_a_file(here, pile):
    rows = {row["name"]: row for row in json.loads(here("motifs", str(pile), "--format", "json").stdout)["motifs"]}
    assert {name: (row["charge"], row["kind"]) for name, row in rows.items()} == {
        "PS4": (-3, "molecule"),
        "S (bare)": (-2, "molecule"),
        "P (bare)": (-3, "molecule"),
        "P layer (black P)": (0, "layer"),
    }
    assert all(row["best_e_hull"] is None and row["carriers"] == 1 for row in rows.values())
    assert "3 motifs are not shown" in here("motifs", str(pile), "--limit", "1").stdout


def test_what_cannot_be_read_in_a_pile_is_said(here):
    mixed = write_zip(here.directory / "mixed.zip", {"a.cif": cif_text(known_phases()["Li2S"]), "b.cif": "data_nothing"})
    done = here("motifs", str(mixed))
    assert "S (bare)" in done.stdout
    assert "left out: 1 " in done.stderr


def test_another_cutoff(here, pile):
    # PS4 has bonds of 2.03 to 2.08 Å
    names = [
        row["name"] for row in json.loads(here("motifs", str(pile), "--bond", "P-S=1.9", "--format", "json").stdout)["motifs"]
    ]
    assert "PS4" not in names
    assert "S (bare)" in names
    document = json.loads(here("motifs", str(pile), "--bond", "P-S=1.9", "--bond", "S-S=2.4", "--format", "json").stdout)
    assert document["bonds"]["cutoffs"] == {"P-P": 2.7, "P-S": 1.9, "S-S": 2.4}


def test_tolerance(here, pile):
    found = json.loads(here("motifs", str(pile), "--tolerance", "--format", "json").stdout)
    pairs = {pair["pair"]: pair for pair in found["pairs"]}
    assert (found["structures"], found["changed_at_0.95"], found["changed_at_1.05"]) == (4, 0, 0)
    assert pairs["P-S"]["bonds"] == 16
    assert 2.07 < pairs["P-S"]["longest_bond"] < 2.09
    table = here("motifs", str(pile), "--tolerance").stdout
    assert "longest bond" in table
    assert here("motifs", str(pile), "--tolerance", "--format", "csv").stdout.startswith("pair,cutoff,bonds")


def test_known_only_and_output(here, pile):
    path = here.directory / "census.json"
    here("motifs", str(pile), "--known", "--format", "json", "--output", str(path))
    assert all(row["known"] for row in json.loads(path.read_text())["motifs"])
    assert not list(here.directory.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nowhere",), "no node 'nowhere'"),
        (("missing.cif",), "no such file"),
        (("pile.extxyz", "--bond", "Li-S=2"), "Li is a metal"),
        (("pile.extxyz", "--bond", "P-S"), "such as P-S=2.5"),
        (("pile.extxyz", "--output", "x.txt"), "choose csv or json"),
        (("pile.extxyz", "--format", "csv", "--output", "no/such/x.csv"), "choose another place"),
    ],
)
def test_bad_input_is_one_line(here, pile, arguments, why):
    done = here("motifs", *arguments, code=2)
    assert why in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
