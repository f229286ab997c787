"""The collection of structures that the optimade package's server asks: a view of a state, nothing copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lark.exceptions import VisitError
from optimade.exceptions import BadRequest, NotImplementedResponse
from optimade.models import StructureResource
from optimade.server.entry_collections.entry_collections import EntryCollection
from optimade.server.mappers import StructureMapper
from optimade.server.query_params import SingleEntryQueryParams
from typing_extensions import override

from coevo.errors import QueryError
from coevo.node_store.queries.optimade_filters import LiteralTransformer, Parser
from coevo.serve.limits import check_filter
from coevo.serve.optimade.fields import JOINED, OF_STATE, own_fields
from coevo.serve.optimade.filters import GEOMETRY, STORED, NotSupportedError, state_query
from coevo.serve.optimade.structures import constants_of, structure_document

if TYPE_CHECKING:
    from optimade.server.config import ServerConfig

    from coevo.node_store.views import StateView
    from coevo.serve.served import Served

_MOST_SKIPPED = 2**53


class StateCollection(EntryCollection):  # type: ignore[misc]
    """Entries of a state.

    Parameters
    ----------
    served : Served
    view : StateView
    config : ServerConfig
    """

    def __init__(self, served: Served, view: StateView, config: ServerConfig):
        mapper = StructureMapper(config)
        super().__init__(StructureResource, mapper, LiteralTransformer(mapper=mapper), config)
        self.parser = Parser()
        self._served, self._view = served, view
        self._constants = constants_of(view)
        self._formulas: list[str] | None = None
        self._count = int(view.document["counts"]["entries"])

    def __len__(self) -> int:
        return self._count

    @override
    def insert(self, data: list[Any]) -> None:
        """Refuse: a state never changes."""
        raise TypeError("a state never changes")

    @override
    def count(self, **kwargs: Any) -> int:
        """How many entries match ``filter``, a filter over evaluations."""
        query = kwargs.get("filter")
        with self._served.lock:
            return self._view.count_entries(query) if query else self._count

    def _all_formulas(self) -> list[str]:
        if self._formulas is None:
            with self._served.lock:
                rows = self._view.entries({}, ["chemical_formula_reduced"])
                self._formulas = sorted({row["chemical_formula_reduced"] for row in rows})
        return self._formulas

    @override
    def handle_query_params(self, params: Any) -> dict[str, Any]:
        """Translate the parameters of a request; errors of the client are told as such."""
        text, params.filter = getattr(params, "filter", None) or "", None
        criteria = super().handle_query_params(params)
        try:
            criteria["filter"] = self._one(text) if isinstance(params, SingleEntryQueryParams) else self._query(text)
        except NotSupportedError as error:
            raise NotImplementedResponse(detail=str(error)) from None
        except QueryError as error:
            raise BadRequest(detail=str(error)) from None
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise BadRequest(detail=f"the filter cannot be read: {type(error).__name__}: {str(error)[:200]}") from None
        criteria["with_sites"] = bool(GEOMETRY & criteria["fields"])
        criteria["sort"] = self._order(criteria.get("sort") or [])
        if not 0 <= int(criteria.get("skip") or 0) < _MOST_SKIPPED:
            raise BadRequest(detail="page_offset and page_number are whole numbers, not so large")
        return criteria

    @staticmethod
    def _one(text: str) -> dict[str, Any]:
        """Return the filter for one entry; the package puts what stands in the address between quotes, whatever it is."""
        return {"structure_id": text.removeprefix('id="').removesuffix('"')}

    def _query(self, text: str) -> dict[str, Any]:
        check_filter(text)
        if not text.strip():
            return {}
        try:
            query = self.transformer.transform(self.parser.parse(text))
        except VisitError as error:
            if isinstance(error.orig_exc, QueryError):
                raise error.orig_exc from None
            raise  # of the package, which knows what to answer
        return state_query(query, self._constants, self._all_formulas)

    def _order(self, sort: list[tuple[str, int]]) -> list[tuple[str, int]]:
        own, order = own_fields(), []
        for name, direction in sort:
            if name in GEOMETRY or name in {"elements", "elements_ratios", "dimension_types", "structure_features"}:
                raise BadRequest(detail=f"{name} has no order; sort by another property")
            if name in JOINED:
                raise BadRequest(detail=f"{name} is said by studies and has no order; filter by it, and sort by another property")
            if name in STORED or (name in own and name not in OF_STATE):
                order.append((STORED.get(name, name), direction))
        return order  # what all entries share orders nothing

    @override
    def _run_db_query(self, criteria: dict[str, Any], single_entry: bool = False) -> tuple[list[dict[str, Any]], int, bool]:
        query, skip, limit = criteria["filter"], int(criteria.get("skip") or 0), int(criteria["limit"])
        with self._served.lock:
            try:
                total = self._view.count_entries(query) if query else self._count
                rows = list(self._view.with_studied(self._view.entries(query, {"relaxed": 0}, criteria["sort"], limit, skip)))
            except QueryError as error:
                raise BadRequest(detail=str(error)[:500]) from None
            found = [
                structure_document(
                    row, self._constants, self._view.structure(row["structure_id"]) if criteria["with_sites"] else None
                )
                for row in rows
            ]
        return found, total, not single_entry and skip + len(found) < total
