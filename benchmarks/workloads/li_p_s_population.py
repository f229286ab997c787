"""Drafts of states of a Li–P–S node of any size: random cells, with the fields that the commit of a transition writes.

Documents are made directly, not through pymatgen, which would take longer than what is measured. Coordinates are random, so they
compress as badly as relaxed ones, and every cell is another structure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.node_store.canonical import digest, structure_document_id
from coevo.node_store.identity import label_id
from coevo.node_store.states import StateDraft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.store import NodeStore

NODE = "li-p-s-benchmark"
CONFIG_TEXT = f"node:\n  name: {NODE}\n  elements: [Li, P, S]\n  references: li-p-s\n"
CELLS: tuple[tuple[str, dict[str, int]], ...] = (
    ("Li2S", {"Li": 8, "S": 4}),
    ("Li3P", {"Li": 9, "P": 3}),
    ("Li3PS4", {"Li": 3, "P": 1, "S": 4}),
    ("Li3PS4", {"Li": 6, "P": 2, "S": 8}),
    ("Li2PS3", {"Li": 4, "P": 2, "S": 6}),
    ("LiPS3", {"Li": 2, "P": 2, "S": 6}),
    ("Li7PS6", {"Li": 7, "P": 1, "S": 6}),
    ("P2S5", {"P": 4, "S": 10}),
    ("LiP", {"Li": 4, "P": 4}),
)
"""Reduced formula and cell of 8–16 atoms, in turns: four in nine are of Li–P–S with three anions or more to a cation of P."""
REFERENCES = 60
OFFSETS = {"elements": ["Li", "P", "S"], "values": [0.1, -0.2, 0.0], "rank": 3, "residual_rms": 0.01, "n": 6}
STABLE = 0.1
"""eV/atom."""


def geometry(rng: np.random.Generator, species: list[str]) -> dict[str, Any]:
    """A random cell, as :func:`coevo.node_store.canonical.structure_document` writes it."""
    lattice = np.diag(rng.uniform(5, 9, 3)) + rng.uniform(-1, 1, (3, 3))
    positions = rng.random((len(species), 3)).tolist()
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": lattice.tolist(), "pbc": [True, True, True]},
        "sites": [
            {"species": [{"element": symbol, "occu": 1}], "abc": abc} for symbol, abc in zip(species, positions, strict=True)
        ],
    }


def strained(rng: np.random.Generator, document: dict[str, Any]) -> dict[str, Any]:
    """The same cell after a relaxation: other vectors and coordinates."""
    lattice = np.array(document["lattice"]["matrix"]) * rng.uniform(0.96, 1.02)
    abc = np.array([site["abc"] for site in document["sites"]]) + rng.normal(0, 0.01, (len(document["sites"]), 3))
    sites = [{"species": site["species"], "abc": row} for site, row in zip(document["sites"], abc.tolist(), strict=True)]
    return {**document, "lattice": {**document["lattice"], "matrix": lattice.tolist()}, "sites": sites}


def described(index: int, rng: np.random.Generator, document: dict[str, Any]) -> dict[str, Any]:
    """Fields that structures and evaluations share."""
    formula, amounts = CELLS[index % len(CELLS)]
    volume = abs(float(np.linalg.det(np.array(document["lattice"]["matrix"]))))
    return {
        "formula": formula,
        "chemsys": "-".join(sorted(amounts)),
        "elements": sorted(amounts),
        "nsites": sum(amounts.values()),
        "space_group": int(rng.choice([1, 1, 1, 2, 5, 8, 14, 62, 225])),
        "volume_per_atom": volume / sum(amounts.values()),
    }


def structure(kind: str, index: int, seed: int) -> dict[str, Any]:
    """Document ``index`` of the entries or references of a node."""
    rng = np.random.default_rng([seed, index, len(kind)])
    species = [symbol for symbol, amount in CELLS[index % len(CELLS)][1].items() for _ in range(amount)]
    document = geometry(rng, species)
    more = {"origin": {"generator": "embedded", "operator": "random", "seed": seed, "shard": index // 1000, "index": index}}
    if kind == "reference":
        more = {"source": f"a database, {index}", "licence": "CC-BY-4.0", "citation": "doi:10.0/0"}  # type: ignore[dict-item]
    return {"_id": structure_document_id(document), "structure": document, **described(index, rng, document), **more}


def evaluation(row: dict[str, Any], kind: str, iteration: int) -> dict[str, Any]:
    """What the force field of an iteration says of an entry or reference; nine in ten entries have moved."""
    rng = np.random.default_rng([int(row["_id"][:12], 16), iteration])
    e_hull = float(rng.exponential(0.08))
    is_novel = kind == "entry" and bool(rng.random() < 0.9)
    moved = kind == "entry" and rng.random() < 0.9
    repeated = ("formula", "chemsys", "elements", "nsites", "space_group", "volume_per_atom")
    return {
        "structure_id": row["_id"],
        "kind": kind,
        "iteration_added": 0,
        **{name: row[name] for name in repeated},
        "energy_per_atom": float(rng.uniform(-5, -3)),
        "formation_energy_per_atom": float(rng.uniform(-1.5, 0.2)),
        "energy_above_hull": e_hull,
        "energy_above_reference_hull": e_hull - 0.01,
        "fmax": float(np.float32(rng.uniform(0, 0.1))),
        "is_stable": e_hull <= STABLE,
        "is_novel": is_novel,
        "is_sun": is_novel and e_hull <= STABLE,
        "duplicate_of": None,
        "matched_reference": None,
        "relaxed": strained(rng, row["structure"]) if moved else None,
        "note": None,
    }


def label(index: int, seed: int) -> dict[str, Any]:
    """One labelled frame."""
    rng = np.random.default_rng([seed, index, 99])
    amounts = CELLS[index % len(CELLS)][1]
    frame = geometry(rng, [symbol for symbol, amount in amounts.items() for _ in range(amount)])
    content = {
        "frame": structure_document_id(frame),
        "structure": frame,
        "family": structure_document_id(frame),
        "kind": "relaxed",
        "how": "random",
        "code": "espresso",
        "functional": "PBE",
        "settings_digest": digest("settings"),
        "status": "admitted",
        "energy_per_atom": float(rng.uniform(-5, -3)),
        "forces": rng.normal(0, 0.1, (sum(amounts.values()), 3)).tolist(),
        "stress": rng.normal(0, 0.01, (3, 3)).tolist(),
    }
    return {"_id": label_id(content), **content}


def rows(n: int, seed: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Entries of a node, with their evaluations by its first state."""
    for index in range(n):
        row = structure("entry", index, seed)
        yield row, evaluation(row, "entry", 0)


