"""Labels on the energy scale of the force field: the known anion correction, then per-element offsets.

Energies of two scales never meet in one hull. CHGNet was trained on Materials Project energies with the MP2020 corrections
(Wang et al., Sci. Rep. 11, 15496 (2021)); plain PBE labels are brought there by the same corrections. What is left between two
codes or sets of potentials is one constant per element, frozen per digest of label settings.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import fractions as atomic_fractions
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Composition, Structure

    FloatArray = NDArray[np.float64]

MP2020 = "mp2020"
"""Name of the scale of Materials Project energies with the corrections of 2020."""


RAW_PBE = frozenset({"pbe", "omat24"})
"""Names of scales of energies as PBE and PBE+U give them, without a correction."""

_OXYGEN = frozenset({"oxide", "peroxide", "superoxide", "ozonide"})
"""Names of MP2020's corrections of oxygen; those of other anions have the name of the element."""

_GUESSED_ANIONS = frozenset({"Br", "I", "Se", "Si", "Sb", "Te", "H", "N", "F", "Cl"})
"""Elements that pymatgen corrects where guessed oxidation states make them anions."""


def needs_anion_correction(functional: str, *, anion_corrected: bool, energy_scale: str) -> bool:
    """Whether labels must get the MP2020 anion correction: PBE, also with U, on the way to an MP2020 scale.

    The corrections are fitted to PBE and PBE+U and repair their anions; r2SCAN, HSE06, PBEsol or a dispersion correction have
    other errors, so labels of these need none. Labels that hold the correction already get it once only.
    """
    return energy_scale == MP2020 and functional.upper() in {"PBE", "PBE+U"} and not anion_corrected


def holds_foreign_correction(functional: str, *, anion_corrected: bool, energy_scale: str) -> bool:
    """Whether labels hold the MP2020 anion correction and must lose it: corrected PBE on the way to a scale of raw PBE."""
    return energy_scale in RAW_PBE and functional.upper() in {"PBE", "PBE+U"} and anion_corrected


def anion_correction(structure: Structure) -> float:
    """MP2020 anion correction by pymatgen's own rules, eV/atom: -0.503 eV per S in sulphides, nothing in elements.

    Which atoms are anions is decided by pymatgen from guessed oxidation states, the most electronegative element where there is
    no guess, and the distances for (per)oxides and (poly)sulphides. The +U mixing corrections are left out: labels are plain GGA.

    Raises
    ------
    AnalysisError
        If pymatgen refuses the structure.
    """
    return float(sum(adjustment.value for adjustment in _adjustments(structure))) / len(structure)


def corrected_anions(structure: Structure) -> dict[str, float]:
    """Elements that :func:`anion_correction` acts on in a structure, with the parts of it, eV/atom; raises as it does."""
    parts: dict[str, float] = {}
    for adjustment in _adjustments(structure):
        name = str(adjustment.name).partition("(")[2].rstrip(")")
        symbol = "O" if name in _OXYGEN else name
        parts[symbol] = parts.get(symbol, 0.0) + float(adjustment.value) / len(structure)
    return parts


def composition_correction(composition: Composition) -> float:
    """:func:`anion_correction` where only the composition is known, eV/atom.

    pymatgen then takes sulphur for sulphide, which in compounds of metals, phosphorus and sulphur is what distances say too, and
    oxygen for oxide, but in the formulas of common peroxides, superoxides and ozonides. Raises as :func:`anion_correction`.
    """
    return float(sum(adjustment.value for adjustment in _adjustments(composition))) / float(composition.num_atoms)


def _adjustments(source: Structure | Composition) -> list[Any]:
    from pymatgen.analysis.compatibility import CompatibilityError
    from pymatgen.analysis.compatibility.computed_entries import ComputedStructureEntry
    from pymatgen.core import Composition, Element
    from pymatgen.entries.computed_entries import ComputedEntry

    composition = source if isinstance(source, Composition) else source.composition
    is_plain = all(isinstance(element, Element) for element in composition)
    known = {"oxidation_states": _oxidation_states(composition.formula)} if is_plain else {}
    kind: Any = ComputedEntry if isinstance(source, Composition) else ComputedStructureEntry
    entry = kind(source, 0.0, parameters={"run_type": "GGA", "software": "other", "hubbards": {}}, data=known)
    with warnings.catch_warnings():
        # Odd compositions have no oxidation states; the rule for them, announced by a warning each time, is in the docstring.
        warnings.filterwarnings("ignore", message="Failed to guess oxidation states")
        warnings.filterwarnings("ignore", message="No structure or oxide_type parameter present")
        try:
            return list(_mp2020().get_adjustments(entry))
        except CompatibilityError as error:
            raise AnalysisError(f"no MP2020 correction for {composition.formula}: {error}") from error


