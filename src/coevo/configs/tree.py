"""The configuration of a node: one tree of pydantic models, every field with its unit, default and range.

The tree is what a YAML file holds (:mod:`coevo.configs.loading`) and what a state records. ``resources`` say how fast, not what,
and stay out of the configuration digest and of every job key.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer, model_validator

from coevo.configs.element_lists import ELEMENT_SYMBOLS as ELEMENT_SYMBOLS  # noqa: PLC0414 (others know it by this module)
from coevo.configs.element_lists import split_elements, unknown_elements
from coevo.configs.generator_section import (  # noqa: F401  (job documents and other packages know them by this module)
    GENERATOR_FAMILIES,
    GENERATOR_GROUP,
    GeneratorConfig,
    MatterGenConfig,
)
from coevo.configs.labelling_codes import (
    CODE_PATTERN,
    IMPORT_PATH,
    LABELLING_CODES,
    StatedConfig,
    is_of_another_package,
    known_code,
    plain_arguments,
)
from coevo.configs.section import Fraction, Local, OneOf, Positive, Section
from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.errors import CheckpointError
from coevo.families import DEFAULT_FORCE_FIELD, Weights, built_in, descriptor_of, is_known, names_of
from coevo.families.weights_files import is_file


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


def _is_of_another_package(family: Any) -> bool:
    return family not in built_in("force_field")


class ForceFieldConfig(Section):
    """A force field by family and weights; weights come from a wheel or, after training, from the node's checkpoint."""

    family: Annotated[str, Local("code of an installed package is run", _is_of_another_package)] = Field(
        default=DEFAULT_FORCE_FIELD.name,
        pattern=r"^[a-z][a-z0-9-]{0,39}$",
        description=f"{DEFAULT_FORCE_FIELD.name}: {DEFAULT_FORCE_FIELD.summary}; or a family of another package",
    )
    weights: Annotated[
        str, OneOf(tuple(DEFAULT_FORCE_FIELD.weights)), Local("a model file is read, which can run code", is_file)
    ] = Field(
        default=DEFAULT_FORCE_FIELD.default_weights,
        description="published weights to start from; another family has its own, and a default among them; or a file, as "
        "pbe:/PATH, with the scale of its energies, of a family that reads one",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_weights(cls, data: Any) -> Any:
        """Take the default weights of the family that is named without any."""
        if not isinstance(data, dict) or "weights" in data or not is_known(str(data.get("family")), "force_field"):
            return data
        try:
            return {**data, "weights": descriptor_of(data["family"], "force_field").default_weights}
        except CheckpointError as err:
            raise ValueError(str(err)) from None

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        if not is_known(value, "force_field"):
            allowed = ", ".join(names_of("force_field"))
            raise ValueError(f"got {value!r}, allowed: {allowed}, or a family whose package is installed (docs/force-fields.md)")
        return value

    @field_validator("weights")
    @classmethod
    def _known_weights(cls, value: str, info: ValidationInfo) -> str:
        if "family" not in info.data:
            return value
        try:
            family = descriptor_of(info.data["family"], "force_field")
        except CheckpointError as err:
            raise ValueError(str(err)) from None
        if family.weights_named(value) is None:
            raise ValueError(f"got {value!r}, allowed: {family.weights_allowed()}")
        return value

    @property
    def told(self) -> Weights:
        """What is known of these weights."""
        found = descriptor_of(self.family, "force_field").weights_named(self.weights)
        assert found is not None
        return found

    @property
    def energy_scale(self) -> str:
        """Scale of the energies of these weights."""
        return self.told.energy_scale


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

    @model_validator(mode="after")
    def _ordered(self) -> CurationConfig:
        if self.stable_threshold > self.max_e_hull:
            raise ValueError(f"stable_threshold {self.stable_threshold} must not exceed max_e_hull {self.max_e_hull}")
        return self


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


_VASP_FIXED_TAGS = """
    GGA METAGGA LHFCALC LUSE_VDW IVDW GGA_COMPAT XC ML_LMLFF NSW IBRION ISIF PSTRESS NELECT LDIPOL IDIPOL EFIELD LSORBIT
    LNONCOLLINEAR MAGMOM ICHARG ISTART LDAU LDAUU LDAUJ LDAUL LDAUTYPE
"""
VASP_FIXED_TAGS = frozenset(_VASP_FIXED_TAGS.split())
"""INCAR tags that a user may not set: a label is the PBE energy of the frame as it is, with its forces and stress."""


class VaspConfig(Section):
    """VASP as the labelling code, run by atomate2 and custodian."""

    maker: Literal["matpes", "mp"] = Field(
        default="matpes", description="input set: matpes (680 eV, for training labels) or mp (520 eV, as the Materials Project)"
    )
    version: str = Field(
        default="6", pattern=r"^\d+(\.\d+)*$", description="VASP that makes the labels, such as 6 or 6.4.2; another is an error"
    )
    potcars: Literal["PBE", "PBE_52", "PBE_54", "PBE_64"] | None = Field(
        default=None, description="release of the POTCARs; that of the input set if null (matpes PBE_64, mp PBE)"
    )
    incar: tuple[str, ...] = Field(default=(), description="INCAR lines that go before those of the input set, such as NCORE = 4")
    max_errors: int = Field(default=5, ge=1, le=50, description="corrections by custodian before a frame fails")
    walltime: int | None = Field(default=None, ge=60, description="seconds after which a frame is stopped; no limit if null")

    @field_validator("version", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return f"{value:g}" if type(value) in {int, float} else value  # YAML reads 6 and 6.4 as numbers

    @field_validator("incar")
    @classmethod
    def _incar_lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        tags = []
        for line in value:
            match = re.fullmatch(r"\s*([A-Z][A-Z0-9_]*)\s*=\s*[^\s=;#!][^=;#!]*", line)
            if match is None:
                raise ValueError(f"{line!r} is not an INCAR line; allowed: one TAG = value, the tag in capitals")
            tags.append(match[1])
        fixed = sorted(VASP_FIXED_TAGS.intersection(tags))
        if fixed:
            raise ValueError(f"{', '.join(fixed)} may not be set: labels are static PBE energies with forces and stress")
        if len(set(tags)) != len(tags):
            raise ValueError(f"a tag is repeated in {list(value)}; give each one once")
        return value


class EspressoConfig(Section):
    """Quantum ESPRESSO's ``pw.x`` as the labelling code, run by custodian."""

    family: str = Field(
        default="sg15-pbe", description="family of pseudopotentials: sg15-pbe, or the name in family.json of their directory"
    )
    functional: Literal["PBE", "PBEsol"] = Field(default="PBE", description="functional that the family is made for")
    ecutwfc: Positive = Field(default=60.0, le=1000.0, description="kinetic-energy cutoff of wavefunctions, Ry")
    ecutrho: float | None = Field(
        default=None,
        gt=0.0,
        description="cutoff of the density; 4 times ecutwfc, as norm-conserving potentials need, if null, Ry",
    )
    k_spacing: Positive = Field(default=0.25, le=10.0, description="largest distance of k-points, 2π included, 1/Å")
    smearing: Literal["mv", "gaussian", "mp", "fd"] = Field(
        default="mv", description="smearing of occupations, in pw.x's words (mv: cold smearing)"
    )
    degauss: Positive = Field(default=0.01, le=0.1, description="width of the smearing, Ry")
    conv_thr_per_atom: Positive = Field(default=1e-9, le=1e-4, description="error of the energy per atom at which SCF ends, Ry")
    mixing_beta: Positive = Field(default=0.4, le=1.0, description="share of the new density in the first attempt")
    electron_maxstep: int = Field(default=100, ge=2, le=1000, description="SCF iterations of the first attempt")
    max_seconds: int = Field(default=3600, ge=1, description="seconds after which pw.x stops, to be restarted")
    max_corrections: int = Field(default=8, ge=0, le=50, description="corrections of a frame's run before it fails")

    @model_validator(mode="after")
    def _cutoffs(self) -> EspressoConfig:
        if self.ecutrho is not None and self.ecutrho < 4.0 * self.ecutwfc:
            raise ValueError(f"ecutrho {self.ecutrho:g} must be at least 4 times ecutwfc {self.ecutwfc:g}")
        return self


class LabellingConfig(Section):
    """Which code labels, in which packets, and what a sane label is."""

    code: Annotated[str, Local("code of an installed package is run", is_of_another_package)] = Field(
        default="teacher",
        pattern=CODE_PATTERN,
        description="teacher: a second force field, where no DFT code is used; espresso: Quantum ESPRESSO; vasp: VASP; "
        "maker: the Maker at labelling.maker; or a code of another package",
    )
    teacher: ForceFieldConfig = Field(default_factory=lambda: ForceFieldConfig(weights="r2scan"))
    espresso: EspressoConfig = Field(default_factory=EspressoConfig)
    vasp: VaspConfig = Field(default_factory=VaspConfig)
    maker: Annotated[str, Local("the code of a Maker at this import path is run")] = Field(
        default="",
        pattern=IMPORT_PATH,
        description="import path of a static Maker of atomate2 or another jobflow package, for code: maker",
    )
    arguments: Annotated[dict[str, Any], Local("they are handed to the Maker, or to a code of another package")] = Field(
        default_factory=dict, description="arguments of the Maker by name, or of a code of another package"
    )
    stated: StatedConfig = Field(default_factory=StatedConfig)
    frames_per_job: int = Field(default=20, ge=1, le=1000, description="frames labelled by one job")
    max_force: Positive = Field(default=50.0, description="a frame with a larger force is rejected, eV/Å")
    max_stress: Positive = Field(default=1.0, description="a frame with a larger stress component is rejected, eV/Å³")
    energy_range: tuple[float, float] = Field(
        default=(-50.0, 20.0), description="energies outside (espresso: relative to free atoms) are rejected, eV/atom"
    )

    @model_validator(mode="after")
    def _teacher_has_a_functional(self) -> LabellingConfig:
        """Refuse a teacher whose labels would say nothing of their functional."""
        chosen = self.teacher
        if is_file(chosen.weights):
            raise ValueError(
                f"teacher.weights: got {chosen.weights!r}, and a file may change under its name, allowed: published weights of "
                f"{chosen.family}, {', '.join(descriptor_of(chosen.family, 'force_field').weights)}"
            )
        if self.code == "teacher" and not chosen.told.functional:
            raise ValueError(
                f"teacher: got {chosen.family}/{chosen.weights}, and the functional of its training data is not known, allowed: "
                f"a force field that names it, such as {DEFAULT_FORCE_FIELD.name}"
            )
        return self

    def not_in_use(self) -> frozenset[str]:
        """The sections of the codes that do not label, and what is for Makers and codes of other packages where none labels."""
        own = {"maker": {"maker", "arguments", "stated"}}.get(
            self.code, {"arguments"} if is_of_another_package(self.code) else {self.code}
        )
        return frozenset({*LABELLING_CODES, "arguments", "stated"} - own)

    @field_validator("code")
    @classmethod
    def _installed_code(cls, value: str) -> str:
        return known_code(value)

    @field_validator("arguments")
    @classmethod
    def _plain_data(cls, value: dict[str, Any]) -> dict[str, Any]:
        return plain_arguments(value)

    @model_validator(mode="after")
    def _names_its_maker(self) -> LabellingConfig:
        if self.code == "maker" and not self.maker:
            raise ValueError("maker: code is maker, and no import path is given; such as atomate2.vasp.jobs.mp.MPGGAStaticMaker")
        return self

    @field_validator("energy_range")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"got {list(value)}, allowed: the lower energy first")
        return value


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


class ResourcesConfig(Section):
    """How a transition is cut into jobs for the machine at hand; never part of a result's identity."""

    workers: int | None = Field(
        default=None, ge=1, description="worker processes of a job; all usable cores if unset, and never more"
    )


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
        self.uncertainty.check(chosen.family, chosen.weights, self.node.elements, self.selection.uncertainty_fraction)
        return self

    def identity(self) -> dict[str, Any]:
        """The part of the tree that a state records and its id covers, as plain JSON types (:mod:`coevo.configs.section`)."""
        from coevo.configs.section import recorded

        return {name: value for name, value in recorded(self).items() if name != "resources"}
