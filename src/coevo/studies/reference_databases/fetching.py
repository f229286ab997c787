"""Asks databases for all sub-systems of a chemical system, and keeps each answer on disk until all are there.

A fetch that was killed, or of which a database was down, goes on where it stopped: answers that are kept are not asked for again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.errors import ProviderError, StorageError
from coevo.output.files import write_text
from coevo.output.plain_text import json_text
from coevo.output.progress import task
from coevo.studies.known_sets.http_json import HttpLimits
from coevo.studies.known_sets.materials_project import api_key
from coevo.studies.known_sets.optimade_provider import sub_systems
from coevo.studies.reference_databases.answers import SystemAnswer, answer_from_dict
from coevo.studies.reference_databases.asking import Asker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coevo.studies.reference_databases.sources import Database

_IN_A_ROW = 2
"""Sub-systems that fail one after the other before a database is left alone: it is down, and patience is long."""
_REFUSALS = frozenset({401, 403})
"""Of a key or a client, whatever is asked."""


@dataclass(frozen=True)
class _Failure:
    """Sub-systems of a database that could not be read, and why."""

    database: Database
    systems: list[tuple[str, ...]]
    why: str

    def __str__(self) -> str:
        systems = ", ".join("-".join(system) for system in self.systems)
        return f"{self.database.shown} {systems}: {self.why}"


@dataclass(frozen=True)
class DatabaseAnswers:
    """What one database gave.

    Attributes
    ----------
    database : Database
    systems : list of SystemAnswer
        One for each sub-system.
    licence, licence_source : str
        Terms of its data and who says so; empty if nobody does.
    kept : int
        Sub-systems that an earlier, unfinished fetch had read.
    """

    database: Database
    systems: list[SystemAnswer]
    licence: str
    licence_source: str
    kept: int = 0


@dataclass
class KeptAnswers:
    """Answers of an unfinished fetch: a directory beside the file that will be written, one file for each sub-system.

    Parameters
    ----------
    directory : Path
    """

    directory: Path
    _written: list[Path] = field(default_factory=list)

    def read(self, name: str) -> Any:
        """Return a document that was kept, None if there is none that can be read."""
        path = self.directory / name
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        self._written.append(path)
        return document

    def write(self, name: str, document: Any) -> None:
        """Keep a document, whole or not at all.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        try:
            self.directory.mkdir(exist_ok=True)
        except OSError as err:
            raise StorageError(f"{self.directory}: {err.strerror or err}; choose another --output") from None
        path = self.directory / name
        write_text(path, json_text(document, indent=None), "references fetch", force=True)
        self._written.append(path)

    def forget(self) -> None:
        """Remove what this fetch read and wrote, and the directory if nothing else is in it."""
        for path in self._written:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.directory.rmdir()


def fetch(
    databases: Sequence[Database],
    elements: Sequence[str],
    kept: KeptAnswers,
    *,
    limits: HttpLimits | None = None,
    resume: bool = True,
    say: Callable[[str], None],
) -> list[DatabaseAnswers]:
    """Ask databases for every sub-system.

    Parameters
    ----------
    databases : sequence of Database
        All are asked, also if one of them cannot be read.
    elements : sequence of str
    kept : KeptAnswers
    limits : HttpLimits, optional
        Of each database.
    resume : bool
        Whether answers of an unfinished fetch count.
    say : callable
        Told what is not asked for again.

    Raises
    ------
    ConfigError
        If the Materials Project is asked for and there is no key; nothing is asked then.
    ProviderError
        If a sub-system could not be read: names each, and says what is kept.
    """
    if any(database.name == "mp" for database in databases):
        api_key()
    systems = list(sub_systems(sorted(elements)))
    answers: list[DatabaseAnswers] = []
    failures: list[_Failure] = []
    for database in databases:
        found = _fetch_one(database, systems, kept, limits or HttpLimits(), failures, resume=resume, say=say)
        if found is not None:
            answers.append(found)
    if failures:
        failed = sum(len(failure.systems) for failure in failures)
        total = len(systems) * len(databases)
        rest = f"; the {total - failed} that were read are kept in {kept.directory}: the same command goes on there"
        raise ProviderError(
            f"references: {failed} of {total} sub-systems could not be read: {'; '.join(map(str, failures))}. Nothing was "
            f"written, because it would be a part{rest if failed < total else ''}"
        )
    return answers


def _fetch_one(
    database: Database,
    systems: Sequence[tuple[str, ...]],
    kept: KeptAnswers,
    limits: HttpLimits,
    failures: list[_Failure],
    *,
    resume: bool,
    say: Callable[[str], None],
) -> DatabaseAnswers | None:
    asker = Asker(database, limits)
    found: dict[tuple[str, ...], SystemAnswer] = {}
    for system in systems:
        known = _kept_answer(kept, database, system) if resume else None
        if known is not None:
            found[system] = known
    reused = len(found)
    if reused:
        first = min(answer.read_at for answer in found.values())[:10]
        say(f"{database.shown}: {reused} of {len(systems)} sub-systems are kept in {kept.directory}, read since {first}")
    in_a_row = 0
    left = [system for system in systems if system not in found]
    with task(f"asking {database.title}", 0, "structures") as advance:
        for number, system in enumerate(left):
            try:
                found[system] = asker.ask(system, advance)
            except ProviderError as problem:
                failures.append(_Failure(database, [system], str(problem)))
                in_a_row = _IN_A_ROW if problem.status in _REFUSALS else in_a_row + 1
                if in_a_row >= _IN_A_ROW and left[number + 1 :]:
                    failures.append(_Failure(database, left[number + 1 :], "not asked after this"))
                if in_a_row >= _IN_A_ROW:
                    break
                continue
            in_a_row = 0
            kept.write(_file_name(database, system), found[system].to_dict())
    if len(found) < len(systems):
        return None
    licence, licence_source = _licence(asker, kept, database, asked=reused < len(systems))
    return DatabaseAnswers(database, [found[system] for system in systems], licence, licence_source, reused)


def _licence(asker: Asker, kept: KeptAnswers, database: Database, *, asked: bool) -> tuple[str, str]:
    """Terms as they were told with the answers."""
    name = f"{database.slug}.licence.json"
    known = None if asked else kept.read(name)
    if isinstance(known, list) and len(known) == 2 and all(isinstance(word, str) for word in known):
        return known[0], known[1]
    told = asker.licence()
    kept.write(name, list(told))
    return told


def _file_name(database: Database, system: Sequence[str]) -> str:
    return f"{database.slug}.{'-'.join(system)}.json"


def _kept_answer(kept: KeptAnswers, database: Database, system: tuple[str, ...]) -> SystemAnswer | None:
    document = kept.read(_file_name(database, system))
    try:
        answer = None if document is None else answer_from_dict(document)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None  # cut off or changed by hand: asked for again
    return answer if answer is not None and (answer.spec, answer.system) == (database.spec, system) else None
