"""The ``coevo`` command."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

# Each module adds its commands to the application, in the order of the help text.
from coevo import __version__
from coevo.app import (  # noqa: F401
    analyse_commands,
    bundle_commands,
    cluster_commands,
    environment_commands,
    label_commands,
    lineage_commands,
    loop_commands,
    merge_commands,
    motif_commands,
    query_commands,
    rediscover_commands,
    report_commands,
    site_commands,
    upkeep_commands,
)
from coevo.app.terminal import app, err, out
from coevo.errors import CoevoError


def _version(show: bool) -> None:
    if show:
        out.print(f"coevo {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,  # noqa: ARG001
) -> None:
    """Hold the options that come before a command."""
    # The numbers of a job must not depend on how many threads a library likes to start (docs/architecture.md, determinism).
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A cell whose symmetry is not found is a result (space group None); spglib's own line about it would tear the progress bars.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit code 2."""
    try:
        app()
    except CoevoError as error:
        err.print(f"coevo: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader went away (head, less): not an error, and nothing more can be said on this pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        err.print("interrupted; run the same command again to go on where it stopped", highlight=False)
        sys.exit(130)


if __name__ == "__main__":
    main()
