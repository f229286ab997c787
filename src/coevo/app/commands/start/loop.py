"""Commands of the loop: ``doctor``, ``init``, ``run``, ``status``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from coevo.app.terminal import Format, NodeName, app, err, node_names, out, print_json, say
from coevo.errors import ConfigError, CorruptArtifactError
from coevo.studies.states.summaries import run_command


@app.command()
def doctor(
    site: Annotated[
        str | None,
        typer.Option("--site", help="try a site instead: its servers, directory and classes", metavar="FILE"),
    ] = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Say what this machine has: database, force field, GPU, pw.x, VASP, SLURM; with a hint for each thing missing."""
    from coevo.app.doctor import as_json, examine, examine_site_file, findings_table

    findings = examine_site_file(site) if site else examine()
    if format == "json":
        print_json(as_json(findings))
    else:
        out.print(findings_table(findings))
    if any(finding.condition == "problem" for finding in findings):
        raise typer.Exit(1)


@app.command()
def init(
    config: Annotated[
        str | None,
        typer.Argument(
            help="a preset (li-p-s-demo, li-p-s-offline, li-p-s, li-p-s-sevennet, li-s-qe) or a YAML file", metavar="CONFIG"
        ),
    ] = None,
    elements: Annotated[str | None, typer.Option(help="instead of CONFIG: elements, e.g. Na,Cl or Na-Cl")] = None,
    references: Annotated[
        str | None,
        typer.Option(
            help="with --elements: known structures, a bundled set (li-p-s) or a CIF, POSCAR, extxyz or JSON file; or several, "
            "joined by +",
            metavar="SET|FILE",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="with --elements: name of the node (default: na-cl)")] = None,
    like: Annotated[str, typer.Option(help="with --elements: preset whose sizes and thresholds are taken")] = "li-p-s-demo",
) -> None:
    """Create a node and its first state: its references, evaluated by the published force field."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.tables.states import iteration_table
    from coevo.campaigns.running import initialise
    from coevo.configs.loading import load_config
    from coevo.makers.progress import reporting_to
    from coevo.node_store.current import current_store

    if (config is None) == (elements is None):
        raise ConfigError("init: give either CONFIG (a preset or a YAML file) or --elements with --references")
    loaded = load_config(config) if config else _config_for(elements or "", references, name, like)
    store = current_store()
    node = loaded.config.node.name
    with ProgressBars(err) as bars, reporting_to(bars):
        state = initialise(store, loaded, base=loaded.base, say=say)
    if state is None:
        say(f"node {node} exists already with this configuration; nothing to do")
    else:
        out.print(iteration_table(store.state(f"{node}@{state}")))
        say(f"next: {run_command(node, iterations=2)}")


def _config_for(elements: str, references: str | None, name: str | None, like: str) -> Any:
    from coevo.configs.element_lists import elements_of
    from coevo.configs.from_elements import config_for_elements
    from coevo.configs.references import bundled_sets, resolved_references

    symbols = elements_of(elements, "--elements")
    if not references:
        raise ConfigError(
            f"init --elements: --references is missing; give a bundled set ({', '.join(bundled_sets())}) or a CIF, POSCAR, "
            "extxyz or JSON file with known structures, each element among them (geometry suffices); or several, joined by +"
        )
    return config_for_elements(symbols, resolved_references(references), name=name, like=like)


@app.command()
def run(
    node: NodeName,
    iterations: Annotated[int, typer.Option("-n", "--iterations", min=1, max=1000, help="state transitions to make")] = 1,
    branch: Annotated[str, typer.Option(help="branch to continue")] = "main",
    seed: Annotated[
        int | None, typer.Option(help="seed of the branch from here on; 0: the node's own (default: as before)", metavar="N")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="print jobs, classes, expected time, GPU-hours and disk, and do nothing")
    ] = False,
    job_store: Annotated[
        bool, typer.Option("--job-store", help="keep jobflow's documents in the JOB_STORE of your jobflow settings, too")
    ] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Run a campaign of transitions in this process; an unfinished campaign is finished first, and a killed one goes on."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.tables.states import iteration_table
    from coevo.campaigns.run_log import RunLog, log_file
    from coevo.campaigns.running import run_campaign, users_job_store
    from coevo.makers.progress import reporting_to
    from coevo.node_store.current import current_store

    store = current_store()
    if plan:
        from coevo.app.plan_output import print_plan

        print_plan(store, node, branch, iterations, format)
        return
    with ProgressBars(err) as bars, reporting_to(bars):
        verdict = run_campaign(
            store,
            node,
            branch=branch,
            iterations=iterations,
            say=say,
            on_state=lambda view: bars.above(iteration_table(view), out),
            seed=seed,
            log=RunLog(log_file(store, node, branch), ["coevo", *sys.argv[1:]], say),
            job_store=users_job_store(say) if job_store else None,
        )
    head = store.state(f"{node}@{branch}")
    if verdict == "mature":
        where = node if branch == "main" else f"{node}@{branch}"
        say(f"{where} is mature at iteration {head.iteration}: {head.document['metrics']['maturity']['reason']}")
    say(f"{node}@{branch} is at {head.id[:12]}, iteration {head.iteration}; continue: {run_command(node, branch, 1)}")


@app.command()
def status(
    node: Annotated[str | None, typer.Argument(metavar="NODE", autocompletion=node_names)] = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Say where a node stands (all nodes, if none is named): head, population, signals, campaigns."""
    from coevo.app.tables.status import status_tables
    from coevo.node_store.current import current_store
    from coevo.studies.states.summaries import node_status

    store = current_store()
    rows, tables = [], []
    for name in [node] if node else store.nodes():
        try:
            row = node_status(store, name)
            shown = status_tables(store, row, whole=node is not None)
        except CorruptArtifactError as error:
            if node:
                raise
            say(str(error))  # of one node among others
            continue
        rows.append(row)
        tables.append(shown)
    if format == "json":
        print_json(rows[0] if node else rows)
    elif store.nodes():
        for row, shown in zip(rows, tables, strict=True):
            for table in shown:
                out.print(table)
            if row["head"]:
                say(f"next: {row['head']['next']}")
    else:
        say(f"no node in the database {store.place} yet; create one: coevo init li-p-s-demo; or name another by COEVO_DATABASE")
