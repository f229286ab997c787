"""A family whose pins agree with what is installed here may be run by coevo's own interpreter."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from coevo.errors import ConfigError
from coevo.families import ExternalFamily
from coevo.models.external.environment import environment_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExternalFamily:
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "lattice.yaml").write_text("python: coevo\n")
    return ExternalFamily("lattice", tmp_path / "runner.py", tmp_path / "pins.txt")


def test_with_the_same_versions(family: ExternalFamily) -> None:
    numpy = version("numpy").partition("+")[0]
    family.requirements.write_text(f"numpy=={numpy}\n# a comment\nase=={version('ase')}\n")
    assert environment_of(family).command("x.py") == [sys.executable, "x.py"]
    family.requirements.write_text(f"numpy=={numpy}+cu130\n")
    assert environment_of(family).words == (sys.executable,)


def test_what_differs_is_named(family: ExternalFamily) -> None:
    family.requirements.write_text(f"numpy==0.1\nase=={version('ase')}\nno-such-package==1.0\n")
    with pytest.raises(ConfigError, match=r"cannot run lattice: numpy .*, pinned 0\.1; no-such-package none, pinned 1\.0; make"):
        environment_of(family)


def test_a_prefix_has_no_place_before_it(family: ExternalFamily, tmp_path: Path) -> None:
    family.requirements.write_text(f"ase=={version('ase')}\n")
    (tmp_path / "environments" / "lattice.yaml").write_text("python: coevo\nprefix: conda run -n x\n")
    with pytest.raises(ConfigError, match="no prefix can stand"):
        environment_of(family)
