"""Known structures from an OPTIMADE provider: all of a chemical system, page by page.

The query is ``elements HAS ONLY …``, which the specification makes optional; a server without it is asked for each sub-system
with ``elements HAS ALL … AND nelements=…``, which every server must have. What a server gives is checked structure by structure.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from coevo.app.http_json import HttpLimits, JsonReader, printable, shown_url
from coevo.app.known_sets import KnownSet, KnownStructure, reason_against, utc_now
from coevo.app.optimade_structures import refusal, structure_of
from coevo.errors import ProviderError
from coevo.makers.progress import task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIELDS = "lattice_vectors,cartesian_site_positions,species,species_at_sites,nsites,dimension_types"
PAGES = (100, 10)
"""Structures asked for at a time, and what is asked of a server that refuses so many."""

NO_SUCH_FILTER = frozenset({400, 422, 500, 501})
"""What servers answer to a filter that they do not implement."""


@dataclass
class _Received:
    """What came in so far, by the provider's ids."""

    structures: dict[str, KnownStructure] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def read_optimade(url: str, elements: Sequence[str], limits: HttpLimits | None = None) -> KnownSet:
    """Read all structures of a chemical system and its sub-systems from a provider.

    Parameters
    ----------
    url : str
        Base URL, with or without ``/v1``.
    elements : sequence of str
    limits : HttpLimits, optional

    Raises
    ------
    ProviderError
        If the server cannot be reached, refuses, answers what is not OPTIMADE, or does not come to an end. Nothing is returned
        then: a count against a part of a set would be wrong.
    """
    base = base_url(url)
    reader = JsonReader(base, limits or HttpLimits())
    received = _Received()
    with task(f"reading {shown_url(base)}", 0, "structures") as advance:
        try:
            _collect(reader, base, has_only(elements), elements, received, advance)
        except ProviderError as refusal:
            if refusal.status not in NO_SUCH_FILTER or received.seen:
                raise
            for filter_ in system_filters(elements):
                _collect(reader, base, filter_, elements, received, advance)
    structures = [received.structures[identifier] for identifier in sorted(received.structures)]
    return KnownSet(
        f"OPTIMADE {shown_url(base)}", utc_now(), tuple(elements), structures, dict(received.left_out), received.notes
    )


def base_url(url: str) -> str:
    """Base URL of a provider with its version, which is 1 if none is given."""
    base = url.strip().rstrip("/").removesuffix("/structures")
    return base if re.search(r"/v\d+(\.\d+)*$", base) else f"{base}/v1"


def has_only(elements: Sequence[str]) -> str:
    """Filter for a chemical system and its sub-systems."""
    return "elements HAS ONLY " + ",".join(f'"{symbol}"' for symbol in elements)


def system_filters(elements: Sequence[str]) -> Iterator[str]:
    """Filters that give the same together, one for each sub-system."""
    for size in range(1, len(elements) + 1):
        for system in combinations(elements, size):
            yield "elements HAS ALL " + ",".join(f'"{symbol}"' for symbol in system) + f" AND nelements={size}"


def _collect(reader: JsonReader, base: str, filter_: str, elements: Sequence[str], received: _Received, advance: Any) -> None:
    """Read all pages of one filter."""
    url, parameters = f"{base}/structures", {"filter": filter_, "response_fields": FIELDS}
    page = _first_page(reader, url, parameters)
    given, pages = 0, {url}
    while True:
        entries = _entries(url, page)
        given += len(entries)
        before = len(received.seen)
        for entry in entries:
            _take(entry, elements, received)
        advance(len(entries))
        following = _next(page)
        if following is None:
            break
        if len(received.seen) == before:
            raise ProviderError(f"{shown_url(url)}: its pages do not come to an end: one brought nothing new and names another")
        url = reader.checked(following, url)
        if url in pages:
            raise ProviderError(
                f"{shown_url(url)}: its pages do not come to an end: one names itself or an earlier one as the next"
            )
        pages.add(url)
        page = reader.get(url)
    announced = page.get("meta", {}).get("data_returned") if isinstance(page.get("meta"), dict) else None
    if isinstance(announced, int) and announced > given:
        received.notes.append(f"the server announced {announced} structures and gave {given}")


def _first_page(reader: JsonReader, url: str, parameters: dict[str, str]) -> Any:
    """Ask for many structures at a time, and for few where the server does not allow so many."""
    try:
        return reader.get(url, {**parameters, "page_limit": str(PAGES[0])})
    except ProviderError as refusal:
        # 403 is what the specification has for a page_limit that is too large
        if refusal.status != 403:
            raise
    return reader.get(url, {**parameters, "page_limit": str(PAGES[1])})


def _entries(url: str, page: Any) -> list[Any]:
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list):
        raise ProviderError(
            f"{shown_url(url)}: not an OPTIMADE answer: it has no list called data; is this the base URL of a provider?"
        )
    return data


def _next(page: dict[str, Any]) -> str | None:
    """Address of the next page, in either of the forms that JSON:API allows."""
    links = page.get("links")
    following = links.get("next") if isinstance(links, dict) else None
    if isinstance(following, dict):
        following = following.get("href")
    return following if isinstance(following, str) and following else None


def _take(entry: Any, elements: Sequence[str], received: _Received) -> None:
    """Keep a structure, or count why not; one that was there already is passed over."""
    identifier = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(identifier, str | int):
        received.left_out["unreadable"] += 1
        return
    name = printable(str(identifier), 100)
    if name in received.seen:
        return
    received.seen.add(name)
    attributes = entry.get("attributes")
    reason = refusal(attributes)
    if reason is None:
        try:
            structure = structure_of(attributes)
            reason = reason_against(structure, elements)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            reason = "unreadable"
    if reason is None:
        received.structures[name] = KnownStructure(name, structure)
    else:
        received.left_out[reason] += 1
