"""How many entries of a state are new against a set of known structures, and which ones it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.configs.loading import config_from_dict
from coevo.output.progress import task

if TYPE_CHECKING:
    from coevo.node_store.views import StateView
    from coevo.studies.known_sets.known_structures import KnownSet


@dataclass(frozen=True)
class KnownEntry:
    """An entry that a set has.

    Attributes
    ----------
    id, formula : str
    iteration : int
    energy_above_hull : float
        eV/atom.
    known_as : str
        Its name in the set; where several match, the first in the order of names.
    """

    id: str
    formula: str
    iteration: int
    energy_above_hull: float
    known_as: str


@dataclass(frozen=True)
class NoveltyCount:
    """Entries of a state against one set.

    Attributes
    ----------
    of : str
        Which entries were looked at: ``S.U.N. entries``, or ``unique entries``.
    entries : int
        How many they are.
    known : list of KnownEntry
        Those that the set has, by E_hull.
    against : dict
        Source, date and size of the set (:meth:`coevo.studies.known_sets.known_structures.KnownSet.describe`).
    """

    of: str
    entries: int
    known: list[KnownEntry]
    against: dict[str, Any]

    @property
    def new(self) -> int:
        """Entries that match no structure of the set."""
        return self.entries - len(self.known)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "of": self.of,
            "entries": self.entries,
            "new": self.new,
            "known": [vars(entry) for entry in self.known],
            "against": self.against,
            "sentence": self.sentence(),
        }

    def sentence(self) -> str:
        """Say it in one line, with the set's name, size and date; and with what of the set could not be compared, if anything."""
        known = self.against
        system = "-".join(known["elements"])
        if not known["whole"]:
            left_out = ", ".join(f"{n} {reason}" for reason, n in known["left_out"].items() if reason != "off_system")
            why = "; ".join([*([f"not compared: {left_out}"] if left_out else []), *known["missing"]])
            return (
                f"{self.new} of {self.entries} {self.of} match none of the {known['size']} structures that could be read of "
                f"{known['received']} in {known['source']} (within {system}, read {known['read_at'][:10]}; {why}), "
                f"{len(self.known)} are known there"
            )
        return (
            f"{self.new} of {self.entries} {self.of} are new against {known['source']} "
            f"({known['size']} structures within {system}, read {known['read_at'][:10]}), {len(self.known)} are known there"
        )


def count_new(view: StateView, known: KnownSet, *, every: bool = False, workers: int = 1) -> NoveltyCount:
    """Compare entries with a set, by the tolerances of the node's curation.

    Parameters
    ----------
    view : StateView
    known : KnownSet
    every : bool
        All unique entries (no duplicates), instead of the S.U.N. ones alone.
    workers : int
        Processes; the answer does not depend on it.
    """
    from coevo.analysis.comparison.uniqueness import Item, match_references
    from coevo.makers.populations.fingerprints import fingerprint_table
    from coevo.makers.populations.population import matching_of, members

    config = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    chosen = [m for m in members(view, "entry") if (m.document["duplicate_of"] is None if every else m.document["is_sun"])]
    formulas = {m.document["formula"] for m in chosen}
    # several structures of a set may have one name, and the first in order of names is to be told
    ordered = sorted(known.structures, key=lambda s: s.id)
    candidates = {f"{number:08d}": s for number, s in enumerate(ordered) if s.structure.composition.reduced_formula in formulas}
    items = [Item(name, s.structure, 0.0) for name, s in candidates.items()]
    table = fingerprint_table([*(m.item for m in chosen), *items], [view.id], workers)
    with task(f"comparing with {known.source}", len(chosen), "structures") as advance:
        matched = match_references(
            [m.item for m in chosen], items, matching_of(config.curation), known=table, workers=workers, progress=advance
        )
    found = []
    for m in sorted(chosen, key=lambda m: (m.document["energy_above_hull"], m.id)):
        name = matched[m.id]
        if name is not None:
            document = m.document
            where = (document["formula"], document["iteration_added"], document["energy_above_hull"])
            found.append(KnownEntry(m.id, *where, candidates[name].id))
    return NoveltyCount("unique entries" if every else "S.U.N. entries", len(chosen), found, known.describe())
