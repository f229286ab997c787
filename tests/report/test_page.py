"""The report's page in a real browser: it works from a file, asks nobody for anything, and shows its map."""

from __future__ import annotations

import dataclasses
import json
import time
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from chromium_browser import PATIENCE, Page, require_chromium
from coevo.node_store.store import open_store
from coevo.report.folders import FOLDERS
from coevo.report.gathering import ReportData, gather
from coevo.report.writing import fill
from coevo.settings import Settings
from tiny_node import Coevo

# All elements inside shadow roots too, where chemiscope draws.
DEEP = """
const deep = (selector, root = document) => [
    ...root.querySelectorAll(selector),
    ...[...root.querySelectorAll('*')].filter(e => e.shadowRoot).flatMap(e => deep(selector, e.shadowRoot)),
];
"""


@pytest.fixture(scope="module")
def page(report: Path) -> Iterator[Page]:
    require_chromium()
    with Page() as found:
        found.open(f"file://{report}/index.html")
        found.until("document.getElementById('coevo-map').dataset.shown === 'yes'")
        yield found


def local(address: str, folder: Path) -> bool:
    return address.startswith((f"file://{folder}/", "data:", "blob:"))


def test_nothing_is_asked_of_anybody_and_nothing_goes_wrong(page: Page, report: Path) -> None:
    assert any(address.endswith("chemiscope.min.js") for address in page.requests)
    assert [address for address in page.requests if not local(address, report)] == []
    assert page.complaints == []
    assert page.evaluate("document.getElementById('coevo-map-note').textContent") == ""


def test_all_images_are_there_and_have_a_text(page: Page) -> None:
    images = page.evaluate("[...document.images].map(i => [i.getAttribute('src'), i.naturalWidth, i.alt.length])")
    assert len(images) == 10
    assert [name for name, width, text in images if not width or text < 20] == []


@pytest.mark.long
def test_the_map_is_drawn_and_a_click_shows_another_structure(page: Page, report: Path) -> None:
    mapped = json.loads((report / "map.js").read_text().removeprefix("window.coevoMap = ").rstrip(";\n"))
    page.until(f"(() => {{{DEEP} return deep('canvas', document.getElementById('chemiscope-structure')).length > 0 }})()")
    where = f"""(() => {{{DEEP}
        document.getElementById('chemiscope-map').scrollIntoView({{behavior: 'instant'}});
        const plot = deep('.js-plotly-plot')[0], layout = plot._fullLayout, box = plot.getBoundingClientRect();
        const place = (axis, value) => axis._offset + axis._length * (value - axis.range[0]) / (axis.range[1] - axis.range[0]);
        const x = plot.data[0].x, y = plot.data[0].y;
        return [...x].map((value, i) => [box.x + place(layout.xaxis, value),
            box.y + 2 * layout.yaxis._offset + layout.yaxis._length - place(layout.yaxis, y[i])]);
        }})()"""
    plot = page.evaluate(where)
    assert len(plot) == len(mapped["structures"])

    def crowd(index: int) -> float:
        return min(abs(plot[index][0] - x) + abs(plot[index][1] - y) for i, (x, y) in enumerate(plot) if i != index)

    chosen = max(range(1, len(plot)), key=crowd)
    shown = f"(() => {{{DEEP} return deep('.chsp-info-table').map(e => e.textContent).join() }})()"
    assert mapped["properties"]["id"]["values"][chosen] not in page.evaluate(shown)
    deadline = time.monotonic() + PATIENCE
    while mapped["properties"]["id"]["values"][chosen] not in page.evaluate(shown):
        assert time.monotonic() < deadline, page.complaints
        # where it is by now: a page that still comes together moves its plots
        page.click(*page.evaluate(where)[chosen])
        page.evaluate("new Promise(done => setTimeout(done, 1000))")
    assert page.complaints == []


