"""``coevo run --plan`` and ``coevo submit --plan``: what a campaign will take, printed before anything is written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coevo.app.tables.plans import plan_table
from coevo.campaigns.planning import PlannedStep, Start, plan, plan_json, start_from_state
from coevo.campaigns.rates import measured_rates
from coevo.configs.audit_section import AuditConfig
from coevo.configs.loading import load_config, parse_config
from coevo.configs.site_loading import parse_site
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo

SITE = """
site: here
database: {database}
artifacts: file://{directory}/blobs
directory: {directory}/jobs
classes:
  gpu: {{partition: gpu, gres: "gpu:1", walltime: "{walltime}"}}
  screen: {{partition: gpu, gres: "gpu:1", cpus_per_task: 8, walltime: 8:00:00}}
  label: {{walltime: 1-0}}
  small: {{walltime: 4:00:00}}
"""

WITHOUT_QUEUES = """
import sys

for name in [name for name in sys.modules if name.partition(".")[0] in ("coevo", "fireworks", "jobflow_remote")]:
    del sys.modules[name]
sys.modules["fireworks"] = sys.modules["jobflow_remote"] = None
"""
"""A ``sitecustomize.py``: neither is installed, and nothing has been imported that needs them."""


def files_of(directory: Path) -> dict[str, str]:
    """Every file and its content."""
    return {
        str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.rglob("*") if p.is_file()
    }


def site(tmp_path: Path, walltime: str = "12:00:00", database: str = "mongodb://localhost/coevo") -> str:
    return SITE.format(database=database, directory=tmp_path, walltime=walltime)


def test_the_plan_of_a_node_counts_jobs_time_and_disk_and_changes_nothing(fresh: Coevo) -> None:
    before = files_of(fresh.database)
    planned = json.loads(fresh("run", "tiny", "-n", "2", "--plan", "--format", "json").stdout)
    assert {row["step"] for row in planned["steps"]} >= {"generate", "screen", "label", "re-evaluate", "train-generator"}
    assert {row["resources"] for row in planned["steps"]} == {"gpu", "screen", "label", "small"}
    assert planned["hours"] > 0
    assert planned["gpu_hours"] == 0, "nothing of the embedded generator wants a GPU"
    assert planned["megabytes"] > 0
    table = fresh("run", "tiny", "--plan").stdout
    assert "re-evaluate" in table
    assert "GPU-hours" in table
    assert files_of(fresh.database) == before


def test_rates_of_the_last_iteration_take_the_place_of_the_default_ones(finished: Coevo) -> None:
    assert "rates measured in this node's last iteration" in finished("run", "tiny", "--plan").stdout


def test_several_generators_are_planned_each_by_itself(tiny_text: str) -> None:
    """Of 100 candidates 70 by the embedded one, in shards of 30 each; MatterGen's seconds are its descriptor's, on a GPU."""
    mixture = "  mixture: {embedded: 0.7, mattergen: 0.3}\n  mattergen: {epochs: 5}\n"
    sizes = tiny_text.replace("candidates: 8", "candidates: 100").replace("shard_size: 4", "shard_size: 30")
    config = parse_config(sizes.replace("generator:\n", f"generator:\n{mixture}"), "tiny")
    rates = {"generate/embedded": 2.0, "train-generator/mattergen": 0.5, "generate": 99.0}
    rows = {row.step: row for row in plan(config, Start(0, 20, rates=rates), 1, workers=4)}
    assert "generate" not in rows
    one, other = rows["generate/embedded"], rows["generate/mattergen"]
    assert (one.jobs, one.items, one.seconds, one.resources) == (3, 70, 140.0, "screen")
    assert (other.jobs, other.items, other.resources) == (1, 30, "gpu")
    assert other.gpu_seconds == other.seconds == pytest.approx(30 * 7.2)
    assert rows["screen"].jobs == 4
    fit = rows["train-generator/mattergen"]
    assert (fit.jobs, fit.items, fit.seconds) == (1, (20 + 50) * 5, 175.0)
    assert rows["train-generator/embedded"].resources == "small"
    paused = config.model_copy(
        update={"generator": config.generator.model_copy(update={"mixture": {"embedded": 1.0, "mattergen": 0.0}})}
    )
    rows = {row.step: row for row in plan(paused, Start(0, 20), 1, workers=4)}
    assert rows["generate/mattergen"].jobs == 0
    assert "train-generator/mattergen" not in rows


def test_what_several_generators_took_together_is_the_rate_of_none() -> None:
    """A node that goes on with one of them is planned by that family's default, not by the mean of all."""
    jobs = {
        "generate/embedded/0000": 20.0,
        "generate/mattergen/0001": 180.0,
        "train-generator/embedded": 3.0,
        "screen/0000": 50.0,
    }
    drawn = {"embedded": {"candidates": 10}, "mattergen": {"candidates": 10}}
    fits = {name: {"report": {"training": 6, "epochs_run": 1}} for name in drawn}
    metrics: dict[str, Any] = {
        "iteration": {"candidates": 20, "generators": drawn},
        "force_field": {},
        "labels": {"status": {}},
        "population": {"entries": 5, "references": 5},
        "generator": {"report": {"training": 6, "epochs_run": 1}},
        "generators": fits,
    }
    runs = [{"name": f"n/3/{name}", "host": "a", "started": "", "seconds": seconds} for name, seconds in jobs.items()]
    head: Any = SimpleNamespace(document={"metrics": metrics, "provenance": {"jobs": runs}}, parent=lambda: None)
    mixed_rates = {"screen": 2.5, "generate/embedded": 2.0, "generate/mattergen": 18.0, "train-generator/embedded": 0.5}
    assert measured_rates(head) == mixed_rates
    del metrics["generators"], metrics["iteration"]["generators"]
    assert set(measured_rates(head) or {}) == {"screen", "generate", "train-generator"}


