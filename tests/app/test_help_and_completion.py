"""The groups of the help text, usage lines, and completion in shells."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from coevo.app import cli
from coevo.app.help_groups import GROUPS
from tiny_node import Coevo
from warm_processes import run_coevo

if TYPE_CHECKING:
    from collections.abc import Callable

COEVO = typer.main.get_command(cli.app)


def commands(group: Any, *above: str) -> list[tuple[str, ...]]:
    """Names of all commands, with those of the groups that they are in."""
    found = []
    for name, command in group.commands.items():
        found += commands(command, *above, name) if hasattr(command, "commands") else [(*above, name)]
    return found


def complete(words: str, shell: str = "bash", **environment: str) -> list[str]:
    """What a shell is told for a line whose last word is being typed."""
    asked = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
        "fish": {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    variables = {**os.environ, **environment, **asked, "_COEVO_COMPLETE": f"complete_{shell}"}
    done = run_coevo([], cwd=Path.cwd(), env=variables, timeout=300)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def test_every_command_is_in_one_group_of_at_most_ten() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COEVO.commands)
    assert max(len(names) for names in GROUPS.values()) <= 10


def test_the_help_shows_the_groups_in_their_order(tmp_path: Path) -> None:
    text = Coevo(tmp_path)("--help").stdout
    titles = re.findall(r"^╭─ (.+?) ─", text, flags=re.MULTILINE)
    assert titles == ["Options", *GROUPS]
    names = re.findall(r"^│ ([a-z]+) ", text, flags=re.MULTILINE)
    assert names == [name for names in GROUPS.values() for name in names]


@pytest.mark.parametrize("words", commands(COEVO), ids=" ".join)
def test_a_usage_line_brackets_each_argument_once(words: tuple[str, ...]) -> None:
    command = COEVO
    context = typer.Context(command, info_name="coevo")
    for word in words:
        command = command.get_command(context, word)
        context = typer.Context(command, info_name=word, parent=context)
    usage = command.get_usage(context)
    for doubled in ("[[", "]]", "{{", "{[", "…"):
        assert doubled not in usage.replace("[@BRANCH]]", "")


def test_the_name_of_the_program_is_the_command(tmp_path: Path) -> None:
    assert (
        Coevo(tmp_path)("query", code=2).stderr.splitlines()[1].startswith("Usage: coevo query [OPTIONS] {REF} [FILTER]; help: ")
    )


def test_bash_completes_commands_options_and_choices() -> None:
    assert complete("coevo re") == ["references", "report", "rediscover", "rerun", "resume"]
    assert complete("coevo run tiny --it") == ["--iterations"]
    assert complete("coevo site ch") == ["check"]
    assert complete("coevo show tiny --format po") == ["poscar"]


def test_zsh_and_fish_are_told_what_a_command_does() -> None:
    assert any("Say where a node stands" in line for line in complete("coevo stat", "zsh"))
    assert complete("coevo stat", "fish")[0].startswith("status\tSay where a node stands")


def test_names_of_nodes_are_completed(finished: Coevo, tmp_path: Path) -> None:
    database = {"COEVO_DATABASE": f"file:{finished.database}"}
    for command in ("run", "show", "status", "log"):
        assert complete(f"coevo {command} ti", **database) == ["tiny"]
    assert complete("coevo run li", **database) == []
    assert complete("coevo run ti", COEVO_DATABASE=f"file:{tmp_path / 'nowhere'}") == []
    assert complete("coevo run ti", COEVO_DATABASE="no database") == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def in_bash(tmp_path: Path) -> Callable[[str], str]:
    """What a bash prints, which has the command ``coevo`` and a home of its own; completion is taught to the shell that asks."""
    program = tmp_path / "coevo"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m coevo.app.cli "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def run(line: str) -> str:
        done = subprocess.run(["bash", "-c", f"{line}; true"], env=environment, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout

    return run


def test_a_shell_can_be_taught(in_bash: Callable[[str], str], tmp_path: Path) -> None:
    assert "bash completion installed in" in in_bash("coevo --install-completion")
    script = next(tmp_path.rglob("coevo.sh"))
    assert "complete -o default -F _coevo_completion coevo" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_a_taught_shell_completes(in_bash: Callable[[str], str]) -> None:
    """The function that --show-completion prints fills the reply of a line."""
    asked = 'COMP_WORDS=(coevo rep); COMP_CWORD=1; _coevo_completion coevo; echo "${COMPREPLY[@]}"'
    assert in_bash(f'eval "$(coevo --show-completion)"; {asked}') == "report\n"
