"""The force field of docs/examples as an installed package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "effective-medium"
FAMILY = "effective-medium"


def install_force_field(directory: Path) -> list[str]:
    """Make what pip would make of the example's pyproject.toml; return what belongs on ``sys.path``."""
    information = directory / "coevo_effective_medium-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: coevo-effective-medium\nVersion: 1.0\n")
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["coevo.force_fields"]
    lines = [f"{name} = {value}\n" for name, value in declared.items()]
    (information / "entry_points.txt").write_text("[coevo.force_fields]\n" + "".join(lines))
    return [str(directory), str(EXAMPLE)]


@pytest.fixture(scope="class")
def effective_medium(tmp_path_factory):
    """The force field of the example, found by its entry point."""
    from coevo.models.registry import force_field_from

    directory = tmp_path_factory.mktemp("installed")
    with pytest.MonkeyPatch.context() as patch:
        for path in install_force_field(directory):
            patch.syspath_prepend(path)
        yield force_field_from(FAMILY)
