"""constraints.txt pins everything that pyproject.toml asks for, to a version that it allows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("qe", "vasp", "fireworks", "s3", "report", "serve", "test", "dev")


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def asked_for() -> list[str]:
    texts = [*PROJECT["dependencies"], *(text for extra in EXTRAS for text in PROJECT["optional-dependencies"][extra])]
    return sorted({text for text in texts if not text.startswith("coevo")})


@pytest.mark.parametrize("text", asked_for())
def test_a_dependency_is_pinned_to_a_version_it_allows(text: str) -> None:
    asked = Requirement(text)
    pin = pins()[canonicalize_name(asked.name)]
    (exact,) = pin.specifier
    assert exact.operator == "=="
    assert asked.specifier.contains(exact.version, prereleases=True)


def test_pins_are_plain_versions_of_public_packages() -> None:
    assert all(len(pin.specifier) == 1 and pin.url is None and "+" not in str(pin) for pin in pins().values())
    assert "coevo" not in pins()
    assert not [name for name in pins() if name.endswith(("-cu11", "-cu12", "-cu13"))]
    assert str(pins()["torch"]) == "torch==2.13.0"
