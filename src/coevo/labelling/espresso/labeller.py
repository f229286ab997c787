"""Quantum ESPRESSO as a labelling code: one custodian run of ``pw.x`` per frame, in a directory of its own."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelResult, LabelSettings, RelaxedFrame
from coevo.labelling.espresso.inputs import Relaxation, check_cell, input_text
from coevo.labelling.espresso.pseudopotentials import directory_of_potentials, find_family, verify
from coevo.labelling.espresso.relaxing import Moved, moved_to, relax_in_rounds
from coevo.labelling.sanity import SanityLimits, check_geometry, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.configs.tree import EspressoConfig, LabellingConfig
    from coevo.labelling.contract import Found, Workplace
    from coevo.labelling.espresso.job import PwJob
    from coevo.labelling.espresso.pseudopotentials import Potential
    from coevo.settings import Settings

Result = TypeVar("Result")
"""What is made of a frame."""

RYDBERG = 13.605693122994
"""eV."""


class EspressoLabeller:
    """``pw.x`` as a labelling code.

    Parameters
    ----------
    config : EspressoConfig
    command : sequence of str
        Such as ``["mpirun", "-np", "4", "pw.x"]``.
    potentials : Path
        Directory of the pseudopotentials.
    elements : sequence of str
        Elements of the node, whose potentials are verified before anything is queued.
    scratch : Path or None
        Directory in which the frames are run; the runs of frames that get no label are kept there as ``.tar.gz``. If None, a
        temporary directory, removed afterwards.
    limits : SanityLimits
        ``energy_range`` is relative to the free atoms of the potentials.
    workers : int
        Processes that may run at once; no part of the settings.

    Raises
    ------
    LabellingError
        If custodian is not installed, or the family is not found or made for another functional.
    """

    code: ClassVar[str] = "espresso"
    first_principles: bool = True

    def __init__(
        self,
        config: EspressoConfig,
        *,
        command: Sequence[str],
        potentials: Path,
        elements: Sequence[str] = (),
        scratch: Path | None = None,
        limits: SanityLimits | None = None,
        workers: int = 1,
    ):
        try:
            import custodian  # noqa: F401
        except ImportError:
            raise LabellingError("Quantum ESPRESSO labels need custodian: pip install 'coevo[qe]'") from None
        if logging.getLogger("custodian").level == logging.NOTSET:
            # custodian logs every correction as an error; they are in its custodian.json, and in the label's detail
            logging.getLogger("custodian").setLevel(logging.CRITICAL)
        self._config = config
        self._command = tuple(command)
        self._directory = Path(potentials)
        self._elements = tuple(elements)
        self._scratch = None if scratch is None else Path(scratch).expanduser().absolute()
        self._limits = limits or SanityLimits()
        self._workers = workers
        self._jobs: set[PwJob] = set()
        self._family = find_family(config.family, self._directory)
        if self._family.functional != config.functional:
            raise LabellingError(
                f"labelling.espresso.family: {config.family} is made for {self._family.functional}, allowed: a family for "
                f"{config.functional}"
            )

    @classmethod
    def for_node(cls, place: Workplace) -> EspressoLabeller:
        """Make the labeller of a node on this machine."""
        return cls.from_config(place.labelling, place.settings, elements=place.elements, workers=place.workers)

    @classmethod
    def from_config(
        cls, config: LabellingConfig, settings: Settings, *, elements: Sequence[str] = (), workers: int = 1
    ) -> EspressoLabeller:
        """Make the labeller of a configuration on a machine.

        Raises
        ------
        LabellingError
            If a setting of the machine is missing or wrong.
        """
        from coevo.labelling.espresso.pseudopotentials import split_command

        return cls(
            config.espresso,
            command=split_command(settings.espresso_command),
            potentials=directory_of_potentials(settings.pseudopotentials),
            elements=elements,
            scratch=Path(settings.scratch) if settings.scratch else None,
            limits=SanityLimits.from_config(config),
            workers=workers,
        )

    @classmethod
    def here(cls) -> list[Found]:
        """What this machine has for it."""
        from coevo.labelling.espresso.pseudopotentials import installation

        return installation()

    def settings(self) -> LabelSettings:
        """What the labels are computed with; runs ``pw.x`` once for its version.

        Raises
        ------
        LabellingError
            If ``pw.x`` does not run, or the potential of an element of the node is missing: so, before anything is queued.
        """
        from coevo.labelling.espresso.pseudopotentials import pw_version

        verify(self._family, self._elements, self._directory)
        config = self._config
        return LabelSettings(
            code=self.code,
            version=pw_version(self._command),
            functional=config.functional,
            anion_corrected=False,
            parameters={
                "family": self._family.name,
                "potentials": self._family.sha256,
                "ecutwfc": config.ecutwfc,
                "ecutrho": config.ecutrho or 4.0 * config.ecutwfc,
                "k_spacing": config.k_spacing,
                "smearing": config.smearing,
                "degauss": config.degauss,
                "conv_thr_per_atom": config.conv_thr_per_atom,
                "nspin": 1,
                "energy": "free",
            },
        )

    def label(self, frames: Sequence[Structure], *, progress: Callable[[int], None] | None = None) -> list[LabelResult]:
        """Label the frames, in order.

        Parameters
        ----------
        frames : sequence of Structure
        progress : callable or None
            Called with the number of frames finished since the last call.

        Returns
        -------
        list of LabelResult
            Energies are ``pw.x``'s total energy (the free energy, of which forces and stress are derivatives) per atom.

        Raises
        ------
        LabellingError
            If ``pw.x`` or a potential is missing, or the machine fails (no space left on the disk).
        """
        return self._each(frames, self._label_one, progress)

    def relax(
        self, frames: Sequence[Structure], steps: int, fmax: float, *, progress: Callable[[int], None] | None = None
    ) -> list[RelaxedFrame]:
        """Relax atoms and cells of the frames, in order, each from where it is (:mod:`coevo.labelling.espresso.relaxing`).

        Parameters
        ----------
        frames : sequence of Structure
        steps : int
            That are taken with a frame, at most.
        fmax : float
            Largest force, or generalised force on the cell, of a relaxed frame, eV/Å.
        progress : callable or None
            Called with the number of frames finished since the last call.

        Raises
        ------
        LabellingError
            As :meth:`label`.
        """

        def run(frame: Structure, potentials: Mapping[str, Potential], place: Path) -> RelaxedFrame:
            def label(structure: Structure) -> LabelResult:
                rejected = self._checked(structure)
                return self._label_one(structure, potentials, place) if rejected is None else rejected

            def move(structure: Structure, left: int) -> Moved:
                return self._move(structure, potentials, place, Relaxation(left, fmax))

            return relax_in_rounds(frame, steps, fmax, move, label)

        found = self._each(frames, run, progress)
        return [
            RelaxedFrame(frame, each) if isinstance(each, LabelResult) else each
            for frame, each in zip(frames, found, strict=True)
        ]

    def _checked(self, frame: Structure) -> LabelResult | None:
        """Why a frame is not given to ``pw.x``; None if it is."""
        return check_cell(frame) or check_geometry(frame, self._limits)

    def _each(
        self,
        frames: Sequence[Structure],
        run: Callable[[Structure, Mapping[str, Potential], Path], Result],
        progress: Callable[[int], None] | None,
    ) -> list[Result | LabelResult]:
        """Run what is to be done with each frame, but for those that are rejected before."""
        checked = [self._checked(frame) for frame in frames]
        sound = [frame for frame, found in zip(frames, checked, strict=True) if found is None]
        if progress is not None and len(sound) < len(frames):
            progress(len(frames) - len(sound))
        if not sound:
            return [found for found in checked if found is not None]
        self.settings()  # a pw.x that does not run is told once, and is no failure of a frame
        elements = {site.specie.symbol for frame in sound for site in frame}
        potentials = verify(self._family, elements, self._directory)
        with self._place() as place:
            results = iter(self._in_pool(sound, run, potentials, place, progress))
        return [next(results) if found is None else found for found in checked]

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """Where the frames are run."""
        if self._scratch is None:
            with tempfile.TemporaryDirectory(prefix="coevo-espresso-") as folder:
                yield Path(folder)
        else:
            self._scratch.mkdir(parents=True, exist_ok=True)
            yield self._scratch

    def _in_pool(
        self,
        frames: Sequence[Structure],
        run: Callable[[Structure, Mapping[str, Potential], Path], Result],
        potentials: Mapping[str, Potential],
        place: Path,
        progress: Callable[[int], None] | None,
    ) -> list[Result]:
        """Run the frames, as many at once as the workers allow; whatever interrupts this ends the runs too."""
        results: list[Result] = []
        with ThreadPoolExecutor(max_workers=self._at_once()) as pool:
            tasks = [pool.submit(run, frame, potentials, place) for frame in frames]
            try:
                for task in tasks:
                    results.append(task.result())
                    if progress is not None:
                        progress(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for job in list(self._jobs):
                    job.cancel()
                raise
        return results

    def _at_once(self) -> int:
        from coevo.labelling.espresso.pseudopotentials import processes_of

        processes = processes_of(self._command)
        return max(1, self._workers // processes) if processes else 1

    def _label_one(self, frame: Structure, potentials: Mapping[str, Potential], place: Path) -> LabelResult:
        from coevo.labelling.espresso.running import run_frame

        with self._run_in(place, input_text(frame, self._config, potentials)) as folder:
            result = run_frame(folder, self._command, self._config, self._jobs)
            if result.status == "admitted":
                result = self._judge(result, frame, potentials)
            if result.status != "admitted" and self._scratch is not None:
                kept = self._keep(folder, place, result.reason)
                result = replace(result, detail=f"{result.detail}; run kept in {kept.name}")
        return result

    def _move(self, frame: Structure, potentials: Mapping[str, Potential], place: Path, relaxation: Relaxation) -> Moved:
        """One run that moves a frame; it has the time of as many single points as it may make."""
        from coevo.labelling.espresso.parsing import read_text
        from coevo.labelling.espresso.running import run_frame

        seconds = self._config.max_seconds * (relaxation.steps + 2)
        config = self._config.model_copy(update={"max_seconds": seconds})
        with self._run_in(place, input_text(frame, config, potentials, relaxation)) as folder:
            result = run_frame(folder, self._command, config, self._jobs, moves=True)
            if result.status == "admitted":
                return moved_to(read_text(folder / "pw.out"))
            if self._scratch is not None:
                self._keep(folder, place, result.reason)
        return Moved(None, reason=result.reason)

    @contextmanager
    def _run_in(self, place: Path, text: str) -> Iterator[Path]:
        """Directory with an input; removed afterwards."""
        folder = Path(tempfile.mkdtemp(prefix=f"{_name_of(text)}-", dir=place))
        try:
            (folder / "pw.in").write_text(text, encoding="utf-8")
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, folder: Path, place: Path, reason: str) -> Path:
        from coevo.labelling.espresso.running import keep_run

        name = folder.name.rpartition("-")[0]
        return keep_run(folder, place / f"{name}-{reason}.tar.gz")

    def _judge(self, result: LabelResult, frame: Structure, potentials: Mapping[str, Potential]) -> LabelResult:
        """Hold the numbers against the limits, the energy relative to the free atoms of the potentials where these state it."""
        assert result.energy is not None
        assert result.forces is not None
        assert result.stress is not None
        atoms = [potentials[site.specie.symbol].atom_energy for site in frame]
        known = [energy for energy in atoms if energy is not None]
        if len(known) == len(atoms):
            energy = result.energy - sum(known) * RYDBERG / len(atoms)
            judged = judge(energy, result.forces, result.stress, self._limits)
        else:
            # without a zero of energy only this is certain: electrons in the field of nuclei have a negative energy
            unbounded = replace(self._limits, energy_range=(float("-inf"), 0.0))
            judged = judge(result.energy, result.forces, result.stress, unbounded)
        return replace(judged, energy=result.energy, detail=result.detail) if judged.status == "admitted" else judged


def _name_of(text: str) -> str:
    return "espresso-" + hashlib.sha256(text.encode()).hexdigest()[:12]
