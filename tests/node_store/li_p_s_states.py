"""Drafts of states of a small Li–P–S node, for the tests of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Lattice, Structure

from coevo.node_store.canonical import digest, structure_document, structure_id
from coevo.node_store.identity import label_id
from coevo.node_store.shards import write_shard
from coevo.node_store.states import StateDraft

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore

NODE = "li-p-s-test"
CONFIG = {
    "node": {"name": NODE, "description": "a test", "elements": ["Li", "P", "S"]},
    "curation": {"max_e_hull": 0.2, "stable_threshold": 0.1},
}
CONFIG_TEXT = f"node:\n  name: {NODE}\n"
FORMULAS = ("Li2S", "Li3P", "Li3PS4", "Li2PS3", "P2S5", "LiP")


def make_structure(formula: str, seed: int) -> Structure:
    """A cell of the right composition; the store does not ask whether it is sensible."""
    rng = np.random.default_rng([seed, len(formula)])
    species = [s for s, n in _amounts(formula).items() for _ in range(n)]
    lattice = Lattice.from_parameters(*rng.uniform(4, 9, 3), *rng.uniform(70, 110, 3))
    return Structure(lattice, species, rng.random((len(species), 3)))


def _amounts(formula: str) -> dict[str, int]:
    from pymatgen.core import Composition

    return {element.symbol: int(amount) for element, amount in Composition(formula).items()}


def described(structure: Structure) -> dict[str, Any]:
    composition = structure.composition
    return {
        "formula": composition.reduced_formula,
        "chemsys": composition.chemical_system,
        "elements": sorted(element.symbol for element in composition.elements),
        "nsites": len(structure),
        "space_group": 1,
    }


def structure_row(structure: Structure, **more: Any) -> dict[str, Any]:
    return {"_id": structure_id(structure), "structure": structure_document(structure), **described(structure), **more}


def evaluation(structure: Structure, kind: str, seed: int, *, moved: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 7])
    e_hull = float(rng.uniform(0, 0.2))
    relaxed = structure.copy()
    relaxed.scale_lattice(structure.volume * 0.97)
    return {
        "structure_id": structure_id(structure),
        "kind": kind,
        **described(structure),
        "energy_per_atom": np.float64(rng.uniform(-5, -3)),
        "formation_energy_per_atom": float(rng.uniform(-1, 0)),
        "energy_above_hull": e_hull,
        "energy_above_reference_hull": e_hull - 0.01,
        "fmax": float(np.float32(rng.uniform(0, 0.1))),
        "is_stable": np.bool_(e_hull <= 0.1),
        "is_novel": bool(seed % 2),
        "is_sun": bool(seed % 2 and e_hull <= 0.1),
        "duplicate_of": None,
        "matched_reference": None,
        "iteration_added": 0,
        "relaxed": structure_document(relaxed) if moved else None,
    }


OFFSETS = {"elements": ["Li", "P", "S"], "values": [0.1, -0.2, 0.0], "rank": 3, "residual_rms": 0.01, "n": 6}


def label(seed: int) -> dict[str, Any]:
    """An admitted label of one atom, as complete as jobs write it."""
    frame = Structure(Lattice.cubic(3.0 + seed % 1000 / 1000), ["Li"], [[0.0, 0.0, 0.0]])
    content = {
        "frame": structure_id(frame),
        "structure": structure_document(frame),
        "family": digest(seed),
        "energy_per_atom": -4.0 - seed / 7,
        "forces": [[0.1 * seed, 0.0, -0.0]],
        "stress": [[0.01, 0.0, 0.0], [0.0, 0.01, 0.0], [0.0, 0.0, 0.01]],
        "code": "teacher",
        "functional": "r2SCAN",
        "anion_corrected": False,
        "settings_digest": "abc",
        "kind": "relaxed",
        "how": "random",
        "status": "admitted",
        "reason": "",
        "detail": "",
    }
    return {"_id": label_id(content), **content}


def sample_row(structure: Structure, seed: int) -> dict[str, Any]:
    """A candidate of an iteration's sample, as curation keeps it."""
    return {
        "id": structure_id(structure),
        "structure": structure_document(structure),
        "energy_per_atom": -4.0 - seed / 7,
        "fmax": 0.05,
        "is_unique": True,
        "is_novel": bool(seed % 2),
    }


