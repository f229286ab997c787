"""Environments of the families that come with coevo: where their runners, companions and pins lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coevo.families.descriptor import ExternalFamily

if TYPE_CHECKING:
    from coevo.families.checkout import Checkout

EXTERNAL = Path(__file__).parents[1] / "models" / "external"
RUNNERS = EXTERNAL / "runners"
OF_NETWORKS = (RUNNERS / "coevo_network.py", RUNNERS / "coevo_training.py")
"""What the runners of force fields share."""
OF_DRAWS = tuple(RUNNERS / f"coevo_{part}.py" for part in ("cells", "compositions", "drawing"))
"""What the runners of diffusion models share."""
OF_GENERATORS = (*OF_DRAWS, *(RUNNERS / f"coevo_{part}.py" for part in ("fitting", "network")))
"""What those of them share besides whose network is trained by our own loop."""


def environment(
    name: str, *parts: str, shared: tuple[Path, ...] = (), extra: str = "", checkouts: tuple[Checkout, ...] = ()
) -> ExternalFamily:
    """A family's environment, whose runner has a folder of its own and imports ``parts`` of it."""
    module = name.replace("-", "_")
    folder = RUNNERS / module
    companions = (*(folder / f"{module}_{part}.py" for part in parts), *shared)
    pins = EXTERNAL / "envs" / f"{name}.txt"
    return ExternalFamily(name, folder / f"{module}_runner.py", pins, companions, extra, checkouts)
