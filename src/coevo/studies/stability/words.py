"""Words and tables of studies of phonons and of stability; they read documents, and compute nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.analysis.intervals import wilson
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Document = Mapping[str, Any]
    Table = tuple[str, list[str], list[list[Any]]]

SHORT_ID = 8
MEV = 1000.0
MOST_NAMED = 6
HARMONIC, FOLLOWED = "harmonic", "followed"
MEANINGS = {
    "harmonic": "no unstable mode",
    "followed": "unstable; a lower crystal without unstable modes takes its place",
    "unstable": "dynamically unstable, and in no hull",
    "outside_volumes": "no free energy within the volumes, and in no hull",
    "failed": "no phonons",
}


def phonon_summary(document: Document) -> list[str]:
    """Say how many phases are dynamically stable."""
    said = {name: fields["dynamically_stable"] for name, fields in document["entries"].items()}
    stable, settings = sum(said.values()), document["settings"]
    lines = []
    if said:
        low, high = wilson(stable, len(said))
        lines.append(
            f"{stable} of {len(said)} phases are dynamically stable by this force field ({stable / len(said):.0%}, 95 % interval "
            f"{low:.0%} to {high:.0%} if they are a random sample)"
        )
    names = _names(document)
    reasons = [f"{names[row['id']]}: {row['status']}, {row['reason']}" for row in document["results"]["phases"] if _is_told(row)]
    return [*lines, *_counts(document), *reasons, _how(settings)]


def _is_told(row: Document) -> bool:
    """Whether there is more to say of a phase than that it has an unstable mode, which the table shows."""
    return bool(row["reason"]) and not row["reason"].startswith("a mode at")


def _counts(document: Document) -> list[str]:
    return [f"{status}: {number} ({MEANINGS.get(status, '')})" for status, number in document["results"]["counts"].items()]


def _how(settings: Document) -> str:
    return (
        f"unstable: below −0.3 THz at a q that fits the supercell, of {settings['length']:g} Å or more; atoms displaced by "
        f"{settings['displacement']:g} Å; the acoustic sum rule is imposed"
    )


def phonon_tables(document: Document) -> list[Table]:
    """Return a table of phases."""
    return [_phase_table(document)]


def _phase_table(document: Document) -> Table:
    phases, names = document["results"]["phases"], _names(document)
    rows = []
    for row in phases:
        path = row["path"]
        rows.append(
            [
                names[row["id"]],
                row["status"],
                None if row["lowest_thz"] is None else round(row["lowest_thz"], 2) + 0.0,
                " → ".join(str(each["space_group"]) for each in path) or None,
                _mev(path[-1]["energy"] - path[0]["energy"]) if len(path) > 1 else None,
                f"{row['supercells']} × {row['supercell_atoms']}" if row["supercells"] else None,
            ]
        )
    columns = ["phase", "status", "lowest (THz)", "space group", "gain (meV/atom)", "supercells × atoms"]
    return ("phases", columns, rows)


def stability_summary(document: Document) -> list[str]:
    """Say what temperature and pressure change."""
    results = document["results"]
    names = _names(document)
    lines = [*_counts(document)]
    out = [row for row in results["phases"] if _is_out(row)]
    lines += [f"{names[row['id']]} takes no part: {row['status']}, {row['reason']}" for row in out]
    partly = [row for row in results["phases"] if row["reason"] and not _is_out(row)]
    lines += [f"{names[row['id']]}: {row['reason']}" for row in partly]
    lines += [
        f"{names[each['id']]} and {names[each['as']]} are one crystal now, {each['difference'] * MEV:.2f} meV/atom apart; the "
        "first is not compared with other polymorphs"
        for each in results.get("same", [])
    ]
    lines += _joined_and_left(results, names)
    for each in results["polymorphs"]:
        for number, line in enumerate(each["pressures"]):
            lines += _transitions(each["formula"], line, results["temperatures"], names)
            lines += _not_told_apart(results, each, number, names)
    lines.append(
        "quasi-harmonic: no disorder of configuration, no strong anharmonicity; the error is what the fits over the volume "
        "leave, not that of the force field"
    )
    return [*lines, _how(document["settings"])]


def _is_out(row: Document) -> bool:
    return row["status"] not in (HARMONIC, FOLLOWED)


def _names(document: Document) -> dict[str, str]:
    return {row["id"]: f"{row['formula']} {row['name'] or row['id'][:SHORT_ID]}" for row in document["results"]["phases"]}


def _listed(ids: Sequence[str], names: Mapping[str, str]) -> str:
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return ", ".join(names[each] for each in ids[:MOST_NAMED]) + more


def _joined_and_left(results: Document, names: Mapping[str, str]) -> list[str]:
    if results["static"] is None:
        return ["polymorphs of one formula: no hull was made"]
    lines = [f"at rest, {counted(len(results['static']['stable']), 'phases')} of these make the hull"]
    if results["static"]["reason"]:
        lines.append(f"no hull at rest: {results['static']['reason']}")
    none = [hull for hull in results["hulls"] if hull["reason"]]
    if none:
        lines.append(f"no hull at {len(none)} of {len(results['hulls'])} points: {none[0]['reason']}")
    lines += _without_elements(results["hulls"])
    lines += _without_phases(results, names)
    joined: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {}
    for hull in results["hulls"]:
        point = f"{hull['temperature']:g} K" + (f", {hull['pressure']:g} GPa" if hull["pressure"] else "")
        for where, ids in ((joined, hull["joined"]), (left, hull["left"])):
            for each in ids:
                where.setdefault(each, []).append(point)
    lines += [f"{names[each]} becomes stable at {_points(points)}" for each, points in joined.items()]
    lines += [f"{names[each]} leaves the hull at {_points(points)}" for each, points in left.items()]
    return lines if joined or left else [*lines, "nothing joins or leaves it at these temperatures and pressures"]


def _without_elements(hulls: Sequence[Document]) -> list[str]:
    """Say where hulls lack an element, and what they cannot know then."""
    counts: dict[str, int] = {}
    for hull in hulls:
        for symbol in hull.get("missing", []):
            counts[symbol] = counts.get(symbol, 0) + 1
    return [
        f"at {count} of {len(hulls)} points no phase of pure {symbol} has a free energy: the hull is of the other phases, and "
        f"knows of no decomposition into {symbol}"
        for symbol, count in counts.items()
    ]


def _without_phases(results: Document, names: Mapping[str, str]) -> list[str]:
    """Say which phases of the hull at rest are missing where others are compared; pure phases are told with their element."""
    formulas = {row["id"]: row["formula"].rstrip("0123456789") for row in results["phases"]}
    counts = {
        each: sum(
            each in hull["without"] and formulas[each] not in hull.get("missing", [])
            for hull in results["hulls"]
            if not hull["reason"]
        )
        for each in results["static"]["stable"]
    }
    return [
        f"at {counted(count, 'points')} the hull is without {names[each]}, which is on it at rest: others may be further above it"
        for each, count in counts.items()
        if count
    ]


def _points(points: Sequence[str]) -> str:
    return ", ".join(points) if len(points) <= 3 else f"{points[0]} … {points[-1]} ({len(points)} points)"


def _transitions(formula: str, line: Document, temperatures: Sequence[float], names: Mapping[str, str]) -> list[str]:
    at = f"{formula} at {line['pressure']:g} GPa"
    if not line["transitions"]:
        known = [each for each in line["lowest"] if each is not None]
        if not known:
            return [f"{at}: no polymorph has a free energy"]
        span = f"{temperatures[0]:g} to {temperatures[-1]:g} K"
        if len(set(known)) == 1:
            return [f"{at}: {names[known[0]]} is lowest wherever there are free energies, {span}"]
        which = ", ".join(names[each] for each in dict.fromkeys(known))
        return [
            f"{at}: lowest of those with a free energy are {which}; where one gives way is not known, since G is refused there"
        ]
    return [
        f"{at}: {names[each['before']]} → {names[each['after']]} at {each['temperature']:.0f} K, within the error from "
        f"{_end(each['low'], 'below these temperatures')} to {_end(each['high'], 'above these temperatures')}"
        for each in line["transitions"]
    ]


def within_error(results: Document, each: Document, number: int) -> list[list[str]]:
    """Return the lowest polymorph at each temperature, and those within the error of their difference from it.

    Parameters
    ----------
    results : mapping
        Of a study of stability.
    each : mapping
        One of its ``polymorphs``.
    number : int
        Of the pressure.

    Returns
    -------
    list of list of str
        Ids, the lowest first; empty where no polymorph has a free energy.
    """
    rows = {row["id"]: row for row in results["phases"]}
    found = []
    for column, lowest in enumerate(each["pressures"][number]["lowest"]):
        g = {name: rows[name]["gibbs"][number][column] for name in each["phases"]}
        error = {name: rows[name]["errors"][number][column] for name in each["phases"]}
        others = [
            name
            for name, value in g.items()
            if lowest not in (None, name)
            and value is not None
            and value - g[lowest] <= (error[name] ** 2 + error[lowest] ** 2) ** 0.5
        ]
        found.append([] if lowest is None else [lowest, *others])
    return found


def _not_told_apart(results: Document, each: Document, number: int, names: Mapping[str, str]) -> list[str]:
    """Say which polymorphs are as low as the lowest within the error of the fits."""
    near = within_error(results, each, number)
    counts = {name: sum(name in found[1:] for found in near) for name in each["phases"]}
    told = [f"{names[name]} at {counted(count, 'temperatures')}" for name, count in counts.items() if count]
    where = f"{each['formula']} at {each['pressures'][number]['pressure']:g} GPa"
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return [f"{where}: within the error of the lowest are {', '.join(told[:MOST_NAMED])}{more}"] if told else []


def _end(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.0f} K"


def stability_tables(document: Document) -> list[Table]:
    """Return tables of phases, of energies above the hull, and of free energies of polymorphs relative to the lowest."""
    return [_phase_table(document), *_hull_tables(document), *_polymorph_tables(document)]


def _hull_tables(document: Document) -> list[Table]:
    results, names = document["results"], _names(document)
    if results["static"] is None:
        return []
    tables = []
    for pressure in results["pressures"]:
        hulls = [hull for hull in results["hulls"] if hull["pressure"] == pressure]
        columns = ["phase", "at rest", *[f"{hull['temperature']:g} K" for hull in hulls]]
        rows = [
            [
                names[row["id"]],
                _mev(results["static"]["above"].get(row["id"])),
                *[_mev(hull["above"].get(row["id"])) for hull in hulls],
            ]
            for row in results["phases"]
            if not _is_out(row)
        ]
        tables.append((f"above the hull of these phases, {pressure:g} GPa (meV/atom)", columns, rows))
    return tables


def _polymorph_tables(document: Document) -> list[Table]:
    results, names = document["results"], _names(document)
    rows_of = {row["id"]: row for row in results["phases"]}
    tables = []
    for each in results["polymorphs"]:
        for number, line in enumerate(each["pressures"]):
            rows: list[list[Any]] = []
            for column, temperature in enumerate(results["temperatures"]):
                found = {name: rows_of[name]["gibbs"][number][column] for name in each["phases"]}
                least = min((value for value in found.values() if value is not None), default=0.0)
                row: list[Any] = [temperature]
                for name, value in found.items():
                    row += [_mev(None if value is None else value - least), _mev(rows_of[name]["errors"][number][column])]
                rows.append(row)
            columns = ["T (K)"]
            for name in each["phases"]:
                columns += [names[name], "±"]
            tables.append(
                (f"G of {each['formula']} above its lowest polymorph, {line['pressure']:g} GPa (meV/atom)", columns, rows)
            )
        if len(each["pressures"]) > 1:
            tables.append(_diagram(results, each, names))
    return tables


def _diagram(results: Document, each: Document, names: Mapping[str, str]) -> Table:
    """Which polymorph is lowest at each temperature and pressure, with those that are as low within the error."""
    near = [within_error(results, each, number) for number in range(len(each["pressures"]))]
    rows: list[list[Any]] = [
        [temperature, *[" or ".join(names[name] for name in line[column]) or None for line in near]]
        for column, temperature in enumerate(results["temperatures"])
    ]
    columns = ["T (K)", *[f"{line['pressure']:g} GPa" for line in each["pressures"]]]
    return (f"lowest polymorphs of {each['formula']}, those within the error named too", columns, rows)


def _mev(value: float | None) -> float | None:
    return None if value is None else round(value * MEV, 2)
