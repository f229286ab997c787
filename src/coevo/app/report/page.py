"""The report of a state, put together: figures, tables, structures, map and page."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from coevo.app.report import tables
from coevo.app.report.composite_figure import LETTERS, composite_plot
from coevo.app.report.energy_figure import energy_plot
from coevo.app.report.environment_figure import environment_plot
from coevo.app.report.error_figure import error_plot
from coevo.app.report.folders import FOLDERS, files_in, report_folder
from coevo.app.report.gathering import ReportData, gather
from coevo.app.report.growth_figure import growth_plot
from coevo.app.report.hull_figures import hull_plot
from coevo.app.report.hull_points import state_hull
from coevo.app.report.lineage_figure import lineage_plot
from coevo.app.report.loop_figure import loop_plot
from coevo.app.report.motif_gallery import MotifSection, motif_section
from coevo.app.report.plots import Plot, write_plot
from coevo.app.report.rediscovery_table import RediscoverySection, rediscovery_section
from coevo.app.report.structure_files import write_structures
from coevo.app.report.structure_map import chemiscope_script, choose, write_map
from coevo.errors import CoevoError, ConfigError, CorruptArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.store import NodeStore

MOST_ENTRIES = 50
"""Rows of the table of S.U.N. entries, each with a CIF."""
PACKAGES = ("coevo", "numpy", "scipy", "pymatgen", "pymatgen-core", "ase", "chgnet", "torch", "matplotlib", "jinja2", "chemiscope")
# Nothing may be fetched from anywhere; chemiscope makes its styles and its numerical functions while it runs.
POLICY = (
    "default-src 'none'; img-src 'self' file: data: blob:; style-src 'self' file: 'unsafe-inline'; "
    "script-src 'self' file: 'unsafe-eval'; font-src data:; worker-src blob:; connect-src data: blob:; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    folder : Path
    files : int
    size : int
        Bytes.
    in_map : int or None
        Structures in the map; None without one.
    """

    folder: Path
    files: int
    size: int
    in_map: int | None


@dataclass(frozen=True)
class _Content:
    data: ReportData
    panels: list[Plot]
    composite: Plot
    hull: Plot
    lineage: Plot
    motifs: MotifSection | None
    rediscovery: RediscoverySection | None
    mapped: list[dict[str, Any]]


