"""The configuration of a node: one tree of pydantic models, every field with its unit, default and range.

The tree is what a YAML file holds (:mod:`coevo.configs.loading`) and what a state records. ``resources`` say how fast, not what,
and stay out of the configuration digest and of every job key.
"""

from __future__ import annotations

import re
from collections import Counter
from math import gcd
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from coevo.configs.audit_section import AuditConfig
from coevo.configs.element_lists import ELEMENT_SYMBOLS as ELEMENT_SYMBOLS  # noqa: PLC0414 (others know it by this module)
from coevo.configs.element_lists import split_elements, unknown_elements
from coevo.configs.force_field_section import ForceFieldConfig
from coevo.configs.generator_section import (  # noqa: F401  (job documents and other packages know them by this module)
    GENERATOR_FAMILIES,
    GENERATOR_GROUP,
    DiffCSPConfig,
    GeneratorConfig,
    MatterGenConfig,
)
from coevo.configs.labelling_section import (  # noqa: F401  (as above)
    LABELLING_CODES,
    VASP_FIXED_TAGS,
    EspressoConfig,
    LabellingConfig,
    StatedConfig,
    VaspConfig,
)
from coevo.configs.section import Fraction, Local, Positive, Section
from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.families import descriptor_of


def _names_a_file(references: Any) -> bool:
    """Whether references are not bundled sets alone."""
    from coevo.configs.references import bundled_sets, reference_parts

    return not isinstance(references, str) or not set(reference_parts(references)) <= set(bundled_sets())


class DescriptorConfig(Section):
    """Descriptor of local environments (QUESTS); fixed for a node's life, because entropies compare at one bandwidth only."""

    neighbours: int = Field(default=32, ge=4, le=64, description="k, nearest neighbours of a centre")
    cutoff: Positive = Field(default=5.0, le=10.0, description="radial cutoff, Å")
    bandwidth: Positive = Field(default=0.015, le=1.0, description="h of the Gaussian kernel, 1/Å")


class NodeSection(Section):
    """What the node is. Name, elements, references, descriptor and energy scale cannot change once the node exists."""

    not_in_files: ClassVar[frozenset[str]] = frozenset({"branch_seed"})

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="name of the node in the database")
    description: str = Field(default="", description="what the node is for, in the user's words")
    elements: tuple[str, ...] = Field(min_length=1, max_length=8, description="the chemical system")
    references: Annotated[str, Local("files of known structures are read", _names_a_file)] = Field(
        description="a bundled set (li-p-s) or a file: JSON, CIF, POSCAR or extxyz; or several, joined by +"
    )
    energy_scale: str = Field(
        default="mp2020",
        pattern=r"^[a-z0-9][a-z0-9+-]{0,39}$",
        description="scale of all energies of the node, that of the weights of screening.force_field",
    )
    descriptor: DescriptorConfig = Field(default_factory=DescriptorConfig)
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed from which every other seed is derived")
    branch_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the branch (coevo branch, coevo run --seed)")

    @model_serializer(mode="wrap")
    def _without_a_branch_of_its_own(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the seed of a branch that has none; a file does not hold it."""
        plain: dict[str, Any] = serialize(self)
        return plain if self.branch_seed else {key: value for key, value in plain.items() if key != "branch_seed"}

    @field_validator("elements", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return split_elements(value) if isinstance(value, str) else value

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [symbol for symbol in value if symbol not in ELEMENT_SYMBOLS]
        if unknown:
            raise ValueError(unknown_elements(unknown))
        if len(set(value)) != len(value):
            raise ValueError(f"an element is repeated in {list(value)}; name each one once")
        return tuple(sorted(value))


class ReferencesConfig(Section):
    """Which known phases the node is not told of. Fixed for a node's life, as ``node.references`` is."""

    exclude: tuple[str, ...] = Field(
        default=(), description="names of phases of node.references that are withheld: no part of the hull or the novelty test"
    )

    @field_validator("exclude")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() for name in value):
            raise ValueError(f"got an empty name in {list(value)}, allowed: names of phases of node.references")
        if len(set(value)) != len(value):
            raise ValueError(f"a name is repeated in {list(value)}; give each one once")
        return tuple(sorted(value))


