"""What becomes of a batch when the worker of a family fails at it: crystals, processes that are gone, and logs."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_family import fake
from pymatgen.core import Lattice, Structure

from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.models.contracts import Failure, FitSettings, Prediction, Relaxation, RelaxationSettings, TrainingFrame
from coevo.models.external.archive import pack
from coevo.models.external.frames import Pipes
from coevo.models.external.logs import keeping_logs
from coevo.models.external.workers import KEPT, shut_down_model_workers, worker_for
from coevo.models.registry import force_field_from
from coevo.models.relaxing.halved_batches import noting_halved_batches

__all__ = ["fake"]


def metal(symbol: str, stretch: float = 1.0) -> Structure:
    return Structure(
        Lattice.cubic(3.8 * stretch), [symbol, "Cu", "Cu", "Cu"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    )


def batch(n: int = 6, palladium: int = 3) -> list[Structure]:
    """Crystals, of which one holds the element that faults are about."""
    return [metal("Pd" if k == palladium else "Au", 0.97 + 0.01 * k) for k in range(n)]


@pytest.fixture(autouse=True)
def no_worker_is_left(fake: Path):
    yield
    shut_down_model_workers()


@pytest.fixture
def impatient(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for an answer is over as soon as the worker hangs."""
    receive = Pipes.receive

    def receive_until_it_hangs(pipes: Pipes, shapes: Any, patience: float) -> Any:
        while not select.select([pipes._incoming], [], [], 0.02)[0]:
            for marker in (fake / "markers").glob("hangs-*"):
                assert patience == 600
                marker.unlink()
                return receive(pipes, shapes, 0.1)
        return receive(pipes, shapes, patience)

    monkeypatch.setattr(Pipes, "receive", receive_until_it_hangs)


def logged(force_field, structures):
    """Evaluate, and return the logs that a job would keep too."""
    logs: list[bytes] = []
    with keeping_logs(lambda name, data: logs.append(name.encode() + b"\n" + data)):
        found = force_field.evaluate(structures)
    return found, b"".join(logs).decode()


ENDED = {
    "crash": "exit code 3",
    "killed": "signal 9",
    "garbage": "begins with b'Calculat', which is no frame",
    "huge": r"the head of its answer has 1152921504606846976 bytes, allowed: 1048576",
    "list": "the head of its answer is no mapping",
    "nonsense": "the head of its answer is not JSON",
    "deep": "the head of its answer is not JSON",
    "stale": "it answered question 99",
    "truncated": "it ended in the middle of an answer",
    "shape": "the arrays of its answer are not those asked for",
}
FIRST = ("killed", "garbage", "truncated", "shape")
"""A process that is gone, what is no frame, half a frame, a frame of something else; the others are part of the longer run."""


