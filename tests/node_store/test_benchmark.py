"""The benchmark of the node store runs, and what it stores are structures as a transition stores them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.long
def test_the_quick_benchmark_measures_every_step(tmp_path):
    result, plot = tmp_path / "node_store.json", tmp_path / "plot.png"
    command = [sys.executable, str(BENCHMARKS / "node_store.py"), "--quick", "--backends", "embedded"]
    done = subprocess.run(
        [*command, "--output", str(result), "--plot", str(plot)], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    embedded = report["backends"]["embedded"]
    rows = ("commit", "open", "query_first", "query_repeated", "load", "export", "verify", "import")
    for numbers in embedded["sizes"].values():
        assert set(numbers) == {*rows, "date"}
        assert numbers["import"]["state"] == numbers["commit"]["state"]
        assert all(numbers[row]["cpu_seconds"] > 0 and numbers[row]["peak_megabytes"] > 1 for row in rows)
    (answers,) = {report["peers"][peer]["100"]["answers"] for peer in ("json_file", "maggma")}
    assert answers == embedded["sizes"]["100"]["query_first"]["answers"]
    assert set(embedded["growth"]) == {"commit", "export", "verify", "import"}
    assert set(embedded["earlier_states"]["commits"]) == {"1", "2"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_its_structures_are_written_as_those_of_pymatgen(monkeypatch):
    from coevo.node_store.canonical import structure_document, structure_from_document

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from workloads.li_p_s_population import CELLS, evaluation, structure

    for index in range(len(CELLS)):
        row = structure("entry", index, 0)
        pymatgen = structure_from_document(row["structure"])
        assert structure_document(pymatgen) == row["structure"]
        assert row["formula"] == pymatgen.composition.reduced_formula
        assert row["chemsys"] == pymatgen.composition.chemical_system
        assert row["nsites"] == len(pymatgen)
        assert abs(row["volume_per_atom"] - pymatgen.volume / len(pymatgen)) < 1e-9
        relaxed = evaluation(row, "entry", 0)["relaxed"]
        if relaxed is not None:
            assert structure_document(structure_from_document(relaxed)) == relaxed
