"""Tables of references that databases gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.studies.reference_databases.reference_files import Fetched


def fetched_table(fetched: Fetched) -> Table:
    """What became of what each database gave, sub-system by sub-system."""
    table = Table(
        title=f"{fetched.path}: {len(fetched.joined.phases) + fetched.bundled} phases",
        title_justify="left",
        box=None,
        padding=(0, 1),
    )
    table.add_column("database", no_wrap=True)
    table.add_column("system", no_wrap=True)
    for heading in ("given", "kept", "duplicates", "above", "no E_hull"):
        table.add_column(heading, justify="right")
    table.add_column("left out")
    for count in fetched.joined.counts:
        numbers = (count.received, count.kept, count.duplicates, count.above, count.without_hull)
        reasons = ", ".join(f"{number} {reason}" for reason, number in count.left_out.items())
        table.add_row(count.database, count.system, *(str(number or "–") for number in numbers), reasons)
    return table


def fetched_lines(fetched: Fetched, max_e_hull: float | None) -> Iterator[str]:
    """Say what the columns are, under which terms the data are, and what a reader should know."""
    limit = "" if max_e_hull is None else f" of {max_e_hull:g} eV/atom on the database's own hull"
    yield (
        "given: by the database; kept: phases with this geometry; duplicates: the same crystal as a phase kept (its id stands "
        f"there); above: --max-e-hull{limit}; no E_hull: the database gives none for it"
    )
    for found in fetched.to_dict()["databases"]:
        terms = (
            f"{found['licence']} ({found['licence_source']})" if found["licence"] else "licence unknown: ask before you publish"
        )
        version = f", version {found['version']}" if found["version"] else ", names no version"
        yield f"{found['database']}: {terms}{version}, read {found['last_read_at'][:10]}"
    other = {
        member.entry.licence: member.answers.database.shown
        for phase in fetched.joined.phases
        for member in phase.members
        if member.entry.licence and member.entry.licence != member.answers.licence
    }
    for licence, database in other.items():
        yield f"{database}: some phases are under {licence} (licence of each phase in the file)"
    for count in fetched.joined.counts:
        for note in count.notes:
            yield f"{count.database} {count.system}: {note}"
    yield from fetched.joined.notes
    if fetched.joined.missing_elements:
        yield f"no structure of {', '.join(fetched.joined.missing_elements)} alone: a node needs one from another set or file"
