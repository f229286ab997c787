"""The section ``labelling`` of a configuration: which codes there are, what each takes, and what is stated of a Maker's."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from coevo.configs.force_field_section import ForceFieldConfig
from coevo.configs.section import Local, Positive, Section
from coevo.families import DEFAULT_FORCE_FIELD, descriptor_of, entry_points_of
from coevo.families.weights_files import is_file

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LABELLER_GROUP = "coevo.labellers"
"""Group of the entry points by which other packages bring labelling codes: ``NAME = "package.module:Class"``."""

LABELLING_CODES = ("teacher", "espresso", "vasp", "maker")
"""Codes that come with coevo; others are found by their entry points."""

_NOT_OF_A_LABEL = frozenset({"allow_teacher", "references", "accept_scale_mismatch"})
"""Keys that no label depends on, so that labels that are there are found when one is changed."""

TEACHER_REFUSED = (
    "{what}, and this configuration says labelling.allow_teacher: false, because a force field that is trained on another one's "
    "labels learns its errors too, and the teacher confirms them; allowed: a code of first principles ("
    "espresso, vasp, or the Maker of a DFT code), or a teacher with labelling.allow_teacher=true"
)
"""Said where labels that are no first-principles ones are asked for and must not be."""

POTENTIALS = ("atomate2.ase.", "atomate2.forcefields.", "atomate2.torchsim.")
"""Where the Makers of interatomic potentials are."""

CODE_PATTERN = r"^[a-z][a-z0-9-]{0,39}$"
IMPORT_PATH = r"^([A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+)?$"

_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(->[^\s>]+)*")


def installed_labellers() -> dict[str, EntryPoint]:
    """Labelling codes that other installed packages bring, by name."""
    return entry_points_of(LABELLER_GROUP)


def is_of_another_package(code: Any) -> bool:
    """Whether a code does not come with coevo."""
    return code not in LABELLING_CODES


def known_code(code: str) -> str:
    """Return a code if it is one.

    Raises
    ------
    ValueError
        If no package that is installed brings it.
    """
    if code not in LABELLING_CODES and code not in (installed := installed_labellers()):
        allowed = ", ".join([*LABELLING_CODES, *sorted(installed)])
        raise ValueError(f"got {code}, allowed: {allowed}, or a code whose package is installed (docs/labels.md)")
    return code


def plain_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a labelling code if they are plain data under names of arguments.

    Raises
    ------
    ValueError
        If a name is none, or a key, a value or a type is one that JSON, MongoDB or a decoder would not leave as it is.
    """
    for name in arguments:
        if not _ARGUMENT.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an argument; allowed: NAME, or NAME->KEY for a part of one")
    _check_plain(arguments, "")
    return arguments


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            here = f"{where}{key}"
            if not isinstance(key, str):
                raise ValueError(f"{here}: got a key that is no text, allowed: text")  # noqa: TRY004  (pydantic wants it)
            if key.startswith(("@", "$", "_fw_")) or "." in key:
                raise ValueError(f"{here}: got a key that a decoder or a database acts on (@…, $…, _fw_…, or with a dot)")
            _check_plain(item, f"{here}: ")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}got {value}, allowed: finite numbers")
    elif not (value is None or isinstance(value, str | bool | int | float)):
        raise ValueError(f"{where}got a {type(value).__name__}, allowed: text, numbers, true, false, null, lists and mappings")


class StatedConfig(Section):
    """What you state of the labels of a Maker: used where neither its class nor its task documents say it."""

    functional: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9+._/ -]{0,59}$|^$",
        description="functional of the energies, such as PBE or r2SCAN; what the Maker's input set says, else its name, if empty",
    )
    anion_corrected: bool | None = Field(
        default=None,
        description="whether the energies hold the MP2020 anion correction already; what is known of the Maker if null",
    )
    first_principles: bool | None = Field(
        default=None, description="whether the labels count as first-principles ones; if null, those of DFT Makers of atomate2 do"
    )
    version: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9+._-]{0,40}$",
        description="version that task documents must name, such as 6.4.2 (VASP Makers: 6 if empty); another is an error",
    )
    packages: tuple[str, ...] = Field(
        default=(), description="further distributions whose versions change the numbers; those that are found are always told"
    )

    @field_validator("version", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return f"{value:g}" if type(value) in {int, float} else value  # YAML reads 6 and 6.4 as numbers

    @field_validator("packages")
    @classmethod
    def _distribution_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
                raise ValueError(f"{name!r} is not the name of a distribution, such as mace-torch")
        return tuple(sorted(set(value)))


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
    allow_teacher: bool | None = Field(
        default=None,
        description="false: labels that are no first-principles ones are refused, be they a teacher's, a Maker's or of an "
        "installed code; null and true: all may label",
    )
    references: Literal["needed", "all"] = Field(
        default="needed",
        description="references that are labelled: those that the energy offsets need, or all, so that the hull has no other",
    )
    accept_scale_mismatch: bool = Field(
        default=False,
        description="train also on labels that one offset per element brings no nearer than 30 meV/atom (rms) to the force "
        "field; twice that rms is then the least by which a label refutes",
    )
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

    @model_validator(mode="after")
    def _is_told_of_a_teacher(self) -> LabellingConfig:
        """Refuse what is no first-principles code by its name; what only its class says is asked when a labeller is made."""
        if self.allow_teacher is False and (what := self._second_force_field()):
            raise ValueError(TEACHER_REFUSED.format(what=f"code: got {what}"))
        return self

    def _second_force_field(self) -> str:
        stated = self.stated.first_principles
        if self.code == "maker" and stated is False:
            return "maker, with stated.first_principles: false"
        if self.code == "maker" and stated is None and self.maker.startswith(POTENTIALS):
            return f"maker, with {self.maker}, of interatomic potentials"
        return self.code if self.code == "teacher" else ""

    def not_in_use(self) -> frozenset[str]:
        """The sections of the codes that do not label, and what is for Makers and codes of other packages where none labels.

        Neither in use by the work of one label: who may label, which references do, and what is trained on.
        """
        own = {"maker": {"maker", "arguments", "stated"}}.get(
            self.code, {"arguments"} if is_of_another_package(self.code) else {self.code}
        )
        return frozenset({*LABELLING_CODES, "arguments", "stated"} - own) | _NOT_OF_A_LABEL

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
