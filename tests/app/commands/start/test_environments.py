"""``coevo env``: made from a wheel of our own, listed, checked; and a campaign's config that names such a family."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest
from example_family import EXAMPLE, install_example, use_this_python

from tiny_node import Coevo

RUNNER = """
from coevo_runner import run, versions
run("tiny-family", {"check": lambda request: {"versions": versions("answer"), "device": "cpu", "weights": {"small": None}}})
"""
MODULE = """
from pathlib import Path
from coevo.models.external.families import ExternalFamily
from coevo.models.external.generator import ExternalGenerator

class TinyFamily(ExternalGenerator):
    family = "tiny-family"
    external = ExternalFamily("tiny-family", Path(__file__).with_name("tiny_runner.py"), Path(__file__).with_name("tiny.txt"))
"""


def write_wheel(directory: Path, version: str) -> None:
    """A package ``answer`` that depends on one that nobody has: it installs without dependencies only."""
    name = f"answer-{version}"
    with zipfile.ZipFile(directory / f"{name}-py3-none-any.whl", "w") as wheel:
        files = {
            "answer.py": f"__version__ = '{version}'\n",
            f"{name}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: answer\nVersion: {version}\nRequires-Dist: nowhere==1\n",
            f"{name}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = f"{name}.dist-info/RECORD"
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(record, "".join(f"{path},,\n" for path in [*files, record]))


@pytest.fixture
def coevo(tmp_path: Path) -> Coevo:
    installed = tmp_path / "installed"
    (installed / "tiny_family-1.dist-info").mkdir(parents=True)
    (installed / "tiny_family-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-family\nVersion: 1\n")
    (installed / "tiny_family-1.dist-info" / "entry_points.txt").write_text("[coevo.generators]\ntiny-family = tiny:TinyFamily\n")
    for name, text in {"tiny.py": MODULE, "tiny_runner.py": RUNNER, "tiny.txt": "answer==1.0  # pinned\n"}.items():
        (installed / name).write_text(text)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("1.0", "2.0"):
        write_wheel(wheels, version)
    paths = [str(installed), *install_example(installed)[1:], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return Coevo(
        tmp_path,
        PYTHONPATH=os.pathsep.join(path for path in paths if path),
        COEVO_ENVIRONMENTS=str(tmp_path / "environments"),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(wheels),
    )


@pytest.mark.long
def test_an_environment_is_made_checked_updated_and_listed(coevo: Coevo, tmp_path: Path) -> None:
    def conditions() -> dict[str, str]:
        return {row["family"]: row["condition"] for row in json.loads(coevo("env", "list", "--format", "json").stdout)}

    assert conditions()["tiny-family"] == "none"
    assert "make it with `coevo env create tiny-family`" in coevo("env", "check", "tiny-family", code=2).stderr
    made = coevo("env", "create", "tiny-family").stderr
    assert f"-- {sys.executable} -m venv --clear {tmp_path}/environments/tiny-family" in made
    assert "pip install" in made
    assert "--no-deps answer==1.0" in made
    assert conditions()["tiny-family"] == "ready"
    found = json.loads(coevo("env", "check", "tiny-family", "--format", "json").stdout)
    assert found["versions"]["answer"] == "1.0"
    assert found["weights"] == {"small": None}
    assert "nothing to do" in coevo("env", "create", "tiny-family").stderr

    (tmp_path / "installed" / "tiny.txt").write_text("answer==2.0\n")
    assert conditions()["tiny-family"] == "outdated"
    assert "venv" not in coevo("env", "create", "tiny-family").stderr.split("pip install")[0].replace("/tiny-family/", "")
    table = coevo("env", "check", "tiny-family").stdout
    assert "answer" in table
    assert "2.0" in table
    assert "not here" in table


@pytest.mark.long
def test_what_cannot_be_installed_or_imported_is_told(coevo: Coevo, tmp_path: Path) -> None:
    (tmp_path / "installed" / "tiny.txt").write_text("answer==3.0\n")
    failed = coevo("env", "create", "tiny-family", code=2).stderr
    assert "exit code 1" in failed
    assert "No matching distribution found for answer==3.0" in failed
    rows = json.loads(coevo("env", "list", "--format", "json").stdout)
    assert "unfinished" in [row["condition"] for row in rows]
    (tmp_path / "installed" / "tiny.txt").write_text("answer>=1\n")
    assert "tiny.txt: got 'answer>=1', allowed: NAME==VERSION" in coevo("env", "create", "tiny-family", code=2).stderr
    (tmp_path / "installed" / "tiny.txt").write_text("answer==1.0\n")
    told = coevo("env", "create", "tiny-family", "--python", "/nowhere/python", code=2).stderr
    assert "--python: no executable '/nowhere/python'" in told
    # the interpreter of the tests has no package of this name
    use_this_python(tmp_path / "environments", "tiny-family")
    broken = coevo("env", "check", "tiny-family", "--format", "json", code=1).stdout
    assert json.loads(broken)["versions"]["answer"].startswith("! ModuleNotFoundError")
    assert "described" in coevo("env", "list").stdout
    (tmp_path / "environments" / "tiny-family.yaml").write_text("python: [1]\n")
    assert "problem" in coevo("env", "list").stdout
    assert "no family 'nobody' with an environment" in coevo("env", "check", "nobody", code=2).stderr


@pytest.mark.long
def test_a_node_whose_generator_is_an_installed_family(coevo: Coevo, tmp_path: Path, tiny_text: str) -> None:
    """One transition with the example of docs/generators.md; its logs are artifacts, and its checkpoint names its parent."""
    (tmp_path / "tiny.yaml").write_text(tiny_text.replace("generator:\n", "generator:\n  family: nobody\n"))
    told = coevo("init", "tiny.yaml", code=2).stderr
    assert "tiny.yaml:12: generator.family: got 'nobody', allowed: adit, " in told
    assert "random-cells, tiny-family, or a family whose package is installed" in told
    assert (EXAMPLE / "random_cells" / "__init__.py").is_file()
    (tmp_path / "tiny.yaml").write_text(tiny_text.replace("generator:\n", "generator:\n  family: random-cells\n"))
    use_this_python(tmp_path / "environments", "random-cells")
    coevo("init", "tiny.yaml")
    coevo("run", "tiny", "-n", "1")
    state = json.loads(coevo("show", "tiny@main", "--format", "json").stdout)
    first = json.loads(coevo("show", "tiny@main~1", "--format", "json").stdout)
    generator = state["checkpoints"]["generator"]
    assert generator["family"] == "random-cells"
    assert generator["format"] == "model-tar-1"
    assert generator["parent"] == first["checkpoints"]["generator"]["sha256"]
    assert state["metrics"]["iteration"]["candidates"] == 8
    logs = [log for job in state["provenance"]["jobs"] for log in job.get("logs", [])]
    assert {log["name"] for log in logs} == {"random-cells-sample", "random-cells-fit"}
    for log in logs:
        assert (coevo.database / "blobs" / log["sha256"][:2] / log["sha256"][2:]).is_file()
