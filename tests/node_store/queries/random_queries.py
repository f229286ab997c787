"""Random documents of evaluations, and random filters in MongoDB's language."""

from __future__ import annotations

import operator
import random
import re
from typing import Any

from hypothesis import strategies as st

COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
NUMBERS = [-1, 0, 1, 1.0, 0.05, 0.1, 2, 3, 16, 1e300, -0.5, 2**40, 2**53 + 1, float(2**53)]
TEXTS = ["", "Li", "P", "S", "Li3PS4", "li", "Ünï🜨", "x'00", 'a"; DROP TABLE evaluation; --', "\x00", "0.1", "1"]
ANYTHING = [[None], NUMBERS, TEXTS, [False, True]]
ODD = [[1, "x"], {"a": 1}, 2**70, []]
numbers, texts = st.sampled_from(NUMBERS), st.sampled_from(TEXTS)
booleans = st.booleans()
lists = st.lists(st.sampled_from(["Li", "P", "S", "Ü"]), max_size=3)
anything = st.none() | numbers | texts | booleans
OF_NUMBERS = ["nsites", "energy_above_hull", "space_group", "fmax", "uncertainty"]
OF_TEXTS = ["formula", "chemsys", "chemical_formula_reduced", "duplicate_of", "kind", "a remark"]
OF_BOOLEANS = ["is_stable", "is_sun", "checked"]
COLUMNS = {
    name: values for names, values in ((OF_NUMBERS, numbers), (OF_TEXTS, texts), (OF_BOOLEANS, booleans)) for name in names
}


def documents(*, mixed: bool) -> Any:
    """Documents in which fields are null or missing at random; mixed ones have values of other types, too.

    They are drawn from a seed: if hypothesis made each of the hundreds of choices, that would take longer than what is tested.
    """

    def drawn(seed: int, most: int) -> list[dict[str, Any]]:
        rng = random.Random(seed)
        return [{"structure_id": f"{i:064x}", **one(rng)} for i in rng.sample(range(10**6), most)]

    def one(rng: random.Random) -> dict[str, Any]:
        def some(*pools: list[Any]) -> Any:
            return rng.choice(rng.choice(pools))

        listed, tagged = (rng.choices(["Li", "P", "S", "Ü"], k=rng.randrange(4)) for _ in range(2))
        row: dict[str, Any] = {
            "elements": some([None], [listed]),
            "relaxed": some([None, {}]),
            "origin": {"seed": 1},
            "tags": tagged,
        }
        for pool, names in ((NUMBERS, OF_NUMBERS), (TEXTS, OF_TEXTS), ([False, True], OF_BOOLEANS)):
            row |= {name: some([None], pool, pool, *ANYTHING) if mixed else some([None], pool) for name in names}
        if mixed:
            row |= {"tags": some([tagged], *ANYTHING, ODD), "fmax": some(NUMBERS, *ANYTHING, ODD), "odd": some(ODD, *ANYTHING)}
        names = [name for name in row if rng.random() < 0.6]
        rng.shuffle(names)
        return {name: row[name] for name in names}

    return st.builds(drawn, st.integers(0, 2**64 - 1), st.integers(0, 14))


def operators(values: Any, *, mixed: bool) -> Any:
    """Conditions on a field of such values."""
    regexes = st.sampled_from(["^Li", "p", "S4$", "", "Ü|Li", r"\d"])
    plain = [
        values,
        *(st.builds(lambda value, name=name: {name: value}, values) for name in (*COMPARISONS, "$eq", "$ne")),
        st.builds(lambda low, high: {"$gte": low, "$lt": high}, values, values),
        st.builds(lambda name, found: {name: found}, st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=3)),
        st.just(None),
        st.sampled_from([{"$ne": None}, {"$eq": None}, {"$exists": True}, {"$exists": False}, {"$in": [None]}, {"$nin": [None]}]),
        st.builds(lambda found: {"$all": found}, st.lists(values, min_size=0 if mixed else 1, max_size=2)),
        st.builds(lambda text, options: {"$regex": text, **options}, regexes, st.sampled_from([{}, {"$options": "i"}])),
        regexes.map(re.compile),
    ]
    if mixed:
        names = ["null", "bool", "string", "object", "array", "number", "double", "int", "date"]
        plain += [
            st.sampled_from([{"$gte": None}, {"$lte": None}, {"$lt": None}]),
            st.sampled_from(names).map(lambda name: {"$type": name}),
            st.integers(0, 3).map(lambda size: {"$size": size}),
        ]
    found = st.one_of(plain)
    return found | st.one_of(plain[1:3] + plain[8:9]).flatmap(
        lambda inner: st.just({"$not": inner if isinstance(inner, dict) else {"$eq": inner}})
    )


def queries(*, mixed: bool) -> Any:
    of_lists = [
        operators(st.sampled_from(["Li", "P", "S", "Na", "Ü"]), mixed=mixed),
        st.integers(0, 3).map(lambda size: {"$size": size}),
        st.builds(lambda bad: {"$not": {"$elemMatch": {"$nin": bad}}}, lists),
        st.builds(lambda low: {"$elemMatch": {"$gt": low, "$ne": "S"}}, st.sampled_from(["", "Li", "P"])),
        st.sampled_from([{"$regex": "^L"}, ["Li", "P"], {"$in": [["Li"], "S", None]}][: 3 if mixed else 2]),
    ]
    if mixed:
        of_lists.append(st.builds(lambda text: {"$elemMatch": {"$not": {"$eq": text}}}, st.sampled_from(["Li", "P"])))
    leaves = [
        st.builds(lambda condition, name=name: {name: condition}, operators(anything if mixed else values, mixed=mixed))
        for name, values in COLUMNS.items()
    ]
    names = ["elements", "tags"]
    leaves += [st.builds(lambda condition, name=name: {name: condition}, st.one_of(of_lists)) for name in names for _ in range(3)]
    leaves.append(st.builds(lambda condition: {"no_such": condition}, operators(anything if mixed else texts, mixed=mixed)))
    leaves.append(st.sampled_from([{"relaxed": None}, {"relaxed": {"$ne": None}}, {"relaxed": {"$exists": True}}]))
    leaf = st.one_of(leaves)
    return st.recursive(
        leaf,
        lambda inner: (
            st.builds(
                lambda word, parts: {word: parts},
                st.sampled_from(["$and", "$or", "$nor"]),
                st.lists(inner, min_size=1, max_size=3),
            )
            | st.builds(lambda first, second: {**first, **second}, inner, inner)
        ),
        max_leaves=5,
    )
