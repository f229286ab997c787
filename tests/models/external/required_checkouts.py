"""What a test needs that runs a family from the user's own checkouts: nothing of them comes with coevo."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from coevo.models.external.checkouts import has_consent, places_of

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.models.external.families import ExternalFamily


def require_checkouts(family: ExternalFamily) -> dict[str, Path]:
    """Where the checkouts of a family are, by name; the test is skipped where one is absent or its licence was not agreed to."""
    assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
    found = {}
    for place in places_of(family):
        checkout = place.checkout
        if place.path is None:
            given = os.environ.get("COEVO_CHECKOUTS")
            pytest.skip(
                f"no checkout of {checkout.name}: clone {checkout.repository} at {checkout.commits[0]} into a directory and set "
                f"COEVO_CHECKOUTS to that (it is {given or 'not set'})"
            )
        if not has_consent(family, checkout):
            pytest.skip(
                f"the licence of {checkout.name} ({checkout.licence}) was not agreed to: `coevo env create {family.name}` asks"
            )
        found[checkout.name] = place.path
    return found