def test_an_audit_is_planned_with_the_references_in_its_first_iteration(tiny_text: str) -> None:
    audit = {"auditor": "force_field", "force_field": {"family": "chgnet", "weights": "r2scan"}, "structures": 30}
    plain = parse_config(tiny_text, "tiny")
    config = plain.model_copy(update={"audit": AuditConfig(**audit)})
    rows = [row for row in plan(config, Start(0, 14, unaudited=14), 2, 1) if "audit" in row.step]
    assert [(row.iteration, row.step, row.jobs, row.items) for row in rows if row.step == "audit"] == [
        (1, "audit", 3, 44),
        (2, "audit", 2, 30),
    ]
    by_code = plain.model_copy(update={"audit": AuditConfig(auditor="espresso", structures=30)})
    (first, _) = [row for row in plan(by_code, Start(0, 14, unaudited=14), 2, 1) if row.step == "audit-label"]
    assert (first.jobs, first.items, first.resources) == (1 + 3 + 2, 44, "label")  # packets of twelve frames
    assert first.seconds == pytest.approx(44 * 250.0)
    assert not [row for row in plan(plain, Start(0, 14), 2, 1) if "audit" in row.step]


def test_what_is_done_once_is_planned_where_it_was_not_done(tiny_text: str, finished: Coevo) -> None:
    """The dynamics that calibrate environments, labels of all references, and the references of a first audit."""
    plain = parse_config(tiny_text, "tiny")
    maturity = plain.maturity.model_copy(update={"environment_signal": "coverage"})
    labelling = plain.labelling.model_copy(update={"references": "all"})
    config = plain.model_copy(update={"maturity": maturity, "labelling": labelling})

    def frames(rows: list[PlannedStep]) -> list[int]:
        return [row.items for row in rows if row.step == "label"]

    new = plan(config, Start(0, 14, references=14, unlabelled=14, calibrates_in=0), 2, 1)
    (row,) = [row for row in new if row.step == "calibrate-environments"]
    assert (row.iteration, row.items, row.seconds, row.resources) == (0, 6, pytest.approx(24.0), "screen")
    first, second = frames(new)
    assert first == second + 14
    later = plan(config, Start(3, 40, references=4, calibrates_in=4), 2, 1)
    assert [(r.iteration, r.items) for r in later if r.step == "calibrate-environments"] == [(4, 4)]
    assert frames(later) == [second, second]
    assert not [r for r in plan(config, Start(3, 40, references=4), 2, 1) if r.step == "calibrate-environments"]
    assert not [r for r in plan(plain, Start(3, 40, references=4, calibrates_in=4), 2, 1) if "calibrate" in r.step]
    with open_store(Settings(database=f"file:{finished.database}")) as store:
        head = store.state("tiny")
        start = start_from_state(head, config)
        labelled = {label["family"] for label in head.labels()} & {document["_id"] for document in head.references()}
    assert labelled
    assert (start.unaudited, start.unlabelled) == (start.references, start.references - len(labelled))
    assert start.calibrates_in == start.iteration + 1, "judged by entropy so far"


