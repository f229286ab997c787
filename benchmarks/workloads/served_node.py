"""A Li–P–S node with a real first state and as many made-up entries as wanted, for measurements of the server.

    python -m workloads.served_node DATABASE N

Configuration, metrics, references and checkpoints are those of `coevo init`. Entries are random cells of 2 to 24 atoms with
random amounts of each element, of 568 compositions; their energies are those of the references' hull and 80 meV/atom more on
average (exponential).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import fractions
from coevo.analysis.hull.hull import Hull
from coevo.node_store.canonical import structure_document_id
from coevo.node_store.states import StateDraft
from coevo.node_store.store import open_store
from coevo.settings import Settings
from workloads.li_p_s_population import STABLE, evaluation, geometry

if TYPE_CHECKING:
    from coevo.node_store.views import StateView

NODE = "served"
ELEMENTS = ["Li", "P", "S"]
CONFIG = """node:
  name: served
  elements: [Li, P, S]
  references: li-p-s
"""


def structure(index: int, seed: int) -> dict[str, Any]:
    """Document ``index`` of the entries."""
    from pymatgen.core import Composition

    rng = np.random.default_rng([seed, index])
    amounts = {symbol: int(count) for symbol, count in zip(ELEMENTS, rng.integers(0, 9, 3), strict=True) if count}
    amounts = amounts if len(amounts) > 1 else {"Li": 8, "S": 4}
    document = geometry(rng, [symbol for symbol, count in amounts.items() for _ in range(count)])
    volume = abs(float(np.linalg.det(np.array(document["lattice"]["matrix"]))))
    return {
        "_id": structure_document_id(document),
        "structure": document,
        "formula": Composition(amounts).reduced_formula,
        "chemsys": "-".join(sorted(amounts)),
        "elements": sorted(amounts),
        "nsites": sum(amounts.values()),
        "space_group": int(rng.choice([1, 1, 1, 2, 5, 8, 14, 62, 225])),
        "volume_per_atom": volume / sum(amounts.values()),
        "origin": {"generator": "embedded", "operator": "random", "seed": seed, "shard": index // 1000, "index": index},
    }


def draft_of(first: StateView, n: int, seed: int) -> StateDraft:
    """A state that adds ``n`` entries to a first one."""
    rows = [structure(index, seed) for index in range(n)]
    references = list(first.evaluations("reference"))
    hull = Hull.from_points(
        ELEMENTS, fractions([row["formula"] for row in references], ELEMENTS), [row["energy_per_atom"] for row in references]
    )
    shares = fractions([row["formula"] for row in rows], ELEMENTS)
    at_hull = hull.energy(shares)
    elements = hull.energy(np.eye(3))
    found = []
    for row, share, energy in zip(rows, shares, at_hull, strict=True):
        one = evaluation(row, "entry", 1)
        above = one["energy_above_hull"]
        one |= {"energy_per_atom": float(energy + above), "formation_energy_per_atom": float(energy + above - share @ elements)}
        found.append(one | {"iteration_added": 1, "is_stable": above <= STABLE})
    document = first.document
    population = document["metrics"]["population"] | {"sun": sum(row["is_sun"] for row in found)}
    metrics = document["metrics"] | {"population": population}
    return StateDraft(
        node=NODE,
        parents=(first.id,),
        iteration=1,
        message=f"{n} made-up entries",
        config=document["config"],
        checkpoints=document["checkpoints"],
        metrics=metrics,
        structures=rows,
        evaluations=[*found, *references],
        offsets=first.manifest["offsets"],
    )


def build(database: Path, n: int, seed: int = 1) -> None:
    """Make the node by `coevo init` and commit the state."""
    database.parent.mkdir(parents=True, exist_ok=True)
    config = database.parent / "served.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    environment = {**os.environ, "COEVO_DATABASE": f"file:{database}"}
    subprocess.run([sys.executable, "-m", "coevo.app.cli", "init", str(config)], env=environment, check=True, capture_output=True)
    with open_store(Settings(database=f"file:{database}")) as store:
        first = store.state(NODE)
        draft = draft_of(first, n, seed)
        store.commit(draft, "main", first.id)


if __name__ == "__main__":
    build(Path(sys.argv[1]), int(sys.argv[2]))
