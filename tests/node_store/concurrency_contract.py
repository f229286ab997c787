"""What every database must do when several processes use it at once: part of the suite that each backend subclasses."""

from __future__ import annotations

import json
import textwrap
import threading

import pytest
from forked_scripts import ForkedScript
from li_p_s_states import NODE, evaluation

from coevo.errors import (
    BranchMovedError,
    NodeBusyError,
)

OPEN = """
    import json
    from coevo.settings import Settings
    from coevo.node_store.store import open_store
    store = open_store(Settings(**json.loads(sys.argv[1])))
"""

# Commits so many states on a branch; by turns with documents and weights that the other writers add too, and with its own.
WRITER = (
    OPEN
    + """
    import time
    from li_p_s_states import Lineage, new_node
    start, branch, number, rounds = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    lineage = new_node(store)
    lineage.draft(); lineage.parents, lineage.iteration = (start,), 1
    print("ready", flush=True)
    sys.stdin.readline()
    states = []
    for turn in range(rounds):
        time.sleep(float(sys.argv[6]))
        lineage.variant = 0 if turn % 2 == 0 else number
        states.append(lineage.commit(branch, metrics={"writer": number}))
    print(json.dumps(states))
"""
)

# Opens the head again and again, and looks at all of it, until a line comes.
READER = (
    OPEN
    + """
    import threading
    from li_p_s_states import NODE
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    seen, looks, last = [], 0, False

    def look(view):
        counts, manifest = view.document["counts"], view.manifest
        ids = [entry["structure_id"] for entry in view.entries()]
        assert ids == manifest["structures"], "the entries are not those of the manifest"
        assert len(ids) == counts["entries"] == 4 * (view.iteration + 1)
        assert [d["_id"] for d in view.structure_documents()] == ids
        assert [d["_id"] for d in view.references()] == manifest["references"]
        assert len(manifest["references"]) == counts["references"]
        labels = {d["_id"]: d["split"] for d in view.labels()}
        assert labels == manifest["labels"]
        assert len(labels) == counts["labels"]
        small = list(view.entries({"nsites": {"$lte": 4}}, projection=["structure_id", "nsites"], sort=[("nsites", 1)]))
        assert [e["nsites"] for e in small] == sorted(e["nsites"] for e in view.entries() if e["nsites"] <= 4)
        assert view.structure(ids[looks % len(ids)]).is_valid() in {True, False}
        assert sum(1 for _ in view.ancestors()) == view.iteration
        store.artifacts.get_bytes(view.document["checkpoints"]["force_field"]["sha256"])

    while not last:
        last = stop.is_set()  # look once more after the end
        if looks % 2:
            store.close()
            store = open_store(Settings(**json.loads(sys.argv[1])))
        view = store.state(NODE)
        assert not seen or view.iteration >= seen[-1], "the head went back"
        look(view)
        if not seen:
            print("ready", flush=True)
        if not seen or view.iteration > seen[-1]:
            seen.append(view.iteration)
        looks += 1
    print(json.dumps({"seen": seen, "looks": looks}))
"""
)


def start_python(script: str, *arguments: str) -> ForkedScript:
    """Start a script in another process, with this directory on its path."""
    return ForkedScript("import sys\n" + textwrap.dedent(script), *arguments)


def ready(*processes: ForkedScript) -> None:
    """Wait until each has said so."""
    for process in processes:
        line = process.stdout.readline()
        assert line == "ready\n", line + process.communicate(timeout=300)[1]


