"""DPA-3 (Zhang et al., arXiv:2506.01686): what its environment has, fits, and a worker."""

from __future__ import annotations

import coevo_worker  # first, so that what packages print is no answer

# ruff: isort: split
from typing import TYPE_CHECKING, Any

from coevo_network import about, examination, one_thread
from coevo_runner import run, versions
from dpa3_environment import import_deepmd, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

prepare()


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("deepmd", "torch", "e3nn", "ase", "numpy")
    try:
        found["operators of deepmd"] = import_deepmd()
    except ImportError as err:
        return {"versions": {**found, "deepmd": f"! {err}"}, "device": "cpu", "weights": {}}
    from dpa3_model import PUBLISHED, device_of, place_of

    return examination(device_of(request), found, PUBLISHED, place_of)


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune; see :mod:`dpa3_training`."""
    print(f"operators of deepmd: {import_deepmd()}", flush=True)
    import dpa3_training

    return dpa3_training.fit(request)


def open_for_worker(request: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """The model of a request, as a worker tells of it."""
    print(f"operators of deepmd: {import_deepmd()}", flush=True)
    from dpa3_model import device_of, open_model

    device = device_of(request)
    one_thread(device)
    model = open_model(request)
    return about(model, device, versions("deepmd", "torch")), model.predict


if coevo_worker.SERVING:
    coevo_worker.serve("dpa3", open_for_worker)
run("dpa3", {"check": check, "fit": fit})
