"""Frames of ``data-file-schema.xml``, which ``pw.x`` writes beside its text: through ``qeschema``, Quantum ESPRESSO's reader.

Its numbers have all their digits, in Hartree atomic units; stress has the sign of pressure, as in the text. Forces and stress of
a run are in it only where they were asked for (``tprnfor``, ``tstress``), as in the text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import LabellingError
from coevo.labelling.espresso.checks import ACCURACY_SLACK
from coevo.labelling.imported.contract import FileContents, ImportedFrame
from coevo.labelling.imported.k_points import mesh_of, mesh_of_points, step_of
from coevo.labelling.imported.pwscf.atoms import find_potential, free_atoms, md5_of
from coevo.labelling.imported.pwscf.functional import DISPERSION, PAIRS, anisotropic, key_of, name_of, with_additions, with_form
from coevo.labelling.imported.pwscf.head import Head
from coevo.labelling.imported.pwscf.output import once_each

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.labelling.imported.pwscf.functional import Hubbard

HARTREE, BOHR = 27.21138386, 0.52917720859
"""eV, Å, of CODATA 2006, by which ASE reads the text output: both give one number for one calculation."""

WITH_ENERGIES = {"scf", "relax", "vc-relax", "md", "vc-md"}
"""``calculation`` of the input that computes total energies."""


def read_pw_xml(path: Path, beside: Path) -> FileContents:
    """Return frames, functional and settings of a run.

    Parameters
    ----------
    path : Path
    beside : Path
        Directory in which potentials are looked for; pw.x copies them to where it writes the file.

    Raises
    ------
    LabellingError
        If ``qeschema`` is not installed, the file is cut off, or the run computed no total energy of a crystal.
    """
    document = _document(path)
    given, output = document.get("input") or {}, document.get("output") or {}
    calculation = str(_at(given, "control_variables", "calculation") or "")
    if calculation not in WITH_ENERGIES:
        raise LabellingError(
            f"{path.name}: calculation = {calculation or 'not stated'}: no total energies; allowed: "
            f"{', '.join(sorted(WITH_ENERGIES))}"
        )
    _refuse_fields(path.name, given, output)
    files = _potential_files(output or given, beside)
    structure = _structure(_at(given, "atomic_structure") or _at(output, "atomic_structure"))
    head = _head(document, given, output, structure, files)
    found = {element: path for element, (path, _) in files.items()}
    fixed = 0 in (_content(given.get("free_positions")) or [])
    steps = _steps(document, output)
    frames = [_frame(step, _verdict(step, steps, head.threshold), found, fixed) for step in steps]
    if not frames:
        raise LabellingError(f"{path.name}: no total energy in it; the run did not reach its first")
    notes = []
    if any(frame.free_atoms is None for frame in frames):
        notes.append("the potentials are not beside the file: energies are checked for their sign only")
    if head.charge:
        notes.append(f"the cell is charged: {head.charge:+g} e")
    return FileContents(
        once_each(frames),
        head.functional,
        head.parameters(),
        {element: md5_of(file) if file else name for element, (file, name) in sorted(files.items())},
        head.recorded(),
        {
            "functional": f"output/dft/functional = {head.printed_functional}, vdW/vdw_corr, dftU",
            "energy": "total_energy/etot of each step",
            "forces": "forces of each step",
            "stress": "stress of each step, with the sign changed",
            "convergence": f"scf_conv of each step, scf_error at most {head.threshold:g} Ry",
        },
        notes,
    )


def _steps(document: dict[str, Any], output: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps of a run with their energies.

    What ``<output>`` says is the last cycle's, but its atoms may have been moved after it: where its energy is that of the last
    step, the step has the atoms, and ``<output>`` may have the stress that steps of older versions lack.
    """
    steps = [step for step in _list(document.get("step")) if _at(step, "total_energy", "etot") is not None]
    last = {**output, "scf_conv": _at(output, "convergence_info", "scf_conv"), "in_unit_of_threshold": True}
    energy = _at(last, "total_energy", "etot")
    if energy is None:
        return steps
    if steps and abs(float(steps[-1]["total_energy"]["etot"]) - float(energy)) < 1e-10:
        same = {"scf_conv": last["scf_conv"], "in_unit_of_threshold": True}
        steps[-1] = {"stress": last.get("stress"), **steps[-1], **same}
        return steps
    return [*steps, last]


def _document(path: Path) -> dict[str, Any]:
    """Read a document by the schema that it names; what the schema does not have is read as it is."""
    try:
        from qeschema import PwDocument
    except ImportError:
        raise LabellingError(
            f"{path.name}: to read it needs qeschema: pip install 'coevo[qe]'; or give the text output"
        ) from None
    from xml.etree.ElementTree import ParseError

    try:
        found = PwDocument(str(path)).to_dict(validation="lax")
    except ParseError as error:
        raise LabellingError(f"{path.name}: cut off or damaged: {error}") from error
    document = found[0] if isinstance(found, tuple) else found
    root = next(iter(document.values())) if document else None
    if not isinstance(root, dict) or not root.get("input"):
        raise LabellingError(f"{path.name}: no document of pw.x (no <input>)")
    return root


