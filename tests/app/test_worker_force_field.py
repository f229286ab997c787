"""A node whose force field is in another process: fitted, committed, its logs kept; a worker that is killed changes no state.

Its workers take two crystals at a time and no more: larger batches are halved, and the state says so.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from example_force_field import EXAMPLE
from fake_family import HERE, install_fake

from tiny_node import Coevo

pytestmark = pytest.mark.long
NODE = """
node:
  name: cu-au
  elements: [Au, Cu]
  references: metals.extxyz
  energy_scale: emt
  seed: 7
generator: {candidates: 24, shard_size: 12, max_atoms: 6}
screening:
  force_field: {family: fake, weights: memory}
  fmax: 0.2
  batch_size: 2
curation: {max_e_hull: 0.5, stable_threshold: 0.2}
selection: {structures: 12}
labelling:
  frames_per_job: 30
  teacher: {family: chgnet, weights: 0.3.0}
  accept_scale_mismatch: true
training: {min_frames: 4, test_fraction: 0.3, validation_fraction: 0.3, epochs: 3}
maturity: {environments: 20, subsamples: 2, ruler_size: 4}
"""


def node_with_workers(directory: Path, *, kill: bool) -> Coevo:
    directory.mkdir()
    install_fake(directory / "installed")
    environments = directory / "installed" / "environments"
    if kill:
        text = (environments / "fake.yaml").read_text()
        (environments / "fake.yaml").write_text(text.replace("variables: {", "variables: {FAKE_KILL: killed, "))
    shutil.copy(EXAMPLE / "metals.extxyz", directory)
    (directory / "cu-au.yaml").write_text(NODE)
    paths = [str(directory / "installed"), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    coevo = Coevo(
        directory,
        PYTHONPATH=os.pathsep.join(paths),
        COEVO_ENVIRONMENTS=str(environments),
        COEVO_SCRATCH=str(directory / "scratch"),
    )
    coevo("init", "cu-au.yaml")
    coevo("run", "cu-au", "-n", "1")
    return coevo


def shown(coevo: Coevo, ref: str) -> dict:
    return json.loads(coevo("show", f"cu-au@{ref}", "--format", "json").stdout)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    return node_with_workers(tmp_path_factory.mktemp("undisturbed") / "node", kill=False)


def test_the_force_field_is_fitted_and_committed(undisturbed: Coevo) -> None:
    first, state = shown(undisturbed, "main~1"), shown(undisturbed, "main")
    parent, child = (document["checkpoints"]["force_field"] for document in (first, state))
    assert (child["family"], child["format"]) == ("fake", "model-tar-1")
    assert state["metrics"]["force_field"]["adopted"]
    assert child["parent"] == parent["sha256"] != child["sha256"]
    fit = state["metrics"]["force_field"]["fit"]
    assert fit["loss_after"] < fit["loss_before"]
    undisturbed("verify", "cu-au")
    assert list((undisturbed.directory / "scratch").iterdir()) == [], "directories of workers and of fits are gone"


def test_what_workers_wrote_is_kept_with_the_jobs(undisturbed: Coevo) -> None:
    jobs = shown(undisturbed, "main")["provenance"]["jobs"]
    logs = {job["maker"]: {log["name"] for log in job.get("logs", [])} for job in reversed(jobs)}
    assert logs["ScreenMaker"] == {"fake-worker"}


def test_what_was_halved_is_told(undisturbed: Coevo) -> None:
    jobs = shown(undisturbed, "main")["provenance"]["jobs"]
    halved = {job["maker"]: job.get("halved_batches") for job in jobs}
    assert halved["ScreenMaker"] is None  # two at a time is what the configuration asks for
    assert halved["EvaluateMaker"].keys() == {"out_of_memory"}
    assert halved["EvaluateMaker"]["out_of_memory"] in {1, 2}
    told = undisturbed("show", "cu-au@main").stdout
    assert "re-evaluate: halved down to" in " ".join(told.split())


def test_a_worker_that_is_killed_changes_no_state(undisturbed: Coevo, tmp_path: Path) -> None:
    disturbed = node_with_workers(tmp_path / "node", kill=True)
    assert (tmp_path / "node" / "installed" / "markers" / "killed").exists()
    for ref in ("main~1", "main"):
        one, other = shown(undisturbed, ref), shown(disturbed, ref)
        for role in ("force_field", "generator"):
            assert one["checkpoints"][role]["sha256"] == other["checkpoints"][role]["sha256"]
        assert one["metrics"]["entropy"] == other["metrics"]["entropy"]
        assert one["id"] == other["id"]


def test_without_its_environment_nothing_begins(tmp_path: Path, undisturbed: Coevo) -> None:
    coevo = Coevo(undisturbed.directory, **{**undisturbed.environment, "COEVO_ENVIRONMENTS": str(tmp_path)})
    (undisturbed.directory / "other.yaml").write_text(
        NODE.replace("fmax: 0.2", "fmax: 0.19").replace("name: cu-au", "name: other")
    )
    told = " ".join(coevo("init", "other.yaml", code=2).stderr.split())
    assert "family fake has no environment" in told
    assert "coevo env create fake" in told
    assert "other" not in coevo("status").stdout, "no node was made"
