"""Which databases are known: where they are, which of their fields hold energies, and under which terms they give their data."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.errors import ConfigError
from coevo.studies.known_sets.http_json import shown_url

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIMADE = "optimade:"
ALLOWED = "mp, oqmd, alexandria, alexandria-pbesol, one of these at another address (oqmd@URL), or optimade:URL"


@dataclass(frozen=True)
class Database:
    """A database of crystals.

    Attributes
    ----------
    spec : str
        How the user names it: ``mp``, ``oqmd@http://…``, ``optimade:http://…``.
    name : str
        Of the table, or ``optimade``.
    title : str
        For people.
    url : str
        Base URL of its OPTIMADE; empty for the Materials Project, whose client has its own.
    hull_field, formation_field : str
        OPTIMADE fields with the database's own energy above hull and formation energy, eV/atom; empty if none is known.
    licence : str
        Terms as they were known when this was written, used where the server says none; empty if unknown.
    licence_source : str
        Who said so.
    """

    spec: str
    name: str
    title: str
    url: str = ""
    hull_field: str = ""
    formation_field: str = ""
    licence: str = ""
    licence_source: str = ""

    @property
    def has_hull(self) -> bool:
        """Whether it gives energies above hull in a field that is known."""
        return bool(self.hull_field) or self.name == "mp"

    @property
    def slug(self) -> str:
        """Part of a file's name: the name, and for another address a hash of it."""
        if self.spec == self.name:
            return self.name
        return f"{self.name}-{hashlib.sha256(self.spec.encode()).hexdigest()[:8]}"

    @property
    def shown(self) -> str:
        """Name for messages and records, without password or query."""
        return self.spec if self.spec == self.name else f"{self.name} at {shown_url(self.url)}"


_ALEXANDRIA = Database(
    "alexandria",
    "alexandria",
    "Alexandria (PBE)",
    "https://alexandria.icams.rub.de/pbe",
    "_alexandria_hull_distance",
    "_alexandria_formation_energy_per_atom",
    "CC-BY-4.0",
    "as Alexandria publishes its data",
)

DATABASES = {
    database.name: database
    for database in (
        Database("mp", "mp", "Materials Project", licence="CC-BY-4.0", licence_source="terms of use of the Materials Project"),
        Database("oqmd", "oqmd", "OQMD", "https://oqmd.org/optimade", "_oqmd_stability", "_oqmd_delta_e"),
        _ALEXANDRIA,
        replace(
            _ALEXANDRIA,
            spec="alexandria-pbesol",
            name="alexandria-pbesol",
            title="Alexandria (PBEsol)",
            url="https://alexandria.icams.rub.de/pbesol",
        ),
    )
}
"""Name to database. The fields are those of the providers' own OPTIMADE namespaces."""


def database_of(spec: str) -> Database | None:
    """Return the database that a word names, None if it names none.

    Raises
    ------
    ConfigError
        If it names one wrongly: an address that is none, or another address for the Materials Project.
    """
    spec = spec.strip()
    if spec in DATABASES:
        return DATABASES[spec]
    name, found, url = spec.partition("@")
    if found and name in DATABASES and "://" in url:
        if name == "mp":
            raise ConfigError(f"{name}@…: the Materials Project's address is that of pymatgen's client (PMG_MAPI_ENDPOINT)")
        return replace(DATABASES[name], spec=spec, url=_address(url, spec))
    if spec.startswith(OPTIMADE):
        url = _address(spec.removeprefix(OPTIMADE), spec)
        return Database(spec, "optimade", f"OPTIMADE {shown_url(url)}", url)
    return None


def databases_of(specs: Sequence[str]) -> list[Database]:
    """Return the databases that are named, one or several (``mp+oqmd``) in each word, each once, in their order.

    Raises
    ------
    ConfigError
        If a word names none.
    """
    found: dict[str, Database] = {}
    for spec in specs:
        for word in (part.strip() for part in spec.split("+")):
            database = database_of(word)
            if database is None:
                raise ConfigError(f"--from {word!r}: no database; allowed: {ALLOWED}")
            found.setdefault(database.spec, database)
    if not found:
        raise ConfigError(f"--from is missing; allowed: {ALLOWED}")
    return list(found.values())


def split_databases(references: str) -> tuple[list[Database], str]:
    """Divide references into the databases among them and the rest.

    A word that is the path of something that exists is that file, as everywhere: ``./mp`` and ``mp`` alike.

    Parameters
    ----------
    references : str
        Such as ``mp+alexandria`` or ``alexandria + my.cif``.

    Returns
    -------
    databases : list of Database
    rest : str
        Sets and files, joined by `` + ``; what was given where there is no database.
    """
    if _exists(references.strip()):
        return [], references
    databases: list[Database] = []
    rest: list[list[str]] = [[]]
    for part in references.split("+"):
        database = None if _exists(part.strip()) else database_of(part)
        if database is None:
            rest[-1].append(part)  # pieces of a name that holds a + itself stay together
        else:
            databases.append(database)
            rest.append([])
    if not databases:
        return [], references
    texts = ["+".join(pieces).strip() for pieces in rest]
    unique = list({database.spec: database for database in databases}.values())
    return unique, " + ".join(text for text in texts if text)


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long a name, a null character, no such home
        return False


def _address(url: str, spec: str) -> str:
    url = url.strip()
    if not re.match(r"https?://[^/\s]+", url):
        raise ConfigError(f"--from {shown_url(spec)}: got no address, allowed: http://… or https://…")
    return url
