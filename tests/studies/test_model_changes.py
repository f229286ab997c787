"""What became of a force field: told from the checkpoints of a state and of its parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from li_p_s_states import NODE, Lineage, new_node

from coevo.app.tables.states import log_table
from coevo.node_store.recorded import force_field_change
from coevo.node_store.store import open_store
from coevo.settings import Settings
from coevo.studies.states.summaries import summary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return new_node(open_store(Settings(database=f"file:{tmp_path / 'db'}")))


def metrics(*, adopted: bool | None) -> dict[str, Any]:
    numbers = {"population": {"entries": 4, "sun": 1}, "environment_entropy": None}
    numbers |= dict.fromkeys(("energy_rmse_mev_per_atom", "force_rmse_mev_per_angstrom"))
    return numbers if adopted is None else {**numbers, "force_field": {"adopted": adopted, "reason": "test loss ratio 1.000"}}


def test_a_fit_that_ends_where_it_began_is_unchanged(lineage: Lineage) -> None:
    def commit(adopted: bool | None, checkpoints: Any = None) -> Any:
        changes = {"checkpoints": checkpoints} if checkpoints else {}
        return lineage.store.state(f"{NODE}@{lineage.commit(metrics=metrics(adopted=adopted), **changes)}")

    published = commit(None)
    new = commit(True)
    same = commit(True, new.document["checkpoints"])
    refused = commit(False, new.document["checkpoints"])
    labels_only = commit(None, new.document["checkpoints"])
    back = commit(True, published.document["checkpoints"])  # other weights than its parent's, if those of a grandparent
    found = [force_field_change(view) for view in (published, new, same, refused, labels_only, back)]
    assert found == ["published", "new", "unchanged", "parent's", "parent's", "new"]
    assert summary(same)["force_field"] == "unchanged"
    cells = list(log_table([same, new], NODE).columns[-1].cells)
    assert cells == ["unchanged", "new"]