class ScreeningConfig(Section):
    """Sanity checks and relaxation."""

    force_field: ForceFieldConfig = Field(default_factory=ForceFieldConfig)
    fmax: Positive = Field(
        default=0.1, le=1.0, description="largest force (and generalised cell force) of a relaxed structure, eV/Å"
    )
    max_steps: int = Field(default=200, ge=1, le=5000, description="relaxation steps, at most")
    optimiser: Literal["lbfgs", "fire"] = Field(default="lbfgs", description="L-BFGS that FIRE starts, or FIRE alone as in ASE")
    batch_size: int = Field(default=16, ge=1, le=1024, description="structures relaxed together; part of the result's identity")
    min_distance: Positive = Field(default=0.6, le=1.5, description="shortest distance allowed, in sums of covalent radii")
    min_volume_per_atom: Positive = Field(default=4.0, description="smallest volume of a cell over its atoms, Å³")
    max_volume_per_atom: Positive = Field(default=120.0, description="largest volume of a cell over its atoms, Å³")
    max_length_ratio: float = Field(default=12.0, gt=1.0, description="longest over shortest cell vector")
    path_frames: int = Field(default=2, ge=0, le=20, description="frames of each relaxation path that are kept for labelling")

    @model_validator(mode="after")
    def _ordered(self) -> ScreeningConfig:
        if self.min_volume_per_atom >= self.max_volume_per_atom:
            raise ValueError(
                f"min_volume_per_atom {self.min_volume_per_atom} must be below max_volume_per_atom {self.max_volume_per_atom}"
            )
        return self


HULL_KEYS = ("hull", "hull_window", "refuted_above")
"""Keys of :class:`CurationConfig` that say who makes the hull."""


class CurationConfig(Section):
    """Hull, uniqueness and novelty."""

    max_e_hull: float = Field(
        default=0.2, ge=0.0, le=5.0, description="unique candidates up to this E_hull become entries, eV/atom"
    )
    stable_threshold: float = Field(default=0.1, ge=0.0, le=5.0, description="stable means E_hull up to this, eV/atom")
    ltol: Positive = Field(default=0.2, le=1.0, description="StructureMatcher: fractional length tolerance")
    stol: Positive = Field(default=0.3, le=1.0, description="StructureMatcher: site tolerance")
    angle_tol: Positive = Field(default=5.0, le=45.0, description="StructureMatcher: angle tolerance, degrees")
    fragment_veto: bool = Field(default=True, description="structures whose bond-graph fragments differ never match")
    matcher: Literal["ordered", "disordered"] = Field(
        default="ordered",
        description="disordered: elements that could share a site (P and S) may change places, as in MatterGen's evaluation",
    )
    hull: Literal["model", "labelled"] = Field(
        default="model", description="who makes the hull: all that the force field says, or references and entries with a label"
    )
    hull_window: float = Field(
        default=0.02,
        ge=0.0,
        le=1.0,
        description="of a labelled hull: unlabelled phases up to this above it get labels first, eV/atom",
    )
    refuted_above: Positive = Field(
        default=0.025,
        le=1.0,
        description="of a labelled hull: a label that is further from the force field refutes it; no less than twice what the "
        "energy offsets leave of the references (rms), as tables print it, eV/atom",
    )

    mark_scale_sensitive: bool = Field(
        default=False,
        description="on node.energy_scale mp2020, mark phases with bonds between corrected anions (S-S, O-O) and state E_hull "
        "without the correction",
    )

    def not_in_use(self) -> frozenset[str]:
        """What says something of a hull of labelled phases only."""
        return frozenset() if self.hull == "labelled" else frozenset({"hull_window", "refuted_above"})

    @model_validator(mode="after")
    def _ordered(self) -> CurationConfig:
        if self.stable_threshold > self.max_e_hull:
            raise ValueError(f"stable_threshold {self.stable_threshold} must not exceed max_e_hull {self.max_e_hull}")
        return self

    def of_matching(self) -> CurationConfig:
        """Return what the uniqueness test reads, the rest at its defaults: for work that does not hang on the rest."""
        return CurationConfig(**self.model_dump(exclude={"max_e_hull", "stable_threshold", "mark_scale_sensitive", *HULL_KEYS}))

    def of_hull(self) -> CurationConfig | None:
        """Return who makes the hull, the rest at its defaults; None where all that the force field says makes it."""
        return CurationConfig(**self.model_dump(include=set(HULL_KEYS))) if self.hull == "labelled" else None


