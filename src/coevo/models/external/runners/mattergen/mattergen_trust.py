"""Whether MatterGen's runner may read a model; decided before anything of it is opened, and without torch.

A model directory can run code twice: hydra constructs what its ``config.yaml`` names, and Lightning's checkpoints are pickles.
"""

from __future__ import annotations

import re
from typing import Any

from coevo_runner import TaskError, require_trust

REPOSITORY = "microsoft/mattergen"
"""Where MatterGen's own loader takes published weights from, on the hub of Hugging Face."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def model_to_read(request: dict[str, Any]) -> str | None:
    """The directory of the request's model, if it may be read; None if there is no model yet."""
    if not request["model"]:
        return None
    return require_trust(request)


def weights_to_read(request: dict[str, Any]) -> str:
    """The name of published weights, if coevo vouches for the place that they come from."""
    name = request["options"]["weights"]
    source = f"huggingface:{REPOSITORY}"
    if source not in request.get("sources", ()):
        raise TaskError("not_trusted", f"published weights come from {source}, and the request names no source that is trusted")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TaskError("no_weights", f"{str(name)[:80]!r} is no name of published weights")
    return name
