"""The MongoDB server of the local cluster and of the tests numbers launches as mongod does."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coevo.slurm.local_cluster.daemons import secantus_command

pytestmark = [pytest.mark.service, pytest.mark.timing]


def test_each_who_asks_gets_a_number_of_its_own(mongodb_uri: str) -> None:
    from pymongo import MongoClient

    with MongoClient(mongodb_uri) as client:
        numbers = client.get_default_database()["numbers"]
        numbers.insert_one({"_id": 0, "next": 0})

        def draw(_: int) -> int:
            found: int = numbers.find_one_and_update({"_id": 0}, {"$inc": {"next": 1}})["next"]
            return found

        with ThreadPoolExecutor(8) as threads:
            assert sorted(threads.map(draw, range(400))) == list(range(400))
        assert numbers.find_one({})["next"] == 400


def test_the_server_is_started_by_the_interpreter_that_has_it(tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("secantusd-py")
    assert secantus_command(str(beside))[0] == sys.executable
    # a link to it, as tools that install commands make them
    (tmp_path / "linked").symlink_to(beside)
    assert secantus_command(str(tmp_path / "linked"))[0] == sys.executable
    # a script with its interpreter elsewhere runs as it is
    (tmp_path / "secantusd-py").touch()
    assert secantus_command(str(tmp_path / "secantusd-py")) == [str(tmp_path / "secantusd-py")]
