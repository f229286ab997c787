"""Commands on the lineage of states: ``branch``, ``diff``, ``merge``, ``extend``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from coevo.app.terminal import Format, Reference, app, err, out, print_json, say
from coevo.errors import ConfigError


@app.command()
def branch(
    ref: Annotated[str, typer.Argument(help="state of the new branch; NODE alone lists; NODE@NAME with --delete", metavar="REF")],
    name: Annotated[str | None, typer.Argument(help="name of the new branch", metavar="NAME")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="of the new branch; 0: the node's own, as main has it (default: derived from NAME)", metavar="N"),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", "-d", help="remove the branch REF; its state stays for a while")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="with --delete: also if no other branch holds its states, which are then lost in time")
    ] = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Give a state a branch (REF NAME), list the branches of a node (NODE), or remove one (NODE@NAME --delete)."""
    from coevo.node_store.current import current_store
    from coevo.node_store.names import MAIN
    from coevo.node_store.seeds import seed_of_name

    store = current_store()
    if seed is not None and (delete or name is None):
        raise ConfigError("branch --seed: it is for a new branch: coevo branch REF NAME --seed N (or coevo run NODE --seed N)")
    if force and not delete:
        raise ConfigError("branch --force: it goes with --delete; a branch that is there is never moved by coevo branch")
    if delete:
        _delete(store, ref, name, force=force)
    elif name is not None:
        view = store.state(ref)
        if seed is None and name != MAIN and store.head(view.node, name) is None:
            seed = seed_of_name(name)
        goes_on = store.create_branch(view, name, seed=seed)
        whose = f"seed {goes_on}" if goes_on else "the node's own seed"
        say(f"branch {name} of {view.node} is at {view.id[:12]}, iteration {view.iteration}, and goes on with {whose}")
        say(f"continue it: coevo run {view.node} --branch {name} -n 1")
    else:
        _list(store, ref, format)


def _delete(store: Any, ref: str, name: str | None, *, force: bool) -> None:
    from coevo.node_store.names import parse_reference

    where = parse_reference(ref)
    if name is not None or "@" not in ref or "~" in ref:
        raise ConfigError(f"branch --delete: write NODE@NAME, one branch; got {' '.join(filter(None, (ref, name)))!r}")
    state = store.delete_branch(where.node, where.name, unmerged=force)
    say(f"branch {where.name} of {where.node} was at {state[:12]} and is removed; its state stays until garbage is collected")
    say(f"to have it back: coevo branch {where.node}@{state[:16]} {where.name}")


def _list(store: Any, ref: str, format: str) -> None:  # noqa: A002
    from coevo.app.tables.states import branches_table
    from coevo.node_store.names import parse_reference
    from coevo.studies.states.branches import branch_rows
    from coevo.studies.states.label_scales import teacher_of

    node = parse_reference(ref).node
    if node != ref:
        raise ConfigError(
            f"branch {ref}: the name of the new branch is missing (coevo branch {ref} NAME); coevo branch {node} lists branches"
        )
    rows = branch_rows(store, node)
    if format == "json":
        print_json([row.to_dict() for row in rows])
    elif rows:
        out.print(branches_table(node, rows, teacher_of(store.state(f"{node}@{rows[0].state}").document)))
    else:
        say(f"node {node} has no state yet; run coevo init again, which makes the first one")


@app.command()
def diff(
    left: Reference,
    right: Reference,
    limit: Annotated[int, typer.Option(min=0, help="rows of each table, at most; 0: all")] = 20,
    format: Format = "table",  # noqa: A002
) -> None:
    """Say what one state has that the other has not, both ways; the states may be of two nodes."""
    from coevo.app.tables.differences import difference_parts
    from coevo.node_store.current import current_store
    from coevo.node_store.lineage.differences import difference

    store = current_store()
    views = store.state(left), store.state(right)
    if format == "json":
        print_json(difference(*views).to_dict())
        return
    for part in difference_parts(difference(*views, origins=limit or None), limit):
        out.print(part, soft_wrap=isinstance(part, str))


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
    from coevo.node_store.current import current_store
    from coevo.node_store.names import parse_reference
    from coevo.output.progress import reporting_to

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
    from coevo.node_store.current import current_store
    from coevo.output.progress import reporting_to

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
