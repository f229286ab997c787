"""Known structures from an OPTIMADE provider: all of a chemical system, sub-system by sub-system and page by page.

Each sub-system is asked for with ``elements HAS ALL … AND nelements=…``. The one query ``elements HAS ONLY …`` would do by the
specification, but servers take it for another: OQMD answers it with the structures that have *all* of the elements, so that the
sub-systems are missing without a word. What a server gives is checked structure by structure.

Also here, one page of an OPTIMADE answer: its entries, where the next one is, and what the server says against it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from coevo.errors import ProviderError
from coevo.output.progress import task
from coevo.studies.known_sets.http_json import HttpLimits, JsonReader, printable, shown_url
from coevo.studies.known_sets.known_structures import KnownSet, KnownStructure, reason_against, utc_now
from coevo.studies.piles.json_entries import refusal, structure_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure


FILTER_WORDS = re.compile(
    r"(?i)(filter|has\s+only|has\s+all|operator|query).*(ignor|not\s+(supported|implemented|understood|recogni|available)|unsupported|"
    r"unimplemented|unknown|invalid|cannot)|(ignor|unsupported|unknown|unimplemented|invalid)\w*\s.*(filter|has\s+only|has\s+all|operator)"
)
"""How servers say that they do not heed a filter."""


@dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes
    ----------
    entries : list
    following : str or None
        Address of the next page.
    more : bool
        Whether the server says that more data are available.
    announced : int or None
        How many structures it says that the filter has in all.
    warnings : tuple of str
    version : str
        Of the database, as its server says; empty if it says none.
    """

    entries: list[Any]
    following: str | None
    more: bool
    announced: int | None
    warnings: tuple[str, ...]
    version: str = ""


def read_page(url: str, document: Any) -> Page:
    """Read a page.

    Raises
    ------
    ProviderError
        If it is no page of OPTIMADE, holds errors (also beside data, and with HTTP 200), or warns that the filter was not heeded.
    """
    if not isinstance(document, dict):
        document = {}
    errors = document.get("errors")
    if errors:
        raise ProviderError(f"{shown_url(url)}: answers with errors: {_words(errors)}", status=_status(errors))
    entries = document.get("data")
    if not isinstance(entries, list):
        raise ProviderError(
            f"{shown_url(url)}: not an OPTIMADE answer: it has no list called data; is this the base URL of a provider?"
        )
    meta = document.get("meta") if isinstance(document.get("meta"), dict) else {}
    warnings = tuple(_words([warning]) for warning in [*_list(meta, "warnings"), *_list(document, "warnings")])
    heedless = next((words for words in warnings if FILTER_WORDS.search(words)), None)
    if heedless is not None:
        raise ProviderError(f"{shown_url(url)}: warns that it does not heed the filter: {heedless}", status=501)
    more = meta.get("more_data_available")
    following = _next(document)
    has_more = more is True or str(more).lower() == "true"
    return Page(entries, following, has_more, _count(meta.get("data_returned")), warnings, _version(meta))


def _version(meta: dict[str, Any]) -> str:
    """Version of the database (OPTIMADE 1.2); that of the server's program is another matter."""
    database = meta.get("database")
    version = database.get("version") if isinstance(database, dict) else None
    return printable(version, 60) if isinstance(version, str) else ""


def _list(place: dict[str, Any], key: str) -> list[Any]:
    found = place.get(key)
    return found[:20] if isinstance(found, list) else []


def _next(document: dict[str, Any]) -> str | None:
    """Address of the next page, in either of the forms that JSON:API allows, or as MPDS calls it."""
    links = document.get("links")
    if not isinstance(links, dict):
        return None
    for key in ("next", "next_page"):
        following = links.get(key)
        if isinstance(following, dict):
            following = following.get("href")
        if isinstance(following, str) and following:
            return following
    return None


def _count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 16:
        return int(value)
    return value if isinstance(value, int) and value >= 0 else None


def _words(problems: Any) -> str:
    """What JSON:API errors or warnings say."""
    first = problems[0] if isinstance(problems, list) and problems else problems
    if isinstance(first, dict):
        first = first.get("detail") or first.get("title") or first.get("message") or first.get("code") or "no words"
    return printable(str(first))


def _status(problems: Any) -> int | None:
    first = problems[0] if isinstance(problems, list) and problems else {}
    status = str(first.get("status", "")) if isinstance(first, dict) else ""
    return int(status) if status.isdecimal() and len(status) == 3 else None


FIELDS = "lattice_vectors,cartesian_site_positions,species,species_at_sites,nsites,dimension_types,structure_features,assemblies"
PAGES = (100, 10)
"""Structures asked for at a time, and what is asked of a server that refuses so many."""

_EMPTY_PAGES = 10
"""Pages without a structure that are followed one after the other: servers that filter late have some."""


@dataclass
class Told:
    """What a server said of its answers.

    Attributes
    ----------
    notes : list of str
        Its warnings.
    missing : list of str
        What speaks against the answers being whole: fewer structures than announced.
    version : str
        Of the database, where the server tells it.
    """

    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    version: str = ""


