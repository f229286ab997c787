"""A database at one place that is put back to the same beginning before every fault."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from coevo.node_store.store import NodeStore, open_store
from coevo.settings import Settings

DATABASE = "coevo_faults"
OPTIONS = "directConnection=true&serverSelectionTimeoutMS=400&connectTimeoutMS=2000"
"""Not to wait long for a server that is gone; and a server that names its own address would lead around a proxy."""


class Worksite:
    """Where the database lies: always at the same path (and name on the server), so that URIs in documents stay true.

    Parameters
    ----------
    directory : Path
    server : str or None
        ``mongodb://HOST:PORT``; embedded if None.
    """

    def __init__(self, directory: Path, server: str | None):
        self.directory = directory
        self.server = server
        self.live = directory / "live"
        self.template = directory / "template"

    @property
    def backend(self) -> str:
        return "mongodb" if self.server else "embedded"

    def settings(self, server: str | None = None) -> Settings:
        if not self.server:
            return Settings(database=f"file:{self.live / 'data'}")
        uri = f"{server or self.server}/{DATABASE}_{self.directory.name}?{OPTIONS}"
        return Settings(database=uri, artifacts=(self.live / "blobs").as_uri())

    def open(self, server: str | None = None) -> NodeStore:
        return open_store(self.settings(server))

    def clear(self) -> None:
        shutil.rmtree(self.live, ignore_errors=True)
        self.live.mkdir(parents=True)
        if self.server:
            with self.open() as store:
                database = store.backend.connection.database  # type: ignore[attr-defined]
                for name in database.list_collection_names():
                    database[name].delete_many({})

    def keep(self) -> None:
        """Take what is there now as the beginning."""
        shutil.rmtree(self.template, ignore_errors=True)
        if self.server:
            self._write_rows()
        subprocess.run(["cp", "-a", str(self.live), str(self.template)], check=True)

    def restore(self) -> None:
        """Put the beginning back, with the ages of files and rows."""
        self.clear()
        self.live.rmdir()
        subprocess.run(["cp", "-a", str(self.template), str(self.live)], check=True)
        if self.server:
            self._read_rows()

    def drop(self) -> None:
        """Remove the database from the server."""
        if self.server:
            from pymongo import MongoClient

            with MongoClient(self.server) as client:
                client.drop_database(f"{DATABASE}_{self.directory.name}")

    def _write_rows(self) -> None:
        import bson

        with self.open() as store, (self.live / "rows.bson").open("wb") as file:
            database = store.backend.connection.database  # type: ignore[attr-defined]
            for name in sorted(database.list_collection_names()):
                file.write(bson.encode({"collection": name, "rows": list(database[name].find())}))

    def _read_rows(self) -> None:
        import bson

        with self.open() as store, (self.live / "rows.bson").open("rb") as file:
            database = store.backend.connection.database  # type: ignore[attr-defined]
            for stored in bson.decode_file_iter(file):
                if stored["rows"]:
                    database[stored["collection"]].insert_many(stored["rows"])
