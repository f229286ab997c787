"""Pages of states: over HTTP, with hostile requests, and in a real browser."""

from __future__ import annotations

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

import tiny_study
from chromium_browser import Page, require_chromium
from coevo.flows.studies.registry import KINDS
from coevo.node_store.store import open_store
from coevo.node_store.study_documents import put_study
from coevo.node_store.views import StateView
from coevo.settings import Settings
from serve_process import ServeProcess
from tiny_node import Coevo, copy_of

HOSTILE = "<script>window.hacked = 1</script>\" onload='x' {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def view(coevo: Coevo) -> StateView:
    return open_store(Settings(database=f"file:{coevo.database}")).state("tiny")


def best(view: StateView) -> dict[str, object]:
    return next(iter(view.entries({}, sort=[("energy_above_hull", 1)], limit=1)))


def rows_of(text: str) -> list[str]:
    return re.findall(r'<td><a href="[^"]*/entries/([0-9a-f]{64})"><code', text)


# --- what is there


def test_the_pages_lead_from_the_nodes_to_an_entry(server: ServeProcess, view: StateView) -> None:
    assert f"/tiny/{view.id}" in server.get("/").text
    node = server.get("/tiny").text
    assert {view.id, *(state.id for state in view.ancestors())} <= set(re.findall(r"/tiny/([0-9a-f]{64})", node))
    state = server.get("/tiny/main").text
    for checkpoint in view.document["checkpoints"].values():
        assert checkpoint["sha256"] in state
    entry = server.get(f"/tiny/main/entries/{best(view)['structure_id']}").text
    assert f"coevo show tiny@{view.id[:16]} {str(best(view)['structure_id'])[:16]}" in entry
    assert "E_hull" in entry


def test_a_state_answers_by_branch_by_steps_back_and_by_id(server: ServeProcess, view: StateView) -> None:
    older = view.parents[0]
    for name in ("main~1", "older", older, older[:8]):
        answer = server.get(f"/tiny/{name}")
        assert answer.status == 200
        assert f'<a href="/tiny/{older}"><code>/tiny/{older}</code>' in answer.text
    moved = server.get("/tiny@main~1")
    assert (moved.status, moved.headers["location"]) == (307, "/tiny/main~1")
    assert server.get("/tiny~1").headers["location"] == "/tiny/main~1"


def test_an_id_still_answers_when_the_branch_has_moved(server: ServeProcess, coevo: Coevo, view: StateView) -> None:
    before = server.get("/tiny/older").text
    coevo("branch", "tiny@older", "--delete", "--force")
    coevo("branch", "tiny@main", "older")
    assert f"/tiny/{view.id}" in server.get("/tiny/older").text
    assert f"/tiny/{view.parents[0]}" in before
    assert server.get(f"/tiny/{view.parents[0]}").status == 200


def test_the_table_filters_sorts_and_pages_as_a_query_does(server: ServeProcess, view: StateView) -> None:
    ids = [row["structure_id"] for row in view.entries({}, sort=[("nsites", -1)])]
    assert rows_of(server.get("/tiny/main/entries?sort=-nsites").text) == ids
    assert rows_of(server.get("/tiny/main/entries?sort=-nsites&rows=2&page=2").text) == ids[2:4]
    with_s = [row["structure_id"] for row in view.entries({"elements": "S"}, sort=[("energy_above_hull", 1)])]
    assert len(with_s) > 0
    text = server.get("/tiny/main/entries?filter=" + quote('elements HAS "S"')).text
    assert rows_of(text) == with_s
    assert f'<strong id="total">{len(with_s)}</strong> of {len(ids)}' in text
    csv = server.get("/tiny/main/entries.csv?filter=" + quote('elements HAS "S"'))
    assert csv.text.count("\n") == len(with_s) + 1
    hint = server.get("/tiny/main/entries?filter=" + quote('elements HAS "Zr"')).text
    assert "the node has the elements Li, P, S" in hint


