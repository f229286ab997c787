"""`coevo serve` in a process of its own, on a free port."""

from __future__ import annotations

import re
import signal
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tiny_node import Coevo


class Answer:
    """What the server answered."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes):
        self.status, self.headers, self.body = status, headers, body
        self.text = body.decode("utf-8", "replace")


class ServeProcess:
    """A context manager.

    Attributes
    ----------
    url : str
    said : list of str
        What the command printed before it answered.
    """

    def __init__(self, coevo: Coevo, *arguments: str):
        self._coevo, self._arguments = coevo, arguments
        self.said: list[str] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._process = self._coevo.start("serve", *self._arguments, "--port", "0")
        assert self._process.stderr is not None
        while "serving" not in (self.said or [""])[-1]:
            line = self._process.stderr.readline()
            assert line, (self._process.wait(), self.said)
            self.said.append(line.strip())
        self.url = re.search(r"http://[^/ ]+", self.said[-1])[0]  # type: ignore[index]
        self.port = int(re.findall(r":(\d+)", self.said[-1])[-1])
        return self

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=60)
