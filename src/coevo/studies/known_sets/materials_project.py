"""Known structures from the Materials Project, through pymatgen's client and with the user's own key."""

from __future__ import annotations

import os
import re
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError, ProviderError
from coevo.studies.known_sets.http_json import printable
from coevo.studies.known_sets.known_structures import KnownSet, KnownStructure, reason_against, utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

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
        f"mp: no API key; set {KEYS[0]} to the key of your account at the Materials Project, or give a file or optimade:URL"
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
    systems = ["-".join(system) for size in range(1, len(elements) + 1) for system in combinations(sorted(elements), size)]
    structures, left_out = [], Counter[str]()
    for document in read_summaries(systems, ("material_id", "structure")):
        name, structure, reason = structure_of_summary(document, elements)
        if structure is None:
            left_out[reason] += 1
        else:
            structures.append(KnownStructure(name, structure))
    return KnownSet("Materials Project", utc_now(), tuple(elements), structures, dict(left_out))


def read_summaries(systems: Sequence[str], fields: Sequence[str], *, timeout: float = 60.0) -> list[Any]:
    """Read summaries of all materials of some chemical systems, as plain objects.

    Parameters
    ----------
    systems : sequence of str
        Such as ``Li-P``: materials of these elements and no other.
    fields : sequence of str
    timeout : float
        Of a request, s.

    Raises
    ------
    ConfigError
        If there is no key.
    ProviderError
        If the server cannot be read; ``status`` is that of a refusal. The message never holds the key.
    """
    key = api_key()
    try:
        from pymatgen.ext.matproj import MPRester

        with MPRester(key) as client:
            # plain objects, decoded by the caller: a class that an answer names is not imported
            return client.request(
                f"materials/summary/?_fields={','.join(fields)}&_all_fields=False",
                payload={"chemsys": ",".join(systems)},
                mp_decode=False,
                timeout=timeout,  # type: ignore[arg-type]  # requests takes fractions of a second
            )
    except Exception as err:  # noqa: BLE001 - whatever the client raises may hold the server's words, and those the key
        said = printable(str(err).replace(key, "(key)"))
        found = re.search(r"error status code (\d{3})", said)
        # the client itself refuses what can be no key
        status = int(found.group(1)) if found else 400 if isinstance(err, ValueError) else None
        if status in {401, 403}:
            raise ProviderError(
                f"the Materials Project refuses the key ({status}); set {KEYS[0]} to the key that your account there shows",
                status=status,
            ) from None
        raise ProviderError(f"the Materials Project cannot be read: {type(err).__name__}: {said}", status=status) from None


def structure_of_summary(document: Any, elements: Sequence[str]) -> tuple[str, Structure | None, str]:
    """Name and structure of a material; without a structure, why it cannot be used."""
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
