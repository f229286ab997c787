"""The file of references that a fetch writes, and whether a file that is there answers the same question.

The file is one that ``node.references`` reads: its ``phases`` have ``name``, ``source``, ``licence`` and ``structure``;
``databases`` of a phase is what each database says of it. ``fetched`` says what was asked of whom and when.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.configs.structures.reference_files import MAX_ENTRIES, MAX_FILE
from coevo.errors import ReferenceDataError
from coevo.output.files import check_place, write_text
from coevo.output.plain_text import json_text
from coevo.studies.reference_databases.answers import geometry
from coevo.studies.reference_databases.fetching import DatabaseAnswers, KeptAnswers, fetch
from coevo.studies.reference_databases.joining import JoinedSet, Phase, join

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coevo.configs.references import ReferenceStructure
    from coevo.studies.known_sets.http_json import HttpLimits
    from coevo.studies.reference_databases.sources import Database

DEFAULT_MAX_E_HULL = 0.1
"""eV/atom."""


@dataclass(frozen=True)
class Fetched:
    """What a fetch wrote.

    Attributes
    ----------
    path : Path
    answers : list of DatabaseAnswers
    joined : JoinedSet
    bundled : int
        Elemental crystals of the bundled set, for elements that no database has by themselves.
    """

    path: Path
    answers: list[DatabaseAnswers]
    joined: JoinedSet
    bundled: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without geometries."""
        return {
            "file": str(self.path),
            "phases": len(self.joined.phases) + self.bundled,
            "bundled": self.bundled,
            "counts": [vars(count) for count in self.joined.counts],
            "databases": [_told(found) for found in self.answers],
            "notes": self.joined.notes,
            "missing_elements": self.joined.missing_elements,
        }


def kept_beside(path: Path) -> KeptAnswers:
    """Answers of an unfinished fetch into a file."""
    return KeptAnswers(path.with_name(f"{path.name}.part"))


def fetch_into(
    path: Path,
    databases: Sequence[Database],
    elements: Sequence[str],
    *,
    max_e_hull: float | None = DEFAULT_MAX_E_HULL,
    complete: bool = True,
    resume: bool = True,
    force: bool = False,
    limits: HttpLimits | None = None,
    workers: int = 1,
    say: Callable[[str], None],
) -> Fetched:
    """Ask databases and write a file of references, whole or not at all.

    Parameters
    ----------
    path : Path
        Called ``.json``. Answers are kept in ``FILE.part`` beside it until it is written.
    databases : sequence of Database
    elements : sequence of str
    max_e_hull : float or None
        eV/atom, of the databases' own energies above hull; None keeps all.
    complete : bool
        Whether each element must have a structure of its own: from the databases, else from the bundled set of elements.
    resume : bool
        Whether answers of an unfinished fetch count.
    force : bool
        Whether a file that is there may be replaced.
    limits : HttpLimits, optional
        Patience and bounds of each database.
    workers : int
    say : callable
        Told what is not asked for again.

    Raises
    ------
    ProviderError
        If a sub-system could not be read; the answers that came are kept.
    ReferenceDataError
        If an element has no structure, there are more phases than a file of references may have, or the file is not ``.json``.
    StorageError
        If it cannot be written.
    ConfigError
        If the Materials Project is asked for and there is no key.
    """
    if path.suffix.lower() != ".json":
        raise ReferenceDataError(f"--output {path}: got {path.suffix!r}, allowed: a file called .json")
    check_place(path, force)
    kept = kept_beside(path)
    answers = fetch(databases, elements, kept, limits=limits, resume=resume, say=say)
    joined = join(answers, elements, max_e_hull, workers=workers)
    bundled = _bundled_elements(joined) if complete else []
    if complete:
        joined.check_elements()
    if len(joined.phases) > MAX_ENTRIES:
        raise ReferenceDataError(
            f"references: {len(joined.phases)} phases, allowed: at most {MAX_ENTRIES} in a file; lower --max-e-hull (what was "
            f"read is kept in {kept.directory})"
        )
    text = _text(answers, joined, bundled, question(databases, elements, max_e_hull))
    if len(text) > MAX_FILE:
        raise ReferenceDataError(f"references: {len(text) >> 20} MB, allowed: at most {MAX_FILE >> 20} MB; lower --max-e-hull")
    write_text(path, text, force=force)
    kept.forget()
    return Fetched(path, answers, joined, len(bundled))


