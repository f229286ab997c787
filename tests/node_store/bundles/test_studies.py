"""Studies travel with their states, and those of a stranger are checked like everything else of one."""

from __future__ import annotations

import json
import zipfile

import pytest
from bundle_files import embedded, export, new_lineage
from forgeries import SMALL, Forgery
from li_p_s_states import NODE
from made_studies import add_study, study_document, with_file

from coevo.errors import CorruptArtifactError
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.canonical import canonical_json, digest
from coevo.node_store.lineage.transfers import bring_history
from coevo.node_store.queries.queries import parse_filter
from coevo.node_store.study_documents import note_key, put_study


def test_studies_arrive_with_their_states_and_files_in_their_order(store, other, lineage, tmp_path):
    head = store.state(NODE)
    parent = head.parent()
    entry = next(head.entries())["structure_id"]
    names = [
        add_study(store, head, {entry: True}),
        add_study(store, parent, **with_file(store)),
        add_study(store, head, {entry: False}, settings={"displacement": 0.1}, **with_file(store, b"other")),
    ]
    report = import_bundle(other, export(store, tmp_path / "b.zip"))
    assert (report.studies, report.studies_added) == (3, 3)
    assert [study.id for study in other.studies(NODE)] == names
    assert [study.document for study in other.studies(NODE)] == [study.document for study in store.studies(NODE)]
    assert {study.origin for study in other.studies(NODE)} == {"it came with b.zip"}
    (file,) = other.studies(NODE)[1].document["artifacts"]
    assert other.artifacts.get_bytes(file["sha256"]) == b"frequencies"
    found = other.state(NODE).entries(parse_filter("dynamically_stable = FALSE"))
    assert [row["structure_id"] for row in found] == [entry]
    again = import_bundle(other, tmp_path / "b.zip")
    assert (again.studies, again.studies_added, again.blobs_added) == (3, 0, 0)
    add_study(other, other.state(NODE), {entry: True})  # made here now, and so it counts before what came
    assert list(other.state(NODE).entries(parse_filter("dynamically_stable = FALSE"))) == []


def test_a_study_that_is_damaged_here_is_stored_again(store, other, lineage, tmp_path):
    name = add_study(store, store.state(NODE))
    path = export(store, tmp_path / "b.zip")
    import_bundle(other, path)
    key = note_key(store.state(NODE).id, name)
    other.backend.write_note(NODE, key, other.backend.note(NODE, key) | {"study": {"kind": "coevo-study"}})
    with pytest.raises(CorruptArtifactError, match="is damaged"):
        other.studies(NODE)
    assert import_bundle(other, path).studies_added == 1
    assert [study.id for study in other.studies(NODE)] == [name]


def test_only_studies_of_exported_states_travel_and_a_bundle_without_any_is_as_before(store, other, lineage, tmp_path):
    add_study(store, store.state(NODE))
    path = export(store, tmp_path / "b.zip", f"{NODE}~1")
    contents = json.loads(zipfile.ZipFile(path).read("bundle.json"))
    assert (contents["version"], "studies" in contents) == (1, False)
    assert import_bundle(other, path).studies == 0
    with_study = json.loads(zipfile.ZipFile(export(store, tmp_path / "c.zip")).read("bundle.json"))
    assert (with_study["version"], len(with_study["studies"])) == (2, 1)


def test_equal_studies_are_equal_bytes(store, other, lineage, tmp_path):
    add_study(store, store.state(NODE), **with_file(store))
    path = export(store, tmp_path / "b.zip")
    import_bundle(other, path)
    assert export(other, tmp_path / "c.zip").read_bytes() == path.read_bytes()