def _at(tree: Any, *names: str) -> Any:
    """Value at a path of a document; None where a part of it is not there."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _content(value: Any) -> Any:
    """Content of an element with or without attributes."""
    return value.get("$") if isinstance(value, dict) else value


def _refuse_fields(name: str, given: dict[str, Any], output: dict[str, Any]) -> None:
    """An electric field, and what is no crystal."""
    isolated = str(
        _at(given, "boundary_conditions", "assume_isolated") or _at(output, "boundary_conditions", "assume_isolated") or ""
    )
    if isolated and isolated.lower() != "none":
        raise LabellingError(f"{name}: no run of a crystal by itself: assume_isolated = {isolated}")
    if given.get("electric_field") or output.get("electric_field"):
        raise LabellingError(f"{name}: no run of a crystal by itself: an electric field")
    functional = _at(output, "dft") or _at(given, "dft") or {}
    if int(_content(_at(functional, "dftU", "lda_plus_u_kind")) or 0) == 2:
        raise LabellingError(f"{name}: {PAIRS}; give runs with U of elements")


def _structure(tree: dict[str, Any]) -> Structure:
    """A structure from Bohr."""
    from ase.io.espresso import label_to_symbol
    from pymatgen.core import Structure

    cell = np.array([tree["cell"][name] for name in ("a1", "a2", "a3")], dtype=float) * BOHR
    atoms = sorted(_list(_at(tree, "atomic_positions", "atom")), key=lambda atom: atom.get("@index", 0))
    symbols = [label_to_symbol(atom["@name"]) for atom in atoms]
    positions = np.array([atom["$"] for atom in atoms], dtype=float) * BOHR
    return Structure(cell, symbols, positions, coords_are_cartesian=True)


def _frame(step: dict[str, Any], unconverged: str, files: dict[str, Path | None], fixed: bool) -> ImportedFrame:
    """One step of a run.

    ``unconverged`` says why its cycle has not converged. ``fixed`` says that atoms were held: their forces are written as zero
    here, and as they are in the text output.
    """
    structure = _structure(step["atomic_structure"])
    energy = float(step["total_energy"]["etot"]) * HARTREE / len(structure)
    forces, stress = _array(step.get("forces"), 3), _array(step.get("stress"), 3)
    reason, detail = ("scf_not_converged", unconverged) if unconverged else ("", "")
    if fixed and not reason:
        reason, detail = "missing_forces", "atoms were held, and the document has zero for their forces; give the text output"
    return ImportedFrame(
        structure,
        energy,
        None if forces is None else forces * HARTREE / BOHR,
        None if stress is None else -stress * HARTREE / BOHR**3,
        converged=not unconverged,
        reason=reason,
        detail=detail,
        free_atoms=free_atoms([site.specie.symbol for site in structure], files),
    )


def _verdict(step: dict[str, Any], steps: list[dict[str, Any]], threshold: float) -> str:
    """Say why the cycle of a step has not converged, by the same questions as of the text output; empty if it has."""
    error, shown = _error(step), f"allowed: conv_thr, {threshold:.2g} Ry"
    if _at(step, "scf_conv", "convergence_achieved") is False or error is None:
        return f"the SCF cycle did not converge; {shown}"
    if not error <= threshold * ACCURACY_SLACK:
        return f"the SCF cycle ended at an accuracy of {error:.2g} Ry, {shown}"
    errors = [(_at(other, "scf_conv", "n_scf_steps"), _error(other)) for other in steps]
    ended = [number for number, other in errors if number and other is not None and other > threshold * ACCURACY_SLACK]
    iterations = _at(step, "scf_conv", "n_scf_steps") or 0
    if ended and iterations >= min(ended):
        return f"the SCF cycle was ended after {iterations} iterations, as another of the run that had not converged"
    return ""


def _error(step: dict[str, Any]) -> float | None:
    """Accuracy of a step's cycle, Ry: written in the unit of the threshold (Hartree since 6.5) in the end, in Ry in a step."""
    accuracy = _at(step, "scf_conv", "scf_error")
    return None if accuracy is None else float(accuracy) * (2 if step.get("in_unit_of_threshold") else 1)


def _array(element: Any, width: int) -> Any:
    """A matrix of rows of three numbers."""
    content = _content(element)
    return None if content is None or not len(content) else np.array(content, dtype=float).reshape(-1, width)


def _potential_files(tree: dict[str, Any], beside: Path) -> dict[str, tuple[Path | None, str]]:
    """Element to the potential's file where it can be found, and its name."""
    from ase.io.espresso import label_to_symbol

    directory = str(_at(tree, "atomic_species", "@pseudo_dir") or "")
    found = {}
    for species in _list(_at(tree, "atomic_species", "species")):
        name = str(species["pseudo_file"])
        places = [beside / name, Path(directory) / name if Path(directory).is_absolute() else beside / directory / name]
        found[label_to_symbol(str(species["@name"]))] = (find_potential(places, None), name)
    return found


