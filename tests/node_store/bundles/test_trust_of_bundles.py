"""Bundles with checkpoints that may run code, and bundles without checkpoints: what is loaded, fetched and trusted."""

from __future__ import annotations

import pytest
from bundle_files import (
    PICKLE,
    SAFETENSORS,
    assert_same_history,
    checkpoint_of,
    embedded,
    export,
    new_lineage,
    pickled,
)
from li_p_s_states import NODE

from coevo.errors import (
    BundleError,
    CheckpointError,
)
from coevo.node_store.bundles.checkpoint_fetching import fetch_omitted
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.store import open_store
from coevo.node_store.trust.loading import condition, fetch_checkpoint, trust
from coevo.settings import Settings

# --- trust


def test_checkpoints_that_may_run_code_are_kept_and_not_loaded(store, other, tmp_path):
    lineage = new_lineage(store)
    good, bad = checkpoint_of(store, SAFETENSORS), pickled(store)
    lineage.commit(checkpoints={"force_field": good, "generator": bad})
    report = import_bundle(other, export(store, tmp_path / "b.zip"))
    assert list(report.untrusted) == [bad["sha256"]]
    assert "b.zip" in report.untrusted[bad["sha256"]]
    assert report.not_loadable == {}
    assert other.artifacts.get_bytes(bad["sha256"]) == PICKLE
    checkpoints = other.state(NODE).document["checkpoints"]
    assert {role: condition(other, found, role) for role, found in checkpoints.items()} == {
        "force_field": "here",
        "generator": "untrusted",
    }
    with pytest.raises(CheckpointError, match=f"not trusted.*came with b.zip.*coevo trust {bad['sha256']}"):
        fetch_checkpoint(other, checkpoints["generator"], "generator")
    assert fetch_checkpoint(other, checkpoints["force_field"], "force_field").read_bytes() == SAFETENSORS
    import_bundle(other, tmp_path / "b.zip")
    assert bad["sha256"] in embedded(tmp_path / "other").backend.untrusted()
    assert trust(other, [bad["sha256"]]) == [bad["sha256"]]
    assert fetch_checkpoint(other, checkpoints["generator"], "generator").read_bytes() == PICKLE
    assert import_bundle(other, tmp_path / "b.zip").untrusted == {}
    assert fetch_checkpoint(store, bad, "generator") is not None


def test_trusting_at_the_import(store, other, tmp_path):
    lineage = new_lineage(store)
    bad = pickled(store)
    lineage.commit(checkpoints={"generator": bad})
    path = export(store, tmp_path / "b.zip")
    import_bundle(other, path)
    assert import_bundle(other, path, trust=True).untrusted == {}
    assert bad["sha256"] not in other.backend.untrusted()


@pytest.mark.service
def test_marks_on_a_server(store, lineage, tmp_path, mongodb_uri):
    lineage.commit(checkpoints={"generator": pickled(store)})
    path = export(store, tmp_path / "b.zip")
    with open_store(Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())) as server:
        [sha256] = import_bundle(server, path).untrusted
        server.backend.mark_untrusted(sha256, "again")
        assert "again" not in server.backend.untrusted()[sha256]
        assert trust(server, [sha256]) == [sha256]
        server.backend.mark_trusted(sha256)
        assert sha256 not in server.backend.untrusted()
        assert server.backend.mark(sha256).trusted
        server.backend.mark_untrusted(sha256, "again")
        assert sha256 not in server.backend.untrusted()
        assert import_bundle(server, path).untrusted == {}


# --- thin bundles


def test_thin_bundles_are_readable_and_say_where_checkpoints_are(store, other, lineage, tmp_path):
    path = export(store, tmp_path / "b.zip", checkpoints=False)
    report = import_bundle(other, path)
    assert len(report.not_here) == 3
    assert_same_history(store, other)
    checkpoint = other.state(NODE).document["checkpoints"]["force_field"]
    assert condition(other, checkpoint, "force_field") == "not here"
    with pytest.raises(CheckpointError, match=f"{checkpoint['sha256']}.*is not in .*{store.artifacts.uri}.*--fetch-checkpoints"):
        fetch_checkpoint(other, checkpoint, "force_field")
    with pytest.raises(BundleError, match=r"self-contained bundle cannot be made.*--no-checkpoints"):
        export(other, tmp_path / "again.zip")
    assert export(other, tmp_path / "again.zip", checkpoints=False).read_bytes() == path.read_bytes()
    for omitted in report.not_here:
        fetch_omitted(other, omitted)
    assert fetch_checkpoint(other, checkpoint, "force_field").read_bytes() == SAFETENSORS + b"\x02"
    assert import_bundle(other, path).not_here == []


def test_a_whole_bundle_after_a_thin_one_brings_the_checkpoints(store, other, lineage, tmp_path):
    import_bundle(other, export(store, tmp_path / "thin.zip", checkpoints=False))
    assert import_bundle(other, export(store, tmp_path / "whole.zip")).untrusted == {}
    assert fetch_checkpoint(other, other.state(NODE).document["checkpoints"]["force_field"], "force_field").is_file()


def test_fetching_believes_no_place(store, other, tmp_path):
    lineage = new_lineage(store)
    lineage.commit(checkpoints={"generator": pickled(store)})
    report = import_bundle(other, export(store, tmp_path / "b.zip", checkpoints=False))
    [omitted] = report.not_here
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * len(PICKLE))
    for uri, message in (
        (secret.as_uri(), "is not checkpoint"),
        ("file:///dev/zero", "is not checkpoint"),
        ((tmp_path / "nothing").as_uri(), "cannot be fetched"),
        ("", "cannot be fetched from nowhere"),
        ("reference://a", "allowed are URIs of"),
        (f"simplecache::{secret.as_uri()}", "allowed are URIs of"),
    ):
        with pytest.raises(CheckpointError, match=message):
            fetch_omitted(other, omitted.model_copy(update={"uri": uri}))
    assert not other.artifacts.has(omitted.sha256)
    assert not list((tmp_path / "other").rglob(".tmp-*"))
    fetch_omitted(other, omitted)
    with pytest.raises(CheckpointError, match="not trusted"):
        fetch_checkpoint(other, other.state(NODE).document["checkpoints"]["generator"], "generator")
