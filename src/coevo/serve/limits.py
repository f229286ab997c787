"""How much a request may ask for."""

from __future__ import annotations

import re

from coevo.errors import QueryError

LONGEST_FILTER = 2000
"""Characters; longer ones are refused before they are read."""
_DEEPEST = 40
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')


def check_filter(text: str) -> None:
    """Refuse a filter that is too long, or nested too deep, to be read in a moment.

    Raises
    ------
    QueryError
    """
    if len(text) > LONGEST_FILTER:
        raise QueryError(f"the filter has {len(text)} characters; {LONGEST_FILTER} are the most")
    outside = _TEXTS.sub("", text)
    if outside.count("(") > _DEEPEST or len(re.findall(r"\bNOT\b", outside)) > _DEEPEST:
        raise QueryError(f"the filter has more than {_DEEPEST} parentheses or NOTs; write it more simply")