def test_the_page_is_as_wide_as_the_window(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == page.width == 1280


@pytest.mark.long
def test_the_page_becomes_as_narrow_as_the_window(page: Page) -> None:
    page.resize(360)
    page.until("window.innerWidth === 360")
    page.until("document.documentElement.scrollWidth === 360")


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_is_opened_as_wide_as_the_window(report: Path, width: int) -> None:
    require_chromium()
    with Page(width=width) as page:
        page.open(f"file://{report}/index.html")
        assert page.evaluate("document.documentElement.scrollWidth") == width


class Links(HTMLParser):
    """Addresses and anchors of a page, and cells of its tables without a header."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.addresses += [value for key in ("href", "src", "xlink:href") if (value := found.get(key))]
        if found.get("id"):
            self.ids.append(str(found["id"]))


def test_every_link_leads_somewhere(report: Path) -> None:
    links = Links((report / "index.html").read_text())
    assert len(set(links.ids)) == len(links.ids)
    for address in links.addresses:
        if address.startswith("#"):
            assert address[1:] in links.ids
        elif not address.startswith("data:"):
            assert (report / address).is_file(), address
    assert links.tags.count("caption") == links.tags.count("table") > 8
    assert links.tags.count("h1") == 1


@pytest.mark.long
def test_the_map_is_the_same_each_time_and_its_licence_is_there(report: Path, finished: Coevo, tmp_path: Path) -> None:
    finished("report", "tiny", "--output", str(tmp_path / "again"))
    for name in ("map.js", "index.html"):
        assert (report / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert "Redistribution and use" in (report / "chemiscope-LICENSE.txt").read_text()


def test_structures_can_be_downloaded_and_read(report: Path) -> None:
    from ase.io import read
    from pymatgen.core import Composition, Structure

    cifs = sorted((report / "structures").glob("*.cif"))
    assert cifs
    with zipfile.ZipFile(report / "structures" / "sun.zip") as archive:
        assert sorted(archive.namelist()) == [path.name for path in cifs]
        assert archive.read(cifs[0].name) == cifs[0].read_bytes()
    frames = read(report / "structures" / "sun.extxyz", index=":")
    by_id = {atoms.info["structure_id"][:16]: atoms for atoms in frames}
    for path in cifs:
        structure = Structure.from_file(path)
        atoms = by_id[path.stem]  # as it is stored; the CIF is in the conventional cell of its space group
        assert structure.composition.reduced_formula == Composition(str(atoms.symbols)).reduced_formula
        assert structure.volume / len(structure) == pytest.approx(atoms.get_volume() / len(atoms), rel=0.02)


HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\u2028$\\alpha$ {{ 7 * 7 }} \"'"


@pytest.fixture
def hostile(finished: Coevo) -> ReportData:
    """A state whose free texts were written by somebody who means no good."""
    settings = Settings(database=f"file:{finished.database}")
    data = gather(open_store(settings), "tiny")
    document = data.view.document
    document["message"] = HOSTILE
    document["config"]["node"]["description"] = HOSTILE
    document["metrics"]["reference_set"]["name"] = HOSTILE
    document["metrics"]["maturity"]["reason"] = HOSTILE
    document["metrics"]["maturity"]["signals"][0].update(name=HOSTILE, reason=HOSTILE)
    document["checkpoints"]["generator"]["family"] = HOSTILE
    names = dict.fromkeys(data.reference_names, HOSTILE)
    return dataclasses.replace(data, ref=HOSTILE, reference_names=names, branches={data.view.id: [HOSTILE]})


@pytest.mark.long
def test_names_of_strangers_are_text_and_nothing_else(hostile: ReportData, tmp_path: Path) -> None:
    require_chromium()
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    fill(tmp_path, hostile)
    text = (tmp_path / "index.html").read_text()
    assert HOSTILE not in text
    assert "<script>window" not in text
    assert "{{ 7 * 7 }}" in text
    assert "<" not in (tmp_path / "map.js").read_text()
    assert "<script" not in (tmp_path / "figures" / "lineage.svg").read_text()
    with Page() as page:
        page.open(f"file://{tmp_path}/index.html")
        page.until("document.getElementById('coevo-map').dataset.shown === 'yes'")
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.evaluate("document.querySelectorAll('[onerror], img[src=x], svg script').length") == 0
        for place in ("footer code", "#states td, #lineage td:nth-child(5)", ".verdict", "#hull td:nth-child(2)"):
            assert "window.hacked = 1" in page.evaluate(
                f"[...document.querySelectorAll({place!r})].map(e => e.textContent).join()"
            )
        assert page.complaints == []
        assert [address for address in page.requests if not local(address, tmp_path)] == []


def test_tables_are_ordered_and_filtered_and_shown_on_the_map(page: Page) -> None:
    table = "document.querySelector('#entries table')"
    cells = f"[...{table}.tBodies[0].rows].filter(r => !r.hidden).map(r => [r.id, r.cells[1].textContent])"
    first = page.evaluate(cells)
    assert len(first) > 1
    for _ in range(2):
        page.evaluate(f"{table}.tHead.rows[0].cells[1].querySelector('button').click()")
    assert page.evaluate(f"{table}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"
    energies = [float(text.replace("\u2212", "-")) for _, text in page.evaluate(cells)]
    assert energies == sorted(energies, reverse=True)
    page.evaluate(f"{table}.querySelector('button.show').click()")
    assert page.evaluate("document.querySelectorAll('tr.chosen').length") == 1
    page.evaluate("document.querySelector('#lineage h2').scrollIntoView()")
    assert page.complaints == []