def test_files_of_an_entry_hold_its_structure(server: ServeProcess, view: StateView, tmp_path: Path) -> None:
    from ase.io import read
    from pymatgen.core import Structure

    found = best(view)
    structure = view.structure(str(found["structure_id"]))
    for suffix in ("cif", "vasp", "extxyz", "json"):
        answer = server.get(f"/tiny/main/entries/{str(found['structure_id'])[:12]}/structure.{suffix}")
        assert answer.status == 200
        name = answer.headers["content-disposition"].rpartition("''")[2]
        assert name == f"{structure.composition.reduced_formula}-{str(found['structure_id'])[:16]}.{suffix}"
        (tmp_path / f"x.{suffix}").write_text(answer.text)
    assert Structure.from_file(tmp_path / "x.vasp").volume == pytest.approx(structure.volume)
    assert read(tmp_path / "x.extxyz").get_volume() == pytest.approx(structure.volume)
    assert Structure.from_dict(json.loads((tmp_path / "x.json").read_text())["structure"]) == structure
    cif = Structure.from_file(tmp_path / "x.cif")
    assert cif.volume / len(cif) == pytest.approx(structure.volume / len(structure), rel=0.02)


def test_the_decomposition_on_the_page_is_that_of_show(server: ServeProcess, coevo: Coevo, view: StateView) -> None:
    row = max(view.entries({}), key=lambda one: one["energy_above_hull"])
    told = json.loads(coevo("show", "tiny", row["structure_id"], "--format", "json").stdout)["decomposition"]
    text = server.get(f"/tiny/main/entries/{row['structure_id']}").text
    section = text[text.index('id="decomposition"') : text.index('id="motifs"')]
    assert re.findall(r"/entries/([0-9a-f]{64})", section) == [product["structure_id"] for product in told["products"]]
    assert f"{abs(told['energy_per_atom']):.4f} eV/atom above this mixture" in section
    assert told["energy_per_atom"] == pytest.approx(row["energy_above_hull"], abs=1e-6)


@pytest.mark.parametrize("name", ["hull", "growth", "lineage"])
def test_figures_are_drawn(server: ServeProcess, view: StateView, name: str) -> None:
    answer = server.get(f"/tiny/{view.id}/figures/{name}.svg")
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.text.startswith("<?xml")


# --- what is refused


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nosuch", 404),
        ("/tiny/nosuch", 404),
        ("/tiny/main~99", 404),
        ("/tiny/main~99999999999", 404),
        ("/tiny/%00", 404),
        ("/..%2f..%2fetc%2fpasswd", 404),
        ("/-/static/..%2fapplication.py", 404),
        ("/-/static/base.html.j2", 404),
        ("/tiny/main/entries/zzzzzzzz", 404),
        ("/tiny/main/entries/abc", 404),
        ("/tiny/main/entries/" + "0" * 64, 404),
        ("/tiny/main/entries/" + "0" * 64 + "/structure.cif", 404),
        ("/tiny/main/entries/" + "0" * 64 + "/structure.exe", 404),
        ("/tiny/main/figures/nosuch.svg", 400),
        ("/tiny/main/entries?page=0", 400),
        ("/tiny/main/entries?page=99999999999999999999", 400),
        ("/tiny/main/entries?page=7000", 400),
        ("/tiny/main/entries?page=-1", 400),
        ("/tiny/main/entries?rows=100000", 400),
        ("/tiny/main/entries?sort=elements", 400),
        ("/tiny/main/entries?sort=nosuch", 400),
        ("/tiny/main/entries?nosuch=1", 400),
        ("/tiny/main/entries?page=1&page=2", 400),
        ("/tiny/main/entries?filter=nosuch%3D1", 400),
        ("/tiny/main/entries?filter=nsites%3D1e999", 200),
        ("/tiny/main/entries?filter=elements+HAS", 400),
        ("/tiny/main/entries?filter=" + "(" * 1500, 400),
        ("/tiny/main/entries?filter=" + "NOT+" * 300 + "nsites=1", 400),
        ("/tiny/main/entries?filter=" + "a" * 3000, 400),
        ("/tiny/main/entries?filter=" + "a" * 20_000, 414),
        ("/tiny/main/entries?filter=" + "a" * 1_000_000, 414),
        ("/tiny/main/entries.csv?filter=nosuch%3D1", 400),
        ("/optimade/v1/structures?filter=" + "a" * 3000, 400),
        ("/optimade/v1/structures?page_offset=99999999999999999999999", 400),
    ],
)
def test_what_cannot_be_answered_is_refused(server: ServeProcess, path: str, status: int) -> None:
    answer = server.get(path)
    assert answer.status == status, answer.text[:500]
    assert "Traceback" not in answer.text
    assert len(answer.body) < 40_000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(server: ServeProcess, method: str) -> None:
    for path in ("/", "/tiny/main/entries", "/optimade/v1/structures"):
        assert server.get(path, method).status == 405


