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
            help="a preset (li-p-s-demo, li-p-s-offline, li-p-s, li-p-s-adit, li-p-s-chemeleon-dng, li-p-s-diffcsp, "
            "li-p-s-uni3dar, li-p-s-sevennet, li-s-qe) or a YAML file; with --from-state the name of the new node",
            metavar="CONFIG|NEW",
        ),
    ] = None,
    elements: Annotated[str | None, typer.Option(help="instead of CONFIG: elements, e.g. Na,Cl or Na-Cl")] = None,
    references: Annotated[
        str | None,
        typer.Option(
            help="with --elements: known structures, a bundled set (li-p-s), a CIF, POSCAR, extxyz or JSON file, or a database "
            "(mp, oqmd, alexandria, optimade:URL), which is fetched into a file here; or several, joined by +; default: "
            "elements, the bundled set of one crystal of each element",
            metavar="SET|FILE|DATABASE",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="name of the node (default: that of CONFIG; with --elements: na-cl)")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="the same as CONFIG; with --elements: whose sizes and thresholds are taken (default: li-p-s-demo)",
            metavar="PRESET|FILE",
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="a value in place of the one of CONFIG, e.g. screening.fmax=0.05; the option can be repeated",
            metavar="KEY=VALUE",
        ),
    ] = None,
    from_state: Annotated[
        str | None,
        typer.Option(
            "--from-state",
            help="instead of CONFIG: start node NEW with the structures, references and labels of a state, evaluated anew, e.g. "
            "by another force field (--set screening.force_field.family=…)",
            metavar="REF",
        ),
    ] = None,
) -> None:
    """Create a node and its first state: its references, evaluated by the published force field; or what another state has."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.tables.states import iteration_table
    from coevo.campaigns.running import initialise
    from coevo.campaigns.starting import start_from
    from coevo.configs.overrides import read_overrides
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to

    overrides = read_overrides(values or [])
    if from_state is not None:
        node = _new_name(config, name, {"--elements": elements, "--references": references, "--like": like})
        store = current_store()
        with ProgressBars(err) as bars, reporting_to(bars):
            state = start_from(store, from_state, node, overrides, say)
        already = f"node {node} exists already, started from this state with this configuration; nothing to do"
    else:
        loaded = _configuration(config, like, elements, references, name, overrides)
        store = current_store()
        node = loaded.config.node.name
        with ProgressBars(err) as bars, reporting_to(bars):
            state = initialise(store, loaded, base=loaded.base, say=say)
        already = f"node {node} exists already with this configuration; nothing to do"
    if state is None:
        say(already)
    else:
        out.print(iteration_table(store.state(f"{node}@{state}")))
        say(f"next: {run_command(node, iterations=2)}")


def _new_name(config: str | None, name: str | None, others: dict[str, str | None]) -> str:
    """Name of the node that is started from a state."""
    unused = [option for option, value in others.items() if value is not None]
    if unused:
        raise ConfigError(
            f"init --from-state: {unused[0]} does not go with it; the configuration is that of the state, with --set for what is "
            "to be another, e.g. --set node.elements=Li-P-S-Cl --set node.references=FILE"
        )
    if (config is None) == (name is None):
        raise ConfigError(
            "init --from-state: give the name of the new node, once: coevo init NEW --from-state REF --set KEY=VALUE"
        )
    return str(config if name is None else name)


def _configuration(
    config: str | None, like: str | None, elements: str | None, references: str | None, name: str | None, overrides: list[Any]
) -> Any:
    """Configuration of a new node: of a preset or file, or for elements, with values of the command line."""
    from coevo.configs.overrides import Override, load_with, with_values

    what = like if config is None else config
    if (config is not None and (like is not None or elements is not None)) or (what is None and elements is None):
        raise ConfigError(
            "init: give either CONFIG (a preset or a YAML file; --like is the same) or --elements with --references"
        )
    if elements is not None:
        return with_values(_config_for(elements, references, name, like or "li-p-s-demo"), overrides, say)
    if references is not None:
        raise ConfigError("init: --references goes with --elements; for CONFIG say --set node.references=SET|FILE")
    named = [] if name is None else [Override(("node", "name"), name, "--name")]
    return load_with(str(what), [*overrides, *named], say)


def _config_for(elements: str, references: str | None, name: str | None, like: str) -> Any:
    from coevo.app.commands.start.references import with_files_of_databases
    from coevo.configs.element_lists import elements_of
    from coevo.configs.overrides import config_for_elements
    from coevo.configs.references import ELEMENTS_SET, bundled_sets, resolved_references

    symbols = elements_of(elements, "--elements")
    if references is None:
        say(
            f"references: the bundled set {ELEMENTS_SET}, one crystal of each element; the hull has no compounds until the node "
            "finds some, so E_hull is the formation energy, where that is above 0, and every compound counts as novel; to give "
            f"known compounds: --references FILE+{ELEMENTS_SET}"
        )
        references = ELEMENTS_SET
    if not references.strip():
        raise ConfigError(
            f"init --elements: --references is empty; give a bundled set ({', '.join(bundled_sets())}), a CIF, POSCAR, extxyz or "
            "JSON file with known structures, each element among them (geometry suffices), or a database (mp, oqmd, alexandria, "
            "optimade:URL); or several, joined by +"
        )
    files = with_files_of_databases(references, symbols)
    return config_for_elements(symbols, resolved_references(files), name=name, like=like)


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
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to

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
