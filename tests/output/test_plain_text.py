"""Text of others as it is shown, in lines, cells and help texts."""

from __future__ import annotations

import ast
import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from hostile_texts import unsafe_in
from printed import Printed, printed, wide
from rich.table import Table
from rich.text import Text

from coevo.app import terminal
from coevo.app.cli import app
from coevo.app.terminal import PlainConsole, styled
from coevo.output.plain_text import as_csv, csv_cell, json_text, plain, plain_lines

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["printed"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Li₃PS₄ – 0.1 Å, é, 中文, 😀", "Li₃PS₄ – 0.1 Å, é, 中文, 😀"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x00\x7f\x9b\x85", r"\x00\x7f\x9b\x85"),
        ("\u202a\u202e\u2066\u2069\u200e\u200f\u061c", r"\u202a\u202e\u2066\u2069\u200e\u200f\u061c"),
        ("\u200b\u200d\u2060\ufeff\xad", r"\u200b\u200d\u2060\ufeff\xad"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u034f\u3164\ufe0f\u115f", r"\u034f\u3164\ufe0f\u115f"),
        ("\ud800", r"\ud800"),
        ("\U000e0041\ue000\uffff", r"\U000e0041\ue000\uffff"),
        ("[red]x[/red] [/v2]", "[red]x[/red] [/v2]"),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert plain(shown) == shown


def test_only_a_line_feed_ends_a_line() -> None:
    assert plain_lines("a\nb\u2028c\x0bd\x85e\r\n") == "a\nb\\u2028c\\x0bd\\x85e\\r\n"


@pytest.mark.long
def test_every_character_that_unicode_calls_other_is_written_out() -> None:
    everything = "".join(map(chr, range(0x110000)))
    assert not unsafe_in(plain(everything))


def test_json_keeps_everything_in_ascii() -> None:
    text = "".join(map(chr, range(0x300))) + "\u202e\u2028\U0001f600\ud800"
    written = json_text({text: [text, 1.5, None]})
    assert written.isascii()
    assert not unsafe_in(written)
    assert json.loads(written) == {text: [text, 1.5, None]}
    with pytest.raises(ValueError, match="Out of range"):
        json_text(float("nan"))


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", " =1", "\uff1d1", "-", '=HYPERLINK("x")'])
def test_no_cell_is_a_formula(text: str) -> None:
    assert csv_cell(text) == "'" + plain(text)


@pytest.mark.parametrize("value", [-1.5, 3, True, None, 0.1 + 0.2])
def test_numbers_are_cells_as_they_are(value: object) -> None:
    assert csv_cell(value) is value


@pytest.mark.parametrize("text", ["-1.5", "+2", "-3e-05", "Li3PS4", "3-", "a=b", "-.5"])
def test_numbers_written_as_texts_stay(text: str) -> None:
    assert csv_cell(text) == text


def test_rows_read_back_with_one_line_each() -> None:
    text = as_csv(("name", "x"), [{"name": 'a,"b"\nc\x1b', "x": -0.1, "more": 1}, {"name": "=1"}])
    assert text.count("\n") == 3
    assert list(csv.reader(io.StringIO(text))) == [["name", "x"], ['a,"b"\\nc\\x1b', "-0.1"], ["'=1", ""]]


@pytest.mark.parametrize("force_terminal", [False, True])
def test_a_console_takes_strings_and_texts_literally(force_terminal: bool) -> None:
    file = io.StringIO()
    console = PlainConsole(
        file=file, width=200, force_terminal=force_terminal, color_system="standard" if force_terminal else None
    )
    word = "[red]x[/red][/v2]\x1b[2J\u202e:smile:"
    table = Table(title=word, caption=word)
    table.add_column(word, footer=word)
    table.add_row(word)
    table.add_row(Text(word))
    table.add_row(styled(word, "red"))
    table.add_row("forged\nrow")
    for part in (table, word, Text(word), styled(word, "red")):
        console.print(part)
    console.rule(word)
    printed_text = file.getvalue()
    shown = r"[red]x[/red][/v2]\x1b[2J\u202e:smile:"
    assert printed_text.count(shown) == 10
    assert r"forged\nrow" in printed_text
    styles = printed_text.replace("\x1b[", "")
    assert not unsafe_in(styles), "nothing but rich's own colours"
    assert ("\x1b[31m" in printed_text) == force_terminal


COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def texts_of(command: str | None) -> set[str]:
    """The help texts of a command and its options, and of the commands below it, as they are in the code."""
    from rich.markup import render

    group: Any = typer.main.get_command(app)
    found = group if command is None else group.get_command(None, command)
    texts = [found.help, *(param.help for param in found.params if getattr(param, "help", None))]
    texts += [
        (sub.help or "").split("\n\n")[0] for sub in getattr(found, "commands", {}).values()
    ]  # the rest is in their own help
    return {render(text, emoji=False).plain if "\\[" in text else text for text in texts if text}


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_texts_keep_their_brackets(
    command: str | None, printed: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("TERMINAL_WIDTH", "1000")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 1000)
    done = printed(*([command] if command else []), "--help")
    assert done.code == 0
    shown = " ".join(done.out.replace("│", " ").split())
    for text in texts_of(command):
        assert " ".join(text.split()) in shown


def test_a_hint_names_the_extra_in_brackets(printed: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch) -> None:
    from coevo.app.doctor import Finding, findings_table
    from coevo.app.terminal import out

    wide(monkeypatch, 120)
    with out.capture() as captured:
        out.print(findings_table([Finding("FireWorks", "missing", "d[/v2]", "pip install 'coevo[fireworks]'")]))
    assert "pip install 'coevo[fireworks]'" in captured.get()
    assert "d[/v2]" in captured.get()
    assert "never match [on]" in " ".join(printed("analyse", "--help").out.replace("│", " ").split())


PRINTING = frozenset({"print", "echo", "secho", "from_markup", "Console", "print_exception"})
"""Functions and methods that print past our consoles, or read markup; ``out.print`` and the like are on a console."""


def printing_calls(path: Path) -> set[str]:
    """What a module calls to print."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            *owner, name = ast.unparse(node.func).split(".")
            if name in PRINTING and not (owner and name == "print"):
                found.add(name)
            if name == "write" and owner[-1:] in (["stdout"], ["stderr"], ["buffer"]):
                found.add(f"{owner[-1]}.write")
    return found


def test_nothing_is_printed_but_through_the_consoles() -> None:
    """A command that is added later cannot print somebody's text in another way."""
    folder = Path(terminal.__file__).parent
    rooms = ("app", "report", "campaigns", "studies", "notebooks", "output")
    paths = sorted(path for room in rooms for path in (folder.parent / room).rglob("*.py"))
    assert len(paths) > 80
    # the last writes bytes into files that a command was told to write
    allowed = {"terminal.py": {"stdout.write"}, "cli.py": {"stderr.write"}, "files.py": {"buffer.write"}}
    assert printing_calls(folder / "terminal.py") == {"stdout.write"}
    for path in paths:
        assert not printing_calls(path) - allowed.get(path.name, set()), path
        assert "rich.markup" not in path.read_text(encoding="utf-8") or path.name == "help_groups.py", path
