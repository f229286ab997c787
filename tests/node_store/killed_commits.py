"""Kill a process with SIGKILL before each call of a commit that changes something, and check what is left."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from li_p_s_states import NODE, new_node

from coevo.node_store.store import open_store
from coevo.settings import Settings

SCRIPT = """
import importlib, json, os, signal, sys, traceback
sys.path.insert(0, sys.argv[1])
patches, settings, limit = json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
from li_p_s_states import new_node
from coevo.node_store.store import open_store
from coevo.settings import Settings
import pymatgen.core, pymongo, mongomock  # once, before the forks

def killing(original, point, count):
    def call(*args, **kwargs):
        count[0] += 1
        if count[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return call

def commit_and_die(point):
    lineage = new_node(open_store(Settings(**json.loads(settings.replace("POINT", str(point))))))
    lineage.commit()
    count = [0]
    for where, names in patches.items():
        try:
            owner = importlib.import_module(where)
        except ModuleNotFoundError:
            module, name = where.rsplit(".", 1)
            owner = getattr(importlib.import_module(module), name)
        for name in names:
            setattr(owner, name, killing(getattr(owner, name), point, count))
    lineage.commit()

for point in range(1, limit):
    child = os.fork()
    if child == 0:
        try:
            commit_and_die(point)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(point, code, flush=True)
    if code != -signal.SIGKILL:
        break
"""


@dataclass
class KilledCommits:
    """Databases in which the second commit was killed before its n-th call, and one in which it was not."""

    settings: dict[str, str]
    points: list[int]
    whole: int

    def settings_at(self, point: int) -> Settings:
        return Settings(**json.loads(json.dumps(self.settings).replace("POINT", str(point))))

    def check_every_point(self) -> list[bool]:
        """Return for each point whether the new state was visible already."""
        with open_store(self.settings_at(self.whole)) as store:
            new, old = store.head(NODE), store.state(f"{NODE}~1").id
        return [self._check(point, old, new) for point in self.points]

    def _check(self, point: int, old: str, new: str) -> bool:
        with open_store(self.settings_at(point)) as store:
            head = store.head(NODE)
            assert head in {old, new}, f"killed before call {point}"
            assert len(list(store.state(NODE).structure_documents())) == (8 if head == new else 4)
            lineage = new_node(store)
            lineage.draft()
            lineage.parents, lineage.iteration = (old,), 1
            assert lineage.commit() == new, f"killed before call {point}"
        with open_store(self.settings_at(point)) as store:
            assert store.node(NODE).branches == {"main": new}
            view = store.state(NODE)
            assert len(list(view.structure_documents())) == len(list(view.entries())) == 8
            assert len(list(view.labels())) == 6
        return head == new


def kill_commits(patches: dict[str, list[str]], settings: dict[str, str], limit: int = 200) -> KilledCommits:
    """Commit again and again in child processes, each killed one call later, until one lives.

    ``POINT`` in a setting is replaced by the number of the call.
    """
    arguments = [str(Path(__file__).parent), json.dumps(patches), json.dumps(settings), str(limit)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=300, check=True)
    codes = {int(line.split()[0]): int(line.split()[1]) for line in done.stdout.splitlines()}
    *points, whole = codes
    assert codes[whole] == 0, done.stderr
    assert all(codes[point] == -9 for point in points)
    return KilledCommits(settings, points, whole)