def test_a_preset_is_planned_before_its_node_exists(tmp_path: Path) -> None:
    coevo = Coevo(tmp_path)
    planned = json.loads(coevo("run", "li-p-s", "--plan", "--format", "json").stdout)
    generate = next(row for row in planned["steps"] if row["step"] == "generate")
    assert (generate["jobs"], generate["items"], generate["resources"]) == (20, 10_000, "gpu")
    assert generate["gpu_seconds"] == generate["seconds"] == pytest.approx(20 * 3600), "2 h for 1,000 structures on a V100"
    assert planned["gpu_hours"] > 20
    assert not coevo.database.exists()
    offline = json.loads(coevo("run", "li-p-s-offline", "--plan", "--format", "json").stdout)
    assert offline["gpu_hours"] == 0
    told = coevo("run", "li-p-z", "--plan", code=2).stderr
    assert "no preset or YAML file" in told
    assert str(coevo.database) in told, "which database was looked at"


def test_a_site_adds_walltimes_workers_and_what_is_too_long(tmp_path: Path) -> None:
    config = load_config("li-p-s").config
    fits, short = (parse_site(site(tmp_path, walltime), "site.yaml").site for walltime in ("12:00:00", "0:50:00"))
    rows = {row.step: row for row in plan(config, Start(0, 14), 1, 1, fits)}
    assert rows["generate"].walltime == "12:00:00"
    assert not rows["generate"].too_long, "a shard of 500 takes an hour"
    alone = {row.step: row for row in plan(config, Start(0, 14), 1, 1)}
    assert rows["screen"].seconds == pytest.approx(alone["screen"].seconds / 8), "eight cores"
    assert rows["screen"].gpu_seconds == rows["screen"].seconds, "an allocation holds its GPU whether it is used or not"
    assert rows["label"].gpu_seconds == 0
    late = plan(config, Start(0, 14), 1, 1, short)
    assert {row.step for row in late if row.too_long} >= {"generate"}
    assert "longer than the walltime" in str(plan_table(late, measured=False).caption)
    json.dumps(plan_json(late), allow_nan=False)


