"""One question to one database: the structures that have these elements and no other, with the database's own energies."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.errors import ProviderError
from coevo.studies.known_sets.http_json import HttpLimits, JsonReader, printable
from coevo.studies.known_sets.known_structures import utc_now
from coevo.studies.known_sets.materials_project import read_summaries, structure_of_summary
from coevo.studies.known_sets.optimade_provider import FIELDS, Told, base_url, structure_or_reason, system_entries
from coevo.studies.reference_databases.answers import DatabaseEntry, SystemAnswer, finite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coevo.studies.reference_databases.sources import Database

_SUMMARY_FIELDS = ("material_id", "structure", "energy_above_hull", "formation_energy_per_atom", "last_updated", "builder_meta")
_LICENCES = {"BY-C": "CC-BY-4.0", "BY-NC": "CC-BY-NC-4.0"}
"""How the Materials Project names the licence of a single material in ``builder_meta`` (emmet's EmmetMeta)."""


class Asker:
    """Asks one database.

    Parameters
    ----------
    database : Database
    limits : HttpLimits
        For all questions together.
    """

    def __init__(self, database: Database, limits: HttpLimits) -> None:
        self._database = database
        self._limits = limits
        self._reader = JsonReader(database.url, limits) if database.url else None

    def ask(self, system: Sequence[str], advance: Callable[[int], None]) -> SystemAnswer:
        """Ask for one sub-system.

        Parameters
        ----------
        system : sequence of str
        advance : callable
            Told of structures as they come.

        Raises
        ------
        ProviderError
            If the server cannot be read to the end.
        """
        if self._reader is None:
            return self._of_materials_project(system, advance)
        return self._of_optimade(self._reader, system, advance)

    def licence(self) -> tuple[str, str]:
        """Terms of the data and who says so: the server in its ``/info``, else what is known of it; empty if nobody does."""
        known = (self._database.licence, self._database.licence_source)
        if self._reader is None:
            return known
        try:
            told = self._reader.get(f"{base_url(self._database.url)}/info")
            attributes = told["data"]["attributes"]
            names = attributes.get("available_licenses") or []
            link = attributes.get("license")
            address = link.get("href") if isinstance(link, dict) else link
            words = " or ".join(printable(str(name), 60) for name in names[:5]) or printable(str(address or ""))
        except (ProviderError, LookupError, TypeError, AttributeError):  # not every server has it, and geometry needs none
            return known
        return (words, "its /info") if words else known

    def _of_optimade(self, reader: JsonReader, system: Sequence[str], advance: Callable[[int], None]) -> SystemAnswer:
        database, told, left_out = self._database, Told(), Counter[str]()
        energy_fields = [name for name in (database.hull_field, database.formation_field) if name]
        fields = ",".join([FIELDS, "last_modified", *energy_fields])
        entries = []
        for name, attributes in system_entries(reader, base_url(database.url), system, fields, told):
            advance(1)
            structure, reason = structure_or_reason(attributes, system)
            if structure is not None and len(structure.symbol_set) < len(system):
                structure, reason = None, "off_system"  # of another sub-system, which is asked for by itself
            if name is None or structure is None:
                left_out["unreadable" if name is None else reason] += 1
                continue
            hull, formation = (
                finite(attributes.get(key)) if key else None for key in (database.hull_field, database.formation_field)
            )
            entries.append(DatabaseEntry(name, structure, hull, formation, modified=_words(attributes.get("last_modified"))))
        return self._answer(system, entries, left_out, told, told.version)

    def _of_materials_project(self, system: Sequence[str], advance: Callable[[int], None]) -> SystemAnswer:
        documents = self._summaries("-".join(sorted(system)))
        advance(len(documents))
        entries, left_out, versions = [], Counter[str](), set[str]()
        for document in documents:
            name, structure, reason = structure_of_summary(document, system)
            if structure is not None and len(structure.symbol_set) < len(system):
                structure, reason = None, "off_system"
            if structure is None:
                left_out[reason] += 1
                continue
            meta = document.get("builder_meta")
            meta = meta if isinstance(meta, dict) else {}
            versions.add(_words(meta.get("database_version")))
            entries.append(
                DatabaseEntry(
                    name,
                    structure,
                    finite(document.get("energy_above_hull")),
                    finite(document.get("formation_energy_per_atom")),
                    _LICENCES.get(str(meta.get("license")), ""),
                    _words(document.get("last_updated")),
                )
            )
        version = ", ".join(sorted(versions - {""})[:3])
        return self._answer(system, entries, left_out, Told(), version)

    def _summaries(self, system: str) -> list[Any]:
        """Ask the Materials Project, again where it may help; a refused key is told at once."""
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return read_summaries([system], _SUMMARY_FIELDS, timeout=self._limits.silence_seconds)
            except ProviderError as problem:
                if problem.status in {400, 401, 403, 404}:
                    raise
                if attempt == self._limits.attempts:
                    raise ProviderError(f"{problem} ({attempt} attempts)", status=problem.status) from None
                time.sleep(min(self._limits.pause_seconds * 2 ** (attempt - 1), self._limits.longest_pause_seconds))
        raise AssertionError  # the last attempt returns or raises

    def _answer(
        self, system: Sequence[str], entries: list[DatabaseEntry], left_out: Counter[str], told: Told, version: str
    ) -> SystemAnswer:
        missing = list(told.missing)
        if left_out["off_system"]:
            missing.append(f"{left_out['off_system']} of what it gave for {'-'.join(system)} are of other elements")
        return SystemAnswer(
            self._database.spec, tuple(system), utc_now(), version, entries, dict(left_out), list(told.notes), missing
        )


def _words(value: Any) -> str:
    """A date or version as it is written, empty for what is none; MongoDB's own form of a date is one."""
    if isinstance(value, dict):
        value = value.get("$date")
    return printable(str(value), 60) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
