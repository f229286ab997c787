"""Processes that put the same and different blobs at once while others read them, as a script of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import hashlib, json, os, sys, time, traceback
from coevo.errors import ArtifactNotFoundError
from coevo.node_store.blobs.artifacts import ArtifactStore
import fsspec
fsspec.get_filesystem_class(sys.argv[1].partition("://")[0])  # imported once, before the forks

uri, folder, writers, readers, rounds, size = *sys.argv[1:3], *map(int, sys.argv[3:])
shared = [bytes([65 + i]) * size for i in range(rounds)]
names = [hashlib.sha256(data).hexdigest() for data in shared]
go, done = os.path.join(folder, "go"), os.path.join(folder, "done")

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.001)

def write(number):
    store = ArtifactStore(uri, cache=None)
    wait_for(go)
    for turn, data in enumerate(shared):
        if (number + turn) % 2:
            artifact = store.put_bytes(data)
        else:
            path = os.path.join(folder, f"file-{number}")
            with open(path, "wb") as file:
                file.write(data)
            artifact = store.put_file(path)
        assert artifact.sha256 == names[turn]
        assert store.has(names[turn])
        assert store.get_bytes(names[turn]) == data
        own = f"of {number} in {turn}".encode()
        assert store.get_bytes(store.put_bytes(own).sha256) == own
    return rounds

def read(number):
    store, seen, reads = ArtifactStore(uri), set(), 0
    open(os.path.join(folder, f"ready-{number}"), "w").close()
    wait_for(go)
    while True:
        last = os.path.exists(done)
        for turn, name in enumerate(names):
            try:
                whole = store.check(name) == size and store.get_bytes(name) == shared[turn]
            except ArtifactNotFoundError:
                assert name not in seen, "a blob was there, and is not any more"
            else:
                assert whole
                seen.add(name)
                reads += 1
        if last:
            assert len(seen) == rounds
            return reads

def forked(work, number):
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = {"count": work(number)}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        os.write(sender, json.dumps(answer).encode()[:60000])
        os._exit(0)
    os.close(sender)
    return child, receiver

def collect(children):
    answers = []
    for child, receiver in children:
        with os.fdopen(receiver, "rb") as file:
            answers.append(json.loads(file.read() or b'{"error": "killed"}'))
        os.waitpid(child, 0)
    return answers

reading = [forked(read, number) for number in range(readers)]
writing = [forked(write, number) for number in range(writers)]
for number in range(readers):
    wait_for(os.path.join(folder, f"ready-{number}"))
open(go, "w").close()
written = collect(writing)
open(done, "w").close()
print(json.dumps({"written": written, "read": collect(reading), "names": names}))
"""


def race(uri: str, folder: Path, *, writers: int, readers: int, rounds: int, size: int) -> list[str]:
    """Let processes put and read blobs of so many bytes at the same time; return the names of those that all of them put.

    Every writer puts every shared blob, in the same order, as bytes or from a file, and a small one of its own after each.
    """
    folder.mkdir()
    numbers = [str(number) for number in (writers, readers, rounds, size)]
    command = [sys.executable, "-c", SCRIPT, uri, str(folder), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for answer in (*result["written"], *result["read"]):
        assert "error" not in answer, answer["error"]
    assert [answer["count"] for answer in result["written"]] == [rounds] * writers
    assert all(answer["count"] >= rounds for answer in result["read"])
    return result["names"]
