"""``coevo env create`` with checkouts: named, cloned, agreed to, recorded when all is well, and nothing before."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from printed import wide
from small_repositories import commit_all, family_of, git, make_repository
from typer.testing import CliRunner

from coevo.app.cli import app
from coevo.errors import ConfigError
from coevo.families import Checkout, Family, Loader
from coevo.models import registry
from coevo.models.external import obtaining
from coevo.models.external.checkouts import verified_checkouts
from coevo.models.external.obtaining import named_paths, obtain_checkouts

NOTHING = {"clone": False, "any_commit": False, "agree": lambda _checkout: False, "today": "2026-01-02"}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("original") / "Lattices"
    return path, make_repository(path)


@pytest.fixture
def family(tmp_path, monkeypatch, original):
    path, commit = original
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.delenv("COEVO_CHECKOUTS", raising=False)
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "lattices.yaml").write_text(f"python: {sys.executable}\n")
    return family_of(
        tmp_path, Checkout("Lattices", f"file://{path}", (commit,), "MIT", "lattice.py", missing={"torch_x": "sums"})
    )


@pytest.fixture
def coevo(family, monkeypatch):
    """The command line, which knows this family alone; ``coevo.families`` is what it knows."""
    wide(monkeypatch, 400)

    def run(*arguments: str, code: int | None = 0, answer: str = "") -> str:
        result = CliRunner().invoke(app, arguments, input=answer)
        if code is None:
            assert isinstance(result.exception, ConfigError)
            return f"{result.output}{result.exception}"
        assert result.exit_code == code, f"{result.output}{result.exception!r}"
        return result.output

    run.families = [family]
    loader = Loader("lattices", "generator", "x-1", "m:C", sources=("huggingface:nobody/lattices",))
    monkeypatch.setattr(
        registry, "external_descriptors", lambda: [Family(loader, title="L", environment=one) for one in run.families]
    )
    return run


def recorded(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "environments" / "lattices.checkouts.json").read_text())


def made(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path / "environments")) for path in (tmp_path / "environments").iterdir())


def test_a_checkout_is_named_listed_and_checked(coevo, tmp_path, original):
    path, commit = original
    (before,) = json.loads(coevo("env", "list", "--format", "json"))
    assert before["condition"] == "no checkout"
    assert "got none, allowed: one of file://" in before["checkouts"][0]["problem"]
    assert "cannot run yet: no checkout of Lattices; name it: coevo env create lattices --checkout PATH" in coevo(
        "env", "create", "lattices"
    )
    told = coevo("env", "create", "lattices", "--checkout", str(path))
    assert f"lattices runs from a checkout of Lattices: file://{path}, licence MIT" in told
    assert "    in place of torch_x: sums" in told
    assert f"checkout Lattices {commit}: {path}" in told
    assert recorded(tmp_path) == {"checkouts": {"Lattices": {"path": str(path), "any_commit": False}}, "consents": {}}
    (row,) = json.loads(coevo("env", "list", "--format", "json"))
    assert row["condition"] == "described"
    assert row["weights"] == ["huggingface:nobody/lattices"]
    assert row["checkouts"] == [
        {
            "name": "Lattices",
            "repository": f"file://{path}",
            "licence": "MIT",
            "path": str(path),
            "named_by": "coevo env create",
            "commit": commit,
            "problem": "",
        }
    ]
    assert f"{path} (coevo env create)" in coevo("env", "list")
    shown = coevo("env", "check", "lattices")
    assert f"{path} at {commit}" in shown
    assert "in place of torch_scatter" in shown
    assert r"sums of our own\x1b[2J" in shown
    assert "\x1b[2J" not in shown


def test_what_was_not_tested_is_recorded_only_if_told(coevo, tmp_path, original):
    path = tmp_path / "mine"
    shutil.copytree(original[0], path)
    (path / "lattice.py").write_text("CONSTANT = 2\n")
    commit = commit_all(path)
    told = coevo("env", "create", "lattices", "--checkout", str(path), code=None)
    assert f"at commit {commit}, allowed: {original[1]}" in told
    assert made(tmp_path) == ["lattices.yaml"]
    told = coevo("env", "create", "lattices", "--checkout", str(path), "--any-commit")
    assert f"checkout Lattices {commit} (untested): {path}" in told
    (file,) = (tmp_path / "environments").glob("*.yaml")
    file.write_text(f"python: {sys.executable}\nany_commit: true\n")
    (tmp_path / "environments" / "lattices.checkouts.json").unlink()
    assert "(untested)" in coevo("env", "create", "lattices", "--checkout", str(path)), "the file takes any commit already"
    assert recorded(tmp_path)["checkouts"]["Lattices"]["any_commit"] is False, "as long as the file says so"
    file.write_text(f"python: {sys.executable}\ncheckouts: {{Lattices: /elsewhere}}\n")
    told = coevo("env", "create", "lattices", "--checkout", str(path), code=None)
    assert f"{file} names /elsewhere for Lattices, which wins; change it there" in told
    assert "none is given" in coevo("env", "create", "lattices", "--any-commit", code=None)


def test_an_environment_that_exists_is_left_alone_and_a_refused_checkout_makes_none(coevo, tmp_path, original):
    (tmp_path / "environments" / "lattices.yaml").unlink()
    coevo("env", "create", "lattices", "--checkout", str(tmp_path), code=None)
    assert made(tmp_path) == []
    directory = tmp_path / "environments" / "lattices"
    directory.mkdir()
    mark = json.dumps({"requirements": coevo.families[0].digest()})
    (directory / "coevo-environment.json").write_text(mark)
    told = coevo("env", "create", "lattices", "--checkout", str(original[0]))
    assert "recorded; try it" in told
    assert "--" not in told.replace("--depth", "")
    assert [path.read_text() for path in directory.iterdir()] == [mark]


def test_which_path_is_which(family, original, tmp_path):
    assert named_paths(family, [str(original[0])]) == {"Lattices": original[0]}
    assert named_paths(family, ["Lattices=/a=b"]) == {"Lattices": Path("/a=b")}
    assert named_paths(family, ["/a=b"]) == {"Lattices": Path("/a=b")}
    core = replace(family.checkouts[0], name="Core", repository="https://example.org/core")
    both = replace(family, checkouts=(*family.checkouts, core))
    assert named_paths(both, ["Core=/c", "Lattices=/l"]) == {"Core": Path("/c"), "Lattices": Path("/l")}
    for given, told in (
        (["/l"], "got '/l', allowed: NAME=PATH, NAME one of Lattices, Core"),
        (["Core=/c", "Core=/d"], "got 'Core=/d', allowed: one path for Core"),
        (["Core="], "got 'Core=', allowed: one path for Core"),
    ):
        with pytest.raises(ConfigError, match=told):
            named_paths(both, given)
    with pytest.raises(ConfigError, match="got '/l', and lattices runs from no checkout"):
        named_paths(replace(family, checkouts=()), ["/l"])
    # one of two is recorded; a run needs both
    found = obtain_checkouts(both, {"Lattices": original[0]}, **NOTHING)
    assert [one.name for one in found] == ["Lattices"]
    with pytest.raises(ConfigError, match=r"checkout of Core: got none, allowed: one of https://example\.org/core"):
        verified_checkouts(both)
    obtain_checkouts(both, {"Core": original[0]}, **NOTHING)
    assert [one.name for one in verified_checkouts(both)] == ["Lattices", "Core"]
    assert sorted(recorded(tmp_path)["checkouts"]) == ["Core", "Lattices"]


def test_consent_is_asked_for_once_and_recorded_with_its_date(coevo, tmp_path, original):
    (family,) = coevo.families
    coevo.families[:] = [replace(family, checkouts=(replace(family.checkouts[0], consent=True, licence="CC-BY-NC-4.0"),))]
    create = ("env", "create", "lattices", "--checkout", str(original[0]))
    for answer in ("n\n", ""):  # nobody answers
        told = coevo(*create, code=None, answer=answer)
        assert "the licence of Lattices is CC-BY-NC-4.0: read it at file://" in told
        assert "nothing was made" in told
        assert "(--accept-licence in a script)" in told
        assert made(tmp_path) == ["lattices.yaml"]
    assert "Do you agree to use Lattices under CC-BY-NC-4.0 only?" in coevo(*create, answer="y\n")
    consent = recorded(tmp_path)["consents"]["Lattices"]
    assert consent["licence"] == "CC-BY-NC-4.0"
    assert len(consent["date"]) == len("2026-01-02")
    assert "Do you agree" not in coevo(*create)
    assert verified_checkouts(coevo.families[0])
    (tmp_path / "environments" / "lattices.checkouts.json").unlink()
    told = coevo("env", "create", "lattices", "--accept-licence")  # before there is a checkout
    assert "recorded that you agree to the licence of Lattices, CC-BY-NC-4.0" in told
    assert "nothing to do" not in told
    (tmp_path / "environments" / "lattices.checkouts.json").unlink()
    assert "Do you agree" not in coevo(*create, "--accept-licence")
    assert recorded(tmp_path)["consents"]["Lattices"]["licence"] == "CC-BY-NC-4.0"


def test_a_clone_is_at_the_commit_that_was_tested(coevo, tmp_path, original):
    source = tmp_path / "source"
    shutil.copytree(original[0], source)
    (source / "lattice.py").write_text("CONSTANT = 2\n")
    commit_all(source)  # the repository has gone on since
    (family,) = coevo.families
    coevo.families[:] = [replace(family, checkouts=(replace(family.checkouts[0], repository=f"file://{source}"),))]
    told = coevo("env", "create", "lattices", "--clone")
    clone = tmp_path / "environments" / "checkouts" / "Lattices"
    assert f"-- git fetch --depth 1 file://{source} {original[1]}" in told
    assert f"checkout Lattices {original[1]}: {clone}" in told
    assert git(clone, "rev-parse", "HEAD") == original[1]
    assert [path.name for path in clone.parent.iterdir()] == ["Lattices"]
    assert verified_checkouts(coevo.families[0])[0].path == clone
    assert "git fetch" not in coevo("env", "create", "lattices", "--clone")
    # what is there and is something else is not replaced
    (clone / "lattice.py").write_text("CONSTANT = 3\n")
    assert f"--clone: {clone} is there already; move it away" in coevo("env", "create", "lattices", "--clone", code=None)


def test_a_clone_that_fails_or_is_killed_leaves_nothing_that_is_believed(coevo, tmp_path, original, monkeypatch):
    (family,) = coevo.families
    away = replace(family.checkouts[0], repository=f"file://{tmp_path}/nowhere")
    coevo.families[:] = [replace(family, checkouts=(away,))]
    told = coevo("env", "create", "lattices", "--clone", code=None)
    assert f"--clone: Lattices cannot be fetched from file://{tmp_path}/nowhere: git: " in told
    assert "clone it elsewhere and give it with --checkout" in told
    assert list((tmp_path / "environments" / "checkouts").iterdir()) == []

    coevo.families[:] = [family]

    def killed(repository: str, commit: str, directory: Path) -> None:
        shutil.copytree(original[0], directory, dirs_exist_ok=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(obtaining, "clone_at", killed)
        patch.setattr(obtaining.shutil, "rmtree", lambda *_args, **_options: None)  # as by a signal that nobody can catch
        with pytest.raises(KeyboardInterrupt):
            obtain_checkouts(family, {}, **{**NOTHING, "clone": True})
    assert made(tmp_path) == ["checkouts", "lattices.yaml"]
    with pytest.raises(ConfigError, match="got none"):
        verified_checkouts(family)
    assert obtain_checkouts(family, {}, **{**NOTHING, "clone": True})[0].commit == original[1]


@pytest.mark.parametrize("whole", [True, False])
def test_two_that_clone_at_once(family, tmp_path, original, monkeypatch, whole):
    """The second finds the clone of the first, which it looks at; permissions are those of the user's umask."""
    target = tmp_path / "environments" / "checkouts" / "Lattices"

    def slow(repository: str, commit: str, directory: Path) -> None:
        assert directory.stat().st_mode & 0o777 == 0o750
        shutil.copytree(original[0], directory, dirs_exist_ok=True)
        shutil.copytree(original[0], target)
        if not whole:
            (target / "lattice.py").write_text("CONSTANT = 3\n")

    monkeypatch.setattr(obtaining, "clone_at", slow)
    before = os.umask(0o027)
    try:
        if whole:
            assert obtain_checkouts(family, {}, **{**NOTHING, "clone": True})[0].path == target
        else:
            with pytest.raises(ConfigError, match="with changes"):
                obtain_checkouts(family, {}, **{**NOTHING, "clone": True})
    finally:
        os.umask(before)
    assert [path.name for path in target.parent.iterdir()] == ["Lattices"]


def test_a_clone_takes_the_place_of_what_was_not_tested(family, tmp_path, original, monkeypatch):
    shutil.copytree(original[0], tmp_path / "checkouts" / "Lattices")
    (tmp_path / "checkouts" / "Lattices" / "lattice.py").write_text("CONSTANT = 3\n")
    monkeypatch.setenv("COEVO_CHECKOUTS", str(tmp_path / "checkouts"))
    with pytest.raises(ConfigError, match="with changes"):
        obtain_checkouts(family, {}, **NOTHING)
    (found,) = obtain_checkouts(family, {}, **{**NOTHING, "clone": True})
    assert found.path == tmp_path / "environments" / "checkouts" / "Lattices"
    assert verified_checkouts(family) == (found,)
