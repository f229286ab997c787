"""A node that starts from a state of another one: documents as they are, everything else on the scale of its own force field."""

from __future__ import annotations

import itertools
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hand_made_states import ELEMENTAL, Node, config_for, label, pool, simple
from plain_family import SCALES, PlainForceField, install_plain
from pymatgen.analysis.compatibility import MaterialsProject2020Compatibility
from pymatgen.analysis.compatibility.computed_entries import ComputedStructureEntry

from coevo.campaigns.merging import Target, merge
from coevo.campaigns.starting import start_from
from coevo.configs.loading import config_from_dict
from coevo.configs.overrides import read_overrides
from coevo.errors import CheckpointError, ConfigError, NodeExistsError, ReferenceDataError
from coevo.flows.transition import CoevolutionMaker
from coevo.makers.step import current_store
from coevo.node_store.bundles.export import export_bundle
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.canonical import structure_from_document
from coevo.node_store.identity import label_id
from coevo.node_store.store import open_store
from coevo.node_store.trust.arrivals import agree, unagreed
from coevo.node_store.upkeep.verification import verify
from coevo.notebooks.states import State
from coevo.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

OFFSETS = {"Li": 0.31, "P": -0.72, "S": 1.13}
"""What the labels lack towards the force field, eV/atom."""
KINDS = {"plain": ("PBE", False), "corrected": ("PBE+U", True), "meta": ("r2SCAN", False)}
"""Labels by functional and whether they hold the MP2020 correction; each kind has settings of its own."""
COMPOUNDS = (0, 1, 5)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeStore]:
    directory = tmp_path_factory.mktemp("starting")
    with pytest.MonkeyPatch.context() as patch:
        for path in install_plain(directory / "installed").split(":"):
            patch.syspath_prepend(path)
        patch.setenv("COEVO_DATABASE", f"file:{directory}/db")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        yield current_store()


def mp2020(structure: Any) -> float:
    """pymatgen's own correction, eV/atom."""
    entry = ComputedStructureEntry(structure, 0.0, parameters={"run_type": "GGA", "hubbards": {}})
    found = MaterialsProject2020Compatibility(check_potcar=False).get_adjustments(entry)
    return sum(adjustment.value for adjustment in found) / len(structure)


def labels_by_kind() -> dict[str, tuple[dict[str, Any], str]]:
    """Labels of three settings that become the energies of the plain force field by offsets and the right correction alone."""
    force_field = PlainForceField.published("raw")
    crystals = [*(simple(element, ELEMENTAL[element]) for element in OFFSETS), *(pool()[i] for i in COMPOUNDS)]
    found = {}
    for kind, (functional, corrected) in KINDS.items():
        for place, crystal in enumerate(crystals):
            row = label(crystal)
            structure = structure_from_document(row["structure"])
            energy = force_field.evaluate([structure], workers=1)[0].energy
            energy -= sum(OFFSETS[e.symbol] * share for e, share in structure.composition.fractional_composition.items())
            row |= {
                "how": "reference" if place < len(OFFSETS) else "random",
                "functional": functional,
                "anion_corrected": corrected,
                "settings_digest": {"plain": "a", "corrected": "b", "meta": "c"}[kind] * 64,
                "energy_per_atom": energy + (mp2020(structure) if corrected else 0.0),
                "code": "vasp",
            }
            row["_id"] = label_id(row)
            found[row["_id"]] = (row, "train" if place < len(OFFSETS) else "test")
    return found


def source(store: NodeStore) -> StateView:
    node = Node(store, config_for(f"source-{next(_numbers)}"))
    return node.grow(node.seed(), "main", [pool()[i] for i in COMPOUNDS], labels_by_kind())


def started(store: NodeStore, view: StateView, *values: str, name: str | None = None) -> StateView:
    name = name or f"new-{next(_numbers)}"
    texts = ["screening.force_field.family=plain", *values]
    assert start_from(store, f"{view.node}@{view.id}", name, read_overrides(texts), lambda _: None)
    return store.state(name)


@pytest.fixture(scope="module")
def old(store: NodeStore) -> StateView:
    return source(store)


@pytest.fixture(scope="module")
def new(store: NodeStore, old: StateView) -> StateView:
    return started(store, old, name="plain")


