"""What labels of a Maker are computed with: everything that the Maker holds, and the versions of what it runs.

The form does not depend on a frame. Of the Maker's fields those are left out that say how and not what: names, how a program is
started, what is kept of its output.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelSettings
from coevo.labelling.task_makers.building import is_ase, is_of, is_vasp, maker_class
from coevo.labelling.task_makers.vasp import input_settings
from coevo.labelling.vasp.input_sets import PARALLEL_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobflow import Maker

    from coevo.configs.labelling_section import StatedConfig

HOW = frozenset(
    {
        "@version",
        "name",
        "run_vasp_kwargs",
        "copy_vasp_kwargs",
        "task_document_kwargs",
        "stop_children_kwargs",
        "ionic_step_data",
        "store_trajectory",
        "tags",
    }
)
"""Fields of Makers that change no number."""

WHERE = frozenset({"device", "use_device"})
"""Arguments of calculators that say where they run, as ``COEVO_DEVICE`` does for coevo's force fields."""

NO_NUMBERS = frozenset({"coevo", "jobflow", "monty", "pydantic"})
"""Distributions of a Maker's bases that change no number."""

FIRST_PRINCIPLES = tuple(f"atomate2.{code}." for code in ("vasp", "aims", "abinit", "cp2k", "qchem", "jdftx"))
"""Where the Makers of first-principles codes are."""

KNOWN_SCALES = {"CHGNet": ("PBE", True), "MatPES-PBE": ("PBE", False), "MatPES-r2SCAN": ("r2SCAN", False)}
"""Force fields of atomate2 to the functional of their published weights, and whether these hold the MP2020 correction."""

DEFAULT_VASP = "6"
"""Version of VASP whose labels are wanted, if none is stated, as of the labelling code ``vasp``."""


@dataclass(frozen=True)
class Known:
    """What is known of a Maker's labels before anything is stated.

    Attributes
    ----------
    functional : str
    anion_corrected : bool
    version : str
    told : dict
        Further parameters.
    """

    functional: str
    anion_corrected: bool
    version: str
    told: dict[str, Any]


def counts_as_first_principles(maker: Maker, stated: bool | None) -> bool:
    """Whether the labels of a Maker say something about stability: as stated, else by the code whose Maker it is."""
    return _is_of_first_principles(type(maker)) if stated is None else stated


def path_is_of_first_principles(path: str) -> bool:
    """Whether the class at an import path is one of a first-principles code; of what cannot be imported the path says it."""
    if path.startswith(FIRST_PRINCIPLES):
        return True
    try:
        return _is_of_first_principles(maker_class(path))
    except LabellingError:
        return False


def _is_of_first_principles(maker: type[Maker]) -> bool:
    return any(cls.__module__.startswith(FIRST_PRINCIPLES) for cls in maker.__mro__)


def settings_of(code: str, maker: Maker, stated: StatedConfig, elements: Sequence[str], command: str) -> LabelSettings:
    """Return the settings of the labels of a Maker.

    Parameters
    ----------
    code : str
    maker : Maker
    stated : StatedConfig
    elements : sequence of str
        Of the node.
    command : str
        How VASP is started, for its Makers.

    Raises
    ------
    LabellingError
        If something that the labels need is missing here, or the Maker holds what has no plain form.
    """
    packages = packages_of(maker, stated.packages)
    if is_vasp(maker):
        functional, told = input_settings(maker, elements, command)
        known = Known(functional or type(maker).__name__, False, DEFAULT_VASP, told)
    elif is_ase(maker):
        known = _of_calculator(maker, packages)
    else:
        first = next(iter(packages.items()), None)
        known = Known(type(maker).__name__, False, " ".join(first) if first else "unversioned", {})
    return LabelSettings(
        code=code,
        version=stated.version or known.version,
        functional=stated.functional or known.functional,
        anion_corrected=known.anion_corrected if stated.anion_corrected is None else stated.anion_corrected,
        parameters={
            "maker": f"{type(maker).__module__}.{type(maker).__qualname__}",
            "fields": plain_fields(maker),
            "packages": packages,
            "sources": sources_of(maker),
            **known.told,
        },
    )


