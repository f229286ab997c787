"""A runner with every fault that a runner can have; ``fault`` among the options of the request says which."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from coevo_runner import OUTPUT, TaskError, advance, run

GOOD = {
    "lattice": [[3.0, 0, 0], [0, 3.1, 0], [0, 0, 3.2]],
    "species": ["Li", "S"],
    "positions": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "origin": {"operator": "fixed"},
}


def changed(**parts):
    return json.dumps({**GOOD, **parts})


LINES = {
    "nonsense": ["]["],
    "deep": ["[" * 3000],
    "list": ["[1, 2]"],
    "nan": [changed(lattice=[[math.nan, 0, 0], [0, 3, 0], [0, 0, 3]])],
    "infinite": [changed(positions=[[1e999, 0, 0], [0.5, 0.5, 0.5]])],
    "overflow": [changed().replace("3.1", "1" + "0" * 400)],
    "foreign": [changed(species=["Li", "Cl"]), changed(species=["Li", "Xx"])],
    "subsystem": [changed(species=["S", "S"])],
    "large": [changed(species=["Li", "S"] * 20, positions=[[0.1, 0.1, 0.1]] * 40)],
    "flat": [changed(lattice=[[3, 0, 0], [6, 0, 0], [0, 0, 3]])],
    "huge_cell": [changed(lattice=[[3000, 0, 0], [0, 3, 0], [0, 0, 3]])],
    "ragged": [changed(positions=[[0, 0], [1, 1, 1]]), changed(positions=[[0, 0, 0]]), changed(lattice="3 3 3")],
    "bool": [changed(positions=[[True, 0, 0], [0.5, 0.5, 0.5]])],
    "no_origin": [changed(origin={}), changed(origin="x"), changed(origin={"operator": "x", "y": [1]})],
    "loud_origin": [changed(origin={"operator": "x" * 4100})],
    "too_many": [changed()] * 9,
}


def sample(request):
    fault = request["options"]["fault"]
    lines = [changed(), *LINES.get(fault, [])]
    (OUTPUT / "candidates.jsonl").write_text("".join(line + "\n" for line in lines))
    result = {"candidates": "candidates.jsonl", "rejected": {"too_close": 2}}
    if fault in FAULTS:
        return FAULTS[fault](request, result) or result
    return result


def crash(request, result):
    print("about to crash")
    os.kill(os.getpid(), signal.SIGSEGV)


def raises(request, result):
    raise ZeroDivisionError("division by a zero of ours")


def out_of_memory(request, result):
    raise TaskError("out_of_memory", "CUDA out of memory at batch size 1")


def hang(request, result):
    # Neither this process nor its child listens to polite requests.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
    Path(request["options"]["note"]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def leave_child(request, result):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(request["options"]["note"]).write_text(str(child.pid))


def write_result(text):
    def fault(request, result):
        Path("result.json").write_text(text)
        sys.stdout.flush()
        os._exit(0)

    return fault


def chatter(request, result):
    print("first words")
    for _ in range(70):
        sys.stderr.write("x" * 100_000 + "\n")
    print("last words \x1b[31min colour")
    raise RuntimeError("tired")


def speak_secrets(request, result):
    for name, value in sorted(os.environ.items()):
        print(f"{name}={value}")


def away(request, result):
    return {**result, "candidates": "../request.json"}


def link(request, result):
    (OUTPUT / "linked").symlink_to("/etc/hostname")
    return {**result, "candidates": "linked"}


def flood(request, result):
    with (OUTPUT / "candidates.jsonl").open("w") as file:
        file.writelines("x" * 10_000 + "\n" for _ in range(4000))


def long_line(request, result):
    (OUTPUT / "candidates.jsonl").write_text("x" * 100_000)


def odd_counts(request, result):
    return {**result, "rejected": {"too_close": 2, "bad key!": 1, "negative": -4, "text": "many", "none": 0}}


def dies_after_result(request, result):
    done = {"protocol": 1, "family": "faulty", "task": "sample", "status": "done", "output": result}
    Path("result.json").write_text(json.dumps(done))
    os._exit(3)


def report_environment(request, result):
    origin = {"operator": "environment", "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "module": os.environ.get("LOADED", "")}
    (OUTPUT / "candidates.jsonl").write_text(changed(origin=origin) + "\n")
    advance(3)


FAULTS = {
    "crash": crash,
    "raises": raises,
    "out_of_memory": out_of_memory,
    "hang": hang,
    "leave_child": leave_child,
    "garbage_result": write_result("\x00\xff garbage"),
    "partial_result": write_result('{"protocol": 1, "family": "faulty", "task": "sam'),
    "list_result": write_result("[]"),
    "deep_result": write_result("[" * 100_000),
    "large_result": write_result('"' + "x" * 5_000_000 + '"'),
    "other_protocol": write_result('{"protocol": 2, "family": "faulty", "task": "sample", "status": "done", "output": {}}'),
    "true_protocol": write_result('{"protocol": true, "family": "faulty", "task": "sample", "status": "done", "output": {}}'),
    "other_family": write_result('{"protocol": 1, "family": "else", "task": "sample", "status": "done", "output": {}}'),
    "no_output": write_result('{"protocol": 1, "family": "faulty", "task": "sample", "status": "done"}'),
    "no_candidates": write_result('{"protocol": 1, "family": "faulty", "task": "sample", "status": "done", "output": {}}'),
    "no_result": lambda request, result: os._exit(0),
    "chatter": chatter,
    "speak_secrets": speak_secrets,
    "away": away,
    "link": link,
    "flood": flood,
    "long_line": long_line,
    "odd_counts": odd_counts,
    "dies_after_result": dies_after_result,
    "report_environment": report_environment,
}


def fit(request):
    fault = request["options"]["fault"]
    (OUTPUT / "model").mkdir()
    if fault == "linked_model":
        (OUTPUT / "model" / "weights").symlink_to("/etc/hostname")
    elif fault == "changes_model":
        for path in Path(request["model"]).iterdir():
            path.write_text("changed")
        (OUTPUT / "model" / "weights").write_text("new")
    elif fault != "empty_model":
        (OUTPUT / "model" / "weights").write_text("first")
    return {"model": "model", "report": {}, "document": {"n": 1}}


run("faulty", {"sample": sample, "fit": fit})