class TestFaults:
    @pytest.fixture(scope="class")
    @classmethod
    def sound(cls, fake):
        return force_field_from("fake").evaluate(batch())

    @pytest.mark.parametrize(
        "fault", [fault if fault in FIRST else pytest.param(fault, marks=pytest.mark.long) for fault in ENDED]
    )
    def test_what_is_no_answer_ends_the_worker(self, fault):
        found, log = logged(force_field_from("fake", fault), batch(2, 1))
        assert [type(one) for one in found] == [Prediction, Failure]
        assert found[1].reason == "crashed"
        assert ENDED[fault] in found[1].detail
        assert "fake-worker" in log
        # twice together, and the one alone
        assert log.count("coevo: the worker is gone while it had 2 structures") == 2
        assert log.count("coevo: the worker is gone while it had 1 structures") == 1

    def test_one_crystal_is_lost_and_the_others_are_as_ever(self, sound):
        found = force_field_from("fake", "killed").evaluate(batch())
        assert [type(one) for one in found] == [Prediction] * 3 + [Failure] + [Prediction] * 2
        for one, other in zip(found, sound, strict=True):
            if isinstance(one, Prediction):
                assert one.energy == other.energy
                assert np.array_equal(one.forces, other.forces)

    @pytest.mark.long
    @pytest.mark.timing
    def test_a_hang_is_ended_with_all_its_processes(self, impatient):
        found, log = logged(force_field_from("fake", "hang"), batch(2, 0))
        assert [type(one) for one in found] == [Failure, Prediction]
        assert found[0].reason == "crashed"
        assert "no answer in the time that it was given (patience: 600 s)" in found[0].detail
        assert log.count("no answer in the time") == 3

    def test_a_worker_that_is_killed_once_gives_the_same_numbers(self, fake, sound):
        (fake / "markers" / "once").unlink(missing_ok=True)
        found, log = logged(force_field_from("fake", "once"), batch())
        assert [one.energy for one in found] == [one.energy for one in sound]
        assert log.count("the worker is gone") == 1

    def test_a_worker_killed_between_batches_is_started_again(self, sound):
        force_field = force_field_from("fake")
        force_field.evaluate(batch(1))
        os.kill(worker_for(force_field.predictor.model).pid, signal.SIGKILL)
        assert [one.energy for one in force_field.evaluate(batch())] == [one.energy for one in sound]

    def test_out_of_memory_halves_the_batch(self, sound):
        found, log = logged(force_field_from("fake", "memory"), batch())
        assert [one.energy for one in found] == [one.energy for one in sound]
        assert "coevo: out_of_memory with 6 structures, 24 atoms" in log
        assert "coevo: out_of_memory with 3 structures, 12 atoms" in log
        assert "gone" not in log

    @pytest.mark.long
    @pytest.mark.parametrize("workers", [1, 2])
    @pytest.mark.parametrize(
        ("fault", "halved"),
        [
            ("sound", {}),
            ("once", {}),  # the same batch of a new worker
            ("memory", {"out_of_memory": 2}),
            ("killed", {"crashed": 1}),
            ("raises", {"calculation_failed": 1}),
        ],
    )
    def test_the_size_of_the_batches_that_were_answered_is_told(self, fake, fault, halved, workers):
        """Of eight crystals the smallest batches that memory lets pass are of two; the one that is lost leaves one beside it."""
        (fake / "markers" / "once").unlink(missing_ok=True)
        with noting_halved_batches() as noted:
            force_field_from("fake", fault).evaluate(batch(8), workers=workers)
            # more than one batch goes to worker processes, where there are some
            settings = RelaxationSettings(max_steps=0, batch_size=4)
            force_field_from("fake", fault).relax(batch(8)[:4] * 2, settings, workers=workers)
        assert noted == halved

    def test_a_worker_that_dies_in_a_half_is_started_again(self, fake, sound):
        (fake / "markers" / "memory-once").unlink(missing_ok=True)
        found, log = logged(force_field_from("fake", "memory-once"), batch())
        assert [one.energy for one in found] == [one.energy for one in sound]
        assert log.count("the worker is gone") == 1

    def test_who_ends_a_worker_between_two_questions_is_not_these_crystals(self, fake, monkeypatch):
        """Another thread may: one whose answer is none, or that is one too many."""
        sound, asked = force_field_from("fake").evaluate(batch(3, 1)), []

        def ended_before(model):
            worker = worker_for(model)
            asked.append(worker)
            if len(asked) % 2:
                worker.close()
            return worker

        force_field = force_field_from("fake", "memory")
        assert force_field.predictor.greeting.elements
        monkeypatch.setattr("coevo.models.external.predictor.worker_for", ended_before)
        assert [one.energy for one in force_field.evaluate(batch(3, 1))] == [one.energy for one in sound]
        assert len(asked) == 6  # all three together, one, two: each of two workers

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [("tight", "out_of_memory"), ("tight-host", "out_of_memory"), ("raises", "calculation_failed"), ("nan", "nan")],
    )
    def test_what_a_worker_says_of_one_crystal(self, fault, reason):
        found = force_field_from("fake", fault).evaluate(batch(3, 1))
        assert [type(one) for one in found] == [Prediction, Failure, Prediction]
        assert found[1].reason == reason

    def test_relaxations_go_on_without_the_crystal_that_crashes(self):
        chosen = RelaxationSettings(fmax=0.05)
        sound = force_field_from("fake").relax(batch(3, 1), chosen)
        found = force_field_from("fake", "crash").relax(batch(3, 1), chosen)
        assert [type(one) for one in found] == [Relaxation, Failure, Relaxation]
        assert found[1].reason == "crashed"
        for k in (0, 2):
            assert found[k].prediction.energy == pytest.approx(sound[k].prediction.energy, abs=1e-9)

    def test_a_model_that_fails_at_everything_is_an_error(self):
        with pytest.raises(ModelError, match="fake: no worker survived any of 2 structures, nor one atom") as caught:
            force_field_from("fake", "hopeless").evaluate([metal("Pd"), metal("Pd", 1.02)])
        assert "it ended (exit code 4)\nthe last lines of its log:" in str(caught.value)
        assert "  no such library" in str(caught.value)

    @pytest.mark.parametrize("n", [1, 2])
    def test_crystals_that_nothing_survives_are_failures_also_where_nothing_else_was_asked(self, n):
        found = force_field_from("fake", "crash").evaluate([metal("Pd", 1.0 + 0.01 * k) for k in range(n)])
        assert [one.reason for one in found] == ["crashed"] * n
        assert {one.detail for one in found} == {"it ended (exit code 3)"}

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            (
                "mute",
                r"did not start: it ended \(exit code 5\)\nthe last lines of its log:\n  a line on standard output",
            ),
            ("refuses", r"its worker cannot serve this model: RuntimeError: these weights are of a newer version"),
            ("no-elements", "its worker did not start: its greeting has no list of atomic numbers"),
            ("other-scale", "its worker serves energies of scale 'pbe', and the checkpoint says 'emt'"),
        ],
    )
    def test_a_worker_that_does_not_start_is_an_error(self, fault, message):
        with pytest.raises(ModelError, match=message):
            force_field_from("fake", fault).evaluate([metal("Au")])


