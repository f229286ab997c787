"""Commands that exchange states between databases: ``export``, ``import``, ``trust``."""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coevo.app.terminal import Force, Format, Reference, app, err, out, print_json, say
from coevo.errors import BundleError, CheckpointError, ConfigError, NodeNotFoundError, StorageError
from coevo.output.files import check_place, is_stdout
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from coevo.node_store.bundles.importing import BranchReport, ImportReport
    from coevo.node_store.store import NodeStore

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OUTCOMES = {
    "created": "new, at {state}",
    "fast-forwarded": "moved forward to {state}",
    "unchanged": "is at {state} already",
    "ahead": "contains {state} already",
    "kept": "has diverged: the imported state {state} is branch {kept_as}",
}


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if not match:
        raise BundleError(f"--max-size {text!r} is not a size; write bytes, or for instance 500MB, 50GB, 2TB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


@app.command("export")
def export(
    ref: Reference,
    file: Annotated[Path, typer.Argument(help="the bundle to write, one file", metavar="FILE")],
    checkpoints: Annotated[
        bool,
        typer.Option("--checkpoints/--no-checkpoints", help="without them the bundle only says where they are"),
    ] = True,
    whole_node: Annotated[bool, typer.Option("--all", help="all branches of the node")] = False,
    force: Force = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Write a state with its whole history, documents and checkpoints into one file."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.node_store.bundles.export import export_bundle, heads_of
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to, task

    place = _bundle_place(file, force)
    store = current_store()
    heads = heads_of(store, ref, whole_node=whole_node)
    with ProgressBars(err) as bars, reporting_to(bars):
        report = export_bundle(store, heads, place, checkpoints=checkpoints, task=task)
    if format == "json":
        print_json({**vars(report), "path": str(report.path)})
        return
    out.print(
        _table(
            f"bundle {file}",
            [
                *((f"branch {branch}", state[:12]) for branch, state in report.heads.items()),
                ("states", str(report.states)),
                *([("studies", str(report.studies))] if report.studies else []),
                ("blobs", str(report.blobs)),
                ("checkpoints left out", str(report.omitted_checkpoints)),
                ("size", f"{report.size / 1e6:.1f} MB"),
            ],
        )
    )


def _bundle_place(file: Path, force: bool) -> Path:
    """Where the bundle is written: a bundle is a file that can be read at any place, so neither a pipe nor a device."""
    place = check_place(file, force, "export")
    if is_stdout(file) or (place.exists() and not place.is_file()):
        raise StorageError(f"export {file}: a bundle is written to a file, not to a pipe or device; give the name of a file")
    return place


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="a bundle that coevo export wrote", metavar="FILE")],
    node: Annotated[str | None, typer.Option("--as", help="name of the node; that of the bundle by default")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="trust the bundle's checkpoints, whatever their loader")] = False,
    fetch_checkpoints: Annotated[
        bool, typer.Option("--fetch-checkpoints", help="copy checkpoints that the bundle left out from the places that it names")
    ] = False,
    max_size: Annotated[
        str, typer.Option(envvar="COEVO_MAX_BUNDLE_SIZE", help="largest content, decompressed, that is accepted")
    ] = "50GB",
    format: Format = "table",  # noqa: A002
) -> None:
    """Bring the states of a bundle into this database, after everything in it has been verified."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.node_store.bundles.format import BundleLimits
    from coevo.node_store.bundles.importing import import_bundle
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to, task

    limits = BundleLimits(total=_size(max_size))
    store = current_store()
    with ProgressBars(err) as bars, reporting_to(bars):
        report = import_bundle(store, file, node=node, trust=trust, limits=limits, task=task)
        failures = _fetch(store, report, task) if fetch_checkpoints else []
    if format == "json":
        print_json(_as_json(report))
    else:
        out.print(_import_table(file, report))
        _say_untrusted(report)
    if failures:
        raise CheckpointError(f"the states of {file} are imported, but not all of their checkpoints: " + "; ".join(failures))


def _fetch(store: NodeStore, report: ImportReport, task: Any) -> list[str]:
    """Fetch what the bundle left out; return what went wrong."""
    from coevo.node_store.bundles.checkpoint_fetching import fetch_omitted

    failures = []
    with task("fetching checkpoints", len(report.omitted), "checkpoints") as advance:
        for checkpoint in report.omitted:
            try:
                fetch_omitted(store, checkpoint)
            except CheckpointError as error:
                failures.append(str(error))
            advance(1)
    marked = store.backend.untrusted()
    report.not_here = [checkpoint for checkpoint in report.not_here if not store.artifacts.has(checkpoint.sha256)]
    report.untrusted = {sha256: reason for sha256, reason in report.untrusted.items() if sha256 in marked}
    return failures


def _outcome(branch: BranchReport) -> str:
    return _OUTCOMES[branch.outcome].format(state=branch.state[:12], kept_as=branch.kept_as)


def _import_table(file: Path, report: ImportReport) -> Table:
    return _table(
        f"{file} is imported into node {report.node}{' (new)' if report.created else ''}",
        [
            *((f"branch {branch.branch}", _outcome(branch)) for branch in report.branches),
            ("states", f"{report.states} ({report.states_added} new)"),
            ("entries", str(report.entries)),
            ("references", str(report.references)),
            ("labels", str(report.labels)),
            *([("studies", f"{report.studies} ({report.studies_added} new)")] if report.studies else []),
            ("blobs", f"{report.blobs} ({report.blobs_added} new)"),
            ("untrusted checkpoints", str(len(report.untrusted))),
            ("checkpoints not loadable", str(len(report.not_loadable))),
            ("checkpoints not here", str(len(report.not_here))),
        ],
    )


def _say_untrusted(report: ImportReport) -> None:
    absent = {checkpoint.sha256 for checkpoint in report.not_here}
    for reason in report.not_loadable.values():
        say(reason)
    for sha256, reason in report.untrusted.items():
        if sha256 not in absent and sha256 not in report.not_loadable:
            say(f"untrusted checkpoint {sha256}: {reason}; it is not loaded until you say: coevo trust {sha256}")
    if report.configuration:
        keys = ", ".join(report.configuration)
        say(
            f"the configuration names things of this machine ({keys}); nothing acts on them until you have seen them and agreed: "
            f"coevo trust {report.node} --configuration"
        )
    for checkpoint in report.not_here:
        say(f"checkpoint {checkpoint.sha256} ({checkpoint.family}) is not here; the bundle says that it is at {checkpoint.uri}")
    for branch in report.branches:
        if branch.kept_as:
            both = f"{report.node}@{branch.branch} {report.node}@{branch.kept_as}"
            command = f"coevo merge {both} --into {report.node}@{branch.branch}"
            say(f"branch {branch.branch} {_outcome(branch)}; to unite them: {command}")


def _as_json(report: ImportReport) -> dict[str, Any]:
    return {
        **vars(report),
        "branches": [vars(branch) for branch in report.branches],
        "omitted": [checkpoint.model_dump() for checkpoint in report.omitted],
        "not_here": [checkpoint.model_dump() for checkpoint in report.not_here],
    }


@app.command("trust")
def trust(
    what: Annotated[str, typer.Argument(help="sha256 of a checkpoint, or REF for those of a state", metavar="SHA256|REF")],
    configuration: Annotated[
        bool,
        typer.Option("--configuration", help="instead: show what a bundle's configuration of node REF names here, and ask"),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="with --configuration: agree without being asked")] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Allow checkpoints that came in a bundle to be loaded, although their loader can run code; or agree to its configuration."""
    from coevo.node_store.current import current_store
    from coevo.node_store.trust import loading as trusting
    from coevo.node_store.trust.loading import declared_checkpoints

    store = current_store()
    if configuration:
        _trust_configuration(store, what, format, yes=yes)
        return
    if yes:
        raise ConfigError("trust: --yes goes with --configuration; checkpoints that are named are trusted without a question")
    marked = store.backend.untrusted()
    uses = {}
    if _SHA256.fullmatch(what):
        names = {what}
        if what not in marked and not store.artifacts.has(what):
            raise CheckpointError(
                f"{what} is neither an untrusted checkpoint nor an artifact here; `coevo show REF` names those of a state"
            )
    else:
        uses = declared_checkpoints([store.state(what).document])
        names = {sha256 for sha256, declared in uses.items() if any(_asks(use, role) for role, use in declared)}
    trusted = trusting.trust(store, names)
    if format == "json":
        print_json({"trusted": {sha256: marked[sha256] for sha256 in trusted}})
    for sha256 in trusted:
        say(f"checkpoint {sha256} is trusted now ({marked[sha256]})")
        for role, use in uses.get(sha256, []):
            if trusting.condition(store, use, role) == "not loadable":
                say(f"it still cannot be loaded here: nothing here reads {use['family']} of format {use['format']} as {role}")
    if not trusted:
        say(f"{what}: nothing to do, no checkpoint of it was untrusted")


