"""Depth: which formulas come into focus, and which draw is for which of them.

A bandit whose arms are formulas. What it goes by is in the knowledge and in the conditions, so all shards of an iteration have
the same formulas in focus; each shard goes through them evenly, from a place of its own.

A formula's score is an upper confidence bound,
``promise + EXPLORATION * plausibility * sqrt(ln(e + rounds of all) / (1 + pulls))``:

- ``promise``: of a formula with examples exp(-E/kT) with E of its best; of one without what related compositions lead one to
  expect, times its plausibility; over 1 + its rounds in focus since a better example came;
- ``plausibility``: charge balance, by oxidation states and by known units, times how common formulas of so many atoms are;
- ``pulls``: rounds in focus, and examples in units of a round.

A formula whose best example is a reference has been looked at by others: its score counts for little.
"""

from __future__ import annotations

import math
from math import comb
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from coevo.configs.electrons import electron_excess, has_electron_excess
from coevo.configs.element_lists import chemical_systems
from coevo.models.contracts import Conditions
from coevo.models.random_crystals.chemistry import neutrality
from coevo.models.random_crystals.compositions import CompositionTable, cell_contents, reduced_key
from coevo.models.random_crystals.knowledge import Knowledge, Tracked, formula_key
from coevo.models.random_crystals.unit_charges import UnitBalance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.models.contracts import Example

EXPLORATION = 0.5
"""Weight of what has hardly been drawn against what looks good."""

PROMISE = 0.05
"""Energy scale kT of what a best example promises, eV/atom."""

KNOWN = 0.15
"""Score of a formula whose best example is a reference, over what it would be."""

COVALENT = 0.1
"""Plausibility, at least, of a formula without electron excess: bonds between like atoms may balance it (Li3P7, P4S3)."""

WITHOUT_UNITS = 0.4
"""Plausibility of a formula that known units of its non-metals do not balance, over what it would be."""

ATOMS = 12.0
"""Formulas of n atoms are plausible in proportion to exp(-n / ATOMS)."""

MOST_CELLS = 50_000
"""Contents of cells whose formulas are compared, at most; each process that draws compares them, in seconds."""

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
"""Multiples of it, modulo 1, are spread evenly whatever their number."""


class Focused(NamedTuple):
    """A formula in focus.

    ``amounts`` per formula unit; ``draws`` of its own in an iteration; ``promise`` and ``plausibility`` are what its score is of.
    """

    amounts: dict[str, int]
    system: str
    score: float
    promise: float
    plausibility: float
    draws: float

    def to_dict(self, tracked: Tracked | None) -> dict[str, Any]:
        """For the report of a fit (JSON)."""
        found = {
            "formula": formula_key(self.amounts),
            "score": round(self.score, 4),
            "promise": round(self.promise, 4),
            "plausibility": round(self.plausibility, 4),
            "draws": round(self.draws, 1),
        }
        if tracked is not None:
            found |= {
                "examples": tracked.examples,
                "lowest_e_hull": tracked.lowest,
                "reference": tracked.known,
                "rounds": tracked.rounds,
                "rounds_since_best": tracked.since,
            }
        return found


def plausibility(amounts: Mapping[str, int], units: UnitBalance | None = None) -> float:
    """Plausibility of a reduced formula, in [0, 1]: its charge balance, and its size; 0 with an electron excess.

    Parameters
    ----------
    amounts : mapping of str to int
        Of one formula unit.
    units : UnitBalance, optional
        Units of known charge, which know better than oxidation states do.
    """
    if has_electron_excess(electron_excess(amounts)):
        return 0.0
    balance = neutrality(amounts)
    if units is not None and units.balances(amounts):
        balance = 1.0
    elif units is not None and units.speaks_of(amounts):
        balance *= WITHOUT_UNITS
    return max(balance, COVALENT) * math.exp(-sum(amounts.values()) / ATOMS)


