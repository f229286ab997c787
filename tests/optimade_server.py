"""A real OPTIMADE server (optimade's own, on mongomock) in a process of its own, with structures of ours."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.core import Structure


def document(identifier: str, structure: Structure) -> dict[str, Any]:
    """The document of an ordered structure, made by optimade's own adapter."""
    from optimade.adapters.structures.pymatgen import from_pymatgen

    attributes = json.loads(from_pymatgen(structure).model_dump_json())
    attributes["chemical_formula_anonymous"] = attributes["chemical_formula_anonymous"] or "A"
    return {"id": identifier, "last_modified": {"$date": "2026-01-01T00:00:00Z"}, **attributes}


class OptimadeServer:
    """Serves documents on a free port of localhost; a context manager.

    Parameters
    ----------
    folder : Path
        Where the documents and the log go.
    documents : mapping of str to Structure, or list of dict
    page_limit_max : int
    """

    def __init__(self, folder: Path, documents: Any, *, page_limit_max: int = 500):
        rows = [document(name, s) for name, s in documents.items()] if isinstance(documents, dict) else documents
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder = folder
        self._settings: Mapping[str, Any] = {
            "rows": rows,
            "port": self.port,
            "log_dir": str(folder),
            "page_limit_max": page_limit_max,
        }
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        path = self._folder / "served.json"
        path.write_text(json.dumps(self._settings))
        log = (self._folder / "server.log").open("w")
        self._process = subprocess.Popen([sys.executable, __file__, str(path)], stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 180
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/v1/info", timeout=5) as answer:  # an address of this machine
                return answer.status == 200
        except OSError:
            return False

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()


def _serve(path: str) -> None:
    import bson.json_util
    import uvicorn
    from optimade.server.config import ServerConfig
    from optimade.server.create_app import create_app

    settings = json.loads(Path(path).read_text())
    config = ServerConfig(
        database_backend="mongomock",
        insert_test_data=False,
        log_dir=settings["log_dir"],
        page_limit_max=settings["page_limit_max"],
        license=None,
    )
    app = create_app(config)
    rows = bson.json_util.loads(json.dumps(settings["rows"]))
    app.state.entry_collections["structures"].insert(rows)
    uvicorn.run(app, host="127.0.0.1", port=settings["port"], log_level="warning")


if __name__ == "__main__":
    _serve(sys.argv[1])