def check_packages(with_map: bool) -> None:
    """Refuse to begin without the packages that a report needs.

    Raises
    ------
    ConfigError
        Names what is missing and how to install it.
    """
    missing = []
    for name in ("matplotlib", "jinja2"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ConfigError(f"report: {' and '.join(missing)} cannot be imported; run pip install 'coevo[report]'")
    if with_map:
        chemiscope_script()


def write_report(
    store: NodeStore, ref: str, output: Path, *, targets: str | None = None, with_map: bool = True, force: bool = False, workers: int = 1
) -> Written:
    """Write the report of a state into a folder.

    Parameters
    ----------
    store : NodeStore
    ref : str
        Names the state.
    output : Path
        Folder to make; one that is there must be empty, or a former report with ``force``.
    targets : str, optional
        Known phases to look for among the entries, a bundled set or a file; by default those that the node withholds.
    with_map : bool
        Whether to add the interactive map.
    force : bool
        Replace a former report.
    workers : int
        Processes for the motifs of many entries; the report does not depend on it.

    Raises
    ------
    ConfigError
        If a package is missing, or the folder holds something else.
    StorageError
        If it cannot be written.
    CorruptArtifactError
        If the state's numbers are not those that this coevo writes.
    """
    check_packages(with_map)
    data = gather(store, ref)
    about = {"report": 1, "node": data.view.node, "state": data.view.id, "ref": ref}
    with report_folder(output, about, force) as folder:
        with _reportable(data):
            content = _content(data, targets, with_map, workers)
            _write(folder, content)
        for name in FOLDERS:
            if not any((folder / name).iterdir()):
                (folder / name).rmdir()
        written = files_in(folder)
        size = sum((folder / name).stat().st_size for name in written)
    return Written(output, len(written) + 1, size, len(content.mapped) or None)


@contextmanager
def _reportable(data: ReportData) -> Iterator[None]:
    """Turn numbers that are not there, as in a state that somebody else's code made, into one error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CoevoError):
            raise
        raise CorruptArtifactError(
            f"the numbers of {data.view.node}@{data.view.id[:12]} are not those that this coevo writes "
            f"({type(error).__name__}: {error}), so no report can be made of them; coevo show --format json shows them as they are"
        ) from error


def _content(data: ReportData, targets: str | None, with_map: bool, workers: int) -> _Content:
    motifs = motif_section(data, MOST_ENTRIES, workers)
    panels = [loop_plot(data), growth_plot(data), energy_plot(data), environment_plot(data), error_plot(data), motifs.plot]
    mapped = choose(data) if with_map else []
    return _Content(
        data=data,
        panels=panels,
        composite=composite_plot(panels),
        hull=hull_plot(data),
        lineage=lineage_plot(data),
        motifs=motifs if motifs.cards else None,
        rediscovery=rediscovery_section(data, targets, workers),
        mapped=mapped if len(mapped) > 1 else [],
    )


def _write(folder: Path, content: _Content) -> None:
    data = content.data
    for plot in (*content.panels, content.composite, content.hull, content.lineage):
        write_plot(plot, folder)
    best = data.sun_entries[:MOST_ENTRIES]
    if best:
        write_structures(folder / "structures", data.view, best)
        (folder / "data" / "sun-entries.csv").write_text(tables.sun_data(data).as_csv(), encoding="utf-8")
    for section in (content.motifs, content.rediscovery):
        if section is not None:
            (folder / "data" / f"{section.name}.csv").write_text(section.data.as_csv(), encoding="utf-8")
    package = files("coevo.app.report")
    (folder / "style.css").write_text(package.joinpath("style.css").read_text(encoding="utf-8"), encoding="utf-8")
    if content.mapped:
        write_map(folder, data, content.mapped)
        (folder / "show-map.js").write_text(package.joinpath("show-map.js").read_text(encoding="utf-8"), encoding="utf-8")
    svg = (folder / "figures" / "lineage.svg").read_text(encoding="utf-8")
    (folder / "index.html").write_text(_html(content, svg), encoding="utf-8")


def _html(content: _Content, lineage_svg: str) -> str:
    import yaml
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    data = content.data
    text = files("coevo.app.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(text)
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
        hull=content.hull,
        stable=tables.stable_table(points, data.reference_names),
        facets=tables.facet_table(points) if len(points.elements) > 3 else None,
        ruler=tables.ruler_table(data),
        sun=tables.sun_table(data, MOST_ENTRIES, carried),
        sun_count=len(data.sun_entries),
        threshold=f"{data.stable_threshold:g}",
        reference=data.metrics["reference_set"],
        motifs=content.motifs,
        map={"text": _map_text(content)} if content.mapped else None,
        lineage=content.lineage,
        # our own drawing; the text in it is drawn as paths
        lineage_svg=Markup(_inline(lineage_svg)),  # noqa: S704
        states=tables.state_table(data),
        rediscovery=content.rediscovery,
        checkpoints=tables.checkpoint_table(data),
        labels=tables.label_table(data),
        times=tables.time_table(data),
        versions=tables.version_rows(PACKAGES),
        config=yaml.safe_dump(data.view.document["config"], sort_keys=False, allow_unicode=True),
    )


def _sections(content: _Content) -> list[tuple[str, str]]:
    """Anchors and titles of the sections that the page has."""
    found = [
        ("state", "State", True),
        ("signals", "Signals", True),
        ("hull", "Hull", True),
        ("entries", "S.U.N. entries", True),
        ("motifs", "Motifs", content.motifs is not None),
        ("map", "Map of structures", bool(content.mapped)),
        ("lineage", "Lineage", True),
        ("rediscovery", "Rediscovery", content.rediscovery is not None),
        ("provenance", "Models, labels, provenance", True),
    ]
    return [(anchor, title) for anchor, title, there in found if there]


def _map_text(content: _Content) -> str:
    data, shown = content.data, len(content.mapped)
    everything = len(data.references) + len(data.live_entries)
    chosen = (
        f"All {shown} references and entries (duplicates left out)."
        if shown == everything
        else f"{shown} of {everything} references and entries: all references first, then S.U.N. entries, then others, each by E_hull."
    )
    return (
        f"{chosen} Click a point to see its structure; the menu at the upper left chooses axes, colour and size. The first view is a map "
        "of fingerprints (principal components of inverse average minimum distances per pair of elements, weighted by composition): "
        "structures of similar composition and packing are near each other."
    )


def _inline(svg: str) -> str:
    """An SVG as part of a page: without the XML declaration and document type."""
    return svg[re.search(r"<svg\b", svg).start() :]  # type: ignore[union-attr]
