"""Commands of a cluster: ``submit``, ``launch``, ``jobs``, ``logs``, ``rerun``, ``cancel``, ``pause``, ``resume``."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import typer

from coevo.app.terminal import Format, NodeName, SiteFile, app, err, out, print_json, print_log, say
from coevo.errors import CampaignError, CoevoError
from coevo.output.plain_text import counted

Branch = Annotated[str, typer.Option(help="branch of the campaign")]


@app.command()
def submit(
    node: Annotated[str, typer.Argument(help="a node, or a preset or YAML file of a new one", metavar="NODE|CONFIG")],
    iterations: Annotated[int, typer.Option("-n", "--iterations", min=1, max=1000, help="state transitions to make")] = 1,
    branch: Branch = "main",
    seed: Annotated[
        int | None, typer.Option(help="seed of the branch from here on; 0: the node's own (default: as before)", metavar="N")
    ] = None,
    manager: Annotated[Literal["fireworks", "jobflow-remote"], typer.Option(help="what runs the jobs")] = "fireworks",
    plan: Annotated[bool, typer.Option("--plan", help="print jobs, resources, expected hours and disk, and do nothing")] = False,
    site: SiteFile = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Submit a campaign to a site, one workflow for each transition: to FireWorks' launchpad, or to jobflow-remote."""
    if plan:
        from coevo.app.plan_output import print_site_plan
        from coevo.configs.site_loading import load_site_to_plan

        loaded, lacking = load_site_to_plan(site)
        print_site_plan(loaded, node, branch, iterations, format, lacking)
        return
    from coevo.campaigns.on_site import opened_queue
    from coevo.campaigns.on_site import submit as submit_campaign
    from coevo.slurm.submission import describe_submission

    with opened_queue(site, manager) as (store, queue):
        campaign, submission = submit_campaign(store, queue, node, branch, iterations, say, seed=seed)
    if format == "json":
        print_json(describe_submission(submission, campaign))
        return
    where = f"{campaign.node}@{campaign.branch}"
    if submission.verdict != "continue":
        say(f"the campaign of {where} has ended: {submission.verdict} at iteration {submission.iteration}")
    elif submission.added:
        say(
            f"submitted iteration {submission.iteration} of {where}, campaign {campaign.id} of "
            f"{counted(campaign.iterations, 'transitions')}"
        )
        say(f"next: {queue.next_step(campaign.node)}")
    else:
        say(f"iteration {submission.iteration} of {where} is in {queue.place} already; {queue.watching(campaign.node)}")


@app.command()
def launch(
    classes: Annotated[list[str] | None, typer.Option("--class", help="gpu, screen, label or small; may be repeated")] = None,
    max_in_queue: Annotated[int | None, typer.Option(min=1, help="jobs of a class in the queue, instead of the site's")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="go on until no job is left")] = False,
    rerun_lost: Annotated[bool, typer.Option("--rerun-lost", help="with --loop: run lost jobs again")] = False,
    every: Annotated[float, typer.Option(min=0.5, max=86_400, help="with --loop: seconds between rounds")] = 30.0,
    site: SiteFile = None,
) -> None:
    """Send ready jobs to the queue (without a queue: run them here); nothing else runs on this machine."""
    from coevo.campaigns.on_site import class_names, opened_site, round_line
    from coevo.slurm.launching import Launcher

    with opened_site(site) as opened:
        launcher = Launcher(opened.loaded, classes=class_names(classes), max_in_queue=max_in_queue)
        is_local = opened.loaded.site.queue == "none"
        if not loop and not is_local:
            say(round_line(launcher.launch()) or "no job is ready that has room in the queue")
            return
    _launch_until_done(opened, launcher, every=1.0 if is_local and not loop else every, rerun_lost=rerun_lost, stay=loop)