@lru_cache(maxsize=4096)
def _oxidation_states(formula: str) -> dict[str, float]:
    """What pymatgen would guess for its correction, once for each formula, and not where it asks for none but oxygen and sulphur.

    Odd compositions take it 20 ms and more, and thousands of structures of a node have a few hundred formulas.
    """
    from pymatgen.core import Composition

    composition = Composition(formula)
    if not _GUESSED_ANIONS & {element.symbol for element in composition}:
        return {"S": -2.0}  # of no consequence: which anions oxygen and sulphur are is told from distances
    try:
        return (composition.oxi_state_guesses(max_sites=-20) or ({},))[0]
    except ValueError:
        return {}


@lru_cache(maxsize=1)
def _mp2020() -> Any:
    from pymatgen.analysis.compatibility import MaterialsProject2020Compatibility

    return MaterialsProject2020Compatibility(compat_type="GGA", check_potcar=False)


@dataclass(frozen=True)
class Residual:
    """What the offsets leave of one reference.

    Attributes
    ----------
    reference : str
        Its id.
    formula : str
        Reduced.
    value : float
        Energy by the force field minus the label after the offsets, eV/atom.
    """

    reference: str
    formula: str
    value: float


@dataclass(frozen=True)
class Offsets:
    """One constant per element between two energy scales.

    Attributes
    ----------
    elements : tuple of str, length k
    values : tuple of float, length k
        Added to a label per atom of the element, eV/atom.
    rank : int
        Of the composition matrix of the fit.
    residual_rms : float
        Of the labels after the fit, eV/atom. It says nothing where the fit had no more frames than constants (:attr:`is_tested`).
    n : int
        Frames in the fit.
    residuals : tuple of Residual
        Of the frames in the fit, in its order; empty where they were not recorded.
    """

    elements: tuple[str, ...]
    values: tuple[float, ...]
    rank: int
    residual_rms: float
    n: int
    residuals: tuple[Residual, ...] = ()

    @property
    def is_tested(self) -> bool:
        """Whether there were more frames than constants; else they meet every frame, whatever the labels are."""
        return self.n > self.rank

    def apply(self, fractions: ArrayLike, label_energies: ArrayLike) -> FloatArray:
        """Labels on the force field's scale.

        Parameters
        ----------
        fractions : array, shape (m, k)
            Columns in the order of ``elements``.
        label_energies : array, shape (m,)
            eV/atom.

        Returns
        -------
        ndarray, shape (m,)
            eV/atom.
        """
        x = np.asarray(fractions, dtype=float)
        if x.ndim != 2 or x.shape[1] != len(self.elements):
            raise AnalysisError(
                f"fractions have shape {x.shape}; expected (m, {len(self.elements)}) for {', '.join(self.elements)}"
            )
        return np.asarray(label_energies, dtype=float) + x @ np.array(self.values)

    def of(self, structure: Structure) -> float:
        """What is added to the label of one structure, eV/atom."""
        return float(self.apply(atomic_fractions([structure], self.elements), [0.0])[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; ``residuals`` only where they are known, as earlier versions did not record them."""
        document: dict[str, Any] = {
            "elements": list(self.elements),
            "values": list(self.values),
            "rank": self.rank,
            "residual_rms": self.residual_rms,
            "n": self.n,
        }
        if self.residuals:
            document["residuals"] = [asdict(residual) for residual in self.residuals]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Offsets:
        """Inverse of :meth:`to_dict`."""
        return cls(
            elements=tuple(document["elements"]),
            values=tuple(float(value) for value in document["values"]),
            rank=int(document["rank"]),
            residual_rms=float(document["residual_rms"]),
            n=int(document["n"]),
            residuals=tuple(
                Residual(str(row["reference"]), str(row["formula"]), float(row["value"]))
                for row in document.get("residuals") or ()
            ),
        )


def why_no_offsets(fractions: ArrayLike, elements: Sequence[str], is_elemental_reference: ArrayLike) -> str:
    """Reason why offsets cannot be fitted to labels of these compositions; empty if they can.

    Compounds alone do not fix them: those of Li+, P5+ and S2- have rank 2, and an offset along (1, 5, -2) would be arbitrary and
    would move the elements against the compounds.
    """
    x = np.asarray(fractions, dtype=float).reshape(-1, len(elements))
    elemental = np.asarray(is_elemental_reference, dtype=bool)
    missing = [symbol for column, symbol in enumerate(elements) if not (elemental & (x[:, column] > 1.0 - 1e-8)).any()]
    if missing:
        return f"no labelled elemental reference of {', '.join(missing)}; label one of each element"
    rank = _rank(x)
    if rank < len(elements):
        return f"the labelled compositions have rank {rank}, {len(elements)} is needed"
    return ""


def fit_offsets(
    fractions: ArrayLike,
    model_energies: ArrayLike,
    label_energies: ArrayLike,
    elements: Sequence[str],
    is_elemental_reference: ArrayLike,
    names: Sequence[tuple[str, str]] = (),
) -> tuple[Offsets | None, str]:
    """Least-squares offsets o such that label + x o is close to the model.

    Parameters
    ----------
    fractions : array, shape (n, k)
    model_energies, label_energies : array, shape (n,)
        eV/atom, of the same frames; labels after the anion correction where they need it.
    elements : sequence of str, length k
    is_elemental_reference : array of bool, shape (n,)
        Whether the frame is a reference structure of a pure element.
    names : sequence of (str, str), length n or 0
        Id and reduced formula of each frame, for the residuals; without them none are recorded.

    Returns
    -------
    offsets : Offsets or None
        None when the fit is not determined.
    reason : str
        Why there are none; empty if there are.
    """
    x = np.asarray(fractions, dtype=float).reshape(-1, len(elements))
    difference = np.asarray(model_energies, dtype=float) - np.asarray(label_energies, dtype=float)
    if difference.shape != (len(x),) or not np.isfinite(difference).all():
        raise AnalysisError(
            f"got {len(x)} compositions and energies of shape {difference.shape}; one finite pair per frame is needed"
        )
    reason = why_no_offsets(x, elements, is_elemental_reference)
    if reason:
        return None, reason
    values, *_ = np.linalg.lstsq(x, difference, rcond=None)
    residual = difference - x @ values
    rms = float(np.sqrt(np.mean(residual**2)))
    left = tuple(Residual(*name, float(value)) for name, value in zip(names, residual, strict=True)) if names else ()
    return Offsets(tuple(elements), tuple(float(value) for value in values), _rank(x), rms, len(difference), left), ""


def fit_further_offsets(
    stored: Offsets,
    fractions: ArrayLike,
    model_energies: ArrayLike,
    label_energies: ArrayLike,
    elements: Sequence[str],
    is_elemental_reference: ArrayLike,
    names: Sequence[tuple[str, str]] = (),
) -> tuple[Offsets | None, str]:
    """Fit offsets of further elements beside those that are stored, which stay as they are (:func:`joined_offsets`).

    Parameters
    ----------
    stored : Offsets
    fractions : array, shape (n, k)
        Columns in the order of ``elements``.
    model_energies, label_energies : array, shape (n,)
        eV/atom; see :func:`fit_offsets`.
    elements : sequence of str, length k
        Those of ``stored`` among them.
    is_elemental_reference : array of bool, shape (n,)
    names : sequence of (str, str), length n or 0
        As in :func:`fit_offsets`.

    Returns
    -------
    offsets : Offsets or None
        Of the elements that ``stored`` lacks, with what they leave of the frames that hold one; None when the fit is not
        determined.
    reason : str
        Why there are none; empty if there are.
    """
    x = np.asarray(fractions, dtype=float).reshape(-1, len(elements))
    frozen = dict(zip(stored.elements, stored.values, strict=True))
    new = [column for column, symbol in enumerate(elements) if symbol not in frozen]
    known = np.array([frozen.get(symbol, 0.0) for symbol in elements])
    rows = x[:, new].sum(axis=1) > 0.0
    target = np.asarray(label_energies, dtype=float) + x @ known
    return fit_offsets(
        x[rows][:, new],
        np.asarray(model_energies, dtype=float)[rows],
        target[rows],
        [elements[column] for column in new],
        np.asarray(is_elemental_reference, dtype=bool)[rows],
        [name for name, used in zip(names, rows.tolist(), strict=True) if used] if names else (),
    )


def joined_offsets(stored: Offsets, further: Offsets, elements: Sequence[str]) -> Offsets:
    """Offsets of two fits as those of one: what they leave is the root mean square over the frames of both.

    Parameters
    ----------
    stored, further : Offsets
        Of different elements; see :func:`fit_further_offsets`.
    elements : sequence of str
        Of both, in the order of the result.
    """
    values = dict(zip((*stored.elements, *further.elements), (*stored.values, *further.values), strict=True))
    n = stored.n + further.n
    rms = float(np.sqrt((stored.n * stored.residual_rms**2 + further.n * further.residual_rms**2) / n))
    joined = tuple(values[symbol] for symbol in elements)
    return Offsets(tuple(elements), joined, stored.rank + further.rank, rms, n, stored.residuals + further.residuals)


def _rank(x: FloatArray) -> int:
    return int(np.linalg.matrix_rank(x, tol=1e-6)) if len(x) else 0
