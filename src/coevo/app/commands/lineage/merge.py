"""Commands that bring states together: ``merge`` and ``extend``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from coevo.app.terminal import Format, Reference, app, err, out, print_json, say
from coevo.errors import ConfigError


@app.command()
def merge(
    left: Reference,
    right: Reference,
    into: Annotated[
        str, typer.Option(help="node, or node@branch, that gets the merge; a new node is created", metavar="NODE[@BRANCH]")
    ],
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="fit the force field on the labels of both, or evaluate by one of the two")
    ] = True,
    force_field: Annotated[
        Literal["left", "right"],
        typer.Option(help="whose force field and generator the merge starts from", case_sensitive=False),
    ] = "left",
    format: Format = "table",  # noqa: A002
) -> None:
    """Merge two states of the same or of overlapping chemical systems."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.campaigns.merging import Target
    from coevo.campaigns.merging import merge as merge_states
    from coevo.makers.progress import reporting_to
    from coevo.makers.step import current_store
    from coevo.node_store.names import parse_reference

    store = current_store()
    where = parse_reference(into)
    if where.back:
        raise ConfigError(f"--into {into}: a merge moves a branch; write NODE or NODE@BRANCH")
    target = Target(where.node, where.name)
    views = store.state(left), store.state(right)
    with ProgressBars(err) as bars, reporting_to(bars):
        view, outcome = merge_states(store, *views, target, train=train, start=force_field)
    said = {
        "merged": f"{target} is at the merge {view.id[:12]}",
        "fast-forward": f"one state descends from the other: {target} was moved to {view.id[:12]} (fast-forward)",
        "nothing to do": f"{target} holds both states already, at {view.id[:12]}; nothing to do",
    }
    _report(view, outcome, said[outcome], format)


@app.command()
def extend(
    ref: Reference,
    elements: Annotated[str, typer.Option(help="elements to add, e.g. Cl, or Cl,Br, or Cl-Br")],
    name: Annotated[str, typer.Option("--as", help="name of the new node", metavar="NODE")],
    references: Annotated[
        str,
        typer.Option(
            help="known structures with the new elements: a bundled set, or a CIF, POSCAR, extxyz or JSON file; or "
            "several, joined by +"
        ),
    ],
    format: Format = "table",  # noqa: A002
) -> None:
    """Start a node of more elements from a state, which stays whole as a sub-system."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.campaigns.merging import extend as extend_state
    from coevo.configs.element_lists import elements_of
    from coevo.configs.references import resolved_references
    from coevo.makers.progress import reporting_to
    from coevo.makers.step import current_store

    store = current_store()
    symbols = elements_of(elements, "--elements")
    spec = resolved_references(references)
    with ProgressBars(err) as bars, reporting_to(bars):
        view, outcome = extend_state(store, store.state(ref), symbols, name, spec)
    said = {
        "extended": f"node {name} starts at {view.id[:12]}; next: coevo run {name} -n 1",
        "nothing to do": f"node {name} is there already, at {view.id[:12]}; nothing to do",
    }
    _report(view, outcome, said[outcome], format)


def _report(view: Any, outcome: str, said: str, format: str) -> None:  # noqa: A002
    from coevo.app.tables.states import iteration_table
    from coevo.studies.states.summaries import summary

    if format == "json":
        print_json({"outcome": outcome, **summary(view)})
        return
    if outcome in {"merged", "extended"}:
        out.print(iteration_table(view))
    say(said)
