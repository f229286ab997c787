"""The generator of docs/examples as an installed package, with this interpreter as its environment."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "random-cells"


def install_example(directory: Path) -> list[str]:
    """Make what pip would make of the example's pyproject.toml; return what belongs on ``sys.path``."""
    information = directory / "coevo_random_cells-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: coevo-random-cells\nVersion: 1.0\n")
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["coevo.generators"]
    lines = [f"{name} = {value}\n" for name, value in declared.items()]
    (information / "entry_points.txt").write_text("[coevo.generators]\n" + "".join(lines))
    return [str(directory), str(EXAMPLE)]


def use_this_python(environments: Path, family: str) -> None:
    """Describe the interpreter of the tests as the environment of a family."""
    environments.mkdir(parents=True, exist_ok=True)
    (environments / f"{family}.yaml").write_text(f"python: {sys.executable}\n")


@pytest.fixture(scope="class")
def random_cells(tmp_path_factory):
    """The class of the example, found by its entry point."""
    from coevo.models.registry import generator_class

    directory = tmp_path_factory.mktemp("installed")
    with pytest.MonkeyPatch.context() as patch:
        for path in install_example(directory):
            patch.syspath_prepend(path)
        patch.setenv("COEVO_ENVIRONMENTS", str(directory / "environments"))
        use_this_python(directory / "environments", "random-cells")
        yield generator_class("random-cells")
