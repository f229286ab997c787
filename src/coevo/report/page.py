"""The page of a report: its sections, tables and figures as HTML that fetches nothing.

Also here: the tables of models, labels, times and versions.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.words import audit_words
from coevo.errors import CheckpointError
from coevo.families import descriptor_of
from coevo.output.plain_text import plain, plain_lines
from coevo.report import tables
from coevo.report.figures.hull_points import state_hull
from coevo.report.figures.plots import LETTERS, formula_text
from coevo.report.study_sections import studied_text
from coevo.report.tables import DASH, Cell, PageTable, number
from coevo.studies.states.entry_description import phases_of, products_of
from coevo.studies.states.generators import generator_rows, reason_words
from coevo.studies.states.label_scales import teacher_of
from coevo.studies.states.summaries import reference_set_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.report.figures.plots import Plot
    from coevo.report.gathering import ReportData
    from coevo.report.motif_gallery import MotifSection
    from coevo.report.rediscovery_table import RediscoverySection
    from coevo.report.second_opinion import OpinionSection
    from coevo.report.stiffness_table import StiffnessSection
    from coevo.report.study_sections import StudySection


def checkpoint_table(data: ReportData) -> PageTable:
    """Return both checkpoints, their hashes in full."""
    rows: list[list[Any]] = []
    for kind, found in data.view.document["checkpoints"].items():
        size = found.get("size")
        rows.append(
            [
                kind.replace("_", " "),
                str(found["family"]),
                str(found["format"]),
                DASH if size is None else f"{size:,}",
                Cell(found["sha256"], code=True),
                Cell(found["parent"], code=True) if found.get("parent") else "published",
            ]
        )
    return PageTable(("model", "family", "format", "size (bytes)", "sha256", "trained from"), rows, frozenset({3}))


def label_table(data: ReportData) -> PageTable:
    """Return the labels by the settings that they were made with."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for label in data.view.labels():
        key = tuple(str(label.get(field) or DASH) for field in ("code", "functional", "settings_digest"))
        found = counts.setdefault(key, Counter())
        found.update([f"status {label.get('status')}", f"kind {label.get('kind')}", f"split {label.get('split')}", "frames"])
    rows: list[list[Any]] = []
    for key, found in sorted(counts.items()):
        parts = [
            ", ".join(f"{count} {name.partition(' ')[2]}" for name, count in sorted(found.items()) if name.startswith(what))
            for what in ("status ", "kind ", "split ")
        ]
        rows.append([key[0], key[1], Cell(key[2], code=True), str(found["frames"]), *parts])
    columns = ("code", "functional", "settings digest", "frames", "status", "kinds", "splits")
    return PageTable(columns, rows, frozenset({3}))


def generator_table(data: ReportData) -> PageTable:
    """Return what each generator of a mixture did, in this state's iteration and in all states of the report."""
    rows: list[list[Any]] = []
    before = [view for view in data.states if view.id != data.view.id]
    for what, states in (("this iteration", [data.view]), ("all states", [*before, data.view])):
        rows += [
            [
                row.family,
                what,
                DASH if row.weight is None else f"{100 * row.weight:.0f} %",
                *(str(each) for each in (row.draws, row.candidates, row.relaxed, row.unique, row.sun)),
                number(row.sun_per_thousand, 1),
                number(row.seconds, 1),
                number(row.sun_per_hour, 1),
                *(DASH if each is None else str(each) for each in (row.entries, row.sun_entries)),
                f"{reason_words(row.rejected_by_generator)}; in screening: {reason_words(row.rejected)}",
            ]
            for row in generator_rows(states)
        ]
    return PageTable(GENERATOR_COLUMNS, rows, frozenset(range(2, len(GENERATOR_COLUMNS) - 1)))


GENERATOR_COLUMNS = (
    "generator",
    "of",
    "share",
    "draws",
    "candidates",
    "relaxed",
    "unique",
    "S.U.N.",
    "S.U.N. per 1,000 candidates",
    "its jobs (s)",
    "S.U.N. per hour of them",
    "entries now",
    "S.U.N. now",
    "rejected",
)


