"""The documents of the database and their fields, with units.

Energies are eV/atom, forces eV/Å, stresses eV/Å³ in ASE's sign (positive = tensile), lengths Å, times ISO 8601 in UTC. Every
field that is stored is declared here. Documents that another version of this package wrote may carry further keys and stay
readable; what comes from elsewhere may not (:mod:`coevo.node_store.known_fields`).

Also here, fields of an evaluation that the store derives: the standard OPTIMADE properties.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 2
"""Of how a node is stored; a newer one is refused, an older one is brought here by :mod:`coevo.node_store.upkeep.migrations`."""
STATE_VERSION = 1
"""Of what a state document says; it enters the state id, so it changes only with the meaning of a state."""

NODE_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
BRANCH_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

LEFT_OUT_OF_STATE_ID: dict[str, str] = {
    "node": "the same work in another node is the same state",
    "message": "a remark",
    "created": "a time",
    "provenance": "package versions, job uuids, hosts, durations: how it was made, not what it is",
    "counts": "follows from manifest and evaluations",
    "started_from.node": "a name",
    "config.node.name": "a name",
    "config.node.description": "a remark",
    "config.resources": "how fast, not what",
    "manifest.uri": "a place",
    "checkpoints.*.uri": "a place",
    "checkpoints.*.*": "all but sha256, family, format: size follows from them; parent and training_set are how it was made",
    "evaluations.*.nelements": "follows from elements",
    "evaluations.*.chemical_formula_reduced": "follows from formula",
    "evaluations.*.chemical_formula_anonymous": "follows from formula",
}
"""Every stored field of a state that its id does not cover, and why."""

DERIVED_EVALUATION_FIELDS = ("nelements", "chemical_formula_reduced", "chemical_formula_anonymous")
"""Standard OPTIMADE properties that the store adds to an evaluation at the commit; not part of the state id."""

ContentId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="sha256, hexadecimal")]
Split = Literal["train", "validation", "test"]


class _Fixed(BaseModel):
    """Documents that only this package writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Open(BaseModel):
    """Documents that jobs write; those of another version of this package may have further keys."""

    model_config = ConfigDict(extra="allow", frozen=True)


class NodeDocument(_Fixed):
    """A node: a database of one chemical system."""

    name: str = Field(pattern=NODE_NAME)
    elements: tuple[str, ...] = Field(description="the chemical system, fixed for the life of the node")
    config: dict[str, Any] = Field(description="the configuration with which the node was created")
    config_text: str = Field(description="the live configuration, YAML; the next state records it")
    branches: dict[str, str | None] = Field(description="branch name to state id; main is None before the first commit")
    created: str = Field(description="time, ISO 8601 UTC")
    schema_version: int = SCHEMA_VERSION


class CampaignDocument(_Fixed):
    """A run of several iterations on one branch, recorded before it starts so that it can be finished after a crash."""

    id: str
    node: str
    branch: str
    start: str | None = Field(description="head of the branch when the campaign was recorded; None for a new node")
    iterations: int = Field(ge=0, description="transitions asked for")
    status: str = Field(description="running, or how it ended: finished, mature, …")
    created: str = Field(description="time, ISO 8601 UTC")
    ended: str | None = Field(default=None, description="time, ISO 8601 UTC")


class CheckpointDocument(_Open):
    """A model of a state: its weights and configuration as an artifact."""

    sha256: ContentId
    family: str = Field(description="chgnet, embedded, …: which adapter loads it")
    format: str = Field(description="file format, with its version")
    uri: str = Field(default="", description="where it was written")
    size: int | None = Field(default=None, ge=0, description="bytes")
    parent: str | None = Field(default=None, description="sha256 of the checkpoint that it was trained from")
    training_set: str | None = Field(default=None, description="digest of the ids that it was trained on")
    parents: list[str] | None = Field(default=None, description="sha256 of those of all parents of a merge")


class StructureDocument(_Open):
    """An entry's geometry as admitted; shared by all states and branches that contain it."""

    id: ContentId = Field(alias="_id", description="content id of the geometry")
    structure: dict[str, Any] = Field(description="lattice matrix (Å), species, fractional coordinates; pymatgen's dictionary")
    formula: str = Field(description="reduced formula")
    chemsys: str = Field(description="elements in alphabetical order, joined by hyphens")
    elements: list[str]
    nsites: int = Field(ge=1, description="atoms in the cell")
    volume_per_atom: float | None = Field(default=None, description="Å³")
    space_group: int | str | None = Field(default=None, description="space group")
    origin: dict[str, Any] | None = Field(default=None, description="generator, operator, conditions, seed, shard, index")


class ReferenceDocument(_Open):
    """A known structure: part of the hull and of the novelty test, never an entry."""

    id: ContentId = Field(alias="_id", description="content id of the geometry")
    structure: dict[str, Any] = Field(description="as in a structure document")
    name: str | None = Field(default=None, description="common name")
    source: str | None = Field(default=None, description="database or publication, with the id in it")
    formula: str = Field(description="reduced formula")
    chemsys: str | None = Field(default=None, description="elements in alphabetical order, joined by hyphens")
    elements: list[str]
    nsites: int = Field(ge=1, description="atoms in the cell")
    volume_per_atom: float | None = Field(default=None, description="Å³")
    space_group: int | str | None = None
    citation: str | None = None
    licence: str | None = None


