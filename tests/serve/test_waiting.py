"""Who waits for whom: a slow answer does not keep all others."""

from __future__ import annotations

import asyncio
import time
from threading import Event, Thread
from typing import Any

import pytest

from coevo.node_store.store import open_store
from coevo.report.gathering import gather
from coevo.serve import served as served_module
from coevo.serve.application import MOST_PAGES, application
from coevo.serve.optimade.server import InPreparation
from coevo.serve.served import Served
from coevo.settings import Settings
from tiny_node import Coevo


@pytest.fixture
def served(coevo: Coevo) -> Served:
    return Served(open_store(Settings(database=f"file:{coevo.database}")))


async def answered(app: Any, path: str) -> tuple[int, bytes]:
    messages: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "root_path": "",
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:])


def test_styles_and_scripts_answer_while_all_pages_wait_for_the_database(served: Served) -> None:
    app = application(served)
    held, free = Event(), Event()

    def hold() -> None:
        with served.lock:
            held.set()
            free.wait(60)

    async def ask() -> None:
        # more than any pool of threads has
        waiting = [asyncio.create_task(answered(app, "/tiny")) for _ in range(MOST_PAGES + 40)]
        await asyncio.sleep(0.2)
        for name in ("style.css", "chemiscope.min.js"):
            status, body = await asyncio.wait_for(answered(app, f"/-/static/{name}"), 20)
            assert status == 200
            assert body
        assert not any(task.done() for task in waiting)
        free.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}

    thread = Thread(target=hold)
    thread.start()
    try:
        held.wait(60)
        asyncio.run(ask())
    finally:
        free.set()
        thread.join()


def test_others_read_between_the_portions_of_a_long_reading(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []

    def pause(seconds: float) -> None:
        def read() -> None:
            if served.lock.acquire(timeout=20):
                pauses.append(seconds)
                served.lock.release()

        other = Thread(target=read)
        other.start()
        other.join()

    monkeypatch.setattr(served_module, "PORTION", 5)
    monkeypatch.setattr(time, "sleep", pause)
    found = served.population(served.state("tiny"))
    whole = gather(served.store, "tiny")
    assert (found.entries, found.references, found.reference_names) == (whole.entries, whole.references, whole.reference_names)
    assert len(pauses) == len(whole.entries) // 5 > 1


def test_optimade_is_waited_for_and_its_failure_names_no_place() -> None:
    ready = Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"made"})

    def make() -> Any:
        ready.wait(60)
        return answer

    def fail() -> Any:
        raise OSError("/a/place")

    async def ask() -> None:
        app = InPreparation(make)
        app.start()
        early = asyncio.create_task(answered(app, "/v1/info"))
        await asyncio.sleep(0.05)
        assert not early.done()
        ready.set()
        assert await asyncio.wait_for(early, 20) == (200, b"made")
        failing = InPreparation(fail)
        failing.start()
        status, text = await asyncio.wait_for(answered(failing, "/v1/info"), 20)
        assert (status, b"OSError" in text, b"/a/place" in text) == (500, True, False)

    asyncio.run(ask())
