"""What of a configuration names work: the keys of jobs and the ids of states, which keys added later must not change.

Keys that were there at first (``first_keys.json``) are always named, so that work of that time is found. A key that was added
later is named where it is not at its default: a node that does not use it keeps its ids, and its finished jobs their keys. So the
default of a later key is part of its meaning and never changes; who wants another default adds another key.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from coevo.configs.section import Section


@lru_cache(maxsize=1)
def first_keys() -> dict[str, dict[str, Any]]:
    """Sections that were there at first: class name to its keys with their defaults of that time, as JSON. Never edited."""
    return json.loads(files("coevo.configs").joinpath("first_keys.json").read_text(encoding="utf-8"))


def recorded(section: Section) -> dict[str, Any]:
    """Return a section as a state records it, in JSON types: without later keys that are at their default."""
    return _named(section, only_in_use=False)


def identifying(section: Section) -> dict[str, Any]:
    """Return a section as the key of a job holds it, in JSON types: as recorded, and nothing of codes and families not in use.

    A section that is not in use and was there at first stands in the key with the defaults of that time.
    """
    return _named(section, only_in_use=True)


def _named(section: Section, *, only_in_use: bool) -> dict[str, Any]:
    first = first_keys().get(type(section).__name__, {})
    unused = section.not_in_use() if only_in_use else frozenset()
    plain = section.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        if name in unused:
            if name in first:
                found[name] = first[name]
            continue
        value = getattr(section, name)
        is_default = not field.is_required() and value == field.get_default(call_default_factory=True)
        if name in first or not is_default:
            found[name] = _named(value, only_in_use=only_in_use) if isinstance(value, Section) else plain[name]
    return found
