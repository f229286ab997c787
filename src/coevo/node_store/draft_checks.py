"""Checks of what a draft holds, document by document; what passes is kept as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coevo.node_store.canonical import INT64_LIMIT, LONG_INTEGER, dump_plain, plain, reduced, structure_text_id
from coevo.node_store.documents import DERIVED_EVALUATION_FIELDS, EvaluationDocument, refuted_energy, with_derived_fields
from coevo.node_store.identity import EvaluationsDigest, label_id
from coevo.node_store.known_fields import refuse_marked_keys, refuse_marked_text
from coevo.node_store.prepared_documents import (
    RELAXED,
    CheckedDocuments,
    CheckedEvaluations,
    Line,
    SplitEvaluation,
    cut_out,
    joined_text,
    split_evaluation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import BaseModel

_GEOMETRIES = ("structure", "relaxed")
"""Fields in which a geometry may stand."""


def checked_plain(what: str, value: Any) -> Any:
    """Reduce to JSON types, and refuse integers that MongoDB cannot hold and keys that a decoder acts on, on either backend."""
    try:
        reduced = plain(value)
    except ValueError as err:
        raise ValueError(f"{what}.{err}") from None
    _refuse_long_integers(what, reduced)
    refuse_marked_keys(reduced, what)
    return reduced


def _refuse_long_integers(what: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_long_integers(f"{what}.{key}", item)
    elif isinstance(value, list):
        if value and not isinstance(value[0], float):
            for index, item in enumerate(value):
                _refuse_long_integers(f"{what}.{index}", item)
    elif isinstance(value, int) and not -INT64_LIMIT <= value < INT64_LIMIT:
        raise ValueError(f"{what}: {value} does not fit in 64 bits with a sign; store it as a string")


def checked_document(what: str, document: dict[str, Any], model: type[BaseModel]) -> tuple[bytes, dict[str, Any]]:
    """Reduce a document to canonical and plain JSON and check it against its model.

    Raises
    ------
    ValueError
    """
    try:
        text, found = reduced(document)
    except ValueError as err:
        raise ValueError(f"{what}.{err}") from None
    if LONG_INTEGER.search(text):
        _refuse_long_integers(what, found)
    try:
        refuse_marked_text(text, found, _GEOMETRIES)
    except ValueError as err:
        raise ValueError(f"{what}: {err}") from None
    try:
        model.model_validate(found)
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ValueError(f"{what}: {where}: {problem['msg']} (got {problem['input']!r:.80})") from None
    return text, found


def geometry_id(document: dict[str, Any], text: bytes) -> str:
    """Return the content id of a structure or reference, given as plain and as canonical JSON."""
    return structure_text_id(cut_out(document, text, "structure")[1])


def label_document_id(document: dict[str, Any], _text: bytes) -> str:
    """Return the content id of a label."""
    return label_id(document)


def _repeatable(what: str, documents: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Refuse what would be empty the next time, and so another state."""
    if iter(documents) is documents:
        raise ValueError(
            f"{what}: a {type(documents).__name__} can be iterated only once; give a list, or what makes a new iterator"
        )
    return documents


def checked_documents(
    what: str,
    documents: Iterable[dict[str, Any]],
    model: type[BaseModel],
    content_id: Callable[[dict[str, Any], bytes], str],
) -> CheckedDocuments:
    """Check new documents; the same document twice is one."""
    found: dict[str, bytes] = {}
    for index, document in enumerate(_repeatable(what, documents)):
        name = f"{what}[{index}]"
        text, checked = checked_document(name, document, model)
        identifier = checked["_id"]
        if (content := content_id(checked, text)) != identifier:
            raise ValueError(f"{name}: its _id is {identifier}, but its content id is {content}")
        if found.setdefault(identifier, text) != text:
            raise ValueError(f"{name}: a different document has the same _id {identifier}")
    return CheckedDocuments([Line(identifier, found[identifier]) for identifier in sorted(found)])


class DraftEvaluations:
    """The evaluations of a draft, checked and kept as text.

    Attributes
    ----------
    kinds : dict
        Structure id, in order, to ``entry`` or ``reference``.
    refuted : dict
        Entries that their label refutes, in order, with their energy in the state, eV/atom.
    """

    def __init__(self, documents: Iterable[dict[str, Any]]):
        found: dict[str, tuple[str, SplitEvaluation, bytes]] = {}
        refuted: dict[str, float] = {}
        for index, document in enumerate(_repeatable("evaluations", documents)):
            text, checked = checked_document(f"evaluations[{index}]", document, EvaluationDocument)
            identifier = checked["structure_id"]
            if identifier in found:
                raise ValueError(f"evaluations[{index}]: structure {identifier} is evaluated twice in one state")
            if not checked.keys().isdisjoint(DERIVED_EVALUATION_FIELDS):  # they are the store's to write
                checked = {key: value for key, value in checked.items() if key not in DERIVED_EVALUATION_FIELDS}
                text = dump_plain(checked)
            split = split_evaluation(checked, text)
            if split.geometry is not None:
                checked[RELAXED] = {}
            found[identifier] = checked["kind"], split, dump_plain(with_derived_fields(checked))
            refuted |= refuted_energy(checked)
        self._found = [found[identifier] for identifier in sorted(found)]
        self.kinds = {split.id: kind for kind, split, _ in self._found}
        self.refuted = dict(sorted(refuted.items()))

    def digest(self) -> str:
        """Hash them all as :func:`coevo.node_store.identity.evaluations_digest` does, without derived fields."""
        hasher = EvaluationsDigest()
        for wanted in ("entry", "reference"):
            for kind, split, _ in self._found:
                if kind == wanted:
                    hasher.add_text(joined_text(split))
        return hasher.hexdigest()

    def with_derived_fields(self) -> CheckedEvaluations:
        """Return them as they are stored."""
        return CheckedEvaluations([split._replace(text=derived) for _, split, derived in self._found])
