"""What comes in a bundle and names something of this machine waits for the user; what a bundle left out is remembered."""

from __future__ import annotations

import sys

import pytest
from bundle_files import SAFETENSORS, checkpoint_of, embedded, export
from li_p_s_states import CONFIG, NODE, Lineage

from coevo.configs.describing import local_values
from coevo.configs.loading import MOST_PROBLEMS
from coevo.errors import BundleError, ConfigError, CorruptArtifactError
from coevo.node_store.bundles.checkpoint_fetching import fetch_omitted
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.lineage.transfers import bring_history
from coevo.node_store.store import open_store
from coevo.node_store.trust.arrivals import agree, bring_arrivals, omitted, refuse_unagreed, shown_value, unagreed
from coevo.node_store.upkeep.verification import verify
from coevo.settings import Settings

PLAIN = f"node:\n  name: {NODE}\n  elements: [Li, P, S]\n  references: li-p-s\n"
HOSTILE = PLAIN.replace("li-p-s\n", "/etc/passwd\n") + "generator:\n  mattergen:\n    weights: ~/models/\n  options: [a = 1]\n"
KEYS = ["generator.mattergen.weights", "generator.options", "node.references"]


@pytest.fixture(params=["directory", pytest.param("server", marks=pytest.mark.service)])
def other(request, tmp_path):
    """The database into which everything is imported."""
    if request.param == "directory":
        yield embedded(tmp_path / "other")
        return
    uri = request.getfixturevalue("mongodb_uri")
    with open_store(Settings(database=uri, artifacts=(tmp_path / "blobs").as_uri())) as store:
        yield store


def bundle(tmp_path, text=PLAIN, *, name="b", states=1, config=CONFIG, thin=False, node=NODE):
    """A bundle of a node with this live configuration, whose states have that one."""
    store = embedded(tmp_path / f"source-{name}")
    store.create_node(node, ["Li", "P", "S"], config, text)
    lineage = Lineage(store)
    for _ in range(states):
        lineage.commit(checkpoints={"force_field": checkpoint_of(store, SAFETENSORS + name.encode())}, config=config)
    return export(store, tmp_path / f"{name}.zip", checkpoints=not thin)


def live(store, node=NODE) -> dict:
    from coevo.configs.loading import parse_config

    return parse_config(store.read_config_text(node), "live").model_dump(mode="json")


def test_a_plain_configuration_asks_nothing(tmp_path, other):
    report = import_bundle(other, bundle(tmp_path))
    assert report.configuration == {}
    assert unagreed(other, NODE) == {}
    refuse_unagreed(other, NODE, live(other))


def test_values_of_a_bundle_are_inert_until_they_are_agreed_to(tmp_path, other):
    report = import_bundle(other, bundle(tmp_path, HOSTILE))
    assert sorted(report.configuration) == KEYS
    with pytest.raises(ConfigError) as caught:
        refuse_unagreed(other, NODE, live(other))
    message = str(caught.value)
    assert all(key in message for key in KEYS)
    assert '"/etc/passwd"' in message
    assert f"coevo trust {NODE} --configuration" in message
    assert "\n" not in message
    agree(other, NODE, unagreed(other, NODE))
    assert unagreed(other, NODE) == {}
    refuse_unagreed(other, NODE, live(other))
    # the same bundle again brings nothing that has to be asked about
    assert import_bundle(other, tmp_path / "b.zip").configuration == {}
    refuse_unagreed(other, NODE, live(other))


def test_the_agreement_is_to_exactly_these_values(tmp_path, other):
    import_bundle(other, bundle(tmp_path, HOSTILE))
    agree(other, NODE, unagreed(other, NODE))
    changed = {"node": {**CONFIG["node"], "references": "/etc/shadow"}}
    import_bundle(other, bundle(tmp_path, HOSTILE, name="c", config=changed))
    (record,) = unagreed(other, NODE).values()
    assert (record["key"], record["value"]) == ("node.references", "/etc/shadow")
    refuse_unagreed(other, NODE, live(other))
    with pytest.raises(ConfigError, match="/etc/shadow"):
        refuse_unagreed(other, NODE, changed)


