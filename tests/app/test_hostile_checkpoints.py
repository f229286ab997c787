"""``coevo import`` and ``coevo run`` of bundles whose checkpoints run a command when loaded: nothing runs without trust."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from example_family import install_example
from hostile_checkpoints import archive, disguised_as_json, model_of_mattergen, payload, with_checkpoint

from tiny_node import Coevo
from warm_processes import run_coevo

PICKLES = """
import pickle
from pathlib import Path

Path({imported!r}).touch()


class Family:
    family, format = "pickles", "pickle-1"

    @classmethod
    def load(cls, path, settings=None):
        pickle.loads(path.read_bytes())
        raise SystemExit("it was loaded")
"""


@pytest.fixture(scope="module")
def bundle(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle of a new node; the tests give its state other checkpoints."""
    path = tmp_path_factory.mktemp("bundle") / "good.zip"
    Coevo(seeded)("export", "tiny", str(path))
    return path


class Victim(Coevo):
    """A machine with environments for the families, each of which leaves a mark when it is started, and with two plug-ins."""

    def __init__(self, directory: Path):
        site, environments = directory / "site", directory / "environments"
        for folder in (directory, site, environments):
            folder.mkdir(exist_ok=True)
        self.marker, self.started, self.imported = (directory / name for name in ("MARKER", "STARTED", "IMPORTED"))
        python = directory / "python"
        python.write_text(f"#!/bin/sh\ntouch '{self.started}'\nexec '{sys.executable}' \"$@\"\n")
        python.chmod(0o755)
        for family in ("mattergen", "random-cells"):
            (environments / f"{family}.yaml").write_text(f"python: {python}\n")
        information = site / "pickles-1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pickles\nVersion: 1\n")
        (information / "entry_points.txt").write_text("[coevo.generators]\npickles = pickles_family:Family\n")
        (site / "pickles_family.py").write_text(PICKLES.format(imported=str(self.imported)))
        paths = [*install_example(site), os.environ.get("PYTHONPATH", "")]
        super().__init__(directory, COEVO_ENVIRONMENTS=str(environments), PYTHONPATH=os.pathsep.join(paths))

    def untouched(self) -> bool:
        return not self.marker.exists() and not self.started.exists()


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return Victim(tmp_path / "victim")


def imported(victim: Victim, path: Path, *options: str) -> dict:
    return json.loads(victim("import", str(path), "--format", "json", *options).stdout)


def hostile(family: str, directory: Path, marker: Path) -> tuple[bytes, str]:
    """A checkpoint of a family, in its own format, that runs a command when it is loaded; with the format's name."""
    if family == "mattergen":
        return model_of_mattergen(directory, marker), "model-tar-1"
    if family == "random-cells":
        return archive(family, directory, {"volumes.json": payload(marker)}), "model-tar-1"
    return payload(marker), "pickle-1"


def test_an_archive_that_begins_like_json_and_is_declared_as_such(bundle, victim, tmp_path):
    evil = tmp_path / "evil.zip"
    data = disguised_as_json(model_of_mattergen(tmp_path / "model", victim.marker))
    sha256 = with_checkpoint(bundle, evil, "generator", data, family="mattergen", format="json-1")
    told = victim("import", str(evil))
    for say in ((), ("trust", sha256), ("import", str(evil), "--trust")):
        if say:
            victim(*say)
        refused = victim("run", "tiny", "-n", "1", code=2)
        assert victim.untouched()
        assert "declared as mattergen of format 'json-1', and the loader of mattergen reads 'model-tar-1' only" in refused.stderr
    assert "untrusted checkpoints    │ 1" in told.stdout
    assert "checkpoints not loadable │ 1" in told.stdout
    assert f"checkpoint {sha256} cannot be loaded here as generator" in told.stderr
    assert "not loadable: nothing here reads mattergen" in victim("show", "tiny").stdout


@pytest.mark.parametrize(
    "family", ["pickles", *(pytest.param(family, marks=pytest.mark.long) for family in ("mattergen", "random-cells"))]
)
def test_no_family_is_started_without_trust(bundle, victim, tmp_path, family):
    evil = tmp_path / "evil.zip"
    data, form = hostile(family, tmp_path / "model", victim.marker)
    sha256 = with_checkpoint(bundle, evil, "generator", data, family=family, format=form)
    report = imported(victim, evil)
    assert list(report["untrusted"]) == [sha256]
    assert report["not_loadable"] == {}
    refused = victim("run", "tiny", "-n", "1", code=2)
    assert "is not trusted and was not loaded: it came with evil.zip" in refused.stderr
    assert f"coevo trust {sha256}" in refused.stderr
    assert f"untrusted: it came in a bundle; coevo trust {sha256}" in victim("show", "tiny").stdout
    assert victim.untouched()
    assert f"checkpoint {sha256} is trusted now" in victim("trust", "tiny").stderr
    done = run_coevo(["run", "tiny", "-n", "1"], cwd=victim.directory, env=victim.environment, timeout=1800)
    assert done.returncode != 0
    assert not victim.untouched()  # the user agreed, and so the same bundle shows what was held back


def test_a_generator_is_no_force_field(bundle, victim, tmp_path):
    evil = tmp_path / "evil.zip"
    data, form = hostile("pickles", tmp_path / "model", victim.marker)
    with_checkpoint(bundle, evil, "force_field", data, family="pickles", format=form)
    assert imported(victim, evil)["not_loadable"]
    victim("trust", "tiny")
    assert "pickles is a family of generators and cannot be a force field" in victim("run", "tiny", "-n", "1", code=2).stderr
    assert victim.untouched()
    assert not victim.imported.exists()


@pytest.mark.parametrize("family", ["chgnet", "embedded"])
def test_a_pickle_that_is_declared_as_a_safe_pair_is_not_one(bundle, victim, tmp_path, family):
    evil, role = tmp_path / "evil.zip", "force_field" if family == "chgnet" else "generator"
    with_checkpoint(bundle, evil, role, payload(victim.marker))
    assert imported(victim, evil)["untrusted"] == {}
    refused = victim("run", "tiny", "-n", "1", code=2)
    assert "not a readable safetensors file" in refused.stderr or "not complete JSON" in refused.stderr
    assert victim.untouched()


def test_what_another_bundle_brought_in_another_role_is_not_trusted(bundle, victim, tmp_path):
    """First as a checkpoint of the embedded generator, which nobody has to trust; then as what it is."""
    data = disguised_as_json(model_of_mattergen(tmp_path / "model", victim.marker))
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    with_checkpoint(bundle, first, "generator", data)
    assert imported(victim, first, "--as", "first")["untrusted"] == {}
    sha256 = with_checkpoint(bundle, second, "generator", data, family="mattergen", format="model-tar-1")
    told = imported(victim, second, "--as", "second")
    refused = victim("run", "second", "-n", "1", code=2)
    assert victim.untouched()
    assert "is not trusted and was not loaded: it came with first.zip" in refused.stderr
    assert list(told["untrusted"]) == [sha256]


def test_a_pickle_cannot_come_as_a_training_set(bundle, victim, tmp_path):
    from forgeries import Forgery

    forgery = Forgery(bundle)
    document = forgery.state()
    document["checkpoints"]["generator"]["training_set"] = forgery.put_blob(payload(victim.marker))["sha256"]
    forgery.put_state(document)
    forgery.declare()
    refused = victim("import", str(forgery.write(tmp_path / "evil.zip")), code=2)
    assert "is no training set" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not victim.database.exists()