def _launch_until_done(opened: Any, launcher: Any, *, every: float, rerun_lost: bool, stay: bool) -> None:
    """Launch round after round; a server or queue that does not answer is waited for."""
    from coevo.campaigns.on_site import round_line
    from coevo.node_store.mongodb.connection import MongoConnection

    connection, told = MongoConnection(opened.loaded.site.launchpad_server.uri), ""
    stuck = 0
    while True:
        try:
            with connection.errors("asking the launchpad"):
                if rerun_lost:
                    _rerun_lost(opened)
                done = launcher.launch()
                unfinished = launcher.unfinished()
                was_stuck, stuck = stuck, launcher.stuck()
        except CoevoError as error:
            if not stay:
                raise
            if str(error) != told:
                say(f"{time.strftime('%H:%M:%S')} {error}; trying again every {every:g} s")
            told = str(error)
            time.sleep(every)
            continue
        told = told if stuck else ""
        line = round_line(done)
        if line:
            say(f"{time.strftime('%H:%M:%S')} {line}")
        if not unfinished:
            say("no job is left to run; coevo jobs NODE shows what was run")
            return
        # in two rounds, because children become ready a moment after the end of their parents
        if stuck and was_stuck:
            blocked = f"{stuck} jobs wait for jobs that have failed: coevo jobs NODE, then coevo rerun NODE"
            if not stay:
                raise CampaignError(blocked)
            if blocked != told:
                say(f"{time.strftime('%H:%M:%S')} {blocked}")
            told = blocked
        launcher.wait(every)


def _rerun_lost(opened: Any) -> None:
    from coevo.campaigns.on_site import rows_of
    from coevo.slurm.rerunning import rerun_jobs

    for node in opened.store.nodes():
        lost = [row for row in rows_of(opened, node) if row.state == "lost"]
        for decided in rerun_jobs(opened.launchpad, opened.loaded.site, lost):
            if decided.done:
                say(f"{time.strftime('%H:%M:%S')} run again: {decided.row.name} ({decided.reason})")


@app.command()
def jobs(
    node: NodeName,
    every_job: Annotated[bool, typer.Option("--all", help="each job, and those of earlier campaigns")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="go on showing them, until all have ended")] = False,
    every: Annotated[float, typer.Option(min=0.5, max=86_400, help="with --watch: seconds between looks")] = 5.0,
    branch: Branch = "main",
    site: SiteFile = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Show the jobs of a node by iteration and step: waiting, ready, queued, running, completed, fizzled, lost."""
    from coevo.app.tables.jobs import jobs_view, watched_view
    from coevo.campaigns.on_site import opened_site, rows_of, shown_rows

    with opened_site(site) as opened:

        def look() -> list[Any]:
            return rows_of(opened, node) if every_job else shown_rows(opened, node, branch)

        rows = look()
        if format == "json":
            print_json([row.as_json() for row in rows])
            return
        if not rows:
            where = "" if branch == "main" else f" --branch {branch}"
            say(f"no job of {node} in the launchpad; submit some: coevo submit {node}{where} -n 1")
            return
        if not watch:
            out.print(jobs_view(rows, each=every_job))
            return
        from rich.live import Live

        with Live(watched_view(rows), console=out, auto_refresh=False) as live:
            while any(row.state in {"waiting", "ready", "queued", "running"} for row in rows):
                time.sleep(every)
                rows = look()
                live.update(watched_view(rows), refresh=True)
            live.update(jobs_view(rows, each=every_job), refresh=True)


@app.command()
def logs(
    job: Annotated[str, typer.Argument(help="id or name of a job, as `coevo jobs` lists it", metavar="JOB")],
    node: Annotated[str | None, typer.Option(help="its node, if the name does not begin with it")] = None,
    site: SiteFile = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Print what a job wrote to standard error and standard output, wherever it ran."""
    from coevo.campaigns.on_site import opened_site, rows_of
    from coevo.slurm.worker_files import find_job, logs_of

    with opened_site(site) as opened:
        names = [node] if node else [name for name in opened.store.nodes() if job.isdigit() or job.startswith(f"{name}/")]
        row = find_job([row for name in names or opened.store.nodes() for row in rows_of(opened, name)], job)
    found = logs_of(row)
    if format == "json":
        print_json({"job": row.as_json(), "logs": [{"path": str(log.path), "size": log.size, "text": log.text} for log in found]})
        return
    say(f"{row.name} ({row.fw_id}), {row.state}, in {row.directory}")
    if not found:
        say("it printed nothing")
    for log in found:
        err.rule(log.path.name)
        print_log(log.text)


