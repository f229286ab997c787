"""Documents of a state on their way into a store: read more than once, as dictionaries or as the canonical JSON that is stored.

A checked draft keeps its documents as text, which takes a tenth of the memory of dictionaries and is written as it is; what is
read from elsewhere is read again each time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from coevo.node_store.canonical import dump_plain, read_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

RELAXED = "relaxed"


class Line(NamedTuple):
    """A document as it is stored: its id and its canonical JSON."""

    id: str
    text: bytes


class SplitEvaluation(NamedTuple):
    """An evaluation as it is stored in a directory: its geometry is apart, because filters do not need it.

    Attributes
    ----------
    id : str
        Of the structure.
    text : bytes
        Canonical JSON with ``{}`` for ``relaxed`` if there is a geometry.
    geometry : bytes or None
        Canonical JSON of ``relaxed``.
    """

    id: str
    text: bytes
    geometry: bytes | None


class Documents(ABC):
    """Documents in the order of their ids, which can be iterated again and again."""

    @abstractmethod
    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield dictionaries of plain JSON."""

    def with_texts(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield documents with their canonical JSON."""
        return ((document, dump_plain(document)) for document in self)

    def texts(self) -> Iterator[bytes]:
        """Yield canonical JSON."""
        return (text for _, text in self.with_texts())

    def lines(self) -> Iterator[Line]:
        """Yield what is stored of documents that have an ``_id``."""
        return (Line(document["_id"], text) for document, text in self.with_texts())

    def ids(self) -> Iterable[str]:
        """Return the ids of documents that have an ``_id``."""
        return [document["_id"] for document in self]

    def evaluations(self) -> Iterator[SplitEvaluation]:
        """Yield what is stored of evaluations."""
        return (split_evaluation(document, text) for document, text in self.with_texts())


class StoredDocuments(Documents):
    """Documents that a stored state added, read again each time, so that a large state is never in memory at once.

    Parameters
    ----------
    ids : sequence of str
        Sorted.
    read : callable
        Returns a fresh iterator over them.
    """

    def __init__(self, ids: Sequence[str], read: Callable[[], Iterator[Line]]):
        self._ids = ids
        self._read = read

    @override
    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (read_plain(line.text) for line in self._read())

    @override
    def with_texts(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        return ((read_plain(line.text), line.text) for line in self._read())

    @override
    def texts(self) -> Iterator[bytes]:
        return (line.text for line in self._read())

    @override
    def lines(self) -> Iterator[Line]:
        return self._read()

    @override
    def ids(self) -> Sequence[str]:
        return self._ids


class StoredEvaluations(Documents):
    """Evaluations of a stored state, read again each time.

    Parameters
    ----------
    read : callable
        Returns a fresh iterator over them.
    """

    def __init__(self, read: Callable[[], Iterator[SplitEvaluation]]):
        self._read = read

    @override
    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(joined_evaluation, self._read())

    @override
    def with_texts(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        return ((joined_evaluation(split), joined_text(split)) for split in self._read())

    @override
    def texts(self) -> Iterator[bytes]:
        return map(joined_text, self._read())

    @override
    def evaluations(self) -> Iterator[SplitEvaluation]:
        return self._read()


class ReadTexts(Documents):
    """Documents of either kind that are read as canonical JSON, again each time.

    Parameters
    ----------
    read : callable
        Returns a fresh iterator.
    """

    def __init__(self, read: Callable[[], Iterator[bytes]]):
        self._read = read

    @override
    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (read_plain(text) for text in self._read())

    @override
    def with_texts(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        return ((read_plain(text), text) for text in self._read())


class CheckedDocuments(StoredDocuments):
    """Documents of a checked draft.

    Parameters
    ----------
    lines : sequence of Line
        Sorted by id.
    """

    def __init__(self, lines: Sequence[Line]):
        super().__init__([line.id for line in lines], lambda: iter(lines))

    def __len__(self) -> int:
        return len(self._ids)


class CheckedEvaluations(StoredEvaluations):
    """Evaluations of a checked draft.

    Parameters
    ----------
    evaluations : sequence of SplitEvaluation
        Sorted by structure id.
    """

    def __init__(self, evaluations: Sequence[SplitEvaluation]):
        super().__init__(lambda: iter(evaluations))


def split_evaluation(document: dict[str, Any], text: bytes) -> SplitEvaluation:
    """Take the geometry out of an evaluation, given as plain and as canonical JSON."""
    if document.get(RELAXED) is None:
        return SplitEvaluation(document["structure_id"], text, None)
    return SplitEvaluation(document["structure_id"], *cut_out(document, text, RELAXED))


def joined_evaluation(evaluation: SplitEvaluation) -> dict[str, Any]:
    """Undo :func:`split_evaluation`."""
    document: dict[str, Any] = read_plain(evaluation.text)
    if evaluation.geometry is not None:
        document[RELAXED] = read_plain(evaluation.geometry)
    return document


def joined_text(evaluation: SplitEvaluation) -> bytes:
    """Return the canonical JSON of an evaluation with its geometry."""
    hole = f'"{RELAXED}":{{}}'.encode()
    if evaluation.geometry is None:
        return evaluation.text
    if evaluation.text.count(hole) == 1:
        return evaluation.text.replace(hole, hole[:-2] + evaluation.geometry)
    return dump_plain(joined_evaluation(evaluation))


def cut_out(document: dict[str, Any], text: bytes, key: str) -> tuple[bytes, bytes]:
    """Split the canonical JSON of a document at one of its dictionaries, without writing its numbers again.

    Parameters
    ----------
    document : dict
        Plain JSON; ``document[key]`` is a dictionary.
    text : bytes
        Its canonical JSON.
    key : str

    Returns
    -------
    rest, part : bytes
        Canonical JSON of the document with ``{}`` for the dictionary, and of the dictionary.
    """
    rest = dump_plain({**document, key: {}})
    hole = f'"{key}":{{}}'.encode()
    start = rest.find(hole) + len(hole) - 2
    end = len(text) - (len(rest) - start - 2)
    if rest.count(hole) == 1 and text[:start] == rest[:start] and text[end:] == rest[start + 2 :]:
        return rest, text[start:end]
    return rest, dump_plain(document[key])  # the same words stand elsewhere in it too


def without_fields(document: dict[str, Any], text: bytes, fields: Collection[str]) -> bytes:
    """Return the canonical JSON of a document without some of its fields, none of them its last; no number is written again."""
    for name in fields:
        part = dump_plain({name: document[name]})[1:-1] + b"," if name in document else b""
        if not part or text.count(part) != 1:
            return dump_plain({key: value for key, value in document.items() if key not in fields})
        text = text.replace(part, b"")
    return text


@dataclass(frozen=True)
class PreparedState:
    """A checked draft, reduced to plain JSON and sorted.

    Attributes
    ----------
    id : str
        State id.
    document : dict
        The state document without ``created`` and without the place of the manifest.
    manifest : dict
    manifest_bytes : bytes
        Canonical JSON of the manifest; not compressed, so that the state id does not depend on a compressor.
    structures, references, labels, evaluations : Documents
        Sorted by id; evaluations with the derived OPTIMADE fields.
    """

    id: str
    document: dict[str, Any]
    manifest: dict[str, Any]
    manifest_bytes: bytes
    structures: Documents
    references: Documents
    labels: Documents
    evaluations: Documents
