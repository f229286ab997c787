"""The queries that docs/data.md shows, run as they stand there: in the Mongo shell's language and in Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from li_p_s_states import NODE, Lineage, new_node
from mongo_shell import Shell
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from coevo.node_store.mongodb.connection import INDEXES
from coevo.node_store.store import open_store
from coevo.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.views import StateView

DOCS = Path(__file__).parents[3] / "docs" / "data.md"
SUN = {"chemsys": "Li-P-S", "is_sun": True, "energy_above_hull": {"$lt": 0.05}}
SHOWN = ("structure_id", "formula", "space_group", "energy_above_hull")
STABLE_FIRST = [("energy_above_hull", 1)]


def blocks(language: str) -> list[str]:
    """Code blocks of the page, with this module's node."""
    text = DOCS.read_text(encoding="utf-8").replace('"li-p-s"', f'"{NODE}"').replace('"li-p-s@', f'"{NODE}@')
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def metrics(number: int) -> dict[str, Any]:
    return {
        "population": {"entries": number, "sun": number // 2},
        "environment_entropy": 5.0 + number / 8,
        "energy_rmse_mev_per_atom": 20.0 - number,
        "force_rmse_mev_per_angstrom": None,
    }


def fill(lineage: Lineage) -> None:
    """Three states on main, and a branch with a dot in its name that left the first."""
    lineage.commit(n_entries=90, metrics=metrics(0))
    other = lineage.fork(variant=1)
    lineage.commit(n_entries=10, metrics=metrics(1))
    other.store.commit(other.draft(n_entries=3), "try.2", None)
    lineage.commit(n_entries=10, metrics=metrics(2))


@pytest.fixture(scope="module")
def served(mongodb_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Any]]:
    """A filled database on the server, and pymongo's view of it."""
    name = "coevo_documented"
    settings = Settings(database=f"{mongodb_server}/{name}", artifacts=tmp_path_factory.mktemp("blobs").as_uri())
    with MongoClient(mongodb_server) as client:
        client.drop_database(name)
        with open_store(settings) as store:
            fill(new_node(store))
        try:
            yield settings, client[name]
        finally:
            client.drop_database(name)


@pytest.fixture
def view(served: tuple[Settings, Any]) -> Iterator[StateView]:
    with open_store(served[0]) as store:
        yield store.state(NODE)


@pytest.fixture(scope="module")
def answers(served: tuple[Settings, Any]) -> list[list[Any]]:
    """What each block of the shell answers, in order; one shell for all, as a reader would have it."""
    shell = Shell(served[1])
    return [shell.run(block) for block in blocks("js")]


@pytest.mark.service
class TestInTheMongoShell:
    def test_stable_unique_novel_entries_of_the_newest_state(self, answers, view):
        expected = list(view.entries(SUN, projection=SHOWN, sort=STABLE_FIRST))
        assert len(expected) >= 3
        head, found = answers[0]
        assert head == view.id
        assert found == expected
        assert answers[1] == [expected]

    def test_a_branch_with_a_dot_in_its_name(self, answers):
        assert answers[2] == [93]

    def test_metrics_over_the_iterations_of_a_branch(self, answers, view):
        (rows,) = answers[3]
        assert [row["state"] for row in rows] == [state.id for state in (*reversed(list(view.ancestors())), view)]
        assert [row["iteration"] for row in rows] == [0, 1, 2]
        assert [row["counts"]["labels"] for row in rows] == [3, 6, 9]
        assert [row["metrics"] for row in rows] == [metrics(number) for number in range(3)]

    def test_labels_of_a_state(self, answers, view):
        rows, counts = answers[4]
        assert {row["label"]: row["split"] for row in rows} == view.manifest["labels"]
        energies = {document["_id"]: document["energy_per_atom"] for document in view.labels()}
        assert {row["label"]: row["energy_per_atom"] for row in rows} == energies
        assert {row["_id"]["split"]: row["frames"] for row in counts} == {"train": 3, "validation": 3, "test": 3}
        assert {row["_id"]["status"] for row in counts} == {"admitted"}

    def test_the_structure_of_an_entry(self, answers, view):
        best, admitted, relaxed = answers[5]
        (expected,) = view.entries(sort=STABLE_FIRST, limit=1)
        assert best["structure_id"] == expected["structure_id"]
        assert admitted == next(view.structure_documents([best["structure_id"]]))["structure"]
        assert relaxed == expected["relaxed"]

    def test_places_of_checkpoints(self, answers, view):
        uri, (row,) = answers[6]
        checkpoint = view.document["checkpoints"]["force_field"]
        assert uri == checkpoint["uri"]
        assert row == {"checkpoints": {"force_field": {key: checkpoint[key] for key in ("sha256", "family")}}}

    def test_no_query_of_the_page_is_left_out_here(self, answers):
        assert len(answers) == 7

    def test_the_declared_index_serves_the_query(self, served, view):
        """Filter and order are both in one index, so the server reads only what it returns."""
        query = {"state": view.id, "kind": "entry", **SUN}
        try:
            plan = (
                served[1]
                .evaluations.find(query)
                .sort([*STABLE_FIRST, ("structure_id", 1)])
                .explain()["queryPlanner"]["winningPlan"]
            )
        except (PyMongoError, KeyError) as err:
            pytest.skip(f"this server does not explain its queries: {err}")
        while "inputStage" in plan:
            plan = plan["inputStage"]
        assert plan["stage"] == "IXSCAN", plan
        fields = ("state", "kind", "chemsys", "is_sun", "energy_above_hull", "structure_id")
        assert plan["indexName"] == "_".join(f"{name}_1" for name in fields)
        assert tuple((name, 1) for name in fields) in INDEXES["evaluations"]


def test_the_python_queries_of_the_page(tmp_path, monkeypatch):
    database = f"file:{tmp_path / 'db'}"
    monkeypatch.setenv("COEVO_DATABASE", database)
    store = open_store(Settings(database=database))
    lineage = new_node(store)
    lineage.commit(n_entries=200, metrics=metrics(0))
    for number in (1, 2):
        lineage.commit(n_entries=1, metrics=metrics(number))
    names: dict[str, Any] = {}
    (block,) = blocks("python")
    exec(compile(block, str(DOCS), "exec"), names)
    everything = list(store.state(f"{NODE}~2").evaluations("entry"))
    wanted = sorted(
        (d for d in everything if d["is_sun"] and d["energy_above_hull"] < 0.05),
        key=lambda d: (d["formula"], d["energy_above_hull"], d["structure_id"]),
    )
    page = wanted[20:40]
    assert len(page) > 3
    assert names["second_page"] == [{key: d[key] for key in ("structure_id", "formula", "energy_above_hull")} for d in page]
    assert {d["formula"] for d in names["binaries"]} == {"Li3P", "P2S5", "LiP"}
    assert len(names["binaries"]) == sum(d["formula"] in {"Li3P", "P2S5", "LiP"} for d in everything)
