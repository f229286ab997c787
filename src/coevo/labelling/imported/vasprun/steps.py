"""Frames of a ``vasprun.xml``: one for each ionic step.

The energy is the free energy of the electrons (``e_fr_energy``), of which forces and stress are derivatives, not the
``e_0_energy`` that pymatgen's ``final_energy`` is. It is taken from the ionic step: the last electronic step lacks the dispersion
in VASP 5.4 and 6.2. With PSTRESS the ionic step holds ``P V`` beside it, which is taken off. The two energies must agree but for
what the run declares; where they do not, the file does not name all that its numbers hold.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import LabellingError
from coevo.labelling.imported.contract import EV_PER_A3_PER_KBAR, FileContents, ImportedFrame, as_array
from coevo.labelling.imported.vasprun.functional import dispersion_of, functional_of
from coevo.labelling.imported.vasprun.refusals import why_no_labels
from coevo.labelling.imported.vasprun.settings import charge_of, parameters_of, potentials_of, recorded_of
from coevo.labelling.imported.vasprun.tags import Tags, atom_types

if TYPE_CHECKING:
    from pathlib import Path

    from pymatgen.io.vasp import Vasprun

SAME_ENERGY = 1e-4
"""eV/atom; electronic and ionic step of one state differ by less (they are printed with eight decimals of an eV)."""

PRINTED = 2e-8
"""eV; what rounding may add to the difference of two printed energies."""

INCOMPLETE_STRESS = {0: "the stress was not computed", 1: "only the pressure was computed"}
"""ISIF to what it means."""


def read_vasprun(path: Path) -> FileContents:
    """Return frames, functional and settings of a run.

    Raises
    ------
    LabellingError
        If the run computed no ground state of a crystal.
    """
    run, complete = _parse(path)
    tags, types = Tags(run.incar, run.parameters), atom_types(path)
    refusal = why_no_labels(tags)
    if refusal:
        raise LabellingError(f"{path.name}: no run of total energies: {refusal}; give static runs, relaxations or dynamics")
    notes = [] if complete else [f"the file is cut off after {len(run.ionic_steps)} whole ionic steps, which are used"]
    garbled = sum(step.get("structure") is None for step in run.ionic_steps)
    if garbled:
        notes.append(f"{garbled} ionic steps without a structure that can be read are left out")
    # pymatgen lists every step of such a run in md_data, those with electrons too
    predicted = len(run.md_data) - len(run.ionic_steps) if tags.flag("ML_LMLFF") else 0
    if predicted > 0:
        notes.append(
            f"{predicted} steps of VASP's machine-learned force field are left out; the {len(run.ionic_steps)} steps "
            "with electrons are used"
        )
    usable = [step for step in run.ionic_steps if step.get("structure") is not None]
    frames = [_frame(step, tags) for step in usable]
    if not frames:
        raise LabellingError(
            f"{path.name}: no ionic step with a structure in it; {'; '.join(notes) or 'looked for <calculation>'}"
        )
    functional = functional_of(tags, types)
    beyond = max((_undeclared(step, tags) for step in usable), key=abs, default=0.0)
    begins = why = ""
    if functional is not None and abs(beyond) > SAME_ENERGY and not dispersion_of(tags):
        begins, functional = f"{functional}+", None
        why = (
            f"the energy of an ionic step holds {beyond:.4f} eV/atom beyond that of its electrons, and the file names nothing "
            "that adds it (older VASP adds dispersion so)"
        )
        notes.append(why)
    notes += _stopped(usable, tags)
    charge = charge_of(tags, types)
    if charge:
        notes.append(f"the cell is charged: {charge:+g} e")
    return FileContents(
        frames,
        functional,
        parameters_of(run, tags, types, run.initial_structure),
        potentials_of(types),
        recorded_of(run, tags, run.initial_structure),
        {
            "functional": "METAGGA, GGA, LHFCALC, IVDW, LUSE_VDW, LDAU in <incar> and <parameters>, else the potentials' titles",
            "energy": "e_fr_energy of the ionic step" + (", less P V (PSTRESS)" if tags.number("PSTRESS", 0.0) else ""),
            "forces": "<varray name='forces'>",
            "stress": "<varray name='stress'>, kbar, with the sign changed",
            "convergence": f"electronic steps of each ionic step, fewer than NELM = {_most_steps(tags)}",
        },
        notes,
        functional_begins=begins,
        functional_open=why,
    )


def _parse(path: Path) -> tuple[Vasprun, bool]:
    """Parse with pymatgen; second, whether the file is whole."""
    from pymatgen.io.vasp import Vasprun

    class EveryStep(Vasprun):
        """Pymatgen asks the last step of every run for its convergence, which some runs have not; here each step is asked."""

        converged = True  # type: ignore[assignment]

        def _parse_ionic_step(self, elem: Any) -> dict[str, Any]:
            """Leave out a table of a step with rows of unequal length, which would cost the whole file."""
            for table in [*elem.findall("varray"), *elem.findall("structure")]:
                if not all(_is_even(part) for part in table.iter("varray")):
                    elem.remove(table)
            return super()._parse_ionic_step(elem)  # type: ignore[no-any-return]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run = EveryStep(str(path), parse_dos=False, parse_eigen=False, parse_potcar_file=False, exception_on_bad_xml=False)
        except AttributeError as error:
            raise LabellingError(f"{path.name}: cut off before its first ionic step ({error})") from None
    parts = {
        "parameters": "<parameters>",
        "kpoints": "<kpoints>",
        "atomic_symbols": "<atominfo>",
        "initial_structure": "initialpos",
    }
    missing = [part for name, part in parts.items() if not hasattr(run, name)]
    if missing:
        raise LabellingError(f"{path.name}: no {', '.join(missing)} in it: cut off before its first ionic step, or no whole file")
    return run, not any("malformed" in str(warning.message) for warning in caught)


def _is_even(table: Any) -> bool:
    """Whether all rows of a table have as many numbers."""
    return len({len((row.text or "").split()) for row in table}) <= 1


def _frame(step: dict[str, Any], tags: Tags) -> ImportedFrame:
    """One ionic step."""
    structure = step["structure"].copy(site_properties={})
    stress = as_array(step.get("stress"))
    isif = int(tags.number("ISIF", 2))
    reason = detail = ""
    steps = len(step["electronic_steps"])
    if not 0 < steps < _most_steps(tags):
        reason, detail = "not_converged", f"{steps} electronic steps, converged are fewer than NELM = {_most_steps(tags)}"
    elif stress is None or isif in INCOMPLETE_STRESS:
        reason = "missing_stress"
        detail = f"ISIF = {isif}: {INCOMPLETE_STRESS.get(isif, 'the file has no stress of this step')}"
        stress = None
    energy = _energy(step, tags)
    return ImportedFrame(
        structure,
        None if energy is None else energy / len(structure),
        as_array(step.get("forces")),
        None if stress is None else -stress * EV_PER_A3_PER_KBAR,
        converged=reason != "not_converged",
        reason=reason,
        detail=detail,
    )


def _most_steps(tags: Tags) -> int:
    return int(tags.used("NELM") or 60)


def _stopped(steps: list[dict[str, Any]], tags: Tags) -> list[str]:
    """Say how many steps may have been ended before they converged: LABORT in a STOPCAR leaves no other trace in the file."""
    changes = [_last_change(step) for step in steps if 0 < len(step["electronic_steps"]) < _most_steps(tags)]
    early = [change for change in changes if change > _ediff(tags) + PRINTED]
    if not early:
        return []
    told = (
        f"of {len(early)} ionic steps the last electronic step changed the energy by up to {max(early):.1e} eV, more than "
        f"EDIFF = {_ediff(tags):g}: leave the run out if it was stopped (LABORT)"
    )
    return [told]


def _ediff(tags: Tags) -> float:
    """VASP takes the absolute value of what is asked for, and may use another one."""
    try:
        return abs(float(tags.used("EDIFF")))
    except (TypeError, ValueError):
        return 1e-4


def _last_change(step: dict[str, Any]) -> float:
    """Change of the energy by the last electronic step, eV; 0 where the file does not say it."""
    energies = [found.get("e_fr_energy") for found in step["electronic_steps"][-2:]]
    if len(energies) < 2 or None in energies:
        return 0.0
    change = abs(float(energies[1]) - float(energies[0]))
    return change if np.isfinite(change) else 0.0


def _electronic(step: dict[str, Any]) -> float | None:
    """Free energy of the last electronic step, eV."""
    last = step["electronic_steps"][-1] if step["electronic_steps"] else {}
    value = last.get("e_fr_energy")
    return None if value is None else float(value)


def _work(step: dict[str, Any], tags: Tags) -> float:
    """P V of an ionic step, eV."""
    return tags.number("PSTRESS", 0.0) * EV_PER_A3_PER_KBAR * float(step["structure"].volume)


def _energy(step: dict[str, Any], tags: Tags) -> float | None:
    """Free energy of an ionic step without P V, eV."""
    value, electronic = step.get("e_fr_energy"), _electronic(step)
    if value is None:
        return None
    if electronic is not None and abs(float(value) - electronic) <= SAME_ENERGY * len(step["structure"]):
        return float(value)  # no P V in it, or no pressure
    return float(value) - _work(step, tags)


def _undeclared(step: dict[str, Any], tags: Tags) -> float:
    """Part of the energy of an ionic step that neither its electrons nor PSTRESS account for, eV/atom."""
    energy, electronic = _energy(step, tags), _electronic(step)
    if energy is None or electronic is None or not np.isfinite([energy, electronic]).all():
        return 0.0
    return (energy - electronic) / len(step["structure"])
