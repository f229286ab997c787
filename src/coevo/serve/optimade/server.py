"""The optimade package's server on a state, to be mounted below an address of ours."""

from __future__ import annotations

import json
import logging
import os
import traceback
import warnings
from asyncio import wrap_future
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from coevo import __version__
from coevo.serve.optimade.fields import PREFIX, own_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from coevo.node_store.views import StateView
    from coevo.serve.served import Served

_LOGGER = logging.getLogger("coevo.serve.optimade")
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


class InPreparation:
    """ASGI application that a thread makes once, because importing the package takes a while; who asks for it waits.

    Parameters
    ----------
    make : callable
        Returns the application.
    """

    def __init__(self, make: Callable[[], ASGIApp]):
        self._make = make
        self._made: Future[ASGIApp] = Future()
        self._made.set_running_or_notify_cancel()  # so that no request that is given up ends it

    def start(self) -> None:
        """Make it, in a thread."""
        Thread(target=self._run, name="optimade", daemon=True).start()

    def _run(self) -> None:
        try:
            self._made.set_result(self._make())
        except BaseException as error:  # noqa: BLE001 - told to whoever asks, and where the server runs
            _LOGGER.error("OPTIMADE: %s", "".join(traceback.format_exception(error)))  # noqa: TRY400
            self._made.set_exception(error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as soon as there is something to answer it."""
        from starlette.responses import PlainTextResponse

        answer: ASGIApp
        try:
            answer = await wrap_future(self._made)
        except Exception as error:  # noqa: BLE001 - logged above
            why = f"OPTIMADE could not be started ({type(error).__name__}); where the server runs it says more\n"
            answer = PlainTextResponse(why, 500)
        await answer(scope, receive, send)


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
        from fastapi.exceptions import RequestValidationError
        from optimade.server.config import ServerConfig
        from optimade.server.create_app import create_app
        from optimade.server.mappers.entries import BaseResourceMapper
        from pydantic import ValidationError

        from coevo.serve.optimade.collection import StateCollection

        config = ServerConfig(**settings)
        app = create_app(config)
        app.state.base_resource_mapper = BaseResourceMapper(config)
        app.state.entry_collections["structures"] = StateCollection(served, view, config)
        for kind, handler in ((RequestValidationError, _bad_request), (ValidationError, _fault), (Exception, _fault)):
            app.add_exception_handler(kind, handler)
    # its pages load scripts from elsewhere
    app.router.routes[:] = [route for route in app.router.routes if "/extensions/" not in getattr(route, "path", "")]
    return app


def _bad_request(request: Request, error: Any) -> Response:
    """Answer 400 to a parameter that is none; the package answers 500, with the place of a file of this machine."""
    from optimade.exceptions import BadRequest
    from optimade.server.exception_handlers import general_exception

    problems = (f"{'.'.join(map(str, found['loc'][1:]))}: {found['msg']}" for found in error.errors())
    return general_exception(request, BadRequest(detail="; ".join(problems)[:500]))  # type: ignore[no-any-return]


def _fault(request: Request, error: Exception) -> Response:
    """Answer 500 without the text of an error, which may name folders of this machine."""
    from optimade.exceptions import InternalServerError, OptimadeHTTPException
    from optimade.server.exception_handlers import general_exception

    if isinstance(error, OptimadeHTTPException):  # of a middleware, as for a version that there is not
        return general_exception(request, error)  # type: ignore[no-any-return]
    _LOGGER.error("%s: %s", request.url.path, "".join(traceback.format_exception(error)))
    detail = f"{type(error).__name__}; where the server runs it says more"
    return general_exception(request, InternalServerError(detail=detail))  # type: ignore[no-any-return]