class SelectionConfig(Section):
    """Which structures get labels, and which frames of them."""

    structures: int = Field(default=200, ge=0, description="label budget per iteration, structures")
    random_fraction: Fraction = Field(default=0.15, description="share of the budget drawn at random among the screened")
    novelty_fraction: Fraction = Field(default=0.5, description="share chosen for new local environments; the rest by low E_hull")
    rattled: int = Field(default=1, ge=0, le=20, description="rattled frames per structure")
    strained: int = Field(default=1, ge=0, le=20, description="strained frames per structure")
    path: int = Field(default=1, ge=0, le=20, description="relaxation-path frames per structure")
    rattle_stdev: Positive = Field(default=0.05, le=0.5, description="standard deviation of displacements, Å")
    max_strain: Positive = Field(default=0.04, le=0.3, description="largest strain component")
    uncertainty_fraction: Fraction = Field(
        default=0.0, description="share chosen where the members of the second opinion (uncertainty) differ most"
    )
    stiff_frames: int = Field(
        default=0, ge=0, le=20, description="strained and displaced frames of each labelled phase on the hull, beside the budget"
    )
    stiff_strain: Positive = Field(default=0.04, le=0.2, description="largest strain of stiff_frames, of all lengths alike")
    stiff_displacement: Positive = Field(
        default=0.1, le=0.5, description="root-mean-square displacement of the atoms in stiff_frames, Å"
    )
    label_path: int = Field(
        default=0,
        ge=0,
        le=20,
        description="frames, one an iteration, down the labels' forces from each phase of stiff_frames and refuted_frames",
    )
    refuted_frames: int = Field(
        default=0,
        ge=0,
        le=20,
        description="rattled frames of each entry that labels refute, or with an electron excess, beside the budget",
    )


class TrainingConfig(Section):
    """Fine-tuning of the force field."""

    enabled: bool = Field(default=True, description="fine-tune the force field in every iteration that has enough frames")
    epochs: int = Field(default=20, ge=1, le=1000, description="passes over the training frames, at most")
    learning_rate: Positive = Field(default=5e-4, le=0.1, description="of Adam; 1e-2 is for training from scratch")
    batch_size: int = Field(default=8, ge=1, le=1024, description="frames of one gradient step")
    force_weight: float = Field(default=1.0, ge=0.0, description="of the force loss, that of the energy being 1")
    stress_weight: float = Field(default=0.1, ge=0.0, description="of the stress loss, that of the energy being 1")
    patience: int = Field(default=5, ge=1, description="epochs without a better validation loss before stopping")
    test_fraction: float = Field(default=0.15, ge=0.0, le=0.5, description="share of families never trained on")
    validation_fraction: float = Field(default=0.15, gt=0.0, le=0.5, description="share of families for early stopping")
    replay: int = Field(default=2000, ge=0, description="older training frames mixed in, at most")
    mix_settings: bool = Field(
        default=False, description="train on labels of several settings together, each with its own offsets"
    )
    min_frames: int = Field(default=20, ge=4, description="fewer training frames: no fit")
    worse_tolerance: float = Field(
        default=0.0, ge=0.0, le=1.0, description="relative loss increase on test that is still adopted"
    )
    watch_hull: bool = Field(
        default=False,
        description="early stopping also watches how far labelled phases of validation families are from the hull",
    )


class MaturityConfig(Section):
    """When the node is mature."""

    environments: int = Field(default=2000, ge=10, description="N, environments sampled for the entropy; fewer: no signal")
    subsamples: int = Field(default=5, ge=1, le=50, description="samples of N environments, for error bars")
    ceiling_margin: Positive = Field(default=0.1, le=2.0, description="an entropy nearer to ln N than this is no signal, nats")
    ruler_size: int = Field(
        default=200, ge=0, description="candidates of each iteration kept and re-evaluated by every later state"
    )
    min_frames: int = Field(default=200, ge=0, description="labelled frames below which the error is no signal")
    min_test_frames: int = Field(default=30, ge=1, description="frames of the test split below which the error is no signal")
    patience: int = Field(default=2, ge=1, description="iterations for which all three signals must be flat")
    e_hull_tolerance: Positive = Field(
        default=0.02,
        description="flat: median E_hull of the ruler changes by less; a larger standard error is no signal, eV/atom",
    )
    entropy_tolerance: Positive = Field(default=0.05, description="flat: entropy changes by less, nats")
    rmse_tolerance: Positive = Field(default=0.1, description="flat: relative change of the energy and force RMSE is less")
    diversity_tolerance: float = Field(
        default=0.3, gt=0.0, lt=1.0, description="relative fall of distinct structures or formulas that is no mode collapse"
    )
    stiffness: int = Field(
        default=0,
        ge=0,
        le=3,
        description="simplest reference compounds whose bulk modulus and frequencies are labelled and compared; 0: none",
    )
    refuted_share: Fraction = Field(
        default=0.1, description="of a labelled hull: share of newly labelled hull phases that labels may refute in an iteration"
    )
    environment_signal: Literal["entropy", "coverage"] = Field(
        default="entropy",
        description="coverage: share of an iteration's atoms far from all older ones, at a distance calibrated by dynamics",
    )
    coverage_tolerance: float = Field(
        default=0.02,
        gt=0.0,
        lt=1.0,
        description="flat: by Wilson's upper limit, at most this share of an iteration's atoms is far from all older ones",
    )