class LabelDocument(_Open):
    """One first-principles (or teacher) frame, or why it has no numbers."""

    id: str = Field(alias="_id", min_length=1, description="content id")
    frame: str | None = Field(default=None, description="content id of the frame's geometry")
    structure: dict[str, Any] | None = Field(default=None, description="the frame; as in a structure document")
    family: str | None = Field(default=None, description="id of the entry or reference that the frame comes from")
    kind: str | None = Field(default=None, description="relaxed, rattled, strained, path, displaced or downhill")
    how: str | None = Field(
        default=None, description="how it was chosen: random, stability, environment, reference, stiffness, …"
    )
    code: str | None = Field(default=None, description="teacher, espresso, vasp, maker, imported, or that of another package")
    first_principles: bool | None = Field(
        default=None, description="whether it says something about stability, where the name of its code does not say that"
    )
    functional: str | None = None
    anion_corrected: bool | None = Field(default=None, description="whether the energy holds the MP2020 anion correction already")
    settings_digest: str | None = Field(default=None, description="of everything that changes a number")
    status: str | None = Field(default=None, description="admitted, rejected or failed")
    reason: str | None = Field(default=None, description="why it is rejected or failed, one word; empty if admitted")
    detail: str | None = Field(default=None, description="the numbers behind the reason")
    energy_per_atom: float | None = Field(default=None, description="eV/atom, as the code gives it")
    forces: list[list[float]] | None = Field(default=None, description="eV/Å, one row for each atom")
    stress: list[list[float]] | None = Field(default=None, description="eV/Å³, positive = tensile, 3 by 3")
    settings_base: str | None = Field(
        default=None, description="of an imported label: digest of what its settings share whatever is computed with them"
    )
    settings_facts: dict[str, Any] | None = Field(
        default=None,
        description="what its settings say of single elements (potentials, U) and of k-points; compared, not digested",
    )
    recorded: dict[str, Any] | None = Field(
        default=None,
        description="of an imported label: version, smearing, mesh, the file's name, where its numbers were taken from",
    )
    same_settings_as: dict[str, Any] | None = Field(
        default=None, description="the digest that a user vouched for, that it is the user's word, and the digest of its own"
    )
    supersedes: list[str] | None = Field(
        default=None, description="ids of older imported labels of the same calculation, which a state that has this one has not"
    )


class EvaluationDocument(_Open):
    """What one state's force field says of one entry or reference; repeats what queries filter on."""

    structure_id: ContentId
    kind: Literal["entry", "reference"]
    formula: str = Field(description="reduced formula")
    chemical_formula_reduced: str | None = Field(default=None, description="OPTIMADE's, from the formula")
    chemical_formula_anonymous: str | None = Field(default=None, description="OPTIMADE's, from the formula")
    elements: list[str]
    nelements: int | None = Field(default=None, description="from the elements")
    chemsys: str | None = Field(default=None, description="elements in alphabetical order, joined by hyphens")
    nsites: int = Field(ge=1, description="atoms in the cell")
    space_group: int | str | None = None
    volume_per_atom: float | None = Field(default=None, description="Å³")
    energy_per_atom: float | None = Field(default=None, description="eV/atom, on the state's energy scale")
    formation_energy_per_atom: float | None = Field(default=None, description="eV/atom")
    energy_above_hull: float | None = Field(default=None, description="eV/atom, against references and entries together")
    energy_above_reference_hull: float | None = Field(
        default=None, description="against references only; may be negative, eV/atom"
    )
    energy_above_hull_dft: float | None = Field(
        default=None, description="by first-principles labels, where they suffice (all competing phases labelled), eV/atom"
    )
    is_stable_dft: bool | None = Field(default=None, description="energy_above_hull_dft is at most the node's stable_threshold")
    energy_above_hull_std: float | None = Field(
        default=None,
        description="of the second opinion: standard deviation of energy_above_hull over force field and members, eV/atom",
    )
    energies_above_hull: dict[str, float] | None = Field(
        default=None, description="of the second opinion: energy above hull by each member, on its own hull, eV/atom"
    )
    scale_sensitive: bool | None = Field(
        default=None,
        description="on the MP2020 scale: it has bonds between anions that the correction acts on, such as S-S, so that its "
        "stability hangs on the correction; None where this was not asked",
    )
    energy_above_hull_uncorrected: float | None = Field(
        default=None,
        description="energy_above_hull without the MP2020 anion correction, taken from all phases of the hull; None where it was "
        "not asked for, eV/atom",
    )
    is_confidently_sun: bool | None = Field(
        default=None,
        description="of the second opinion: S.U.N., and members of two families with different training agree; "
        "None where there is one family only",
    )
    hull_status: Literal["confirmed", "unconfirmed", "refuted", "in_doubt"] | None = Field(
        default=None,
        description="of an entry, where labelled phases make the hull: its label agrees; none yet, and it is at or below the "
        "hull; its label says another energy; stable without a label and like a false minimum. None of references and of others "
        "without a label, above the hull",
    )
    model_energy_per_atom: float | None = Field(
        default=None, description="of a refuted entry: its energy by the force field, eV/atom; energy_per_atom is its label's"
    )
    audit_verdict: Literal["stable", "unstable", "undecided"] | None = Field(
        default=None, description="of an auditor that took no part in training (metrics.audit says who); None: it did not look"
    )
    energy_above_hull_audit: float | None = Field(
        default=None, description="on the hull of the auditor's own energies, single points where it does not relax, eV/atom"
    )
    fmax: float | None = Field(default=None, description="largest force on an atom, eV/Å")
    electron_excess: float | None = Field(
        default=None,
        description="electrons beyond what its elements can take, counted from oxidation states; positive: an excess, e-/atom",
    )
    is_stable: bool | None = Field(default=None, description="energy_above_hull is at most the node's stable_threshold")
    is_novel: bool | None = Field(default=None, description="matches no reference")
    is_sun: bool | None = Field(default=None, description="stable, unique and novel")
    matched_reference: str | None = Field(default=None, description="id of the reference that it matches")
    duplicate_of: str | None = Field(default=None, description="id of the entry that represents it")
    relaxed: dict[str, Any] | None = Field(default=None, description="this state's geometry, if it differs from the stored one")
    iteration_added: int | None = Field(default=None, description="iteration in which the entry was admitted")
    note: str | None = Field(default=None, description="what went wrong when it was relaxed again; empty if nothing did")