@app.command()
def rerun(
    node: NodeName,
    fizzled: Annotated[bool, typer.Option("--fizzled", help="only jobs that failed")] = False,
    lost: Annotated[bool, typer.Option("--lost", help="only jobs that nothing runs any more")] = False,
    job: Annotated[str | None, typer.Option(help="only this one (id or name), however often it was run already")] = None,
    step: Annotated[str | None, typer.Option(help="only jobs of this step, e.g. label")] = None,
    site: SiteFile = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Run failed and lost jobs again; what was computed is found by its key and not computed twice."""
    from coevo.campaigns.on_site import chosen, opened_site, rows_of
    from coevo.slurm.rerunning import rerun_jobs
    from coevo.slurm.worker_files import find_job

    with opened_site(site) as opened:
        rows = rows_of(opened, node)
        if job is not None:
            row = find_job(rows, job)
            if row.state not in {"fizzled", "lost"}:
                raise CampaignError(f"{row.name} is {row.state}, allowed: a fizzled or lost job")
            rows = [row]
        else:
            rows = chosen(rows, fizzled=fizzled, lost=lost, step=step)
        decisions = rerun_jobs(opened.launchpad, opened.loaded.site, rows, beyond_limit=job is not None)
    if format == "json":
        print_json([{"job": d.row.as_json(), "done": d.done, "reason": d.reason, "walltime": d.walltime} for d in decisions])
    elif not decisions:
        say("nothing to run again: no such job is fizzled or lost")
    else:
        for decision in decisions:
            walltime = f", now with {decision.walltime}" if decision.walltime else ""
            say(f"{'ready again' if decision.done else 'left'}: {decision.row.name}{walltime} ({decision.reason})")
    if any(not decision.done for decision in decisions):
        raise typer.Exit(1)


@app.command()
def cancel(
    node: NodeName,
    branch: Branch = "main",
    studies: Annotated[bool, typer.Option("--studies", help="instead: end the unfinished studies of the node")] = False,
    site: SiteFile = None,
) -> None:
    """End a node's campaign: jobs that wait are put out, those in the queue are cancelled; what is committed stays."""
    from coevo.campaigns.on_site import cancel_studies, opened_site, packed_classes, rows_of
    from coevo.slurm.rerunning import cancel_campaign

    with opened_site(site) as opened:
        if studies:
            names, ended = cancel_studies(opened, node)
            say(
                f"cancelled {counted(len(names), 'studies')} of {node}, {counted(ended, 'jobs')}; what was computed is used again"
            )
            return
        rows = rows_of(opened, node)
        campaign = opened.store.unfinished_campaign(node, branch)
        if campaign is None:
            raise CampaignError(f"{node}@{branch} has no unfinished campaign; nothing to cancel")
        mine = [row for row in rows if row.campaign == campaign.id]
        ended = cancel_campaign(opened.store, opened.launchpad, campaign.id, mine, packed=packed_classes(opened))
    say(
        f"cancelled campaign {campaign.id} of {node}@{branch}, {counted(ended, 'jobs')}; what was computed is used when you "
        "submit again"
    )


@app.command()
def pause(node: NodeName, site: SiteFile = None) -> None:
    """Hold the jobs of a node that have not begun; those in the queue and running go on."""
    from coevo.campaigns.on_site import opened_site, rows_of
    from coevo.slurm.rerunning import pause_jobs

    with opened_site(site) as opened:
        held = pause_jobs(opened.launchpad, rows_of(opened, node))
    say(f"{counted(held, 'jobs')} of {node} are paused; go on: coevo resume {node}")


@app.command()
def resume(node: NodeName, site: SiteFile = None) -> None:
    """Let the paused jobs of a node go on."""
    from coevo.campaigns.on_site import opened_site, rows_of
    from coevo.slurm.rerunning import resume_jobs

    with opened_site(site) as opened:
        freed = resume_jobs(opened.launchpad, rows_of(opened, node))
    say(f"{counted(freed, 'jobs')} of {node} go on" + ("; coevo launch --loop" if freed else ""))
