"""Arms of a benchmark: nodes that differ in a few keys, each run in a folder of its own, resumably and with its CPU seconds."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

from local_run import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.store import NodeStore

TICK = 15.0
"""Seconds after which the CPU seconds of a running part are written again: a killed run loses so much at most."""


def merged(*trees: dict[str, Any]) -> dict[str, Any]:
    """Configurations, section by section, later ones first."""
    sections = dict.fromkeys(name for tree in trees for name in tree)
    return {name: {key: value for tree in trees for key, value in tree.get(name, {}).items()} for name in sections}


def read_clock(place: Path) -> list[dict[str, float]]:
    """CPU seconds of the parts of an arm's run: ``iteration`` that a part worked at, and its ``cpu_seconds``.

    Parts that an earlier form of the file holds, numbers alone, have the iteration 0.
    """
    path = place / "cpu_seconds.json"
    parts = json.loads(path.read_text()) if path.exists() else []
    return [part if isinstance(part, dict) else {"iteration": 0, "cpu_seconds": part} for part in parts]


class Clock:
    """Writes the CPU seconds of one part of a run while it lasts, so that a kill loses none but the last few.

    Parameters
    ----------
    place : Path
        Folder of the arm.
    iteration : int
        That the part works at.
    """

    def __init__(self, place: Path, iteration: int) -> None:
        self._path, self._parts, self._iteration = place / "cpu_seconds.json", read_clock(place), iteration
        self._over, self._before = threading.Event(), cpu_seconds()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._write()

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            self._write()

    def _write(self) -> None:
        spent = {"iteration": self._iteration, "cpu_seconds": round(cpu_seconds() - self._before, 1)}
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps([*self._parts, spent]))
        draft.replace(self._path)


def open_arm(place: Path, tree: dict[str, Any]) -> NodeStore:
    """Open the store of an arm; the node is initialised with its configuration where it is not there yet.

    Raises
    ------
    SystemExit
        If the folder holds an arm of another configuration.
    """
    import yaml

    from coevo.campaigns.running import initialise
    from coevo.configs.loading import config_from_dict, load_config
    from coevo.makers.step import current_store

    place.mkdir(parents=True, exist_ok=True)
    name = tree["node"]["name"]
    path = place / f"{name}.yaml"
    if path.exists() and config_from_dict(yaml.safe_load(path.read_text()), str(path)) != config_from_dict(tree, "the arm"):
        raise SystemExit(f"{path}: an arm of another configuration was run here; give another --folder, or remove this one")
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    os.environ["COEVO_DATABASE"] = f"file:{place}/db"
    store = current_store()
    if name not in store.nodes():
        with Clock(place, 0):
            initialise(store, load_config(path))
    return store


def states_of_arm(place: Path, tree: dict[str, Any], iterations: int) -> Iterator[tuple[NodeStore, int]]:
    """Run an arm until it has so many iterations; gives the store and the number of each iteration that is there, from 1 on."""
    from coevo.campaigns.running import run_campaign

    store, name = open_arm(place, tree), tree["node"]["name"]
    for iteration in range(1, iterations + 1):
        if store.state(f"{name}@main").iteration < iteration:
            with Clock(place, iteration):
                run_campaign(store, name, branch="main", iterations=1, say=print, on_state=lambda _: None)
        yield store, iteration


def run_arm(place: Path, tree: dict[str, Any], iterations: int) -> tuple[NodeStore, float]:
    """Run the node of an arm until it has so many iterations; returns its store and the CPU seconds of all parts of the run."""
    store = open_arm(place, tree)
    for _ in states_of_arm(place, tree, iterations):
        pass
    return store, sum(part["cpu_seconds"] for part in read_clock(place))
