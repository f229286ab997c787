"""Records a real run of DiffCSP for the replay.

COEVO_ENVIRONMENTS=… COEVO_CHECKOUTS=… python tests/models/external/record_diffcsp.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import test_diffcsp as replay  # noqa: E402

from coevo.models.external.diffcsp import DIFFCSP  # noqa: E402
from coevo.models.external.environment import environment_of  # noqa: E402


def main() -> None:
    real = environment_of(DIFFCSP)
    checkouts = os.environ["COEVO_CHECKOUTS"]
    with tempfile.TemporaryDirectory() as name:
        variables = {"RECORDING": str(replay.FOLDER), "REAL_PYTHON": real.words[0]}
        replay.make_environment(Path(name), python=real.words[0], checkout=f"{checkouts}/DiffCSP", variables=variables)
        os.environ.update(COEVO_ENVIRONMENTS=name, COEVO_SCRATCH=name, COEVO_DEVICE="cpu")
        fitted, report = replay.fit()
        print({key: value for key, value in report.items() if key != "history"})
        sample = replay.sample(fitted)
        print(len(sample.candidates), sample.rejected)


if __name__ == "__main__":
    main()
