"""A generator family with an environment of its own: what coevo has to know of it."""

from pathlib import Path

from coevo.models.external.families import ExternalFamily
from coevo.models.external.generator import ExternalGenerator

HERE = Path(__file__).parent


class RandomCells(ExternalGenerator):
    """Random cells of the volume that good crystals have."""

    family = "random-cells"
    external = ExternalFamily("random-cells", HERE / "random_cells_runner.py", HERE / "requirements.txt")
