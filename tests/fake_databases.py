"""Databases of crystals on localhost that behave as the real ones do: their filters, pages, energy fields and faults."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from optimade_server import document
from stub_server import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymatgen.core import Structure

ALEXANDRIA = ("_alexandria_hull_distance", "_alexandria_formation_energy_per_atom")
OQMD = ("_oqmd_stability", "_oqmd_delta_e")


class OptimadeDatabase:
    """Answers as an OPTIMADE provider with some structures.

    ``HAS ONLY`` is read as OQMD does: what has all of the elements and no other, sub-systems not among them.

    Parameters
    ----------
    structures : mapping of str to (Structure, energy above hull, formation energy), eV/atom
    fields : tuple of str
        Names of the two energies.
    page_size : int
        Structures of a page at most, whatever is asked; the rest by ``links.next``.
    info : dict or None
        Attributes of ``/info``; 404 if None.
    version : str
    """

    def __init__(
        self,
        structures: Mapping[str, tuple[Structure, float | None, float | None]],
        fields: tuple[str, str] = ALEXANDRIA,
        *,
        page_size: int = 2,
        info: dict[str, Any] | None = None,
        version: str = "",
    ):
        self.rows = {
            name: {**document(name, structure), fields[0]: hull, fields[1]: formation}
            for name, (structure, hull, formation) in structures.items()
        }
        self.page_size, self.info, self.version = page_size, info, version
        self.asked: list[str] = []
        """Chemical systems, in the order of the questions; a further page is none."""
        self.faults: dict[str, Callable[[], Answer | None]] = {}
        """By system: what is answered in place of the truth, None for the truth."""
        self.announce: dict[str, int] = {}
        """By system: how many are announced, in place of how many there are."""

    def __call__(self, request: Request) -> Answer:
        if request.path.endswith("/info"):
            return Answer({"data": {"attributes": self.info}}) if self.info is not None else Answer(b"no", 404)
        assert request.path.endswith("/v1/structures"), request.path
        system, found = self._found(request.query["filter"])
        start = int(request.query.get("page_offset", "0"))
        if not start:
            self.asked.append(system)
        fault = self.faults[system]() if system in self.faults else None
        if fault is not None:
            return fault
        size = min(self.page_size, int(request.query["page_limit"]))
        wanted = set(request.query["response_fields"].split(","))
        chosen = [
            {"id": row["id"], "type": "structures", "attributes": {k: v for k, v in row.items() if k in wanted}}
            for row in found[start : start + size]
        ]
        following = None
        if start + size < len(found):
            query = "&".join(f"{k}={v}" for k, v in {**request.query, "page_offset": str(start + size)}.items())
            following = f"{request.path}?{query}".replace(" ", "%20").replace('"', "%22")
        meta: dict[str, Any] = {"data_returned": self.announce.get(system, len(found)), "more_data_available": bool(following)}
        if self.version:
            meta["database"] = {"version": self.version}
        return Answer({"data": chosen, "links": {"next": following}, "meta": meta})

    def _found(self, filter_: str) -> tuple[str, list[dict[str, Any]]]:
        elements = sorted(re.findall(r'"(\w+)"', filter_))
        count = re.search(r"nelements=(\d+)", filter_)
        assert "HAS ONLY" in filter_ or count, filter_
        size = int(count.group(1)) if count else len(elements)
        rows = [row for row in self.rows.values() if set(elements) <= set(row["elements"]) and len(row["elements"]) == size]
        return "-".join(elements), rows


class MaterialsProject:
    """Answers as https://api.materialsproject.org to ``/materials/summary/`` with a key.

    Parameters
    ----------
    documents : list of dict
        Each with ``chemsys`` and the fields of a summary.
    key : str
    """

    def __init__(self, documents: list[dict[str, Any]], key: str):
        self.documents, self.key = documents, key
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Answer:
        if {k.lower(): v for k, v in request.headers.items()}.get("x-api-key") != self.key:
            return Answer({"message": "Invalid authentication credentials"}, 401)
        self.asked.append(request.query["chemsys"])
        systems, fields = request.query["chemsys"].split(","), request.query["_fields"].split(",")
        found = [{k: v for k, v in d.items() if k in fields} for d in self.documents if d["chemsys"] in systems]
        return Answer({"data": found if request.query["_page"] == "1" else []})


def summary(name: str, structure: Structure, hull: float | None, formation: float | None, **meta: Any) -> dict[str, Any]:
    """A summary of a material; ``meta`` is its ``builder_meta``."""
    return {
        "material_id": name,
        "structure": structure.as_dict(),
        "energy_above_hull": hull,
        "formation_energy_per_atom": formation,
        "last_updated": {"$date": "2025-02-12T00:00:00Z"},
        "builder_meta": meta,
        "chemsys": "-".join(sorted(structure.symbol_set)),
    }
