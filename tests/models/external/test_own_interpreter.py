"""A family whose pins agree with what is installed here may be run by coevo's own interpreter."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from coevo.errors import ConfigError
from coevo.families import FAMILIES, ExternalFamily
from coevo.models.external.checking import condition_of
from coevo.models.external.environment import environment_of


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


def test_an_extra_of_coevo_needs_no_file(family: ExternalFamily, tmp_path: Path) -> None:
    (tmp_path / "environments" / "lattice.yaml").unlink()
    family.requirements.write_text(f"ase=={version('ase')}\n")
    with pytest.raises(ConfigError, match="has no environment"):
        environment_of(family)
    extra = replace(family, extra="lattice")
    assert (environment_of(extra).kind, environment_of(extra).words) == ("own", (sys.executable,))
    assert condition_of(extra) == ("own", sys.executable)
    extra.requirements.write_text("ase==0.1\n")
    with pytest.raises(ConfigError, match="has no environment"):
        environment_of(extra)
    assert condition_of(extra)[0] == "none"


def test_the_pins_of_extras_are_those_of_coevo() -> None:
    """Otherwise no installation with the constraints could run them."""
    lines = (Path(__file__).parents[3] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    ours = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines if "==" in line}
    families = [one.environment for one in FAMILIES if one.environment is not None and one.environment.extra]
    assert families
    for environment in families:
        for pin in environment.pins():
            name, _, wanted = pin.partition("==")
            assert ours.get(canonicalize_name(name)) == wanted, pin
