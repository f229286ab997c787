"""What every database must do with results of jobs, campaigns and runs: a part of the store's contract."""

from __future__ import annotations

import os
import signal

import pytest
from concurrency_contract import OPEN, start_python
from li_p_s_states import NODE

from coevo.errors import (
    CampaignError,
    NodeBusyError,
)


class WorkContract:
    """Takes the fixtures of the store's contract."""

    # --- jobs and campaigns

    def test_first_job_result_wins(self, store):
        key = "a1" * 32
        assert store.job_result(key) is None
        first = store.put_job_result(key, {"n": 1, "seed": 2**64 - 1, "x.y": {"$z": (1.0, -0.0)}})
        assert first == {"n": 1, "seed": 2**64 - 1, "x.y": {"$z": [1.0, 0.0]}}
        assert store.put_job_result(key, {"n": 2}) == first == store.job_result(key)
        store.drop_job_result(key)
        store.drop_job_result(key)
        assert store.job_result(key) is None
        assert store.put_job_result(key, {"n": 3}) == {"n": 3}

    @pytest.mark.timing
    def test_one_of_many_writers_of_a_job_result_wins(self, store, settings):
        script = (
            OPEN
            + """
    sys.stdin.readline()
    print(json.dumps(store.put_job_result("ab" * 32, {"writer": sys.argv[2]})))
    """
        )
        writers = [start_python(script, settings.model_dump_json(), str(i)) for i in range(3)]
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        answers = {writer.communicate(timeout=300)[0] for writer in writers}
        assert len(answers) == 1
        assert store.job_result("ab" * 32)["writer"] in "012"

    def test_campaigns_are_recorded_once_and_finished(self, store, lineage):
        start = lineage.commit()
        assert store.unfinished_campaign(NODE, "main") is None
        first = store.start_campaign(NODE, "main", 2, start)
        assert store.start_campaign(NODE, "main", 2, start) == first == store.unfinished_campaign(NODE, "main")
        assert (first.node, first.branch, first.iterations, first.start, first.status) == (NODE, "main", 2, start, "running")
        with pytest.raises(CampaignError, match=f"campaign {first.id} of {NODE}@main is not finished"):
            store.start_campaign(NODE, "main", 3, start)
        assert store.unfinished_campaign(NODE, "other") is None
        store.finish_campaign(first.id, "mature")
        assert store.unfinished_campaign(NODE, "main") is None
        second = store.start_campaign(NODE, "main", 2, start)
        assert second.id != first.id
        store.finish_campaign(second.id)
        assert [(c.id, c.status) for c in store.campaigns(NODE)] == [(first.id, "mature"), (second.id, "finished")]
        with pytest.raises(CampaignError, match="no campaign 'x'"):
            store.finish_campaign("x")

    # --- two processes

    @pytest.mark.timing
    def test_two_processes_race_for_a_branch(self, store, lineage, settings):
        start = lineage.commit()
        script = (
            OPEN
            + """
    from li_p_s_states import Lineage, new_node
    from coevo.errors import BranchMovedError
    lineage = new_node(store)
    lineage.draft(); lineage.parents, lineage.iteration, lineage.variant = (sys.argv[2],), 1, int(sys.argv[3])
    draft = lineage.draft()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print("won", store.commit(draft, "main", sys.argv[2]))
    except BranchMovedError as err:
        print("lost", err.kept_as, err.found)
    """
        )
        racers = [start_python(script, settings.model_dump_json(), start, str(i)) for i in (1, 2)]
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [racer.communicate(timeout=300)[0].split() for racer in racers]
        assert sorted(answer[0] for answer in answers) == ["lost", "won"]
        head = next(answer[1] for answer in answers if answer[0] == "won")
        assert store.head(NODE) == head
        for _, kept_as, found in (answer for answer in answers if answer[0] == "lost"):
            assert found == head
            assert len(list(store.state(f"{NODE}@{kept_as}").entries())) == 8

    @pytest.mark.timing
    def test_a_node_is_run_by_one_process_at_a_time(self, store, lineage, settings):
        script = (
            OPEN
            + f"""
    with store.run_lock({NODE!r}):
        print("held", flush=True)
        sys.stdin.readline()
    """
        )
        holder = start_python(script, settings.model_dump_json())
        assert holder.stdout.readline() == "held\n"
        message = rf"node {NODE} is being run by process {holder.pid} on \S+ since 20"
        with pytest.raises(NodeBusyError, match=message), store.run_lock(NODE):
            pass
        holder.communicate("go\n", timeout=300)
        with store.run_lock(NODE), pytest.raises(NodeBusyError), store.run_lock(NODE):
            pass
        with store.run_lock(NODE):
            pass

    @pytest.mark.timing
    def test_a_killed_holder_frees_the_node(self, store, lineage, settings):
        """Its worker processes may outlive it by a moment; they do not hold the node."""
        script = (
            OPEN
            + f"""
    import os, signal
    with store.run_lock({NODE!r}):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
        )
        holder = start_python(script, settings.model_dump_json())
        worker = int(holder.stdout.readline())
        holder.wait(timeout=300)
        try:
            with store.run_lock(NODE):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)
