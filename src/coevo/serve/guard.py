"""What stands before every answer: reading only, bounded addresses, and headers that keep a page to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# As the report's: nothing is fetched from anywhere else. Only chemiscope makes functions while it runs.
_POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src 'self'{more}; font-src data:; "
    "worker-src blob:; connect-src 'self' data: blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_METHODS = frozenset({"GET", "HEAD"})
_LONGEST_ADDRESS = 16_000
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def policy(with_structure: bool) -> str:
    """Return the content security policy of a page."""
    return _POLICY.format(more=" 'unsafe-eval'" if with_structure else "")


class Guard:
    """ASGI middleware around everything, the OPTIMADE server too.

    Parameters
    ----------
    app : ASGI application
    names : collection of str, optional
        Of this host, as browsers may call it. A page of somebody else's whose name was made to lead here is refused so
        (DNS rebinding). None: any, where the server listens for others.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None = LOCAL_NAMES):
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _plain(send, *refusal)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._headers(message.get("headers", []))}
            await send(message)

        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        if scope["method"] not in _METHODS:
            return 405, f"{scope['method'][:10]} is not allowed: this server is read only (GET and HEAD)"
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > _LONGEST_ADDRESS:
            return 414, f"the address is longer than {_LONGEST_ADDRESS} bytes"
        if self._names is not None:
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and ":" in host else host
            if name.lower() not in self._names:
                return (
                    400,
                    "this server answers to localhost and 127.0.0.1 only; start it with --host to be reached by another name",
                )
        return None

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        # pages of others may read answers only where the server is meant for others
        kept = [pair for pair in headers if self._names is None or not pair[0].lower().startswith(b"access-control-")]
        there = {name.lower() for name, _ in kept}
        own: dict[bytes, bytes] = {
            b"content-security-policy": policy(with_structure=False).encode(),
            b"x-content-type-options": b"nosniff",
            b"referrer-policy": b"no-referrer",
            b"cache-control": b"no-cache",
        }
        return [*kept, *((name, value) for name, value in own.items() if name not in there)]


async def _plain(send: Any, status: int, text: str) -> None:
    body = (text + "\n").encode("ascii", "replace")
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"allow", b"GET, HEAD"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
