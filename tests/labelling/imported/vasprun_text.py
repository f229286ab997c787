"""Write small ``vasprun.xml`` files: Li2S, with the tags, energies and pieces that a test asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CELL = ((0.0, 2.85, 2.85), (2.85, 0.0, 2.85), (2.85, 2.85, 0.0))
POSITIONS = ((0.25, 0.25, 0.25), (0.75, 0.75, 0.75), (0.0, 0.0, 0.0))
FORCES = ((0.02, 0.01, 0.0), (-0.02, -0.01, 0.0), (0.0, 0.0, 0.0))
STRESS = ((10.0, 1.0, 0.0), (1.0, 20.0, 0.0), (0.0, 0.0, 30.0))
"""kbar, with VASP's sign."""
VOLUME = 46.29825
TYPES = ((2, "Li", 3.0, "PAW_PBE Li_sv 10Sep2004"), (1, "S", 6.0, "PAW_PBE S 06Sep2000"))
PARAMETERS: dict[str, Any] = {
    "NELM": 60,
    "EDIFF": 1e-5,
    "GGA": "--",
    "LHFCALC": False,
    "ISPIN": 1,
    "IBRION": -1,
    "ISIF": 2,
    "ENMAX": 520.0,
    "NELECT": 12.0,
    "PREC": "accura",
}
"""As VASP writes them; METAGGA is not among them, and ENCUT is ENMAX."""


@dataclass(frozen=True)
class Step:
    """One ionic step.

    Attributes
    ----------
    free : float
        ``e_fr_energy`` of the ionic step, eV.
    zero : float or None
        ``e_0_energy``; that of the free energy if None.
    electronic : float or None
        ``e_fr_energy`` of the last electronic step; that of the ionic step if None.
    electronic_steps : int
    last_change : float
        Of the energy by the last electronic step, eV.
    forces, stress : bool or str
        Whether they are written; a text is written in place of the first number.
    """

    free: float = -12.3
    zero: float | None = None
    electronic: float | None = None
    electronic_steps: int = 5
    last_change: float = 1e-6
    forces: bool | str = True
    stress: bool = True
    scale: float = 1.0

    def text(self) -> str:
        last = self.free if self.electronic is None else self.electronic
        shift = 0.0 if self.zero is None else self.zero - self.free
        before = [
            last + self.last_change * 10 ** (self.electronic_steps - 2 - number) for number in range(self.electronic_steps - 1)
        ]
        found = [*(min(value, last + 1.0) for value in before), last]
        cycle = "".join(f"<scstep>{energies(value, value + shift)}</scstep>\n" for value in found[: self.electronic_steps])
        forces = (
            rows("forces", FORCES).replace("0.02000000", str(self.forces), 1)
            if self.forces is not True
            else rows("forces", FORCES)
        )
        return (
            f"<calculation>\n{cycle}{structure(self.scale)}{forces if self.forces else ''}"
            f"{rows('stress', STRESS) if self.stress else ''}{energies(self.free, self.zero)}</calculation>\n"
        )


@dataclass(frozen=True)
class Run:
    """A run by what it has other than a static PBE calculation."""

    incar: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = (Step(),)
    types: tuple[tuple[int, str, float, str], ...] = TYPES
    mesh: tuple[int, int, int] | None = (4, 4, 4)
    version: str = "6.4.2"

    def text(self) -> str:
        atoms = "".join(
            f"<rc><c>{symbol:<2}</c><c>{number + 1}</c></rc>"
            for number, (count, symbol, _, _) in enumerate(self.types)
            for _ in range(count)
        )
        kinds = "".join(
            f"<rc><c>{count}</c><c>{symbol:<2}</c><c>1.0</c><c>{valence}</c><c>{title}</c></rc>"
            for count, symbol, valence, title in self.types
        )
        shown = {name: value for name, value in {**PARAMETERS, **self.parameters}.items() if value is not None}
        return (
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
            f'<generator><i name="program" type="string">vasp</i><i name="version" type="string">{self.version}</i></generator>\n'
            f"<incar>{tags(self.incar)}</incar>\n{self.points()}<parameters>{tags(shown)}</parameters>\n"
            f'<atominfo><array name="atoms"><set>{atoms}</set></array>'
            f'<array name="atomtypes"><set>{kinds}</set></array></atominfo>\n'
            f"{structure(1.0, 'initialpos')}{''.join(step.text() for step in self.steps)}"
            f"{structure(1.0, 'finalpos')}</modeling>\n"
        )

    def points(self) -> str:
        given = ""
        if self.mesh is not None:
            divisions = " ".join(map(str, self.mesh))
            shift = '<v name="usershift">0 0 0</v>'
            given = f'<generation param="Gamma"><v type="int" name="divisions">{divisions}</v>{shift}</generation>'
        return f"<kpoints>{given}{rows('kpointlist', ((0, 0, 0),))}{rows('weights', ((1,),))}</kpoints>\n"


def tags(values: dict[str, Any]) -> str:
    return "".join(tag(name, value) for name, value in values.items())


def tag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f'<i type="logical" name="{name}">{"T" if value else "F"}</i>\n'
    if isinstance(value, list):
        kind = ' type="int"' if all(isinstance(item, int) for item in value) else ""
        return f'<v{kind} name="{name}">{" ".join(map(str, value))}</v>\n'
    kind = {str: ' type="string"', int: ' type="int"'}.get(type(value), "")
    return f'<i{kind} name="{name}">{value}</i>\n'


def rows(name: str, values: Any) -> str:
    lines = "".join("<v>" + " ".join(f"{value:.8f}" for value in row) + "</v>\n" for row in values)
    return f'<varray name="{name}">\n{lines}</varray>\n'


def energies(free: float, zero: float | None = None) -> str:
    named = {"e_fr_energy": free, "e_wo_entrp": free, "e_0_energy": free if zero is None else zero}
    return "<energy>" + "".join(f'<i name="{name}">{value:.8f}</i>' for name, value in named.items()) + "</energy>\n"


def structure(scale: float, name: str = "") -> str:
    cell = rows("basis", [[scale * value for value in row] for row in CELL])
    label = f' name="{name}"' if name else ""
    return f"<structure{label}><crystal>{cell}</crystal>{rows('positions', POSITIONS)}</structure>\n"


def write(folder: Path, run: Run) -> Path:
    path = folder / "vasprun.xml"
    path.write_text(run.text())
    return path
