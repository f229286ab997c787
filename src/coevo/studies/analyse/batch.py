"""What is analysed: the rows of a pile with the references they are compared with, read from files or from a state of a node."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.configs.tree import CurationConfig, DescriptorConfig, MaturityConfig
from coevo.errors import AnalysisError
from coevo.output.progress import task
from coevo.studies.piles.energy_scales import notes_on
from coevo.studies.piles.parsing import Limits, read_rows
from coevo.studies.piles.rows import OF_TEXT, PackedCrystal, Row
from coevo.studies.piles.sources import Pile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView
    from coevo.processes import Workers
    from coevo.studies.piles.sources import Source

_PIECE_TEXTS = 64
_PIECE_CHARACTERS = 1 << 20
_MAX_NAME = 120


@dataclass
class Batch:
    """A pile and its references.

    Attributes
    ----------
    source : str
        File, or state, that it was read from.
    rows : list of Row
        Rejected ones included, in the order of the file (of a state: of ids).
    references : list of Row
        None of them rejected.
    reference_set : str or None
    ignored : int
        Files beside the CIFs.
    elements : tuple of str
        Chemical system, sorted.
    scale : str or None
        What the energies of the rows are; None if there are none.
    one_scale : bool
        Whether energies of references are on that scale.
    curation, descriptor, maturity : config sections
        Of the node, for a state; else the defaults.
    entropy_seed : int or None
        With which a state drew its samples.
    stored : dict
        Of a state: evaluation documents by id.
    teacher : str
        Of a state: who labels, where that is no first-principles code.
    notes : list of str
        What the reader of the numbers has to know.
    """

    source: str
    rows: list[Row]
    references: list[Row] = field(default_factory=list)
    reference_set: str | None = None
    ignored: int = 0
    elements: tuple[str, ...] = ()
    scale: str | None = None
    one_scale: bool = False
    curation: CurationConfig = field(default_factory=CurationConfig)
    descriptor: DescriptorConfig = field(default_factory=DescriptorConfig)
    maturity: MaturityConfig = field(default_factory=MaturityConfig)
    entropy_seed: int | None = None
    stored: dict[str, Any] = field(default_factory=dict)
    teacher: str = ""
    notes: list[str] = field(default_factory=list)

    def valid(self) -> list[Row]:
        """Rows that were not rejected."""
        return [row for row in self.rows if row.reason is None]

    def unique(self) -> list[Row]:
        """The first of each kind, in the order of content ids, so that samples of them do not depend on the order of the file."""
        return sorted(
            (row for row in self.rows if row.reason is None and row.is_unique), key=lambda row: (row.content or "", row.id)
        )

    def rejected(self) -> dict[str, int]:
        """Rows left out, by reason."""
        return dict(sorted(Counter(row.reason for row in self.rows if row.reason is not None).items()))


def read_pile(path: Path, limits: Limits, workers: Workers) -> tuple[list[Row], int]:
    """Read a file or directory.

    Parameters
    ----------
    path : Path
    limits : Limits
    workers : Workers

    Returns
    -------
    rows : list of Row
        In the order of the file; ids are unique.
    ignored : int
        Files beside the CIFs.

    Raises
    ------
    AnalysisError
        If there is no structure at all in it, readable or not.
    """
    pile = Pile(path)
    rows: list[Row] = []
    taken: set[str] = set()
    with task(f"reading {path.name}", pile.total, pile.unit) as advance:
        done = 0
        reached: list[int] = []
        for number, found in enumerate(workers.map(read_rows, _pieces(pile, reached), limits)):
            for row in found:
                row.id = _free_name(_printable(row.id), taken)
                rows.append(row)
            advance(reached[number] - done)
            done = reached[number]
    if not rows:
        raise AnalysisError(f"{path}: holds no structure; give a pile of crystals")
    return rows, pile.ignored


def check_something_read(path: Path, rows: list[Row]) -> None:
    """Refuse a file whose texts are all no structures: an answer of zeros would hide that it was not understood.

    Raises
    ------
    AnalysisError
        With the reasons, and of the first text what was found and expected.
    """
    if not all(row.reason in OF_TEXT for row in rows):
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(Counter(str(row.reason) for row in rows).items()))
    first = f"{_printable(rows[0].id)}: {_printable(rows[0].detail or '', 400)}"
    raise AnalysisError(f"{path}: none of {len(rows)} structures can be read: {reasons}; {first}")


def _pieces(pile: Pile, reached: list[int]) -> Iterator[list[Source]]:
    """Texts in portions; ``reached`` notes how far each goes."""
    piece: list[Source] = []
    size = 0
    position = 0
    for source, position in pile:
        piece.append(source)
        size += len(source.text) if isinstance(source.text, str) else 0
        if len(piece) >= _PIECE_TEXTS or size >= _PIECE_CHARACTERS:
            reached.append(position)
            yield piece
            piece, size = [], 0
    if piece:
        reached.append(position)
        yield piece


def _printable(name: str, length: int = _MAX_NAME) -> str:
    """A name from a file as it may be shown on a terminal."""
    return "".join(character if character.isprintable() else "?" for character in name[:length])


def _free_name(name: str, taken: set[str]) -> str:
    """The name, numbered if another structure has it."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    taken.add(free)
    return free


