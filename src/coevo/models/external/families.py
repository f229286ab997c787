"""Where the files of families with an environment of their own are."""

from __future__ import annotations

from pathlib import Path

from coevo.families.descriptor import ExternalFamily as ExternalFamily  # noqa: PLC0414 - other packages know it by this module

HERE = Path(__file__).parent
PROTOCOL_FILE = HERE / "runners" / "coevo_runner.py"
"""The family's side of the protocol, copied beside every runner."""
WORKER_FILE = HERE / "runners" / "coevo_worker.py"
"""That of workers, which stay; copied beside the runners of force fields."""
