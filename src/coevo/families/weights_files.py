"""Weights that are a file of the user's own, as a configuration names them: ``SCALE:PATH`` or ``SCALE:PATH#PART``."""

from __future__ import annotations

import re
from dataclasses import dataclass

OWN_FILE = "file"
"""What a checkpoint's document says in place of the name of published weights."""

_TEXT = re.compile(r"([a-z][a-z0-9]*):([/~][^#]*)(?:#(.+))?")


@dataclass(frozen=True)
class WeightsFile:
    """A file with a model.

    Attributes
    ----------
    scale : str
        Energy scale of the data that the model was trained on: the user's word for it.
    path : str
        Absolute, or of a home directory.
    part : str
        Head or fidelity of a model that has several; empty for its only or default one.
    """

    scale: str
    path: str
    part: str = ""


def weights_file(text: str) -> WeightsFile | None:
    """The file that weights name; None if they are the name of published ones, which have no colon."""
    found = _TEXT.fullmatch(text)
    return WeightsFile(found[1], found[2], found[3] or "") if found else None


def is_file(text: object) -> bool:
    """Whether weights are not the name of published ones."""
    return not isinstance(text, str) or ":" in text or "/" in text
