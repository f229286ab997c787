"""A command that adds one state is noted from its beginning to its end: repeated after a kill, it adds no second one.

Labels that are asked for again are further labels, so what was done cannot be told from the head of the branch alone. The note
says which command began at which head; it is gone when the command has said what it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.canonical import digest

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def begin(store: NodeStore, branch: str, head: StateView, command: dict[str, Any]) -> None:
    """Note a command before its work; the run lock of the branch is held.

    Parameters
    ----------
    store : NodeStore
    branch : str
    head : StateView
        Where the work begins.
    command : dict
        Everything that it depends on, ``message`` of the state that it makes included.
    """
    store.backend.write_note(head.node, _key(branch), {"command": digest(command), "start": head.id})


def is_done(store: NodeStore, branch: str, head: StateView, command: dict[str, Any]) -> bool:
    """Whether the head is the state that the same command made before it was interrupted."""
    note = store.backend.note(head.node, _key(branch))
    if not note or note["command"] != digest(command):
        return False
    return head.parents == (note["start"],) and head.document["message"] == command["message"]


def end(store: NodeStore, node: str, branch: str) -> None:
    """Forget a command that has come to its end."""
    store.backend.write_note(node, _key(branch), None)


def _key(branch: str) -> str:
    return f"begun-{branch}"