def first_draft(store: NodeStore, n: int, seed: int) -> StateDraft:
    """The first state of a node: ``n`` entries, references, and a label for every 50 entries."""
    pairs = list(rows(n, seed))
    references = [structure("reference", index, seed + 1) for index in range(REFERENCES)]
    labels = [label(index, seed) for index in range(max(3, n // 50))]
    draft = next_draft(store, (), 0, [row for row, _ in pairs], references)
    draft.structures, draft.references, draft.labels = [row for row, _ in pairs], references, labels
    draft.evaluations = [found for _, found in pairs] + [evaluation(row, "reference", 0) for row in references]
    draft.splits = {row["_id"]: ("train", "validation", "test")[index % 3] for index, row in enumerate(labels)}
    return draft


def next_draft(
    store: NodeStore, parents: tuple[str, ...], iteration: int, entries: list[dict[str, Any]], references: list[dict[str, Any]]
) -> StateDraft:
    """A state that adds nothing and evaluates everything again, as the same work with a new force field."""
    weights = store.artifacts.put_bytes(f"weights {iteration} ".encode() * 100_000)
    evaluations = [evaluation(row, "entry", iteration) for row in entries] if iteration else []
    evaluations += [evaluation(row, "reference", iteration) for row in references] if iteration else []
    return StateDraft(
        node=NODE,
        parents=parents,
        iteration=iteration,
        message=f"iteration {iteration}",
        config=config(),
        checkpoints={"force_field": {**weights.to_dict(), "family": "chgnet", "format": "safetensors-1"}},
        metrics={"rmse": {"energy": 0.0125}, "entropy": 6.5},
        evaluations=evaluations,
        offsets={digest("settings"): OFFSETS},
        provenance={"host": "here", "seconds": 1.5},
    )


def config() -> dict[str, Any]:
    """The node's configuration, as a commit records it."""
    from coevo.configs.loading import parse_config

    return parse_config(CONFIG_TEXT, "benchmark").identity()


def create_node(store: NodeStore) -> None:
    """Create the node, empty."""
    store.create_node(NODE, ["Li", "P", "S"], config(), CONFIG_TEXT)
