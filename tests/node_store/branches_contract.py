"""What every database must do with branches: names, moves and removals; a part of the store's contract."""

from __future__ import annotations

import pytest
from li_p_s_states import NODE

from coevo.errors import (
    BranchExistsError,
    BranchMovedError,
    CampaignError,
    ConfigError,
    NodeBusyError,
    NodeNotFoundError,
    StateNotFoundError,
)
from coevo.node_store.store import open_store


class BranchesContract:
    """Takes the fixtures of the store's contract."""

    # --- branches

    def test_a_branch_is_made_once(self, store, lineage, reopened):
        states = [lineage.commit(), lineage.commit()]
        view = store.state(f"{NODE}~1")
        for each in (store, reopened, store):
            each.create_branch(view, "try.1")
        assert reopened.node(NODE).branches == {"main": states[1], "try.1": states[0]}
        with pytest.raises(
            BranchExistsError, match=rf"branch try\.1 of node {NODE} exists already, at state {states[0][:16]}; .*--delete"
        ):
            store.create_branch(store.state(NODE), "try.1")
        assert store.head(NODE, "try.1") == states[0]

    def test_names_that_no_branch_can_have(self, store, lineage):
        state = lineage.commit()
        view, draft = store.state(NODE), lineage.draft()
        of_a_state = "ab12" * 16  # it would hide the state of that id
        for name in (
            "",
            "a/b",
            "../x",
            ".hidden",
            "-x",
            "_x",
            "a b",
            "a@b",
            "a~1",
            "a$b",
            "a\n",
            "\0",
            "é",
            "x" * 101,
            of_a_state,
        ):
            for refused in (
                lambda name=name: store.create_branch(view, name),
                lambda name=name: store.move_branch(view, name, None),
                lambda name=name: store.commit(draft, name, None),
            ):
                with pytest.raises(ConfigError, match="cannot name a branch"):
                    refused()
            with pytest.raises(StateNotFoundError):
                store.delete_branch(NODE, name)
        assert store.node(NODE).branches == {"main": state}
        assert store.backend.state_ids(NODE) == [state]

    def test_names_that_branches_can_have(self, store, lineage, reopened):
        state = lineage.commit()
        names = {"x", "X", "1", "a.b.c", "a-b_c", "main.json", "main.lock", "abcd", "x" * 100, "x" * 64, "2E", "ab12" * 15}
        for name in names:
            store.create_branch(store.state(NODE), name)
        assert reopened.node(NODE).branches == dict.fromkeys(names | {"main"}, state)
        for name in names:
            assert reopened.state(f"{NODE}@{name}").id == state
            with store.run_lock(NODE, name), store.run_lock(NODE):
                pass
            assert reopened.delete_branch(NODE, name) == state
        assert store.node(NODE).branches == {"main": state}

    def test_a_deleted_branch_can_be_made_again_from_its_state(self, store, lineage, reopened):
        first, second = lineage.commit(), lineage.commit()
        store.create_branch(store.state(NODE), "other")
        third = lineage.commit("other")
        assert store.delete_branch(NODE, "other") == third
        for reference in (f"{NODE}@other", f"{NODE}@other~1"):
            with pytest.raises(StateNotFoundError, match=rf"no branch or state 'other'; branches: main \({second[:8]}\)"):
                reopened.state(reference)
        with pytest.raises(StateNotFoundError, match=f"node {NODE} has no branch 'other'; branches: main$"):
            reopened.delete_branch(NODE, "other")
        view = reopened.state(f"{NODE}@{third[:12]}")
        assert [ancestor.id for ancestor in view.ancestors()] == [second, first]
        reopened.create_branch(view, "other")
        assert store.head(NODE, "other") == third
        # or from elsewhere: nothing remembers where it was
        store.delete_branch(NODE, "other")
        store.create_branch(store.state(f"{NODE}@{first}"), "other")
        assert reopened.head(NODE, "other") == first
        with pytest.raises(NodeNotFoundError):
            store.delete_branch("nowhere", "other")

    def test_the_last_branch_can_be_deleted_and_made_again(self, store, lineage):
        state = lineage.commit()
        assert store.delete_branch(NODE, "main") == state
        assert store.node(NODE).branches == {"main": None}
        with pytest.raises(StateNotFoundError, match="has no branch 'main'; branches: none"):
            store.delete_branch(NODE, "main")
        store.create_branch(store.state(f"{NODE}@{state}"), "main")
        assert store.state(NODE).id == state

    def test_a_branch_of_an_unfinished_campaign_or_a_run_stays(self, store, lineage, reopened):
        state = lineage.commit()
        store.create_branch(store.state(NODE), "other")
        campaign = store.start_campaign(NODE, "other", 3, state)
        with pytest.raises(
            CampaignError, match=f"campaign {campaign.id} of {NODE}@other is not finished; .*coevo run {NODE} --branch other"
        ):
            reopened.delete_branch(NODE, "other")
        store.finish_campaign(campaign.id)
        with (
            store.run_lock(NODE, "other"),
            pytest.raises(NodeBusyError, match=f"branch other of node {NODE} is being run by process"),
        ):
            reopened.delete_branch(NODE, "other")
        assert store.head(NODE, "other") == state
        with store.run_lock(NODE, "main"):
            assert reopened.delete_branch(NODE, "other") == state

    def test_a_branch_that_moves_while_it_is_deleted_stays(self, store, lineage, reopened, monkeypatch):
        first = lineage.commit()
        store.create_branch(store.state(NODE), "other")
        moved = lineage.commit()

        def meanwhile(node, branch):
            reopened.move_branch(reopened.state(NODE), "other", first)

        with monkeypatch.context() as patched:
            patched.setattr(store, "unfinished_campaign", meanwhile)
            with pytest.raises(BranchMovedError, match=r"moved while it was deleted: .*; it was kept") as caught:
                store.delete_branch(NODE, "other")
        assert (caught.value.expected, caught.value.found, caught.value.kept_as) == (first, moved, "other")
        assert store.head(NODE, "other") == moved

        def removed(node, branch):
            assert reopened.backend.delete_branch(node, branch, moved) == moved

        with monkeypatch.context() as patched:  # by another process: that is what was wanted
            patched.setattr(store, "unfinished_campaign", removed)
            assert store.delete_branch(NODE, "other") == moved
        assert store.node(NODE).branches == {"main": moved}

    def test_a_branch_moves_forward_only_and_from_where_it_is(self, store, lineage, reopened):
        states = [lineage.commit()]
        store.create_branch(store.state(NODE), "other")
        states += [lineage.commit(), lineage.commit()]
        views = [store.state(f"{NODE}@{state}") for state in states]
        for _ in range(2):  # the second time it is there already
            reopened.move_branch(views[1], "other", states[0])
            assert store.head(NODE, "other") == states[1]
        with pytest.raises(
            BranchMovedError, match=f"branch other of node {NODE} is not at {states[0]} but at {states[1]}"
        ) as caught:
            store.move_branch(views[2], "other", states[0])
        assert (caught.value.expected, caught.value.found, caught.value.kept_as) == (states[0], states[1], "other")
        with pytest.raises(BranchMovedError, match="is not at None but"):
            store.move_branch(views[2], "other", None)
        with pytest.raises(
            BranchExistsError, match="does not descend from it; merge them, or give the state a branch of its own"
        ):
            store.move_branch(views[0], "other", states[1])
        assert store.head(NODE, "other") == states[1]
        store.move_branch(views[2], "other", states[1])
        store.move_branch(views[0], "new", None)
        assert reopened.node(NODE).branches == {"main": states[2], "new": states[0], "other": states[2]}

    def test_a_state_that_is_not_in_this_database_gets_no_branch(self, store, lineage, tmp_path):
        from coevo.settings import Settings

        state = lineage.commit()
        elsewhere = open_store(Settings(database=f"file:{tmp_path / 'elsewhere'}"))
        stranger = type(lineage)(elsewhere, variant=9)
        elsewhere.create_node(NODE, ["Li", "P", "S"], store.node(NODE).config, "")
        view = elsewhere.state(f"{NODE}@{stranger.commit()}")
        for refused in (lambda: store.create_branch(view, "other"), lambda: store.move_branch(view, "other", None)):
            with pytest.raises(StateNotFoundError, match=rf"{view.id[:16]}.*stored \(any more\)"):
                refused()
        assert store.node(NODE).branches == {"main": state}
