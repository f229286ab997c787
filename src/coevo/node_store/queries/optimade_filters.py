"""The optimade package's parser and MongoDB transformer, over our fields (a leaf module: importing optimade takes half a second).

Only its parser and transformer are used: nothing of its server is started, configured or written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from lark import Lark, v_args
from lark.exceptions import LarkError, UnexpectedInput, VisitError
from optimade.exceptions import BadRequest
from optimade.filterparser.lark_parser import AVAILABLE_PARSERS, LarkParser
from optimade.filtertransformers.mongo import MongoTransformer

from coevo.errors import QueryError
from coevo.node_store.queries.query_fields import FIELDS, known_field

GRAMMAR = (1, 2, 0)
_LENGTH_FIELDS = {"elements": "nelements"}
_TYPES = {field.stored: field.type for field in FIELDS.values()}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "list of strings": (str,),
}
_LIST_OPERATORS = {"$in": "HAS", "$all": "HAS ALL", "#only": "HAS ONLY", "$size": "LENGTH"}


class _FieldName(str):
    """A field where the grammar also allows a value; it tells a field from a string of the same letters."""

    __slots__ = ()


class Parser(LarkParser):
    """The package's parser; its 1.2.0 grammar drops which of TRUE and FALSE was written, so the two words get names here."""

    def __init__(self) -> None:
        super().__init__(version=GRAMMAR)
        published = AVAILABLE_PARSERS[GRAMMAR]["default"].read_text(encoding="utf-8")
        named = re.sub(r'bool: \( "TRUE" \| "FALSE" \)', 'bool: TRUE | FALSE\nTRUE: "TRUE"\nFALSE: "FALSE"', published)
        self.lark = Lark(named, maybe_placeholders=False)


class LiteralTransformer(MongoTransformer):
    """The package's transformer with literal (not regular-expression) text search, and TRUE and FALSE as they were written."""

    def filter(self, arg: list[Any]) -> Any:
        """Return the one expression of a filter."""
        # the grammar lets expressions follow each other, and the package would answer the first and drop the rest
        if len(arg) != 1:
            raise QueryError("filter: two expressions follow each other; join them with AND or OR")
        return arg[0]

    def bool(self, args: list[Any]) -> Any:
        """Return which of the two words it is."""
        return str(args[0]) == "TRUE"

    @v_args(inline=True)
    def string(self, string: Any) -> Any:
        """Return what stands between the quotes."""
        return re.sub(r"\\(.)", r"\1", str(string)[1:-1])

    def fuzzy_string_op_rhs(self, arg: list[Any]) -> Any:
        """Search for the text as it is written."""
        value = arg[-1]
        if not isinstance(value, str) or isinstance(value, _FieldName):
            raise QueryError(f'filter: {arg[0]} needs a text in double quotes, got {value}; write {arg[0]} "{value}"')
        return super().fuzzy_string_op_rhs([*arg[:-1], re.escape(value)])


class _Transformer(LiteralTransformer):
    """The transformer with our field names and checked types."""

    def property(self, args: list[Any]) -> Any:
        return _FieldName(known_field(".".join(str(part) for part in args), "filter").stored)

    @v_args(inline=True)
    def property_first_comparison(self, quantity: Any, query: Any) -> Any:
        _check_types(quantity, query)
        if "#only" in query:
            # the package rewrites its own form of this at the end, and overlooks it below a NOT
            return {quantity: {"$not": {"$elemMatch": {"$nin": query["#only"]}}}}
        if "$size" in query:
            size = query["$size"]
            return {_LENGTH_FIELDS[quantity]: size if isinstance(size, dict) else {"$eq": size}}
        return super().property_first_comparison(quantity, query)


def _check_types(quantity: str, query: dict[str, Any]) -> None:
    """Refuse comparisons that no document could fulfil, which MongoDB would answer with an empty result."""
    expected = _TYPES.get(quantity, "number")  # that of a member, energies_above_hull.NAME
    for operator, value in query.items():
        if operator == "#known":
            continue
        is_list = expected == "list of strings"
        if is_list != (operator in _LIST_OPERATORS):
            usage = 'HAS "P", HAS ALL "Li","S", HAS ONLY "Li","S" or LENGTH 2' if is_list else "= != < <= > >="
            raise QueryError(f"filter: {quantity} is a {expected}; ask for it with {usage}")
        if operator == "$size":
            continue
        if operator == "$regex" and expected != "string":
            raise QueryError(f"filter: {quantity} is a {expected}; CONTAINS, STARTS and ENDS are for texts")
        for item in value if isinstance(value, list) else [value]:
            _check_value(quantity, expected, item)


def _check_value(quantity: str, expected: str, value: Any) -> None:
    if isinstance(value, _FieldName):
        raise QueryError(f"filter: {quantity} is compared with the field {value}; fields are compared with values only")
    is_bool = isinstance(value, bool)
    if not isinstance(value, _PYTHON_TYPES[expected]) or is_bool != (expected == "boolean"):
        shown = f'"{value}"' if isinstance(value, str) else str(value).upper() if is_bool else str(value)
        wanted = {"boolean": "TRUE or FALSE", "number": "a number", "string": "a text in double quotes"}.get(expected, "a text")
        raise QueryError(f"filter: {quantity} is a {expected} and is compared with {shown}; write {wanted}")


@lru_cache(maxsize=1)
def _parser() -> Parser:
    return Parser()


def translate(text: str) -> dict[str, Any]:
    """Translate a filter that is not empty; see :func:`coevo.node_store.queries.queries.parse_filter`."""
    try:
        tree = _parser().parse(text)
    except BadRequest as err:
        raise QueryError(_syntax_message(text, err.__cause__)) from None
    try:
        return _Transformer().transform(tree)
    except VisitError as err:
        if isinstance(err.orig_exc, QueryError):
            raise err.orig_exc from None
        raise QueryError(f"filter {text!r} uses a part of the language that is not supported: {err.orig_exc}") from None
    except (NotImplementedError, LarkError) as err:
        raise QueryError(f"filter {text!r} uses a part of the language that is not supported: {err}") from None


def _syntax_message(text: str, cause: BaseException | None) -> str:
    example = 'an example: elements HAS "P" AND energy_above_hull < 0.05'
    place = getattr(cause, "pos_in_stream", None)
    if isinstance(cause, UnexpectedInput) and isinstance(place, int) and 0 <= place < len(text):
        return f"filter: cannot be read from column {place + 1} on: {text[:place]}>>>{text[place:]}; {example}"
    return f"filter: {text!r} stops in the middle of a comparison (column {len(text) + 1}); {example}"
