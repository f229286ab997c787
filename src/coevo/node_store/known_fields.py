"""What documents from elsewhere may say: the fields that their models declare, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coevo.errors import CheckpointError
from coevo.node_store.documents import CheckpointDocument

if TYPE_CHECKING:
    from collections.abc import Mapping

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
