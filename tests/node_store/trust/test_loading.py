"""Trust follows the loader that would be used, and where the bytes came from; a bundle's author can change neither."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from bundle_files import PICKLE, SAFETENSORS, checkpoint_of, embedded, export, new_lineage, pickled
from hostile_checkpoints import disguised_as_json, model_of_mattergen, with_checkpoint
from li_p_s_states import NODE, Lineage

from coevo.errors import BundleError, CheckpointError
from coevo.families import BUILT_IN, Loader
from coevo.node_store.bundles.checkpoint_fetching import fetch_omitted
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.shards import write_shard
from coevo.node_store.store import NodeStore, open_store
from coevo.node_store.trust.loading import computed_here, condition, fetch_checkpoint, trust
from coevo.node_store.upkeep.garbage import collect_garbage
from coevo.settings import Settings

JSON = b'{"kind":"coevo-embedded-generator"}'


@pytest.fixture
def store(tmp_path):
    return embedded(tmp_path / "source")


@pytest.fixture(params=["directory", pytest.param("server", marks=pytest.mark.service)])
def other(request, tmp_path):
    """Another database, of either kind."""
    if request.param == "directory":
        yield embedded(tmp_path / "other")
        return
    settings = Settings(database=request.getfixturevalue("mongodb_uri"), artifacts=(tmp_path / "blobs").as_uri())
    with open_store(settings) as server:
        yield server


def bundle_with(store: NodeStore, path: Path, **changes) -> Path:
    """A bundle of one state."""
    new_lineage(store).commit(**changes)
    return export(store, path)


def refused(store: NodeStore, checkpoint: dict, role: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        fetch_checkpoint(store, checkpoint, role)
    assert "\n" not in str(caught.value)


# --- the loader decides


@pytest.mark.parametrize(
    ("role", "family", "form", "message"),
    [
        ("generator", "mattergen", "json-1", "reads 'model-tar-1' only"),
        ("generator", "mattergen", "json", "reads 'model-tar-1' only"),
        ("generator", "mattergen", "safetensors", "reads 'model-tar-1' only"),
        ("generator", "embedded", "model-tar-1", "reads 'json' only"),
        ("generator", "chgnet", "safetensors", "chgnet is a family of force fields and cannot be a generator"),
        ("force_field", "embedded", "json", "embedded is a family of generators and cannot be a force field"),
        ("force_field", "mattergen", "model-tar-1", "cannot be a force field"),
        ("force_field", "chgnet", "safetensors-1", "reads 'safetensors' only"),
        ("force_field", "gap", "safetensors", "'gap' is no force field that is known here; known: chgnet"),
        ("generator", "../x", "json", "is no generator that is known here; known: "),
        ("committee/a_1", "embedded", "json", "embedded is a family of generators and cannot be a force field"),
    ],
)
def test_what_nothing_here_reads_is_kept_and_not_loadable_even_when_trusted(store, tmp_path, role, family, form, message):
    checkpoint = checkpoint_of(store, JSON, form, family)
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={role: checkpoint})
    other = embedded(tmp_path / "other")
    report = import_bundle(other, path)
    sha256 = checkpoint["sha256"]
    assert message in report.not_loadable[sha256]
    assert list(report.untrusted) == [sha256]
    stored = other.state(NODE).document["checkpoints"][role]
    assert other.artifacts.get_bytes(sha256) == JSON
    for say in (lambda: None, lambda: trust(other, [sha256]), lambda: import_bundle(other, path, trust=True)):
        say()
        assert condition(other, stored, role) == "not loadable"
        refused(other, stored, role, message)


def test_a_family_that_is_installed_later_becomes_loadable_subject_to_trust(store, tmp_path, monkeypatch):
    checkpoint = checkpoint_of(store, JSON, "pickle-1", "later")
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": checkpoint})
    other = embedded(tmp_path / "other")
    import_bundle(other, path)
    refused(other, checkpoint, "generator", "'later' is no generator")
    monkeypatch.setattr("coevo.families.BUILT_IN", (*BUILT_IN, Loader("later", "generator", "pickle-1", "m:C")))
    refused(other, checkpoint, "generator", f"is not trusted and was not loaded.*coevo trust {checkpoint['sha256']}")
    trust(other, [checkpoint["sha256"]])
    assert fetch_checkpoint(other, checkpoint, "generator").read_bytes() == JSON


def test_an_archive_that_begins_like_json_is_what_its_loader_is(store, other, tmp_path):
    """The disguise changes nothing: neither under the format that is claimed, nor under the family's own."""
    plain = bundle_with(store, tmp_path / "plain.zip", checkpoints={"force_field": checkpoint_of(store, SAFETENSORS)})
    data = disguised_as_json(model_of_mattergen(tmp_path / "model", tmp_path / "marker"))
    assert data.lstrip()[:1] == b"{"
    for form, expected in (("json-1", "not loadable"), ("model-tar-1", "untrusted")):
        sha256 = with_checkpoint(plain, tmp_path / "evil.zip", "generator", data, family="mattergen", format=form)
        report = import_bundle(other, tmp_path / "evil.zip", node=f"evil-{form}")
        assert sha256 in report.untrusted
        stored = other.state(f"evil-{form}").document["checkpoints"]["generator"]
        assert condition(other, stored, "generator") == expected
        refused(other, stored, "generator", "cannot be loaded here" if form == "json-1" else "is not trusted")


