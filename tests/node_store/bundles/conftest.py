"""Two databases with a history in one of them, and a bundle to forge."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundle_files import SAFETENSORS, checkpoint_of, embedded, export, new_lineage
from forgeries import SMALL, Forgery

from coevo.errors import BundleError, CoevoError
from coevo.node_store.bundles.importing import import_bundle


@pytest.fixture
def store(tmp_path):
    return embedded(tmp_path / "source")


@pytest.fixture
def other(tmp_path):
    return embedded(tmp_path / "other")


@pytest.fixture
def lineage(store):
    lineage = new_lineage(store)
    for _ in range(3):
        lineage.commit(checkpoints={"force_field": checkpoint_of(store, SAFETENSORS + bytes([lineage.iteration]))})
    return lineage


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A bundle that imports; every test changes one thing of it."""
    directory = tmp_path_factory.mktemp("good")
    store = embedded(directory / "db")
    lineage = new_lineage(store)
    for _ in range(2):
        lineage.commit(checkpoints={"force_field": checkpoint_of(store, SAFETENSORS)})
    return export(store, directory / "good.zip")


@pytest.fixture
def forgery(good) -> Forgery:
    return Forgery(good)


@pytest.fixture
def refuse(tmp_path):
    """Import a file, expect one error, and look for anything that it left behind."""

    def check(path: Path, message: str, error: type[CoevoError] = BundleError) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(error, match=message) as caught:
            import_bundle(embedded(tmp_path / "db"), path, limits=SMALL)
        assert len(str(caught.value)) < 3000
        assert sorted(tmp_path.rglob("*")) == before

    return check
