"""One page of an OPTIMADE answer: its entries, where the next one is, and what the server says against it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from coevo.errors import ProviderError
from coevo.studies.known_sets.http_json import printable, shown_url

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
    """

    entries: list[Any]
    following: str | None
    more: bool
    announced: int | None
    warnings: tuple[str, ...]


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
    return Page(entries, following, more is True or str(more).lower() == "true", _count(meta.get("data_returned")), warnings)


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
