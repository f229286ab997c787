"""Unique structures by MatterGen's own evaluation code, timed; runs in an environment that has MatterGen, without coevo.

    PYTHON_OF_THAT_ENVIRONMENT mattergen_uniqueness.py STRUCTURES.json {ordered,disordered}

Structures are compared within their reduced formula, in the order of the file, as MatterGen's evaluation of uniqueness does it.
Prints CPU seconds and the ids of the unique ones as JSON.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path


def main() -> None:
    """Read, compare, print."""
    warnings.simplefilter("ignore")
    from mattergen.evaluation.utils.dataset_matcher import get_unique
    from mattergen.evaluation.utils.structure_matcher import (
        DefaultDisorderedStructureMatcher,
        DefaultOrderedStructureMatcher,
    )
    from pymatgen.core import Structure

    matcher = DefaultOrderedStructureMatcher() if sys.argv[2] == "ordered" else DefaultDisorderedStructureMatcher()
    by_formula: dict[str, tuple[list[str], list[Structure]]] = {}
    for row in json.loads(Path(sys.argv[1]).read_text()):
        structure = Structure.from_dict(row["structure"])
        names, structures = by_formula.setdefault(structure.composition.reduced_formula, ([], []))
        names.append(row["id"])
        structures.append(structure)
    start = time.process_time()
    unique = [names[k] for names, structures in by_formula.values() for k in get_unique(matcher, structures)]
    print(json.dumps({"cpu_seconds": round(time.process_time() - start, 3), "unique": unique}))


if __name__ == "__main__":
    main()