def test_what_the_user_writes_is_the_users(tmp_path, other):
    import_bundle(other, bundle(tmp_path, HOSTILE))
    mine = PLAIN.replace("li-p-s\n", "/home/me/phases.cif\n")
    other.write_config_text(NODE, mine)
    refuse_unagreed(other, NODE, live(other))
    # a comment is no agreement
    other.write_config_text(NODE, "# seen\n" + HOSTILE)
    with pytest.raises(ConfigError, match="/etc/passwd"):
        refuse_unagreed(other, NODE, live(other))


def test_a_node_of_ones_own_is_not_stopped_by_a_bundle_with_the_same_value(tmp_path, other):
    mine = PLAIN.replace("li-p-s\n", "/home/me/phases.cif\n")
    other.create_node(NODE, ["Li", "P", "S"], CONFIG, mine)
    config = {"node": {**CONFIG["node"], "references": "/home/me/phases.cif"}}
    import_bundle(other, bundle(tmp_path, mine, config=config))
    assert unagreed(other, NODE) == {}
    refuse_unagreed(other, NODE, live(other))


def test_values_go_with_the_states_into_another_node(tmp_path, other):
    """A merge brings a history; an extension of it there would take the configuration of its states."""
    config = {"node": {**CONFIG["node"], "references": "/etc/passwd"}}
    import_bundle(other, bundle(tmp_path, config=config))
    other.create_node("mine", ["Li", "P", "S"], CONFIG, PLAIN.replace(NODE, "mine"))
    view = bring_history(other, other.state(NODE), "mine")
    with pytest.raises(ConfigError, match="coevo trust mine --configuration"):
        refuse_unagreed(other, "mine", view.document["config"])
    agree(other, "mine", unagreed(other, "mine"))
    bring_arrivals(other, NODE, "mine")
    assert unagreed(other, "mine") == {}


def test_a_killed_import_leaves_nothing_that_counts_as_the_users(tmp_path, other, monkeypatch):
    from coevo.node_store.bundles import importing as bundle_import

    def killed(*_):
        raise KeyboardInterrupt

    path = bundle(tmp_path, HOSTILE)
    with monkeypatch.context() as patch:
        patch.setattr(bundle_import, "_store_states", killed)
        with pytest.raises(KeyboardInterrupt):
            import_bundle(other, path)
    assert NODE in other.nodes()
    assert sorted(import_bundle(other, path).configuration) == KEYS


def test_values_are_shown_so_that_nothing_is_disguised():
    hostile = "/tmp/\x1b[2J\u202ecod.exe[red]é"
    shown = shown_value(hostile, longest=None)
    assert shown.isascii()
    assert shown.isprintable()
    assert "\\u202e" in shown
    assert len(shown_value("x" * 5000)) < 300


def test_a_yaml_of_many_problems_is_refused_in_a_few_lines(tmp_path, other):
    text = PLAIN + "".join(f"key{number}: 1\n" for number in range(3_000))
    with pytest.raises(BundleError) as caught:
        import_bundle(other, bundle(tmp_path, text))
    assert MOST_PROBLEMS // 2 < len(str(caught.value).splitlines()) <= MOST_PROBLEMS + 1  # each names what is allowed
    assert len(str(caught.value)) < 20_000


# --- checkpoints that were left out


def findings(store) -> list[str]:
    return [finding.severity for finding in verify(store, NODE).findings if "checkpoint" in finding.where]


def lose(store, sha256) -> None:
    store.artifacts.fetch(sha256).unlink()


def test_left_out_is_a_note_until_it_has_been_here(tmp_path, other):
    report = import_bundle(other, bundle(tmp_path, thin=True))
    (checkpoint,) = report.not_here
    assert omitted(other, NODE) == {checkpoint.sha256: True}
    assert findings(other) == ["note"]
    fetch_omitted(other, checkpoint)
    assert findings(other) == []
    lose(other, checkpoint.sha256)
    assert findings(other) == ["problem"]
    # a thin bundle that is imported again does not excuse it
    import_bundle(other, tmp_path / "b.zip")
    assert findings(other) == ["problem"]


