"""Commands on the lineage of states: ``branch``, ``diff``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from coevo.app.terminal import Format, Reference, app, out, print_json, say
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
    from coevo.makers.step import current_store
    from coevo.node_store.branch_seeds import seed_of_name
    from coevo.node_store.names import MAIN

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

    node = parse_reference(ref).node
    if node != ref:
        raise ConfigError(
            f"branch {ref}: the name of the new branch is missing (coevo branch {ref} NAME); coevo branch {node} lists branches"
        )
    rows = branch_rows(store, node)
    if format == "json":
        print_json([row.to_dict() for row in rows])
    elif rows:
        out.print(branches_table(node, rows))
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
    from coevo.makers.step import current_store
    from coevo.node_store.lineage.differences import difference

    store = current_store()
    views = store.state(left), store.state(right)
    if format == "json":
        print_json(difference(*views).to_dict())
        return
    for part in difference_parts(difference(*views, origins=limit or None), limit):
        out.print(part, soft_wrap=isinstance(part, str))
