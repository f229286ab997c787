"""What documents from elsewhere may say: fields that their models declare, and no key that a decoder takes for an instruction.

monty, jobflow and FireWorks build objects from mappings with ``@module``, ``@class``, ``@callable``, ``@object_type`` or
``_fw_name``, which means that they import the module that is named there; BSON's JSON and MongoDB's filters have operators that
begin with ``$``. So such keys are refused at any depth where documents come in, where they are stored, and between jobs. None of
them is in a document, but the class of a geometry where one stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coevo.errors import CheckpointError
from coevo.node_store.canonical import dump_plain, read_plain
from coevo.node_store.documents import CheckpointDocument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic import BaseModel


SHOWN = 5
"""Unknown keys that a message names."""


def field_names(model: type[BaseModel]) -> list[str]:
    """Keys that a document of a model may have, as they are stored."""
    return [field.alias or name for name, field in model.model_fields.items()]


def refuse_unknown_fields(document: Mapping[str, Any], model: type[BaseModel], where: str = "") -> None:
    """Refuse a document that says more than its model declares.

    Parameters
    ----------
    document : mapping
    model : type of BaseModel
    where : str
        What the document is called in the message.

    Raises
    ------
    ValueError
        With the keys, where they are, and those that are allowed.
    """
    allowed = field_names(model)
    unknown = sorted(set(document).difference(allowed))
    if unknown:
        shown = ", ".join(f"{f'{where}.' if where else ''}{key}"[:80] for key in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise ValueError(f"{shown}{more}: unknown key; allowed keys: {', '.join(allowed)}")


def checkpoint_reference(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a checkpoint of a state to what jobs are handed: its known fields, each of its own type.

    Whatever else a document holds never reaches a job, whoever wrote it. Where the checkpoint lies is left out too: it must not
    change a job's key.

    Raises
    ------
    CheckpointError
        If a known field is missing or of another type.
    """
    known = {key: value for key, value in checkpoint.items() if key in CheckpointDocument.model_fields}
    try:
        document = CheckpointDocument.model_validate(known, strict=True)
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise CheckpointError(
            f"a checkpoint of the state is not valid: {where}: {problem['msg']} (got {str(problem['input'])!r:.60}); nothing was "
            "run; import the state again, or restore it from a copy"
        ) from None
    return document.model_dump(mode="json", exclude_unset=True, exclude={"uri"})


PREFIXES = ("@", "$")
DECODED_KEYS = frozenset({"_fw_name"})
"""Further keys that a decoder takes for an instruction: FireWorks imports what it finds under this one."""

GEOMETRY = {"@class": "Structure", "@module": "pymatgen.core.structure"}
"""What a geometry says of itself; pymatgen's own words, read by nobody here."""

_GEOMETRY_TEXT = dump_plain(GEOMETRY)[:-1] + b","
RULE = "keys that begin with @ or $, and _fw_name, are refused at any depth: a decoder would act on them"

# In canonical JSON a quotation mark inside a text is always behind a backslash, so these are keys and nothing else.
_MARKED = re.compile(rb'[{,]"(?:[@$](?:[^"\\]|\\.)*|_fw_name)":')


def is_marked(key: object) -> bool:
    """Whether a key of a mapping is one that a decoder could act on."""
    return isinstance(key, str) and (key.startswith(PREFIXES) or key in DECODED_KEYS)


def refuse_marked_keys(value: Any, where: str = "") -> None:
    """Refuse a value of plain JSON that has such a key at any depth.

    Parameters
    ----------
    value : object
        Dictionaries, lists and tuples are walked; anything else is a leaf.
    where : str
        What the value is called in the message.

    Raises
    ------
    ValueError
        With the path to the key.
    """
    waiting: list[tuple[str, Any]] = [(where, value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, dict):
            for key, inner in item.items():
                here = f"{path}.{key}" if path else str(key)
                if is_marked(key):
                    raise ValueError(f"it has a key that is an operator or the mark of a class, {here[:120]!r}; {RULE}")
                waiting.append((here, inner))
        elif isinstance(item, (list, tuple)):
            waiting += ((f"{path}[{index}]", inner) for index, inner in enumerate(item))


def refuse_marked_text(text: bytes, document: dict[str, Any], geometries: Collection[str] = ()) -> None:
    """As :func:`refuse_marked_keys`, for a document with its canonical JSON, of which the most part need not be walked.

    Parameters
    ----------
    text : bytes
    document : dict
        What the text says.
    geometries : collection of str
        Fields at the top of the document in which a geometry may stand, or a list of geometries. Its two marks have to be exactly
        :data:`GEOMETRY`, and it has no others.

    Raises
    ------
    ValueError
        With the path to the key.
    """
    places = {name: _geometries(document.get(name)) for name in geometries}
    expected = len(GEOMETRY) * sum(map(len, places.values()))
    if sum(1 for _ in _MARKED.finditer(text)) == expected:
        return
    for name, value in document.items():
        if not places.get(name):
            refuse_marked_keys({name: value})
            continue
        for item in value if isinstance(value, list) else [value]:
            known = GEOMETRY if item in places[name] else {}
            refuse_marked_keys({key: inner for key, inner in item.items() if key not in known} if known else item, name)


def refuse_marked_geometry(text: bytes) -> None:
    """As :func:`refuse_marked_text`, for the canonical JSON of a geometry that stands by itself."""
    if not text.startswith(_GEOMETRY_TEXT) or sum(1 for _ in _MARKED.finditer(text)) != len(GEOMETRY):
        refuse_marked_text(b'{"structure":%b}' % text, {"structure": read_plain(text)}, ["structure"])


def _geometries(value: Any) -> list[dict[str, Any]]:
    """Of a value, or of the items of a list: those that say of themselves exactly what a geometry says."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict) and all(item.get(key) == name for key, name in GEOMETRY.items())]
