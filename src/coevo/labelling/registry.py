"""Labelling codes by name: those that come with coevo and those of other installed packages (entry points ``coevo.labellers``).

Whoever asks which codes there are, what they are called, or whether their labels are first-principles ones asks here. A code of
another package is imported when it labels, and not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from coevo.configs.labelling_section import POTENTIALS, TEACHER_REFUSED, installed_labellers
from coevo.errors import ConfigError, LabellingError
from coevo.families import descriptor_of, is_known
from coevo.labelling.contract import Found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.configs.tree import LabellingConfig
    from coevo.labelling.contract import Labeller, Workplace

FIRST_PRINCIPLES_SECONDS = 250.0
"""Of a static run of a dozen atoms by pw.x at the default cutoff and k-points, on one core (docs/espresso.md)."""

POTENTIAL_SECONDS = 0.5
"""Of a single point of a Maker of interatomic potentials, with its task document."""


@dataclass(frozen=True)
class LabellingCode:
    """A labelling code.

    Attributes
    ----------
    name : str
        In ``labelling.code``, and ``code`` of its labels.
    place : str
        ``package.module:Class``; empty for labels that no code here computes.
    title : str
        What people call it.
    first_principles : bool or None
        Whether its labels say something about stability. None: that depends, and each label says it.
    option : str
        What ``coevo label --labeller`` calls it.
    by_element : str
        Parameter of its settings that names something of each element of the node.
    core_seconds : float or None
        What a frame of about 12 atoms takes on one core; None if that depends on the settings.
    """

    name: str
    place: str
    title: str
    first_principles: bool | None
    option: str
    by_element: str = ""
    core_seconds: float | None = None


BUILT_IN = {
    code.name: code
    for code in (
        LabellingCode("teacher", "coevo.labelling.teacher:TeacherLabeller", "teacher", False, "teacher", core_seconds=0.03),
        LabellingCode("espresso", "coevo.labelling.espresso.labeller:EspressoLabeller", "Quantum ESPRESSO", True, "qe"),
        LabellingCode("vasp", "coevo.labelling.vasp.labeller:VaspLabeller", "VASP", True, "vasp", "potcars"),
        LabellingCode("maker", "coevo.labelling.task_makers.labeller:MakerLabeller", "a Maker", None, "maker", "potcars"),
    )
}
"""The codes that come with coevo."""

IMPORTED = LabellingCode("imported", "", "imported", True, "")
"""Labels from files that a user has already."""


def labelling_codes() -> dict[str, LabellingCode]:
    """Every code that can label here, by name: coevo's own first."""
    return BUILT_IN | {
        name: LabellingCode(name, point.value, name, None, name)
        for name, point in sorted(installed_labellers().items())
        if name not in BUILT_IN
    }


def labelling_code(name: str) -> LabellingCode:
    """Return a code by its name; one that is not installed here is told by its name only."""
    return {**labelling_codes(), IMPORTED.name: IMPORTED}.get(name) or LabellingCode(name, "", name, None, name)


def options() -> dict[str, str]:
    """What ``coevo label --labeller`` calls a code, to its name."""
    return {code.option: code.name for code in labelling_codes().values()}


def labeller_class(name: str) -> type[Labeller]:
    """Import the class of a code.

    Raises
    ------
    LabellingError
        If no installed package brings the code, or it cannot be imported or is no labelling code.
    """
    code = labelling_codes().get(name)
    if code is None:
        raise LabellingError(f"labelling.code: got {name}, allowed: {', '.join(labelling_codes())}")
    module, _, attribute = code.place.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as err:
        raise LabellingError(f"labelling code {name!r}: {code.place} cannot be imported: {err}") from None
    if not (isinstance(found, type) and callable(getattr(found, "for_node", None))):
        raise LabellingError(
            f"labelling code {name!r}: {code.place} is no labelling code; allowed: a class with for_node, settings and label "
            "(docs/labels.md)"
        )
    return found


def labeller_at(place: Workplace) -> Labeller:
    """Make the labelling code of a node on this machine.

    Raises
    ------
    LabellingError
        If the code cannot be had, or its labels are no first-principles ones and the section allows no others.
    """
    labelling = place.labelling
    labeller = labeller_class(labelling.code).for_node(place)
    if labelling.allow_teacher is False and not getattr(labeller, "first_principles", False):
        what = f"labelling.code: got {_named(labelling)}, whose labels are no first-principles ones"
        raise LabellingError(TEACHER_REFUSED.format(what=what))
    return labeller


def by_element(name: str) -> str:
    """Parameter of the settings of a code that names something of each element of the node; empty if there is none."""
    if name in BUILT_IN:
        return BUILT_IN[name].by_element
    return str(getattr(labeller_class(name), "by_element", "")) if name in labelling_codes() else ""


