"""The connection to a MongoDB server: options, indexes, and errors that say what to do and no password."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from coevo.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.collection import Collection
    from pymongo.database import Database

DEFAULT_DATABASE = "coevo"
CLIENT_OPTIONS: dict[str, Any] = {"w": "majority", "journal": True, "serverSelectionTimeoutMS": 10_000, "appname": "coevo"}
"""Unless the URI says otherwise: a commit that was acknowledged is on disk on most members of the replica set."""

INDEXES: dict[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "states": ((("node", 1), ("state", 1)),),
    "evaluations": (
        (("state", 1), ("kind", 1), ("structure_id", 1)),
        (("state", 1), ("kind", 1), ("energy_above_hull", 1), ("structure_id", 1)),
        (("state", 1), ("kind", 1), ("chemical_formula_reduced", 1)),
        (("state", 1), ("kind", 1), ("chemsys", 1), ("is_sun", 1), ("energy_above_hull", 1), ("structure_id", 1)),
        (("structure_id", 1),),
    ),
    "state_labels": ((("state", 1), ("split", 1)),),
    "campaigns": ((("node", 1), ("created", 1)),),
}
"""Every index besides ``_id``; created when they are missing. docs/data.md shows the queries that they are for."""


class MongoConnection:
    """A database on a server; nothing is sent before the first call.

    Parameters
    ----------
    uri : str
        ``mongodb://[USER:PASSWORD@]HOST[,HOST…]/[DATABASE]``; the database is ``coevo`` if none is named. Options in the URI win
        over the defaults: write concern majority with journal, 10 s to find a server.
    """

    def __init__(self, uri: str):
        self._uri = uri

    @property
    def place(self) -> str:
        """Host and database, without user and password."""
        return re.sub(r"^(mongodb(?:\+srv)?://)(?:.*@)?([^?]*).*$", r"\1\2", self._uri, flags=re.DOTALL)

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn errors of the driver into a :class:`StorageError` without credentials."""
        from pymongo.errors import PyMongoError

        try:
            yield
        except PyMongoError as err:
            raise self.failed(doing, err) from None  # the chained error would print the URI

    def failed(self, doing: str, err: Exception) -> StorageError:
        """Return the error that says what was done and what to do, without credentials."""
        return StorageError(
            f"{doing} failed at {self.place}: {type(err).__name__}: {self._without_credentials(str(err))[:400]}; "
            "check that the server runs and COEVO_DATABASE; what was committed before is untouched"
        )

    def _without_credentials(self, text: str) -> str:
        match = re.match(r"^[^:]+://(.*)@", self._uri, flags=re.DOTALL)
        for secret in [self._uri, *([match[1], *match[1].split(":", 1)] if match else [])]:
            if secret:
                text = text.replace(secret, "***")
        return text

    @cached_property
    def database(self) -> Database[dict[str, Any]]:
        """The database, connected at first use, with its indexes."""
        from pymongo import IndexModel, MongoClient

        options = _not_in_uri(self._uri, CLIENT_OPTIONS)
        with self.errors("connecting"):
            try:
                client: MongoClient[dict[str, Any]] = MongoClient(self._uri, **options)
            except (ValueError, TypeError) as err:  # what pymongo raises for options that it cannot read
                raise self.failed("connecting", err) from None
        try:
            with self.errors("creating indexes"):
                database = client.get_default_database(default=DEFAULT_DATABASE)
                for collection, indexes in INDEXES.items():
                    database[collection].create_indexes([IndexModel(list(keys)) for keys in indexes])
        except BaseException:
            client.close()
            raise
        return database

    def collection(self, name: str) -> Collection[dict[str, Any]]:
        """Return a collection of the database."""
        return self.database[name]

    def close(self) -> None:
        """Give the connection back."""
        if "database" in self.__dict__:
            self.database.client.close()
            del self.database


def _not_in_uri(uri: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the URI does not give itself."""
    given = {part.split("=")[0].lower() for part in uri.partition("?")[2].split("&")}
    return {name: value for name, value in options.items() if name.lower() not in given}


def ask_server(uri: str, database: str, seconds: float = 10.0) -> str:
    """Connect to a server, list the collections of a database, and change nothing.

    Parameters
    ----------
    uri : str
        As :class:`MongoConnection` takes it.
    database : str
    seconds : float
        How long the server may take to answer, unless the URI says so.

    Returns
    -------
    str
        ``MongoDB VERSION, N collections``.

    Raises
    ------
    StorageError
        If it does not answer, or does not let this user read.
    """
    from pymongo import MongoClient

    connection = MongoConnection(uri)
    limit = int(seconds * 1000)
    limits = dict.fromkeys(("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS"), limit)
    options = _not_in_uri(uri, limits)
    with connection.errors("asking the server"):
        try:
            client: MongoClient[dict[str, Any]] = MongoClient(uri, appname="coevo", **options)
        except (ValueError, TypeError) as err:
            raise connection.failed("connecting", err) from None
        with client:
            collections = len(client[database].list_collection_names())
            return f"MongoDB {client.server_info()['version']}, {collections} collections"