def test_a_damaged_study_is_not_exported(store, lineage, tmp_path):
    view = store.state(NODE)
    document = study_document(view, {"e" * 64: True})  # of an entry that its state has not
    put_study(store.backend, NODE, document, "2026-01-01T00:00:00")
    with pytest.raises(CorruptArtifactError, match=r"study \w+ of .* cannot be exported: it speaks of e+, which is neither"):
        export(store, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_a_merge_into_another_node_brings_studies_along(store, lineage):
    view = store.state(NODE)
    name = add_study(store, view, **with_file(store))
    store.create_node("another", ["Li", "P", "S"], {"node": {"name": "another"}}, "node: {}\n")
    bring_history(store, view, "another")
    assert [study.id for study in store.studies("another")] == [name]
    later = add_study(store, view, settings={"displacement": 0.2})
    bring_history(store, view, "another")  # its states are there; what was asked of them since comes as well
    assert [study.id for study in store.studies("another")] == [name, later]


# --- of a stranger


@pytest.fixture(scope="module")
def with_study(tmp_path_factory):
    directory = tmp_path_factory.mktemp("studied")
    store = embedded(directory / "db")
    lineage = new_lineage(store)
    lineage.commit()
    add_study(store, store.state(NODE), **with_file(store))
    return export(store, directory / "good.zip")


@pytest.fixture
def forged(with_study):
    """Write a bundle whose study was changed, with everything else made to agree."""
    forgery = Forgery(with_study)

    def write(path, change, *, rename=True, data=None):
        (name,) = [name for name in forgery.members if name.startswith("studies/")]
        document = json.loads(forgery.members[name])
        change(document)
        text = canonical_json(document) if data is None else data
        named = forgery.contents["studies"][0]
        if rename:
            named["id"] = digest(document)
        members = {}
        for member, content in forgery.members.items():
            is_study = member == name
            members[f"studies/{named['state']}/{named['id']}.json" if is_study else member] = text if is_study else content
        forgery.members = members
        forgery.declare()
        return forgery.write(path)

    return write


def test_what_is_forged_without_a_lie_imports(forged, tmp_path):
    path = forged(tmp_path / "b.zip", lambda document: document["settings"].update(more=1))
    assert import_bundle(embedded(tmp_path / "db"), path, limits=SMALL).studies_added == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(more=1), "more: Extra inputs are not permitted"),
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(state="0" * 64), "is study .* of state 0000"),
        (lambda d: d["checkpoints"].update(force_field="1" * 64), "its force_field 111111111111 is not that of its state"),
        (lambda d: d["checkpoints"].update(member="1" * 64), "its member 111111111111 is not that of its state"),
        (lambda d: d.update(entries={"2" * 64: {"dynamically_stable": True}}), "it speaks of 2+, which is neither"),
        (lambda d: d["phases"][0].update(id="3" * 64), "its phase 3+ is no entry of its state"),
        (lambda d: d["phases"][0].update(kind="reference"), "is no reference of its state"),
        (lambda d: d["artifacts"].append({"name": "a", "sha256": "4" * 64, "size": 1}), "file a of study .*, is missing"),
        (lambda d: d["artifacts"][0].update(size=3), "has 11 bytes, the study says 3"),
        (lambda d: d["artifacts"].clear(), "belongs to no state"),
        (lambda d: d["artifacts"][0].update(name="../../x"), "artifacts.0.name"),
        (lambda d: d["artifacts"].append(dict(d["artifacts"][0])), "two artifacts are called"),
        (lambda d: d["checkpoints"].update({"r" * 101: "1" * 64}), "at most 100 characters"),
        (lambda d: d["results"].update({"@module": "os", "@class": "x"}), "mark of a class"),
        (lambda d: d["results"].update(x="y" * 8_000_000), "allowed are 8000000|decompresses"),
        (lambda d: d["entries"].update({d["phases"][0]["id"]: {"is_sun": True}}), "is_sun: unknown key"),
        (lambda d: d["entries"].update({d["phases"][0]["id"]: {"dynamically_stable": "yes"}}), "expected bool"),
    ],
)
def test_a_study_that_says_what_none_may_is_refused(forged, refuse, tmp_path, change, message):
    refuse(forged(tmp_path / "b.zip", change), message)


def test_a_study_under_another_name_or_spelling_is_refused(forged, refuse, tmp_path):
    refuse(forged(tmp_path / "b.zip", lambda d: d["settings"].update(more=1), rename=False), "is study")
    refuse(forged(tmp_path / "c.zip", lambda d: None, data=b'{"kind": "coevo-study"}'), "not canonical JSON")


def test_a_study_of_a_state_that_is_not_in_the_bundle_is_refused(with_study, refuse, tmp_path):
    forgery = Forgery(with_study)
    named = forgery.contents["studies"][0]
    old, named["state"] = named["state"], "5" * 64
    forgery.members = {
        name.replace(f"studies/{old}", f"studies/{named['state']}"): data for name, data in forgery.members.items()
    }
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), r"study \w+ is of state 5+, which is not among its states")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=1), "a bundle of version 1 has no studies"),
        (lambda c: c.update(studies=c["studies"] * 2), "names a study twice"),
        (lambda c: c.update(studies=[]), "is 'studies/|belongs to no state|expected"),
        (lambda c: c["studies"][0].update(more=1), "studies.0.more"),
        (lambda c: c["studies"][0].update(id="../x"), "studies.0.id"),
    ],
)
def test_a_table_of_contents_that_is_wrong_about_studies(with_study, refuse, tmp_path, change, message):
    forgery = Forgery(with_study)
    change(forgery.contents)
    refuse(forgery.write(tmp_path / "b.zip"), message)
