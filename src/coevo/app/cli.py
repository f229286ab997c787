"""The ``coevo`` command."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coevo import __version__

# Each module adds its commands to the application.
from coevo.app.commands import labels, upkeep  # noqa: F401
from coevo.app.commands.cluster import jobs, site  # noqa: F401
from coevo.app.commands.lineage import branches, bundles  # noqa: F401
from coevo.app.commands.look import analyse, completeness, hull_comparison, motifs, rediscover, serve, states  # noqa: F401
from coevo.app.commands.start import environments, loop, references  # noqa: F401
from coevo.app.commands.study import looking, stability, transport  # noqa: F401
from coevo.app.interruption import EXIT_CODE, end_at_once, handle_interrupts, what_to_do
from coevo.app.terminal import app, err, out, say
from coevo.errors import CoevoError, ConfigError, ModelError
from coevo.output.plain_text import plain_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

_ClickException: Any = typer.BadParameter.__mro__[2]
"""Of the click that this typer comes with, which may be its own copy."""


def _version(show: bool) -> None:
    if show:
        out.print(f"coevo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,  # noqa: ARG001
) -> None:
    """Hold the options that come before a command."""
    # A cell whose symmetry is not found is a result (space group None); spglib's own line about it would tear the progress bars.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit code 2."""
    _keep_words_plain()
    handle_interrupts()
    try:
        # Not standalone: typer would print errors by markup, and end at an interrupt without a word.
        code = app(prog_name="coevo", standalone_mode=False)
        sys.stdout.flush()
    except _ClickException as error:
        _say_usage(error)
        sys.exit(error.exit_code)
    except CoevoError as error:
        # these two list problems and lines of logs, one a line; in others an end of a line belongs to a quoted text
        _say_error(str(error).split("\n") if isinstance(error, (ConfigError, ModelError)) else [str(error)])
        sys.exit(2)
    except BrokenPipeError:
        # The reader went away (head, less): not an error, and nothing more can be said on this pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except typer.Abort:
        say("aborted; nothing was changed")
        sys.exit(1)
    except KeyboardInterrupt:
        code = EXIT_CODE
    except Exception as error:  # noqa: BLE001  (a fault of coevo, or of what it calls: all that is known of it, in plain words)
        if _ended_the_import_of_jobflow(error):
            _say_error([_of_jobflow_settings(error)])
            sys.exit(2)
        sys.stderr.write(plain_lines(traceback.format_exc()))
        sys.exit(1)
    if code == EXIT_CODE:
        end_at_once()
        arguments = sys.argv[1:]
        say(what_to_do(next((word for word in arguments if not word.startswith("-")), None), arguments))
    sys.exit(code if isinstance(code, int) else 0)


def _ended_the_import_of_jobflow(error: Exception) -> bool:
    """Jobflow reads its settings where it is imported, which commands that run or plan jobs do."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    imported = any((frame.f_globals.get("__name__"), frame.f_code.co_name) == ("jobflow", "<module>") for frame in frames)
    return imported and not isinstance(error, ImportError)


def _of_jobflow_settings(error: Exception) -> str:
    from pydantic import ValidationError

    file = os.environ.get("JOBFLOW_CONFIG_FILE") or "~/.jobflow.yaml"
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, ValidationError):  # whose text holds what was given, passwords among it
        problems = error.errors(include_url=False, include_input=False)
        told = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
    return (
        f"jobflow's settings ({file}, or JOBFLOW_… variables) cannot be read: {' '.join(told.split())[:300]}; mend them, or name "
        "another file by JOBFLOW_CONFIG_FILE"
    )


def _say_error(lines: Sequence[str]) -> None:
    """Print an error of one line, or of several."""
    for number, line in enumerate(lines):
        err.print(line if number else f"coevo: {line}", style="red", soft_wrap=True)


def _say_usage(error: Any) -> None:
    """Print how a command is called, and what is wrong with the present call."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return
    _say_error([error.format_message()])
    if context is not None:
        usage = " ".join(context.get_usage().split())
        say(f"{usage}; help: {context.command_path} {context.help_option_names[-1]}")


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


_as_python_writes_it = warnings.formatwarning


def _format_warning(*parts: Any, **more: Any) -> str:
    return plain_lines(_as_python_writes_it(*parts, **more))


def _keep_words_plain() -> None:
    """What Python and libraries print past our consoles: warnings, records of loggers, and letters that the terminal has not."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PlainFormatter())
    warnings.formatwarning = _format_warning  # type: ignore[assignment]


if __name__ == "__main__":
    main()
