"""Writing a report: figures, their data, structures, map and page, whole or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING

from coevo.errors import CoevoError, ConfigError, CorruptArtifactError
from coevo.report import tables
from coevo.report.audit import audit_table
from coevo.report.figures.crystal_systems import systems_plot
from coevo.report.figures.energy import energy_plot
from coevo.report.figures.environments import environment_plot
from coevo.report.figures.errors import error_plot
from coevo.report.figures.growth import growth_plot
from coevo.report.figures.held_out import held_out_plot
from coevo.report.figures.hull import hull_plot
from coevo.report.figures.loop import lineage_plot, loop_plot
from coevo.report.figures.parity import parity_plots
from coevo.report.figures.plots import composite_plot, write_plot
from coevo.report.folders import FOLDERS, files_in, report_folder, write_structures
from coevo.report.gathering import ReportData, gather
from coevo.report.motif_gallery import motif_section
from coevo.report.page import MOST_ENTRIES, Content, html
from coevo.report.parity import parity_of
from coevo.report.rediscovery_table import rediscovery_section
from coevo.report.second_opinion import opinion_section
from coevo.report.stiffness_table import stiffness_section
from coevo.report.structure_map import chemiscope_script, choose, write_map
from coevo.report.study_sections import study_sections
from coevo.report.tables import labelled_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from coevo.node_store.store import NodeStore
    from coevo.report.figures.plots import Plot


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
    store: NodeStore,
    ref: str,
    output: Path,
    *,
    targets: str | None = None,
    with_map: bool = True,
    with_parity: bool = False,
    force: bool = False,
    workers: int = 1,
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
    with_parity : bool
        Whether to evaluate labelled frames of the test split by the state's force field, for the parity plots.
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
    parity = parity_plots(parity_of(store, data.view, workers), labelled_by(data)) if with_parity else []
    about = {"report": 1, "node": data.view.node, "state": data.view.id, "ref": ref}
    with report_folder(output, about, force) as folder:
        in_map = fill(folder, data, targets=targets, with_map=with_map, workers=workers, parity=parity)
        for name in FOLDERS:
            if not any((folder / name).iterdir()):
                (folder / name).rmdir()
        written = files_in(folder)
        size = sum((folder / name).stat().st_size for name in written)
    return Written(output, len(written) + 1, size, in_map)


def fill(
    folder: Path,
    data: ReportData,
    *,
    targets: str | None = None,
    with_map: bool = True,
    workers: int = 1,
    parity: Sequence[Plot] = (),
) -> int | None:
    """Write the files of a report into a folder that has the :data:`~coevo.report.folders.FOLDERS`.

    Returns
    -------
    int or None
        Structures in the map; None without one.

    Raises
    ------
    CorruptArtifactError
        If the state's numbers are not those that this coevo writes.
    """
    with _reportable(data):
        content = replace(_content(data, targets, with_map, workers), parity=list(parity))
        _write(folder, content)
    return len(content.mapped) or None


@contextmanager
def _reportable(data: ReportData) -> Iterator[None]:
    """Turn numbers that are not there, as in a state that somebody else's code made, into one error."""
    try:
        yield
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CoevoError):
            raise
        raise CorruptArtifactError(
            f"the numbers of {data.view.node}@{data.view.id[:12]} are not those that this coevo writes "
            f"({type(error).__name__}: {error}), so there is no report; coevo show --format json shows them as they are"
        ) from error


def _content(data: ReportData, targets: str | None, with_map: bool, workers: int) -> Content:
    motifs = motif_section(data, MOST_ENTRIES, workers)
    panels = [loop_plot(data), growth_plot(data), energy_plot(data), environment_plot(data), error_plot(data), motifs.plot]
    mapped = choose(data) if with_map else []
    return Content(
        data=data,
        panels=panels,
        composite=composite_plot(panels),
        held_out=held_out_plot(data),
        stiffness=stiffness_section(data),
        hull=hull_plot(data),
        lineage=lineage_plot(data),
        systems=systems_plot(data),
        motifs=motifs if motifs.cards else None,
        rediscovery=rediscovery_section(data, targets, workers),
        opinions=opinion_section(data),
        audit=audit_table(data),
        studies=study_sections(data),
        mapped=mapped if len(mapped) > 1 else [],
    )


def _write(folder: Path, content: Content) -> None:
    data = content.data
    opinions = content.opinions.plots if content.opinions else []
    plots = [*content.panels, content.composite, content.held_out, content.hull, content.lineage, content.systems]
    for plot in (*plots, *content.parity, *opinions):
        write_plot(plot, folder)
    best = data.sun_entries[:MOST_ENTRIES]
    if best:
        write_structures(folder / "structures", data.view, best)
        (folder / "data" / "sun-entries.csv").write_text(tables.sun_data(data).as_csv(), encoding="utf-8")
    for section in (content.motifs, content.stiffness, content.rediscovery):
        if section is not None and section.data is not None:
            (folder / "data" / f"{section.name}.csv").write_text(section.data.as_csv(), encoding="utf-8")
    for study in content.studies:
        for found in study.tables:
            (folder / "data" / f"{found.name}.csv").write_text(found.data.as_csv(), encoding="utf-8")
    package = files("coevo.report")
    (folder / "tables.js").write_text(package.joinpath("tables.js").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "style.css").write_text(package.joinpath("style.css").read_text(encoding="utf-8"), encoding="utf-8")
    if content.mapped:
        write_map(folder, data, content.mapped)
        (folder / "show-map.js").write_text(package.joinpath("show-map.js").read_text(encoding="utf-8"), encoding="utf-8")
    svg = (folder / "figures" / "lineage.svg").read_text(encoding="utf-8")
    (folder / "index.html").write_text(html(content, svg), encoding="utf-8")
