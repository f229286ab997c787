"""What every database must do with studies; part of the suite that the tests of each backend subclass."""

from __future__ import annotations

import pytest
from li_p_s_states import NODE
from made_studies import add_study, study_document, with_file

from coevo.errors import ArtifactNotFoundError, QueryError, StateNotFoundError
from coevo.node_store.canonical import digest
from coevo.node_store.queries.queries import parse_filter
from coevo.node_store.study_commit import commit_study
from coevo.node_store.study_documents import put_study


class StudiesContract:
    """Uses the fixtures of :class:`store_contract.StoreContract`."""

    def test_a_study_reads_back_from_another_store_and_leaves_its_state_alone(self, store, lineage, reopened):
        view = store.state(f"{NODE}@{lineage.commit()}")
        before = view.document
        document = study_document(view, **with_file(store))
        identifier = commit_study(store, document)
        assert identifier == digest(document)
        (found,) = reopened.state(NODE).studies()
        assert (found.id, found.document, found.study, found.origin) == (identifier, document, "phonons", "")
        assert [study.id for study in reopened.studies(NODE)] == [identifier]
        assert reopened.state(NODE).studies("transport") == []
        assert reopened.state(NODE).document == before

    def test_the_same_study_twice_is_one_and_another_setting_is_another(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit()}")
        first = add_study(store, view)
        stored = view.studies()[0].stored
        assert add_study(store, view) == first
        assert [study.stored for study in view.studies()] == [stored]
        second = add_study(store, view, settings={"displacement": 0.03})
        assert [study.id for study in view.studies()] == [first, second]  # in the order in which they were stored

    def test_studies_are_of_their_state_only(self, store, lineage):
        first = store.state(f"{NODE}@{lineage.commit()}")
        second = store.state(f"{NODE}@{lineage.commit()}")
        of_first, of_second = add_study(store, first), add_study(store, second)
        assert [study.id for study in first.studies()] == [of_first]
        assert [study.id for study in second.studies()] == [of_second]
        assert {study.id for study in store.studies(NODE)} == {of_first, of_second}
        assert [study.id for study in store.studies(NODE, second.id)] == [of_second]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"more": 1}, "more: Extra inputs"),
            ({"version": 2}, "version"),
            ({"packages": {"p" * 101: "1"}}, "packages"),
            ({"study": "../x"}, "study"),
            ({"entries": {"a" * 64: {"dynamically_stable": 1}}}, "expected bool, got '1'"),
            ({"entries": {"a" * 64: {"is_sun": True}}}, "is_sun: unknown key; allowed keys: dynamically_stable"),
            ({"entries": {"a" * 64: {"dynamically_stable": True}}}, "neither an entry nor a reference"),
            ({"results": {"x": {"@module": "os"}}}, "operator or the mark of a class"),
            ({"results": {"x": "y" * 8_000_001}}, "too large"),
            ({"results": {"x": float("nan")}}, "no canonical form"),
            ({"checkpoints": {"force_field": "b" * 64}}, "not that of its state"),
            ({"artifacts": [{"name": "../x", "sha256": "a" * 64, "size": 1}]}, "artifacts.0.name"),
        ],
    )
    def test_what_no_study_may_say_is_refused(self, store, lineage, changes, message):
        view = store.state(f"{NODE}@{lineage.commit()}")
        with pytest.raises(ValueError, match=message):
            add_study(store, view, **changes)
        assert view.studies() == []

    def test_a_study_without_its_state_or_its_files_is_refused(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit()}")
        with pytest.raises(StateNotFoundError):
            add_study(store, view, state="c" * 64)
        with pytest.raises(ArtifactNotFoundError, match=r"phonons.txt .* is not in the artifact store"):
            add_study(store, view, artifacts=[{"name": "phonons.txt", "sha256": "d" * 64, "size": 3}])

    def test_nesting_without_end_is_refused(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit()}")
        deep: list = []
        for _ in range(30):
            deep = [deep]
        with pytest.raises(ValueError, match="more than 24 levels deep"):
            add_study(store, view, results={"x": deep})

    # --- fields that are joined to entries

    def test_filters_reach_what_studies_say(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit(n_entries=6)}")
        ids = [row["structure_id"] for row in view.entries()]
        add_study(store, view, {ids[0]: True, ids[1]: False, ids[2]: True})
        known, stable, unstable = set(ids[:3]), {ids[0], ids[2]}, {ids[1]}
        everything = list(view.entries())
        low = {row["structure_id"] for row in everything if row["energy_above_hull"] < 0.1}
        for text, wanted in (
            ("dynamically_stable = TRUE", stable),
            ("dynamically_stable = FALSE", unstable),
            ("dynamically_stable IS UNKNOWN", set(ids) - known),
            ("dynamically_stable IS KNOWN", known),
            ("NOT dynamically_stable IS KNOWN", set(ids) - known),
            ("dynamically_stable != TRUE", unstable),
            ("NOT dynamically_stable = TRUE", unstable),  # OPTIMADE: what is unknown fulfils neither
            ("dynamically_stable = TRUE OR energy_above_hull < 0.1", stable | low),
            ("dynamically_stable = TRUE AND energy_above_hull < 0.1", stable & low),
            ("NOT (dynamically_stable = TRUE OR energy_above_hull < 0.1)", unstable - low),
        ):
            found = [row["structure_id"] for row in view.entries(parse_filter(text))]
            assert found == [name for name in ids if name in wanted], text
        assert all("dynamically_stable" not in row for row in view.entries({"dynamically_stable": True}))
        joined = {row["structure_id"]: row.get("dynamically_stable") for row in view.with_studied(view.entries())}
        assert joined == {name: None if name not in known else name in stable for name in ids}
        with pytest.raises(QueryError):
            list(view.entries({"dynamically_stable": {"$nonsense": 1}}))
        for text in ('dynamically_stable = "yes"', "dynamically_stable = 1"):
            with pytest.raises(QueryError, match="write TRUE or FALSE"):
                parse_filter(text)

    def test_a_state_without_studies_knows_of_nothing(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit()}")
        ids = [row["structure_id"] for row in view.entries()]
        for text, wanted in (("dynamically_stable = TRUE", []), ("dynamically_stable IS UNKNOWN", ids)):
            assert [row["structure_id"] for row in view.entries(parse_filter(text))] == wanted
        assert [
            row["structure_id"] for row in view.matching(parse_filter("dynamically_stable IS UNKNOWN"), kinds=("entry",))
        ] == ids

    def test_the_newest_study_that_was_made_here_counts(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit()}")
        one, two, three = (row["structure_id"] for row in list(view.entries())[:3])
        add_study(store, view, {one: True, two: True})
        add_study(store, view, {one: False})
        foreign = study_document(view, {one: True, three: False}, settings={"displacement": 0.5})
        put_study(store.backend, NODE, foreign, "9999-01-01T00:00:00", "it came with a.zip")
        said = {row["structure_id"]: row.get("dynamically_stable") for row in view.with_studied(view.entries())}
        assert (said[one], said[two], said[three]) == (False, True, False)
        commit_study(store, foreign)  # made here as well: now it is the newest
        said = {row["structure_id"]: row.get("dynamically_stable") for row in view.with_studied(view.entries())}
        assert (said[one], said[two], said[three]) == (True, True, False)
        assert [study.origin for study in view.studies()] == ["", "", ""]

    def test_a_child_state_has_nothing_of_the_studies_of_its_parent(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit()}")
        entry = next(view.entries())["structure_id"]
        add_study(store, view, {entry: True})
        child = store.state(f"{NODE}@{lineage.commit()}")
        assert list(child.entries(parse_filter("dynamically_stable IS KNOWN"))) == []