def time_table(data: ReportData) -> PageTable:
    """Return the seconds of work per step, of this state's iteration and of all states in the report."""
    from coevo.node_store.recorded import STEPS, step_seconds

    own = step_seconds(data.view)
    everything: Counter[str] = Counter()
    for view in data.states:
        everything.update(step_seconds(view))
    rows: list[list[Any]] = [
        [name, number(own.get(name), 1), number(everything[name], 1)] for name in STEPS if name in everything
    ]
    if rows:
        rows.append(["in all", number(sum(own.values()), 1), number(sum(everything.values()), 1)])
    return PageTable(("step", "this iteration (s)", "all states (s)"), rows, frozenset({1, 2}))


def version_rows(packages: Sequence[str]) -> list[tuple[str, str]]:
    """Versions of what made the report."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    rows = [("Python", platform.python_version())]
    for name in packages:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return rows


MOST_ENTRIES = 50
"""Rows of the table of S.U.N. entries, each with a CIF."""
PACKAGES = (
    "coevo",
    "numpy",
    "scipy",
    "pymatgen",
    "pymatgen-core",
    "ase",
    "matplotlib",
    "jinja2",
    "chemiscope",
)
# Nothing may be fetched from anywhere; chemiscope makes its styles and its numerical functions while it runs.
POLICY = (
    "default-src 'none'; img-src 'self' file: data: blob:; style-src 'self' file: 'unsafe-inline'; "
    "script-src 'self' file: 'unsafe-eval'; font-src data:; worker-src blob:; connect-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Content:
    """What the page shows, computed.

    Attributes
    ----------
    data : ReportData
    panels : list of Plot
        The six of Fig. 1.
    composite, held_out, hull, lineage, systems : Plot
    stiffness : StiffnessSection or None
    motifs : MotifSection or None
    rediscovery : RediscoverySection or None
    mapped : list of dict
        Evaluations of the structures in the map; empty without one.
    opinions : OpinionSection or None
    audit : PageTable or None
    studies : sequence of StudySection
    parity : list of Plot
        Empty unless they were asked for.
    """

    data: ReportData
    panels: list[Plot]
    composite: Plot
    held_out: Plot
    stiffness: StiffnessSection | None
    hull: Plot
    lineage: Plot
    systems: Plot
    motifs: MotifSection | None
    rediscovery: RediscoverySection | None
    mapped: list[dict[str, Any]]
    opinions: OpinionSection | None = None
    audit: PageTable | None = None
    studies: Sequence[StudySection] = ()
    parity: list[Plot] = field(default_factory=list)


def _products(data: ReportData) -> dict[str, str]:
    """Into what each S.U.N. entry of the table would decompose, or with what it competes, per formula unit."""
    phases = phases_of([*data.references, *data.entries])
    found = {}
    for row in data.sun_entries[:MOST_ENTRIES]:
        told = products_of(data.elements, row, phases, {})
        if told is not None:
            parts = (f"{product['amount']:.3g} {formula_text(product['formula'])}" for product in told["products"])
            found[row["structure_id"]] = f"{' + '.join(parts)} ({1000 * told['energy_per_atom']:+.0f} meV/atom)".replace(
                "-", "\u2212"
            )
    return found


def _packages(document: Mapping[str, Any]) -> list[str]:
    """Distributions whose versions the page shows: those of the state's force field among them."""
    try:
        own = descriptor_of(str(document["checkpoints"]["force_field"]["family"]), "force_field").packages
    except CheckpointError:  # its package is not installed here
        own = ()
    return list(dict.fromkeys([*PACKAGES, *own]))


