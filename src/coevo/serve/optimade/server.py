"""The optimade package's server on a state, to be mounted below an address of ours."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from coevo import __version__
from coevo.serve.optimade.fields import PREFIX, own_fields

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from coevo.node_store.views import StateView
    from coevo.serve.served import Served

MOST_ROWS = 500
"""Of a page; more are refused with 403, as OPTIMADE has it."""
_CONFIG = "OPTIMADE_CONFIG_FILE"


def _settings(view: StateView, base_url: str) -> dict[str, Any]:
    return {
        "base_url": base_url,
        "database_backend": "mongomock",  # of /links and /references, which are empty
        "insert_test_data": False,
        "page_limit_max": MOST_ROWS,
        "license": None,
        # what is served is made here, and checked by tests; checking each answer again takes ten times as long as making it
        "validate_api_response": False,
        # no file can be made below it, so the package writes no log
        "log_dir": f"{os.devnull}/none",
        "log_level": "critical",
        "provider": {
            "prefix": PREFIX,
            "name": f"coevo node {view.node}",
            "description": f"state {view.id} of node {view.node}, iteration {view.iteration}: energies by its own force field",
            "homepage": None,
        },
        "implementation": {"name": "coevo", "version": __version__, "homepage": None, "source_url": None, "maintainer": None},
        "provider_fields": {"structures": [{"name": name, **told} for name, told in own_fields().items()]},
    }


def optimade_application(served: Served, view: StateView, base_url: str) -> ASGIApp:
    """Return an OPTIMADE server of a state's entries.

    Parameters
    ----------
    served : Served
    view : StateView
    base_url : str
        Where it will be found, with what it is mounted below: ``http://127.0.0.1:8765/optimade``.
    """
    settings = _settings(view, base_url)
    before = os.environ.get(_CONFIG)
    with TemporaryDirectory(prefix="coevo-optimade-") as folder:
        # some of the package's modules read the file that this variable names when they are imported, not the object
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(settings), encoding="utf-8")
        os.environ[_CONFIG] = str(file)
        try:
            app = _application(served, view, settings)
        finally:
            if before is None:
                del os.environ[_CONFIG]
            else:
                os.environ[_CONFIG] = before
    return app


def _application(served: Served, view: StateView, settings: dict[str, Any]) -> ASGIApp:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from optimade.server.config import ServerConfig
        from optimade.server.create_app import create_app
        from optimade.server.mappers.entries import BaseResourceMapper

        from coevo.serve.optimade.collection import StateCollection

        config = ServerConfig(**settings)
        app = create_app(config)
        app.state.base_resource_mapper = BaseResourceMapper(config)
        app.state.entry_collections["structures"] = StateCollection(served, view, config)
    # its pages load scripts from elsewhere
    app.router.routes[:] = [route for route in app.router.routes if "/extensions/" not in getattr(route, "path", "")]
    return app
