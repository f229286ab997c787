"""What a probe says of environments, noted beside the states of a node: part of none of them, and of no bundle.

A probe that is drawn with the settings of the node itself is noted under the state whose force field relaxed it, in place of an
earlier one. Nothing is computed of it, so no state hangs on whether there was one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coevo.node_store.backend import Backend
    from coevo.node_store.views import StateView


def note_probe(backend: Backend, view: StateView, probe: dict[str, Any] | None) -> None:
    """Note what a probe says of environments, or that there is none any more.

    Parameters
    ----------
    backend : Backend
    view : StateView
        Whose force field relaxed it.
    probe : dict or None
        ``draws``, ``batches`` and ``seed`` of the probe, ``e_hull`` (eV/atom), ``distance`` (δ90, 1/Å), and ``far``: of each
        batch the share of far atoms of each element.
    """
    backend.write_note(view.node, _key(view.id), probe)


def noted_probe(backend: Backend, views: Iterable[StateView]) -> dict[str, Any] | None:
    """Return the probe of the first of some states that has one, with ``state`` (id) and ``iteration``; None if none has."""
    for view in views:
        found = backend.note(view.node, _key(view.id))
        if found is not None:
            return {**found, "state": view.id, "iteration": view.iteration}
    return None


def _key(state: str) -> str:
    return f"probe-{state}"
