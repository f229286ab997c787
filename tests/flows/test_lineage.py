"""The algebra of merge and extend, through the real jobs, on states of one force field."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import Node, config_for, label, pool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.io.cif import CifWriter

from coevo.campaigns.merging import Target, extend, merge
from coevo.errors import ConfigError, ReferenceDataError
from coevo.makers.populations.population import matching_of
from coevo.makers.step import current_store
from coevo.makers.unite import united_splits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
_numbers = itertools.count()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeStore]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{tmp_path_factory.mktemp('lineage')}/db")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        yield current_store()


def name(stem: str) -> str:
    return f"{stem}-{next(_numbers)}"


SPLITS = ("train", "validation", "test")
chosen = st.lists(st.integers(0, 7), max_size=4, unique=True)
labelled = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 1), st.sampled_from(SPLITS)), max_size=5)


def labels_of(crystals: list[Structure], wanted: list[tuple[int, int, str]]) -> dict[str, tuple[dict[str, Any], str]]:
    """Labels with splits; a family has one split, as a node's own training gives it."""
    split_of: dict[int, str] = {}
    found = {}
    for crystal, number, split in wanted:
        row = label(crystals[crystal], number)
        found[row["_id"]] = (row, split_of.setdefault(crystal, split))
    return found


def branches(store: NodeStore, *contents: Any, system: str = "LPS") -> list[StateView]:
    """Branches from one seed state, one for each (entries, labels)."""
    node = Node(store, config_for(name(system.lower()), system), system)
    seed, crystals = node.seed(), pool(system)
    return [
        node.grow(seed, f"b{number}", [crystals[i] for i in entries], labels_of(crystals, labels))
        for number, (entries, labels) in enumerate(contents)
    ]


def content(view: StateView) -> dict[str, Any]:
    """What a state holds, without its name and its lineage."""
    return {
        "elements": view.document["elements"],
        "manifest": view.manifest,
        "evaluations": json.dumps(list(view.evaluations()), sort_keys=True),
        "labels": json.dumps(list(view.labels()), sort_keys=True),
        "force_field": view.document["checkpoints"]["force_field"]["sha256"],
    }


def merged(store: NodeStore, left: StateView, right: StateView, **options: Any) -> StateView:
    options = {"train": False, **options}
    return merge(store, left, right, Target(left.node, name("merged")), **options)[0]


@pytest.mark.long
@FEW
@given(chosen, labelled, chosen, labelled)
def test_merging_is_commutative_in_content(store, entries_a, labels_a, entries_b, labels_b):
    a, b = branches(store, (entries_a, labels_a), (entries_b, labels_b))
    one, other = merged(store, a, b), merged(store, b, a, start="right")
    assert content(one) == content(other)
    assert (one.parents, other.parents) == ((a.id, b.id), (b.id, a.id)) or a.id == b.id


@FEW
@given(chosen, labelled, chosen, labelled)
def test_a_merge_is_the_union_and_test_stays_test(store, entries_a, labels_a, entries_b, labels_b):
    a, b = branches(store, (entries_a, labels_a), (entries_b, labels_b))
    view = merged(store, a, b)
    for kind in ("structures", "references", "labels"):
        assert set(view.manifest[kind]) == set(a.manifest[kind]) | set(b.manifest[kind])
    splits = view.manifest["labels"]
    for parent in (a, b):
        assert all(splits[i] == "test" for i, split in parent.manifest["labels"].items() if split == "test")
    by_family: dict[str, set[str]] = {}
    for row in view.labels():
        by_family.setdefault(row["family"], set()).add(row["split"])
    assert all(len(found) == 1 for found in by_family.values())


@pytest.mark.long
@FEW
@given(chosen, chosen, chosen)
def test_merging_is_associative_in_entries(store, entries_a, entries_b, entries_c):
    a, b, c = branches(store, (entries_a, []), (entries_b, []), (entries_c, []))
    one = merged(store, merged(store, a, b), c)
    other = merged(store, a, merged(store, b, c))
    assert content(one) == content(other)


