"""VASP as a labelling code."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelResult, LabelSettings
from coevo.labelling.sanity import SanityLimits, check_geometry
from coevo.labelling.vasp.input_sets import element_choices, input_parameters, input_set
from coevo.labelling.vasp.labels import label_of, prepare
from coevo.labelling.vasp.requirements import require_command, require_potcars
from coevo.labelling.vasp.running import run_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymatgen.core import Structure

    from coevo.configs.tree import VaspConfig
    from coevo.labelling.contract import Found, Workplace
    from coevo.labelling.vasp.running import VaspRun


class VaspLabeller:
    """VASP, run by atomate2 and custodian, frame by frame.

    Parameters
    ----------
    config : VaspConfig
    elements : sequence of str
        Elements of the node: the settings of its labels name the potential of each.
    limits : SanityLimits or None
    command : str
        How VASP is started.
    scratch : Path or None
        Directory in which the frames are run; those of frames that get no label are kept there, without large files. If None, a
        temporary directory, removed afterwards.

    Notes
    -----
    Each frame runs in its own directory, which is the current one of the process meanwhile.
    """

    code: ClassVar[str] = "vasp"
    first_principles: bool = True

    def __init__(
        self,
        config: VaspConfig,
        elements: Sequence[str],
        *,
        limits: SanityLimits | None = None,
        command: str = "vasp_std",
        scratch: Path | None = None,
    ):
        self._config = config
        self._elements = tuple(sorted(set(elements)))
        self._limits = limits or SanityLimits()
        self._command = command
        self._scratch = scratch
        self._settings: LabelSettings | None = None

    @classmethod
    def for_node(cls, place: Workplace) -> VaspLabeller:
        """Make the labeller of a node from its configuration and the ``COEVO_*`` settings of this process."""
        return cls(
            place.labelling.vasp,
            place.elements,
            limits=SanityLimits.from_config(place.labelling),
            command=place.settings.vasp_command,
            scratch=Path(place.settings.scratch).expanduser() if place.settings.scratch else None,
        )

    @classmethod
    def here(cls) -> list[Found]:
        """What this machine has for it."""
        from coevo.labelling.vasp.requirements import installation

        return installation()

    def settings(self) -> LabelSettings:
        """What the labels are computed with.

        Raises
        ------
        LabellingError
            If the executable or the POTCAR of an element of the node is missing: so, before anything is queued.
        """
        if self._settings is None:
            if not self._elements:
                raise LabellingError("VASP: the elements of the node are not given; its settings name a potential of each")
            choices = element_choices(self._config, self._elements)
            require_command(self._command)
            potcars = require_potcars(choices.symbols, choices.library)
            self._settings = LabelSettings(
                code=self.code,
                version=self._config.version,
                functional=choices.functional,
                anion_corrected=False,
                parameters={
                    **input_parameters(self._config),
                    "potcar_library": choices.library,
                    "potcars": {element: asdict(potcar) for element, potcar in potcars.items()},
                },
            )
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
            Reasons: ``overlap`` before VASP is run, those of :func:`coevo.labelling.vasp.labels.label_of` after.

        Raises
        ------
        LabellingError
            If something is missing (:meth:`settings`), a frame has an element that is not one of the node, or VASP has another
            version than the configuration says.
        """
        if not frames:
            return []
        self.settings()
        foreign = sorted({element.symbol for frame in frames for element in frame.composition.elements} - set(self._elements))
        if foreign:
            raise LabellingError(f"VASP: frames hold {', '.join(foreign)}; allowed: {', '.join(self._elements)}")
        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        base = Path(tempfile.mkdtemp(prefix="coevo-vasp-", dir=self._scratch))
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

    def _label(self, frame: Structure, directory: Path) -> LabelResult:
        rejected = check_geometry(frame, self._limits)
        if rejected is not None:
            return rejected
        prepared = prepare(frame)
        incar = self._incar(prepared.structure)
        directory.mkdir()
        run = run_frame(prepared.structure, self._config, command=self._command, directory=directory)
        self._check_version(run)
        label = label_of(run, prepared, self._limits, incar)
        if label.status == "admitted":
            shutil.rmtree(directory)
        return label

    def _incar(self, structure: Structure) -> dict[str, Any]:
        chosen = input_set(self._config)
        chosen.structure = structure
        return dict(chosen.incar)

    def _check_version(self, run: VaspRun) -> None:
        if run.document is None:
            return
        found = str(run.document.calcs_reversed[0].vasp_version).strip()
        wanted = self._config.version.split(".")
        if found.split(".")[: len(wanted)] != wanted:
            raise LabellingError(
                f"VASP: {self._command!r} is VASP {found}, and labelling.vasp.version is {self._config.version}; "
                "set it to the version that shall make the labels"
            )
