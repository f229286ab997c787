"""What the fit between two generations learns from: hand-made states and candidates, each with one reason to stay out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hand_made_states import Node, config_for, energy, pool
from jobflow import run_locally
from pymatgen.core import Lattice, Structure

from coevo.configs.depth_section import DepthConfig
from coevo.configs.tree import GeneratorConfig
from coevo.makers.breed import BreedMaker
from coevo.makers.checkpoints import load_generator
from coevo.makers.step import current_store, read_records, write_records
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.node_store.canonical import structure_document, structure_id

if TYPE_CHECKING:
    from coevo.node_store.views import StateView


GENERATOR = GeneratorConfig(candidates=40, depth=DepthConfig(share=0.5, draws=10))


def references_of(view: StateView) -> set[str]:
    return {document["structure_id"] for document in view.evaluations("reference")}


def relaxed(structure: Structure, above: float = 0.0) -> dict[str, Any]:
    """A record of the screen step, ``above`` (eV/atom) the energy that the hand-made states give the crystal."""
    return {
        "id": structure_id(structure),
        "structure": structure_document(structure),
        "energy_per_atom": energy(structure) + above,
        "origin": {},
        "path": [],
    }


def test_a_refuted_entry_an_excess_a_duplicate_and_what_is_high_are_no_parents(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    store = current_store()
    node = Node(store, config_for("bred"))
    refuted, entry, high, _, fresh, *_ = pool()
    parent = node.grow(node.seed(), "main", [refuted, entry], {}, refuted={structure_id(refuted): 0.5})
    same = fresh.make_supercell([1, 1, 2], in_place=False)
    excess = Structure(Lattice.cubic(4.6), ["Li", "Li", "Li", "S"], [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 0]])
    rows = [relaxed(fresh), relaxed(same, 0.01), relaxed(excess), relaxed(high, 5.0), relaxed(entry)]
    shard = write_records(store, rows)
    screened = {"relaxed": shard, "failed": shard, "rejected": {}, "steps": 1}
    maker = BreedMaker(node=node.config.node, generator=GENERATOR, curation=node.config.curation)
    job = maker.make(dict(parent.document["checkpoints"]["generator"]), [screened], parent.id, 2, 1)
    output = run_locally(job, log=False, raise_immediately=True)[job.uuid][1].output
    assert output["fitted"]
    bred = load_generator(store, output["checkpoint"], GENERATOR)
    assert isinstance(bred, EmbeddedGenerator)
    best = [t for t in bred.knowledge.tracked.values() if t.best in references_of(parent)]
    assert best
    assert all(t.known and not t.examples for t in best), "references are told as such"
    assert len(bred.knowledge.focus) == 2
    assert output["report"]["bred_from"] == 1
    examples = {r["id"]: r for r in read_records(store, {"sha256": output["checkpoint"]["training_set"], "count": 5})}
    assert set(examples) == references_of(parent) | {structure_id(entry), structure_id(fresh)}
    assert examples[structure_id(fresh)]["energy_above_hull"] == 0.0, "it lies below the parent's hull"
