"""Listening: one address, read only, until it is interrupted."""

from __future__ import annotations

import ipaddress
import logging
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from coevo.errors import ConfigError
from coevo.output.plain_text import plain_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

LOCAL = "127.0.0.1"
PORT = 8765
_ALL = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened at
_MOST_AT_ONCE = 200
"""Requests; further ones are answered 503 at once."""
_LONGEST_HEAD, _LONGEST_HEAD_OF_OTHERS = 1_200_000, 32_768
"""Bytes of a request's line and headers that are read before it is refused; of strangers fewer are kept in memory."""


def check_packages() -> None:
    """Refuse to begin without the packages that a server needs.

    Raises
    ------
    ConfigError
        Names what is missing and how to install it.
    """
    from importlib.util import find_spec

    from coevo.report.structure_map import chemiscope_script

    # looked for and not imported: what draws figures is imported when one is asked for
    missing = [name for name in ("fastapi", "uvicorn", "jinja2", "matplotlib") if find_spec(name) is None]
    try:
        chemiscope_script()
    except ConfigError:
        missing.append("chemiscope")
    if missing:
        raise ConfigError(f"serve: {' and '.join(missing)} cannot be found; run pip install 'coevo[serve]'")


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address to listen at."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    ConfigError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except (OSError, OverflowError, UnicodeError) as error:
        found.close()
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot listen at {host}:{port}: {why}; choose another --port or --host (--port 0 takes a free one)"
        ) from None
    return found


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes
    ----------
    url : str
        For a browser, without a slash at the end.
    place : str
        Host and port that are listened at.
    optimade : StateView or None
        The state below ``/optimade``.
    others : bool
        Whether others than this machine can reach it.
    """

    url: str
    place: str
    optimade: StateView | None
    others: bool


def is_web_address(url: str) -> bool:
    """Whether a text is an address with http or https and a host, and with neither user, query nor fragment."""
    try:
        found = urlsplit(url)
        more = found.query or found.fragment or "@" in found.netloc
        return found.scheme in {"http", "https"} and bool(found.hostname) and not more
    except ValueError:
        return False


def serve(
    store: NodeStore,
    refs: Sequence[str],
    *,
    host: str = LOCAL,
    port: int = PORT,
    url: str | None = None,
    optimade: str | None = None,
    ready: Callable[[Address], None],
) -> None:
    """Serve states until the process is interrupted.

    Parameters
    ----------
    store : NodeStore
    refs : sequence of str
        See :class:`coevo.serve.served.Served`.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    url : str, optional
        By which others know the server, where that is another address than the one it listens at.
    optimade : str, optional
        State to serve by OPTIMADE; by default the first of ``refs``, or the newest head of a branch.
    ready : callable
        Called once when the server is about to answer.

    Raises
    ------
    ConfigError
        If a package is missing, the address cannot be had, or ``url`` is none.
    NodeNotFoundError, StateNotFoundError
        If there is no such state.
    """
    check_packages()
    if url is not None and not is_web_address(url):
        raise ConfigError(
            f"--url: got {url!r:.200}, allowed: an address that begins with http:// or https://, such as https://example.org/db"
        )
    import uvicorn

    from coevo.serve.application import application
    from coevo.serve.guard import LOCAL_NAMES
    from coevo.serve.optimade.server import InPreparation, optimade_application
    from coevo.serve.served import Served, node_and_name

    served = Served(store, refs)
    chosen = optimade or (refs[0] if refs else None)
    view = served.state(*node_and_name(chosen)) if chosen else served.newest()
    others = not is_local(host)
    with listening(host, port) as found:
        name = socket.gethostname() if host in _ALL else f"[{host}]" if ":" in host else host
        listened = found.getsockname()[1]
        base = (url or f"http://{name}:{listened}").rstrip("/")
        api: tuple[StateView, InPreparation] | None = None
        if view is not None:
            api = view, InPreparation(partial(optimade_application, served, view, f"{base}/optimade"))
        app = application(served, optimade=api, names=None if others or url else LOCAL_NAMES)
        _quiet()
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_AT_ONCE,
            h11_max_incomplete_event_size=_LONGEST_HEAD_OF_OTHERS if others else _LONGEST_HEAD,
            timeout_graceful_shutdown=3,
        )
        ready(Address(base, f"{host}:{listened}", view, others))
        if api is not None:
            api[1].start()
        uvicorn.Server(config).run(sockets=[found])


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "coevo serve: " + plain_lines(record.getMessage())


def _quiet() -> None:
    """Errors on standard error, without what a stranger could make a terminal do; nothing else."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain())
    for name in ("coevo.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.ERROR)