def plain_fields(maker: Maker) -> dict[str, Any]:
    """Return what a Maker holds as JSON, files by their sha256.

    Raises
    ------
    LabellingError
        If something has no plain form.
    """
    from monty.json import jsanitize

    try:
        # input sets hold numbers of ruamel.yaml's own types
        plain = json.loads(json.dumps(jsanitize(maker.as_dict(), strict=True, enum_values=True)))
    except Exception as err:  # noqa: BLE001  (whatever an as_dict raises)
        raise LabellingError(
            f"{type(maker).__name__}: what it holds has no plain form, so that its labels cannot be told from others: "
            f"{type(err).__name__}: {err}"
        ) from None
    return {key: _plain(value) for key, value in plain.items() if not key.startswith("@") and key not in HOW}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            str(key): _plain(item)
            for key, item in value.items()
            if key not in WHERE and key != "@version" and str(key).upper() not in PARALLEL_TAGS
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and value.startswith(("/", "~")):
        path = Path(value).expanduser()
        if path.is_file():
            return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return value


def packages_of(maker: Maker, further: Sequence[str]) -> dict[str, str]:
    """Return the versions of the distributions that a Maker and its bases, its input set and its calculator come from.

    Raises
    ------
    LabellingError
        If one that the user names is not installed.
    """
    found = {}
    for name in further:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise LabellingError(f"labelling.stated.packages: {name} is not installed here; pip install {name}") from None
    classes = [*type(maker).__mro__, type(getattr(maker, "input_set_generator", None)), type(_calculator(maker))]
    distributions = _distributions()
    # pymatgen is a namespace of several distributions; ase holds calculators of its own
    for module in dict.fromkeys(cls.__module__.partition(".")[0] for cls in classes):
        for name in distributions.get(module, []):
            if name.lower() not in NO_NUMBERS:
                found[name.lower()] = metadata.version(name)
    if is_ase(maker):
        found["ase"] = metadata.version("ase")
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    """Module at the top to the distributions that bring it; reading them takes a moment."""
    return metadata.packages_distributions()


def sources_of(maker: Maker) -> dict[str, str]:
    """Sha256 of the modules of a Maker's classes that belong to no distribution, such as a file of the user's."""
    distributions = _distributions()
    found = {}
    for cls in type(maker).__mro__:
        top = cls.__module__.partition(".")[0]
        if top in distributions or top in {"builtins", "abc", "typing"}:
            continue
        try:
            source = inspect.getsourcefile(cls)
        except TypeError:
            source = None
        if source and Path(source).is_file():
            found[cls.__module__] = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return found


def _calculator(maker: Maker) -> Any:
    """Calculator of an ASE Maker; loading it here tells hours before the first label that it cannot be had.

    Raises
    ------
    LabellingError
        If it cannot be loaded.
    """
    if not is_ase(maker):
        return None
    try:
        with redirect_stdout(StringIO()):  # some say hello
            return maker.calculator  # type: ignore[attr-defined]
    except Exception as err:  # noqa: BLE001  (whatever a package raises whose weights or modules are missing)
        raise LabellingError(f"{type(maker).__name__}: its calculator cannot be had: {type(err).__name__}: {err}") from None


def _of_calculator(maker: Maker, packages: dict[str, str]) -> Known:
    calculator = _calculator(maker)
    module = type(calculator).__module__.partition(".")[0]
    distribution = next((name.lower() for name in _distributions().get(module, [])), "")
    version = f"{distribution} {packages[distribution]}" if distribution in packages else type(calculator).__name__
    name, corrected = type(calculator).__name__, False
    if is_of(maker, "atomate2.forcefields.utils.ForceFieldMixin"):
        published = str(maker.force_field_name).removeprefix("MLFF.")  # type: ignore[attr-defined]
        own = {"path", "model"}.intersection(maker.calculator_kwargs)  # type: ignore[attr-defined]
        key = next((key for key in KNOWN_SCALES if key.replace("-", "_").upper() == published.replace("-", "_").upper()), None)
        if key is not None and not own and (key != "CHGNet" or distribution == "chgnet"):
            name, corrected = KNOWN_SCALES[key]
    return Known(name, corrected, version, {})