def read_optimade(url: str, elements: Sequence[str], limits: HttpLimits | None = None) -> KnownSet:
    """Read all structures of a chemical system and its sub-systems from a provider.

    Parameters
    ----------
    url : str
        Base URL, with or without ``/v1``.
    elements : sequence of str
    limits : HttpLimits, optional

    Returns
    -------
    KnownSet
        ``missing`` says what speaks against its being whole.

    Raises
    ------
    ProviderError
        If the server cannot be reached, refuses, answers what is not OPTIMADE, says that there is more and not where, does not
        come to an end, or gives structures that cannot be read and no other; the sub-system is named. Nothing is returned then: a
        count against a part of a set would be wrong.
    """
    base = base_url(url)
    reader = JsonReader(base, limits or HttpLimits())
    told, left_out = Told(), Counter[str]()
    structures: dict[str, KnownStructure] = {}
    seen: set[str] = set()
    systems = list(sub_systems(elements))
    with task(f"reading {shown_url(base)}", 0, "structures") as advance:
        for number, system in enumerate(systems, start=1):
            try:
                for name, attributes in system_entries(reader, base, system, FIELDS, told):
                    advance(1)
                    if name is not None and name in seen:
                        continue
                    seen.update(() if name is None else (name,))
                    structure, reason = structure_or_reason(attributes, elements)
                    if name is None or structure is None:
                        left_out["unreadable" if name is None else reason] += 1
                    else:
                        structures[name] = KnownStructure(name, structure)
            except ProviderError as problem:
                where = f"sub-system {'-'.join(system)}, {number} of {len(systems)}"
                raise ProviderError(f"{problem} ({where}; the others are not used without it)", status=problem.status) from None
    if left_out["unreadable"] and not structures:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise ProviderError(f"{shown_url(base)}: none of its structures of {'-'.join(elements)} can be compared: {reasons}")
    if left_out["off_system"]:
        count = left_out["off_system"]
        told.missing.append(f"{count} of the structures it gave are of other elements, so it did not heed the filter")
    found = [structures[name] for name in sorted(structures)]
    return KnownSet(f"OPTIMADE {shown_url(base)}", utc_now(), tuple(elements), found, dict(left_out), told.notes, told.missing)


def base_url(url: str) -> str:
    """Base URL of a provider with its version, which is 1 if none is given."""
    base = url.strip().rstrip("/").removesuffix("/structures")
    return base if re.search(r"/v\d+(\.\d+)*$", base) else f"{base}/v1"


def sub_systems(elements: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """A chemical system and its sub-systems: elements first, then pairs, and so on."""
    for size in range(1, len(elements) + 1):
        yield from combinations(elements, size)


def system_filter(system: Sequence[str]) -> str:
    """Filter for the structures that have these elements and no other."""
    return "elements HAS ALL " + ",".join(f'"{symbol}"' for symbol in system) + f" AND nelements={len(system)}"


def system_entries(
    reader: JsonReader, base: str, system: Sequence[str], fields: str, told: Told
) -> Iterator[tuple[str | None, Any]]:
    """Read all pages of one sub-system.

    Parameters
    ----------
    reader : JsonReader
    base : str
        With the version.
    system : sequence of str
    fields : str
        Asked for, joined by commas.
    told : Told
        Takes what the server says.

    Yields
    ------
    name : str or None
        Of an entry, each once; None if it has none.
    attributes : object
        As they came.

    Raises
    ------
    ProviderError
        As :func:`read_optimade`.
    """
    url, parameters = f"{base}/structures", {"filter": system_filter(system), "response_fields": fields}
    page = read_page(url, _first_page(reader, url, parameters))
    seen: set[str] = set()
    given, empty, pages = 0, 0, {url}
    while True:
        given += len(page.entries)
        before = len(seen)
        for entry in page.entries:
            identifier = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(identifier, str | int):
                yield None, None
                continue
            name = printable(str(identifier), 100)
            if name not in seen:
                seen.add(name)
                yield name, entry.get("attributes")
        told.version = page.version or told.version
        told.notes += [f"it warns: {words}" for words in page.warnings if f"it warns: {words}" not in told.notes]
        if page.following is None:
            break
        empty = 0 if page.entries else empty + 1
        if empty > _EMPTY_PAGES or (page.entries and len(seen) == before):
            raise ProviderError(f"{shown_url(url)}: its pages do not come to an end: one brought nothing new and names another")
        url = reader.checked(page.following, url)
        if url in pages:
            raise ProviderError(
                f"{shown_url(url)}: its pages do not come to an end: one names itself or an earlier one as the next"
            )
        pages.add(url)
        page = read_page(url, reader.get(url))
    _check_whole(url, page, given, "-".join(system), told)


def structure_or_reason(attributes: Any, elements: Sequence[str]) -> tuple[Structure | None, str]:
    """Build the structure of an entry, or say why it cannot be used."""
    reason = refusal(attributes)
    if reason is not None:
        return None, reason
    try:
        structure = structure_of(attributes)
        reason = reason_against(structure, elements)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None, "unreadable"
    return (None, reason) if reason else (structure, "")


def _check_whole(url: str, page: Page, given: int, system: str, told: Told) -> None:
    """Refuse an answer of which the server says that there is more; note one that is shorter than announced."""
    if page.more and not (page.announced is not None and given >= page.announced):
        of = "" if page.announced is None else f" of {page.announced}"
        raise ProviderError(
            f"{shown_url(url)}: gave {given} structures{of}, says that more are available, and names no next page; a count "
            "against a part would be wrong"
        )
    if page.announced is not None and page.announced > given:
        told.missing.append(f"it announced {page.announced} structures of {system} and gave {given}")


def _first_page(reader: JsonReader, url: str, parameters: dict[str, str]) -> Any:
    """Ask for many structures at a time, and for few where the server does not allow so many."""
    try:
        return reader.get(url, {**parameters, "page_limit": str(PAGES[0])})
    except ProviderError as problem:
        # 403 is what the specification has for a page_limit that is too large; others say so in words
        if problem.status != 403 and not (problem.status in {400, 422} and "limit" in str(problem).lower()):
            raise
    return reader.get(url, {**parameters, "page_limit": str(PAGES[1])})