def _head(
    document: dict[str, Any],
    given: dict[str, Any],
    output: dict[str, Any],
    structure: Structure,
    files: dict[str, tuple[Path | None, str]],
) -> Head:
    """What the document says of the settings, as the head of the text output does."""
    functional = _at(output, "dft") or _at(given, "dft") or {}
    printed = str(functional.get("functional") or "")
    correction = str(_content(_at(functional, "vdW", "vdw_corr")) or "").lower()
    hubbard = _hubbard(functional)
    mesh = _mesh(given, output, structure)
    spin = _at(output, "magnetization") or given.get("spin") or {}
    share = _content(_at(functional, "hybrid", "exx_fraction"))
    threshold = 2 * float(_at(given, "electron_control", "conv_thr") or 5e-7)
    cutoffs = [_at(output, "basis_set", name) or _at(given, "basis", name) for name in ("ecutwfc", "ecutrho")]
    added = DISPERSION.get(correction, correction) if correction not in {"", "none"} else ""
    smearing = _at(given, "bands", "smearing") or {}
    return Head(
        text="",
        version=str(_at(document, "general_info", "creator", "@VERSION") or ""),
        functional=with_additions(name_of(printed), added, bool(hubbard)) if printed else None,
        printed_functional=printed,
        n_atoms=len(structure),
        threshold=threshold,
        ecutwfc=None if cutoffs[0] is None else round(2 * float(cutoffs[0]), 6),
        ecutrho=None if cutoffs[1] is None else round(2 * float(cutoffs[1]), 6),
        spin=_spin(spin),
        charge=round(float(_at(given, "bands", "tot_charge") or 0.0), 2),
        mesh=mesh,
        k_spacing=step_of(mesh.spacing) if mesh else "listed points",
        smearing={
            "kind": str(_content(smearing) or _content(_at(given, "bands", "occupations")) or "fixed"),
            "width_ry": 2 * float(smearing.get("@degauss", 0.0)) if isinstance(smearing, dict) else 0.0,
        },
        potential_files={element: (name, None) for element, (_, name) in files.items()},
        hubbard=hubbard,
        exchange={"exact_exchange": float(share)} if share else {},
        dispersion=added,
        damping=_damping(functional) if added == "D3" else {},
        fixed_moment=_at(given, "bands", "tot_magnetization") is not None,
        constrained=_at(given, "spin_constraints", "spin_constraints") not in (None, "none"),
    )


def _spin(tree: dict[str, Any]) -> int | str:
    if tree.get("spinorbit"):
        return "spin-orbit"
    return "noncollinear" if tree.get("noncolin") else 2 if tree.get("lsda") else 1


def _hubbard(functional: dict[str, Any]) -> Hubbard:
    """What the text output says of U and its companions."""
    from ase.io.espresso import label_to_symbol

    found: Hubbard = {}
    for name in ("U", "J0", "alpha", "beta", "J"):
        for item in _list(_at(functional, "dftU", f"Hubbard_{name}")):
            given = _content(item)
            values = [round(float(value or 0.0) * HARTREE, 4) for value in (given if isinstance(given, list) else [given])]
            if not any(values) or not isinstance(item, dict):
                continue
            element, shell = label_to_symbol(str(item.get("@specie") or item.get("@species"))), str(item.get("@label", ""))[-1:]
            named = anisotropic(shell, values) if name == "J" else {key_of(name, shell): values[0]}
            found.setdefault(element, {}).update(named)
    tree = _at(functional, "dftU") or {}
    return with_form(found, str(_content(tree.get("U_projection_type")) or ""), int(_content(tree.get("lda_plus_u_kind")) or 0))


def _damping(functional: dict[str, Any]) -> dict[str, Any]:
    """Form of D3 where it is not the one that pw.x uses unless it is told to; the text output names none."""
    tree = _at(functional, "vdW") or {}
    version, threebody = _content(tree.get("dftd3_version")), _content(tree.get("dftd3_threebody"))
    found: dict[str, Any] = {} if version in (None, 3) else {"dftd3_version": int(version)}
    return found | ({"threebody": False} if threebody is False else {})


def _mesh(given: dict[str, Any], output: dict[str, Any], structure: Structure) -> Any:
    """The mesh that was asked for, or that which listed points are."""
    for tree in (_at(given, "k_points_IBZ"), _at(output, "band_structure", "starting_k_points")):
        grid = _at(tree, "monkhorst_pack")
        if grid:
            return mesh_of([grid[f"@nk{axis}"] for axis in (1, 2, 3)], structure)
        listed = _list(_at(tree, "k_point"))
        points = [_content(point) for point in listed]
        if points and all(point is not None for point in points):
            # in units of 2π/alat
            alat = float(_at(given, "atomic_structure", "@alat") or _at(output, "atomic_structure", "@alat") or 0.0) * BOHR
            cartesian = np.array(points, dtype=float) * 2 * np.pi / alat if alat else np.zeros((1, 3))
            weights = [float(point.get("@weight", 1.0)) for point in listed]
            return mesh_of_points(cartesian @ np.linalg.inv(structure.lattice.reciprocal_lattice.matrix), weights, structure)
    return None