def test_the_mark_stops_loaders_that_can_run_code_and_nothing_else(store, other, tmp_path):
    checkpoints = {"force_field": checkpoint_of(store, SAFETENSORS), "generator": checkpoint_of(store, JSON, "json", "embedded")}
    report = import_bundle(other, bundle_with(store, tmp_path / "b.zip", checkpoints=checkpoints))
    assert (report.untrusted, report.not_loadable) == ({}, {})
    for role, checkpoint in other.state(NODE).document["checkpoints"].items():
        assert other.backend.mark(checkpoint["sha256"]) is not None
        assert condition(other, checkpoint, role) == "here"
        assert fetch_checkpoint(other, checkpoint, role).is_file()


def test_a_checkpoint_that_only_names_published_weights_needs_no_trust(store, other, tmp_path):
    from coevo.configs.tree import GeneratorConfig
    from coevo.models.external.mattergen import MatterGenGenerator

    MatterGenGenerator.initial(GeneratorConfig()).save(tmp_path / "model")
    checkpoint = checkpoint_of(store, (tmp_path / "model").read_bytes(), "model-tar-1", "mattergen")
    report = import_bundle(other, bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": checkpoint}))
    assert report.untrusted == {}
    assert fetch_checkpoint(other, checkpoint, "generator").is_file()


# --- where the bytes came from


def brought_as_force_field(store, tmp_path):
    """The same bytes in a role whose loader cannot run code: nobody asks."""
    return bundle_with(store, tmp_path / "first.zip", checkpoints={"force_field": checkpoint_of(store, PICKLE)})


def brought_as_unknown(store, tmp_path):
    return bundle_with(store, tmp_path / "first.zip", checkpoints={"generator": checkpoint_of(store, PICKLE, "x", "y")})


def brought_as_generator(store, tmp_path):
    return bundle_with(store, tmp_path / "first.zip", checkpoints={"generator": pickled(store)})


@pytest.mark.parametrize("first", [brought_as_force_field, brought_as_unknown, brought_as_generator])
def test_what_came_first_in_another_role_is_not_trusted(store, other, tmp_path, first):
    import_bundle(other, first(store, tmp_path), node="first")
    second = embedded(tmp_path / "second-source")
    evil = pickled(second)
    report = import_bundle(other, bundle_with(second, tmp_path / "second.zip", checkpoints={"generator": evil}))
    assert list(report.untrusted) == [evil["sha256"]]
    refused(other, evil, "generator", "is not trusted and was not loaded: it came with first.zip")


@pytest.mark.parametrize("role", ["samples", "training_set"])
def test_what_is_no_shard_of_its_kind_cannot_come_as_one(store, tmp_path, role):
    lineage = new_lineage(store)
    blob = store.artifacts.put_bytes(PICKLE).sha256
    if role == "samples":
        lineage.commit(samples={"0": blob})
    else:
        lineage.commit(checkpoints={"force_field": {**checkpoint_of(store, SAFETENSORS), "training_set": blob}})
    with pytest.raises(BundleError, match=r"is no sample|is no training set"):
        import_bundle(embedded(tmp_path / "other"), export(store, tmp_path / "b.zip"))
    assert not (tmp_path / "other").exists()


def test_a_shard_that_came_is_not_trusted_as_a_checkpoint(store, other, tmp_path):
    rows = write_shard(store.artifacts, [{"id": "a"}]).sha256
    first = {"force_field": {**checkpoint_of(store, SAFETENSORS), "training_set": rows}}
    import_bundle(other, bundle_with(store, tmp_path / "first.zip", checkpoints=first), node="first")
    second = embedded(tmp_path / "second-source")
    data = store.artifacts.get_bytes(rows)
    evil = checkpoint_of(second, data, "model-tar-1", "mattergen")
    assert import_bundle(other, bundle_with(second, tmp_path / "2.zip", checkpoints={"generator": evil})).untrusted
    refused(other, evil, "generator", "is not trusted")


def test_a_file_that_lies_in_the_artifact_store_proves_nothing(store, other, tmp_path):
    """A user's own file, a log or the blob of another database that shares the artifact store."""
    other.artifacts.put_bytes(PICKLE)
    evil = pickled(store)
    assert import_bundle(other, bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": evil})).untrusted
    refused(other, evil, "generator", "is not trusted")


def test_two_databases_that_share_an_artifact_store(store, tmp_path):
    first, second = (
        open_store(Settings(database=f"file:{tmp_path / name}", artifacts=(tmp_path / "shared").as_uri())) for name in "ab"
    )
    evil = pickled(store)
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": evil})
    for database in (first, second):
        assert list(import_bundle(database, path).untrusted) == [evil["sha256"]]
        refused(database, evil, "generator", "is not trusted")


@pytest.mark.parametrize("how", ["state", "job", "record"])
def test_what_was_computed_here_stays_trusted(store, other, tmp_path, how):
    mine = pickled(other)
    if how == "state":  # as a state that was committed before marks had origins
        new_lineage(other).commit(checkpoints={"generator": mine})
    elif how == "job":
        other.backend.put_job_result("a" * 64, {"output": {"checkpoint": mine, "fitted": True}})
    else:
        computed_here(other, mine["sha256"], "mattergen", "generator")
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": pickled(store)})
    assert import_bundle(other, path, node="theirs").untrusted == {}
    assert fetch_checkpoint(other, mine, "generator").read_bytes() == PICKLE


def test_what_was_computed_here_as_something_else_is_not_trusted(store, other, tmp_path):
    new_lineage(other).commit(checkpoints={"force_field": checkpoint_of(other, PICKLE)})
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": pickled(store)})
    assert import_bundle(other, path, node="theirs").untrusted


def test_computing_the_same_checkpoint_makes_it_trusted(store, other, tmp_path):
    """A thin bundle named it first; then this installation computed it."""
    checkpoint = pickled(store)
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": checkpoint})
    import_bundle(other, path)
    computed_here(other, checkpoint["sha256"], "mattergen", "generator")
    assert import_bundle(other, path).untrusted == {}
    assert fetch_checkpoint(other, checkpoint, "generator").is_file()


def test_a_state_of_an_older_coevo_keeps_its_trust(tmp_path):
    """Nothing is recorded of its checkpoints at all."""
    old = embedded(tmp_path / "old")
    checkpoint = pickled(old)
    new_lineage(old).commit(checkpoints={"generator": checkpoint})
    assert old.backend.marks() == {}
    assert fetch_checkpoint(old, checkpoint, "generator").read_bytes() == PICKLE


def test_a_state_made_here_that_keeps_an_imported_checkpoint_is_no_proof(store, other, tmp_path):
    evil = pickled(store)
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": evil})
    import_bundle(other, path)
    mine = Lineage(other, parents=(other.head(NODE),), iteration=1)
    mine.commit(checkpoints={"generator": evil})
    other.backend.put_job_result("a" * 64, {"output": {"checkpoint": evil, "fitted": False}})
    assert import_bundle(other, path, node="again").untrusted
    for role, checkpoint in other.state(NODE).document["checkpoints"].items():
        refused(other, checkpoint, role, "is not trusted")


def test_a_mark_outlives_its_blob(store, tmp_path):
    other = embedded(tmp_path / "other")
    evil = pickled(store)
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": evil})
    import_bundle(other, path)
    other.delete_branch(NODE, "main")
    collect_garbage(other, delete=True, older_than=timedelta(0))
    assert not other.artifacts.has(evil["sha256"])
    assert import_bundle(other, path, node="again").untrusted
    refused(other, evil, "generator", "is not trusted")


def test_what_was_computed_here_and_was_lost_is_of_the_bundle_that_brings_it_back(store, tmp_path):
    """Without a state, a result or a record that names it, it was nobody's."""
    other = embedded(tmp_path / "other")
    mine = pickled(other)
    collect_garbage(other, delete=True, older_than=timedelta(0))
    assert not other.artifacts.has(mine["sha256"])
    path = bundle_with(store, tmp_path / "b.zip", checkpoints={"generator": pickled(store)})
    assert import_bundle(other, path).untrusted


def test_what_is_fetched_is_of_elsewhere(store, other, tmp_path):
    evil = pickled(store)
    new_lineage(store).commit(checkpoints={"generator": evil})
    path = export(store, tmp_path / "thin.zip", checkpoints=False)
    [omitted] = import_bundle(other, path).not_here
    fetch_omitted(other, omitted)
    refused(other, evil, "generator", "is not trusted and was not loaded: it came with thin.zip")
    bare = embedded(tmp_path / "bare")
    fetch_omitted(bare, omitted)
    refused(bare, evil, "generator", "is not trusted and was not loaded: it was fetched from file:")


def test_trust_in_a_checkpoint_that_is_not_here_yet_holds_when_it_comes(store, other, tmp_path):
    evil = pickled(store)
    new_lineage(store).commit(checkpoints={"generator": evil})
    import_bundle(other, export(store, tmp_path / "thin.zip", checkpoints=False))
    assert trust(other, [evil["sha256"]]) == [evil["sha256"]]
    assert import_bundle(other, export(store, tmp_path / "whole.zip")).untrusted == {}
    assert fetch_checkpoint(other, evil, "generator").read_bytes() == PICKLE
