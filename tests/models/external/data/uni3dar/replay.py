"""In the place of the interpreter that runs the programs of Uni-3DAR: gives what they wrote when they were run for real.

``python replay.py uni3dar_launch.py TASK SETTINGS.json ARGUMENTS...``, as the runner starts it; a command line that is not the
recorded one is an error. ``UNI3DAR_FAULT`` names what goes wrong.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FAULT = os.environ.get("UNI3DAR_FAULT", "")


def main() -> None:
    """Check the command line, and write the files."""
    task, settings = sys.argv[2], json.loads(Path(sys.argv[3]).read_text())
    checkout = settings["checkouts"][1]
    arguments = [word.replace(checkout, "CHECKOUT") for word in sys.argv[4:]]
    name = task
    if task == "inference":
        name = "-".join(sorted(arguments[arguments.index("--allow-atoms") + 1].split(",")))
    recorded = json.loads((HERE / "commands.json").read_text())[name]
    print("replay of", name)
    if FAULT == "memory" and task == "inference" and arguments[arguments.index("--batch-size") + 1] != "3":
        sys.exit(64)
    again = task == "inference" and not arguments[-1].endswith("-0.cif")  # a run that makes up for what was bad
    if FAULT != "memory" and not again and arguments != recorded:
        print("not as recorded:", [word for word in arguments if word not in recorded], "instead of", recorded)
        sys.exit(9)
    if FAULT == "fails":
        print("RuntimeError: something of the checkout")
        sys.exit(1)
    if task == "create":
        unpack("untrained.pt.gz", settings["weights"])
    elif task == "measure":
        shutil.copyfile(HERE / "measured.jsonl", settings["record"])
    elif task == "train":
        print((HERE / "train.log").read_text())
        shutil.copyfile(HERE / "losses.jsonl", settings["record"])
        if FAULT != "no-checkpoint":
            kept = Path(arguments[arguments.index("--save-dir") + 1])
            kept.mkdir()
            unpack("checkpoint_best.pt.gz", kept / "checkpoint_best.pt")
            if FAULT == "cut":
                (kept / "checkpoint_best.pt").write_bytes((kept / "checkpoint_best.pt").read_bytes()[:5000])
        if FAULT == "other-network":
            print("WARNING | Error in loading model state, missing_keys ['decoder.layers.1.attn.q_proj.weight']")
    elif task == "inference":
        sample(name, settings, Path(arguments[arguments.index("--save-path") + 1]))


def unpack(name: str, target: str | Path) -> None:
    """A recorded file whose bytes are compressed."""
    Path(target).write_bytes(gzip.decompress((HERE / name).read_bytes()))


def sample(name: str, settings: dict, target: Path) -> None:
    """What inference.py wrote, or what it might have."""
    record, text = (HERE / f"{name}.jsonl").read_text(), (HERE / f"{name}.cif").read_text()
    if FAULT == "huge":
        text = re.sub(r"(?m)^_cell_length_c .*$", "_cell_length_c 50000", text)
    elif FAULT == "overlapping":
        text = "\n".join(moved(line) for line in text.split("\n"))
    elif FAULT == "elements":
        text = text.replace(" Li ", " Na ")
    elif FAULT == "not-finite":
        text = re.sub(r"(?m)^(_cell_length_c +)\S+$", r"\1nan", text)
    elif FAULT in {"half-written", "hang"}:
        text, record = text[: int(0.7 * len(text))], record + '{"batch": 1, "dra'
    Path(settings["record"]).write_text(record)
    target.write_text(text)
    if FAULT == "hang":
        time.sleep(600)


def moved(line: str) -> str:
    """An atom at the origin."""
    words = line.split()
    if len(words) == 7 and words[0] in {"Li", "P", "S"}:
        words[3:6] = ["0.0", "0.0", "0.0"]
        return "  " + "  ".join(words)
    return line


main()
