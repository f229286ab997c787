"""Examples as Uni-3DAR's trainer reads them: a file of LMDB with a pickled crystal under each number.

Key: four bytes, big-endian. Value: gzip of a pickle of ``atom_type`` (symbols), ``atom_pos`` (N×3, fractional) and
``lattice_matrix`` (rows, Å).
"""

from __future__ import annotations

import gzip
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

CLOSEST = 0.5
"""Two atoms nearer than this are one token: grid cells are 0.24 Å wide."""

MARGIN = 2.0
"""Å that the trainer needs beside a crystal, which it turns and shifts."""


def fault_of_example(example: dict[str, Any], architecture: dict[str, Any]) -> str:
    """Why the trainer cannot learn from an example; empty if it can. One that it cannot place ends the whole training."""
    lattice, positions = np.array(example["lattice"]), np.array(example["positions"])
    if len(example["species"]) > architecture["max_num_atom"]:
        return "too_many_atoms"
    edge = 2 ** architecture["merge_level"] * architecture["grid_len"]
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=3))) @ lattice
    if max(np.linalg.norm(a - b) for a in corners for b in corners) > edge - MARGIN:
        return "large_cell"
    # As the trainer places them: within one cell, without images.
    places = (positions % 1.0) @ lattice
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(len(places), 1)]
    return "overlapping_atoms" if apart.min(initial=9.0) < CLOSEST else ""


def encoded(example: dict[str, Any]) -> bytes:
    """The value of one example."""
    crystal = {
        "atom_type": list(example["species"]),
        "atom_pos": np.array(example["positions"], dtype=np.float64),
        "lattice_matrix": np.array(example["lattice"], dtype=np.float64),
    }
    return gzip.compress(pickle.dumps(crystal, protocol=4), mtime=0)


def write_set(path: Path, examples: list[dict[str, Any]]) -> None:
    """Write a data set for :func:`write_sets`: examples as JSON lines."""
    path.write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")


def write_sets(sets: dict[str, str]) -> None:
    """Write files of LMDB: name of each to that of its examples (JSON lines)."""
    import lmdb

    for target, source in sets.items():
        examples = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
        values = [encoded(example) for example in examples]
        room = 2 * sum(map(len, values)) + 64 * 4096 * len(values) + 2**20
        with lmdb.open(target, subdir=False, lock=False, map_size=room) as opened, opened.begin(write=True) as transaction:
            for number, value in enumerate(values):
                transaction.put(number.to_bytes(4, "big"), value)