class TestDocuments:
    def test_structures_references_and_labels_are_the_same_documents(self, old: StateView, new: StateView) -> None:
        for kind in ("structures", "references", "labels"):
            ids = sorted(old.manifest[kind])
            assert sorted(new.manifest[kind]) == ids
            assert len(ids) > 0
            assert list(new.documents(kind, ids)) == list(old.documents(kind, ids))
        assert new.manifest["labels"] == old.manifest["labels"], "what was test stays test"
        assert new.document["counts"]["structures_added"] == len(COMPOUNDS)

    def test_the_first_state_names_where_it_came_from_and_has_no_parents(
        self, store: NodeStore, old: StateView, new: StateView
    ) -> None:
        assert State(store, new).started_from == new.started_from == {"node": old.node, "state": old.id}
        assert new.document["message"] == f"started from {old.node}@{old.id[:8]}"
        assert (new.parents, new.iteration, new.manifest["samples"]) == ((), 0, {})
        assert {row["iteration_added"] for row in new.evaluations()} == {0}
        assert old.started_from is None
        assert "started_from" not in old.document

    def test_models(self, old: StateView, new: StateView) -> None:
        force_field, generator = (new.document["checkpoints"][role] for role in ("force_field", "generator"))
        assert (force_field["family"], force_field["parent"]) == ("plain", None)
        assert generator["sha256"] == old.document["checkpoints"]["generator"]["sha256"], "the same family goes on"
        assert new.document["config"]["node"]["energy_scale"] == "pbe", "it follows from the weights"
        assert new.document["config"]["screening"]["force_field"] == {"family": "plain", "weights": "raw"}

    def test_everything_is_evaluated_by_the_new_force_field(self, old: StateView, new: StateView) -> None:
        force_field = PlainForceField.published("raw")
        rows, before = list(new.evaluations()), {row["structure_id"]: row for row in old.evaluations()}
        for row in rows:
            (prediction,) = force_field.evaluate([new.structure(row["structure_id"])], workers=1)
            assert row["energy_per_atom"] == pytest.approx(prediction.energy, abs=1e-9)
            assert row["energy_per_atom"] != pytest.approx(before[row["structure_id"]]["energy_per_atom"], abs=1e-3)
        assert min(row["energy_above_hull"] for row in rows) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("weights", SCALES)
def test_the_correction_is_where_it_must_be_and_nowhere_else(store: NodeStore, old: StateView, weights: str) -> None:
    """Fitted on elements, which have no correction, the offsets are exact; what is left on sulphides is a wrong correction."""
    scale = SCALES[weights]
    view = started(store, old, f"screening.force_field.weights={weights}")
    assert view.document["config"]["node"]["energy_scale"] == scale
    for found in view.manifest["offsets"].values():
        assert dict(zip(found["elements"], found["values"], strict=True)) == pytest.approx(OFFSETS, abs=1e-9)
    wrong = {
        "pbe": dict.fromkeys(KINDS, 0.0),
        "omat24": dict.fromkeys(KINDS, 0.0),
        # plain PBE gets the correction, and the other PBE holds it: on this scale both differ from the force field by it
        "mp2020": {"plain": 1.0, "corrected": 1.0, "meta": 0.0},
        "r2scan": {"plain": 0.0, "corrected": 1.0, "meta": 0.0},
    }[scale]
    corrections = [mp2020(pool()[i]) for i in COMPOUNDS]
    assert min(corrections) < -0.1
    squares = [(share * value) ** 2 for share in wrong.values() for value in corrections]
    errors = view.document["metrics"]["force_field"]["test_before"]["all"]
    assert errors["n"] == len(squares)
    expected = 1000 * (sum(squares) / len(squares)) ** 0.5
    assert errors["energy_rmse_mev_per_atom"] == pytest.approx(expected, abs=1e-6)
    assert view.document["metrics"]["force_field"]["reason"] == "not trained yet, the labels that came along measure it"


def test_the_same_force_field_goes_on_with_its_offsets(store: NodeStore, new: StateView) -> None:
    name = f"new-{next(_numbers)}"
    assert start_from(store, f"{new.node}@{new.id}", name, read_overrides(["node.descriptor.neighbours=16"]), lambda _: None)
    view = store.state(name)
    assert view.document["checkpoints"]["force_field"]["sha256"] == new.document["checkpoints"]["force_field"]["sha256"]
    assert view.manifest["offsets"] == new.manifest["offsets"]
    assert "prequential" in new.document["metrics"]["force_field"]
    assert "prequential" not in view.document["metrics"]["force_field"], "it may have been trained on these labels"
    energies = [{row["structure_id"]: row["energy_per_atom"] for row in state.evaluations()} for state in (view, new)]
    assert energies[0] == energies[1]