def test_texts_of_requests_are_text(server: ServeProcess) -> None:
    written = quote(HOSTILE, safe="")
    for path in (f"/{written}", f"/tiny/{written}", f"/tiny/main/entries?filter={written}"):
        text = server.get(path).text
        assert "<script>window" not in text
        assert "{{ 7 * 7 }}" in text or "49" not in text
        assert "onload='x'" not in text


def test_answers_keep_to_themselves(server: ServeProcess) -> None:
    for path in ("/", "/tiny/main", "/optimade/v1/info"):
        answer = server.get(path, Origin="http://elsewhere.example")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.get("/", Host="elsewhere.example").status == 400
    assert server.get("/", Host=f"localhost:{server.port}").status == 200


def test_only_this_machine_is_listened_to(server: ServeProcess, coevo: Coevo) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert "warning" not in " ".join(server.said)
    hexadecimal = f"{server.port:04X}"
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if f":{hexadecimal} " in line]
    assert {line[1] for line in listening if line[3] == "0A"} == {f"0100007F:{hexadecimal}"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        failed = coevo("serve", "--port", str(taken.getsockname()[1]), code=2)
    assert "cannot listen at 127.0.0.1" in failed.stderr
    assert "no node 'nosuch'" in coevo("serve", "nosuch", code=2).stderr
    assert "node 'other' is not served here; served are: tiny" in coevo("serve", "tiny", "--optimade", "other", code=2).stderr


def test_the_address_that_others_know_is_one() -> None:
    from coevo.serve.server import is_web_address

    assert is_web_address("https://example.org/db")
    assert is_web_address("http://[::1]:8765")
    for url in (
        "foo",
        "ftp://example.org",
        "https://",
        "http://me@example.org",
        "http://example.org/?a=1",
        "http://[::1",
        "//example.org",
    ):
        assert not is_web_address(url)


def test_fifty_clients_at_once(server: ServeProcess, view: StateView) -> None:
    entry = f"/tiny/main/entries/{best(view)['structure_id']}"
    paths = ["/tiny/main/entries", "/tiny/main", entry, "/optimade/v1/structures"] * 13
    with ThreadPoolExecutor(50) as pool:
        assert {answer.status for answer in pool.map(server.get, paths[:50])} == {200}


@pytest.mark.long
def test_with_host_everybody_may_read_and_is_told_so_and_other_nodes_stay_hidden(coevo: Coevo) -> None:
    with ServeProcess(coevo, "tiny@main~1", "--host", "0.0.0.0") as server:
        assert any("warning: --host lets everybody" in line for line in server.said)
        assert server.get("/", Host="elsewhere.example").status == 200
        assert "tiny@main~1" in server.get("/").text


# --- in a browser


def test_a_browser_filters_sorts_and_opens_an_entry(server: ServeProcess, view: StateView) -> None:
    require_chromium()
    with Page() as page:
        page.open(f"{server.url}/tiny/main/entries")
        page.evaluate("document.getElementById('filter').value = 'elements HAS \"S\"'")
        page.evaluate("document.querySelector('form.filter button').click()")
        page.until("location.search.includes('elements') && document.readyState === 'complete'")
        assert page.evaluate("document.getElementById('filter').value") == 'elements HAS "S"'
        page.evaluate("document.querySelector('th a[title=nsites]').click()")
        page.until("location.search.includes('sort=nsites') && document.readyState === 'complete'")
        rows = [row["structure_id"] for row in view.entries({"elements": "S"}, sort=[("nsites", 1)])]
        assert page.evaluate("document.querySelector('th[aria-sort=ascending] a').title") == "nsites"
        assert page.evaluate("[...document.querySelectorAll('#entries tbody tr a')].map(a => a.pathname.slice(-64))")[::2] == rows
        page.evaluate("document.querySelector('#entries tbody a').click()")
        page.until("(document.getElementById('structure') || {dataset: {}}).dataset.shown === 'yes'")
        assert page.evaluate("document.querySelectorAll('#structure canvas, #structure *').length") > 0
        assert page.evaluate("document.getElementById('structure-note').textContent") == ""
        for path in ("/", "/tiny", "/tiny/main", "/tiny/main/entries", f"/tiny/main/entries/{rows[0]}"):
            page.resize(420)
            page.open(server.url + path)
            assert page.evaluate("document.documentElement.scrollWidth") == 420, path
        assert page.complaints == []
        assert [address for address in page.requests if not address.startswith((server.url, "data:", "blob:"))] == []


# --- texts of strangers


def test_texts_of_a_state_are_text(coevo: Coevo) -> None:
    from coevo.serve.pages.entries import entry_page
    from coevo.serve.pages.states import home_page, node_page, state_page
    from coevo.serve.served import Served

    served = Served(open_store(Settings(database=f"file:{coevo.database}")))
    view = served.state("tiny")
    for document in (view.document, served.state("tiny", view.id).document):
        document["message"] = HOSTILE
        document["metrics"]["maturity"]["reason"] = HOSTILE
        document["metrics"]["reference_set"]["name"] = HOSTILE
        document["checkpoints"]["generator"]["family"] = HOSTILE
    texts = [
        home_page(served, view),
        node_page(served, "tiny"),
        state_page(served, view, HOSTILE),
        entry_page(served, view, str(best(view)["structure_id"])),
    ]
    assert sum("window.hacked = 1" in text for text in texts) == 3  # the first page has no texts of a state
    for text in texts:
        assert "<script>window" not in text
        assert "onload='x'" not in text


# --- studies


def studied(view: StateView) -> dict[str, bool]:
    (study,) = view.studies()
    return {identifier: said["dynamically_stable"] for identifier, said in study.document["entries"].items()}


def test_what_studies_say_is_on_the_pages_and_can_be_asked_for(server: ServeProcess, view: StateView) -> None:
    said = studied(view)
    assert sorted(said.values()) == [False, True]
    state = server.get(f"/tiny/{view.id}").text
    (study,) = view.studies()
    assert f"coevo study show tiny@{view.id[:16]} {study.id[:16]}" in state
    assert "this coevo knows no study" in state
    assert "<script>window.hacked" not in state
    for identifier, stable in said.items():
        table = server.get(f"/tiny/main/entries?filter={quote('dynamically_stable = ' + str(stable).upper())}").text
        assert rows_of(table) == [identifier]
        assert ">vibrations</span>" in table
        assert f"<td>{'stable' if stable else 'unstable'}</td>" in table
        entry = server.get(f"/tiny/main/entries/{identifier}").text
        assert f"dynamically {'stable' if stable else 'unstable'} by the state&#39;s force field" in entry
    unknown = server.get(f"/tiny/main/entries?filter={quote('dynamically_stable IS UNKNOWN')}").text
    assert not set(rows_of(unknown)) & set(said)
    assert "vibrations" not in unknown.partition("<details>")[0]
    refused = server.get("/tiny/main/entries?sort=dynamically_stable")
    assert (refused.status, "has no order" in refused.text) == (400, True)
    parent = view.parent()
    assert parent
    older = server.get(f"/tiny/{parent.id}/entries?filter={quote('dynamically_stable = TRUE')}").text
    assert "dynamically_stable is said of 0 entries of this state" in older


def test_tables_of_studies_and_those_that_come_later_are_shown(
    coevo: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coevo.serve.pages.states import state_page
    from coevo.serve.served import Served

    monkeypatch.setitem(KINDS, "tiny", tiny_study.TINY_KIND)
    own = copy_of(coevo.directory, tmp_path)
    store = open_store(Settings(database=f"file:{own.database}"))
    served = Served(store)
    found = served.state("tiny")
    (study,) = found.studies()
    sun = [row["structure_id"] for row in found.entries({"is_sun": True})]
    page = state_page(served, found, "main")
    assert "2 volumes, scaled by 1" in page
    volume = study.document["results"]["volumes"][study.document["phases"][0]["id"]]
    assert f'<td class="number">{volume:.5g}</td>' in page
    later = {**study.document, "study": "later", "entries": {name: {"dynamically_stable": False} for name in sun}}
    put_study(store.backend, "tiny", later, "2100-01-01T00:00:00", f"it came with {HOSTILE}")
    page = state_page(served, found, "main")
    assert "<h3>later: " in page
    assert "<script>window" not in page
    # what was made here counts more than what came
    made_here = study.document["entries"]
    unstable = [name for name in sun if not made_here.get(name, {"dynamically_stable": False})["dynamically_stable"]]
    assert sun
    assert f'dynamically_stable%20%3D%20FALSE">{len(unstable)}</a>' in page


def test_a_node_called_entries_has_its_csv() -> None:
    from coevo.serve.application import csv_address
    from coevo.serve.pages.table import Asked

    view: Any = SimpleNamespace(node="entries", id="0" * 64)
    assert csv_address(view, Asked(filter="nsites = 2", page=3)) == f"/entries/{'0' * 64}/entries.csv?filter=nsites+%3D+2"
