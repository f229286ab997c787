"""Bundles that were made to make this machine do something, imported and run as a user would; a module tells if it was run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forgeries import Forgery

from tiny_node import Coevo, copy_of

OLDER = """
import sys
from pathlib import Path
from coevo.node_store.bundles import documents, format, stranger_json
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.lineage import transfers
from coevo.node_store.store import open_store

for module in (documents, format, stranger_json, transfers):
    for name in ("refuse_marked_keys", "refuse_marked_text", "refuse_unknown_fields"):
        if hasattr(module, name):
            setattr(module, name, lambda *_: None)
import_bundle(open_store(), Path(sys.argv[1]))
"""
"""What an older coevo did: it took whatever further keys a document had."""


@pytest.fixture(scope="module")
def bundle(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    Coevo(seeded)("export", "tiny", str(path))
    return path


@pytest.fixture
def coevo(tmp_path: Path) -> Coevo:
    """A command line that finds a module which writes a file when it is imported."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\ndef f(*a): ...\n")
    (tmp_path / "work").mkdir()
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Coevo(tmp_path / "work", PYTHONPATH=paths)


def forged(bundle: Path, path: Path, **changes: object) -> Path:
    """The bundle with changes of its table of contents, of its newest state, and of all checkpoints of that."""
    forgery = Forgery(bundle)
    document = forgery.state()
    for checkpoint in document["checkpoints"].values():
        checkpoint |= changes.get("checkpoints", {})
    document["config"] = changes.get("config", document["config"])
    forgery.put_state(document)
    forgery.contents["node"] |= changes.get("node", {})
    forgery.declare()
    return forgery.write(path)


@pytest.mark.parametrize(
    "more",
    [
        {"note": {"@module": "evil", "@callable": "f"}},
        {"note": [[{"@module": "evil", "@class": "f"}]]},
        {"@module": "evil", "@callable": "f"},
        {"note": {"_fw_name": "{{evil.f}}"}},
        {"note": "a further key that does no harm"},
    ],
)
def test_a_bundle_with_further_keys_is_not_imported(bundle: Path, coevo: Coevo, tmp_path: Path, more: dict) -> None:
    path = forged(bundle, tmp_path / "b.zip", checkpoints=more)
    told = coevo("import", str(path), code=2)
    assert "was not imported" in told.stderr
    assert "checkpoints." in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert not coevo.database.exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.long
def test_jobs_are_handed_known_fields_only(bundle: Path, coevo: Coevo, tmp_path: Path) -> None:
    """Also in a node that an older coevo imported; there `run` imported the module."""
    path = forged(bundle, tmp_path / "b.zip", checkpoints={"note": {"@module": "evil", "@callable": "f"}})
    subprocess.run([sys.executable, "-c", OLDER, str(path)], env=coevo.environment, check=True)
    assert "note" in json.loads(coevo("show", "tiny", "--format", "json").stdout)["checkpoints"]["force_field"]
    (problem,) = json.loads(coevo("verify", "tiny", "--format", "json", code=1).stdout)["findings"]
    assert "a key that is an operator or the mark of a class" in problem["what"]
    assert "cannot be exported" in coevo("export", "tiny", str(tmp_path / "out.zip"), code=2).stderr
    assert not (tmp_path / "out.zip").exists()
    coevo("run", "tiny", "-n", "1")
    assert not (tmp_path / "ran").exists()
    head = json.loads(coevo("show", "tiny", "--format", "json").stdout)
    assert head["iteration"] == 1
    assert all("note" not in checkpoint for checkpoint in head["checkpoints"].values())