class EvaluationsSummary(_Fixed):
    """All evaluations of a state, as one hash."""

    digest: ContentId
    count: int


class StartedFrom(_Fixed):
    """The state whose structures, references and labels the first state of a node began with."""

    node: str = Field(pattern=NODE_NAME, description="node in which it was then")
    state: ContentId


class StateDocument(_Fixed):
    """An immutable commit of a node."""

    id: ContentId = Field(alias="_id", description="state id")
    schema_version: int
    node: str
    parents: tuple[str, ...]
    iteration: int = Field(ge=0)
    message: str
    elements: tuple[str, ...]
    config: dict[str, Any] = Field(description="the configuration of the transition, without resources")
    checkpoints: dict[str, CheckpointDocument] = Field(
        description="force_field, generator, generator/FAMILY of a mixture, and committee/NAME of the second opinion"
    )
    metrics: dict[str, Any] = Field(description="maturity signals, errors, counts by reason: numbers of the work, no times")
    manifest: dict[str, Any] = Field(
        description="artifact: ids of structures, references and labels, splits, samples, offsets; refuted entries, if any"
    )
    evaluations: EvaluationsSummary
    counts: dict[str, int] = Field(description="entries, references, labels, and how many of them are new")
    provenance: dict[str, Any] = Field(description="versions, job uuids, hosts, times")
    started_from: StartedFrom | None = Field(
        default=None,
        description="of a first state that began with another node's state, whose energies are not its own: that state",
    )
    created: str = Field(description="time, ISO 8601 UTC")


def is_refuted(evaluation: Mapping[str, Any]) -> bool:
    """Whether a label refuted the entry: then its energy in the state is the label's, and the manifest has it too."""
    return evaluation.get("hull_status") == "refuted"


def refuted_energy(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """What the manifest says of an entry if a label refuted it, its id and energy (eV/atom), and nothing otherwise."""
    return {evaluation["structure_id"]: evaluation["energy_per_atom"]} if is_refuted(evaluation) else {}


def with_derived_fields(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Add the standard OPTIMADE properties that follow from an evaluation."""
    reduced, anonymous = _optimade_formulas(evaluation["formula"])
    return {
        **evaluation,
        "nelements": len(evaluation["elements"]),
        "chemical_formula_reduced": reduced,
        "chemical_formula_anonymous": anonymous,
    }


@lru_cache(maxsize=4096)
def _optimade_formulas(formula: str) -> tuple[str, str]:
    """Reduced formula with elements in alphabetical order, and anonymous formula with amounts falling (OPTIMADE 1.2, 7.2)."""
    from pymatgen.core import Composition

    try:
        amounts = {element.symbol: round(amount) for element, amount in Composition(formula).items()}
    except ValueError as err:
        raise ValueError(f"{formula!r} is not a formula: {err}") from None
    divisor = gcd(*amounts.values())
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    falling = sorted((amount // divisor for amount in amounts.values()), reverse=True)
    reduced = "".join(symbol + _amount(amounts[symbol] // divisor) for symbol in sorted(amounts))
    return reduced, "".join(letters[index] + _amount(amount) for index, amount in enumerate(falling))


def _amount(amount: int) -> str:
    return str(amount) if amount > 1 else ""