def go(process: ForkedScript) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def answer(process: ForkedScript):
    """What a process printed at its end; it must have ended well."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


class ConcurrencyContract:
    """Subclasses have fixtures ``settings``, ``store``, ``reopened`` and ``lineage``."""

    def count_structures(self, settings) -> int | None:
        """How many documents of structures are stored, where the states of a database share one collection of them."""
        return None

    # --- several writers

    @pytest.mark.timing
    def test_two_processes_commit_on_two_branches_at_once(self, store, lineage, settings, reopened):
        start, rounds = lineage.commit(), 4
        branches = ("left", "right")
        arguments = [(branch, str(number), str(rounds), "0") for number, branch in enumerate(branches, start=1)]
        writers = [start_python(WRITER, settings.model_dump_json(), start, *each) for each in arguments]
        for branch in branches:
            store.create_branch(store.state(NODE), branch)
        ready(*writers)
        for writer in writers:
            go(writer)
        written = [answer(writer) for writer in writers]
        views = [reopened.state(f"{NODE}@{branch}") for branch in branches]
        for view, states in zip(views, written, strict=True):
            assert [view.id, *(ancestor.id for ancestor in view.ancestors())] == [*reversed(states), start]
            for state in (view, *view.ancestors()):
                ids = state.manifest["structures"]
                assert [d["structure_id"] for d in state.entries()] == [d["_id"] for d in state.structure_documents()] == ids
                assert {d["_id"]: d["split"] for d in state.labels()} == state.manifest["labels"]
            assert len(view.manifest["structures"]) == 4 * (rounds + 1)
        left, right = (set(view.manifest["structures"]) for view in views)
        assert len(left & right) == 4 + 4 * 2  # those of the start, and of the rounds that both made
        assert len(left - right) == len(right - left) == 4 * 2
        shared = sorted(left & right)
        documents = [list(view.structure_documents(shared)) for view in views]
        assert documents[0] == documents[1]
        assert self.count_structures(settings) in {None, len(left | right)}
        assert reopened.head(NODE) == start
        assert reopened.node(NODE).branches == {"main": start, "left": written[0][-1], "right": written[1][-1]}

    def test_what_lost_a_race_is_merged(self, store, lineage):
        start = lineage.commit()
        other = lineage.fork(variant=1)
        winner, losing = lineage.commit(), other.draft()
        with pytest.raises(BranchMovedError) as caught:
            store.commit(losing, "main", start)
        kept = store.state(f"{NODE}@{caught.value.kept_as}")
        head = store.state(NODE)
        assert head.id == winner == caught.value.found
        assert {parent.id for view in (head, kept) for parent in view.parent_views()} == {start}
        draft = lineage.draft(n_entries=0, n_labels=0, parents=(head.id, kept.id))
        draft.evaluations += [evaluation(structure, "entry", 7) for structure in other.entries[4:]]
        draft.splits = {**draft.splits, **other.splits}
        draft.samples = {**other.samples, **draft.samples}
        merged = store.state(f"{NODE}@{store.commit(draft, 'main', head.id)}")
        assert store.head(NODE) == merged.id
        assert merged.parents == (head.id, kept.id)
        for kind in ("structures", "labels", "references"):
            assert set(merged.manifest[kind]) == set(head.manifest[kind]) | set(kept.manifest[kind])
        assert [d["_id"] for d in merged.structure_documents()] == merged.manifest["structures"]
        assert {d["_id"]: d["split"] for d in merged.labels()} == {**head.manifest["labels"], **kept.manifest["labels"]}
        # now the branch descends from what had lost: its commit has succeeded, and the branch that kept it can go
        assert store.commit(losing, "main", start) == kept.id
        assert store.delete_branch(NODE, caught.value.kept_as) == kept.id
        assert store.node(NODE).branches == {"main": merged.id}
        assert {view.id for view in merged.ancestors()} == {start, head.id, kept.id}

    def test_what_lost_a_race_on_a_branch_with_a_long_name_can_be_continued(self, store, lineage):
        branch = "x" * 100
        start = lineage.commit(branch)
        other = lineage.fork(variant=1)
        lineage.commit(branch)
        with pytest.raises(BranchMovedError) as caught:
            store.commit(other.draft(), branch, start)
        kept_as = caught.value.kept_as
        kept = store.state(f"{NODE}@{kept_as}")
        assert kept_as == f"{branch[:91]}-{kept.id[:8]}"
        other.parents, other.iteration = (kept.id,), kept.iteration + 1
        assert store.state(f"{NODE}@{kept_as}").id == kept.id != other.commit(kept_as) == store.head(NODE, kept_as)

    # --- readers

    @pytest.mark.timing
    def test_readers_see_complete_states_while_a_writer_commits(self, store, lineage, settings):
        start, rounds = lineage.commit(), 6
        writer = start_python(WRITER, settings.model_dump_json(), start, "main", "1", str(rounds), "0.05")
        readers = [start_python(READER, settings.model_dump_json()) for _ in range(2)]
        ready(writer, *readers)
        go(writer)
        written = answer(writer)
        for reader in readers:
            go(reader)
        for found in [answer(reader) for reader in readers]:
            assert found["seen"][0] == 0
            assert found["seen"][-1] == rounds
        assert store.head(NODE) == written[-1]

    # --- runs

    @pytest.mark.timing
    def test_a_branch_is_run_by_one_process_and_two_branches_by_two(self, store, lineage, settings):
        script = (
            OPEN
            + f"""
    with store.run_lock({NODE!r}, sys.argv[2]):
        print("ready", flush=True)
        sys.stdin.readline()
    print("{{}}")
    """
        )
        holders = [start_python(script, settings.model_dump_json(), branch) for branch in ("main", "other")]
        ready(*holders)  # both at the same time
        for holder, branch in zip(holders, ("main", "other"), strict=True):
            message = rf"branch {branch} of node {NODE} is being run by process {holder.pid} on \S+ since 20"
            with pytest.raises(NodeBusyError, match=message), store.run_lock(NODE, branch):
                pass
        with store.run_lock(NODE, "third"):
            go(holders[1])
            answer(holders[1])
            with store.run_lock(NODE, "other"):
                pass
            with pytest.raises(NodeBusyError, match="branch main"), store.run_lock(NODE):
                pass
        go(holders[0])
        answer(holders[0])
        with store.run_lock(NODE):
            pass

    @pytest.mark.timing
    def test_threads_of_a_process_take_turns_on_a_branch(self, store, lineage, reopened):
        inside, refused, most = [], [], []
        gate = threading.Barrier(4)

        def run(each):
            gate.wait(timeout=300)
            for _ in range(5):
                try:
                    with each.run_lock(NODE):
                        inside.append(1)
                        most.append(len(inside))
                        inside.pop()
                except NodeBusyError:
                    refused.append(1)

        threads = [threading.Thread(target=run, args=(each,)) for each in (store, reopened, store, reopened)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=300)
        assert len(most) + len(refused) == 20
        assert max(most) == 1
        with store.run_lock(NODE):
            pass