def judge(draft: StateDraft, status: str, *, labelled: bool) -> str:
    """Say of the first entry of a draft that its label confirms or refutes it, and give it one; return its id."""
    entry = next(row for row in draft.evaluations if row["kind"] == "entry")
    model = entry["energy_per_atom"] - 0.2 if status == "refuted" else None
    entry |= {"hull_status": status, "model_energy_per_atom": model}
    if labelled:
        (row, *_) = draft.labels
        split = draft.splits.pop(row["_id"])
        row["family"] = entry["structure_id"]
        row["_id"] = label_id(row)
        draft.splits[row["_id"]] = split
    return str(entry["structure_id"])


@dataclass
class Lineage:
    """Drafts that continue each other, with what the newest state consists of."""

    store: NodeStore
    entries: list[Structure] = field(default_factory=list)
    references: list[Structure] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    iteration: int = 0
    variant: int = 0

    def draft(self, n_entries: int = 4, n_references: int = 2, n_labels: int = 3, **changes: Any) -> StateDraft:
        """The next state: everything of the parent, and so many new documents."""
        base = 1000 * self.iteration + 100_000 * self.variant
        new = [make_structure(FORMULAS[i % len(FORMULAS)], base + i) for i in range(n_entries)]
        references = [make_structure(FORMULAS[i % 2], base + 500 + i) for i in range(n_references if self.iteration == 0 else 0)]
        labels = [label(base + i) for i in range(n_labels)]
        self.entries, self.references = self.entries + new, self.references + references
        self.splits = {
            **self.splits,
            **{document["_id"]: ("train", "validation", "test")[i % 3] for i, document in enumerate(labels)},
        }
        weights = self.store.artifacts.put_bytes(f"weights {base}".encode())
        sample = write_shard(self.store.artifacts, [sample_row(s, base + i) for i, s in enumerate(new)])
        self.samples = {**self.samples, str(self.iteration): sample.sha256}
        evaluations = [evaluation(s, "entry", base + i, moved=i % 2 == 0) for i, s in enumerate(self.entries)]
        evaluations += [evaluation(s, "reference", base + 500 + i) for i, s in enumerate(self.references)]
        fields: dict[str, Any] = {
            "node": NODE,
            "parents": self.parents,
            "iteration": self.iteration,
            "message": f"iteration {self.iteration}",
            "config": CONFIG,
            "checkpoints": {"force_field": {**weights.to_dict(), "family": "chgnet", "format": "safetensors"}},
            "metrics": {"rmse": {"energy": np.float32(0.25)}, "entropy": 6.5, "sun": 3},
            "structures": [structure_row(s, origin={"operator": "random", "seed": base}) for s in new],
            "references": [structure_row(s, source="a paper", citation="doi:10.0/0", licence="CC-BY-4.0") for s in references],
            "labels": labels,
            "evaluations": evaluations,
            "splits": self.splits,
            "samples": self.samples,
            "offsets": {"abc": OFFSETS},
            "provenance": {"host": "here", "seconds": 1.5},
        }
        return StateDraft(**{**fields, **changes})

    def commit(self, branch: str = "main", **changes: Any) -> str:
        """Commit the next state on a branch, and continue from it."""
        draft = self.draft(**changes)
        state = self.store.commit(draft, branch=branch, expected=self.parents[0] if self.parents else None)
        self.parents, self.iteration = (state,), self.iteration + 1
        return state

    def fork(self, variant: int) -> Lineage:
        """Another continuation of the same state."""
        copies = list(self.entries), list(self.references), dict(self.splits), dict(self.samples)
        return Lineage(self.store, *copies, self.parents, self.iteration, variant)


def new_node(store: NodeStore) -> Lineage:
    store.create_node(NODE, ["Li", "P", "S"], CONFIG, CONFIG_TEXT)
    return Lineage(store)
