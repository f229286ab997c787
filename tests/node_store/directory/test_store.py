"""The embedded database."""

from __future__ import annotations

import pytest
from li_p_s_states import NODE, new_node
from store_contract import StoreContract

from coevo.errors import ConfigError, CorruptArtifactError, StorageError
from coevo.node_store.store import open_store
from coevo.settings import Settings


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def settings(self, tmp_path) -> Settings:
        return Settings(database=f"file:{tmp_path / 'data'}")


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(database=f"file:{tmp_path / 'data'}")


def test_nothing_is_created_before_the_first_write(settings):
    store = open_store(settings)
    assert store.nodes() == []
    assert not settings.directory.exists()


@pytest.mark.parametrize("name", ["blobs", "jobs"])
def test_names_of_the_layout_are_taken(settings, name):
    with pytest.raises(ConfigError, match="taken"):
        open_store(settings).create_node(name, ["Li"], {}, "")


def test_a_foreign_directory_is_not_taken_over(settings):
    (settings.directory / NODE).mkdir(parents=True)
    (settings.directory / NODE / "thesis.tex").write_text("all of it")
    with pytest.raises(StorageError, match="not empty"):
        new_node(open_store(settings))
    assert (settings.directory / NODE / "thesis.tex").read_text() == "all of it"
    assert [path.name for path in settings.directory.iterdir()] == [NODE]


def test_the_live_configuration_is_a_file_to_edit(settings):
    store = open_store(settings)
    new_node(store)
    path = settings.directory / NODE / "node.yaml"
    assert store.config_source(NODE) == str(path)
    path.write_text("edited: by hand\n")
    assert store.read_config_text(NODE) == "edited: by hand\n"


def test_a_damaged_branch_says_what_to_do(settings):
    store = open_store(settings)
    state = new_node(store).commit()
    branch = settings.directory / NODE / "refs" / "main"
    branch.write_text("")
    with pytest.raises(CorruptArtifactError, match=r"branch main .* holds '' and no state id"):
        store.head(NODE)
    branch.write_text(state)
    assert store.head(NODE) == state
