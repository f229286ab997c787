"""Tables of rediscovery, in Markdown: arms over their seeds, arms beside the first one, phase by phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.withheld import compare, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def tables(report: dict[str, Any], base: str) -> str:
    """All tables of a record, chemistry by chemistry."""
    parts = []
    for chemistry in dict.fromkeys(row["chemistry"] for row in report["arms"]):
        rows = [row for row in report["arms"] if row["chemistry"] == chemistry]
        parts += [f"{chemistry}:", _arms(rows), _phases(rows)]
        if pairs := compare(rows, base):
            parts.append(_pairs(pairs, base))
        if any(row["judged"] for row in rows):
            parts.append(_candidates(rows))
    if report["leave_one_out"]:
        parts.append(_left_out(report["leave_one_out"]))
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _each(values: Iterable[Any], none: str = "–") -> str:
    """One value for each seed."""
    return ", ".join(none if value is None else f"{value:,.0f}" for value in values)


def _arms(rows: Sequence[dict[str, Any]]) -> str:
    lines = summary(rows)
    groups = list(lines[0]["sets"])
    head = ["arm", "seeds"]
    for group in groups:
        head += [f"{group}: found of {lines[0]['sets'][group]['of']}", "share, 95 %", "by anion", "relaxations to the first"]
    head += ["relaxations", "CPU s", "entries", "S.U.N.", "judged S.U.N. per CPU-hour"]
    return _table(head, [_arm(line, groups, rows) for line in lines])


def _arm(line: dict[str, Any], groups: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = [line["arm"], _each(line["seeds"])]
    for group in groups:
        found = line["sets"][group]
        low, high = found["interval"]
        share = sum(found["found"]) / (found["of"] * len(found["found"]))
        cells += [
            _each(found["found"]),
            f"{share:.0%} [{low:.0%}, {high:.0%}]",
            _each(found["anions"]),
            _each(found["first_hit"]),
        ]
    cells += [_each(line[key]) for key in ("relaxations", "cpu_seconds", "entries", "sun")]
    own = sorted((row for row in rows if row["arm"] == line["arm"]), key=lambda row: row["seed"])
    rates = [(row["judged_sun_per_cpu_hour"], row["judged_sun_per_cpu_hour_interval"]) for row in own if _is_judged(row)]
    return [*cells, ", ".join(f"{rate:,.0f} [{low:,.0f}, {high:,.0f}]" for rate, (low, high) in rates) or "–"]


def _is_judged(row: dict[str, Any]) -> bool:
    return "judged_sun_per_cpu_hour" in row


def _phases(rows: Sequence[dict[str, Any]]) -> str:
    """The iteration that found each phase: by structure, and in brackets by anion."""
    head = ["phase", "atoms", *(f"{row['arm']}, {row['seed']}" for row in rows)]
    lines = []
    for group, phases in rows[0]["sets"].items():
        for number, phase in enumerate(phases):
            found = [row["sets"][group][number] for row in rows]
            cells = [f"{each['iteration'] or '–'} ({each['anion'] or '–'})" for each in found]
            lines.append([f"{phase['name']} ({group})", str(phase["nsites"]), *cells])
    return _table(head, lines)


def _pairs(pairs: Sequence[dict[str, Any]], base: str) -> str:
    head = ["arm", "set", "equal", "at", f"found, {base}", "found, arm", "of"]
    names = {"relaxations": "relaxations", "cpu_seconds": "CPU seconds"}
    lines = [
        [p["arm"], p["set"], names[p["scheme"]], _each(p["limits"]), _each(p["found_base"]), _each(p["found"]), str(p["of"])]
        for p in pairs
    ]
    return _table(head, lines)


def _candidates(rows: Sequence[dict[str, Any]]) -> str:
    """E_hull of raw candidates by the judge, with how alike they are beside it."""
    head = [
        "arm",
        "seed",
        "iteration",
        "n",
        "median E_hull, judge (meV/atom)",
        "≤ 0.1 eV/atom",
        "distinct",
        "formulas",
        "of",
        "judge",
    ]
    lines = []
    for row in rows:
        steps = {step["iteration"]: step for step in row["course"]}
        for found in (row["judged"] or {}).get("candidates", ()):
            if not found["n"]:
                continue
            step, (low, high), (least, most) = steps[found["iteration"]], found["interval"], found["q50_interval"]
            line = [row["arm"], str(row["seed"]), str(found["iteration"]), str(found["n"])]
            line.append(f"{1e3 * found['q50']:.0f} [{1e3 * least:.0f}, {1e3 * most:.0f}]")
            line.append(f"{found['stable']:.0%} [{low:.0%}, {high:.0%}]")
            lines.append(
                [*line, *(str(step[key]) for key in ("distinct", "sampled_formulas", "sampled")), row["judged"]["judged_by"]]
            )
    return _table(head, lines)


def _left_out(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        [
            row["chemistry"],
            row["arm"],
            str(row["seed"]),
            phase["name"],
            str(phase["iteration"] or "–"),
            str(phase["anion"] or "–"),
        ]
        for row in rows
        for phase in row["phases"]
    ]
    return _table(["chemistry", "arm", "seed", "left out", "found in iteration", "its anion"], lines)