def test_what_a_whole_bundle_brought_can_be_lost(tmp_path, other):
    import_bundle(other, bundle(tmp_path, thin=True))
    whole = export(embedded(tmp_path / "source-b"), tmp_path / "whole.zip")
    import_bundle(other, whole)
    assert findings(other) == []
    lose(other, other.state(NODE).document["checkpoints"]["force_field"]["sha256"])
    assert findings(other) == ["problem"]
    import_bundle(other, whole)
    assert findings(other) == []


def test_the_mark_of_a_thin_import_by_an_older_coevo_is_enough(tmp_path, other, monkeypatch):
    from coevo.node_store.bundles import importing as bundle_import
    from coevo.node_store.trust.loading import UNSEEN

    path = bundle(tmp_path, thin=True)
    for note in ("note_omitted", "mark_imported"):
        monkeypatch.setattr(bundle_import, note, lambda *_: None)
    import_bundle(other, path)
    (name,) = {c["sha256"] for c in other.state(NODE).document["checkpoints"].values()}
    other.backend.mark_untrusted(name, f"{UNSEEN}; it came with b.zip, imported into node {NODE} on 2026-11-01")
    assert findings(other) == ["note"]


def test_marks_of_the_tree():
    assert local_values(
        {
            "node": {"references": "li-p-s + ../x.cif", "name": "/not/a/place"},
            "generator": {"family": "theirs", "options": [], "mattergen": {"weights": "small"}},
            "unknown": {"references": "/x"},
        }
    ) == {"node.references": "li-p-s + ../x.cif", "generator.family": "theirs"}


def test_a_damaged_record_is_found_and_believed_by_nobody(tmp_path, other, request):
    import_bundle(other, bundle(tmp_path, HOSTILE))
    if "server" in request.node.name:
        rows = other.backend.connection.collection("arrivals")
        row = rows.find_one({})
        rows.update_one({"_id": row["_id"]}, {"$set": {"document": row["document"].replace('"agreed":null', '"agreed":"now"')}})
    else:
        path = next((tmp_path / "other" / "untrusted" / NODE).glob("*.json"))
        path.write_bytes(path.read_bytes().replace(b"null", b'"now"'))
    (problem,) = verify(other, NODE).problems
    assert "is damaged" in problem.what
    with pytest.raises(CorruptArtifactError):
        refuse_unagreed(other, NODE, live(other))
    # the records of one node are not those of another
    assert other.backend.arrivals("mine") == {}


def test_a_maker_of_a_bundle_is_not_imported_before_it_is_agreed_to(tmp_path, other, monkeypatch):
    """The import path of a Maker is code; what comes with it waits too, and agreeing to one path is no agreement to another."""
    from coevo.configs.loading import parse_config
    from coevo.errors import LabellingError
    from coevo.makers.labels.settings import check_labelling

    (tmp_path / "stranger.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'was here')!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    hostile = PLAIN + "labelling: {code: maker, maker: stranger.Maker, arguments: {model: /etc/passwd}}\n"
    report = import_bundle(other, bundle(tmp_path, hostile))
    assert sorted(report.configuration) == ["labelling.arguments", "labelling.maker"]
    with pytest.raises(ConfigError, match=r'labelling\.maker: "stranger\.Maker"') as caught:
        refuse_unagreed(other, NODE, live(other))
    assert "the code of a Maker at this import path is run" in str(caught.value)
    assert not (tmp_path / "was here").exists()
    agree(other, NODE, unagreed(other, NODE))
    refuse_unagreed(other, NODE, live(other))
    with pytest.raises(LabellingError, match=r"stranger\.Maker cannot be imported: AttributeError"):
        check_labelling(parse_config(other.read_config_text(NODE), "live"))
    assert (tmp_path / "was here").exists()
    import_bundle(other, bundle(tmp_path, name="d", config={**CONFIG, "labelling": {"code": "maker", "maker": "os.system"}}))
    (record,) = unagreed(other, NODE).values()
    assert (record["key"], record["value"]) == ("labelling.maker", "os.system")
