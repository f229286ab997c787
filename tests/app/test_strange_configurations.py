"""States whose configuration somebody else's code made: commands that read it end in one line, and not in a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from li_p_s_states import NODE, Lineage
from printed import Printed, printed  # noqa: F401 (a fixture)

from coevo.node_store.store import open_store
from coevo.settings import Settings

TEXT = f"node: {{name: {NODE}, elements: [Li, P, S], references: li-p-s}}\n"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"node": {"references": 5, "energy_scale": [1]}},
        {"node": {"name": NODE, "elements": ["Li", "P", "S"], "references": "li-p-s"}, "curation": "x"},
        {"node": {"name": NODE, "elements": ["Li", "P", "S"], "references": "li-p-s"}, "references": [1]},
    ],
)
def test_one_line(
    printed: Callable[..., Printed],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
) -> None:
    database = f"file:{tmp_path / 'db'}"
    monkeypatch.setenv("COEVO_DATABASE", database)
    store = open_store(Settings(database=database))
    store.create_node(NODE, ["Li", "P", "S"], config, TEXT)
    lineage = Lineage(store)
    lineage.commit(config=config)
    lineage.commit(config=config)
    for arguments in (
        ("analyse", NODE),
        ("merge", NODE, f"{NODE}@main~1", "--into", "other"),
        ("verify", NODE, "--signals"),
        ("rediscover", NODE),
        ("completeness", NODE),
    ):
        done = printed(*arguments)
        assert (done.code, "Traceback" in done.err) == (2, False), (arguments, done.err)
        assert "configuration of" in done.err
    assert store.nodes() == [NODE]