@pytest.mark.long
@FEW
@given(chosen, chosen)
def test_merging_with_an_ancestor_is_a_fast_forward(store, entries, more):
    node = Node(store, config_for(name("chain")))
    crystals = pool()
    seed = node.seed()
    first = node.grow(seed, "main", [crystals[i] for i in entries], {})
    second = node.grow(first, "main", [crystals[i] for i in more], {})
    for left, right in ((seed, second), (second, first), (second, second)):
        target = Target(seed.node, name("ff"))
        view, outcome = merge(store, left, right, target, train=False)
        assert (view.id, outcome) == (second.id, "fast-forward")
        assert store.head(target.node, target.branch) == second.id
        assert merge(store, left, right, target)[1] == "nothing to do"
    # into the branch of the older one: it moves forward
    store.create_branch(first, "behind")
    view, outcome = merge(store, store.state(f"{seed.node}@behind"), second, Target(seed.node, "behind"))
    assert (view.id, outcome) == (second.id, "fast-forward")


@pytest.mark.long
@FEW
@given(chosen, chosen)
def test_extend_then_merge_is_merge_then_extend_in_entries(store, entries_a, entries_b):
    a, b = branches(store, (entries_a, []), (entries_b, []))
    directory = store.backend.directory
    references = directory / "chlorine.cif"
    if not references.exists():
        licl = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.13), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        cl2 = Structure.from_spacegroup("Cmce", Lattice.orthorhombic(6.24, 4.48, 8.26), ["Cl"], [[0, 0.13, 0.1]])
        references.write_text("\n".join(str(CifWriter(s)) for s in (licl, cl2)))

    def extended(view: StateView) -> StateView:
        return extend(store, view, ["Cl"], name("with-cl"), str(references))[0]

    first = extended(merged(store, a, b))
    one, two = extended(a), extended(b)
    second, _ = merge(store, one, two, Target(one.node, "both"), train=False)
    assert first.document["elements"] == second.document["elements"] == ["Cl", "Li", "P", "S"]
    assert set(first.manifest["structures"]) == set(second.manifest["structures"])
    assert set(first.manifest["references"]) == set(second.manifest["references"])
    hulls = [{e["structure_id"]: e["energy_above_hull"] for e in view.entries()} for view in (first, second)]
    assert hulls[0] == pytest.approx(hulls[1], abs=1e-9)


def test_overlapping_systems_make_a_node_of_their_union(store):
    """Li–P–S with Li–P–O; E_hull of everything equals pymatgen's on the union."""
    (a,) = branches(store, ([0, 1, 2, 4], [(0, 0, "train")]), system="LPS")
    (b,) = branches(store, ([0, 1, 4, 5], [(1, 0, "test")]), system="LPO")
    target = Target(name("li-o-p-s"), "main")
    view, outcome = merge(store, a, b, target, train=False)
    assert outcome == "merged"
    assert store.node(target.node).elements == ("Li", "O", "P", "S")
    assert set(view.manifest["structures"]) == set(a.manifest["structures"]) | set(b.manifest["structures"])
    assert [s.id for s in view.parent_views()] == [a.id, b.id]
    assert {s.node for s in view.ancestors()} == {target.node}
    assert sorted(view.manifest["labels"].values()) == ["test", "train"]
    rows = list(view.evaluations())
    points = {r["structure_id"]: Composition(r["formula"]) for r in rows}
    entries = {r["structure_id"]: PDEntry(c := points[r["structure_id"]], r["energy_per_atom"] * c.num_atoms) for r in rows}
    diagram = PhaseDiagram(list(entries.values()))
    for row in rows:
        entry = entries[row["structure_id"]]
        assert row["energy_above_hull"] == pytest.approx(diagram.get_e_above_hull(entry, allow_negative=True), abs=1e-6)
    # the same crystal was admitted by both: both stay, one represents the other, and both origins can be read
    shared = set(a.manifest["structures"]) & set(b.manifest["structures"])
    assert shared
    assert view.document["metrics"]["union"]["in_both"] == len(shared) + 2  # and elemental Li and P


