"""``branch``, ``diff``, ``log --graph`` and names of states, on a store of drafted states."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest
from li_p_s_states import CONFIG, NODE, Lineage, new_node

from coevo.node_store.states import state_id
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore


def metrics(entries: int, sun: int) -> dict[str, Any]:
    """The numbers that the table of the log reads."""
    return {
        "population": {"entries": entries, "stable": sun, "novel": sun, "sun": sun},
        "environment_entropy": 5.0 + entries / 100,
        "energy_rmse_mev_per_atom": None,
        "force_rmse_mev_per_angstrom": None,
    }


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Coevo, dict[str, str]]:
    """Three states on main, two on ``wide`` from the first, and a merge of both; read it, do not change it."""
    coevo = Coevo(tmp_path_factory.mktemp("history"))
    lineage = new_node(open_store(Settings(database=f"file:{coevo.database}")))
    states = {"seed": lineage.commit(message="seed", metrics=metrics(4, 1))}
    other = lineage.fork(variant=1)
    states["second"] = lineage.commit(message="second", metrics=metrics(8, 2))
    other.store.create_branch(other.store.state(f"{NODE}@{states['seed']}"), "wide")
    changed = {**CONFIG, "curation": {"max_e_hull": 0.3, "stable_threshold": 0.1}}
    states["wide"] = other.commit("wide", message="wider\nbecause", metrics=metrics(8, 3), config=changed)
    states["wider"] = other.commit("wide", n_labels=1, message="wider still", metrics=metrics(12, 3))
    lineage.entries += other.entries[4:]
    lineage.splits |= other.splits
    union = (states["second"], states["wider"])
    states["merge"] = lineage.commit(n_entries=0, n_labels=0, parents=union, message="merge", metrics=metrics(16, 5))
    return coevo, states


@pytest.fixture
def store(history: tuple[Coevo, dict[str, str]]) -> NodeStore:
    return open_store(Settings(database=f"file:{history[0].database}"))


@pytest.fixture
def copy(history: tuple[Coevo, dict[str, str]], tmp_path: Path) -> Coevo:
    from tiny_node import copy_of

    return copy_of(history[0].directory, tmp_path)


@pytest.fixture
def here(history, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process, on the same database: a second faster."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{history[0].database}")
    return Here(monkeypatch, capsys)


class Here:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str, code: int = 0) -> CompletedProcess[str]:
        from coevo.app.cli import main

        self.monkeypatch.setattr(sys, "argv", ["coevo", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = self.capsys.readouterr()
        assert (caught.value.code or 0) == code, printed.err
        return CompletedProcess(arguments, code, printed.out, printed.err)


# --- log


def test_the_graph_shows_branches_and_merges(history, here) -> None:
    ids = history[1]
    lines = here("log", NODE, "--graph").stdout.splitlines()
    short = {name: state[:8] for name, state in ids.items()}
    assert lines == [
        f"*   {short['merge']} (main) it. 2: 16 entries, 5 S.U.N.  merge",
        "|\\",
        f"| * {short['wider']} (wide) it. 2: 12 entries, 3 S.U.N.  wider still",
        f"| * {short['wide']} it. 1: 8 entries, 3 S.U.N.  wider",
        f"* | {short['second']} it. 1: 8 entries, 2 S.U.N.  second",
        "|/",
        f"* {short['seed']} it. 0: 4 entries, 1 S.U.N.  seed",
    ]


def test_the_graph_of_one_branch_and_of_all(history) -> None:
    coevo, ids = history
    one = coevo("log", f"{NODE}@{ids['second']}", "--graph").stdout
    assert one.splitlines() == [
        f"* {ids[name][:8]} it. {i}: {4 * i + 4} entries, {i + 1} S.U.N.  {name}" for i, name in ((1, "second"), (0, "seed"))
    ]
    every = coevo("log", f"{NODE}@{ids['second']}", "--graph", "--all").stdout
    assert sorted(re.findall(r"\* (?:\| |  )*([0-9a-f]{8})", every)) == sorted(state[:8] for state in ids.values())
    table = coevo("log", f"{NODE}@{ids['second']}", "--all").stdout
    assert all(state[:8] in table for state in ids.values())


def test_json_is_the_same_with_and_without_the_graph(history, here) -> None:
    ids = history[1]
    plain = here("log", NODE, "--format", "json").stdout
    assert here("log", NODE, "--graph", "--format", "json").stdout == plain
    assert json.loads(plain)[0]["id"] == ids["merge"]
    assert {state["id"] for state in json.loads(plain)} == set(ids.values())
    older = json.loads(here("log", f"{NODE}@wide", "--all", "--format", "json").stdout)
    assert {state["id"] for state in older} == set(ids.values())
    assert [state["iteration"] for state in older] == sorted((state["iteration"] for state in older), reverse=True)


# --- branch


def test_branches_are_listed_with_their_neighbours(history) -> None:
    coevo, ids = history
    rows = json.loads(coevo("branch", NODE, "--format", "json").stdout)
    assert [(row["name"], row["state"]) for row in rows] == [("main", ids["merge"]), ("wide", ids["wider"])]
    assert rows[0]["neighbour"] == {"branch": "wide", "left_at": ids["seed"], "iteration": 0, "ahead": 2, "behind": 0}
    assert rows[1]["neighbour"] == {"branch": "main", "left_at": ids["wider"], "iteration": 2, "ahead": 0, "behind": 2}
    shown = coevo("branch", NODE).stdout
    for word in ("main", "wide", ids["merge"][:8], ids["wider"][:8], "wider still", "2 ahead", "2 behind"):
        assert word in shown


def test_a_branch_is_made_listed_and_removed(copy: Coevo, history) -> None:
    ids = history[1]
    said = copy("branch", f"{NODE}~1", "try.2").stderr
    assert "try.2" in said
    assert ids["second"][:12] in said
    copy("branch", f"{NODE}@{ids['second'][:10]}", "try.2")  # again: nothing changes
    rows = {row["name"]: row for row in json.loads(copy("branch", NODE, "--format", "json").stdout)}
    assert rows["try.2"]["state"] == ids["second"]
    assert rows["try.2"]["neighbour"] == {"branch": "main", "left_at": ids["second"], "iteration": 1, "ahead": 0, "behind": 3}
    message = copy("branch", NODE, "try.2", code=2).stderr
    assert f"coevo branch {NODE}@try.2 --delete" in message
    said = copy("branch", f"{NODE}@try.2", "--delete").stderr
    again = re.search(r"coevo (branch \S+ \S+)", said)
    assert "try.2" not in copy("branch", NODE).stdout
    copy(*again[1].split())
    assert "try.2" in copy("branch", NODE).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["branch", f"{NODE}@wide"], ["name of the new branch is missing", f"coevo branch {NODE}"]),
        (["branch", NODE, "--delete"], ["NODE@NAME"]),
        (["branch", f"{NODE}@wide~1", "--delete"], ["NODE@NAME"]),
        (["branch", f"{NODE}@wide", "name", "--delete"], ["NODE@NAME"]),
        (["branch", f"{NODE}@nope", "--delete"], ["no branch 'nope'", "main, wide"]),
        (["branch", NODE, "a/b"], ["'a/b' cannot name a branch"]),
        (["branch", NODE, ""], ["'' cannot name a branch"]),
        (["branch", "nope"], ["no node 'nope'", NODE]),
        (["branch", NODE, "main"], ["wide"]),
    ],
)
def test_branches_that_cannot_be_are_refused(here, arguments: list[str], words: list[str]) -> None:
    if arguments == ["branch", NODE, "main"]:  # main is at this very state: nothing to do
        here(*arguments)
        return
    message = here(*arguments, code=2).stderr
    for word in words:
        assert word in message


# --- diff


def test_the_difference_of_two_states(history, store: NodeStore) -> None:
    from coevo.node_store.lineage.differences import difference

    coevo, ids = history
    found = json.loads(coevo("diff", f"{NODE}~1", f"{NODE}@wide", "--format", "json").stdout)
    left, right = store.state(f"{NODE}~1"), store.state(f"{NODE}@wide")
    assert found == json.loads(json.dumps(difference(left, right).to_dict()))
    assert {row["id"] for row in found["only_left"]["entries"]} == set(left.manifest["structures"]) - set(
        right.manifest["structures"]
    )
    assert found["only_right"]["label_counts"] == {"admitted": {"train": 2, "validation": 1, "test": 1}}
    shown = coevo("diff", f"{NODE}~1", f"{NODE}@wide~1").stdout
    for word in ("entries only in", "labels only in", "checkpoints", "curation.max_e_hull: 0.2 -> 0.3", "population.sun", "+1"):
        assert word in shown, word
    assert ids["second"][:8] in shown


def test_long_tables_are_cut_and_say_so(history) -> None:
    coevo, _ = history
    wide = coevo("diff", f"{NODE}@wide~2", f"{NODE}@wide", "--limit", "3").stdout
    assert "3 of 8 rows" in wide
    assert "8 rows" not in coevo("diff", f"{NODE}@wide~2", f"{NODE}@wide", "--limit", "0").stdout
    assert "no difference" in coevo("diff", NODE, NODE).stdout


# --- names of states


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("", ["is empty", "NODE@BRANCH~N"]),
        ("   ", ["is empty"]),
        (f" {NODE}", ["no reference to a state", "without blanks"]),
        (f"{NODE}@main ~1", ["no reference to a state"]),
        (f"{NODE}@", ["no reference to a state"]),
        (f"{NODE}@main~", ["no reference to a state"]),
        (f"{NODE}@main~-1", ["no reference to a state"]),
        (f"{NODE}~9", ["goes 9 states back", "has only 2"]),
        (f"{NODE}@abc", ["no branch or state 'abc'", "at least 4 digits"]),
        (f"{NODE.upper()}", ["no node", NODE]),
    ],
)
def test_names_that_name_nothing(here, reference: str, words: list[str]) -> None:
    done = here("log", reference, code=2)
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_ids_in_capitals_are_explained(history, here) -> None:
    ids = history[1]
    prefix = next(state[:n] for state in ids.values() for n in range(8, 20) if state[:n].upper() != state[:n])
    message = here("log", f"{NODE}@{prefix.upper()}", code=2).stderr
    assert f"{NODE}@{prefix}" in message
    assert "small letters" in message


def test_an_ambiguous_beginning_of_an_id_lists_the_states(tmp_path: Path) -> None:
    """Two real states that share four digits, found by trying messages of metrics: 65,536 beginnings, so some hundred drafts."""
    coevo = Coevo(tmp_path)
    store = open_store(Settings(database=f"file:{coevo.database}"))
    new_node(store)
    seen: dict[str, int] = {}
    for number in range(5000):
        draft = Lineage(store).draft(n_entries=0, n_references=1, n_labels=0, metrics={**metrics(0, 0), "number": number})
        beginning = state_id(draft)[:4]
        if beginning in seen:
            break
        seen[beginning] = number
    pair = [
        store.commit(
            Lineage(store).draft(n_entries=0, n_references=1, n_labels=0, metrics={**metrics(0, 0), "number": each}),
            f"b{each}",
            None,
        )
        for each in (seen[beginning], number)
    ]
    message = coevo("log", f"{NODE}@{beginning}", code=2).stderr
    assert "is ambiguous: 2 states start with it" in message
    assert all(state[:16] in message for state in pair)
    assert "give more digits" in message
    for state in pair:
        assert json.loads(coevo("log", f"{NODE}@{state[:16]}", "--format", "json").stdout)[0]["id"] == state
    unrelated = json.loads(coevo("branch", NODE, "--format", "json").stdout)
    assert all(row["neighbour"]["left_at"] is None and row["neighbour"]["ahead"] == 1 for row in unrelated)


# --- query


def test_queries_sort_by_several_fields_and_page(here, store: NodeStore) -> None:
    everything = list(store.state(NODE).entries())
    expected = [d["structure_id"] for d in sorted(everything, key=lambda d: (d["formula"], -d["energy_above_hull"]))]
    pages = [
        json.loads(
            here(
                "query", NODE, "--sort=formula,-energy_above_hull", "--limit", "6", "--skip", str(skip), "--format", "json"
            ).stdout
        )
        for skip in (0, 6, 12, 18)
    ]
    assert [len(page) for page in pages] == [6, 6, 4, 0]
    assert [row["structure_id"] for page in pages for row in page] == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sort", "energy_above_hul"], ["energy_above_hul", "did you mean energy_above_hull?"]),
        (["--sort", "formula,"], ["no field ''"]),
        (["--sort", "elements"], ["elements is a list"]),
        (["--skip", "-1"], ["--skip"]),
    ],
)
def test_sorts_that_cannot_be(here, arguments: list[str], words: list[str]) -> None:
    message = here("query", NODE, *arguments, code=2).stderr
    for word in words:
        assert word in message
