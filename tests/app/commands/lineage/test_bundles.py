"""``coevo export``, ``import`` and ``trust`` in processes of their own, with models that are really loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tiny_node import Coevo


@pytest.fixture(scope="module")
def bundle(finished: Coevo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.zip"
    told = finished("export", "tiny", str(path), "--format", "json")
    report = json.loads(told.stdout)
    assert report["states"] == 3
    assert report["size"] == path.stat().st_size
    return path


def states(coevo: Coevo, ref: str) -> list[dict]:
    return json.loads(coevo("log", ref, "--format", "json").stdout)


def without_uris(found: list[dict]) -> list[dict]:
    for state in found:
        for checkpoint in state["checkpoints"].values():
            del checkpoint["uri"]
    return found


@pytest.mark.long
def test_a_campaign_goes_on_in_another_database_as_in_its_own(finished: Coevo, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    finished("export", "tiny~1", str(path))
    other = Coevo(tmp_path)
    report = json.loads(other("import", str(path), "--format", "json").stdout)
    assert report["created"]
    assert report["untrusted"] == {}
    assert [branch["outcome"] for branch in report["branches"]] == ["created"]
    assert without_uris(states(other, "tiny")) == without_uris(states(finished, "tiny~1"))
    query = ('elements HAS "P" AND energy_above_hull < 0.3', "--format", "json")
    assert other("query", "tiny", *query).stdout == finished("query", "tiny~1", *query).stdout
    again = other("import", str(path))
    assert "is at" in again.stdout
    assert "2 (0 new)" in again.stdout
    other("run", "tiny", "-n", "1")
    assert [state["id"] for state in states(other, "tiny")] == [state["id"] for state in states(finished, "tiny")]


@pytest.mark.long
def test_a_renamed_node_whose_loaders_cannot_run_code_needs_no_trust(bundle: Path, tmp_path: Path) -> None:
    """README's export, import, run; that all its blobs are marked as a bundle's stops nothing."""
    coevo = Coevo(tmp_path)
    assert "untrusted checkpoints    │ 0" in coevo("import", str(bundle), "--as", "theirs").stdout
    sha256 = states(coevo, "theirs")[0]["checkpoints"]["force_field"]["sha256"]
    marks = "from coevo.node_store.store import open_store; print(*open_store().backend.untrusted())"
    listed = subprocess.run([sys.executable, "-c", marks], env=coevo.environment, check=True, capture_output=True, text=True)
    assert sha256 in listed.stdout
    assert "untrusted" not in coevo("show", "theirs").stdout
    assert "nothing to do" in coevo("trust", "theirs").stderr
    assert "neither an untrusted checkpoint nor an artifact" in coevo("trust", "0" * 64, code=2).stderr
    coevo("run", "theirs", "-n", "1")
    assert [state["iteration"] for state in states(coevo, "theirs")] == [3, 2, 1, 0]


@pytest.mark.long
def test_thin_bundles_on_the_command_line(finished: Coevo, tmp_path: Path) -> None:
    thin = tmp_path / "thin.zip"
    told = finished("export", "tiny", str(thin), "--no-checkpoints")
    assert "checkpoints left out │" in told.stdout
    with zipfile.ZipFile(thin) as archive:
        omitted = {checkpoint["sha256"] for checkpoint in json.loads(archive.read("bundle.json"))["omitted_checkpoints"]}
    coevo = Coevo(tmp_path)
    imported = coevo("import", str(thin))
    assert all(f"checkpoint {sha256}" in imported.stderr for sha256 in omitted)
    assert "not here; its state says that it was written to file://" in coevo("show", "tiny").stdout
    assert coevo("query", "tiny", "--format", "json").stdout == finished("query", "tiny", "--format", "json").stdout
    refused = coevo("run", "tiny", "-n", "1", code=2)
    assert "coevo import FILE --fetch-checkpoints" in refused.stderr
    report = json.loads(coevo("import", str(thin), "--fetch-checkpoints", "--format", "json").stdout)
    assert (report["not_here"], report["untrusted"]) == ([], {})
    shown = json.loads(coevo("show", "tiny", "--format", "json").stdout)
    assert set(shown["checkpoint_conditions"].values()) == {"here"}


def test_errors_are_one_line_and_leave_nothing(bundle: Path, tmp_path: Path) -> None:
    coevo = Coevo(tmp_path)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(bundle.read_bytes()[:-1000])
    for arguments, message in (
        (("import", str(tmp_path / "nothing.zip")), "does not exist"),
        (("import", str(tmp_path)), "is not a file"),
        (("import", str(broken)), "is not a zip file, or is cut short"),
        (("import", str(bundle), "--max-size", "1kB"), "raise --max-size"),
        (("import", str(bundle), "--max-size", "much"), "is not a size"),
        (("import", str(bundle), "--as", "../x"), "cannot name a node"),
        (("export", "tiny", "x.zip"), "there is no node 'tiny'"),
    ):
        told = coevo(*arguments, code=2)
        assert message in told.stderr
        assert len(told.stderr.strip().splitlines()) == 1
    small = Coevo(tmp_path, COEVO_MAX_BUNDLE_SIZE="1kB")
    assert "raise --max-size" in small("import", str(bundle), code=2).stderr
    assert not coevo.database.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["broken.zip"]
