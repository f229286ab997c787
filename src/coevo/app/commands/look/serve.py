"""The command that serves states over HTTP: ``serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coevo.app.terminal import app, say

if TYPE_CHECKING:
    from coevo.serve.server import Address

_LOCAL, _PORT = "127.0.0.1", 8765


@app.command()
def serve(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="REF", help="nodes or states whose nodes are served; without any, all"),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="where to listen; 0 takes a free one")] = _PORT,
    host: Annotated[str, typer.Option(help="where to listen; elsewhere than here others can read", metavar="ADDRESS")] = _LOCAL,
    url: Annotated[str | None, typer.Option(help="address that others know the server by", metavar="URL")] = None,
    optimade: Annotated[
        str | None, typer.Option(help="state below /optimade; by default the first REF, or the newest state", metavar="REF")
    ] = None,
) -> None:
    """Serve pages of states and an OPTIMADE server, read only, to a browser on this machine."""
    from coevo.node_store.current import current_store
    from coevo.serve.server import serve as serve_states

    serve_states(current_store(), refs or [], host=host, port=port, url=url, optimade=optimade, ready=_say_ready)


def _say_ready(address: Address) -> None:
    if address.others:
        say("warning: --host lets everybody who reaches this machine read these nodes; there is no password")
    where = f", listening at {address.place}" if address.place not in address.url else ""
    say(f"serving {address.url}/{where} (read only; Ctrl-C ends it)")
    if address.optimade is not None:
        say(f"OPTIMADE: {address.url}/optimade/v1 serves {address.optimade.node}@{address.optimade.id[:16]}")
