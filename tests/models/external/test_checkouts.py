"""Checkouts that a family runs from: found, looked at before every run, and used only if they are what was tested."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from small_repositories import commit_all, family_of, git, make_repository

from coevo.app import doctor
from coevo.errors import ConfigError, ModelError
from coevo.families import Checkout, Family, Loader
from coevo.flows import seeding
from coevo.models import registry
from coevo.models.external.checking import condition_of, examine_environment, looked_at
from coevo.models.external.checkouts import places_of, record, verified_checkouts
from coevo.models.external.force_field import ExternalForceField
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.logs import keeping_logs

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.families import ExternalFamily


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("original") / "Lattices"
    return path, make_repository(path)


@pytest.fixture
def family(tmp_path, monkeypatch, original) -> ExternalFamily:
    """The family; its checkout is ``tmp_path/checkouts/Lattices``, which ``COEVO_CHECKOUTS`` leads to."""
    path, commit = original
    shutil.copytree(path, tmp_path / "checkouts" / "Lattices")
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "lattices.yaml").write_text(f"python: {sys.executable}\n")
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("COEVO_CHECKOUTS", str(tmp_path / "checkouts"))
    monkeypatch.setenv("COEVO_SCRATCH", str(tmp_path / "scratch"))
    checkout = Checkout("Lattices", f"file://{path}", (commit,), "MIT", "lattice.py", unread=("data",))
    return family_of(tmp_path, checkout)


@pytest.fixture
def known(family, monkeypatch) -> Family:
    """The descriptor of the family, the only one with an environment that coevo knows."""
    descriptor = Family(Loader("lattices", "generator", "x-1", "m:C"), title="Lattices", environment=family)
    monkeypatch.setattr(registry, "external_descriptors", lambda: [descriptor])
    monkeypatch.setattr(seeding, "descriptor_of", lambda _name, _role: descriptor)
    return descriptor


def describe(tmp_path: Path, *lines: str) -> None:
    (tmp_path / "environments" / "lattices.yaml").write_text("\n".join((f"python: {sys.executable}", *lines, "")))


def test_what_runs_is_told_recorded_and_left_as_it_was(family, known, tmp_path, original):
    class Lattices(ExternalGenerator):
        external = family

    Lattices.family = "lattices"
    path, commit = tmp_path / "checkouts" / "Lattices", original[1]
    logs: dict[str, bytes] = {}
    with keeping_logs(logs.__setitem__):
        fitted, _ = Lattices.initial().fit([], 0)
        found = examine_environment(family)
    assert fitted.document == {"constant": 1, "checkouts": {"Lattices": commit}}
    assert logs["lattices-fit"].decode().startswith(f"checkout Lattices {commit}: {path}\n")
    assert found.checkouts == {"Lattices": f"{path} at {commit}"}
    assert found.stand_ins == {"torch_scatter": "sums of our own\x1b[2J", "bytecode": "1"}
    assert not (path / "__pycache__").exists()
    assert git(path, "status", "--porcelain") == ""
    # the commit that was tested is part of what a job's key says of the family's versions
    assert known.environment_versions() == {"Lattices": commit}


def test_a_worker_of_a_force_field_is_told_too(family, tmp_path):
    class Lattices(ExternalForceField):
        family = "sevennet"  # whose descriptor says the devices
        external = None
        atomic_numbers = frozenset({3})

    Lattices.external = family
    force_field = Lattices(None, {"weights": "7net-0", "energy_scale": "pbe"})
    (model,) = force_field.recipe().arguments
    assert model.request()["checkouts"] == {"Lattices": str(tmp_path / "checkouts" / "Lattices")}
    assert model.variables["PYTHONDONTWRITEBYTECODE"] == "1"
    go_on(tmp_path / "checkouts" / "Lattices")
    with pytest.raises(ConfigError, match="at commit"):
        force_field.recipe()


def test_stand_ins_without_end_are_no_answer(family, tmp_path):
    describe(tmp_path, "variables: {MANY_STAND_INS: '1'}")
    with pytest.raises(ModelError, match="stand_ins: allowed: at most 100 texts"):
        examine_environment(family)


def remove_git(path: Path) -> None:
    shutil.rmtree(path / ".git")


def lie_in_another(path: Path) -> None:
    """Without a repository of its own, but within one."""
    remove_git(path)
    git(path.parent, "init", "--quiet")
    commit_all(path.parent)


def go_on(path: Path) -> None:
    (path / "lattice.py").write_text("CONSTANT = 2\n")
    commit_all(path)


def name_a_filter(path: Path) -> None:
    git(path, "config", "filter.evil.clean", f"touch {path.parent}/ran; cat")
    (path / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    (path / "lattice.py").touch()


def ignore_a_module(path: Path) -> None:
    (path / ".git" / "info" / "exclude").write_text("torch_*\n")
    (path / "torch_x").mkdir()
    (path / "torch_x" / "__init__.py").write_text("")
    (path / "torch_y.cpython-311.so").write_text("")
    assert git(path, "status", "--porcelain") == ""


def hide_a_change(path: Path) -> None:
    git(path, "update-index", "--assume-unchanged", "lattice.py")
    (path / "lattice.py").write_text("CONSTANT = 3\n")
    assert git(path, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (go_on, r"at commit [0-9a-f]{40}, allowed: [0-9a-f]{40}; do `git -C .*/Lattices checkout [0-9a-f]{40}`"),
        (lambda path: (path / "lattice.py").write_text("CONSTANT = 3\n"), r"with changes \(lattice\.py\), allowed: what commit"),
        (lambda path: (path / "scatter\n.py").write_text(""), r"with changes \(scatter\\n\.py\)"),
        (ignore_a_module, r"with changes \(torch_x/__init__\.py, torch_y\.cpython-311\.so\)"),
        (lambda path: (path / ".gitignore").unlink(), r"with changes \(\.gitignore\)"),
        (
            lambda path: (path / "lattice.py").unlink(),
            r"\(named by COEVO_CHECKOUTS\), which has no file lattice\.py",
        ),
        (hide_a_change, r"with changes \(lattice\.py\)"),
        (remove_git, "is no git repository with a commit"),
        (lie_in_another, "is no git repository with a commit"),
        (
            shutil.rmtree,
            r"got none, allowed: one of file://.* \(MIT\) at commit .*coevo env create lattices --checkout",
        ),
        (name_a_filter, r"its \.git/config names a program for git to run \(filter\.evil\.clean\)"),
    ],
)
def test_what_was_not_tested_does_not_run(family, tmp_path, change, told):
    assert verified_checkouts(family)[0].tested
    change(tmp_path / "checkouts" / "Lattices")
    with pytest.raises(ConfigError, match=told):
        examine_environment(family)
    assert condition_of(family)[0] == "no checkout"
    assert not (tmp_path / "checkouts" / "ran").exists()
    assert not (tmp_path / "scratch").exists()


def test_what_is_not_read_may_differ_and_nothing_of_the_repository_runs(family, tmp_path):
    path = tmp_path / "checkouts" / "Lattices"
    (path / "data" / "numbers.csv").unlink()
    (path / "data" / "more.csv").write_text("2\n")
    (path / "train.log").write_text("ignored\n")
    (path / ".git" / "info" / "exclude").write_text("__pycache__\n.venv\nvenv\nbuild\n")
    for name in ("__pycache__/lattice.cpython-311.pyc", ".venv/x.py", "venv/lib/python3.11/site-packages/x.py", "build/lib/x.py"):
        (path / name).parent.mkdir(parents=True)
        (path / name).write_text("")
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    git(path, "config", "core.fsmonitor", str(program))
    git(path, "config", "core.hooksPath", str(tmp_path))
    program.rename(tmp_path / "post-index-change")
    shutil.copy(tmp_path / "post-index-change", program)
    (path / "lattice.py").touch()
    index = (path / ".git" / "index").read_bytes()
    assert verified_checkouts(family)[0].path == path
    assert not (tmp_path / "ran").exists()
    assert (path / ".git" / "index").read_bytes() == index


def test_a_repository_that_allows_itself_a_transport_fetches_nothing(family, tmp_path, monkeypatch):
    """As of a partial clone, whose missing objects git fetches when asked: here by a program that the repository names.

    By a git that does not know ``GIT_NO_LAZY_FETCH``, as those before 2.39.4.
    """
    path, ran = tmp_path / "checkouts" / "Lattices", tmp_path / "ran"
    tree = git(path, "rev-parse", "HEAD^{tree}")
    (path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    program.chmod(0o755)
    git(path, "config", "remote.origin.url", f"ext::{program}")
    git(path, "config", "remote.origin.promisor", "true")
    git(path, "config", "extensions.partialClone", "origin")
    git(path, "config", "core.repositoryFormatVersion", "1")
    git(path, "config", "protocol.ext.allow", "always")
    (tmp_path / "bin").mkdir()
    older = tmp_path / "bin" / "git"
    older.write_text(f'#!/bin/sh\nunset GIT_NO_LAZY_FETCH\nexec {shutil.which("git")} "$@"\n')
    older.chmod(0o755)
    monkeypatch.setenv("PATH", f"{older.parent}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match=r"Lattices: git: "):
        verified_checkouts(family)
    assert not ran.exists()
    with pytest.raises(subprocess.CalledProcessError):
        git(path, "fetch", "origin")
    assert ran.exists(), "the program would run, if git were not told otherwise"


@pytest.mark.parametrize("how", ["commit", "changed", "without git"])
def test_what_nobody_tested_is_taken_if_the_user_says_so(family, tmp_path, how):
    path = tmp_path / "checkouts" / "Lattices"
    if how == "commit":
        go_on(path)
    else:
        (path / "lattice.py").write_text("CONSTANT = 3\n")
    commit = git(path, "rev-parse", "HEAD")
    if how == "without git":
        remove_git(path)
    describe(tmp_path, "any_commit: true")
    (found,) = verified_checkouts(family)
    told = {"commit": commit, "changed": f"{commit}, changed", "without git": "no commit"}[how]
    assert (found.commit, found.tested) == (told, False)
    assert str(found) == f"Lattices {told} (untested): {path}"


def test_the_file_wins_over_the_record_and_both_over_the_directory(family, tmp_path):
    assert places_of(family)[0].said_by == "COEVO_CHECKOUTS"
    record(family, {"Lattices": {"path": "/recorded", "any_commit": False}})
    assert (str(places_of(family)[0].path), places_of(family)[0].said_by) == ("/recorded", "coevo env create")
    describe(tmp_path, "checkouts: {Lattices: /described}")
    assert str(places_of(family)[0].path) == "/described"
    (found,) = looked_at(family)
    assert found.named_by == str(tmp_path / "environments" / "lattices.yaml")
    assert "got /described (named by" in found.problem
    describe(tmp_path, "checkouts: {Crystals: /described}")
    with pytest.raises(ConfigError, match=r"lattices\.yaml: checkouts: got 'Crystals', allowed: Lattices"):
        places_of(family)
    describe(tmp_path, "checkouts: {Lattices: described}")
    with pytest.raises(ConfigError, match="got 'described', allowed: an absolute path"):
        places_of(family)
    # a record that was written half, by a machine that lost its power, is none
    describe(tmp_path)
    (tmp_path / "environments" / "lattices.checkouts.json").write_text('{"checkouts": {"Lattices": {"path": "/rec')
    assert places_of(family)[0].said_by == "COEVO_CHECKOUTS"


def test_git_that_is_not_there_or_does_not_answer(family, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ConfigError, match="there is no git on PATH"):
        verified_checkouts(family)
    describe(tmp_path, "any_commit: true")
    assert [(found.commit, found.tested) for found in verified_checkouts(family)] == [("no commit", False)]
    describe(tmp_path)
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "git"
    fake.write_text('#!/bin/sh\necho "fatal: detected dubious ownership in repository\nTo add an exception" >&2; exit 128\n')
    fake.chmod(0o755)
    with pytest.raises(ConfigError, match=r"belongs to another user, .*: git config --global --add safe\.directory"):
        verified_checkouts(family)


def test_a_campaign_does_not_begin_and_the_doctor_says_why(known, tmp_path):
    config = SimpleNamespace(generator=SimpleNamespace(families=("lattices",), mixture={}))
    seeding.check_generator(config)
    assert doctor._environments() == doctor.Finding("model environments", "ok", "lattices: described")
    go_on(tmp_path / "checkouts" / "Lattices")
    with pytest.raises(ConfigError, match=r"family lattices: checkout of Lattices: got .* at commit"):
        seeding.check_generator(config)
    finding = doctor._environments()
    assert (finding.condition, finding.found) == ("missing", "lattices: no checkout")
    assert finding.hint.startswith("`coevo env list` says which checkout")
    (tmp_path / "environments" / "lattices.yaml").unlink()
    with pytest.raises(ConfigError, match="family lattices has no environment"):
        seeding.check_generator(config)


def test_a_description_of_a_checkout_that_cannot_be_one(family):
    (checkout,) = family.checkouts
    for change, told in (
        ({"name": "a/b"}, "got name 'a/b'"),
        ({"commits": ()}, "got commits none, allowed: 40 hexadecimal digits"),
        ({"commits": ("main",)}, "got commits main"),
        ({"marker": "../x"}, "got path '../x', allowed: one within the repository"),
        ({"unread": ("/data",)}, "got path '/data'"),
    ):
        with pytest.raises(ConfigError, match=told):
            replace(checkout, **change)


def test_consent_is_needed_for_each_run(family, tmp_path):
    careful = replace(family, checkouts=(replace(family.checkouts[0], consent=True, licence="CC-BY-NC-4.0"),))
    with pytest.raises(ConfigError, match=r"licence, CC-BY-NC-4\.0, was not agreed to here: `coevo env create lattices` asks"):
        examine_environment(careful)
    record(careful, consents={"Lattices": {"licence": "CC-BY 4.0", "date": "2026-01-01"}})  # of another licence
    assert condition_of(careful)[0] == "no checkout"
    describe(tmp_path, "consents: {Lattices: CC-BY-NC-4.0}")
    assert verified_checkouts(careful)
    describe(tmp_path)
    record(careful, consents={"Lattices": {"licence": "CC-BY-NC-4.0", "date": "2026-01-01"}})
    assert verified_checkouts(careful)
    assert json.loads((tmp_path / "environments" / "lattices.checkouts.json").read_text())["checkouts"] == {}