def seconds_of_frame(labelling: LabellingConfig) -> float:
    """What a frame of about 12 atoms takes on one core, for plans; no Maker is imported to ask.

    A code that does not say it is taken for a first-principles one, unless it is a Maker of interatomic potentials.
    """
    code = labelling_code(labelling.code)
    if code.name == "maker" and labelling.stated.first_principles is not True:
        potential = labelling.stated.first_principles is False or labelling.maker.startswith(POTENTIALS)
        return POTENTIAL_SECONDS if potential else FIRST_PRINCIPLES_SECONDS
    known = code.core_seconds if code.name in BUILT_IN else getattr(labeller_class(code.name), "core_seconds", None)
    return FIRST_PRINCIPLES_SECONDS if known is None else float(known)


def says_first_principles(labeller: Labeller, name: str) -> dict[str, bool]:
    """Field of a label that says whether it is a first-principles one, for codes whose name does not say it."""
    if labelling_code(name).first_principles is not None:
        return {}
    return {"first_principles": bool(labeller.first_principles)}


def makes_first_principles(labelling: LabellingConfig) -> bool:
    """Whether the labels that a section asks for will be first-principles ones, as :func:`says_first_principles` says of each.

    The class of a Maker, or of a code of another package, is imported where neither the section nor the import path says it; what
    cannot be imported here, or says it only of an object, is taken for none.
    """
    code = labelling_code(labelling.code)
    if code.first_principles is not None:
        return code.first_principles
    if code.name == "maker":
        from coevo.labelling.task_makers.settings import path_is_of_first_principles

        stated = labelling.stated.first_principles
        if stated is None:
            return not labelling.maker.startswith(POTENTIALS) and path_is_of_first_principles(labelling.maker)
        return stated
    try:
        return getattr(labeller_class(code.name), "first_principles", False) is True
    except LabellingError:
        return False


def is_first_principles(label: Mapping[str, Any]) -> bool:
    """Whether a label says something about stability: by its code, else by what was said of it when it was made."""
    known = labelling_code(str(label["code"])).first_principles
    return bool(label.get("first_principles")) if known is None else known


def described(labelling: Mapping[str, Any]) -> str:
    """Say who labels, by the section of a state, plainly where the labels are no first-principles ones."""
    code = str(labelling["code"])
    if code == "teacher":
        teacher = labelling.get("teacher", {})
        return (
            f"teacher: a second force field ({teacher.get('family', '?')} {teacher.get('weights', '')}), not first-principles "
            "calculations"
        )
    return f"maker {labelling.get('maker', '?')}" if code == "maker" else code


def teacher_line(labelling: Mapping[str, Any]) -> str:
    """One line for tables of a node that a second force field labels, by the section of a state; empty for another code."""
    if labelling.get("code") != "teacher":
        return ""
    teacher = labelling.get("teacher") or {}
    family = str(teacher.get("family", "?"))
    title = descriptor_of(family, "force_field").title if is_known(family, "force_field") else family
    name = " ".join(filter(None, (title, str(teacher.get("weights", "")))))
    return f"labels: {name}, a teacher, no first principles"


def found_here() -> list[Found]:
    """What this machine has for each code, for ``coevo doctor``."""
    rows: list[Found] = []
    for name, code in labelling_codes().items():
        try:
            here = getattr(labeller_class(name), "here", None)
            if here is not None:
                rows += here()
            elif name not in BUILT_IN:
                rows.append(Found(f"labelling code {name}", "ok", code.place))
        except LabellingError as err:
            rows.append(Found(f"labelling code {name}", "problem", str(err), "install its package again"))
    return rows


def configured(labelling: LabellingConfig, option: str) -> LabellingConfig:
    """Return a labelling section with another code, by what the command line calls it.

    Raises
    ------
    ConfigError
        If there is no such code here, or its labels are no first-principles ones and the section allows no others.
    """
    known = options()
    if option not in known:
        raise ConfigError(f"--labeller: got {option}, allowed: {', '.join(known)}")
    asked = labelling.model_copy(update={"code": known[option]})
    is_told = asked.code != "maker" or bool(asked.maker)  # a Maker without a path is refused with other words where it is made
    if labelling.allow_teacher is False and is_told and not makes_first_principles(asked):
        words = "" if asked.code == "teacher" else ", of which nothing says that its labels are first-principles ones"
        raise ConfigError(TEACHER_REFUSED.format(what=f"--labeller: got {_named(asked)}{words}"))
    return asked


def _named(labelling: LabellingConfig) -> str:
    return f"maker ({labelling.maker})" if labelling.code == "maker" else labelling.code
