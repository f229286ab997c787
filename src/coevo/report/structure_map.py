"""The interactive map of structures and properties: chemiscope, with its script and its data beside the page."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import ConfigError
from coevo.output.plain_text import plain
from coevo.report.gathering import SHORT_ID, geometries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.report.gathering import ReportData

MOST_STRUCTURES = 2000
"""More make the page slow to open."""
SCRIPT = "chemiscope.min.js"
DATA = "map.js"
LICENCE = "chemiscope-LICENSE.txt"
_DECIMALS = 4
"""Of coordinates and properties in the map, which are for looking at."""


def chemiscope_script() -> Path:
    """Return the place of chemiscope's script in the installed package.

    Raises
    ------
    ConfigError
        If chemiscope is not installed, or has no such file.
    """
    found = find_spec("chemiscope")
    places = list(found.submodule_search_locations or []) if found else []
    for place in places:
        script = Path(place) / "sphinx" / "static" / SCRIPT
        if script.is_file():
            return script
    what = f"chemiscope is installed without {SCRIPT}" if places else "chemiscope is not installed"
    raise ConfigError(f"report: {what}; run pip install 'coevo[report]', or leave the map out with --without-map")


def choose(data: ReportData, most: int = MOST_STRUCTURES) -> list[dict[str, Any]]:
    """Choose structures for the map: references, then S.U.N. entries, then other entries, each by E_hull."""

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["kind"] != "reference", not row["is_sun"], row["energy_above_hull"], row["structure_id"]

    return sorted([*data.references, *data.live_entries], key=order)[:most]


def write_map(folder: Path, data: ReportData, rows: Sequence[dict[str, Any]]) -> None:
    """Write chemiscope's script, once, and the data of the map as a script of its own.

    Raises
    ------
    ConfigError
        If chemiscope is not installed.
    """
    shutil.copyfile(chemiscope_script(), folder / SCRIPT)
    # whoever passes the report on passes chemiscope on
    licence = distribution("chemiscope").read_text("licenses/LICENSE")
    if licence:
        (folder / LICENCE).write_text(licence, encoding="utf-8")
    text = script_text(json.dumps(map_input(data, rows), allow_nan=False, separators=(",", ":")))
    (folder / DATA).write_text(f"window.coevoMap = {text};\n", encoding="utf-8")


def script_text(text: str) -> str:
    """Make JSON safe inside a script: no name can end the script, or hold a line end that JSON allows and scripts do not."""
    for letter in ("<", ">", "&", "\x7f", "\u2028", "\u2029"):
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def map_input(data: ReportData, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return chemiscope's data set.

    Parameters
    ----------
    data : ReportData
    rows : sequence of dict
        Evaluations, as :func:`choose` gives them; two at least.

    Returns
    -------
    dict
    """
    import chemiscope

    structures = [structure for _, structure in geometries(data.view, [row["structure_id"] for row in rows])]
    components, explained = principal_components(structures, data.elements)
    properties: dict[str, Any] = {
        "fingerprint 1": _numbers(components[:, 0], "", f"first principal component, {100 * explained[0]:.0f} % of the variance"),
        "fingerprint 2": _numbers(
            components[:, 1], "", f"second principal component, {100 * explained[1]:.0f} % of the variance"
        ),
        "energy above hull": _numbers([row["energy_above_hull"] for row in rows], "eV/atom"),
        "formation energy": _numbers([row["formation_energy_per_atom"] for row in rows], "eV/atom"),
        "volume per atom": _numbers([structure.volume / len(structure) for structure in structures], "Å³"),
        "density": _numbers([float(structure.density) for structure in structures], "g/cm³"),
        "atoms in the cell": _numbers([row["nsites"] for row in rows], ""),
        "iteration": _numbers([row["iteration_added"] or 0 for row in rows], "", "in which it was added; 0: from the beginning"),
        "kind": {"target": "structure", "values": [_kind(row) for row in rows]},
        "formula": {"target": "structure", "values": [plain(row["formula"]) for row in rows]},
        "id": {"target": "structure", "values": [row["structure_id"][:SHORT_ID] for row in rows]},
    }
    shares = _shares(rows, data.elements)
    for column, symbol in enumerate(data.elements):
        properties[f"{symbol} content"] = _numbers(shares[:, column], "atomic fraction")
    settings = chemiscope.quick_settings(
        x="fingerprint 1", y="fingerprint 2", map_color="energy above hull", symbol="kind", periodic=True, target="structure"
    )
    settings["map"]["palette"] = "viridis"
    return chemiscope.create_input(
        structures=[_plain(structure) for structure in structures],
        metadata={"name": plain(f"{data.view.node} {data.view.id[:SHORT_ID]}")},
        properties=properties,
        settings=settings,
    )


