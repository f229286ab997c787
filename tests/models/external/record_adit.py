"""Record what ADiT's real classes give, for tests that have neither its environment nor a checkout.

    COEVO_ENVIRONMENTS=… COEVO_CHECKOUTS=… python tests/models/external/record_adit.py

A small model is trained on strained phases of Li-P-S and asked for candidates as coevo asks for them. Written beside this file,
in ``data/adit``: the request, the sizes of the model, the arrays of the decoder by batch, and the runner's candidates and result.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
TARGET = HERE / "data" / "adit"

IN_ITS_ENVIRONMENT = """
import json, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, ".")
import adit_model, adit_runner
request, target = json.loads(Path("request.json").read_text()), Path("recorded")
arrays, calls, decoded = {}, [], adit_model.Model.decoded
def record(model, *asked):
    found = decoded(model, *asked)
    arrays.update({f"{len(calls)}.{name}": a.astype(np.float32) for name, a in found.items()})
    calls.append(list(asked))
    return {name: a.astype(np.float32).astype(float) for name, a in found.items()}
adit_model.Model.decoded = record
Path("output").mkdir()
target.mkdir()
result = adit_runner.sample(request)
np.savez_compressed(target / "decoded.npz", **arrays)
(target / "result.json").write_text(json.dumps({"calls": calls, "output": result}, indent=1) + "\\n")
Path("output", "candidates.jsonl").replace(target / "candidates.jsonl")
"""


def main() -> None:
    """Train, sample, keep."""
    from small_adit import small_settings
    from small_mattergen import strained_examples

    from coevo.models.contracts import Conditions
    from coevo.models.external.adit import ADIT, AditGenerator
    from coevo.models.external.checkouts import verified_checkouts
    from coevo.models.external.environment import environment_of
    from coevo.models.external.families import PROTOCOL_FILE
    from coevo.models.external.generator import _plain

    settings = small_settings(oversampling=1.5)
    trained, _ = AditGenerator.initial(settings).fit(strained_examples(), 1)
    conditions = Conditions(("Li", "P", "S"), max_atoms=12, chemical_systems={"Li-P-S": 0.5, "Li-S": 0.3, "Li-P": 0.2})
    request = trained._request(7) | {
        "n": 10,
        "conditions": _plain(conditions),
        "device": "cpu",
        "task": "sample",
        "family": "adit",
    }
    request |= {"protocol": 1, "checkouts": {c.name: str(c.path) for c in verified_checkouts(ADIT)}}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for script in (PROTOCOL_FILE, ADIT.runner, *ADIT.companions):
            shutil.copyfile(script, directory / script.name)
        shutil.copytree(trained._model.path, directory / "input" / "model")
        (directory / "request.json").write_text(json.dumps(request))
        command = environment_of(ADIT).command("-B", "-c", IN_ITS_ENVIRONMENT)
        subprocess.run(command, cwd=directory, check=True)
        request["checkouts"] = dict.fromkeys(request["checkouts"], "CHECKOUT")
        TARGET.mkdir(parents=True, exist_ok=True)
        (TARGET / "request.json").write_text(json.dumps(request, indent=1, sort_keys=True) + "\n")
        shutil.copyfile(directory / "input" / "model" / "adit.json", TARGET / "adit.json")
        for found in sorted((directory / "recorded").iterdir()):
            shutil.copyfile(found, TARGET / found.name)


if __name__ == "__main__":
    main()
