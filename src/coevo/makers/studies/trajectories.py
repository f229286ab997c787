"""Trajectories as artifacts, and the job that lets a packet of supercells move for a while and can be gone on from.

A file of frames is a line of JSON, then little-endian numbers, compressed: positions as float32, and of each frame temperature,
potential and total energy as float64. A file to go on from has positions and velocities as float64, and the random numbers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from coevo.errors import CorruptArtifactError, ModelError
from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import FIRST_PACKAGES, family_of
from coevo.makers.step import (
    StepMaker,
    current_store,
    read_records,
    step,
    versions_of_family,
    workers_of_family,
    write_records,
)
from coevo.node_store.shards import compress, decompress
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.configs.studies.transport import TransportStudy
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Record, ShardReference
    from coevo.models.molecular_dynamics import Motion, Trajectory
    from coevo.node_store.store import NodeStore

NUMBERS = 3
"""Of each frame: temperature (K), potential and total energy (eV per cell)."""


@dataclass
class MolecularDynamicsMaker(StepMaker):
    """Let a packet of supercells move; the next job of the same goes on where it ended.

    Attributes
    ----------
    timestep, friction : float
        fs, 1/ps.
    steps, every : int
        Of this job, and from one frame to the next.
    batch_atoms : int
        Atoms that move together.
    """

    name: str = "molecular-dynamics"
    timestep: float = field(kw_only=True)
    friction: float = field(kw_only=True)
    steps: int = field(kw_only=True)
    every: int = field(kw_only=True)
    batch_atoms: int = field(kw_only=True)

    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, ""))

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, runs: ShardReference, checkpoint: Checkpoint) -> dict[str, Any]:
        """Let them move.

        Parameters
        ----------
        runs : dict
            Shard reference of ``{id, structure, temperature, replica, seed}`` (relaxed supercells, which begin), or the
            ``runs`` of the job before.
        checkpoint : dict
            Force-field checkpoint.

        Returns
        -------
        dict
            ``runs`` (shard reference): the records with ``restart`` and ``frames``, a list with one file more, or with
            ``failure``; ``files``: all of them.
        """
        from coevo.models.molecular_dynamics import Dynamics, move

        store = current_store()
        records = list(read_records(store, runs))
        alive = [record for record in records if not record.get("failure")]
        force_field: Any = load_force_field(store, checkpoint)
        if not hasattr(force_field, "predictor"):
            raise ModelError(f"the force field {force_field.family} predicts no batches, which molecular dynamics needs")
        motions = [_motion(store, record) for record in alive]
        dynamics = Dynamics(self.timestep, self.friction, self.steps, self.every)
        with task("moving", len(motions), "supercells") as advance:
            found = move(
                force_field,
                motions,
                dynamics,
                batch_atoms=self.batch_atoms,
                workers=self.usable_workers(),
                progress=advance,
            )
        for record, trajectory in zip(alive, found, strict=True):
            record.update(_kept(store, record, trajectory))
        files = [item for record in records for item in [*record.get("frames", ()), *filter(None, [record.get("restart")])]]
        return {"runs": write_records(store, records), "files": [{"sha256": item["sha256"]} for item in files]}


def seed_of(node: str, identifier: str, temperature: float, replica: int, seed: int) -> int:
    """Seed of a run: of what it is, and not of what moves beside it."""
    text = f"{node}/transport/{identifier}/{temperature!r}/{replica}/{seed}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _motion(store: NodeStore, record: Record) -> Motion:
    from coevo.models.molecular_dynamics import begin

    if record.get("restart"):
        return read_restart(store, record["restart"]["sha256"])
    return begin(_crystal(record), record["temperature"], record["seed"])


def _crystal(record: Record) -> Any:
    from coevo.errors import AnalysisError
    from coevo.models.contracts import Failure
    from coevo.models.relaxing.crystal import crystal_from_structure
    from coevo.node_store.canonical import structure_from_document

    found = crystal_from_structure(structure_from_document(record["structure"]), range(1, 119), "molecular dynamics")
    if isinstance(found, Failure):
        raise AnalysisError(f"{record['id'][:12]} cannot move: {found.detail}")
    return found


def _kept(store: NodeStore, record: Record, trajectory: Trajectory) -> Record:
    frames = store.artifacts.put_bytes(frames_bytes(trajectory))
    kept: Record = {"frames": [*record.get("frames", ()), {"sha256": frames.sha256, "size": frames.size}]}
    if trajectory.failure is not None:
        return {**kept, "failure": f"{trajectory.failure.reason}: {trajectory.failure.detail}"}
    restart = store.artifacts.put_bytes(restart_bytes(trajectory.end))
    return {**kept, "restart": {"sha256": restart.sha256, "size": restart.size}}


def frames_bytes(trajectory: Trajectory) -> bytes:
    """Frames as they are stored; equal trajectories give equal bytes."""
    head = json.dumps({"frames": len(trajectory.frames), "atoms": int(trajectory.frames.shape[1])}, sort_keys=True)
    numbers = np.stack([trajectory.temperatures, trajectory.energies, trajectory.totals], axis=1)
    return compress(b"\n".join([head.encode(), numbers.astype("<f8").tobytes() + trajectory.frames.astype("<f4").tobytes()]))


def read_frames(store: NodeStore, sha256: str) -> tuple[Any, Any]:
    """Read a file of frames: positions (n_frames, n_atoms, 3), Å, and numbers (n_frames, 3), both as float64.

    Raises
    ------
    CorruptArtifactError
        If it is none.
    """
    head, data = _parts(store, sha256)
    try:
        n, atoms = int(head["frames"]), int(head["atoms"])
        numbers = np.frombuffer(data, "<f8", n * NUMBERS).reshape(n, NUMBERS)
        frames = np.frombuffer(data, "<f4", n * atoms * 3, n * NUMBERS * 8).reshape(n, atoms, 3)
    except (KeyError, TypeError, ValueError) as err:
        raise CorruptArtifactError(f"artifact {sha256} holds no frames: {err}") from None
    return frames.astype(np.float64), numbers.astype(np.float64)


def restart_bytes(motion: Motion) -> bytes:
    """All that is needed to go on, as it is stored."""
    crystal = motion.crystal
    head = {"atoms": len(crystal), "temperature": motion.temperature, "random": motion.random}
    arrays = [crystal.positions, motion.velocities, crystal.cell]
    data = crystal.numbers.astype("<i8").tobytes() + b"".join(array.astype("<f8").tobytes() for array in arrays)
    return compress(json.dumps(head, sort_keys=True).encode() + b"\n" + data)


def read_restart(store: NodeStore, sha256: str) -> Motion:
    """Read what :func:`restart_bytes` wrote.

    Raises
    ------
    CorruptArtifactError
        If it is none.
    """
    from coevo.models.molecular_dynamics import Motion
    from coevo.models.relaxing.crystal import Crystal

    head, data = _parts(store, sha256)
    try:
        n = int(head["atoms"])
        numbers = np.frombuffer(data, "<i8", n).astype(np.int64)
        values = np.frombuffer(data, "<f8", 6 * n + 9, 8 * n).astype(np.float64)
        crystal = Crystal(numbers, values[: 3 * n].reshape(n, 3).copy(), values[6 * n :].reshape(3, 3).copy())
        return Motion(crystal, values[3 * n : 6 * n].reshape(n, 3).copy(), float(head["temperature"]), dict(head["random"]))
    except (KeyError, TypeError, ValueError) as err:
        raise CorruptArtifactError(f"artifact {sha256} is nothing to go on from: {err}") from None


def _parts(store: NodeStore, sha256: str) -> tuple[dict[str, Any], bytes]:
    line, newline, data = decompress(store.artifacts.get_bytes(sha256), f"trajectory {sha256}").partition(b"\n")
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not newline or not isinstance(head, dict):
        raise CorruptArtifactError(f"artifact {sha256} is no trajectory")
    return head, data


def dynamics_maker(settings: TransportStudy, steps: int, name: str, workers: int | None) -> MolecularDynamicsMaker:
    """Return the Maker of a job of a study."""
    return MolecularDynamicsMaker(
        name,
        workers,
        timestep=settings.timestep,
        friction=settings.friction,
        steps=steps,
        every=settings.every,
        batch_atoms=settings.batch_atoms,
    )
