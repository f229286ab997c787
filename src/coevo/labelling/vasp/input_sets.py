"""The atomate2 Makers of the two input sets, and what of them is told in the settings of a label.

Both are static PBE runs. Where an input set integrates the Brillouin zone by tetrahedra (``mp``), Gaussian smearing of 0.05 eV
takes its place: with tetrahedra the forces and the stress of a metal are not the derivatives of its energy
(VASP manual, ISMEAR). Handlers that adapt smearing or k-points to one frame are left out (:mod:`coevo.labelling.vasp.running`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from coevo.errors import LabellingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atomate2.vasp.jobs.base import BaseVaspMaker

    from coevo.configs.tree import VaspConfig

LABEL_TAGS: dict[str, Any] = {
    "IBRION": -1,
    "ISIF": 2,
    "ISMEAR": 0,
    "SIGMA": 0.05,
    "LAECHG": False,
    "LCHARG": False,
    "LWAVE": False,
    "LORBIT": None,
}
"""INCAR of every label: atoms at rest, forces and stress that belong to the energy, no large files, no projections."""

PARALLEL_TAGS = frozenset({"NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "LSCALAPACK", "LSCALU", "MAXMEM", "NCSHMEM"})
"""INCAR tags that say how fast, not what; never part of the settings of a label."""


def user_incar(config: VaspConfig) -> dict[str, Any]:
    """Read the INCAR lines of a configuration; values have the types that pymatgen gives them."""
    from pymatgen.io.vasp.inputs import Incar

    return dict(Incar.from_str("\n".join(config.incar)))


def input_set(config: VaspConfig) -> Any:
    """Make the generator of input files, a pymatgen ``VaspInputSet``.

    Raises
    ------
    LabellingError
        If the ``vasp`` extra is not installed.
    """
    try:
        from atomate2.vasp.jobs.matpes import MatPesGGAStaticMaker
        from atomate2.vasp.jobs.mp import MPGGAStaticMaker
    except ImportError as err:
        raise LabellingError(f"VASP: {err}; pip install 'coevo[vasp]'") from err
    default = (MatPesGGAStaticMaker if config.maker == "matpes" else MPGGAStaticMaker)().input_set_generator
    arguments: dict[str, Any] = {"user_incar_settings": {**LABEL_TAGS, **user_incar(config)}}
    if config.maker == "mp":
        # As MPGGAStaticMaker makes its own.
        arguments |= {"force_gamma": True, "auto_metal_kpoints": True, "inherit_incar": False}
    if config.potcars is not None:
        arguments["user_potcar_functional"] = config.potcars
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that another release of the POTCARs is chosen is the user's will
        return type(default)(**arguments)


def maker_for(config: VaspConfig, run_vasp_kwargs: dict[str, Any]) -> BaseVaspMaker:
    """Make the atomate2 Maker of a label.

    Parameters
    ----------
    config : VaspConfig
    run_vasp_kwargs : dict
        For :func:`atomate2.vasp.run.run_vasp`.
    """
    generator = input_set(config)
    from atomate2.vasp.jobs.matpes import MatPesGGAStaticMaker
    from atomate2.vasp.jobs.mp import MPGGAStaticMaker

    return (MatPesGGAStaticMaker if config.maker == "matpes" else MPGGAStaticMaker)(
        input_set_generator=generator,
        # INCAR updates of a ~/.atomate2.yaml are in no digest and would change the numbers unseen.
        write_input_set_kwargs={"apply_incar_updates": False},
        run_vasp_kwargs=run_vasp_kwargs,
        task_document_kwargs={"store_additional_json": False, "run_bader": False, "run_ddec6": False},
        # A run that did not converge is a rejected label, not an error.
        stop_children_kwargs={"handle_unsuccessful": False},
    )


@dataclass(frozen=True)
class ElementChoices:
    """What an input set chooses by the elements of the node.

    Attributes
    ----------
    symbols : dict
        Element to the name of its potential.
    library : str
        pymatgen's name of the POTCAR library, such as ``PBE_64``.
    functional : str
        ``PBE``, or ``PBE+U`` where the input set of the Materials Project adds Hubbard terms (some metals with O or F).
    """

    symbols: dict[str, str]
    library: str
    functional: str


def element_choices(config: VaspConfig, elements: Sequence[str]) -> ElementChoices:
    """Ask the input set for its choices, with a cell that holds one atom of each element."""
    from pymatgen.core import Lattice, Structure

    chosen = input_set(config)
    names = sorted(set(elements))
    chosen.structure = Structure(
        Lattice.orthorhombic(5.0 * len(names), 5.0, 5.0), names, [[index / len(names), 0.0, 0.0] for index in range(len(names))]
    )
    return ElementChoices(
        dict(zip(chosen.poscar.site_symbols, chosen.potcar_symbols, strict=True)),
        str(chosen.user_potcar_functional),
        "PBE+U" if chosen.incar.get("LDAU") else "PBE",
    )


def input_parameters(config: VaspConfig) -> dict[str, Any]:
    """Return what of the input changes the numbers, as JSON."""
    chosen = input_set(config)
    tags = {**chosen.config_dict["INCAR"], **chosen.incar_updates, **chosen.user_incar_settings}
    kspacing = tags.get("KSPACING")
    return {
        "input_set": type(chosen).__name__,
        "atomate2": metadata.version("atomate2"),
        "pymatgen": metadata.version("pymatgen"),
        "encut": float(tags["ENCUT"]),
        "kspacing": None if kspacing is None else float(kspacing),
        "reciprocal_density": None if kspacing is not None else int(chosen.reciprocal_density),
        "smearing": [int(tags["ISMEAR"]), float(tags["SIGMA"])],
        "energy": "free energy",
        "incar": {tag: value for tag, value in user_incar(config).items() if tag not in PARALLEL_TAGS},
    }
