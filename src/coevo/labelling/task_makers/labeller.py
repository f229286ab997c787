"""Any static Maker as a labelling code."""

from __future__ import annotations

import shutil
import tempfile
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.errors import LabellingError
from coevo.labelling.contract import Found, LabelResult
from coevo.labelling.sanity import SanityLimits, check_geometry, judge
from coevo.labelling.task_makers.building import build_maker, is_vasp
from coevo.labelling.task_makers.documents import is_vasp_document, numbers_of, why_not_converged
from coevo.labelling.task_makers.running import run_frame
from coevo.labelling.task_makers.settings import DEFAULT_VASP, counts_as_first_principles, settings_of
from coevo.labelling.task_makers.vasp import check_version, command_of, for_labels, vasp_label
from coevo.labelling.vasp.labels import SAME_LENGTH, prepare
from coevo.labelling.vasp.running import own_walltime_clock, remove_large_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobflow import Maker
    from pymatgen.core import Structure

    from coevo.configs.tree import LabellingConfig
    from coevo.labelling.contract import LabelSettings, Workplace
    from coevo.labelling.task_makers.running import MakerRun
    from coevo.labelling.vasp.labels import PreparedFrame


class MakerLabeller:
    """A static Maker as a labelling code, frame by frame.

    Parameters
    ----------
    config : LabellingConfig
        With the import path of the Maker, its arguments, and what the user states of its labels.
    elements : sequence of str
        Elements of the node, for Makers whose input sets name a potential of each.
    command : str
        How VASP is started, if the arguments do not say it.
    scratch : Path or None
        Directory in which the frames are run; those of frames that get no label are kept there, without large files. If None, a
        temporary directory, removed afterwards.

    Raises
    ------
    LabellingError
        If there is no Maker at the path, or it does not take the arguments.
    """

    code: ClassVar[str] = "maker"

    def __init__(
        self, config: LabellingConfig, elements: Sequence[str] = (), *, command: str = "vasp_std", scratch: Path | None = None
    ):
        if not config.maker:
            raise LabellingError(
                "labelling.maker: not given; the code maker needs the import path of a Maker, such as "
                "atomate2.vasp.jobs.mp.MPGGAStaticMaker"
            )
        self._config = config
        self._elements = tuple(sorted(set(elements)))
        self._limits = SanityLimits.from_config(config)
        self._scratch = scratch
        self._maker = build_maker(config.maker, config.arguments)
        self._is_vasp = is_vasp(self._maker)
        self._command = command_of(self._maker, command) if self._is_vasp else ""
        self._settings: LabelSettings | None = None
        self.first_principles = counts_as_first_principles(self._maker, config.stated.first_principles)

    @classmethod
    def for_node(cls, place: Workplace) -> MakerLabeller:
        """Make the labeller of a node on this machine."""
        scratch = Path(place.settings.scratch).expanduser().absolute() if place.settings.scratch else None
        return cls(place.labelling, place.elements, command=place.settings.vasp_command, scratch=scratch)

    @classmethod
    def here(cls) -> list[Found]:
        """What this machine has for it."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return [Found("atomate2", "ok", f"atomate2 {version('atomate2')}")]
        except PackageNotFoundError:
            return [Found("atomate2", "missing", "atomate2 is not installed", "pip install 'coevo[vasp]'")]

    def settings(self) -> LabelSettings:
        """What the labels are computed with.

        Raises
        ------
        LabellingError
            If the calculator, the executable or a potential cannot be had, or the Maker is no static one.
        """
        if self._settings is None:
            self._settings = settings_of(self.code, self._maker, self._config.stated, self._elements, self._command)
        return self._settings

    def label(self, frames: Sequence[Structure], *, progress: Callable[[int], None] | None = None) -> list[LabelResult]:
        """Label the frames, in order.

        Parameters
        ----------
        frames : sequence of Structure
        progress : callable or None
            Called with 1 after each frame.

        Returns
        -------
        list of LabelResult
            Failed: ``maker_failed`` with what the Maker raised, ``too_many_jobs``, ``no_output``, and for VASP those of
            :func:`coevo.labelling.vasp.labels.label_of`. Rejected: ``overlap``, ``not_converged``, ``geometry_changed``, or a
            reason of :func:`coevo.labelling.sanity.judge`.

        Raises
        ------
        LabellingError
            If something is missing (:meth:`settings`), a frame has an element that is not one of the node, or the Maker gives no
            document that can be read.
        """
        if not frames:
            return []
        self.settings()
        foreign = sorted({element.symbol for frame in frames for element in frame.composition.elements} - set(self._elements))
        if foreign and self._elements:
            raise LabellingError(f"{self._name}: frames hold {', '.join(foreign)}; allowed: {', '.join(self._elements)}")
        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        base = Path(tempfile.mkdtemp(prefix="coevo-maker-", dir=self._scratch)).resolve()
        labels = []
        try:
            for index, frame in enumerate(frames):
                labels.append(self._label(frame, base / f"{index:04d}"))
                if progress is not None:
                    progress(1)
        finally:
            if self._scratch is None:
                shutil.rmtree(base)
            elif not any(base.iterdir()):
                base.rmdir()
        return labels

    @property
    def _name(self) -> str:
        return type(self._maker).__name__

    def _label(self, frame: Structure, directory: Path) -> LabelResult:
        rejected = check_geometry(frame, self._limits)
        if rejected is not None:
            return rejected
        prepared = prepare(frame)
        directory.mkdir()
        with own_walltime_clock():
            run = run_frame(self._maker_of_a_frame(), prepared.structure, directory)
        label = self._result(run, prepared)
        if label.status == "admitted":
            shutil.rmtree(directory)
        else:
            for path in {directory, *(path for path in directory.iterdir() if path.is_dir())}:
                remove_large_files(path)
        return label

    def _maker_of_a_frame(self) -> Maker:
        return for_labels(self._maker, self._command) if self._is_vasp else self._maker

    def _result(self, run: MakerRun, frame: PreparedFrame) -> LabelResult:
        if run.too_many:
            return LabelResult("failed", "too_many_jobs", detail=f"{self._name}: {run.error}")
        if run.error and not self._is_vasp:
            return LabelResult("failed", "maker_failed", detail=f"{self._name}: {run.error}")
        if run.error or is_vasp_document(run.document):
            return self._of_vasp(run, frame)
        return self._numbers(run.document, frame)

    def _of_vasp(self, run: MakerRun, frame: PreparedFrame) -> LabelResult:
        try:
            if run.document is not None:
                check_version(run.document, self._config.stated.version or (DEFAULT_VASP if self._is_vasp else ""), self._name)
            return vasp_label(run, frame, self._limits)
        except (AttributeError, LookupError, TypeError, ValueError) as err:
            raise LabellingError(
                f"{self._name}: its {type(run.document).__name__} has calcs_reversed, as emmet's task document of VASP has, and "
                f"cannot be read as one: {str(err).splitlines()[0]}"
            ) from err

    def _numbers(self, document: Any, frame: PreparedFrame) -> LabelResult:
        if document is None:
            return LabelResult("failed", "no_output", detail=f"{self._name}: its job gave no output")
        atoms = len(frame.structure)
        why = why_not_converged(document, self._name)
        if why:
            return LabelResult("rejected", "not_converged", detail=f"{self._name}: {why}")
        numbers = numbers_of(document, atoms, self._name)
        stated = self._config.stated.version
        if stated and numbers.version and numbers.version != stated:
            raise LabellingError(
                f"{self._name}: its document names version {numbers.version}, and labelling.stated.version is {stated}; labels "
                "of two versions are not mixed"
            )
        if numbers.structure is not None and (deviation := frame.deviation(numbers.structure)) > SAME_LENGTH:
            differs = f"is {deviation:.3g} Å off the frame" if isfinite(deviation) else "has other atoms or another order of them"
            return LabelResult(
                "rejected",
                "geometry_changed",
                detail=f"{self._name} computed a structure that {differs}",
            )
        label = judge(numbers.energy / atoms, frame.forces_on_frame(numbers.forces), numbers.stress, self._limits)
        if label.status == "admitted" and numbers.version:
            return LabelResult(
                "admitted", energy=label.energy, forces=label.forces, stress=label.stress, detail=f"version {numbers.version}"
            )
        return label