def _trust_configuration(store: NodeStore, node: str, format: str, *, yes: bool) -> None:  # noqa: A002
    """Show what the configurations that came in bundles name, ask, and remember the agreement to exactly that."""
    from coevo.configs.describing import what_it_does
    from coevo.node_store.trust.arrivals import agree, live_values, shown_value, unagreed

    if node not in store.nodes():
        known = ", ".join(store.nodes()) or "none"
        raise NodeNotFoundError(f"trust --configuration: there is no node {node!r}; nodes of this database: {known}")
    waiting = unagreed(store, node)
    live = live_values(store, node)
    for record in waiting.values():
        key, value = str(record["key"]), record["value"]
        where = "" if live.get(key) == value else ", in the configuration of a state"
        say(f"{key}: {shown_value(value, longest=None)}")
        say(f"    {what_it_does(key)}{where}; {shown_value(record['origin'])}")
    if waiting and not yes and not _agrees():
        raise ConfigError(f"nothing was changed: nothing acts on these values of {node} before you agree (--yes in a script)")
    agree(store, node, waiting)
    if format == "json":
        print_json({"agreed": [{"key": record["key"], "value": record["value"]} for record in waiting.values()]})
    if waiting:
        say(f"{node}: agreed to {counted(len(waiting), 'values')}")
    else:
        say(f"{node}: nothing to do, no value of its configuration waits for your agreement")


def _agrees() -> bool:
    try:
        return typer.confirm("Do you agree that coevo acts on these values on this machine?", err=True)
    except typer.Abort:  # nobody is there to answer
        return False


def _asks(checkpoint: dict[str, Any], role: str) -> bool:
    """Whether a loader would ask for trust in a checkpoint, or may one day, when its family is installed."""
    from coevo.node_store.trust.loading import loader_for

    try:
        return loader_for(checkpoint, role).runs_code
    except CheckpointError:
        return True


def _table(title: str, rows: list[tuple[str, str]]) -> Table:
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column("what", style="bold")
    table.add_column("value", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
