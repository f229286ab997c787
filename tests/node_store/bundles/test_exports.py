"""Exports: what cannot be exported, what is refused before it is written, and how little memory a large one takes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bundle_files import (
    SAFETENSORS,
    checkpoint_of,
    embedded,
    export,
    new_lineage,
)
from li_p_s_states import NODE
from pymongo import MongoClient

from coevo.errors import (
    ArtifactNotFoundError,
    BundleError,
    CorruptArtifactError,
)
from coevo.node_store.bundles.format import BundleLimits
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.store import open_store
from coevo.settings import Settings


def test_an_export_that_fails_leaves_nothing(store, lineage, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "b.zip").write_bytes(b"the old one")
    manifest = store.artifacts.fetch(store.state(f"{NODE}~1").manifest["samples"]["1"])
    manifest.unlink()
    with pytest.raises(ArtifactNotFoundError):
        export(store, target / "b.zip")
    assert [path.name for path in target.iterdir()] == ["b.zip"]
    assert (target / "b.zip").read_bytes() == b"the old one"
    with pytest.raises(BundleError, match="there is no directory"):
        export(store, tmp_path / "nowhere" / "b.zip")
    with pytest.raises(BundleError, match="it is a directory"):
        export(store, target)


def _rehash(database: Any, collection: str, key: Any) -> None:
    """Write the hash of a row again, where it has one."""
    from coevo.node_store.mongodb.rows import ROW_HASH, row_hash

    row = database[collection].find_one({"_id": key})
    if ROW_HASH in row:
        bare = {key: value for key, value in row.items() if key not in {ROW_HASH, "stored_at"}}
        database[collection].update_one({"_id": row["_id"]}, {"$set": {ROW_HASH: row_hash(bare)}})


@contextmanager
def _hand_changed(database: Any, collection: str, change: dict[str, Any]) -> Iterator[None]:
    """Change one row as somebody with a shell would, and in the end back."""
    row = database[collection].find_one({}, sort=[("_id", 1)])
    database[collection].update_one({"_id": row["_id"]}, {"$set": change})
    _rehash(database, collection, row["_id"])
    try:
        yield
    finally:
        database[collection].replace_one({"_id": row["_id"]}, row)


@pytest.fixture(scope="module")
def served(mongodb_server, tmp_path_factory) -> Iterator[Settings]:
    """Three states on a server, which were checked to be exported as they came; whoever changes them changes them back."""
    folder = tmp_path_factory.mktemp("served")
    here = embedded(folder / "source")
    lineage = new_lineage(here)
    for number in range(3):
        lineage.commit(checkpoints={"force_field": checkpoint_of(here, SAFETENSORS + bytes([number]))})
    source = export(here, folder / "source.zip")
    name = f"coevo_served_{uuid.uuid4().hex[:8]}"
    settings = Settings(database=f"{mongodb_server}/{name}", artifacts=(folder / "blobs").as_uri())
    with open_store(settings) as server:
        import_bundle(server, source)
        assert export(server, folder / "again.zip").read_bytes() == source.read_bytes()
        yield settings
        assert export(server, folder / "in the end.zip").read_bytes() == source.read_bytes()
        server.backend.connection.database.client.drop_database(name)


@pytest.mark.service
@pytest.mark.parametrize(
    ("collection", "change"),
    [
        ("evaluations", {"energy_above_hull": 0.0}),
        ("evaluations", {"is_sun": "yes"}),
        ("evaluations", {"more": 1}),
        ("evaluations", {"kind": "other"}),
        ("evaluations", {"chemical_formula_reduced": "Au"}),
        ("structures", {"structure.sites.0.abc.0": 0.123}),
        ("structures", {"formula": 5}),
        ("structures", {"more": 1}),
        ("structures", {"origin": {"@module": "os", "@callable": "system"}}),
        ("references", {"structure.lattice.matrix.0.0": 99.0}),
        ("references", {"more": 1}),
        ("labels", {"energy_per_atom": -99.0}),
        ("labels", {"more": 1}),
        ("labels", {"how": 5}),
        ("states", {"document": "{}"}),
    ],
)
def test_what_was_changed_in_the_database_is_not_exported(served, tmp_path, collection, change):
    out = tmp_path / "out"
    out.mkdir()
    with (
        MongoClient(served.database) as client,
        _hand_changed(client.get_default_database(), collection, change),
        open_store(served) as server,
        pytest.raises(CorruptArtifactError) as caught,
    ):
        export(server, out / "b.zip")
    assert "\n" not in str(caught.value)
    assert list(out.iterdir()) == []


def test_what_an_import_would_refuse_is_not_exported(store, tmp_path):
    """A directory is read with every hash; documents of another coevo may still say what nobody else takes."""
    lineage = new_lineage(store)
    draft = lineage.draft()
    draft.structures[0]["more"] = 1
    store.commit(draft, "main", None)
    assert next(iter(store.state(NODE).structure_documents([draft.structures[0]["_id"]])))["more"] == 1
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CorruptArtifactError, match=r"cannot be exported: .* more: unknown key; allowed .* coevo verify"):
        export(store, out / "b.zip")
    assert list(out.iterdir()) == []


def test_limits_are_enforced(store, other, lineage, tmp_path):
    path = export(store, tmp_path / "b.zip")
    with pytest.raises(BundleError, match="allowed are 1000; if you expect so much, raise --max-size"):
        import_bundle(other, path, limits=BundleLimits(total=1000))
    with pytest.raises(BundleError, match="members"):
        import_bundle(other, path, limits=BundleLimits(members=5))
    with pytest.raises(BundleError, match=r"its bundle.json has .* bytes"):
        import_bundle(other, path, limits=BundleLimits(contents=100))
    with pytest.raises(BundleError, match="a line of more than 100 bytes"):
        import_bundle(other, path, limits=BundleLimits(line=100))
    assert not (tmp_path / "other").exists()


# --- size


@pytest.mark.long
def test_a_large_checkpoint_is_never_whole_in_memory(tmp_path):
    """Put, export, import and fetch 300 MB; the process may grow by less than a third of it."""
    script = """
        import os, resource, sys
        sys.path[:0] = [sys.argv[2]]
        from pathlib import Path
        import bundle_files as t
        from coevo.node_store.bundles.importing import import_bundle
        from coevo.node_store.trust.loading import fetch_checkpoint
        tmp = Path(sys.argv[1])
        def flow(tmp, megabytes):
            store, other = t.embedded(tmp / "a"), t.embedded(tmp / "b")
            tmp.mkdir()
            block = os.urandom(1 << 16) * 16
            with (tmp / "big").open("wb") as file:
                file.write(t.SAFETENSORS)
                for number in range(megabytes):
                    file.write(number.to_bytes(8, "big") + block[8:])
            artifact = store.artifacts.put_file(tmp / "big")
            lineage = t.new_lineage(store)
            lineage.commit(checkpoints={"force_field": {**artifact.to_dict(), "family": "chgnet", "format": "safetensors"}})
            import_bundle(other, t.export(store, tmp / "b.zip"))
            fetch_checkpoint(other, other.state(t.NODE).document["checkpoints"]["force_field"], "force_field")
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        small = flow(tmp / "small", 1)
        print(flow(tmp / "large", 300) - small)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100
