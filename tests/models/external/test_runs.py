"""Runs of a family that does everything wrong: what is said of each, and what is left behind."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CoevoError, ConfigError, ModelError
from coevo.models.contracts import Conditions, Example, Sample
from coevo.models.external import process
from coevo.models.external.exchange import last_lines, run_task
from coevo.models.external.families import ExternalFamily
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.logs import keeping_logs

HERE = Path(__file__).resolve().parent
FAULTY = ExternalFamily("faulty", HERE / "faulty_runner.py", HERE / "faulty.txt")
LI_S = Conditions(("Li", "S"), max_atoms=8)


class Faulty(ExternalGenerator):
    family = "faulty"
    external = FAULTY


@pytest.fixture(autouse=True)
def environments(tmp_path, monkeypatch) -> Path:
    directory = tmp_path / "environments"
    directory.mkdir()
    (directory / "faulty.yaml").write_text(f"python: {sys.executable}\ntimeout: 1800\n")
    monkeypatch.setenv("COEVO_ENVIRONMENTS", str(directory))
    monkeypatch.setenv("COEVO_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.delenv("COEVO_DEVICE", raising=False)
    return directory


def generator(*options: str) -> Faulty:
    return Faulty.initial(GeneratorConfig(options=options))


def sample(fault: str, *options: str, n: int = 4, conditions: Conditions = LI_S) -> Sample:
    return generator(f"fault = {fault}", *options).sample(n, conditions, 0)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_the_end_of(*pids: int) -> None:
    """Of processes that have been killed: they may take a moment to go."""
    deadline = time.monotonic() + 600
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{pids} live on"
        time.sleep(0.02)


def test_without_a_fault_nothing_is_left_behind(tmp_path):
    result = sample("none")
    assert [c.structure.composition.reduced_formula for c in result.candidates] == ["LiS"]
    assert result.candidates[0].origin == {"operator": "fixed", "generator": "faulty"}
    assert result.rejected == {"too_close": 2}
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("crash", r"gave no result \(signal SIGSEGV\)"),
        ("raises", r"the runner failed \(error\): ZeroDivisionError: division by a zero of ours"),
        ("out_of_memory", r"the runner failed \(out_of_memory\): CUDA out of memory at batch size 1"),
        ("no_result", r"gave no result \(exit code 0\)"),
        ("garbage_result", r"result.json is not JSON"),
        ("partial_result", r"result.json is not JSON"),
        ("list_result", r"result.json holds no mapping"),
        ("deep_result", r"result.json is not JSON"),
        ("large_result", r"result.json has 5000002 bytes, allowed: 4194304"),
        ("other_protocol", r"result.json: protocol: got '2', allowed: 1"),
        ("true_protocol", r"result.json: protocol: got 'True', allowed: 1"),
        ("other_family", r"result.json: family: got 'else', allowed: 'faulty'"),
        ("no_output", r"result.json: output: no mapping"),
        ("no_candidates", r"names the file 'None', allowed: a name without a directory"),
        ("away", r"names the file '../request.json', allowed: a name without a directory"),
        ("link", r"names 'linked', which is no regular file"),
        ("flood", r"candidates.jsonl has 40004000 bytes, allowed: \d+"),
        ("long_line", r"wrote a candidate of more than \d+ bytes"),
        ("dies_after_result", r"the runner said done, but exit code 3"),
    ],
)
def test_a_failed_run_is_one_error_that_names_its_log(fault, told, tmp_path):
    with pytest.raises(ModelError, match=told) as caught:
        sample(fault)
    log = Path(re.search(r"^log: (\S+?)(?:,| |$)", str(caught.value), flags=re.MULTILINE)[1])
    assert log.is_file()
    assert log.is_relative_to(tmp_path / "scratch")
    assert sorted(path.name for path in log.parent.iterdir()) in (
        ["request.json", "result.json", "runner.log"],
        ["request.json", "runner.log"],
    )
    assert str(caught.value).startswith("faulty: sample: ")


def test_the_error_shows_the_last_lines_of_the_log():
    with pytest.raises(ModelError) as caught:
        sample("raises")
    assert "  ZeroDivisionError: division by a zero of ours" in str(caught.value).splitlines()
    with pytest.raises(ModelError, match="about to crash"):
        sample("crash")


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("nonsense", {"malformed": 1}),
        ("deep", {"malformed": 1}),
        ("list", {"malformed": 1}),
        ("nan", {"not_finite": 1}),
        ("infinite", {"not_finite": 1}),
        ("overflow", {"not_finite": 1}),
        ("foreign", {"off_system": 2}),
        ("subsystem", {"off_system": 1}),
        ("large", {"too_many_atoms": 1}),
        ("flat", {"flat_cell": 1}),
        ("huge_cell", {"flat_cell": 1}),
        ("ragged", {"malformed": 3}),
        ("bool", {"malformed": 1}),
        ("no_origin", {"malformed": 3}),
        ("loud_origin", {"malformed": 1}),
    ],
)
def test_candidates_of_a_stranger_are_checked_one_by_one(fault, reasons):
    result = sample(fault)
    assert len(result.candidates) == 1
    assert result.rejected == {"too_close": 2} | reasons


def test_more_candidates_than_asked_are_counted_and_left_out():
    result = sample("too_many", n=2)
    assert len(result.candidates) == 2
    assert result.rejected["beyond_number"] == 8


def test_systems_and_compositions_are_checked():
    systems = Conditions(("Li", "S"), max_atoms=8, chemical_systems={"Li-S": 0.5, "S": 0.5})
    assert len(sample("subsystem", conditions=systems).candidates) == 2
    other = Conditions(("Li", "S"), max_atoms=8, compositions=("Li2S",))
    assert sample("none", conditions=other).rejected == {"off_composition": 1, "too_close": 2}


def test_counts_of_a_stranger_are_checked():
    assert sample("odd_counts").rejected == {"too_close": 2, "unreadable_count": 3}


@pytest.mark.timing
def test_a_run_that_hangs_is_ended_with_its_children(environments, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "GRACE", 0.5)
    note = tmp_path / "pids"

    def now() -> float:
        """The time limit is over as soon as the run hangs."""
        return 1e6 if note.exists() and len(note.read_text().split()) == 2 else 0.0

    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=now))
    with pytest.raises(ModelError, match=r"gave no result .it was ended after its time limit"):
        sample("hang", f"note = {note}")
    pids = [int(word) for word in note.read_text().split()]
    assert len(pids) == 2
    wait_for_the_end_of(*pids)


@pytest.mark.timing
def test_children_that_a_run_leaves_are_ended(tmp_path):
    note = tmp_path / "pid"
    assert len(sample("leave_child", f"note = {note}").candidates) == 1
    wait_for_the_end_of(int(note.read_text()))


@pytest.mark.timing
def test_an_interrupted_run_is_ended(tmp_path):
    """Whatever ends the wait ends the run: here the progress callback, as a signal would."""
    note = tmp_path / "pids"

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    asked = {"options": {"fault": "hang", "note": str(note)}, "n": 1, "conditions": {}, "seed": 0}
    running = run_task(FAULTY, "sample", asked, prepare=lambda d: (d.parent / "progress").write_text("1\n"), progress=interrupt)
    with pytest.raises(KeyboardInterrupt), running:
        pass
    if note.exists():
        wait_for_the_end_of(*map(int, note.read_text().split()))


def test_a_log_is_bounded_and_kept_whether_the_run_failed_or_not():
    kept: dict[str, bytes] = {}
    with keeping_logs(kept.__setitem__):
        with pytest.raises(ModelError) as caught:
            sample("chatter")
        log = kept["faulty-sample"]
        assert process.LOG_LIMIT // 2 < len(log) < process.LOG_LIMIT + 50_000
        assert log.startswith(b"first words\n")
        assert re.search(rb"\n\.\.\. \d{7} bytes left out \.\.\.\n", log)
        assert b"RuntimeError: tired" in log[-500:]
        assert "\x1b" not in str(caught.value)
        assert "RuntimeError: tired" in str(caught.value)
        assert len(str(caught.value)) < 8000
        sample("report_environment")
        assert kept["faulty-sample"] == b""


def test_no_secret_reaches_a_run_or_its_log(environments, monkeypatch):
    for name in ("COEVO_DATABASE", "MONGODB_URI", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "DB_PASSWORD", "PYTHONPATH"):
        monkeypatch.setenv(name, "file:hidden-hunter2" if name == "COEVO_DATABASE" else "hidden-hunter2")
    monkeypatch.setenv("HF_TOKEN", "hf-passed-on")
    monkeypatch.setenv("PLAIN", "plain-to-see")
    (environments / "faulty.yaml").write_text(
        f"python: {sys.executable}\npass_variables: [HF_TOKEN]\nvariables: {{API_KEY: given-in-the-file, MODE: fast}}\n"
    )
    kept: dict[str, bytes] = {}
    with keeping_logs(kept.__setitem__):
        sample("speak_secrets")
    log = kept["faulty-sample"].decode()
    assert "PLAIN=plain-to-see\n" in log
    assert "MODE=fast\n" in log
    assert "HF_TOKEN=***\n" in log
    assert "API_KEY=***\n" in log
    for secret in ("hidden-hunter2", "hf-passed-on", "given-in-the-file"):
        assert secret not in log


def test_the_gpu_of_the_scheduler_is_passed_on_and_the_cpu_hides_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert sample("report_environment").candidates[0].origin["gpu"] == "3"
    monkeypatch.setenv("COEVO_DEVICE", "cpu")
    assert sample("report_environment").candidates[0].origin["gpu"] == ""


def test_prefix_and_modules_go_before_the_interpreter(environments, tmp_path, monkeypatch):
    """`module` is a function of login shells, as on a cluster."""
    (tmp_path / ".bash_profile").write_text('module() { [ "$1" = load ] && export LOADED="$LOADED $2"; }\n')
    (tmp_path / "launch").write_text(f'#!/bin/sh\necho "launched with $*"\nshift 2\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "launch").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    (environments / "faulty.yaml").write_text(
        f"prefix: {tmp_path}/launch run\nmodules: [cuda/12.4, gcc]\npython: python-of-the-image\n"
    )
    kept: dict[str, bytes] = {}
    with keeping_logs(kept.__setitem__):
        origin = sample("report_environment").candidates[0].origin
    assert origin["module"] == " cuda/12.4 gcc"
    assert kept["faulty-sample"] == b"launched with run python-of-the-image faulty_runner.py request.json\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pyhton: x\n", "faulty.yaml:1: pyhton: unknown key; did you mean python?"),
        ("modules: ['a; rm -rf /']\n", "is not the name of a module"),
        ('prefix: "conda run \'x"\n', "allowed: words as in a shell"),
        ("variables: {1x: secret-value}\n", "is not the name of a variable"),
        ("timeout: 0\n", "timeout: got 0, allowed: an integer >= 1"),
    ],
)
def test_what_is_wrong_with_the_file_of_an_environment_is_told(environments, text, told):
    (environments / "faulty.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        sample("none")
    assert told in str(caught.value)
    assert "secret-value" not in str(caught.value)


def test_a_family_without_an_environment_says_how_to_make_one(environments):
    (environments / "faulty.yaml").unlink()
    with pytest.raises(ConfigError, match=r"make it with `coevo env create faulty`, or name an existing Python in .*faulty.yaml"):
        sample("none")
    (environments / "faulty.yaml").write_text("python: /nowhere/python\n")
    with pytest.raises(CoevoError, match="/nowhere/python cannot be started: No such file or directory"):
        sample("none")


def test_models_of_a_stranger_are_checked(tmp_path):
    first, report = generator("fault = none").fit([], 0)
    assert (report, first.document) == ({}, {"n": 1})
    with pytest.raises(ModelError, match="neither a file nor a directory"):
        generator("fault = linked_model").fit([], 0)
    with pytest.raises(ModelError, match="the runner's model has no files"):
        generator("fault = empty_model").fit([], 0)
    # A runner that writes into the model it is given changes a copy.
    first.save(tmp_path / "before")
    changing = Faulty.load(tmp_path / "before", GeneratorConfig(options=("fault = changes_model",)))
    second, _ = changing.fit([], 0)
    changing.save(tmp_path / "after")
    second.save(tmp_path / "second")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes() != (tmp_path / "second").read_bytes()


def test_a_model_goes_with_its_last_generator():
    import gc

    first, _ = generator("fault = none").fit([], 0)
    path = first._model.path
    again = Faulty(first._model, first.document)
    del first
    gc.collect()
    assert path.is_dir()
    del again
    gc.collect()
    assert not path.exists()


@pytest.mark.timing
def test_a_runner_whose_parent_is_gone_ends_itself(tmp_path):
    """The script as it is copied, started alone; it waits for the test between its looks instead of for some seconds."""
    import subprocess

    from coevo.models.external.families import PROTOCOL_FILE

    text, wait = PROTOCOL_FILE.read_text(), "time.sleep(_CHECK)"
    assert text.count(wait) == 1
    (tmp_path / "coevo_runner.py").write_text(text.replace(wait, "os.write(1, b'waits\\n'), sys.stdin.readline()"))
    (tmp_path / "runner.py").write_text(
        "import time\nfrom coevo_runner import run\nrun('x', {'wait': lambda r: time.sleep(3600)})\n"
    )
    (tmp_path / "request.json").write_text('{"protocol": 1, "family": "x", "task": "wait"}')
    (tmp_path / "alive").touch()
    pipe = subprocess.PIPE
    command = [sys.executable, "runner.py", "request.json"]
    runner = subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def looks(time_ns: int) -> None:
        assert runner.stdout.readline() == "waits\n"
        os.utime(tmp_path / "alive", ns=(time_ns, time_ns))
        runner.stdin.write("look\n")
        runner.stdin.flush()

    for number in range(40):  # we live for longer than its patience
        looks(number)
    for _ in range(24):
        looks(39)
    _, told = runner.communicate(timeout=300)
    assert runner.returncode == 75
    assert "the process that started this run is gone" in told


def test_runners_are_written_for_python_3_8():
    import ast

    from coevo.models.external.families import PROTOCOL_FILE

    paths = list(PROTOCOL_FILE.parent.rglob("*.py"))
    assert len({path.name for path in paths}) == len(paths)  # the directory of a run has no folders
    for path in paths:
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)} | {
            alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
        }
        assert not any(name == "coevo" or name.startswith("coevo.") for name in imported)


def test_the_last_lines_of_a_log_are_short_and_printable(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(b"line %d" % k for k in range(100)) + b"\n\n\xff\x07bell\r\n" + b"y" * 5000)
    lines = last_lines(log)
    assert len(lines) == 15
    assert lines[-1] == "y" * 300
    assert lines[-2].endswith("bell")
    assert all(line.isprintable() for line in lines)
    assert last_lines(tmp_path / "none") == []


def test_examples_are_not_needed_in_order(tmp_path):
    from pymatgen.core import Lattice, Structure

    from coevo.models.external.crystals import write_examples

    one = Example("b", Structure(Lattice.cubic(3), ["Li"], [[0, 0, 0]]), 0.1)
    two = Example("a", Structure(Lattice.cubic(4), ["S"], [[0, 0, 0]]), 0.0)
    write_examples(tmp_path / "1", [one, two])
    write_examples(tmp_path / "2", [two, one])
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
