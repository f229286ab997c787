"""Headless Chromium for tests of pages, spoken to through a pair of pipes (the DevTools protocol needs no further package so)."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pytest

PATIENCE = 600.0
"""Seconds for what a browser does at once on a machine that has nothing else to do."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def require_chromium() -> None:
    """Skip the test if there is no Chromium; fail it in CI."""
    if shutil.which("chromium"):
        return
    told = "no chromium on PATH: apt-get install chromium, or run make test as root on Debian or Ubuntu, which installs it"
    if os.environ.get("CI"):
        pytest.fail(told)
    pytest.skip(told)


class Page:
    """One page in a browser of its own.

    Attributes
    ----------
    width : int
        Of the window, in pixels.
    requests : list of str
        Addresses of everything that the page asked for, in order.
    complaints : list of str
        Errors and uncaught exceptions of the console.
    """

    def __init__(self, width: int = 1280, height: int = 900):
        self._profile = tempfile.mkdtemp(prefix="coevo-chromium-")
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # The protocol is spoken on file descriptors 3 and 4.
        wired = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                wired,
                "bash",
                "chromium",
                *FLAGS,
                f"--user-data-dir={self._profile}",
                f"--window-size={width},{height}",
            ],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._count = 0
        self._buffer = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._seen: set[str] = set()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self._height = height
        self.resize(width)

    _session: str | None = None

    def close(self) -> None:
        for pipe in (self._out, self._in):
            os.close(pipe)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, url: str) -> None:
        """Go there and wait until all that the page names is loaded."""
        self._seen.discard("Page.loadEventFired")
        self._call("Page.navigate", url=url)
        self._wait(lambda: "Page.loadEventFired" in self._seen, f"{url} did not load")

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are waited for."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + PATIENCE
        while True:
            if value := self.evaluate(expression):
                return value
            if time.monotonic() > end:
                raise AssertionError(f"{expression} was not true within {PATIENCE:g} s; console: {self.complaints}")
            self._read(0.1)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button at a place of the window."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.evaluate("new Promise(done => setTimeout(done, 300))")  # plots look at what is below the mouse now and then
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def resize(self, width: int) -> None:
        """Give the window another width."""
        self.width = width
        metrics = {"width": width, "height": self._height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        self._wait(lambda: number in self._answers, f"no answer to {method}")
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _wait(self, done: Any, told: str) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"{told} within {PATIENCE:g} s"
            self._read(0.2)

    def _read(self, seconds: float) -> None:
        if not select.select([self._in], [], [], seconds)[0]:
            return
        data = os.read(self._in, 1 << 20)
        assert data, f"chromium ended with exit code {self._process.poll()}"
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        for message in messages:
            self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        method, about = message["method"], message.get("params", {})
        self._seen.add(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and about["type"] in {"error", "assert"}:
            self.complaints.append(json.dumps(about["args"])[:500])
        elif method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.complaints.append(json.dumps(about["entry"])[:500])
