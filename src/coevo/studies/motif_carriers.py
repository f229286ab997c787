"""The structures whose motifs are counted: entries and references of a state, or the structures of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.analysis.motifs.census import Carrier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.views import StateView


def carriers_of_state(view: StateView) -> Iterator[Carrier]:
    """Yield the references of a state, then its entries without those that are duplicates of another one, each by id."""
    from coevo.makers.populations.population import members

    for member in members(view, "reference"):
        yield Carrier(member.id, member.structure, member.document["energy_above_hull"], None, is_reference=True)
    for member in members(view, "entry"):
        found = member.document
        if not found["duplicate_of"]:
            yield Carrier(member.id, member.structure, found["energy_above_hull"], found["iteration_added"])


def carriers_of_file(path: Path) -> tuple[list[Carrier], dict[str, int]]:
    """Read the structures of a file, zip or directory (:mod:`coevo.studies.piles.sources`).

    Returns
    -------
    carriers : list of Carrier
        Without energies and iterations, in the order of the file.
    rejected : dict of str to int
        Structures left out, by reason.

    Raises
    ------
    AnalysisError
        If the file cannot be read, or holds no structure that can be used.
    """
    from coevo.errors import AnalysisError
    from coevo.processes import Workers
    from coevo.studies.analyse.batch import batch_from_file
    from coevo.studies.piles.parsing import limits_for

    batch = batch_from_file(path, limits_for(None, _MAX_ATOMS), Workers(1))
    carriers = [Carrier(row.id, row.packed().crystal()) for row in batch.valid()]
    if not carriers:
        reasons = ", ".join(f"{count} {reason}" for reason, count in batch.rejected().items())
        raise AnalysisError(f"{path}: no structure can be used ({reasons}); give ordered, periodic crystals")
    return carriers, batch.rejected()


_MAX_ATOMS = 2000
