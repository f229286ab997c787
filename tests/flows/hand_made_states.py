"""States with chosen entries, references and labels, all of one force field: merging them evaluates nothing again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import NodeConfig
from coevo.flows.seeding import initial_checkpoints
from coevo.makers.populations.population import Member, describe, evaluation_document
from coevo.node_store.canonical import digest, structure_document, structure_id
from coevo.node_store.identity import label_id
from coevo.node_store.states import StateDraft

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

SETTINGS = digest("settings of the tests")


def rocksalt(a: str, b: str, length: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]])


def caesium_chloride(a: str, b: str, length: float) -> Structure:
    return Structure(Lattice.cubic(length), [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]])


def antifluorite(a: str, b: str, length: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [a, b], [[0.25, 0.25, 0.25], [0, 0, 0]])


def simple(element: str, length: float) -> Structure:
    return Structure(Lattice.cubic(length), [element], [[0, 0, 0]])


@lru_cache(maxsize=2)
def pool(system: str = "LPS") -> list[Structure]:
    """Entries to choose from; the last two of each are the same crystal in other cells."""
    anion = {"LPS": "S", "LPO": "O"}[system]
    crystals = [
        rocksalt("Li", anion, 5.2),
        antifluorite("Li", anion, 5.7),
        caesium_chloride("P", anion, 3.1),
        rocksalt("P", anion, 5.0),
        rocksalt("Li", "P", 5.3),
        antifluorite("Li", "P", 5.9),
        caesium_chloride("Li", "P", 3.2),
    ]
    return [*crystals, crystals[0].make_supercell([1, 1, 2], in_place=False)]


ELEMENTS = {"LPS": ("Li", "P", "S"), "LPO": ("Li", "O", "P")}
ELEMENTAL = {"Li": 2.8, "P": 2.4, "S": 2.6, "O": 2.2}


def config_for(name: str, system: str = "LPS", **curation: Any) -> NodeConfig:
    return NodeConfig.model_validate(
        {
            "node": {"name": name, "elements": list(ELEMENTS[system]), "references": f"references-{system}.json"},
            "generator": {"fit": False},
            "screening": {"fmax": 1.0, "max_steps": 1},
            "curation": {"max_e_hull": 0.5, "stable_threshold": 0.1, "fragment_veto": False, **curation},
        }
    )


@lru_cache(maxsize=1)
def _published(store: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Checkpoints in the store of that name, which is the one of this process's settings."""
    del store
    return initial_checkpoints(config_for("published"))


def energy(structure: Structure) -> float:
    """An energy per atom that depends on the crystal alone: compounds are bound, the denser the more (eV)."""
    bound = -0.4 if len(structure.composition) > 1 else 0.0
    return bound - 0.3 * len(structure) / structure.volume


def evaluation(structure: Structure, kind: str, since: int) -> dict[str, Any]:
    record = {"kind": kind, "since": since, "fmax": 0.01, "note": ""}
    return evaluation_document(
        Member(structure_id(structure), structure, energy(structure), record),
        energy_above_hull=0.05,
        energy_above_reference_hull=0.05,
        formation_energy_per_atom=-0.1,
        stable_threshold=0.1,
        duplicate_of=None,
        matched_reference=None,
    )


def label(structure: Structure, number: int = 0) -> dict[str, Any]:
    """A label of the relaxed frame (number 0), or of a rattled one of the same family."""
    frame = structure.copy()
    if number:
        frame.perturb(0.05, seed=number)
    content: dict[str, Any] = {
        "frame": structure_id(frame),
        "structure": structure_document(frame),
        "family": structure_id(structure),
        "kind": "rattled" if number else "relaxed",
        "how": "random",
        "code": "teacher",
        "functional": "r2SCAN",
        "anion_corrected": False,
        "settings_digest": SETTINGS,
        "status": "admitted",
        "reason": "",
        "energy_per_atom": energy(frame),
        "forces": np.zeros((len(frame), 3)).tolist(),
        "stress": np.zeros((3, 3)).tolist(),
    }
    return {"_id": label_id(content), **content}


