"""Transport: supercells that begin to move, those that go on after the first run, and what the trajectories say."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jobflow import Flow, Response, job

from coevo.analysis.transport.arrhenius import arrhenius, tracer_conductivity
from coevo.analysis.transport.diffusion import MIN_INCREMENTS, SHORTEST_LAG, diffusion
from coevo.analysis.transport.framework import judge_framework
from coevo.errors import AnalysisError
from coevo.makers.step import StepMaker, current_store, installed_versions, read_records, step, write_records
from coevo.makers.studies.trajectories import dynamics_maker, read_frames, seed_of
from coevo.node_store.canonical import structure_document, structure_from_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.configs.studies.transport import TransportStudy
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Record, ShardReference

PACKET = 8
"""Supercells of a job."""
MOST_FILES = 900
"""Files of frames that a document names, at most; the others are kept under their jobs."""


def repeats_of(structure: Structure, length: float) -> tuple[int, int, int]:
    """How often a cell is repeated so that lattice planes are a length (Å) apart."""
    lattice = structure.lattice
    # the spacing of lattice planes is 1/|a*|; images are at least so far away
    spacings = [1.0 / norm for norm in lattice.reciprocal_lattice_crystallographic.abc]
    a, b, c = (max(1, int(np.ceil((length - 1e-3) / spacing))) for spacing in spacings)
    return a, b, c


def supercell(structure: Structure, length: float) -> Structure:
    """A relaxed cell, repeated; without anything but species and places."""
    repeated = structure.copy()
    repeated.remove_oxidation_states()
    repeated.make_supercell(repeats_of(structure, length))
    return repeated


def shortest_time(settings: TransportStudy) -> float:
    """Time (ps) of a run below which no coefficient is given."""
    frame = settings.every * settings.timestep / 1000.0
    return (round(settings.equilibration / frame) + MIN_INCREMENTS * max(1, round(SHORTEST_LAG / frame)) + 1) * frame


@dataclass
class FirstTransportMaker(StepMaker):
    """Repeat the cells and let them move for the first time, at the highest temperature.

    Attributes
    ----------
    node : str
    prefix : str
        Of the names of jobs.
    settings : TransportStudy
    """

    name: str = "transport-first"
    node: str = field(kw_only=True)
    prefix: str = field(kw_only=True)
    settings: TransportStudy = field(kw_only=True)

    @job
    def make(self, structures: ShardReference, checkpoint: Checkpoint) -> Response[dict[str, Any]]:
        """Fan out; the output is that of :class:`TransportResultMaker`.

        Parameters
        ----------
        structures : dict
            Shard reference of ``{id, structure}``.
        checkpoint : dict
            Force-field checkpoint.
        """
        store, settings = current_store(), self.settings
        runs, left_out = first_runs(read_records(store, structures), self.node, settings)
        jobs: list[Any] = []
        ends: list[Any] = []
        for number, start in enumerate(range(0, len(runs), PACKET)):
            shard: Any = write_records(store, runs[start : start + PACKET])
            for chunk, steps in enumerate(settings.chunks(settings.first_time)):
                name = f"{self.prefix}/molecular-dynamics/first-{number:04d}-{chunk:04d}"
                moved = dynamics_maker(settings, steps, name, self.workers).make(shard, checkpoint)
                jobs.append(moved)
                shard = moved.output["runs"]
            ends.append(shard)
        going_on = ContinueTransportMaker(
            f"{self.prefix}/transport-continue", self.workers, node=self.node, prefix=self.prefix, settings=settings
        ).make(ends, left_out, checkpoint)
        return Response(replace=Flow([*jobs, going_on], output=going_on.output, name=self.name))


@dataclass
class ContinueTransportMaker(StepMaker):
    """Read the first runs, name what stops, and let the others move on: longer, in replicas, and at the other temperatures.

    Attributes
    ----------
    node : str
    prefix : str
        Of the names of jobs.
    settings : TransportStudy
    """

    name: str = "transport-continue"
    node: str = field(kw_only=True)
    prefix: str = field(kw_only=True)
    settings: TransportStudy = field(kw_only=True)

    @job
    def make(self, first: list[ShardReference], left_out: dict[str, str], checkpoint: Checkpoint) -> Response[dict[str, Any]]:
        """Fan out; the output is that of :class:`TransportResultMaker`.

        Parameters
        ----------
        first : list of dict
            Runs of the first tier.
        left_out : dict
            Phase to why it does not move at all.
        checkpoint : dict
            Force-field checkpoint.
        """
        store, settings = current_store(), self.settings
        records = [record for shard in first for record in read_records(store, shard)]
        stopped: dict[str, str] = {}
        again: list[Record] = []
        anew: list[Record] = []
        for record in records:
            row = analyse_run(record, settings)
            reason = why_it_stops(row)
            if reason:
                stopped[record["id"]] = reason
                continue
            again.append(record)
            anew += [
                run_record(self.node, record, temperature, replica, settings.seed)
                for temperature in reversed(settings.temperatures)
                for replica in range(settings.replicas)
                if (temperature, replica) != (record["temperature"], record["replica"])
            ]
        jobs: list[Any] = []
        ends: list[Any] = [write_records(store, [record for record in records if record["id"] in stopped])] if stopped else []
        for title, runs, time in (("long", again, settings.time - settings.first_time), ("cool", anew, settings.time)):
            steps = settings.chunks(time) if time * 1000.0 >= settings.timestep * settings.every else []
            for number, start in enumerate(range(0, len(runs), PACKET)):
                shard: Any = write_records(store, runs[start : start + PACKET])
                for chunk, count in enumerate(steps):
                    name = f"{self.prefix}/molecular-dynamics/{title}-{number:04d}-{chunk:04d}"
                    moved = dynamics_maker(settings, count, name, self.workers).make(shard, checkpoint)
                    jobs.append(moved)
                    shard = moved.output["runs"]
                ends.append(shard)
        result = TransportResultMaker(f"{self.prefix}/transport-result", self.workers, settings=settings)
        gathered = result.make(ends, stopped, left_out)
        return Response(replace=Flow([*jobs, gathered], output=gathered.output, name=self.name))


def why_it_stops(row: Mapping[str, Any]) -> str:
    """Say why a phase does not go on after the first run; empty if it does."""
    if row["failure"]:
        return f"failed: {row['failure']}"
    if row["framework"]["status"] in ("molten", "decomposed"):
        return str(row["framework"]["status"])
    if row["diffusion"] is None:
        return str(row["reason"])
    if not row["diffusion"]["resolved"]:
        return "no diffusion resolved"
    return ""


@dataclass
class TransportResultMaker(StepMaker):
    """Read all trajectories: coefficients with errors, frameworks, lines.

    Attributes
    ----------
    settings : TransportStudy
    """

    name: str = "transport-result"
    settings: TransportStudy = field(kw_only=True)

    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ("ase", "numpy")

    @step
    def make(self, runs: list[ShardReference], stopped: dict[str, str], left_out: dict[str, str]) -> dict[str, Any]:
        """Judge.

        Parameters
        ----------
        runs : list of dict
            Shards of runs with their ``frames``.
        stopped, left_out : dict
            Phase to why it did not go on, or did not move at all.

        Returns
        -------
        dict
            ``results`` (``rows`` by phase and temperature, ``lines`` by phase, ``stopped``, ``left_out``), ``entries`` (none),
            ``artifacts`` (the files of frames) and ``packages``.
        """
        store = current_store()
        records = [record for shard in runs for record in read_records(store, shard)]
        groups: dict[tuple[str, float], list[Record]] = defaultdict(list)
        for record in records:
            groups[record["id"], record["temperature"]].append(record)
        rows = [analyse_runs(found, self.settings) for _, found in sorted(groups.items())]
        files = [
            {
                "name": f"{record['id'][:16]}-{record['temperature']:g}K-{record['replica']}-{number:04d}.frames.zst",
                "sha256": item["sha256"],
                "size": item["size"],
            }
            for record in sorted(records, key=lambda one: (one["id"], one["temperature"], one["replica"]))
            for number, item in enumerate(record.get("frames", ()))
        ]
        results = {
            "rows": rows,
            "lines": lines_of(rows, self.settings),
            "stopped": stopped,
            "left_out": left_out,
            "files": len(files),
        }
        return {
            "results": results,
            "entries": {},
            "artifacts": files[:MOST_FILES],
            "packages": installed_versions(self.packages),
        }


def run_record(node: str, of: Mapping[str, Any], temperature: float, replica: int, seed: int) -> Record:
    """A run that begins: ``id`` and ``structure`` (the relaxed supercell) of a phase at a temperature (K)."""
    return {
        "id": of["id"],
        "structure": of["structure"],
        "temperature": temperature,
        "replica": replica,
        "seed": seed_of(node, of["id"], temperature, replica, seed),
    }


def first_runs(records: Iterable[Record], node: str, settings: TransportStudy) -> tuple[list[Record], dict[str, str]]:
    """The runs of the first tier, at the highest temperature, and phases that do not move at all, with the reason."""
    runs, left_out = [], {}
    for record in records:
        cell = supercell(structure_from_document(record["structure"]), settings.length)
        symbols = {site.specie.symbol for site in cell}
        if settings.mobile not in symbols:
            left_out[record["id"]] = f"holds no {settings.mobile}"
        elif len(cell) > settings.max_atoms:
            left_out[record["id"]] = f"its supercell has {len(cell)} atoms, more than {settings.max_atoms}"
        else:
            found = {"id": record["id"], "structure": structure_document(cell)}
            runs.append(run_record(node, found, settings.temperatures[-1], 0, settings.seed))
    return runs, left_out


def analyse_run(record: Record, settings: TransportStudy) -> dict[str, Any]:
    """What one run says; see :func:`analyse_runs`."""
    return analyse_runs([record], settings)


def analyse_runs(records: Sequence[Record], settings: TransportStudy) -> dict[str, Any]:
    """What the replicas of a phase at a temperature say.

    Returns
    -------
    dict
        ``id``, ``temperature``, ``atoms``, ``mean_temperature`` (K), ``replicas``; ``framework``
        (:class:`~coevo.analysis.transport.framework.Framework` of the worst replica); ``diffusion``
        (:class:`~coevo.analysis.transport.diffusion.Diffusion`) or None with ``reason``; ``conductivity`` (S/cm, tracer) where it
        is resolved and the framework intact; ``failure``.
    """
    store = current_store()
    structure = structure_from_document(records[0]["structure"])
    numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
    mobile = np.array([site.specie.symbol == settings.mobile for site in structure])
    skipped = round(settings.equilibration / (settings.every * settings.timestep / 1000.0))
    failure = next((record["failure"] for record in records if record.get("failure")), "")
    moved, frameworks, temperatures = [], [], []
    for record in records:
        parts = [read_frames(store, item["sha256"]) for item in record.get("frames", ())]
        frames = np.concatenate([part[0] for part in parts]) if parts else np.zeros((0, len(numbers), 3))
        if not len(frames):
            continue
        framework, settled = judge_framework(numbers, np.array(structure.lattice.matrix), structure.cart_coords, frames, mobile)
        frameworks.append(framework)
        moved.append(settled[skipped:, mobile])
        temperatures.append(np.concatenate([part[1] for part in parts])[skipped:, 0])
    order = ("intact", "no framework", "molten", "decomposed")
    worst = max(frameworks, key=lambda one: order.index(one.status), default=None)
    row: dict[str, Any] = {
        "id": records[0]["id"],
        "temperature": records[0]["temperature"],
        "atoms": len(numbers),
        "replicas": len(records),
        "framework": asdict(worst) if worst is not None else {"status": "unknown"},
        "mean_temperature": float(np.mean(np.concatenate(temperatures))) if any(map(len, temperatures)) else None,
        "diffusion": None,
        "conductivity": None,
        "reason": "",
        "failure": failure,
    }
    try:
        found = diffusion(moved, settings.every * settings.timestep / 1000.0)
    except AnalysisError as err:
        return {**row, "reason": str(err)}
    row["diffusion"] = {**asdict(found), "directions": list(found.directions)}
    if found.resolved and worst is not None and worst.status == "intact" and not failure:
        density = float(mobile.sum()) / structure.volume
        row["conductivity"] = tracer_conductivity(found.value, density, row["temperature"], settings.charge)
    return row


def lines_of(rows: Sequence[Mapping[str, Any]], settings: TransportStudy) -> dict[str, Any]:
    """Arrhenius line of each phase, or why there is none; only of temperatures that are resolved with an intact framework."""
    lines: dict[str, Any] = {}
    for identifier in dict.fromkeys(row["id"] for row in rows):
        good = [row for row in rows if row["id"] == identifier and row["conductivity"] is not None]
        try:
            found = arrhenius(
                [row["temperature"] for row in good],
                [row["diffusion"]["value"] for row in good],
                [row["diffusion"]["error"] for row in good],
                settings.extrapolate,
            )
        except AnalysisError as err:
            lines[identifier] = {"reason": str(err)}
        else:
            lines[identifier] = asdict(found)
    return lines
