"""Torch set so that the same work gives the same bits."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def reproducible_torch(device_type: str = "cpu") -> Iterator[None]:
    """Run torch on one CPU thread, and on a GPU with deterministic algorithms only.

    A sum that is split over threads, or done by atomic additions on a GPU, depends in its last digits on how it was split.
    """
    import torch

    threads = torch.get_num_threads()
    # Unlike use_deterministic_algorithms, which does the same, this does not import torch's compiler: seconds of each process.
    mode = torch.get_deterministic_debug_mode()
    torch.set_num_threads(1)
    if device_type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
