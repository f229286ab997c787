"""The teacher: a second, fixed force field that labels frames where no first-principles code is used.

Its labels teach the node's force field the teacher's energy surface and nothing beyond it. They are a stand-in with which the
whole loop can run on any machine; the code on every label is ``teacher``, so that none is taken for a first-principles result.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from coevo.errors import LabellingError
from coevo.families import descriptor_of
from coevo.labelling.contract import LabelResult, LabelSettings
from coevo.labelling.sanity import SanityLimits, check_geometry, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymatgen.core import Structure

    from coevo.configs.tree import LabellingConfig
    from coevo.labelling.contract import Workplace


class SinglePoints(Protocol):
    """The part of a force field that a teacher needs; every :class:`coevo.models.contracts.ForceField` has it."""

    def evaluate(
        self, structures: Sequence[Structure], *, workers: int = 1, progress: Callable[[int], None] | None = None
    ) -> Sequence[Any]:
        """Single points, in order: objects with ``energy`` (eV/atom), ``forces`` (eV/Å), ``stress`` (eV/Å³), or ``reason``."""
        ...

    def save(self, path: Path) -> None:
        """Write the weights; equal weights give equal bytes."""
        ...


class TeacherLabeller:
    """A force field as a labelling code.

    Parameters
    ----------
    force_field : SinglePoints
        Handed in, so that this package knows no model family.
    weights_digest : str
        sha256 of the weights.
    version : str
        Name and version of the family, such as ``chgnet 0.4.2``.
    functional : str
        Functional of the data that the teacher was trained on.
    anion_corrected : bool
        Whether its energies hold the MP2020 anion correction.
    limits : SanityLimits
    workers : int
        Worker processes; no part of the settings, because the numbers do not depend on it.
    """

    code: ClassVar[str] = "teacher"
    first_principles: bool = False

    def __init__(
        self,
        force_field: SinglePoints,
        *,
        weights_digest: str,
        version: str,
        functional: str = "r2SCAN",
        anion_corrected: bool = False,
        limits: SanityLimits | None = None,
        workers: int = 1,
    ):
        self._force_field = force_field
        self._settings = LabelSettings(
            code=self.code,
            version=version,
            functional=functional,
            anion_corrected=anion_corrected,
            parameters={"weights": weights_digest},
        )
        self._limits = limits or SanityLimits()
        self._workers = workers

    @classmethod
    def for_node(cls, place: Workplace) -> TeacherLabeller:
        """Make the teacher of a node, whose force field is loaded here."""
        teacher = place.labelling.teacher
        return cls.from_config(place.force_field(teacher.family, teacher.weights), place.labelling, workers=place.workers)

    @classmethod
    def from_config(cls, force_field: SinglePoints, config: LabellingConfig, *, workers: int = 1) -> TeacherLabeller:
        """Make the teacher that a configuration names, around its force field.

        Parameters
        ----------
        force_field : SinglePoints
            The published weights ``config.teacher.weights`` of the family ``config.teacher.family``.
        config : LabellingConfig
        workers : int

        Raises
        ------
        LabellingError
            If it is not known which functional the weights were trained on.
        """
        family, weights = config.teacher.family, config.teacher.weights
        descriptor = descriptor_of(family, "force_field")
        published = descriptor.weights.get(weights)
        if published is None or not published.functional:
            known = ", ".join(f"{family}/{name}" for name, one in descriptor.weights.items() if one.functional)
            raise LabellingError(
                f"teacher {family}/{weights}: the functional of its training data is not known; "
                f"allowed: {known or 'another family'}"
            )
        return cls(
            force_field,
            weights_digest=weights_digest(force_field),
            version=f"{family} {descriptor.version()}".strip(),
            functional=published.functional,
            anion_corrected=published.anion_corrected,
            limits=SanityLimits.from_config(config),
            workers=workers,
        )

    def settings(self) -> LabelSettings:
        """What the labels are computed with."""
        return self._settings

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
            ``failed`` where the force field gave no result (with its reason), ``rejected`` where atoms overlap or the numbers are
            out of limits.

        Raises
        ------
        LabellingError
            If the force field gives another number of results than frames, or forces of another shape.
        """
        labels = [check_geometry(frame, self._limits) for frame in frames]
        sound = [index for index, label in enumerate(labels) if label is None]
        if progress is not None and len(sound) < len(frames):
            progress(len(frames) - len(sound))
        if sound:
            results = self._force_field.evaluate([frames[index] for index in sound], workers=self._workers, progress=progress)
            if len(results) != len(sound):
                raise LabellingError(
                    f"teacher: {len(results)} results for {len(sound)} frames; the force field breaks its contract"
                )
            for index, result in zip(sound, results, strict=True):
                labels[index] = self._result(frames[index], result)
        return [label for label in labels if label is not None]

    def _result(self, frame: Structure, result: Any) -> LabelResult:
        reason = getattr(result, "reason", None)
        if reason is not None:
            return LabelResult("failed", str(reason), detail=getattr(result, "detail", ""))
        if result.forces.shape != (len(frame), 3) or result.stress.shape != (3, 3):
            raise LabellingError(
                f"teacher: forces {result.forces.shape} and stress {result.stress.shape} for {len(frame)} atoms, "
                f"allowed: ({len(frame)}, 3) and (3, 3); the force field breaks its contract"
            )
        return judge(result.energy, result.forces, result.stress, self._limits)


def weights_digest(force_field: SinglePoints) -> str:
    """Sha256 of the bytes that a force field saves."""
    with tempfile.TemporaryDirectory(prefix="coevo-teacher-") as folder:
        path = Path(folder) / "weights"
        force_field.save(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