def html(content: Content, lineage_svg: str) -> str:
    """Render the page.

    Parameters
    ----------
    content : Content
    lineage_svg : str
        The lineage as an SVG, which becomes part of the page.
    """
    import yaml
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    data = content.data
    text = files("coevo.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_shown).from_string(text)
    points = state_hull(data)
    maturity = data.metrics["maturity"]
    carried = content.motifs.of_entry if content.motifs else None
    return template.render(
        policy=POLICY,
        ref=data.ref,
        node=data.view.node,
        state=data.view.id,
        iteration=data.view.iteration,
        sections=_sections(content),
        header=tables.header_rows(data),
        maturity=maturity,
        verdict=maturity["reason"].removeprefix("not mature: ").removeprefix("mature: "),
        signals=tables.PageTable(
            ("signal", "status", "why"), [[s["name"], s["status"], s["reason"]] for s in maturity["signals"]]
        ),
        composite=content.composite,
        panels=list(zip(LETTERS, content.panels, strict=True)),
        held_out=content.held_out,
        parity=content.parity,
        stiffness=content.stiffness,
        hull=content.hull,
        stable=tables.stable_table(points, data.reference_names),
        stable_energies=tables.whose_energies(points.rows[index] for index in points.corners),
        facets=tables.facet_table(points) if len(points.elements) > 3 else None,
        ruler=tables.ruler_table(data),
        ruler_energies=tables.whose_energies(data.entries),
        sun=tables.sun_table(data, MOST_ENTRIES, carried, _products(data)),
        sun_count=len(data.sun_entries),
        threshold=f"{data.stable_threshold:g}",
        reference={"name": reference_set_of(data.view.document), "size": data.metrics["reference_set"]["size"]},
        opinions=content.opinions,
        audit=content.audit,
        audit_text=audit_words(data.metrics),
        motifs=content.motifs,
        studies=content.studies,
        studied=studied_text(data),
        map={"text": _map_text(content)} if content.mapped else None,
        lineage=content.lineage,
        systems=content.systems,
        # our own drawing; the text in it is drawn as paths
        lineage_svg=Markup(_inline(lineage_svg)),  # noqa: S704
        states=tables.state_table(data),
        rediscovery=content.rediscovery,
        checkpoints=checkpoint_table(data),
        labels=label_table(data),
        teacher=teacher_of(data.view.document),
        residuals=tables.residual_table(data),
        times=time_table(data),
        generators=generator_table(data),
        versions=version_rows(_packages(data.view.document)),
        config=_block(yaml.safe_dump(data.view.document["config"], sort_keys=False, allow_unicode=True)),
    )


def _shown(value: Any) -> Any:
    """Make each text of the page plain, unless it is HTML already."""
    from markupsafe import Markup

    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _block(text: str) -> Any:
    """Return a text of several lines as HTML."""
    from markupsafe import escape

    return escape(plain_lines(text))


def _sections(content: Content) -> list[tuple[str, str]]:
    """Anchors and titles of the sections that the page has."""
    found = [
        ("state", "State", True),
        ("signals", "Signals", True),
        ("hull", "Hull", True),
        ("entries", "S.U.N. entries", True),
        ("audit", "Verdicts looked at", content.audit is not None),
        ("opinions", "Second opinion", content.opinions is not None),
        ("studies", "Studies", bool(content.studies)),
        ("motifs", "Motifs", content.motifs is not None),
        ("map", "Map of structures", bool(content.mapped)),
        ("lineage", "Lineage", True),
        ("rediscovery", "Rediscovery", content.rediscovery is not None),
        ("provenance", "Models, labels, provenance", True),
    ]
    return [(anchor, title) for anchor, title, there in found if there]


def _map_text(content: Content) -> str:
    data, shown = content.data, len(content.mapped)
    everything = len(data.references) + len(data.live_entries)
    chosen = (
        f"All {shown} references and entries (duplicates left out)."
        if shown == everything
        else f"{shown} of {everything} references and entries: references first, then S.U.N. and other entries, each by E_hull."
    )
    return (
        f"{chosen} Click a point to see its structure; the menu at the upper left chooses axes, colour and size. The first view "
        "is a map of fingerprints (principal components of inverse average minimum distances per pair of elements, weighted by "
        "composition): structures of similar composition and packing are near each other."
    )


def _inline(svg: str) -> str:
    """An SVG as part of a page: without the XML declaration, the document type and comments, which repeat the text."""
    start = re.search(r"<svg\b", svg)
    assert start is not None
    return re.sub(r"<!--.*?-->", "", svg[start.start() :], flags=re.DOTALL)