def _standing(document: dict[str, Any], refuted: Mapping[str, float] | None) -> dict[str, Any]:
    if refuted is None:
        return document
    energy_of_label = refuted.get(document["structure_id"])
    if energy_of_label is None:
        return {**document, "hull_status": None, "model_energy_per_atom": None}
    energies = {"energy_per_atom": energy_of_label, "model_energy_per_atom": document["energy_per_atom"]}
    return {**document, **energies, "hull_status": "refuted", "is_sun": False}


@dataclass
class Node:
    """A node whose states are made by hand.

    Attributes
    ----------
    store : NodeStore
    config : NodeConfig
    system : str
        ``LPS`` or ``LPO``.
    generators : dict
        Further generators of its states, by slot.
    """

    store: NodeStore
    config: NodeConfig
    system: str = "LPS"
    generators: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store.create_node(self.config.node.name, self.config.node.elements, self.config.identity(), self._text())

    def _text(self) -> str:
        from coevo.configs.loading import dump_config

        return dump_config(self.config)

    def seed(self) -> StateView:
        """The first state: one simple cubic crystal of each element as references."""
        references = [simple(element, ELEMENTAL[element]) for element in ELEMENTS[self.system]]
        rows = [
            {"_id": structure_id(s), "name": s.formula, "source": "a test", "structure": structure_document(s), **describe(s)}
            for s in references
        ]
        return self._commit("main", None, references=rows, evaluations=[evaluation(s, "reference", 0) for s in references])

    def grow(
        self,
        parent: StateView,
        branch: str,
        entries: Sequence[Structure],
        labels: Mapping[str, tuple[dict[str, Any], str]],
        *,
        refuted: Mapping[str, float] | None = None,
        offsets: Mapping[str, Any] | None = None,
        drawn_by: str | None = None,
    ) -> StateView:
        """The next state: the parent's population and these entries, and labels with their splits.

        Entries may be refuted, by the energies of their labels; then labelled phases make its hull. Their origins name the
        generator with the sha256 ``drawn_by``, if that is given.
        """
        known = set(parent.manifest["structures"])
        new = [s for s in entries if structure_id(s) not in known]
        old = [{k: v for k, v in e.items() if k not in _DERIVED} for e in parent.evaluations()]
        origin = {"branch": branch} | ({"generator": drawn_by} if drawn_by else {})
        rows = [{"_id": structure_id(s), "structure": structure_document(s), **describe(s), "origin": origin} for s in new]
        splits = {**parent.manifest["labels"], **{identity: split for identity, (_, split) in labels.items()}}
        return self._commit(
            branch,
            parent,
            structures=rows,
            labels=[row for identity, (row, _) in labels.items() if identity not in parent.manifest["labels"]],
            evaluations=[
                *old,
                *(_standing(evaluation(s, "entry", parent.iteration + 1), refuted) for s in new),
            ],
            splits=splits,
            offsets=dict(offsets or {}),
        )

    def _commit(self, branch: str, parent: StateView | None, **fields: Any) -> StateView:
        force_field, generator = _published(self.store.artifacts.uri)
        draft = StateDraft(
            node=self.config.node.name,
            parents=(parent.id,) if parent else (),
            iteration=parent.iteration + 1 if parent else 0,
            message="made by hand",
            config=self.config.identity(),
            checkpoints={"force_field": force_field, "generator": generator, **self.generators},
            **fields,
        )
        expected = self.store.head(self.config.node.name, branch)
        self.store.commit(draft, branch=branch, expected=expected)
        return self.store.state(f"{self.config.node.name}@{branch}")


_DERIVED = {"nelements", "chemical_formula_reduced", "chemical_formula_anonymous"}
