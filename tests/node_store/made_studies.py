"""Documents of studies for the tests of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.study_commit import commit_study

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def study_document(view: StateView, said: dict[str, bool] | None = None, **changes: Any) -> dict[str, Any]:
    """A study of the first entry of a state; ``said``: of which entries it says that they are dynamically stable, or not."""
    entry = next(view.entries())
    return {
        "kind": "coevo-study",
        "version": 1,
        "study": "phonons",
        "node": view.node,
        "state": view.id,
        "checkpoints": {"force_field": view.document["checkpoints"]["force_field"]["sha256"]},
        "phases": [
            {
                "id": entry["structure_id"],
                "formula": entry["formula"],
                "kind": "entry",
                "name": None,
                "e_hull": entry["energy_above_hull"],
                "energy_per_atom": entry["energy_per_atom"],
            }
        ],
        "settings": {"displacement": 0.06},
        "packages": {"phonopy": "4.10.0"},
        "results": {"frequencies": [1.5, -0.25]},
        "entries": {name: {"dynamically_stable": value} for name, value in (said or {}).items()},
        "softness": None,
        "artifacts": [],
        **changes,
    }


def with_file(store: NodeStore, data: bytes = b"frequencies") -> dict[str, Any]:
    """Fields of a study that has a file."""
    artifact = store.artifacts.put_bytes(data)
    return {"artifacts": [{"name": "phonons.txt", "sha256": artifact.sha256, "size": artifact.size}]}


def add_study(store: NodeStore, view: StateView, said: dict[str, bool] | None = None, **changes: Any) -> str:
    """Store a study."""
    return commit_study(store, study_document(view, said, **changes))
