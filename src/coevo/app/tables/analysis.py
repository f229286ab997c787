"""The numbers of an analysis as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from coevo.families import DEFAULT_FORCE_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterator

Numbers = dict[str, Any]


def analysis_table(numbers: Numbers) -> Table:
    """Return the table that ``coevo analyse`` prints."""
    table = Table(title=f"{numbers['source']}  {'-'.join(numbers['elements'])}", show_header=False, title_justify="left")
    table.caption, table.caption_justify = numbers["teacher"], "left"
    table.add_column("what", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    for name, value in _rows(numbers):
        table.add_row(name, value)
    return table


def _rows(numbers: Numbers) -> Iterator[tuple[str, str]]:
    rejected = ", ".join(f"{count} {reason}" for reason, count in numbers["rejected"].items()) or "none"
    yield "structures", f"{numbers['read']} read, {numbers['valid']} taken"
    yield "rejected", rejected
    yield from _validity(numbers["validity"])
    if numbers["valid"]:
        yield "unique", _unique(numbers)
        yield "novel", _novel(numbers)
        yield from _hull(numbers)
        yield from _diversity(numbers)
        yield from _environments(numbers)
    if numbers["stored"]:
        yield "stored numbers", _stored(numbers["stored"])
    for note in numbers["notes"]:
        yield "note", note


def _validity(found: Numbers) -> Iterator[tuple[str, str]]:
    """By published criteria, of all that could be measured."""
    if not found["n"]:
        return
    structures = f"{_share(found['structure_valid'], found['n'])} as in published tables (distances above 0.5 Å)"
    if found["composition_valid"] is None:
        yield "valid", f"{structures}; compositions {found['composition_note']}"
    else:
        yield "valid", f"{structures}; {_share(found['composition_valid'], found['n'])} with neutral compositions (SMACT)"


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else str(part)


def _unique(numbers: Numbers) -> str:
    found = numbers["uniqueness"]
    repeated = f"; the most frequent one is there {found['largest']} times" if found["largest"] > 1 else ""
    return f"{_share(found['groups'], found['n'])}{repeated}"


def _novel(numbers: Numbers) -> str:
    found = numbers["novelty"]
    if found is None:
        return "–  (no references: --references li-p-s, or a file)"
    known = f"; found again: {', '.join(found['references_found'])}" if 0 < len(found["references_found"]) <= 12 else ""
    unique = numbers["uniqueness"]["groups"]
    against = f"{found['reference_set']} ({found['references']} references)"
    return f"{_share(found['novel'], unique)} of the unique, against {against}{known}"


def _hull(numbers: Numbers) -> Iterator[tuple[str, str]]:
    hull = numbers["hull"]
    if hull["reason"] is not None:
        yield "E_hull", f"–  ({hull['reason']})"
        return
    levels = hull["quantiles"]
    spread = (
        f"median {levels['q50']:.3f}, 5 % below {levels['q05']:.3f}, 95 % below {levels['q95']:.3f} eV/atom" if levels else "–"
    )
    yield "E_hull", f"{spread} ({hull['with_energy']} structures)"
    yield "hull", f"{hull['phases']} phases, {hull['of_references']} of them references; energies: {hull['scale']}"
    threshold = numbers["settings"]["stable_threshold"]
    yield "stable", f"{_share(hull['stable'], hull['with_energy'])} within {threshold:g} eV/atom"
    if numbers["sun"] is None:
        energies = f"--same-scale for references with energies, or --force-field {DEFAULT_FORCE_FIELD.name}"
        yield "S.U.N.", f"–  (the hull holds no references: {energies})"
        return
    for which, name in (("hull", "S.U.N."), ("reference_hull", "  references' hull")):
        if which in numbers["sun"]:
            yield name, _sun(numbers["sun"][which], threshold, by_the_model=numbers["stored"] is not None)


def _sun(found: Numbers, threshold: float, *, by_the_model: bool) -> str:
    """Of all that was read, rejected structures included, as in published tables."""
    said = " by the model alone," if by_the_model else ""
    wanted = ("sun", "generated", threshold)
    rate = next(rate for rate in found["rates"] if (rate["what"], rate["population"], rate["threshold"]) == wanted)
    interval = f"95 % interval {100 * rate['low']:.1f}–{100 * rate['high']:.1f} %"
    return f"{_share(rate['count'], rate['of'])}{said} of all that was read; {interval}"


def _diversity(numbers: Numbers) -> Iterator[tuple[str, str]]:
    spread = numbers["spread"]
    if spread is not None:
        levels = spread["quantiles"]
        among = (
            f"median {levels['q50']:.3f}, 5 % below {levels['q05']:.3f}, to the nearest {spread['mean_nearest']:.3f} on average"
        )
        yield "AMD distances", f"{among} ({spread['sampled']} unique structures)"
    found = numbers["diversity"]
    coverage, symmetry = found["coverage"], found["symmetry"]
    systems = f"{len(coverage['systems'])} of {coverage['systems_possible']} chemical systems"
    yield "compositions", f"{found['formulas']} formulas (entropy {found['formula_entropy']:.2f} nats), {systems}"
    groups = f"{len(symmetry['space_groups'])} space groups (entropy {symmetry['space_group_entropy']:.2f} nats)"
    share = symmetry["triclinic_share"]
    yield "symmetry", groups if share is None else f"{groups}, {100 * share:.1f} % triclinic"


def _environments(numbers: Numbers) -> Iterator[tuple[str, str]]:
    found = numbers["environments"]
    yield "entropy", _entropy(found["all"], found["environments"], found["n"])
    for symbol, value in found["per_species"].items():
        if value is not None:
            yield f"  around {symbol}", _entropy(value, None, found["n"])
    news = numbers["new_environments"]
    if news is not None:
        known = f"the {news['baseline_environments']} of {news['baseline']}"
        yield "new environments", f"{_share(news['new'], news['looked_at'])} of {news['looked_at']} are not among {known}"


def _entropy(value: Numbers | None, environments: int | None, n: int) -> str:
    if value is None:
        return f"no signal: {environments} environments, {n} are needed (--environments)"
    error = "" if value["standard_error"] is None else f" ± {value['standard_error']:.3f}"
    of = "" if environments is None else f", of {environments} environments"
    return f"{value['mean']:.3f}{error} nats of ln N = {value['ln_n']:.3f} (N = {value['n']}{of})"


def _stored(found: Numbers) -> str:
    same = found["other_representatives"] == found["other_references"] == 0
    groups = (
        "duplicates and known phases are those stored"
        if same
        else f"{found['other_representatives']} other representatives, {found['other_references']} other references"
    )
    return (
        f"E_hull of {found['compared']} structures differs by at most {found['largest_e_hull_difference']:.1e} eV/atom; {groups}"
    )