class ResourcesConfig(Section):
    """How a transition is cut into jobs for the machine at hand; never part of a result's identity."""

    workers: int | None = Field(
        default=None, ge=1, description="worker processes of a job; all usable cores if unset, and never more"
    )


def _atoms_of_unit(formula: str) -> int:
    """Atoms of the smallest formula unit of a formula without brackets."""
    amounts: Counter[str] = Counter()
    for symbol, number in re.findall(r"([A-Z][a-z]?)([0-9]*)", formula):
        amounts[symbol] += int(number or 1)
    return sum(amounts.values()) // (gcd(*amounts.values()) or 1)


class NodeConfig(Section):
    """The whole tree."""

    node: NodeSection
    references: ReferencesConfig = Field(default_factory=ReferencesConfig)
    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    screening: ScreeningConfig = Field(default_factory=ScreeningConfig)
    curation: CurationConfig = Field(default_factory=CurationConfig)
    selection: SelectionConfig = Field(default_factory=SelectionConfig)
    labelling: LabellingConfig = Field(default_factory=LabellingConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    uncertainty: UncertaintyConfig = Field(default_factory=UncertaintyConfig)
    audit: AuditConfig = Field(default_factory=AuditConfig)
    maturity: MaturityConfig = Field(default_factory=MaturityConfig)
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)

    @model_validator(mode="after")
    def _consistent(self) -> NodeConfig:
        for index, formula in enumerate(self.generator.compositions):
            key = f"generator.compositions[{index}]"
            symbols = set(re.findall(r"[A-Z][a-z]?", formula))
            if not re.fullmatch(r"(?:[A-Z][a-z]?[0-9]*)+", formula) or symbols - ELEMENT_SYMBOLS:
                raise ValueError(f"{key}: got {formula!r}, allowed: a formula such as Li3PS4")
            foreign = ", ".join(sorted(symbols - set(self.node.elements)))
            if foreign:
                raise ValueError(
                    f"{key}: {formula} holds {foreign}, allowed: the elements of the node, {', '.join(self.node.elements)}"
                )
        units = {formula: _atoms_of_unit(formula) for formula in self.generator.compositions}
        if units and min(units.values()) > self.generator.max_atoms:
            told = ", ".join(f"{formula} with {atoms} atoms" for formula, atoms in units.items())
            raise ValueError(
                f"generator.compositions: got {told} in the smallest unit, so that no candidate can have at most "
                f"{self.generator.max_atoms} (generator.max_atoms); allowed: one at least that fits"
            )
        chosen, scale = self.screening.force_field, self.node.energy_scale
        if chosen.energy_scale != scale:
            family = descriptor_of(chosen.family, "force_field")
            weights = chosen.told
            what = f"raw {weights.functional}" if weights.functional and not weights.anion_corrected else weights.energy_scale
            allowed = ", ".join(family.weights_on(scale)) or f"none; or set node.energy_scale: {weights.energy_scale}"
            raise ValueError(
                f"screening.force_field.weights: got {chosen.weights}, whose energies are {what} and not on node.energy_scale "
                f"{scale}, allowed: {allowed}"
            )
        if self.training.watch_hull and not descriptor_of(chosen.family, "force_field").can("watch"):
            raise ValueError(
                f"training.watch_hull: got true, allowed: false with the force field {chosen.family}, "
                "which cannot watch the hull while it is fitted"
            )
        self.uncertainty.check(chosen.family, chosen.weights, self.node.elements, self.selection.uncertainty_fraction)
        self.audit.check(chosen, self.labelling, self.node.elements)
        return self

    def identity(self) -> dict[str, Any]:
        """The part of the tree that a state records and its id covers, as plain JSON types (:mod:`coevo.configs.section`)."""
        from coevo.configs.section import recorded

        return {name: value for name, value in recorded(self).items() if name != "resources"}
