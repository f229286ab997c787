"""Random cells: atoms at random, not too close, in a cell of the volume that good crystals of these elements have."""

import json
from math import gcd
from pathlib import Path

import numpy as np
from coevo_runner import OUTPUT, advance, read_records, run, versions, write_candidates

FIRST_VOLUME = 14.0  # Å³ per atom, of an element that no example has
TRIES = 200


def check(request):
    return {"versions": versions("numpy"), "device": "cpu", "weights": {}}


def fit(request):
    """Volume per atom of each element, by least squares over the examples, the good ones counting more."""
    examples = [e for e in read_records(request["examples"]) if e["energy_above_hull"] <= 0.3]
    symbols = sorted({s for e in examples for s in e["species"]})
    # one row for each example, and a weak one for each element that keeps it near the first guess
    weights = np.array([np.exp(-max(e["energy_above_hull"], 0.0) / 0.1) for e in examples] + [0.1] * len(symbols))
    counts = [[e["species"].count(s) / len(e["species"]) for s in symbols] for e in examples] + np.eye(len(symbols)).tolist()
    volumes = [abs(np.linalg.det(e["lattice"])) / len(e["species"]) for e in examples] + [FIRST_VOLUME] * len(symbols)
    solved = np.linalg.lstsq(np.array(counts) * weights[:, None], np.array(volumes) * weights, rcond=None)[0] if symbols else []
    print("learned the volumes of", ", ".join(symbols) or "nothing")  # into the log, which is kept as an artifact
    (OUTPUT / "model").mkdir()
    table = {s: float(np.clip(v, 5.0, 100.0)) for s, v in zip(symbols, solved)}
    (OUTPUT / "model" / "volumes.json").write_text(json.dumps(table, sort_keys=True))
    return {"model": "model", "document": {"elements": symbols}, "report": {"examples": len(examples)}}


def sample(request):
    table = json.loads(Path(request["model"], "volumes.json").read_text()) if request["model"] else {}
    choices = compositions(request["conditions"])
    candidates, rejected = [], {}
    for draw in range(4 * request["n"] + 20):
        if len(candidates) == request["n"]:
            break
        rng = np.random.default_rng([request["seed"], draw])  # a draw does not depend on those before it
        content = choices[rng.choice(len(choices), p=[w for _, w in choices])][0] if choices else None
        found = cell(content, table, rng) if content else "no_composition"
        if isinstance(found, str):
            rejected[found] = rejected.get(found, 0) + 1
            continue
        candidates.append(dict(found, origin={"operator": "random", "draw": draw}))
        advance(1)
    print("drew", len(candidates), "of", request["n"])
    return {"candidates": write_candidates(candidates), "rejected": rejected}


def compositions(conditions):
    """Contents of cells that fulfil the conditions, and their probabilities."""
    formulas = [parse(f) for f in conditions["compositions"]]
    systems = {name: w for name, w in conditions["chemical_systems"].items() if w > 0}
    if not systems:
        systems = {"-".join(sorted(f)): 1.0 for f in formulas} or {"-".join(conditions["elements"]): 1.0}
    choices = []
    for name, weight in sorted(systems.items()):
        symbols = sorted(name.split("-"))
        if not set(symbols) <= set(conditions["elements"]):
            continue
        cells = contents(symbols, conditions["max_atoms"])
        if formulas:
            cells = [c for c in cells if any(reduced(c) == reduced(f) for f in formulas)]
        choices += [(c, weight / len(cells)) for c in cells]
    total = sum(w for _, w in choices)
    return [(c, w / total) for c, w in choices]


def contents(symbols, most):
    """Every way to have at least one atom of each element, and at most ``most`` atoms (20 at most, for they are many)."""
    cells = [{}]
    for symbol in symbols:
        cells = [dict(c, **{symbol: k}) for c in cells for k in range(1, min(most, 20) + 1 - sum(c.values()))]
    return cells


def parse(formula):
    """Li3PS4 as a mapping."""
    found, i = {}, 0
    while i < len(formula):
        j = i + 1
        while j < len(formula) and formula[j].islower():
            j += 1
        k = j
        while k < len(formula) and formula[k].isdigit():
            k += 1
        found[formula[i:j]] = found.get(formula[i:j], 0) + int(formula[j:k] or 1)
        i = k
    return found


def reduced(content):
    divisor = 0
    for amount in content.values():
        divisor = gcd(divisor, amount)
    return {symbol: amount // divisor for symbol, amount in content.items()}


def cell(content, table, rng):
    """A cell with this content, or the reason why there is none."""
    species = [symbol for symbol, amount in sorted(content.items()) for _ in range(amount)]
    volume = sum(table.get(s, FIRST_VOLUME) for s in species) * rng.uniform(0.9, 1.2)
    matrix = np.eye(3) + rng.uniform(-0.25, 0.25, size=(3, 3))
    matrix *= (volume / abs(np.linalg.det(matrix))) ** (1 / 3)
    nearest = 0.6 * (volume / len(species)) ** (1 / 3)  # Å
    images = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=float)
    own = np.linalg.norm(images @ matrix, axis=1)
    if own[own > 0].min() < nearest:
        return "cell_shape"
    placed = np.zeros((0, 3))
    while len(placed) < len(species):
        for _ in range(TRIES):
            position = rng.random(3)
            apart = placed - position
            vectors = (apart - np.round(apart))[:, None, :] + images[None, :, :]
            if np.linalg.norm(vectors @ matrix, axis=2).min(initial=9.0) > nearest:
                placed = np.vstack([placed, position])
                break
        else:
            return "no_room"
    return {"lattice": matrix.tolist(), "species": species, "positions": placed.tolist()}


run("random-cells", {"check": check, "fit": fit, "sample": sample})
