"""What comparisons need of many crystals, in flat arrays: reduced cells, bond-graph fragments and average minimum distances.

A row is made once for a structure and stored with the state that it belongs to, so that comparing a new batch with a node costs
in proportion to the batch.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sized
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from coevo.analysis.cell_reduction import Crystal, reduced
from coevo.analysis.comparison.fingerprints import NEIGHBOURS, average_minimum_distances
from coevo.analysis.motifs.bond_graphs import fragment_signature
from coevo.errors import AnalysisError
from coevo.processes import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

TABLE_VERSION = 2
"""Of what a row is and how a table is written; raised when either changes, so that stored rows of old are not used."""

_CHUNK = 100
_FEW = 400
"""Structures up to which starting processes takes longer than the work."""


class HasStructure(Protocol):
    """Anything with an id and an ordered structure."""

    @property
    def id(self) -> str:
        """Name of the row."""
        ...

    @property
    def structure(self) -> Structure:
        """The crystal."""
        ...


@dataclass(frozen=True)
class FingerprintTable:
    """Rows of crystals.

    Attributes
    ----------
    ids : tuple of str, length n
    atoms : ndarray of int, shape (n + 1,)
        Row i owns the atoms from ``atoms[i]`` to ``atoms[i + 1]``.
    cells : ndarray, shape (n, 3, 3)
        Primitive Niggli cells, Å.
    fractional : ndarray, shape (sum of atoms, 3)
    numbers : ndarray of int, shape (sum of atoms,)
        Atomic numbers.
    signatures : tuple of str, length n
        Fragments (:func:`coevo.analysis.motifs.bond_graphs.fragment_signature`).
    distances : ndarray of float32, flat
        Average minimum distances (:mod:`coevo.analysis.comparison.fingerprints`); a row of s elements owns s² :data:`NEIGHBOURS`
        of them.
    """

    ids: tuple[str, ...]
    atoms: IntArray
    cells: FloatArray
    fractional: FloatArray
    numbers: IntArray
    signatures: tuple[str, ...]
    distances: NDArray[np.float32]

    def __len__(self) -> int:
        """Rows."""
        return len(self.ids)

    def crystal(self, row: int) -> Crystal:
        """Reduced crystal of a row."""
        mine = slice(self.atoms[row], self.atoms[row + 1])
        return Crystal(self.cells[row], self.fractional[mine], self.numbers[mine])

    def compositions(self) -> list[bytes]:
        """Sorted atomic numbers of each row, as a key: rows of different keys never match."""
        numbers = self.numbers.astype(np.int16)
        return [np.sort(numbers[start:stop]).tobytes() for start, stop in zip(self.atoms[:-1], self.atoms[1:], strict=True)]

    def distances_of(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Average minimum distances of rows of one composition, shape (len(rows), s² NEIGHBOURS)."""
        starts = self._distance_starts
        return np.stack([self.distances[starts[row] : starts[row + 1]] for row in rows])

    def mean_distances(self) -> FloatArray:
        """Average minimum distances averaged over all ordered pairs of a row's elements, shape (n, NEIGHBOURS)."""
        starts = self._distance_starts[:-1]
        if not len(self):
            return np.empty((0, NEIGHBOURS))
        blocks = self.distances.reshape(-1, NEIGHBOURS).astype(float)
        counts = np.diff(self._distance_starts) // NEIGHBOURS
        return np.add.reduceat(blocks, starts // NEIGHBOURS, axis=0) / counts[:, None]

    def take(self, rows: ArrayLike) -> FingerprintTable:
        """Some of the rows, in that order."""
        chosen = np.asarray(rows, dtype=np.int64)
        starts = self._distance_starts
        return FingerprintTable(
            tuple(self.ids[row] for row in chosen.tolist()),
            np.concatenate([[0], np.cumsum(np.diff(self.atoms)[chosen])]).astype(np.int64),
            self.cells[chosen],
            self.fractional[_spans(self.atoms, chosen)],
            self.numbers[_spans(self.atoms, chosen)],
            tuple(self.signatures[row] for row in chosen.tolist()),
            self.distances[_spans(starts, chosen)],
        )

    @cached_property
    def _distance_starts(self) -> IntArray:
        """Where each row's distances begin: it has as many as the square of its number of elements asks for."""
        row = np.repeat(np.arange(len(self)), np.diff(self.atoms))
        order = np.lexsort((self.numbers, row))
        row, numbers = row[order], self.numbers[order]
        first = np.ones(len(row), dtype=bool)
        first[1:] = (row[1:] != row[:-1]) | (numbers[1:] != numbers[:-1])
        elements = np.bincount(row[first], minlength=len(self))
        return np.concatenate([[0], np.cumsum(elements**2 * NEIGHBOURS)]).astype(np.int64)

    @classmethod
    def joined(cls, tables: Sequence[FingerprintTable]) -> FingerprintTable:
        """Rows of several tables, one after the other."""
        sizes = [np.diff(table.atoms) for table in tables]
        return cls(
            tuple(i for table in tables for i in table.ids),
            np.concatenate([[0], np.cumsum(np.concatenate([*sizes, []]))]).astype(np.int64),
            np.concatenate([np.empty((0, 3, 3)), *(table.cells for table in tables)]),
            np.concatenate([np.empty((0, 3)), *(table.fractional for table in tables)]),
            np.concatenate([np.empty(0, dtype=np.int64), *(table.numbers for table in tables)]),
            tuple(s for table in tables for s in table.signatures),
            np.concatenate([np.empty(0, dtype=np.float32), *(table.distances for table in tables)]),
        )

    def to_bytes(self) -> bytes:
        """As an uncompressed NumPy archive without pickles; equal tables give equal bytes."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            version=np.array(TABLE_VERSION),
            ids=_text(self.ids),
            atoms=self.atoms,
            cells=self.cells,
            fractional=self.fractional,
            numbers=self.numbers,
            signatures=_text(self.signatures),
            distances=self.distances,
            allow_pickle=False,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> FingerprintTable:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        AnalysisError
            If the bytes are no table of this version, or their parts do not fit together.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as parts:
                if int(parts["version"]) != TABLE_VERSION:
                    raise AnalysisError(f"fingerprints of version {int(parts['version'])}; this is version {TABLE_VERSION}")
                table = cls(
                    _lines(parts["ids"]),
                    parts["atoms"],
                    parts["cells"],
                    parts["fractional"],
                    parts["numbers"],
                    _lines(parts["signatures"]),
                    parts["distances"],
                )
        except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise AnalysisError(f"these bytes are no table of fingerprints: {error}") from error
        n = len(table)
        total = int(table.atoms[-1]) if table.atoms.shape == (n + 1,) else -1
        shapes = (len(table.signatures), table.cells.shape, table.fractional.shape, table.numbers.shape)
        if shapes != (n, (n, 3, 3), (total, 3), (total,)) or table.distances.shape != (table._distance_starts[-1],):
            raise AnalysisError("the parts of this table of fingerprints do not fit together")
        return table


def fingerprints(
    items: Iterable[HasStructure],
    *,
    fragments: bool = True,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> FingerprintTable:
    """Make the rows of structures.

    Parameters
    ----------
    items : iterable
        With ``id`` and ``structure``: ordered structures with a volume and distinct atoms. A generator of them is never held as a
        whole.
    fragments : bool
        Whether the rows get signatures; without, they are empty, and such rows serve only where the fragment veto is off.
    workers : int
        Processes. The rows do not depend on it.
    progress : callable, optional
        Called with the number of structures done since the last call.

    Returns
    -------
    FingerprintTable
        In the order of the items.
    """
    few = isinstance(items, Sized) and len(items) <= _FEW
    crystals = ((item.id, Crystal.from_structure(item.structure)) for item in items)
    return fingerprints_of(crystals, fragments=fragments, workers=1 if few else workers, progress=progress)


def fingerprints_of(
    crystals: Iterable[tuple[str, Crystal]],
    *,
    fragments: bool = True,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> FingerprintTable:
    """Make the rows of crystals given by name and arrays; parameters as in :func:`fingerprints`."""
    parts = map_chunks(partial(_rows, fragments=fragments), _chunks(crystals), workers=workers, progress=progress)
    return FingerprintTable.joined(list(parts))


def _chunks(crystals: Iterable[tuple[str, Crystal]]) -> Iterator[list[tuple[str, Crystal]]]:
    """Names and arrays, which travel to another process in a tenth of the time of structures."""
    remaining = iter(crystals)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _rows(chunk: list[tuple[str, Crystal]], fragments: bool) -> FingerprintTable:
    crystals = [reduced(crystal) for _, crystal in chunk]
    return FingerprintTable(
        tuple(name for name, _ in chunk),
        np.concatenate([[0], np.cumsum([len(crystal.numbers) for crystal in crystals])]).astype(np.int64),
        np.array([crystal.cell for crystal in crystals]),
        np.concatenate([crystal.fractional for crystal in crystals]),
        np.concatenate([crystal.numbers for crystal in crystals]),
        tuple(fragment_signature(crystal) if fragments else "" for crystal in crystals),
        np.concatenate([average_minimum_distances(crystal).ravel() for crystal in crystals]).astype(np.float32),
    )


def _spans(starts: IntArray, rows: IntArray) -> IntArray:
    """Indices of everything that the rows own."""
    counts = np.diff(starts)[rows]
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    first = np.repeat(starts[rows] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return first + np.arange(int(counts.sum()))


def _text(lines: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(lines).encode() + (b"\n" if lines else b""), dtype=np.uint8)


def _lines(data: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(data.tobytes().decode().split("\n")[:-1])