def test_duplicates_across_parents_are_found_as_curation_finds_them(store):
    crystals = pool()
    a, b = branches(store, ([0, 1], []), ([7, 2], []))  # 7 is 0 in a supercell
    view = merged(store, a, b)
    matcher = StructureMatcher()
    entries = {e["structure_id"]: view.structure(e["structure_id"]) for e in view.entries()}
    duplicates = {e["structure_id"]: e["duplicate_of"] for e in view.entries({"duplicate_of": {"$ne": None}})}
    assert len(entries) == 4
    assert len(duplicates) == 1
    for one, other in itertools.combinations(entries, 2):
        same = matcher.fit(entries[one], entries[other])
        assert same == (duplicates.get(one) == other or duplicates.get(other) == one)
    origins = {row["_id"]: row["origin"] for row in view.structure_documents()}
    assert {origin["branch"] for pair in duplicates.items() for i, origin in origins.items() if i in pair} == {"b0", "b1"}
    assert matcher.fit(crystals[0], crystals[7])


def test_origins_of_what_both_found_are_kept(store):
    a, b = branches(store, ([0], []), ([0, 1], []))
    union = merged(store, a, b).document["metrics"]["union"]
    (found,) = union["origins"].values()
    assert sorted(origin["branch"] for origin in found) == ["b0", "b1"]


def test_merges_that_make_no_sense_are_refused_and_leave_nothing(store):
    (a,) = branches(store, ([0], []))
    (b,) = branches(store, ([1], []), system="LPO")
    before = store.nodes()
    with pytest.raises(ConfigError, match="the new state has Li, O, P, S; choose the name of a new node"):
        merge(store, a, b, Target(a.node, "main"), train=False)
    other = Node(store, config_for(name("other")))
    elsewhere = other.grow(other.seed(), "main", [pool()[3]], {})
    (c,) = branches(store, ([2], []))
    with pytest.raises(ConfigError, match="which is neither of the two states nor before one of them"):
        merge(store, a, c, Target(elsewhere.node, "main"), train=False)
    assert store.head(elsewhere.node) == elsewhere.id
    with pytest.raises(ConfigError, match=r"--elements: got S, allowed: elements that .* does not have \(Li, P, S are there\)"):
        extend(store, a, ["S"], name("no"), "li-p-s")
    with pytest.raises(ReferenceDataError, match="no structure of Br alone"):
        extend(store, a, ["Br"], name("no"), "li-p-s")
    assert set(store.nodes()) == {*before, c.node, elsewhere.node}


# --- splits, as algebra of their own

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from(SPLITS)), max_size=8)


def with_splits(wanted: list[tuple[int, int, str]]) -> list[dict[str, Any]]:
    return [{**row, "split": split} for row, split in labels_of(pool(), wanted).values()]


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(rows, rows, rows)
def test_splits_do_not_depend_on_the_order_of_merges(a, b, c):
    matching = matching_of(config_for("splits").curation)
    parents = [with_splits(wanted) for wanted in (a, b, c)]
    found = united_splits(parents, matching)
    assert found == united_splits(parents[::-1], matching)
    labels = {row["_id"]: row for parent in parents for row in parent}
    two = united_splits(parents[:2], matching)
    pair = [{**labels[i], "split": split} for i, split in two.items()]
    assert united_splits([pair, parents[2]], matching) == found
    for parent in parents:
        assert all(found[row["_id"]] == "test" for row in parent if row["split"] == "test")


def test_the_same_crystal_in_two_cells_is_never_on_both_sides_of_the_split():
    """Crystal 7 is crystal 0 in another cell: test in one parent, so it is not trained on under its other id."""
    matching = matching_of(config_for("splits").curation)
    one, other = with_splits([(0, 0, "test"), (0, 1, "test")]), with_splits([(7, 0, "train"), (7, 1, "train"), (2, 0, "train")])
    found = united_splits([one, other], matching)
    assert [found[row["_id"]] for row in (*one, *other)] == ["test", "test", "test", "test", "train"]