class TestProcesses:
    def test_one_worker_for_a_model_and_few_in_all(self):
        first = force_field_from("fake")
        first.evaluate([metal("Au")])
        worker = worker_for(first.predictor.model)
        force_field_from("fake").evaluate([metal("Au")])
        assert worker_for(first.predictor.model) is worker
        for weights in ("nan", "raises", "tight")[:KEPT]:
            force_field_from("fake", weights).evaluate([metal("Au")])
        assert not worker.alive
        assert not alive(worker.pid)

    def test_what_it_prints_is_in_the_log_and_no_secret_is(self, fake, monkeypatch):
        (fake / "environments" / "fake.yaml").open("a").write("pass_variables: [FAKE_TOKEN]\n")
        monkeypatch.setenv("FAKE_TOKEN", "very-secret-value")
        monkeypatch.setenv("OTHER_TOKEN", "not-passed-on")
        _, log = logged(force_field_from("fake"), [metal("Au")])
        assert "a line on standard output" in log
        assert "another one, past Python" in log
        assert "fake serves on cpu" in log

    def test_a_worker_ends_with_the_process_that_started_it(self, fake, tmp_path):
        """Also if that is killed, and while it is in the middle of a batch."""
        code = (
            "import sys; from fake_family import *; from coevo.models.registry import force_field_from\n"
            "from coevo.models.external.workers import worker_for\n"
            "from pymatgen.core import Lattice, Structure\n"
            "f = force_field_from('fake', 'hang'); print(worker_for(f.predictor.model).pid, flush=True)\n"
            "f.evaluate([Structure(Lattice.cubic(3.9), ['Pd', 'Cu'], [[0, 0, 0], [0.5, 0.5, 0.5]])])\n"
        )
        paths = os.pathsep.join([str(fake), str(Path(__file__).parent), *sys.path])
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
        )
        pid = int(process.stdout.readline())
        marker, deadline = fake / "markers" / f"hangs-{pid}", time.monotonic() + 600
        while not marker.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        marker.unlink()
        assert alive(pid)
        process.kill()
        process.wait()
        process.stdout.close()
        while alive(pid):
            assert time.monotonic() < deadline, f"{pid} lives on"
            time.sleep(0.02)

    def test_no_environment_is_one_clear_line(self, monkeypatch, tmp_path):
        monkeypatch.setenv("COEVO_ENVIRONMENTS", str(tmp_path))
        with pytest.raises(ConfigError, match=r"family fake has no environment: .* make it with `coevo env create fake`"):
            force_field_from("fake").evaluate([metal("Au")])

    def test_a_device_that_the_family_has_not(self):
        with pytest.raises(ConfigError, match="device 'cuda' is not supported by fake; allowed: cpu"):
            force_field_from("fake", device="cuda")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class TestFits:
    def frames(self, force_field, seeds, shift=0.05):
        crystals = [metal("Au", 0.95 + 0.01 * seed) for seed in seeds]
        found = force_field.evaluate(crystals)
        return [TrainingFrame(s, p.energy + shift, 0.8 * p.forces, 0.8 * p.stress) for s, p in zip(crystals, found, strict=True)]

    def test_the_checkpoint_says_where_it_comes_from(self, tmp_path):
        parent = force_field_from("fake")
        fitted, report = parent.fit(self.frames(parent, range(4)), self.frames(parent, [4, 5]), FitSettings(epochs=3), seed=1)
        assert report["loss_after"] < report["loss_before"]
        document = fitted.document
        assert {name: document[name] for name in ("weights", "energy_scale", "functional", "parent")} == {
            "weights": "sound",
            "energy_scale": "emt",
            "functional": "EMT",
            "parent": parent.digest,
        }
        assert document["versions"]["ase"]
        again, _ = fitted.fit(self.frames(parent, range(4)), self.frames(parent, [4, 5]), FitSettings(epochs=3), seed=2)
        assert again.document["parent"] == fitted.digest
        assert again.document["training"] == document["training"]

    def test_a_family_that_finds_itself_better_is_not_believed(self):
        parent = force_field_from("fake", "worsens")
        frames = self.frames(parent, range(4))
        fitted, report = parent.fit(frames, frames, FitSettings(epochs=2), seed=1)
        assert report["best_epoch"] == 0
        assert report["loss_after"] == report["loss_before"]
        assert fitted.digest == parent.digest

    def test_a_report_that_makes_no_sense_is_an_error(self):
        parent = force_field_from("fake", "boasts")
        frames = self.frames(parent, range(4))
        with pytest.raises(ModelError, match="best_epoch 99, allowed: 0 to 2"):
            parent.fit(frames, frames, FitSettings(epochs=2), seed=1)

    def test_labels_that_cannot_be_used(self):
        parent = force_field_from("fake")
        frames = self.frames(parent, range(3))
        bad = [TrainingFrame(frames[0].structure, np.nan, frames[0].forces, frames[0].stress)]
        with pytest.raises(ModelError, match=r"validation frame 0 .* has a label that is not finite"):
            parent.fit(frames, bad, FitSettings(), seed=1)
        bad = [TrainingFrame(frames[0].structure, 1.0, frames[0].forces[:2], frames[0].stress)]
        with pytest.raises(ModelError, match=r"has forces \(2, 3\) and stress \(3, 3\); expected \(4, 3\)"):
            parent.fit(bad, frames, FitSettings(), seed=1)
        alone = Structure(Lattice.cubic(30.0), ["Cu"], [[0, 0, 0]])
        lonely = [TrainingFrame(alone, 1.0, np.zeros((1, 3)), np.zeros((3, 3)))]
        with pytest.raises(ModelError, match="none of the 1 training frames can be used"):
            parent.fit(lonely, frames, FitSettings(), seed=1)

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ({"weights": "unheard"}, "fake has no weights 'unheard' here"),
            ({}, "fake has no weights 'None' here"),
            ({"weights": "sound", "energy_scale": "pbe", "functional": "EMT"}, "says scale 'pbe', and those of sound are 'emt'"),
        ],
    )
    def test_checkpoints_that_are_refused(self, document, message, tmp_path):
        pack(tmp_path / "packed", "fake", document, {})
        with pytest.raises(CheckpointError, match=message):
            force_field_from("fake", checkpoint=tmp_path / "packed")
