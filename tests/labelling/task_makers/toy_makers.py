"""Makers that tests name by their import path: single points of EMT, and Makers that break each rule of the contract."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jobflow import Flow, Maker, Response, job


def emt(structure: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt, ASE's sign) of ASE's EMT."""
    from ase.calculators.emt import EMT

    atoms = structure.to_ase_atoms()
    atoms.calc = EMT()
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()


@dataclass
class MappingMaker(Maker):
    """The minimal contract: a mapping with energy, forces and stress."""

    name: str = "mapping"
    scale: float = 1.0
    breaks: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @job
    def make(self, structure: Any) -> Any:  # noqa: C901  (a case for each rule)
        energy, forces, stress = emt(structure)
        document = {"energy": self.scale * energy, "forces": forces.tolist(), "stress": stress.tolist(), "structure": structure}
        match self.breaks:
            case "no stress":
                del document["stress"]
            case "shape":
                document["forces"] = document["forces"][:-1]
            case "words":
                document["energy"] = "low"
            case "not converged":
                document["converged"] = False
            case "nan":
                document["forces"][0][0] = float("nan")
            case "moved":
                moved = structure.copy()
                moved.translate_sites([0], [0.0, 0.0, 0.1], frac_coords=False)
                document["structure"] = moved
            case "crash":
                raise RuntimeError("the determinant is zero")
            case "sulphur" if len(structure) == 1:
                raise RuntimeError("of one atom")
            case "disk":
                raise OSError(errno.ENOSPC, "No space left on device")
            case "package":
                import a_package_that_is_nowhere  # noqa: F401
            case "nothing":
                return None
            case "number":
                return 3.0
            case "in place":  # moves its structure itself, and says so
                structure.translate_sites([0], [0.0, 0.0, 0.1], frac_coords=False)
            case "reversed":
                document["structure"] = structure.from_sites(list(structure)[::-1])
            case "atoms":
                document["structure"] = structure.to_ase_atoms()
            case "moved atoms":
                document["structure"] = structure.to_ase_atoms()
                document["structure"].positions[0, 2] += 0.1
            case "text":
                document["structure"] = structure.to(fmt="cif")
            case "half a structure":
                document["structure"] = {"@class": "Structure", "sites": []}
            case "skew":
                document["stress"] = [[0.1, 0.05, 0.0], [-0.05, 0.1, 0.0], [0.0, 0.0, 0.1]]
            case "zero":
                document["converged"] = 0
            case "no word":
                document["converged"] = "no"
            case "exit":
                raise SystemExit(3)
            case "time":
                raise TimeoutError("no answer in 10 s")
            case "half of VASP":
                document["calcs_reversed"] = [{"output": {}}]
        return document


@dataclass
class ReplacingMaker(Maker):
    """Runs a first job, which is replaced by another as often as wanted."""

    name: str = "replacing"
    times: int = 2
    inner: MappingMaker = field(default_factory=MappingMaker)

    @job
    def make(self, structure: Any, left: int | None = None) -> Any:
        left = self.times if left is None else left
        return Response(replace=self.make(structure, left - 1) if left else self.inner.make(structure))


@dataclass
class DetouringMaker(Maker):
    """Has its numbers, and adds a job that has none of them."""

    name: str = "detouring"

    @job
    def make(self, structure: Any) -> Any:
        energy, forces, stress = emt(structure)
        document = {"energy": energy, "forces": forces.tolist(), "stress": stress.tolist()}
        return Response(output=document, addition=MappingMaker(scale=7.0).make(structure))


@dataclass
class FlowMaker(Maker):
    """Two jobs, of which the second one counts."""

    name: str = "flow"

    def make(self, structure: Any) -> Flow:
        first, second = MappingMaker(scale=5.0).make(structure), MappingMaker().make(structure)
        return Flow([first, second], output=second.output)


@dataclass
class HoldingMaker(Maker):
    """A Flow of the Maker that it holds."""

    name: str = "holding"
    inner: Maker | None = None

    def make(self, structure: Any) -> Flow:
        assert self.inner is not None
        made = self.inner.make(structure)
        return Flow([made], output=made.output)


@dataclass
class RelaxingFlowMaker(HoldingMaker):
    """Holds a Maker that relaxes, one below."""

    def __post_init__(self) -> None:
        from atomate2.ase.jobs import EmtRelaxMaker

        self.inner = HoldingMaker(inner=EmtRelaxMaker())


@dataclass
class ContinuingMaker(Maker):
    """Goes on from a directory of before."""

    name: str = "continuing"

    @job
    def make(self, structure: Any, prev_dir: str) -> Any:
        return {}


class MakerOfNothing(Maker):
    name = "nothing"


@dataclass
class UndecoratedMaker(Maker):
    name: str = "undecorated"

    def make(self, structure: Any) -> Any:
        return {"energy": 1.0}


@dataclass
class DocumentMaker(Maker):
    """Gives a recorded document, whatever the structure is."""

    name: str = "recorded"
    file: str = ""

    @job
    def make(self, structure: Any) -> Any:
        from monty.serialization import loadfn

        return loadfn(self.file, cls=None)


class NoMaker:
    """Has a make, and is no Maker."""

    def make(self, structure: Any) -> Any:
        return {}


def function(structure: Any) -> Any:
    return {}
