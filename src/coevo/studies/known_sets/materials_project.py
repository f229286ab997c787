"""Known structures from the Materials Project, through pymatgen's client and with the user's own key."""

from __future__ import annotations

import os
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError, ProviderError
from coevo.studies.known_sets.http_json import printable
from coevo.studies.known_sets.known_structures import KnownSet, KnownStructure, reason_against, utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = ("MP_API_KEY", "PMG_MAPI_KEY")
"""Environment variables that hold the key, the first one that is set; then ``PMG_MAPI_KEY`` of pymatgen's settings file."""


def api_key() -> str:
    """Return the user's key.

    Raises
    ------
    ConfigError
        If there is none.
    """
    from pymatgen.core import SETTINGS

    for name in KEYS:
        if os.environ.get(name):
            return os.environ[name]
    if SETTINGS.get(KEYS[1]):
        return str(SETTINGS[KEYS[1]])
    raise ConfigError(
        f"--against mp: no API key; set {KEYS[0]} to the key of your account at the Materials Project, or give a file or "
        "optimade:URL"
    )


def read_materials_project(elements: Sequence[str]) -> KnownSet:
    """Read all structures of a chemical system and its sub-systems; needs a key in the environment.

    Parameters
    ----------
    elements : sequence of str

    Raises
    ------
    ConfigError
        If there is no key.
    ProviderError
        If the server cannot be read; the message never holds the key.
    """
    key = api_key()
    systems = ["-".join(system) for size in range(1, len(elements) + 1) for system in combinations(sorted(elements), size)]
    try:
        documents = _documents(key, systems)
    except ProviderError:
        raise
    except Exception as err:  # noqa: BLE001 - whatever the client raises may hold the server's words, and those the key
        said = printable(str(err).replace(key, "(key)"))
        raise ProviderError(f"the Materials Project cannot be read: {type(err).__name__}: {said}") from None
    structures, left_out = [], Counter[str]()
    for document in documents:
        name, structure, reason = _read(document, elements)
        if structure is None:
            left_out[reason] += 1
        else:
            structures.append(KnownStructure(name, structure))
    return KnownSet("Materials Project", utc_now(), tuple(elements), structures, dict(left_out))


def _documents(key: str, systems: Sequence[str]) -> list[Any]:
    """Summaries of all materials of some chemical systems, as plain objects."""
    from pymatgen.ext.matproj import MPRester

    with MPRester(key) as client:
        # plain objects, decoded below: a class that an answer names is not imported
        return client.request(
            "materials/summary/?_fields=material_id,structure&_all_fields=False",
            payload={"chemsys": ",".join(systems)},
            mp_decode=False,
        )


def _read(document: Any, elements: Sequence[str]) -> tuple[str, Any, str]:
    from coevo.configs.structures.json_structures import structure_from_item

    try:
        name = printable(str(document["material_id"]), 100)
        structure = structure_from_item(document["structure"])
        if not structure.is_ordered:
            return name, None, "disordered"
        structure.remove_oxidation_states()
        reason = reason_against(structure, elements)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return "", None, "unreadable"
    return name, None if reason else structure, reason or ""
