"""The addresses of the server and what answers them."""

from __future__ import annotations

import json
import logging
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from coevo.errors import CoevoError, NodeNotFoundError, QueryError, StateNotFoundError
from coevo.node_store.queries.query_fields import FIELDS
from coevo.output.plain_text import plain
from coevo.report.structure_map import SCRIPT, chemiscope_script
from coevo.serve.figures import Figures
from coevo.serve.guard import LOCAL_NAMES, Guard, policy
from coevo.serve.limits import LONGEST_FILTER
from coevo.serve.pages.entries import entry_file, entry_page, picture_data
from coevo.serve.pages.rendering import STATIC, permalink, rendered, script, state_path, style
from coevo.serve.pages.states import home_page, node_page, state_page
from coevo.serve.pages.table import ROWS, Asked, csv_rows, table_page
from coevo.serve.served import node_and_name
from coevo.studies.states.exporting import as_csv
from coevo.studies.states.label_scales import teacher_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from coevo.node_store.views import StateView
    from coevo.serve.served import Served

_LOGGER = logging.getLogger(__name__)
_FOR_EVER = {"cache-control": "max-age=31536000, immutable"}
"""Of what is named by the hash of its content."""


def application(
    served: Served,
    *,
    optimade: tuple[StateView, ASGIApp] | None = None,
    names: Collection[str] | None = LOCAL_NAMES,
) -> ASGIApp:
    """Return the server as an ASGI application.

    Parameters
    ----------
    served : Served
    optimade : (StateView, ASGI application), optional
        A state and its OPTIMADE server, to be found below ``/optimade``.
    names : collection of str, optional
        By which browsers may call this host; None for any.
    """
    app = FastAPI(title="coevo serve", docs_url=None, redoc_url=None, openapi_url=None)
    pages = _Pages(served, optimade[0] if optimade else None)
    for path, answer in (
        ("/", pages.home),
        (f"{STATIC}/{{name}}", pages.static),
        ("/{node}", pages.node),
        ("/{node}/{state}", pages.state),
        ("/{node}/{state}/figures/{name}.svg", pages.figure),
        ("/{node}/{state}/entries", pages.entries),
        ("/{node}/{state}/entries.csv", pages.csv),
        ("/{node}/{state}/entries/{id}", pages.entry),
        ("/{node}/{state}/entries/{id}/picture.json", pages.picture),
        ("/{node}/{state}/entries/{id}/structure.{suffix}", pages.file),
    ):
        if path == "/{node}" and optimade:
            # before the nodes, of which one of that name would hide it
            for start in ("/optimade", "/optimade/"):
                app.add_route(start, lambda _: RedirectResponse("/optimade/v1/info", 307), methods=["GET", "HEAD"])
            app.mount("/optimade", optimade[1])
        app.add_route(path, _answered(answer), methods=["GET", "HEAD"])
    app.add_exception_handler(HTTPException, _refused)  # type: ignore[arg-type]
    return Guard(app, names)


