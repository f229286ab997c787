"""Stands where the interpreter stands that runs DiffCSP: records what a real run wrote, or writes again what was recorded.

``RECORDING`` is the folder of the recording. With ``REAL_PYTHON`` the command is run by that, and its command line and files are
kept; otherwise the command line must be the recorded one, and the recorded files are written. ``FAULT`` damages what is written.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "diffcsp"
RESULTS = {"train": "best", "sample": "output"}
"""What the task calls the file that a mode writes."""


def command_line(words: list[str], checkout: str) -> list[str]:
    """The words without the places of this machine."""
    return [word.replace(str(Path.cwd()), "RUN").replace(checkout, "CHECKOUT") for word in words]


def main() -> None:
    folder, words = Path(os.environ["RECORDING"]), sys.argv[1:]
    mode, checkout, task = words[2], words[3], Path(words[4])
    request = json.loads(task.read_text())
    result, told = Path(request[RESULTS[mode]]), Path(f"{task}.done")
    kept = {told: folder / f"{mode}.done.json", result: folder / f"{mode}-{result.name}"}
    if mode == "train":
        tables = {name: (Path("work", "data", name), folder / name) for name in ("train.csv", "val.csv")}
    said = command_line(words, checkout)
    if "REAL_PYTHON" in os.environ:
        code = subprocess.run([os.environ["REAL_PYTHON"], *words], check=False).returncode
        (folder / f"{mode}.command.json").write_text(json.dumps(said, indent=1) + "\n")
        for path, copy in kept.items():
            shutil.copyfile(path, copy)
        if mode == "train":
            for path, copy in tables.values():
                shutil.copyfile(path, copy)
        raise SystemExit(code)
    recorded = json.loads((folder / f"{mode}.command.json").read_text())
    assert said == recorded, f"the command line is {said}, recorded {recorded}"
    if mode == "train":
        for path, copy in tables.values():
            assert path.read_bytes() == copy.read_bytes(), f"{path} is not what was recorded"
    write(mode, kept, result, told)


def write(mode: str, kept: dict[Path, Path], result: Path, told: Path) -> None:
    fault = os.environ.get("FAULT", "")
    if fault == "hang":
        time.sleep(3600)
    if fault == "nothing":
        raise SystemExit(1)
    for path, copy in kept.items():
        shutil.copyfile(copy, path)
    if fault == "half-weights":
        result.unlink()
    elif fault == "half-result":
        told.write_bytes(told.read_bytes()[:20])
    elif fault == "killed":
        told.unlink()
        result.write_bytes(result.read_bytes()[: result.stat().st_size // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault and mode == "sample":
        lines = [damaged(json.loads(line), fault) for line in result.read_text().splitlines()]
        result.write_text("".join(json.dumps(line) + "\n" for line in lines))


def damaged(line: dict, fault: str) -> object:
    """A draw with a fault."""
    if fault == "huge":
        line["lattice"] = [[100 * x for x in row] for row in line["lattice"]]
    elif fault == "overlap":
        line["positions"] = [line["positions"][0]] * len(line["positions"])
    elif fault == "elements":
        line["numbers"][0] = 26
    elif fault == "nan":
        line["lattice"][0][0] = float("nan")
    elif fault == "twice":
        line["draw"] = 0
    elif fault == "list":
        return [line]
    return line


if __name__ == "__main__":
    main()
