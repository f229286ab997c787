"""What the commands of all kinds of studies do with their settings: choose phases, then plan, run here, or submit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.app.commands.study.looking import print_study
from coevo.app.terminal import err, print_json, print_lines, say
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from coevo.campaigns.study_phases import StudyPhases
    from coevo.configs.section import Section
    from coevo.flows.studies.inputs import StudyEstimate
    from coevo.node_store.study_documents import StoredStudy
    from coevo.node_store.views import StateView
    from coevo.slurm.submission import Manager

MOST_SHOWN = 8
"""Phases that are named before a study begins."""


def study_command(
    kind: str,
    ref: str,
    settings: Section,
    *,
    where: str | None,
    formula: str | None,
    references: bool,
    limit: int,
    plan: bool,
    submit: bool = False,
    site: str | None = None,
    manager: Manager = "fireworks",
    format: str,  # noqa: A002
) -> StoredStudy | None:
    """Run the command of a kind of study and return the study; None of a plan and of one submitted.

    Parameters
    ----------
    kind : str
        Name of the study.
    ref : str
        The state.
    settings : Section
        Of the class that the kind names.
    where, formula, references, limit
        As :func:`coevo.campaigns.study_phases.choose_phases` takes them.
    plan : bool
        Only say what it would cost.
    submit : bool
        Add it to the queue of a site instead.
    site : str or None
        File of the site.
    manager : {"fireworks", "jobflow-remote"}
        What runs its jobs there.
    format : {"table", "json", "csv"}
    """
    if submit and not plan:
        from coevo.campaigns.on_site import opened_queue
        from coevo.campaigns.study import submit_study

        with opened_queue(site, manager) as (store, queue):
            view = store.state(ref)
            phases = _chosen(kind, view, where, formula, references, limit)
            name, added = submit_study(store, queue, view, kind, settings, phases)
            words = queue.next_step(view.node) if added else queue.watching(view.node)
        if format == "json":
            print_json({"node": view.node, "state": view.id, "study": kind, "workflow": name, "added": added})
        else:
            say(f"submitted as {name}; next: {words}" if added else f"{name} is in {queue.place} already; {words}")
        return None
    from coevo.app.progress_bars import ProgressBars
    from coevo.campaigns.study import plan_study, run_study
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to

    store = current_store()
    view = store.state(ref)
    phases = _chosen(kind, view, where, formula, references, limit)
    if plan:
        _print_plan(plan_study(view, kind, settings, phases), format)
        return None
    with ProgressBars(err) as bars, reporting_to(bars):
        found = run_study(store, view, kind, settings, phases)
    print_study(found, format)
    if format == "table":
        say(f"kept beside the state: coevo study show {ref} {found.id[:10]}")
    return found


def _chosen(kind: str, view: StateView, where: str | None, formula: str | None, references: bool, limit: int) -> StudyPhases:
    """Choose the phases of a study and say which."""
    from coevo.campaigns.study_phases import choose_phases

    phases = choose_phases(view, where, formula=formula, references=references, limit=limit)
    named = ", ".join(f"{phase['formula']} {phase['id'][:8]}" for phase in phases.phases[:MOST_SHOWN])
    more = len(phases.phases) - MOST_SHOWN
    left_out = f"; --limit leaves {phases.left_out} out" if phases.left_out else ""
    say(f"{kind} of {counted(len(phases.phases), 'phases')}: {named}{f' and {more} more' if more > 0 else ''}{left_out}")
    return phases


def _print_plan(estimate: StudyEstimate, format: str) -> None:  # noqa: A002
    if format == "json":
        print_json({"jobs": estimate.jobs, "cpu_seconds": estimate.cpu_seconds, "lines": list(estimate.lines)})
        return
    time = "unknown" if estimate.cpu_seconds is None else duration(estimate.cpu_seconds)
    print_lines([f"{counted(estimate.jobs, 'jobs')}, CPU time {time}", *estimate.lines])


def duration(seconds: float) -> str:
    """Return a time of computing in words: ``40 s``, ``12 min``, ``5.5 h``."""
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
