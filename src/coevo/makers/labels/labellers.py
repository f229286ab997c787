"""The labelling code that a configuration names; a teacher is handed its force field here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import LabellingConfig
    from coevo.labelling.contract import Labeller


def labeller_for(labelling: LabellingConfig, *, elements: Sequence[str] = (), workers: int = 1) -> Labeller:
    """Return the labelling code that the configuration names; a teacher is handed its force field here.

    Parameters
    ----------
    labelling : LabellingConfig
    elements : sequence of str
        Elements of the node, for codes whose settings name a potential of each.
    workers : int

    Raises
    ------
    LabellingError
        If the code cannot be had; executables and potentials are looked for when its settings are asked for.
    """
    if labelling.code == "espresso":
        from coevo.labelling.espresso.labeller import EspressoLabeller
        from coevo.settings import read_settings

        return EspressoLabeller.from_config(labelling, read_settings(), elements=elements, workers=workers)
    if labelling.code == "vasp":
        from coevo.labelling.vasp.labeller import VaspLabeller

        return VaspLabeller.from_config(labelling, elements)
    from coevo.labelling.teacher import TeacherLabeller
    from coevo.models.registry import force_field_from
    from coevo.settings import read_settings

    family, weights = labelling.teacher.family, labelling.teacher.weights
    teacher = force_field_from(family, weights=weights, device=read_settings().device)
    return TeacherLabeller.from_config(teacher, labelling, workers=workers)
