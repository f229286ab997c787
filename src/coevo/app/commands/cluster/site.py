"""Commands of the site's file: ``site init``, ``site show``, ``site check``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from coevo.app.help_groups import LiteralGroup
from coevo.app.terminal import Format, app, print_json, print_lines, say
from coevo.errors import ConfigError
from coevo.output.files import write_text

_File = Annotated[str | None, typer.Argument(help="file of the site (default: COEVO_SITE, else ./site.yaml)", metavar="FILE")]

site = typer.Typer(
    help="Write, show and check the file that describes a cluster or workstation.", no_args_is_help=True, cls=LiteralGroup
)
app.add_typer(site, name="site")


@site.command()
def init(
    like: Annotated[str, typer.Option(help="example to start from: gpu-slurm, workstation or local-cluster")] = "gpu-slurm",
    output: Annotated[str, typer.Option("--output", "-o", help="file to write; never overwritten")] = "site.yaml",
) -> None:
    """Write a commented example of a site's file."""
    from coevo.configs.site_loading import example_text

    text = example_text(like)
    path = Path(output)
    if os.path.lexists(path):
        raise ConfigError(f"{path}: exists already and is not overwritten; give another --output, or move it away")
    write_text(path, text)
    say(f"wrote {path}; change what is marked CHANGE, then: coevo doctor --site {path}")


@site.command()
def show(file: _File = None, format: Format = "table") -> None:  # noqa: A002
    """Print the site as it is used: defaults filled in, variables expanded, passwords masked."""
    from coevo.configs.site_loading import load_site, resolved
    from coevo.configs.yaml_tree import write_value

    data = resolved(load_site(file))
    if format == "json":
        print_json(data)
    else:
        print_lines(_lines(data, "", write_value))


def _lines(data: dict[str, Any], indent: str, write: Any) -> list[str]:
    lines = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ", write)]
        elif value not in (None, [], {}, ""):
            lines.append(f"{indent}{key}: {write(value)}")
    return lines


@site.command()
def check(file: _File = None) -> None:
    """Check the file and the job scripts made from it; `coevo doctor --site FILE` also asks database, store and SLURM."""
    from coevo.configs.site_loading import load_site
    from coevo.configs.step_classes import CLASS_NAMES
    from coevo.slurm.site_check import check_script

    loaded = load_site(file)
    for name in CLASS_NAMES:
        problem = check_script(loaded, name)
        if problem is not None:
            raise ConfigError(f"{loaded.source}: {problem.what}: {problem.found}; {problem.hint}")
    say(f"{loaded.source} is valid: site {loaded.site.site}, queue {loaded.site.queue}, digest {loaded.digest}")
