"""What a probe says of completeness, as a table and as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.analysis.completeness import LEVEL
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT = 20
"""Formulas that are shown."""

Document = dict[str, Any]


def completeness_table(document: Document, title: str) -> Table:
    """Return one row for all formulas together and one for each of those with the most draws."""
    rows = [row for row in document["formulas"] if row["draws"]][:LIMIT]
    more = sum(row["draws"] > 0 for row in document["formulas"]) - len(rows)
    caption = (
        f"draws: relaxed to within {document['e_hull']:g} eV/atom of the state's hull; once, twice: minima drawn so often; "
        "coverage: Good–Turing, chance that the next draw is of a minimum that was seen; minima ≥: Chao1, a lower bound of all "
        "that the generator can make; [95 % intervals]; node has: minima of the probe that are entries or references; lowest: "
        "batches that met the lowest minimum known of the formula (others: besides the one that found it, if the probe alone did)"
    )
    table = Table(
        title=title,
        title_justify="left",
        caption=caption + (f"; and {more} more formulas (--format json lists all)" if more > 0 else ""),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("formula", overflow="fold")
    for name in ("draws", "minima", "once", "twice"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("coverage", "minima ≥", "node has", "lowest"):
        table.add_column(name, justify="right")
    table.add_row("all", *_cells(document["overall"]), "")
    for row in rows:
        table.add_row(row["formula"], *_cells(row), _lowest(row["lowest"]))
    return table


def _lowest(lowest: Mapping[str, Any]) -> str:
    if lowest["of"] != "probe":
        return f"{lowest['batches_that_met_it']} of {lowest['batches']}"
    return f"{lowest['batches_that_met_it']} of {lowest['batches']} others" if lowest["batches"] else "–"


def _cells(row: Mapping[str, Any]) -> list[str]:
    counts = [str(row[name]) for name in ("draws", "species", "singletons", "doubletons")]
    if row["coverage"] is None:
        shown = "too few draws" if row["note"].startswith("too few") else "the estimator fails"
        estimates = [shown, "–"]
    else:
        estimates = [_interval(row["coverage"], 2), _interval(row["richness"], 0)]
    return [*counts, *estimates, f"{row['node']['probe_minima_held']} of {row['species']}"]


def _interval(estimate: Mapping[str, float], digits: int) -> str:
    return f"{estimate['value']:.{digits}f} [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"


def completeness_lines(document: Document) -> list[str]:
    """Return the sentences under the table, the headline first."""
    probe = document["probe"]
    lines = [
        *_withheld(document["withheld"]),
        _of_probe(probe, document["e_hull"]),
        *_of_all(document["overall"]),
    ]
    failing = [row for row in document["formulas"] if row["note"].startswith("the estimator fails")]
    lines += [f"{row['formula']}: {row['note']}" for row in failing]
    lines += _environments(document["environments"])
    return [*lines, *_false_alarms(document["formulas"]), f"The claim: {document['claim']}."]


def _environments(found: Document | None) -> list[str]:
    """Say how new the atoms of the last batch are, at the resolution of the state."""
    if found is None:
        return []
    shares = ", ".join(
        f"{symbol} none" if share["fraction"] is None else f"{symbol} {_percent(share)}"
        for symbol, share in found["batches"][-1].items()
    )
    older = f"further than δ90 = {found['distance']:.3g} 1/Å from all of the references and earlier batches"
    return [f"atoms of the last batch of such draws {older}: {shares}"]


def _percent(share: Mapping[str, Any]) -> str:
    low, high = 100 * share["low"], 100 * share["high"]
    return f"{100 * share['fraction']:.1f} % of {share['n']} (95 %: {low:.1f} to {high:.1f})"


def _false_alarms(rows: Sequence[Document]) -> list[str]:
    """Say so where the formulas are too many for the level that the tests have together."""
    over_all = max((row["check"]["over_all"] for row in rows if row["check"] is not None), default=0.0)
    if over_all <= LEVEL + 1e-9:
        return []
    return [f"with so many formulas one of their tests fails with a probability of up to {over_all:.2f}, drift or none"]


def _of_probe(probe: Mapping[str, Any], e_hull: float) -> str:
    return (
        f"{probe['drawn']} draws in {probe['batches']} batches, {probe['relaxed']} relaxed, {probe['within_e_hull']} of them "
        f"within {e_hull:g} eV/atom of the state's hull by its force field ({probe['force_field']['family']})"
    )


def _withheld(withheld: Document | None) -> list[str]:
    if withheld is None:
        return ["the node withholds no phase (references.exclude), so nothing that is known to exist was there to be met"]
    out = withheld["out_of_reach"]
    lines = [f"out of the probe's reach, not counted: {', '.join(out)}"] if out else []
    if withheld["references"]:
        lines.append(f"references of the state, not counted: {', '.join(withheld['references'])}")
    if not withheld["phases"]:
        return ["no withheld phase is within the probe's reach", *lines]
    met = [
        f"{_share(withheld[who])} withheld phases were met by {name}"
        for who, name in (("probe", "the probe"), ("node", "the node"))
    ]
    return ["; ".join(met), *lines]


def _share(count: Mapping[str, Any]) -> str:
    low, high = count["interval_95"]
    return f"{count['k']} of {count['m']} [{low:.2f}, {high:.2f}]"


def _of_all(row: Mapping[str, Any]) -> list[str]:
    lines, node, found = [], row["node"], row["recapture"]
    if row["note"]:
        lines.append(f"all formulas: {row['note']}")
    if row["draws"]:
        low, high = node["share_of_draws_95"]
        lines.append(
            f"{node['draws_of_them']} of {row['draws']} such draws [{low:.2f}, {high:.2f}] fell into minima that the node has as "
            f"entries or references; the probe met {node['minima_met_by_probe']} of the node's {node['minima']} within its reach"
        )
    if found is not None:
        estimate = found["species"]
        total = "no estimate" if estimate is None else f"Chapman's estimate of all: {_interval(estimate, 0)}, a lower bound too"
        lines.append(
            f"recapture: {counted(found['first'], 'minima')} in the first half of the batches, {found['second']} in the second, "
            f"{found['both']} in both ({total})"
        )
    if row["check"] is not None:
        check = row["check"]
        p = ", ".join(f"{name} {value:.3f}" for name, value in check["p"].items())
        lines.append(
            f"check: {check['predicted']:.2f} of the last batch was predicted as seen before, {check['seen']} of "
            f"{check['draws']} were; p of one fixed population: {p} (fails up to {check['level']:.4f})"
        )
    return lines