def score(
    tracked: Tracked | None, expected: float, plausible: float, examples_a_round: int, rounds_of_all: int
) -> tuple[float, float]:
    """Score of a formula and the promise in it.

    Parameters
    ----------
    tracked : Tracked or None
    expected : float
        Of its composition, by related ones, in [0, 1].
    plausible : float
    examples_a_round : int
        Draws of a formula in one iteration.
    rounds_of_all : int
        Of all formulas together.
    """
    seen = tracked or Tracked(amounts={"H": 1})
    promise = plausible * expected if seen.lowest is None else math.exp(-max(seen.lowest, 0.0) / PROMISE)
    promise /= 1.0 + seen.since
    pulls = seen.rounds + seen.examples / examples_a_round
    bonus = EXPLORATION * plausible * math.sqrt(math.log(math.e + rounds_of_all) / (1.0 + pulls))
    return (promise + bonus) * (KNOWN if seen.known else 1.0), promise


def _most_atoms(table: CompositionTable) -> int:
    """Atoms of the cells whose formulas are compared, at most: fewer than are allowed where there would be too many cells."""
    most = table.conditions.max_atoms
    while most > 1 and sum(comb(most, len(system)) for system in table.systems) > MOST_CELLS:
        most -= 1
    return most


def formulas_of(table: CompositionTable) -> dict[str, tuple[dict[str, int], frozenset[str]]]:
    """Reduced formulas of the cells that fulfil the conditions: key to amounts and chemical system.

    Of many elements only those of few atoms, which are the plausible ones: cells that are compared number 50,000 at most.
    """
    found = {}
    most = _most_atoms(table)
    for system in table.systems:
        symbols = tuple(sorted(system))
        for content in cell_contents(symbols, most):
            key = reduced_key(dict(zip(symbols, content, strict=True)))
            if table.wants(key):
                found[formula_key(dict(key))] = (dict(key), system)
    return found


def choose(knowledge: Knowledge, conditions: Conditions, table: CompositionTable | None = None) -> tuple[Focused, ...]:
    """Choose the formulas in focus, from the highest score to the lowest.

    Parameters
    ----------
    knowledge : Knowledge
        Its settings say how many there are, and how many draws they have (``depth``, ``candidates``). Within an iteration its
        ``focus`` says among which formulas.
    conditions : Conditions
    table : CompositionTable, optional
        Of both, if there is one.
    """
    settings = knowledge.settings
    if not settings.depth.in_use:
        return ()
    table = table or CompositionTable(knowledge, conditions)
    formulas = formulas_of(table)
    names = sorted(formulas)
    if knowledge.focus:
        names = [name for name in names if name in set(knowledge.focus)]
    if not names:
        return ()
    expected = table.quality([formulas[name][0] for name in names])
    heaviest = max(table.system_weights)
    weights = {s: math.sqrt(w / heaviest) for s, w in zip(table.systems, table.system_weights, strict=True)}
    rounds = sum(t.rounds for t in knowledge.tracked.values())
    units = UnitBalance(knowledge.charges)
    scored = []
    for name, guess in zip(names, expected.tolist(), strict=True):
        amounts, system = formulas[name]
        plausible = plausibility(amounts, units) * weights[system]
        if plausible > 0:
            value, promise = score(knowledge.tracked.get(name), guess, plausible, settings.depth.draws, rounds)
            scored.append(Focused(amounts, "-".join(sorted(system)), value, promise, plausible, 0.0))
    # equal to rounding is equal: what adds up in another order must not change who is in focus
    scored.sort(key=lambda f: (-round(f.score, 9), formula_key(f.amounts)))
    return _with_draws(scored[: settings.depth.number(settings.candidates)], settings.depth.share * settings.candidates)


def _with_draws(chosen: Sequence[Focused], total: float) -> tuple[Focused, ...]:
    """All have the same draws."""
    return tuple(f._replace(draws=total / len(chosen)) for f in chosen)


