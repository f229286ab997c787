"""JSON documents from a server that may be a stranger: bounded in bytes, time and requests, and from one host only.

Failures that pass (a dropped connection, 429, 5xx) are tried again; what remains is one :class:`~coevo.errors.ProviderError`.
Words of the server that are repeated in a message are cut and freed of control characters.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from coevo.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response

PASSING = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""


@dataclass(frozen=True)
class HttpLimits:
    """What one source may cost.

    Attributes
    ----------
    requests : int
        Answers read, at most.
    answer_bytes, total_bytes : int
        Of one answer and of all together, after decompression.
    connect_seconds, silence_seconds, answer_seconds : float
        For a connection, without a byte, and for a whole answer.
    attempts : int
        Of one request.
    pause_seconds : float
        Before the second attempt; doubled before each further one, at most ``longest_pause_seconds``, which also bounds what a
        server's ``Retry-After`` asks for.
    """

    requests: int = 2000
    answer_bytes: int = 64 * 2**20
    total_bytes: int = 512 * 2**20
    connect_seconds: float = 10.0
    silence_seconds: float = 180.0
    answer_seconds: float = 600.0
    attempts: int = 4
    pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0


class JsonReader:
    """Reads JSON documents of one host.

    Parameters
    ----------
    url : str
        Any address of the host; others are refused, also as redirections and links.
    limits : HttpLimits

    Raises
    ------
    ProviderError
        If the address is not one of http or https.
    """

    def __init__(self, url: str, limits: HttpLimits) -> None:
        import requests

        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, brackets that do not close
            usable = False
        if not usable:
            raise ProviderError(f"{shown_url(url)}: not an address; allowed: http://… or https://…")
        self._origin = parts
        self._limits = limits
        self._session = requests.Session()
        self._session.headers.update({"Accept": "application/vnd.api+json, application/json", "User-Agent": "coevo"})
        self._answers = self._bytes = 0

    def get(self, url: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Read one document.

        Raises
        ------
        ProviderError
            If there is none after all attempts, it is no JSON, or a limit is reached. ``status`` is that of a refusal.
        """
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return self._decoded(url, self._once(url, parameters))
            except _PassingError as failure:
                if attempt == self._limits.attempts:
                    times = f"{attempt} attempts" if attempt > 1 else "one attempt"
                    raise ProviderError(f"{shown_url(url)}: {failure} ({times})", status=failure.status) from None
                pause = max(failure.retry_after, self._limits.pause_seconds * 2 ** (attempt - 1))
                time.sleep(min(pause, self._limits.longest_pause_seconds))
        raise AssertionError  # the last attempt returns or raises

    def checked(self, url: str, seen_at: str) -> str:
        """Return a link's address, made absolute, if it leads to the same host.

        Raises
        ------
        ProviderError
            If it leads elsewhere: a stranger's page must not send requests to other machines.
        """
        try:
            absolute = urlsplit(urljoin(seen_at, url))
        except ValueError:
            raise ProviderError(f"{shown_url(seen_at)}: its answer leads to no address: {printable(url, 60)!r}") from None
        elsewhere = f"({shown_url(absolute.geturl())}), which is not followed; give that address if it is meant"
        if absolute.scheme not in {"http", "https"} or absolute.hostname != self._origin.hostname:
            raise ProviderError(f"{shown_url(seen_at)}: its answer leads to another host {elsewhere}")
        if self._origin.scheme == "https" and absolute.scheme == "http":
            # servers behind a proxy often do not know that they are reached by https
            absolute = absolute._replace(scheme="https", netloc=self._origin.netloc)
        elif absolute.netloc.rpartition("@")[2] != self._origin.netloc.rpartition("@")[2]:
            raise ProviderError(f"{shown_url(seen_at)}: its answer leads to another port {elsewhere}")
        return absolute.geturl()

    def _once(self, url: str, parameters: Mapping[str, str] | None) -> bytes:
        """Read the body of one answer, following redirections on the same host."""
        import requests

        if self._answers >= self._limits.requests:
            raise ProviderError(f"{shown_url(url)}: no end after {self._answers} pages, the most that are read; ask for less")
        self._answers += 1
        timeouts = (self._limits.connect_seconds, self._limits.silence_seconds)
        try:
            for _ in range(5):
                with self._session.get(url, params=parameters, timeout=timeouts, stream=True, allow_redirects=False) as answer:
                    if answer.is_redirect:
                        url, parameters = self.checked(answer.headers["location"], url), None
                        continue
                    body = self._body(url, answer)
                    _check_status(url, answer, body)
                    return body
        except requests.Timeout:
            raise _PassingError(f"no answer within {self._limits.silence_seconds:g} s") from None
        except requests.exceptions.SSLError:
            raise ProviderError(f"{shown_url(url)}: its certificate is not valid") from None
        except requests.RequestException as err:
            raise _PassingError(f"cannot be read ({type(err).__name__})") from None
        except ValueError:  # of a redirection to what is no address
            raise ProviderError(f"{shown_url(url)}: its answer leads to no address") from None
        raise ProviderError(f"{shown_url(url)}: five redirections and no answer")

    def _body(self, url: str, answer: Response) -> bytes:
        start, pieces, size = time.monotonic(), [], 0
        for piece in answer.iter_content(1 << 16):
            size += len(piece)
            self._bytes += len(piece)
            if size > self._limits.answer_bytes:
                raise ProviderError(f"{shown_url(url)}: an answer of more than {self._limits.answer_bytes >> 20} MB")
            if self._bytes > self._limits.total_bytes:
                raise ProviderError(f"{shown_url(url)}: more than {self._limits.total_bytes >> 20} MB in all; ask for less")
            if time.monotonic() - start > self._limits.answer_seconds:
                raise ProviderError(f"{shown_url(url)}: an answer of more than {self._limits.answer_seconds:g} s")
            pieces.append(piece)
        return b"".join(pieces)

    def _decoded(self, url: str, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise ProviderError(
                f"{shown_url(url)}: its answer is no JSON: {printable(body[:60].decode('utf-8', 'replace'))!r}"
            ) from None


class _PassingError(Exception):
    """A failure after which the same request may succeed."""

    def __init__(self, message: str, *, status: int | None = None, retry_after: float = 0.0):
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


def _check_status(url: str, answer: Response, body: bytes) -> None:
    status = answer.status_code
    if status == 200:
        return
    said = printable(_complaint(body))
    message = f"answers {status}" + (f": {said}" if said else "")
    if status in PASSING:
        raise _PassingError(message, status=status, retry_after=_wait(answer.headers.get("retry-after", "")))
    raise ProviderError(f"{shown_url(url)}: {message}", status=status)


def _wait(asked: str) -> float:
    """Seconds of a ``Retry-After``, which is a number of them or a date."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    if asked.isdecimal() and len(asked) < 6:
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _complaint(body: bytes) -> str:
    """What a JSON:API server says is wrong, or the beginning of the text."""
    try:
        found = json.loads(body)
        problem = found["errors"][0]
        return str(problem.get("detail") or problem.get("title"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return body[:120].decode("utf-8", "replace")


def printable(text: str, length: int = 200) -> str:
    """One line of a stranger's words, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * length]).split())[:length]


def shown_url(url: str) -> str:
    """Return an address without user, password and query, for messages and records."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return printable(url, 60)
    return printable(f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}")
