"""What every database must do: the suite that the tests of each backend subclass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from branch_seeds_contract import BranchSeedsContract
from branches_contract import BranchesContract
from concurrency_contract import ConcurrencyContract
from li_p_s_states import CONFIG, CONFIG_TEXT, NODE, OFFSETS, Lineage, evaluation, make_structure, new_node, structure_row
from pymatgen.core import Structure
from studies_contract import StudiesContract
from work_contract import WorkContract

from coevo.errors import (
    ArtifactNotFoundError,
    BranchMovedError,
    ConfigError,
    NodeExistsError,
    NodeNotFoundError,
    QueryError,
    StateNotFoundError,
)
from coevo.node_store.canonical import structure_id
from coevo.node_store.documents import NodeDocument, StateDocument
from coevo.node_store.queries.queries import parse_filter
from coevo.node_store.states import state_id
from coevo.node_store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.store import NodeStore
    from coevo.settings import Settings


class StoreContract(WorkContract, ConcurrencyContract, BranchesContract, BranchSeedsContract, StudiesContract):
    """Subclasses have a fixture ``settings`` that names an empty database."""

    @pytest.fixture
    def store(self, settings: Settings) -> Iterator[NodeStore]:
        with open_store(settings) as store:
            yield store

    @pytest.fixture
    def reopened(self, settings: Settings) -> Iterator[NodeStore]:
        """The same database, as another process opens it."""
        with open_store(settings) as store:
            yield store

    @pytest.fixture
    def lineage(self, store: NodeStore) -> Lineage:
        return new_node(store)

    # --- nodes

    def test_node_reads_back_from_another_store(self, store, lineage, reopened):
        node = reopened.node(NODE)
        assert isinstance(node, NodeDocument)
        assert node.elements == ("Li", "P", "S")
        assert node.config == CONFIG
        assert node.config_text == CONFIG_TEXT
        assert node.branches == {"main": None}
        assert store.nodes() == [NODE]

    def test_creating_the_same_node_again_changes_nothing(self, store, lineage):
        before = store.node(NODE)
        store.write_config_text(NODE, "edited: true\n")
        store.create_node(NODE, ("S", "P", "Li"), {**CONFIG, "resources": {"workers": 3}}, CONFIG_TEXT)
        assert store.node(NODE) == before.model_copy(update={"config_text": "edited: true\n"})

    @pytest.mark.parametrize(("elements", "config"), [(["Li", "P"], CONFIG), (["Li", "P", "S"], {**CONFIG, "curation": {}})])
    def test_another_node_of_the_name_is_refused(self, store, lineage, elements, config):
        with pytest.raises(NodeExistsError, match=f"node {NODE} exists already"):
            store.create_node(NODE, elements, config, CONFIG_TEXT)
        assert store.node(NODE).elements == ("Li", "P", "S")

    @pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "Upper", "a@b", "a~1", "x" * 65])
    def test_names_that_cannot_be_names(self, store, name):
        with pytest.raises(ConfigError, match="cannot name a node"):
            store.create_node(name, ["Li"], {}, "")
        with pytest.raises((NodeNotFoundError, StateNotFoundError)):
            store.state(name)

    def test_unknown_node_lists_the_nodes_there_are(self, store, lineage):
        with pytest.raises(NodeNotFoundError, match=rf"no node 'other'; nodes of the database .+: {NODE}"):
            store.node("other")

    def test_live_configuration_is_kept_as_text(self, store, lineage):
        text = "node:  # ünïcode, spacing and comments stay\n   x: 1\n"
        store.write_config_text(NODE, text)
        assert store.read_config_text(NODE) == text
        assert NODE in store.config_source(NODE)

    # --- commit and resolve

    def test_committed_state_reads_back_whole(self, store, lineage, reopened):
        draft = lineage.draft()
        state = store.commit(draft, "main", None)
        assert state == state_id(draft)
        view = reopened.state(NODE)
        assert (view.id, view.node, view.parents, view.iteration) == (state, NODE, (), 0)
        StateDocument.model_validate(view.document)
        assert view.document["metrics"] == {"rmse": {"energy": 0.25}, "entropy": 6.5, "sun": 3}
        assert view.document["provenance"] == {"host": "here", "seconds": 1.5}
        assert view.document["counts"]["entries"] == 4
        assert view.manifest["structures"] == sorted(structure_id(s) for s in lineage.entries)
        assert view.manifest["references"] == sorted(structure_id(s) for s in lineage.references)
        assert view.manifest["labels"] == lineage.splits
        assert view.manifest["samples"] == lineage.samples
        assert view.manifest["offsets"] == {"abc": OFFSETS}
        evaluations = {document["structure_id"]: document for document in view.evaluations()}
        for given in draft.evaluations:
            found = evaluations[given["structure_id"]]
            assert {key: found[key] for key in given} == given
            assert set(found) - set(given) == {"nelements", "chemical_formula_reduced", "chemical_formula_anonymous"}

    def test_changing_what_was_read_changes_nothing(self, store, lineage):
        lineage.commit()
        view = store.state(NODE)
        view.document["metrics"]["sun"] = 99
        next(view.entries({"nsites": {"$gt": 0}}))["elements"].clear()
        next(view.references())["elements"].clear()
        assert store.state(NODE).document["metrics"]["sun"] == 3
        assert all(d["elements"] for d in (*view.entries({"nsites": {"$gt": 0}}), *view.references()))

    def test_documents_are_inherited_from_ancestors(self, store, lineage, reopened):
        for _ in range(3):
            lineage.commit()
        view = reopened.state(NODE)
        assert sorted(d["_id"] for d in view.structure_documents()) == sorted(structure_id(s) for s in lineage.entries)
        assert [d["_id"] for d in view.references()] == sorted(structure_id(s) for s in lineage.references)
        labels = list(view.labels())
        assert {d["_id"]: d["split"] for d in labels} == lineage.splits
        assert all(d["code"] == "teacher" for d in labels)
        wanted = [structure_id(lineage.entries[i]) for i in (9, 0, 5)]
        assert [d["_id"] for d in view.structure_documents(wanted)] == wanted
        assert [ancestor.iteration for ancestor in view.ancestors()] == [1, 0]

    def test_a_state_can_drop_what_its_parent_had(self, store, lineage):
        lineage.commit()
        dropped = structure_id(lineage.entries.pop())
        state = lineage.commit()
        view = store.state(f"{NODE}@{state}")
        assert dropped not in view.manifest["structures"]
        with pytest.raises(QueryError, match="neither an entry nor a reference"):
            view.structure(dropped)
        assert dropped in store.state(f"{NODE}~1").manifest["structures"]

    def test_structures_come_as_relaxed_by_the_state_or_as_admitted(self, store, lineage):
        lineage.commit()
        view = store.state(NODE)
        for given in [*lineage.entries, *lineage.references]:
            identifier = structure_id(given)
            admitted, present = view.structure(identifier, relaxed=False), view.structure(identifier)
            assert isinstance(present, Structure)
            assert structure_id(admitted) == identifier
            moved = view.evaluation(identifier)["relaxed"] is not None
            assert present.volume == pytest.approx(given.volume * (0.97 if moved else 1.0))

    def test_references_to_states(self, store, lineage):
        states = [lineage.commit() for _ in range(3)]
        assert store.state(NODE).id == store.state(f"{NODE}@main").id == states[2] == store.head(NODE)
        assert store.state(f"{NODE}@main~2").id == store.state(f"{NODE}~2").id == states[0]
        assert store.state(f"{NODE}@{states[1]}").id == store.state(f"{NODE}@{states[1][:12]}").id == states[1]
        assert store.state(f"{NODE}@{states[2][:12]}~1").id == states[1]
        assert store.state(f"{NODE}@main").parent().id == states[1]
        assert store.state(f"{NODE}~2").parent() is None

    @pytest.mark.parametrize(
        ("reference", "message"),
        [
            (f"{NODE}@main~3", "goes 3 states back, but .* has only 2"),
            (f"{NODE}@other", r"no branch or state 'other'; branches: main \([0-9a-f]{8}\)"),
            (f"{NODE}@0000000", "no branch or state"),
            (f"{NODE}@../../x", "no branch or state"),
            (f"{NODE}@main~x", "no reference to a state"),
            ("", "no reference to a state"),
        ],
    )
    def test_references_to_nothing(self, store, lineage, reference, message):
        for _ in range(3):
            lineage.commit(n_entries=1)
        with pytest.raises(StateNotFoundError, match=message):
            store.state(reference)

    def test_a_node_without_a_state_says_so(self, store, lineage):
        assert store.head(NODE) is None
        with pytest.raises(StateNotFoundError, match="has no state yet"):
            store.state(NODE)

    def test_ambiguous_prefixes_are_listed(self, store, lineage):
        """With 4 digits and few states a collision is rare; so states are made until two share their first digits."""
        backend, states = store.backend, ["ab12" + "0" * 60, "ab12" + "f" * 60]
        lineage.commit()
        original = backend.state_ids
        backend.state_ids = lambda node, prefix="": (
            [state for state in states if state.startswith(prefix)] or original(node, prefix)
        )
        with pytest.raises(StateNotFoundError, match=r"ambiguous: 2 states start with it \(ab12000000000000, ab12ffffffffffff\)"):
            store.state(f"{NODE}@ab12")

    def test_committing_twice_is_committing_once(self, store, lineage):
        draft = lineage.draft()
        first = store.commit(draft, "main", None)
        created = store.state(NODE).document["created"]
        draft.provenance = {"host": "elsewhere", "seconds": 99.0}
        assert store.commit(draft, "main", None) == first
        assert store.state(NODE).document["created"] == created
        lineage.parents, lineage.iteration = (first,), 1
        second = lineage.commit()
        assert store.commit(draft, "main", None) == first
        assert store.head(NODE) == second

    def test_a_lost_race_keeps_the_work_as_a_branch(self, store, lineage):
        start = lineage.commit()
        other = lineage.fork(variant=1)
        winner, draft = lineage.commit(), other.draft()
        with pytest.raises(BranchMovedError, match="nothing is lost") as caught:
            store.commit(draft, "main", start)
        assert (caught.value.expected, caught.value.found) == (start, winner)
        assert store.head(NODE) == winner
        kept = store.state(f"{NODE}@{caught.value.kept_as}")
        assert caught.value.kept_as == f"main-{kept.id[:8]}"
        assert kept.parents == (start,)
        assert len(list(kept.entries())) == len(other.entries)
        with pytest.raises(BranchMovedError) as again:
            store.commit(draft, "main", start)
        assert again.value.kept_as == caught.value.kept_as
        assert len(store.node(NODE).branches) == 2

    def test_branches_grow_apart_and_share_documents(self, store, lineage):
        lineage.commit()
        other = lineage.fork(variant=1)
        store.commit(other.draft(), "try.2", None)
        lineage.commit()
        node = store.node(NODE)
        assert set(node.branches) == {"main", "try.2"}
        main, tried = store.state(NODE), store.state(f"{NODE}@try.2")
        assert main.parents == tried.parents
        assert len(set(main.manifest["structures"]) & set(tried.manifest["structures"])) == 4

    def test_a_state_of_two_parents_has_the_documents_of_both(self, store, lineage):
        """Merge is a flow of its own; the store must be able to hold its result."""
        lineage.commit()
        other = lineage.fork(variant=1)
        second = store.commit(other.draft(), "other", None)
        first = lineage.commit()
        draft = lineage.draft(n_entries=1, parents=(first, second))
        draft.evaluations += [evaluation(s, "entry", 5) for s in other.entries[4:]]
        draft.splits = {**draft.splits, **other.splits}
        merged = store.state(f"{NODE}@{store.commit(draft, 'main', first)}")
        assert {structure_id(s) for s in other.entries} < {d["_id"] for d in merged.structure_documents()}
        assert {d["_id"] for d in merged.labels()} == set(draft.splits)
        assert {view.id for view in merged.ancestors()} == {first, second, store.state(f"{NODE}~2").id}

    def test_incomplete_drafts_are_refused_and_nothing_is_stored(self, store, lineage):
        stranger = make_structure("LiP", 77)
        for change, error, message in (
            ({"structures": [structure_row(stranger)]}, ValueError, "1 new documents have no evaluation of kind entry"),
            ({"structures": []}, ValueError, "4 structures of the draft are neither new in it nor documents of its parents"),
            ({"references": []}, ValueError, "2 references of the draft"),
            ({"labels": []}, ValueError, "3 labels of the draft"),
            ({"splits": {}}, ValueError, "3 new documents have no split"),
            ({"parents": ("0" * 64,)}, StateNotFoundError, "no state 000"),
            ({"samples": {"0": "1" * 64}}, ArtifactNotFoundError, "the sample of iteration 0, artifact 111"),
            ({"metrics": {"rmse": [0.0, float("nan")]}}, ValueError, r"metrics.rmse.1: nan has no canonical form"),
            ({"metrics": {"seed": 2**63}}, ValueError, "metrics.seed: 9223372036854775808 does not fit"),
        ):
            with pytest.raises(error, match=message):
                store.commit(Lineage(store).draft(**change), "main", None)
        assert store.head(NODE) is None
        assert store.backend.state_ids(NODE) == []

    # --- queries

    def test_filters_sort_limit_and_projection(self, store, lineage):
        lineage.commit(n_entries=24)
        view = store.state(NODE)
        everything = list(view.entries())
        assert [d["structure_id"] for d in everything] == view.manifest["structures"]
        low = list(view.entries(parse_filter('elements HAS "P" AND energy_above_hull < 0.1')))
        expected = [d["structure_id"] for d in everything if "P" in d["elements"] and d["energy_above_hull"] < 0.1]
        assert [d["structure_id"] for d in low] == expected
        assert 0 < len(expected) < 24
        assert view.count_entries(parse_filter('elements HAS "P" AND energy_above_hull < 0.1')) == len(expected)
        assert view.count_entries() == len(everything) == 24
        ordered = sorted(everything, key=lambda d: (-d["nsites"], d["energy_above_hull"]))
        found = list(view.entries({}, sort=[("nsites", -1), ("energy_above_hull", 1)], skip=3, limit=5))
        assert found == ordered[3:8]
        assert list(view.entries(limit=2, skip=1)) == everything[1:3]
        assert {frozenset(d) for d in view.entries(projection=["formula"])} == {frozenset({"formula"})}
        names = {frozenset(d) for d in view.entries({"nsites": {"$gt": 3}}, projection=["formula", "relaxed"])}
        assert names == {frozenset({"formula", "relaxed"})}
        assert all("relaxed" not in d and "formula" in d for d in view.entries(projection={"relaxed": 0}))
        assert {d["kind"] for d in view.evaluations()} == {"entry", "reference"}
        assert len(list(view.evaluations("reference"))) == 2

    def test_filters_reach_what_an_auditor_says(self, store, lineage):
        draft = lineage.draft(n_entries=9)
        entries = [row for row in draft.evaluations if row["kind"] == "entry"]
        for number, row in enumerate(entries[:6]):
            row |= {"audit_verdict": ("stable", "unstable", "undecided")[number % 3], "energy_above_hull_audit": 0.05 * number}
        state = store.commit(draft, branch="main", expected=None)
        view = store.state(f"{NODE}@{state}")
        everything = list(view.entries())
        for text, wanted in (
            ('audit_verdict = "stable"', lambda d: d.get("audit_verdict") == "stable"),
            ("audit_verdict IS UNKNOWN", lambda d: d.get("audit_verdict") is None),
            ("energy_above_hull_audit > 0.06", lambda d: (d.get("energy_above_hull_audit") or 0.0) > 0.06),
        ):
            expected = [d["structure_id"] for d in everything if wanted(d)]
            assert expected
            assert [d["structure_id"] for d in view.entries(parse_filter(text))] == expected

    def test_filters_reach_what_members_of_a_second_opinion_say(self, store, lineage):
        draft = lineage.draft(n_entries=12)
        for number, row in enumerate(draft.evaluations):
            values = {"chgnet_1": 0.01 * number, **({"other_7net_0": 0.3 - 0.02 * number} if number % 3 else {})}
            row |= {"energies_above_hull": values, "energy_above_hull_std": 0.005 * number, "is_confidently_sun": None}
            row |= {"scale_sensitive": number % 3 == 0, "energy_above_hull_uncorrected": 0.02 * number if number % 5 else None}
            if number % 2:
                row["is_confidently_sun"] = number % 4 == 1
        member = store.artifacts.put_bytes(b"a member").to_dict()
        draft.checkpoints["committee/other_7net_0"] = {**member, "family": "chgnet", "format": "safetensors"}
        state = store.commit(draft, branch="main", expected=None)
        view = store.state(f"{NODE}@{state}")
        everything = list(view.entries())
        assert set(view.document["checkpoints"]) == {"force_field", "committee/other_7net_0"}
        for text, wanted in (
            ("energy_above_hull_std < 0.021", lambda d: d["energy_above_hull_std"] < 0.021),
            ("energies_above_hull.other_7net_0 <= 0.2", lambda d: d["energies_above_hull"].get("other_7net_0", 1.0) <= 0.2),
            (
                "energies_above_hull.chgnet_1 > 0.03 AND is_sun = TRUE",
                lambda d: d["energies_above_hull"]["chgnet_1"] > 0.03 and d["is_sun"],
            ),
            ("is_confidently_sun = TRUE", lambda d: d["is_confidently_sun"] is True),
            ("is_confidently_sun IS UNKNOWN", lambda d: d["is_confidently_sun"] is None),
            (
                "scale_sensitive = TRUE AND energy_above_hull_uncorrected > 0.1",
                lambda d: d["scale_sensitive"] and (d["energy_above_hull_uncorrected"] or 0.0) > 0.1,
            ),
            ("energy_above_hull_uncorrected IS UNKNOWN", lambda d: d["energy_above_hull_uncorrected"] is None),
            ("energies_above_hull.nobody < 9", lambda _: False),
        ):
            expected = [d["structure_id"] for d in everything if wanted(d)]
            assert [d["structure_id"] for d in view.entries(parse_filter(text))] == expected
            assert bool(expected) is ("nobody" not in text)
        found = list(view.entries(sort=[("energies_above_hull.chgnet_1", -1)], limit=3))
        assert [d["energies_above_hull"]["chgnet_1"] for d in found] == pytest.approx([0.11, 0.10, 0.09])

    def test_filters_find_an_excess_of_electrons(self, store, lineage):
        draft = lineage.draft(n_entries=12)
        for number, row in enumerate(draft.evaluations):
            if number % 4:  # the others are as an earlier version wrote them
                row["electron_excess"] = None if number % 4 == 1 else 0.1 * (number - 6)
        store.commit(draft, branch="main", expected=None)
        view = store.state(NODE)
        everything = {d["structure_id"]: d.get("electron_excess") for d in view.entries()}
        for text, wanted in (
            ("electron_excess > 0", lambda value: value is not None and value > 0),
            ("electron_excess <= 0", lambda value: value is not None and value <= 0),
            ("electron_excess IS UNKNOWN", lambda value: value is None),
        ):
            found = {d["structure_id"] for d in view.entries(parse_filter(text))}
            assert found == {identifier for identifier, value in everything.items() if wanted(value)} != set()
        (most,) = view.entries(sort=[("electron_excess", -1)], limit=1)
        assert most["electron_excess"] == max(value for value in everything.values() if value is not None)

    def test_what_labels_refuted_is_in_the_manifest_and_can_be_asked_for(self, store, lineage):
        draft = lineage.draft(n_entries=12)
        plain = state_id(draft)
        statuses = ("confirmed", "unconfirmed", "refuted", "in_doubt", None)
        for number, row in enumerate(row for row in draft.evaluations if row["kind"] == "entry"):
            status = statuses[number % len(statuses)]
            model = row["energy_per_atom"] - 0.1 if status == "refuted" else None
            row |= {"hull_status": status, "model_energy_per_atom": model}
        state = store.commit(draft, branch="main", expected=None)
        assert state != plain
        view = store.state(f"{NODE}@{state}")
        everything = list(view.entries())
        refuted = {d["structure_id"]: d["energy_per_atom"] for d in everything if d["hull_status"] == "refuted"}
        assert view.manifest["refuted"] == refuted
        assert len(refuted) == 2
        for text, wanted in (
            ('hull_status = "refuted"', lambda d: d["hull_status"] == "refuted"),
            (
                'hull_status = "in_doubt" OR hull_status = "unconfirmed"',
                lambda d: d["hull_status"] in {"in_doubt", "unconfirmed"},
            ),
            ("hull_status IS UNKNOWN", lambda d: d["hull_status"] is None),
            ("model_energy_per_atom < 0", lambda d: (d["model_energy_per_atom"] or 0) < 0),
        ):
            found = [d["structure_id"] for d in view.entries(parse_filter(text))]
            assert found == [d["structure_id"] for d in everything if wanted(d)]
            assert found

    def test_a_manifest_without_refuted_entries_is_that_of_before(self, store, lineage):
        view = store.state(f"{NODE}@{lineage.commit()}")
        assert sorted(view.manifest) == ["labels", "offsets", "references", "samples", "structures"]

    def test_relaxed_geometries_come_with_filtered_entries(self, store, lineage):
        lineage.commit()
        view = store.state(NODE)
        moved = {d["structure_id"] for d in view.evaluations("entry") if d["relaxed"]}
        assert len(moved) == 2
        found = list(view.entries({"relaxed": {"$ne": None}}))
        assert {d["structure_id"] for d in found} == moved
        assert all(Structure.from_dict(d["relaxed"]).is_valid() for d in found)
        with pytest.raises(QueryError, match=r"cannot look into 'relaxed\.lattice'"):
            list(view.entries({"relaxed.lattice": 1}))

    def test_standard_optimade_properties_are_stored(self, store, lineage):
        lineage.commit(n_entries=6)
        view = store.state(NODE)
        for text, formulas in (
            ('chemical_formula_reduced = "Li3PS4"', {"Li3PS4"}),
            ('chemical_formula_anonymous = "A3B"', {"Li3P"}),
            ("nelements = 2", {"Li2S", "Li3P", "P2S5", "LiP"}),
            ("elements LENGTH 3 AND NOT nsites > 6", {"Li2PS3"}),
            ('elements HAS ONLY "P","S"', {"P2S5"}),
            ('NOT elements HAS ONLY "P","S","Li"', set()),
        ):
            assert {d["formula"] for d in view.entries(parse_filter(text))} == formulas, text

    def test_a_state_of_a_newer_version_is_not_guessed_at(self, store, lineage):
        lineage.commit()
        original = store.backend.state_document
        store.backend.state_document = lambda node, state: {**original(node, state), "schema_version": 99}
        with pytest.raises(ConfigError, match="has schema version 99, this coevo reads up to 1; install a newer coevo"):
            store.state(NODE)

    def test_a_filter_that_mongodb_refuses_is_a_query_error(self, store, lineage):
        lineage.commit()
        with pytest.raises(QueryError, match="filter"):
            list(store.state(NODE).entries({"nsites": {"$nonsense": 1}}))
        with pytest.raises(QueryError, match="filter"):
            store.state(NODE).count_entries({"nsites": {"$nonsense": 1}})