class Course:
    """Which draws of a sample are for formulas in focus.

    Parameters
    ----------
    share : float
        Of the draws, in [0, 1].
    number : int
        Formulas in focus.
    seed : int
        Of the sample: where it begins.

    Every ``1/share``-th draw is for one of them, and of n such draws each formula has n/number within a few (low discrepancy), in
    each sample; so the shares hold in all shards together as well.
    """

    def __init__(self, share: float, number: int, seed: int):
        self._share, self._number = share, number
        self._start, self._first = np.random.default_rng([seed, 0, number]).random(2).tolist()

    def formula(self, draw: int) -> int | None:
        """Which formula a draw is for; None if it explores."""
        if not self._number:
            return None
        before = math.floor(draw * self._share + self._start)
        if math.floor((draw + 1) * self._share + self._start) == before:
            return None
        return min(int(((self._first + before * GOLDEN) % 1.0) * self._number), self._number - 1)


def track(knowledge: Knowledge, examples: Sequence[Example]) -> dict[str, Tracked]:
    """What is known of each formula after the examples; rounds are counted on from the knowledge that drew before.

    Parameters
    ----------
    knowledge : Knowledge
        Of before the fit. One that had learned nothing has drawn nothing in focus that would count.
    examples : sequence of Example
        All, of any E_hull.
    """
    if not knowledge.settings.depth.in_use:
        return {}
    found: dict[str, Tracked] = {}
    drawn = set()
    if knowledge.examples:
        drawn = {formula_key(f.amounts) for f in choose(knowledge, conditions_of_fit(knowledge, examples))}
    groups: dict[str, list[Example]] = {}
    for example in examples:
        if math.isfinite(example.energy_above_hull):
            amounts = {str(s): round(n) for s, n in example.structure.composition.get_el_amt_dict().items()}
            groups.setdefault(formula_key(dict(reduced_key(amounts))), []).append(example)
    names = {*groups, *drawn, *(name for name, t in knowledge.tracked.items() if t.rounds)}
    for name in sorted(names):
        before = knowledge.tracked.get(name)
        members = groups.get(name, [])
        best = min(members, key=lambda e: (e.energy_above_hull, e.id), default=None)
        best_id = "" if best is None else best.id[:200]
        now = int(name in drawn)
        same = best_id == ("" if before is None else before.best)
        found[name] = Tracked(
            amounts=_amounts(name),
            examples=sum(not e.known for e in members),
            lowest=None if best is None else float(np.clip(best.energy_above_hull, -1000.0, 1000.0)),
            best=best_id,
            known=best is not None and best.known,
            rounds=now + (0 if before is None else before.rounds),
            since=now + (0 if before is None else before.since) if same else 0,
        )
    return found


def _amounts(name: str) -> dict[str, int]:
    split = [(word.rstrip("0123456789"), word) for word in name.split()]
    return {symbol: int(word[len(symbol) :]) for symbol, word in split}


def conditions_of_fit(knowledge: Knowledge, examples: Sequence[Example]) -> Conditions:
    """What a generator with these settings is asked for, in the elements of the examples."""
    settings = knowledge.settings
    elements = tuple(sorted({str(s) for e in examples for s in e.structure.composition.get_el_amt_dict()}))
    return Conditions(
        elements=elements,
        max_atoms=settings.max_atoms,
        chemical_systems=chemical_systems(elements, settings.subsystem_fraction),
        compositions=settings.compositions,
        energy_above_hull=settings.target_energy_above_hull,
    )


def report(knowledge: Knowledge, examples: Sequence[Example]) -> dict[str, Any]:
    """The formulas that will be in focus, and why (JSON); empty without depth."""
    if not knowledge.settings.depth.in_use or not examples:
        return {}
    chosen = choose(knowledge, conditions_of_fit(knowledge, examples))
    return {"focus": [f.to_dict(knowledge.tracked.get(formula_key(f.amounts))) for f in chosen]}
