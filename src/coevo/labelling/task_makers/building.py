"""The Maker that a configuration names, with its arguments: imported, built, and refused if it is no Maker of single points."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from coevo.errors import LabellingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobflow import Maker


def maker_class(path: str) -> type[Maker]:
    """Import a class of Makers.

    Parameters
    ----------
    path : str
        Such as ``atomate2.vasp.jobs.mp.MPGGAStaticMaker``. It is the user's own word: one that came in a bundle is not acted
        on before the user has agreed to it (:mod:`coevo.configs.describing`).

    Raises
    ------
    LabellingError
        If there is nothing at the path, or no class of Makers.
    """
    from jobflow import Maker

    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as err:  # noqa: BLE001  (a module of the user's may raise anything)
        hint = "; pip install 'coevo[vasp]' brings atomate2" if str(err) == "No module named 'atomate2'" else ""
        raise LabellingError(f"labelling.maker: {path} cannot be imported: {type(err).__name__}: {err}{hint}") from None
    if not (isinstance(found, type) and issubclass(found, Maker)):
        kind = "the class" if isinstance(found, type) else f"a {type(found).__name__}"
        raise LabellingError(
            f"labelling.maker: {path} is {kind} {getattr(found, '__qualname__', '')}".rstrip()
            + ", allowed: a class of jobflow.Maker whose make takes one structure (docs/labels.md)"
        )
    return found


def build_maker(path: str, arguments: Mapping[str, Any]) -> Maker:
    """Make the Maker.

    Parameters
    ----------
    path : str
    arguments : mapping
        By name; ``NAME->KEY->KEY`` sets a part of what the Maker has, as atomate2's powerups do
        (``input_set_generator->user_incar_settings->ENCUT``).

    Raises
    ------
    LabellingError
        If it does not take the arguments, or relaxes.
    """
    cls = maker_class(path)
    parts = {name: value for name, value in arguments.items() if "->" in name}
    try:
        maker = cls(**{name: value for name, value in arguments.items() if name not in parts})
        if parts:
            maker = maker.update_kwargs({"_set": parts}, nested=False, dict_mod=True)
    except Exception as err:  # noqa: BLE001  (whatever the class raises on arguments that it does not take)
        raise LabellingError(f"labelling.arguments: {path} does not take them: {type(err).__name__}: {err}") from None
    _check_make(path, maker)
    _check_static(path, maker)
    return maker


def _check_make(path: str, maker: Maker) -> None:
    """Raise LabellingError if a Maker cannot be called with a structure alone."""
    from jobflow import Maker

    if type(maker).make is Maker.make:
        raise LabellingError(f"labelling.maker: {path} has no make; allowed: a Maker whose make takes one structure")
    try:
        takes = signature(maker.make)
        takes.bind(object())
    except TypeError as err:
        raise LabellingError(
            f"labelling.maker: {path}.make cannot be called with a structure alone: {err}; it takes {takes}, and a Maker of a "
            "static calculation is called by make(structure)"
        ) from None
    except ValueError:  # it has no signature that Python can tell
        return


def _check_static(path: str, maker: Maker) -> None:
    """Raise LabellingError if a Maker relaxes, or is a Flow of VASP's calculations, whose settings would be in no digest."""
    inner = _within(maker)
    for where, one in [("", maker), *inner]:
        steps = getattr(one, "steps", 1) if is_of(one, "atomate2.ase.jobs.AseRelaxMaker") else 1
        if steps > 1:
            raise LabellingError(
                f"labelling.maker: {path} relaxes a structure ({where}steps: {steps}), and a label is of the frame as it is; "
                "take a static Maker, or steps: 1 in labelling.arguments"
            )
    of_vasp = [f"{where.removesuffix('.')}: {type(one).__name__}" for where, one in inner if is_vasp(one)]
    if of_vasp:
        raise LabellingError(
            f"labelling.maker: {path} is a Flow of calculations by VASP ({', '.join(of_vasp)}), and a label is one static "
            "calculation; take the static Maker itself"
        )


def _within(maker: Maker, above: str = "") -> list[tuple[str, Maker]]:
    """Makers that a Maker of Flows holds, at any depth, each with where: ``static_maker.``."""
    from jobflow import Maker

    found = []
    for name, value in vars(maker).items():
        if isinstance(value, Maker):
            found += [(f"{above}{name}.", value), *_within(value, f"{above}{name}.")]
    return found


def is_of(maker: Maker, path: str) -> bool:
    """Whether a Maker is of a class that is named by its path; nothing is imported to ask."""
    return any(f"{cls.__module__}.{cls.__qualname__}" == path for cls in type(maker).__mro__)


def is_vasp(maker: Maker) -> bool:
    """Whether a Maker runs VASP by atomate2's ``run_vasp``."""
    return is_of(maker, "atomate2.vasp.jobs.base.BaseVaspMaker")


def is_ase(maker: Maker) -> bool:
    """Whether a Maker runs a calculator of ASE."""
    return is_of(maker, "atomate2.ase.jobs.AseMaker")