def test_the_held_out_set_is_of_what_the_force_field_was_never_trained_on(store: NodeStore, new: StateView) -> None:
    """A published force field was trained on none of the test labels; one that goes on chooses among those held out before."""
    first = new.document["metrics"]["held_out"]
    rows = {row["_id"]: row for row in new.labels()}
    assert first["frames"] == len(first["ids"]) == len(COMPOUNDS)
    assert {rows[name]["split"] for name in first["ids"]} == {"test"}
    assert len({rows[name]["settings_digest"] for name in first["ids"]}) == 1
    assert first["errors"]["n"] == first["frames"]
    name = f"new-{next(_numbers)}"
    assert start_from(store, f"{new.node}@{new.id}", name, read_overrides(["node.descriptor.neighbours=16"]), lambda _: None)
    again = store.state(name).document["metrics"]["held_out"]
    assert (again["ids"], again["digest"], again["errors"]) == (first["ids"], first["digest"], first["errors"])


def test_a_state_without_labels(store: NodeStore) -> None:
    node = Node(store, config_for(f"source-{next(_numbers)}"))
    view = started(store, node.grow(node.seed(), "main", [pool()[0]], {}))
    assert (view.manifest["labels"], view.manifest["offsets"]) == ({}, {})
    assert "force_field" not in view.document["metrics"]
    assert "held_out" not in view.document["metrics"]


class TestAgain:
    def test_the_same_command_does_nothing(self, store: NodeStore, old: StateView, new: StateView) -> None:
        values = read_overrides(["screening.force_field.family=plain"])
        assert start_from(store, f"{old.node}@{old.id[:10]}", "plain", values, lambda _: None) is None
        assert store.head("plain") == new.id

    def test_another_state_or_configuration_is_refused(self, store: NodeStore, old: StateView, new: StateView) -> None:
        values = read_overrides(["screening.force_field.family=plain"])
        with pytest.raises(NodeExistsError, match=f"started from {old.node}@{old.id[:12]} and not from {old.node}@"):
            start_from(store, f"{old.node}@{old.id}~1", "plain", values, lambda _: None)
        with pytest.raises(NodeExistsError, match="with another configuration"):
            start_from(
                store, old.node, "plain", read_overrides(["screening.force_field.family=plain", "screening.fmax=0.9"]), print
            )
        assert store.head("plain") == new.id

    def test_another_copy_of_the_database_gives_the_same_state(
        self, store: NodeStore, old: StateView, new: StateView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = store.place.removeprefix("file:")
        shutil.copytree(place, tmp_path / "db", ignore=lambda folder, names: {"jobs", "plain"} if folder == place else set())
        monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}/db")
        other = current_store()
        assert "plain" not in other.nodes()
        assert started(other, other.state(f"{old.node}@{old.id}"), name="plain").id == new.id