@pytest.mark.service
def test_submit_plans_on_a_site_and_adds_nothing(tmp_path: Path, mongodb_uri: str) -> None:
    from pymongo import MongoClient

    (tmp_path / "site.yaml").write_text(site(tmp_path, database=mongodb_uri))
    coevo = Coevo(tmp_path)
    planned = json.loads(coevo("submit", "li-p-s", "-n", "7", "--plan", "--format", "json").stdout)
    assert {row["walltime"] for row in planned["steps"]} == {"12:00:00", "8:00:00", "1-0", "4:00:00"}
    assert {row["iteration"] for row in planned["steps"]} == set(range(8)), "environments are calibrated in the first state"
    assert planned["gpu_hours"] > 140
    with MongoClient(mongodb_uri) as client:
        database = client.get_default_database()
        for name in ("nodes", "states", "campaigns"):
            assert database[name].count_documents({}) == 0
        assert f"{database.name}_launchpad" not in client.list_database_names()
    assert not (tmp_path / "jobs").exists(), "no file for workers"


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("preset", ["li-p-s", "li-p-s-demo", "li-s-qe"])
def test_a_plan_fits_the_terminal(width: int, preset: str, tmp_path: Path) -> None:
    """No cell is broken into lines or cut, with and without a site, also where a job takes too long."""
    from coevo.app.terminal import PlainConsole

    config = load_config(preset).config
    for where in (None, parse_site(site(tmp_path, "0:50:00"), "site.yaml").site):
        rows = plan(config, Start(9, 14_000), 7, 2, where)
        console = PlainConsole(width=width, file=io.StringIO())
        console.print(plan_table(rows, measured=False, width=width))
        lines = console.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in console.file.getvalue()
        end = next(number for number, line in enumerate(lines) if line.split()[:1] == ["total"])
        body = [line.split() for line in lines[:end] if any(f" {row.step} " in line for row in rows)]
        assert len(body) == len(rows)
        steps = {row.step for row in rows}
        assert [next(word for word in line if word in steps) for line in body] == [row.step for row in rows]
        assert str(sum(row.jobs for row in rows)) in lines[end].split()
        if width == 80:
            assert all(name in "\n".join(lines) for name in ("items", "class", "one job", "all jobs", "GPU-hours", "disk"))
        else:
            assert "left out: items" in " ".join("\n".join(lines).split())


@pytest.mark.long
def test_submit_plans_without_a_server_and_without_fireworks(fresh: Coevo) -> None:
    (fresh.directory / "site.yaml").write_text(
        site(fresh.directory, database="mongodb://user:secret@127.0.0.1:1/coevo?serverSelectionTimeoutMS=500")
    )
    hook = fresh.directory / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(WITHOUT_QUEUES)
    fresh.environment["PYTHONPATH"] = os.pathsep.join([str(hook), *filter(None, [fresh.environment.get("PYTHONPATH")])])

    def planned(what: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = fresh("submit", what, "--plan", "--format", "json", code=code)
        assert "secret" not in done.stderr
        assert not (fresh.directory / "jobs").exists()
        return done

    new = planned("li-p-s")
    assert {row["walltime"] for row in json.loads(new.stdout)["steps"]} == {"12:00:00", "8:00:00", "1-0", "4:00:00"}
    assert "does not answer; planned as a new node" in new.stderr
    here = planned("tiny")
    assert {row["iteration"] for row in json.loads(here.stdout)["steps"]} == {1}
    assert "node tiny is planned as it is in file:" in here.stderr
    told = planned("nosuch", code=2)
    assert len(told.stderr.strip().splitlines()) == 1
    assert "127.0.0.1:1/coevo does not answer, and there is no node 'nosuch'" in told.stderr


def test_submit_plans_on_a_site_whose_secrets_are_not_set(fresh: Coevo) -> None:
    """As ``coevo site init`` writes it: planning comes before the server has an account."""
    fresh.environment.pop("MONGO_USER", None)
    fresh.environment.pop("MONGO_PASSWORD", None)
    fresh("site", "init", "--output", str(fresh.directory / "new.yaml"))
    planned = fresh("submit", "li-p-s", "--plan", "--site", str(fresh.directory / "new.yaml"), "--format", "json")
    assert all(row["walltime"] for row in json.loads(planned.stdout)["steps"])
    assert "cannot be asked without MONGO_PASSWORD and MONGO_USER in the environment; planned as a new node" in planned.stderr
    told = fresh("submit", "nosuch", "--plan", "--site", str(fresh.directory / "new.yaml"), code=2).stderr
    assert "cannot be asked without MONGO_PASSWORD" in told
    assert "environment variable MONGO_USER is not set" in (
        fresh("submit", "tiny", "--site", str(fresh.directory / "new.yaml"), code=2).stderr
    )