def question(databases: Sequence[Database], elements: Sequence[str], max_e_hull: float | None) -> dict[str, Any]:
    """What is asked, as the file records it."""
    most = None if max_e_hull is None or math.isinf(max_e_hull) else float(max_e_hull)
    return {"elements": sorted(elements), "from": [_asked(database) for database in databases], "max_e_hull": most}


def answers_question(path: Path, asked: dict[str, Any]) -> bool:
    """Whether a file that is there was fetched by the same question.

    Raises
    ------
    ReferenceDataError
        If it is no such file, or answers another question.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError
        document = json.loads(path.read_text(encoding="utf-8"))
        known = {key: document["fetched"][key] for key in asked}
    except FileNotFoundError:
        return False
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise ReferenceDataError(
            f"{path}: it is there already and was not fetched by coevo; move it away, or give it as --references {path.name}"
        ) from None
    if known != asked:
        different = next(key for key in asked if known[key] != asked[key])
        raise ReferenceDataError(
            f"{path}: it is there already and answers another question ({different}: {str(known[different])[:80]}, asked: "
            f"{str(asked[different])[:80]}); move it away, or give it as --references {path.name}"
        )
    return True


def default_file(databases: Sequence[Database], elements: Sequence[str]) -> Path:
    """Name of the file that ``init`` fetches into, in the working directory: ``li-p-s-mp-alexandria.json``."""
    return Path("-".join([*(symbol.lower() for symbol in sorted(elements)), *(d.slug for d in databases)]) + ".json")


def _bundled_elements(joined: JoinedSet) -> list[ReferenceStructure]:
    """Crystals of the bundled set for elements that no database has by themselves; a node has no hull without them."""
    from coevo.configs.references import ELEMENTS_SET, elements_of_the_set, load_references

    lacking = [symbol for symbol in joined.missing_elements if symbol in elements_of_the_set()]
    found = load_references(ELEMENTS_SET, lacking, complete=False) if lacking else []
    for symbol in lacking:
        joined.missing_elements.remove(symbol)
        joined.notes.append(
            f"{symbol}: no database asked has a usable structure of it alone; the bundled set {ELEMENTS_SET} gives it"
        )
    return found


def _asked(database: Database) -> str:
    # an address may hold a password, of which a file must not tell
    return database.name if database.spec == database.name else f"{database.name} {database.slug} {database.shown}"


def _told(found: DatabaseAnswers) -> dict[str, Any]:
    return {
        "database": found.database.shown,
        "title": found.database.title,
        "licence": found.licence,
        "licence_source": found.licence_source,
        "version": next((answer.version for answer in found.systems if answer.version), ""),
        "first_read_at": min(answer.read_at for answer in found.systems),
        "last_read_at": max(answer.read_at for answer in found.systems),
        "kept_from_before": found.kept,
    }


def _text(answers: Sequence[DatabaseAnswers], joined: JoinedSet, bundled: list[ReferenceStructure], asked: dict[str, Any]) -> str:
    """One phase a line, so that files can be compared."""
    counts = [vars(count) for count in joined.counts]
    head = {**asked, "databases": [_told(found) for found in answers], "counts": counts, "notes": joined.notes}
    items = [_item(phase) for phase in joined.phases]
    items += [
        {"name": b.name, "source": b.source, "licence": b.licence, "databases": [], "structure": geometry(b.structure)}
        for b in bundled
    ]
    lines = ",\n".join(json_text(item, indent=None).rstrip("\n") for item in items)
    # phases first: readers of large files then need not hold it as a whole
    return f'{{"phases": [\n{lines}\n],\n"fetched": {json_text(head, indent=None).rstrip()}}}\n'


def _item(phase: Phase) -> dict[str, Any]:
    first = phase.members[0]
    name = first.entry.id if not first.entry.id.isdecimal() else f"{first.answers.database.name}-{first.entry.id}"
    others = [f"{member.answers.database.shown} {member.entry.id}" for member in phase.members[1:]]
    source = f"{first.answers.database.title} {first.entry.id}, read {first.answer.read_at[:10]}"
    if others:
        source += f"; the same crystal: {', '.join(others[:8])}" + (f" and {len(others) - 8} more" if len(others) > 8 else "")
    return {
        "name": f"{name} {phase.structure.composition.reduced_formula}",
        "source": source,
        "licence": first.licence or "unknown",
        "databases": [member.provenance() for member in phase.members],
        "structure": geometry(phase.structure),
    }