def batch_from_file(path: Path, limits: Limits, workers: Workers) -> Batch:
    """Read a pile from a file; its chemical system is what is asked for, or what is found.

    Raises
    ------
    AnalysisError
        If no structure in it can be read.
    """
    rows, ignored = read_pile(path, limits, workers)
    check_something_read(path, rows)
    batch = Batch(str(path), rows, ignored=ignored)
    valid = batch.valid()
    batch.elements = limits.elements or elements_of(valid)
    with_energy = sum(row.energy_per_atom is not None for row in valid)
    if with_energy:
        batch.scale = f"as in {path.name}"
    if 0 < with_energy < len(valid):
        batch.notes.append(f"{len(valid) - with_energy} of {len(valid)} structures have no energy and no E_hull")
    batch.notes += notes_on(valid)
    order = sorted(valid, key=_rank_key)
    for rank, row in enumerate(order):
        row.rank = rank
    return batch


def _rank_key(row: Row) -> tuple[bool, str, float, str, str]:
    """Representatives are those of lowest energy, as far as energies are of one calculation."""
    return row.energy_per_atom is None, row.origin.calculation, row.energy_per_atom or 0.0, row.content or "", row.id


def elements_of(rows: list[Row]) -> tuple[str, ...]:
    """Elements of the rows, sorted."""
    from pymatgen.core import Element

    numbers = {number for row in rows for number in set(row.packed().numbers.tolist())}
    return tuple(sorted(Element.from_Z(number).symbol for number in numbers))


def add_references(batch: Batch, spec: str, limits: Limits, workers: Workers, *, same_scale: bool) -> None:
    """Give the batch references of its chemical system: a bundled set, or a file with or without energies.

    Raises
    ------
    AnalysisError, ReferenceDataError
        If they cannot be read, or none is of the chemical system.
    """
    from coevo.configs.references import bundled_sets, load_references

    batch.reference_set = spec
    if spec in bundled_sets():
        for known in load_references(spec, batch.elements, complete=False):
            batch.references.append(reference_row(known.name, PackedCrystal.pack(known.structure), None))
    else:
        rows, _ = read_pile(Path(spec), limits_for_references(limits, batch.elements), workers)
        check_something_read(Path(spec), rows)
        batch.references = [row for row in rows if row.reason is None]
        left_out = Counter(row.reason for row in rows if row.reason is not None)
        if left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
            batch.notes.append(f"references left out: {reasons}")
        batch.notes += [f"references: {note}" for note in notes_on(batch.references)] if same_scale else []
    if not batch.references:
        raise AnalysisError(
            f"--references {spec}: none of the structures consists of {', '.join(batch.elements)}; give phases of that system"
        )
    batch.one_scale = same_scale


def limits_for_references(limits: Limits, elements: tuple[str, ...]) -> Limits:
    """References are of the batch's elements, and may have large cells."""
    from dataclasses import replace

    return replace(limits, elements=elements, max_atoms=max(1000, limits.max_atoms))


def reference_row(name: str, crystal: PackedCrystal, energy: float | None) -> Row:
    """A row for a reference."""
    structure = crystal.structure()
    formula = structure.composition.reduced_formula
    return Row(name, crystal=crystal, formula=formula, atoms=len(crystal), energy_per_atom=energy)


def batch_from_state(store: NodeStore, ref: str) -> Batch:
    """Read the entries and references of a state at their present geometry and energy."""
    from coevo.configs.references import reference_set_words
    from coevo.configs.tree import NodeSection
    from coevo.makers.populations.population import members, model_energy
    from coevo.node_store.recorded import readable_configuration
    from coevo.node_store.seeds import seed_for
    from coevo.studies.states.label_scales import teacher_of

    view = store.state(ref)
    config = view.document["config"]
    with readable_configuration(view):
        node = NodeSection.model_validate(config["node"])
        curation, maturity = CurationConfig.model_validate(config["curation"]), MaturityConfig.model_validate(config["maturity"])
        words = reference_set_words(node.references, config.get("references", {}).get("exclude", ()))
    entries, known = members(view, "entry"), members(view, "reference")
    rows = []
    for m in entries:
        row = reference_row(m.id, PackedCrystal.pack(m.structure), m.energy_per_atom)
        row.content = m.id
        rows.append(row)
    # the order in which a state takes its entries: older ones stay representatives, then by the force field's energy
    order = {m.id: (m.document["iteration_added"], model_energy(m.document), m.id) for m in entries}
    for rank, row in enumerate(sorted(rows, key=lambda row: order[row.id])):
        row.rank = rank
    return Batch(
        source=f"{view.node}@{view.id[:12]}",
        rows=rows,
        references=[reference_row(m.id, PackedCrystal.pack(m.structure), m.energy_per_atom) for m in known],
        reference_set=words,
        elements=node.elements,
        scale=f"{node.energy_scale}, force field {view.document['checkpoints']['force_field']['sha256'][:12]}",
        one_scale=True,
        curation=curation,
        descriptor=node.descriptor,
        maturity=maturity,
        entropy_seed=seed_for(node, view.iteration, "entropy"),
        stored={m.id: m.document for m in (*known, *entries)},
        teacher=teacher_of(view.document),
        notes=_state_notes(view),
    )


def _state_notes(view: StateView) -> list[str]:
    return [] if view.document["counts"].get("entries", 1) else ["the state has no entry yet"]