@pytest.mark.long
def test_the_configuration_of_a_bundle_is_inert_until_it_was_seen(bundle: Path, coevo: Coevo, tmp_path: Path) -> None:
    text = Forgery(bundle).contents["node"]["config_text"]
    hostile = text.replace("generator:\n", 'generator:\n  mattergen: {weights: "~/theirs/"}\n  options: ["steps = [red]"]\n')
    path = forged(bundle, tmp_path / "b.zip", node={"config_text": hostile})
    told = coevo("import", str(path))
    assert "generator.mattergen.weights, generator.options" in told.stderr
    assert "coevo trust tiny --configuration" in told.stderr
    head = json.loads(coevo("log", "tiny", "--format", "json").stdout)[0]["id"]
    (tmp_path / "na.cif").write_text("")
    refused = (
        ("run", "tiny"),
        ("label", "tiny", "--limit", "1"),
        ("add", "tiny", str(tmp_path / "na.cif"), "--as", "references"),
        ("merge", "tiny", "tiny", "--into", "tiny@copy"),
        ("merge", "tiny", "tiny", "--into", "other"),
    )
    for arguments in refused:
        error = coevo(*arguments, code=2).stderr
        assert 'generator.mattergen.weights: "~/theirs/"' in error
        assert 'generator.options: ["steps = [red]"]' in error
        assert "coevo trust tiny --configuration" in error
        assert len(error.strip().splitlines()) == 1
    for command in ("status", "show", "log", "query"):
        coevo(command, "tiny")
    coevo("run", "tiny", "--plan")
    assert "1 note" in coevo("verify", "tiny").stderr
    assert not any(campaign for campaign in (coevo.database / "tiny" / "campaigns").iterdir())
    asked = coevo("trust", "tiny", "--configuration", code=2)  # nobody answers
    assert 'generator.options: ["steps = [red]"]' in asked.stderr
    assert "nothing was changed" in asked.stderr
    assert "sha256" not in asked.stderr
    coevo(*refused[3], code=2)
    agreed = json.loads(coevo("trust", "tiny", "--configuration", "--yes", "--format", "json").stdout)
    assert {"key": "generator.mattergen.weights", "value": "~/theirs/"} in agreed["agreed"]
    coevo(*refused[3])
    assert json.loads(coevo("log", "tiny@copy", "--format", "json").stdout)[0]["id"] == head
    assert "nothing to do" in coevo("trust", "tiny", "--configuration").stderr
    assert "there is no node 'others'" in coevo("trust", "others", "--configuration", code=2).stderr


def test_the_configuration_of_a_state_is_inert_as_well(bundle: Path, coevo: Coevo, tmp_path: Path) -> None:
    """The live configuration is plain; an extension or a merge would take that of the state."""
    config = Forgery(bundle).state()["config"]
    hostile = {**config, "node": {**config["node"], "references": "li-p-s + /etc/passwd"}}
    coevo("import", str(forged(bundle, tmp_path / "b.zip", config=hostile)))
    chlorine = tmp_path / "cl.xyz"
    cell = 'Lattice="8 0 0 0 4 0 0 0 8" Properties=species:S:1:pos:R:3 pbc="T T T"'
    chlorine.write_text(f"2\n{cell}\nCl 0 0 0\nCl 2 0 0\n")
    for arguments in (
        ("merge", "tiny", "tiny", "--into", "other"),
        ("extend", "tiny", "--elements", "Cl", "--as", "more", "--references", str(chlorine)),
        ("rediscover", "tiny"),
    ):
        error = coevo(*arguments, code=2).stderr
        assert 'node.references: "li-p-s + /etc/passwd"' in error
        assert "coevo trust tiny --configuration" in error
    assert "in the configuration of a state" in coevo("trust", "tiny", "--configuration", "--yes").stderr
    coevo("merge", "tiny", "tiny", "--into", "other")


@pytest.mark.parametrize("section", ["curation", "maturity", "labelling"])
def test_a_configuration_that_is_none_is_one_error(bundle: Path, coevo: Coevo, tmp_path: Path, section: str) -> None:
    config = Forgery(bundle).state()["config"]
    config[section] = {"stable_threshold": "low"} if section == "curation" else "none"
    coevo("import", str(forged(bundle, tmp_path / "b.zip", config=config)))
    told = coevo("report", "tiny", "--output", str(tmp_path / "page"), code=2).stderr
    assert "the configuration of tiny@" in told
    assert "is none of this coevo" in told
    assert "Traceback" not in told
    assert not (tmp_path / "page").exists()


def test_a_plain_bundle_asks_nothing(bundle: Path, coevo: Coevo) -> None:
    told = coevo("import", str(bundle))
    assert "--configuration" not in told.stderr
    assert "nothing to do" in coevo("trust", "tiny", "--configuration").stderr
    coevo("merge", "tiny", "tiny", "--into", "other")


def test_a_lost_checkpoint_of_a_copied_node_is_a_problem(seeded: Path, tmp_path: Path) -> None:
    """Its state says that the checkpoint is in the directory that was copied; `run` and `export` could not go on."""
    coevo = copy_of(seeded, tmp_path)
    assert "no problem, 0 notes" in coevo("verify", "tiny").stderr
    checkpoints = json.loads(coevo("show", "tiny", "--format", "json").stdout)["checkpoints"]
    for checkpoint in checkpoints.values():
        sha256 = checkpoint["sha256"]
        path = coevo.database / "blobs" / sha256[:2] / sha256[2:]
        aside = path.rename(path.with_suffix(".aside"))
        findings = json.loads(coevo("verify", "tiny", "--quick", "--format", "json", code=1).stdout)["findings"]
        (problem,) = (finding for finding in findings if finding["severity"] == "problem")
        assert sha256 in problem["where"]
        aside.rename(path)
    coevo("verify", "tiny")