def _answered(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Turn errors into a page that says what is wrong; runs in a thread, as the database waits for disks."""

    def respond(request: Request) -> Response:
        try:
            return answer(request)
        except (NodeNotFoundError, StateNotFoundError) as error:
            return _error(404, "Not found", _without_place(str(error)))
        except _NoEntryError as error:
            return _error(404, "Not found", str(error))
        except QueryError as error:
            return _error(400, "That cannot be answered", str(error))
        except CoevoError as error:
            # its text may name folders of this machine, which are nobody else's business
            _LOGGER.error("%s: %s", plain(request.url.path), error)  # noqa: TRY400 - an expected error, told in one line
            return _error(500, "This cannot be read", f"{type(error).__name__}; where the server runs it says more")
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of coevo: one answer fails, the server does not
            _LOGGER.error("%s: %s", plain(request.url.path), "".join(traceback.format_exception(error)))  # noqa: TRY400
            return _error(500, "A fault of coevo", f"{type(error).__name__}; where the server runs it says more")

    return respond


class _NoEntryError(CoevoError):
    """An address of an entry that there is not."""


def _without_place(message: str) -> str:
    """Leave out of a message where the database is and which other nodes it has."""
    return message.partition("; nodes of the database")[0]


def _error(status: int, title: str, message: str) -> Response:
    return HTMLResponse(rendered("error.html.j2", status=status, title=title, message=message[:2000]), status)


def _refused(request: Request, error: HTTPException) -> Response:  # noqa: ARG001
    titles = {404: "Not found", 405: "Not allowed"}
    return _error(error.status_code, titles.get(error.status_code, "Refused"), "there is no page at this address")


class _Pages:
    """Answers to requests; every method gets one and returns one."""

    def __init__(self, served: Served, optimade: StateView | None):
        self._served = served
        self._optimade = optimade
        self._figures = Figures()
        self._texts = {"style.css": (style(), "text/css"), "show-structure.js": (script(), "text/javascript")}

    def _view(self, request: Request) -> StateView:
        return self._served.state(request.path_params["node"], request.path_params["state"])

    def home(self, request: Request) -> Response:  # noqa: ARG002
        return HTMLResponse(home_page(self._served, self._optimade))

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name == SCRIPT:
            return FileResponse(chemiscope_script(), media_type="text/javascript", headers={"cache-control": "max-age=3600"})
        if name not in self._texts:
            raise HTTPException(404)
        text, medium = self._texts[name]
        return Response(text, media_type=medium)

    def node(self, request: Request) -> Response:
        node = request.path_params["node"]
        if "@" in node or "~" in node:  # as it is written on the command line
            return RedirectResponse(state_path(*node_and_name(node)), 307)
        return HTMLResponse(node_page(self._served, node))

    def state(self, request: Request) -> Response:
        view = self._view(request)
        return HTMLResponse(state_page(self._served, view, request.path_params["state"]))

    def figure(self, request: Request) -> Response:
        view = self._view(request)
        name = request.path_params["name"]
        kept = _FOR_EVER if request.path_params["state"] == view.id and name != "lineage" else None
        return Response(self._figures.svg(self._served, view, name), media_type="image/svg+xml", headers=kept)

    def entries(self, request: Request) -> Response:
        view = self._view(request)
        asked, page, error, status = Asked(), None, "", 200
        try:
            asked = Asked.of(_parameters(request))
            page = table_page(self._served, view, asked)
        except QueryError as problem:  # the form stays, so that the filter can be mended
            error, status = str(problem)[:2000], 400
            asked = Asked(filter=request.query_params.get("filter", "")[:LONGEST_FILTER])
        text = rendered(
            "entries.html.j2",
            view=view,
            asked=asked,
            page=page,
            error=error,
            everything=view.document["counts"]["entries"],
            csv=csv_address(view, asked),
            longest=LONGEST_FILTER,
            row_counts=ROWS,
            fields=sorted(FIELDS.items()),
            teacher=teacher_of(view.document),
        )
        return HTMLResponse(text, status)

    def csv(self, request: Request) -> Response:
        view = self._view(request)
        rows = csv_rows(self._served, view, Asked.of(_parameters(request)))
        return _file(f"{view.node}-{view.id[:16]}.csv", "text/csv", as_csv(rows))

    def entry(self, request: Request) -> Response:
        view = self._view(request)
        with _entries_only():
            text = entry_page(self._served, view, request.path_params["id"])
        return HTMLResponse(text, headers={"content-security-policy": policy(with_structure=True)})

    def picture(self, request: Request) -> Response:
        with _entries_only():
            data = picture_data(self._served, self._view(request), request.path_params["id"])
        return Response(json.dumps(data, allow_nan=False), media_type="application/json")

    def file(self, request: Request) -> Response:
        with _entries_only():
            found = entry_file(self._served, self._view(request), request.path_params["id"], request.path_params["suffix"])
        return _file(*found)


def csv_address(view: StateView, asked: Asked) -> str:
    """Address of the CSV of all entries that a table shows, on whatever page."""
    table, found = f"{permalink(view)}/entries", asked.path(view, page=1, rows=ROWS[1])
    return f"{table}.csv{found.removeprefix(table)}"


def _parameters(request: Request) -> dict[str, str]:
    """Parameters of an address, each at most once.

    Raises
    ------
    QueryError
        If one is given twice.
    """
    pairs = request.query_params.multi_items()
    if len(pairs) > len({name for name, _ in pairs}):
        raise QueryError("a parameter is given twice")
    return dict(pairs)


@contextmanager
def _entries_only() -> Iterator[None]:
    """What cannot be found below an entry's address is not there."""
    try:
        yield
    except QueryError as error:
        raise _NoEntryError(str(error)) from None


def _file(name: str, medium: str, text: str) -> Response:
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return Response(text, media_type=f"{medium}; charset=utf-8", headers=headers)
