"""The digest of label settings: labels of two digests are never mixed in one fit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from coevo.errors import LabellingError

if TYPE_CHECKING:
    from coevo.labelling.contract import LabelSettings


def settings_digest(settings: LabelSettings) -> str:
    """Sha256 (hexadecimal) of the settings as canonical JSON: sorted keys, no spaces, shortest floats, −0 as 0.

    Raises
    ------
    LabellingError
        If a parameter is no JSON value, or NaN or infinite.
    """
    return hashlib.sha256(canonical_json(dataclasses.asdict(settings)).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Write plain data as the one JSON text that equal data have.

    Raises
    ------
    LabellingError
        If the data hold anything but text, numbers, booleans, None, lists and mappings with text keys; or NaN or an infinity.
    """
    try:
        return json.dumps(_plain(value, "settings"), sort_keys=True, allow_nan=False, separators=(",", ":"))
    except ValueError as err:
        raise LabellingError(f"label settings: {err}; allowed: finite numbers") from None


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise LabellingError(f"label settings: {where} has the key {key!r}; allowed: text")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if type(value) is float:
        return value + 0.0  # −0.0 + 0.0 is 0.0
    if value is None or type(value) in {str, int, bool}:
        return value
    raise LabellingError(
        f"label settings: {where} is a {type(value).__name__}; allowed: text, numbers, booleans, null, lists and mappings"
    )