def _numbers(values: Any, units: str, description: str = "") -> dict[str, Any]:
    rounded = [round(float(value), _DECIMALS) for value in values]
    more = {"units": units, "description": description}
    return {"target": "structure", "values": rounded, **{key: text for key, text in more.items() if text}}


def _kind(row: dict[str, Any]) -> str:
    if row["kind"] == "reference":
        return "reference"
    return "S.U.N. entry" if row["is_sun"] else "other entry"


def _shares(rows: Sequence[dict[str, Any]], elements: Sequence[str]) -> Any:
    from coevo.analysis.composition import fractions

    return fractions([row["formula"] for row in rows], elements)


def _plain(structure: Structure) -> dict[str, Any]:
    """Return a structure as chemiscope's dictionary."""
    x, y, z = np.round(structure.cart_coords, _DECIMALS).T.tolist()
    return {
        "size": len(structure),
        "names": [site.specie.symbol for site in structure],
        "x": x,
        "y": y,
        "z": z,
        "cell": np.round(structure.lattice.matrix, _DECIMALS).ravel().tolist(),
    }


def principal_components(structures: Sequence[Structure], elements: Sequence[str]) -> tuple[Any, list[float]]:
    """Place structures in a plane: the first two principal components of their fingerprints.

    The fingerprint has, for each ordered pair of elements A, B and k = 1 to 12, x_A x_B / AMD_k(A, B): the atomic fractions times
    the inverse of the average minimum distance (:mod:`coevo.analysis.comparison.fingerprints`). It goes to zero with the content
    of either element, so that structures of all subsystems can stand in one map.

    Returns
    -------
    places : ndarray, shape (n, 2)
    explained : list of two floats
        Share of the variance along each.
    """
    X = np.array([_fingerprint(structure, elements) for structure in structures])
    X -= X.mean(axis=0)
    _, singular, directions = np.linalg.svd(X, full_matrices=False)
    # The sign of a component is arbitrary: the largest coefficient is positive, so that a map is the same each time.
    directions = (
        directions[:2] * np.sign(directions[np.arange(len(directions[:2])), np.abs(directions[:2]).argmax(axis=1)])[:, None]
    )
    places = np.zeros((len(X), 2))
    places[:, : len(directions)] = X @ directions.T
    total = float((singular**2).sum()) or 1.0
    explained = [float(value) for value in (singular[:2] ** 2) / total]
    return places, [*explained, 0.0, 0.0][:2]


def _fingerprint(structure: Structure, elements: Sequence[str]) -> Any:
    from pymatgen.core import Element

    from coevo.analysis.cell_reduction import Crystal
    from coevo.analysis.comparison.fingerprints import average_minimum_distances

    crystal = Crystal.from_structure(structure)
    inverse = 1.0 / average_minimum_distances(crystal)
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    shares = counts / counts.sum()
    columns = [[Element(symbol).Z for symbol in elements].index(int(number)) for number in numbers]
    full = np.zeros((len(elements), len(elements), inverse.shape[2]))
    full[np.ix_(columns, columns)] = inverse * shares[:, None, None] * shares[None, :, None]
    return full.ravel()
