"""What every database must do with notes, and with the seeds of branches that are noted: a part of the store's contract."""

from __future__ import annotations

import pytest
from li_p_s_states import CONFIG, NODE

from coevo.errors import BranchExistsError, CampaignError, ConfigError
from coevo.node_store.canonical import dump_plain
from coevo.node_store.seeds import give_seed, seed_of_branch
from coevo.node_store.upkeep.verification import verify


class BranchSeedsContract:
    """Takes the fixtures of the store's contract."""

    def test_notes_are_kept_replaced_and_forgotten(self, store, lineage, reopened):
        backend, note = store.backend, {"state": "a" * 64, "seed": 2**31, "nested": {"a.b": [1, 1.0, None]}}
        assert backend.note(NODE, "seed-try.1") is None
        backend.write_note(NODE, "seed-try.1", note)
        backend.write_note(NODE, "seed-try", {"seed": 2})
        assert dump_plain(reopened.backend.note(NODE, "seed-try.1")) == dump_plain(note)
        backend.write_note(NODE, "seed-try.1", {"seed": 1})
        assert (backend.note(NODE, "seed-try.1"), backend.note(NODE, "seed-try")) == ({"seed": 1}, {"seed": 2})
        backend.write_note(NODE, "seed-try", None)
        backend.write_note(NODE, "seed-try", None)
        assert reopened.backend.note(NODE, "seed-try") is None
        assert [f.what for f in verify(store, NODE).findings if "seed-try" in f.where] == []

    def test_a_branch_goes_on_with_the_seed_that_it_was_given(self, store, lineage, reopened):
        first = store.state(f"{NODE}@{lineage.commit()}")
        assert store.create_branch(first, "try", seed=5) == 5
        assert store.create_branch(first, "plain") == 0
        assert store.create_branch(first, "try") == 5  # again: nothing changes
        assert seed_of_branch(reopened.backend, NODE, "try", first) == 5
        assert seed_of_branch(store.backend, NODE, "main", first) == 0
        lineage.commit()
        later = store.state(NODE)
        store.move_branch(later, "try", first.id)
        assert seed_of_branch(store.backend, NODE, "try", later) == 5  # no state of its own has recorded it yet
        with pytest.raises(BranchExistsError):
            store.create_branch(first, "try", seed=6)
        assert seed_of_branch(store.backend, NODE, "try", later) == 5
        store.delete_branch(NODE, "try")
        assert store.create_branch(later, "try") == 0

    def test_a_state_made_with_a_seed_hands_it_on(self, store, lineage):
        lineage.commit()
        seeded = {**CONFIG, "node": {**CONFIG["node"], "branch_seed": 9}}
        view = store.state(f"{NODE}@{lineage.commit(config=seeded)}")
        assert seed_of_branch(store.backend, NODE, "main", view) == 9
        assert store.create_branch(view, "again") == 9
        assert store.create_branch(view, "own", seed=0) == 0
        give_seed(store.backend, "main", view, 3)
        assert seed_of_branch(store.backend, NODE, "main", view) == 3

    def test_a_seed_does_not_change_within_a_campaign(self, store, lineage):
        head = store.state(f"{NODE}@{lineage.commit()}")
        campaign = store.start_campaign(NODE, "main", 2, head.id)
        give_seed(store.backend, "main", head, 0)  # the one that it has
        with pytest.raises(CampaignError, match=f"campaign {campaign.id} of {NODE}@main is not finished"):
            give_seed(store.backend, "main", head, 4)
        store.finish_campaign(campaign.id)
        give_seed(store.backend, "main", head, 4)
        assert seed_of_branch(store.backend, NODE, "main", head) == 4

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_seeds_that_are_none(self, store, lineage, seed):
        head = store.state(f"{NODE}@{lineage.commit()}")
        with pytest.raises(ConfigError, match="--seed"):
            store.create_branch(head, "try", seed=seed)
        assert store.head(NODE, "try") is None