class TestTravel:
    def test_it_verifies_and_goes_to_another_database(self, store: NodeStore, new: StateView, tmp_path: Path) -> None:
        assert not [finding for finding in verify(store, "plain").findings if finding.severity == "problem"]
        export_bundle(store, {"main": new}, tmp_path / "plain.coevo")
        other = open_store(read_settings(database=f"file:{tmp_path}/other"))
        import_bundle(other, tmp_path / "plain.coevo")
        assert other.state("plain").document["started_from"] == new.started_from
        assert not [finding for finding in verify(other, "plain").findings if finding.severity == "problem"]

    def test_from_a_state_of_a_bundle(
        self, store: NodeStore, old: StateView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its configuration names a file: it has to be agreed to. Its force field need not be here, its generator must."""
        values = read_overrides(["screening.force_field.family=plain"])
        for checkpoints in (False, True):
            export_bundle(store, {"main": old}, tmp_path / f"{checkpoints}.coevo", checkpoints=checkpoints)
        monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}/other")
        other = current_store()
        import_bundle(other, tmp_path / "False.coevo")
        with pytest.raises(ConfigError, match=rf"names things of this machine.*coevo trust {old.node} --configuration"):
            start_from(other, old.node, "plain", values, lambda _: None)
        agree(other, old.node, unagreed(other, old.node))
        with pytest.raises(CheckpointError, match=old.document["checkpoints"]["generator"]["sha256"]):
            start_from(other, old.node, "plain", values, lambda _: None)
        assert other.nodes() == [old.node]
        import_bundle(other, tmp_path / "True.coevo")
        found = next(other.artifacts.directory.rglob(f"{old.document['checkpoints']['force_field']['sha256'][2:]}*"))
        found.unlink()
        assert start_from(other, old.node, "plain", values, lambda _: None)

    @pytest.mark.service
    def test_on_a_server_it_is_the_same_state(
        self, old: StateView, new: StateView, store: NodeStore, mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export_bundle(store, {"main": old}, tmp_path / "old.coevo")
        monkeypatch.setenv("COEVO_DATABASE", mongodb_uri)
        monkeypatch.setenv("COEVO_ARTIFACTS", f"file://{tmp_path}/artifacts")
        other = current_store()
        import_bundle(other, tmp_path / "old.coevo")
        agree(other, old.node, unagreed(other, old.node))
        view = started(other, other.state(old.node), name="plain")
        assert (view.id, view.started_from) == (new.id, new.started_from)
        for kind in ("structures", "references", "labels"):
            ids = sorted(new.manifest[kind])
            assert list(view.documents(kind, ids)) == list(new.documents(kind, ids))
        assert not [finding for finding in verify(other, "plain").findings if finding.severity == "problem"]

    def test_into_a_node_on_another_scale(self, store: NodeStore, old: StateView, new: StateView, tmp_path: Path) -> None:
        export_bundle(store, {"main": new}, tmp_path / "plain.coevo")
        branches = store.node(old.node).branches
        with pytest.raises(NodeExistsError, match=r"force field chgnet on the energy scale mp2020.*has plain on pbe.*--as NODE"):
            import_bundle(store, tmp_path / "plain.coevo", node=old.node)
        assert store.node(old.node).branches == branches
        import_bundle(store, tmp_path / "plain.coevo", node="plain")

    def test_a_bundle_cannot_say_more_of_it(self, new: StateView) -> None:
        from coevo.node_store.bundles.documents import read_state
        from coevo.node_store.canonical import dump_plain

        for origin in ({**new.started_from, "at": 1}, {"node": "plain", "state": "0"}, {"node": "\u001b[31m", "state": new.id}):
            with pytest.raises(ValueError, match="started_from"):
                read_state(dump_plain({**new.document, "started_from": origin}))

    def test_where_it_came_from_is_part_of_its_id(self, store: NodeStore, new: StateView) -> None:
        from coevo.node_store.identity import identity_digest

        document = new.document
        assert identity_digest({**document, "started_from": {**new.started_from, "node": "renamed"}}) == new.id
        assert identity_digest({**document, "started_from": {**new.started_from, "state": "0" * 64}}) != new.id
        assert identity_digest({key: value for key, value in document.items() if key != "started_from"}) != new.id


class TestScalesNeverMeet:
    def test_merging_with_the_state_that_it_came_from(self, store: NodeStore, old: StateView, new: StateView) -> None:
        before = store.nodes()
        for target in (Target("both", "main"), Target(new.node, "other")):
            with pytest.raises(ConfigError, match=r"energies of two scales never meet.*coevo init NEW --from-state"):
                merge(store, new, old, target, train=False)
        assert store.nodes() == before
        assert set(store.node(new.node).branches) == {"main"}

    def test_a_branch_of_a_node_on_another_scale(self, store: NodeStore, old: StateView, new: StateView) -> None:
        """States of one line, fast-forwarded into a node that is on another scale."""
        (parent,) = old.parent_views()
        with pytest.raises(ConfigError, match=f"node {new.node} is on the energy scale pbe, {old.node}@.* on mp2020"):
            merge(store, old, parent, Target(new.node, "brought"), train=False)

    def test_states_of_one_scale_merge(self, store: NodeStore, old: StateView, new: StateView) -> None:
        other = started(store, old, "screening.force_field.weights=raw", "node.seed=3")
        both, outcome = merge(store, new, other, Target(f"both-{next(_numbers)}", "main"), train=False)
        assert outcome == "merged"
        assert both.manifest["labels"] == new.manifest["labels"]
        assert set(both.parents) == {new.id, other.id}

    def test_a_merge_into_a_node_whose_text_was_changed(self, store: NodeStore) -> None:
        node = Node(store, config_for(f"source-{next(_numbers)}"))
        seed = node.seed()
        left, right = (node.grow(seed, branch, [pool()[place]], {}) for place, branch in enumerate(("one", "other")))
        text = store.read_config_text(node.config.node.name)
        store.write_config_text(left.node, text.replace("weights: 0.3.0", "weights: 0.2.0", 1))
        with pytest.raises(ConfigError, match=rf"weights: 0\.3\.0 -> 0\.2\.0.*--from-state {left.node}@one --set"):
            merge(store, left, right, Target(left.node, "one"), train=False)
        store.write_config_text(left.node, text.replace("family: chgnet", "family: plain", 1))
        with pytest.raises(ConfigError, match=r"family: chgnet -> plain.*--from-state"):
            merge(store, left, right, Target(left.node, "one"), train=False)
        assert store.head(left.node, "one") == left.id

    def test_a_flow_of_another_family_is_refused(self, old: StateView) -> None:
        """Wired in Python by hand, with a configuration that is not the state's."""
        values = {**old.document["config"]["screening"], "force_field": {"family": "plain", "weights": "corrected"}}
        config = config_from_dict({**old.document["config"], "screening": values}, "a test")
        force_field, generator = (old.document["checkpoints"][role] for role in ("force_field", "generator"))
        with pytest.raises(ConfigError, match=r"got plain, allowed: chgnet.*--from-state"):
            CoevolutionMaker(config=config).make(old.id, 2, force_field, generator)

    def test_a_commit_on_another_scale_is_refused(self, store: NodeStore, old: StateView) -> None:
        from coevo.makers.commit import refuse_other_scale

        node = {**old.document["config"]["node"], "energy_scale": "r2scan"}
        screening = {**old.document["config"]["screening"], "force_field": {"weights": "r2scan"}}
        config = config_from_dict({**old.document["config"], "node": node, "screening": screening}, "a test")
        with pytest.raises(ConfigError, match=r"that of its parent .* mp2020; nothing was committed"):
            refuse_other_scale(config, [old])


class TestRefused:
    """One error, and nothing is there afterwards."""

    @pytest.fixture(autouse=True)
    def _nothing_is_made(self, store: NodeStore, old: StateView) -> Iterator[None]:
        before = store.nodes()
        yield
        assert store.nodes() == before

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            (["node.elements=[Li, S]"], r"node\.elements: got Li, S, without P of source"),
            (["references.exclude=[Li2S]"], r"references\.exclude: got Li2S, allowed: what source.* withholds \(nothing\)"),
            (["screening.force_field.family=plane"], "--set: screening.force_field.family: got 'plane', allowed: "),
            (
                ["node.energy_scale=mp2020"],
                "got raw, whose energies are pbe and not on node.energy_scale mp2020, allowed: corrected",
            ),
            (["screening.force_field.weights=best"], "--set: screening.force_field.weights: got 'best', allowed: raw"),
            (["node.elements=[Li, P, S, Br]"], "got plain, which does not know Br"),
        ],
    )
    def test_values(self, store: NodeStore, old: StateView, values: list[str], told: str) -> None:
        texts = ["screening.force_field.family=plain", *values]
        with pytest.raises(ConfigError, match=told):
            start_from(store, f"{old.node}@{old.id}", "refused", read_overrides(texts), lambda _: None)

    def test_elements_without_references(self, store: NodeStore, old: StateView) -> None:
        texts = ["screening.force_field.family=plain", "node.elements=[Li, P, S, O]"]
        with pytest.raises(ReferenceDataError, match="no structure of O alone"):
            start_from(store, old.node, "refused", read_overrides(texts), lambda _: None)

    def test_names(self, store: NodeStore, old: StateView, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="is the node of that state; choose the name of a new node"):
            start_from(store, old.node, old.node, [], lambda _: None)
        with pytest.raises(ConfigError, match=r"NEW: node\.name: got New Node"):
            start_from(store, old.node, "New Node", [], lambda _: None)
        with pytest.raises(ConfigError, match=r"--set: node\.name: other, allowed: refused"):
            start_from(store, old.node, "refused", read_overrides(["node.name=other"]), lambda _: None)
        (tmp_path / "bundle").touch()
        with pytest.raises(ConfigError, match="one of another database comes here in a bundle"):
            start_from(store, str(tmp_path / "bundle"), "refused", [], lambda _: None)


def test_further_elements_come_with_their_references(store: NodeStore, old: StateView, tmp_path: Path) -> None:
    file = tmp_path / "oxygen.json"
    rows = [{"name": "O", "structure": simple("O", 2.2).as_dict()}]
    file.write_text(json.dumps(rows))
    view = started(store, old, "node.elements=Li-O-P-S", f"node.references={file}")
    assert view.document["elements"] == ["Li", "O", "P", "S"]
    assert len(view.manifest["references"]) == len(old.manifest["references"]) + 1
    assert set(old.manifest["references"]) < set(view.manifest["references"])
