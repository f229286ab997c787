"""Entries of a state as OPTIMADE's structures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coevo.serve.optimade.fields import own_fields
from coevo.serve.optimade.filters import ratios

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.node_store.views import StateView


def constants_of(view: StateView) -> dict[str, Any]:
    """Properties that all entries of a state share; ``last_modified`` is when the state was made."""
    made = datetime.fromisoformat(view.document["created"])
    return {
        "type": "structures",
        "last_modified": (made if made.tzinfo else made.replace(tzinfo=UTC)).replace(microsecond=0),
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "structure_features": [],
        "state": view.id,
        "node": view.node,
    }


def structure_document(evaluation: dict[str, Any], constants: dict[str, Any], structure: Structure | None) -> dict[str, Any]:
    """Return an entry with the names that the optimade package's mapper expects: fields of ours without their prefix.

    Parameters
    ----------
    evaluation : dict
    constants : dict
        Of :func:`constants_of`.
    structure : Structure, optional
        At the state's geometry; without it, the properties of sites are left out.
    """
    formula = evaluation["chemical_formula_reduced"]
    found = {
        **{name: evaluation.get(name) for name in own_fields()},
        **constants,
        "id": evaluation["structure_id"],
        "immutable_id": evaluation["structure_id"],
        "elements": evaluation["elements"],
        "nelements": evaluation["nelements"],
        "elements_ratios": ratios(formula),
        "chemical_formula_reduced": formula,
        "chemical_formula_descriptive": evaluation["formula"],
        "chemical_formula_anonymous": evaluation["chemical_formula_anonymous"],
        "nsites": evaluation["nsites"],
    }
    if structure is not None:
        found |= {
            "lattice_vectors": structure.lattice.matrix.tolist(),
            "cartesian_site_positions": structure.cart_coords.tolist(),
            "species_at_sites": [site.specie.symbol for site in structure],
            "species": [
                {"name": symbol, "chemical_symbols": [symbol], "concentration": [1.0]} for symbol in evaluation["elements"]
            ],
        }
    return found
