"""Studies of transport on a tiny node: chunks that are gone on from, tiers, what stops, and the words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import coevo.makers.studies.transport as transport
from coevo.campaigns.study import plan_study, run_study
from coevo.campaigns.study_phases import choose_phases
from coevo.configs.studies.transport import TransportStudy
from coevo.flows.studies.transport import SECONDS_PER_ATOM_STEP
from coevo.makers.studies.trajectories import MolecularDynamicsMaker, read_frames
from coevo.node_store.current import current_store
from coevo.node_store.store import NodeStore
from coevo.studies.study_words import study_lines, study_tables
from tiny_node import Coevo, copy_of

SETTINGS = TransportStudy(
    temperatures=(500.0, 700.0),
    time=0.02,
    first_time=0.01,
    replicas=1,
    length=4.0,
    frame=0.002,
    chunk=0.005,
    timestep=1.0,
    equilibration=0.0,
)


@pytest.fixture
def store(finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    monkeypatch.setenv("COEVO_DATABASE", copy_of(finished.directory, tmp_path).environment["COEVO_DATABASE"])
    return current_store()


def test_a_killed_study_goes_on_with_the_same_trajectory(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    view = store.state("tiny")
    phases = choose_phases(view, 'elements HAS "Li" AND nelements > 1', references=True, limit=1)
    ran: list[str] = []
    import coevo.models.molecular_dynamics as dynamics

    move = dynamics.move

    def counting(*args: Any, **kwargs: Any) -> Any:
        ran.append("moved")
        if len(ran) == 2 and not resumed:
            raise KeyboardInterrupt
        return move(*args, **kwargs)

    resumed: list[bool] = []
    monkeypatch.setattr(dynamics, "move", counting)
    monkeypatch.setattr(transport, "why_it_stops", lambda row: "")  # so short a run resolves nothing
    with pytest.raises(KeyboardInterrupt):
        run_study(store, view, "transport", SETTINGS, phases)
    resumed.append(True)
    study = run_study(store, view, "transport", SETTINGS, phases)
    results = study.document["results"]
    assert [(row["temperature"], row["replicas"]) for row in results["rows"]] == [(500.0, 1), (700.0, 1)]
    assert all("are too short" in row["reason"] for row in results["rows"])
    assert len(study.document["artifacts"]) == results["files"]
    kept = {artifact["name"]: artifact["sha256"] for artifact in study.document["artifacts"]}
    counts = [len(read_frames(store, sha256)[0]) for name, sha256 in sorted(kept.items()) if "-700K-" in name]
    assert sum(counts) == 10  # 20 fs, a frame every 2 fs
    # the same in one go: without the trajectories that are stored
    resumed_at = len(ran)
    for key in list(store.backend.job_keys()):
        found = store.job_result(key)
        if found is not None and found["provenance"].get("maker") == "MolecularDynamicsMaker":
            store.drop_job_result(key)
    again = run_study(store, view, "transport", SETTINGS, phases)
    assert len(ran) > resumed_at
    assert again.document["artifacts"] == study.document["artifacts"]
    assert again.id == study.id
    text = " ".join(study_lines(study))
    assert "D too high" in text
    assert [table.title for table in study_tables(study)] == [
        "diffusion of Li",
        "Arrhenius lines (of at least 3 resolved temperatures)",
    ]


def test_what_does_not_move_stops_after_the_first_run_and_the_plan_says_the_cost(store: NodeStore) -> None:
    view = store.state("tiny")
    phases = choose_phases(view, 'elements HAS "Li" AND nelements > 1', references=True, limit=1)
    before = set(store.backend.job_keys())
    plan = plan_study(view, "transport", SETTINGS, phases)
    assert set(store.backend.job_keys()) == before
    structure = view.structure(phases.phases[0]["id"])
    a, b, c = transport.repeats_of(structure, 4.0)
    atoms = a * b * c * len(structure)
    # 10 steps at one temperature, too few for a coefficient: nothing goes on
    assert plan.cpu_seconds == pytest.approx(SECONDS_PER_ATOM_STEP["chgnet"] * atoms * 10)
    longer = SETTINGS.model_copy(update={"first_time": 20.0, "time": 30.0, "chunk": 10.0})
    # 30,000 steps at two temperatures
    assert plan_study(view, "transport", longer, phases).cpu_seconds == pytest.approx(
        SECONDS_PER_ATOM_STEP["chgnet"] * atoms * 60_000
    )
    settings = SETTINGS.model_copy(update={"mobile": "P"})
    assert plan_study(view, "transport", settings, phases).jobs >= 3
    study = run_study(store, view, "transport", SETTINGS, phases)
    (reason,) = study.document["results"]["stopped"].values()
    assert "are too short" in reason
    assert [row["temperature"] for row in study.document["results"]["rows"]] == [700.0]


def run_of(store: NodeStore, temperature: float, d: float, seed: int) -> dict[str, Any]:
    """A stored run of rock salt in which Li walks at D (Å²/ps) and S stays, 60 ps."""
    import numpy as np
    from pymatgen.core import Lattice, Structure

    from coevo.makers.studies.trajectories import frames_bytes
    from coevo.models.molecular_dynamics import Motion, Trajectory
    from coevo.models.relaxing.crystal import Crystal
    from coevo.node_store.canonical import structure_document

    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.0), ["Li", "S"], [[0.5, 0.5, 0.5], [0, 0, 0]]) * (2, 2, 2)
    random, lithium = np.random.default_rng(seed), np.array([site.specie.symbol == "Li" for site in structure])
    frames = structure.cart_coords + random.normal(0, 0.1, (600, len(structure), 3))
    frames[:, lithium] += np.cumsum(random.normal(0, np.sqrt(2 * d * 0.1), (600, lithium.sum(), 3)), axis=0)
    ones = np.full(600, temperature)
    end = Motion(Crystal(np.ones(1, dtype=np.int64), np.zeros((1, 3)), np.eye(3)), np.zeros((1, 3)), temperature, {})
    stored = store.artifacts.put_bytes(frames_bytes(Trajectory(frames, ones, ones, ones, end)))
    record = {"id": "a" * 64, "structure": structure_document(structure)}
    found = transport.run_record("node", record, temperature, seed, 0)
    return {**found, "frames": [{"sha256": stored.sha256, "size": stored.size}]}


def test_walks_of_known_coefficients_become_a_table_and_a_line(store: NodeStore) -> None:
    from coevo.studies.transport.words import summary, tables

    settings = TransportStudy()
    known = {1000.0: 0.5, 800.0: 0.2, 600.0: 0.05}
    rows = [
        transport.analyse_runs([run_of(store, temperature, d, seed) for seed in range(3)], settings)
        for temperature, d in known.items()
    ]
    for row, d in zip(rows, known.values(), strict=True):
        assert row["framework"]["status"] == "intact"
        assert row["diffusion"]["low"] < 1e-4 * d < row["diffusion"]["high"]
        # 4 Li in 125 Å³: n e² D / k_B T with e²/k_B = 1.85922e-15 C² K/J
        assert row["conductivity"] == pytest.approx(
            0.032e24 * 1.85922e-15 * row["diffusion"]["value"] / row["temperature"], rel=1e-4
        )
        assert transport.why_it_stops(row) == ""
    still = transport.analyse_runs([run_of(store, 400.0, 0.0, 1)], settings)
    assert transport.why_it_stops(still) == "no diffusion resolved"
    lines = transport.lines_of(rows, settings)
    # of the values put in, unweighted: ln(0.5 / 0.05) k_B / (1/600 - 1/1000) = 0.298 eV
    assert lines["a" * 64]["activation_energy"] == pytest.approx(0.298, abs=0.02)
    assert "wants 3 resolved" in transport.lines_of(rows[:2], settings)["a" * 64]["reason"]
    document = {
        "settings": settings.model_dump(mode="json"),
        "phases": [{"id": "a" * 64, "formula": "LiS"}],
        "results": {"rows": [*rows, still], "lines": lines, "stopped": {}, "left_out": {"b": "holds no Li"}},
    }
    text = " ".join(summary(document))
    assert "moves measurably in an intact framework in 3 of 4" in text
    assert "tracer" in text
    (_, columns, cells), (_, _, line) = tables(document)
    assert all(len(row) == len(columns) for row in cells)
    assert [row[2] for row in cells] == [400.0, 600.0, 800.0, 1000.0]
    assert cells[0][4].startswith("< ")
    assert cells[0][-1] == "intact; not resolved"
    for compared, word in ((False, "intact; one lag"), (True, "intact; no plateau")):
        rows[0]["diffusion"].update(plateau=False, compared=compared)
        assert tables(document)[0][2][-1][-1] == word
        assert ("there was time for one lag only" in " ".join(summary(document))) is not compared
    assert line[0][2].startswith("0.")


def test_the_command_says_what_is_left_out_plans_and_runs(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    asked = ("--temperatures", "700", "--time", "0.2ps", "--length", "3", "--replicas", "1", "--limit", "1", "--format", "csv")
    ran = coevo("study", "transport", "tiny", "nelements > 1", *asked)
    assert "are too short" in ran.stdout
    assert "transport of 1 phase" in ran.stderr
    shown = coevo("study", "show", "tiny", "transport").stdout
    assert "D too high" in " ".join(shown.split())
    done = finished("study", "transport", "tiny", "--temperatures", "600,800,1000", "--time", "50ps", "--plan")
    assert "CPU time about" in done.stdout
    assert "3 runs" not in done.stdout  # three replicas at three temperatures
    assert "9 runs of 50 ps" in " ".join(done.stdout.split())
    refused = finished("study", "transport", "tiny", "--time", "50", "--plan", code=2)
    assert "--time: got '50', allowed: a number and fs, ps or ns" in " ".join(refused.stderr.split())


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="ascending"):
        TransportStudy(temperatures=(800.0, 600.0))
    with pytest.raises(ValueError, match="first_time: got 20 ps, allowed: at most time, 10 ps"):
        TransportStudy(time=10.0)
    assert TransportStudy().chunks(100.0) == [2500] * 20
    assert sum(TransportStudy(chunk=3.0).chunks(10.0)) == 5000
    assert MolecularDynamicsMaker.name == "molecular-dynamics"


def test_supercells_have_planes_a_length_apart() -> None:
    from pymatgen.core import Lattice, Structure

    flat = Structure(Lattice.from_parameters(4, 4, 9, 90, 90, 60), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    # planes of a and b are 4 sin 60° = 3.46 Å apart
    assert transport.repeats_of(flat, 10.0) == (3, 3, 2)
    assert len(transport.supercell(flat, 10.0)) == 36


def test_lines_of_few_parts_of_the_time_cover_what_they_say() -> None:
    """Errors of four parts each scatter themselves; the scatter about the line makes up for it."""
    import numpy as np

    random, settings = np.random.default_rng(3), TransportStudy()
    temperatures = np.array(settings.temperatures)
    true = 2e-3 * np.exp(-0.25 / (8.617333262e-5 * temperatures))
    at_room, covered = 2e-3 * np.exp(-0.25 / (8.617333262e-5 * 300.0)), 0
    for _ in range(300):
        rows = []
        for temperature, value in zip(temperatures, true, strict=True):
            parts = value * (1.0 + 0.1 * random.standard_normal(4))
            found = {"value": parts.mean(), "error": parts.std(ddof=1) / 2.0}
            rows.append({"id": "a", "temperature": temperature, "conductivity": 1.0, "diffusion": found})
        line = transport.lines_of(rows, settings)["a"]
        covered += line["low"] <= at_room <= line["high"]
    assert covered >= 0.9 * 300


def test_a_first_run_without_a_coefficient_is_said_before_it_runs(finished: Coevo) -> None:
    from coevo.flows.studies.transport import too_short

    assert too_short(TransportStudy()) == ""
    # 1 ps that is not analysed, then a frame and 16 displacements over 1 ps
    assert transport.shortest_time(TransportStudy()) == pytest.approx(17.1)
    assert too_short(TransportStudy(first_time=17.1)) == ""
    done = finished("study", "transport", "tiny", "--first-time", "17ps", "--plan")
    assert "17 ps is too short for a coefficient" in " ".join(done.stdout.split())
    plan = json.loads(finished("study", "transport", "tiny", "--first-time", "17ps", "--plan", "--format", "json").stdout)
    longer = json.loads(finished("study", "transport", "tiny", "--first-time", "20ps", "--plan", "--format", "json").stdout)
    assert plan["cpu_seconds"] < longer["cpu_seconds"] / 10  # the first runs alone: nothing goes on


KILLED = """
from coevo.campaigns.study import run_study
from coevo.campaigns.study_phases import choose_phases
from coevo.configs.studies.transport import TransportStudy
from coevo.node_store.current import current_store
store = current_store()
view = store.state("tiny")
phases = choose_phases(view, 'elements HAS "Li" AND nelements > 1', references=True, limit=1)
run_study(store, view, "transport", TransportStudy(**{settings}), phases)
"""


@pytest.mark.long
def test_sigkill_in_a_chunk_costs_that_chunk_and_nothing_else(
    finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys
    import time

    import coevo.models.molecular_dynamics as dynamics

    settings = SETTINGS.model_copy(update={"temperatures": (700.0,), "time": 0.3, "first_time": 0.3, "chunk": 0.1, "frame": 0.01})
    (tmp_path / "broken").mkdir()
    (tmp_path / "whole").mkdir()
    broken, whole = (copy_of(finished.directory, tmp_path / name) for name in ("broken", "whole"))
    monkeypatch.setenv("COEVO_DATABASE", broken.environment["COEVO_DATABASE"])

    def done() -> int:
        results = [current_store().job_result(key) for key in current_store().backend.job_keys()]
        return sum(one is not None and one["provenance"].get("maker") == "MolecularDynamicsMaker" for one in results)

    code = KILLED.format(settings=settings.model_dump(mode="json"))
    process = subprocess.Popen([sys.executable, "-c", code], env=broken.environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 300.0
        while not done() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)  # into the next chunk
    finally:
        process.kill()
        process.wait()
    kept = done()
    assert 1 <= kept <= 2
    ran: list[str] = []
    move = dynamics.move

    def counting(*args: Any, **kwargs: Any) -> Any:
        ran.append("moved")
        return move(*args, **kwargs)

    monkeypatch.setattr(dynamics, "move", counting)

    def study() -> Any:
        view = current_store().state("tiny")
        phases = choose_phases(view, 'elements HAS "Li" AND nelements > 1', references=True, limit=1)
        return run_study(current_store(), view, "transport", settings, phases)

    resumed = study()
    assert len(ran) == 3 - kept
    monkeypatch.setenv("COEVO_DATABASE", whole.environment["COEVO_DATABASE"])
    unbroken = study()
    assert len(ran) == 6 - kept
    assert resumed.document["artifacts"] == unbroken.document["artifacts"]
    assert resumed.id == unbroken.id
