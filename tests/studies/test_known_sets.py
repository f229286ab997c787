"""Sets of known structures: files, a real OPTIMADE server, servers that misbehave, and what is asked of the Materials Project."""

from __future__ import annotations

import bz2
import gzip
import json
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optimade.adapters import Structure as OptimadeStructure
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

from coevo.configs.references import load_references
from coevo.errors import AnalysisError, ConfigError, ProviderError, ReferenceDataError, StorageError
from coevo.studies.known_sets.http_json import HttpLimits, JsonReader, shown_url
from coevo.studies.known_sets.known_sets import read_known_set, save_known_set
from coevo.studies.known_sets.known_structures import KnownSet, KnownStructure
from coevo.studies.known_sets.materials_project import read_materials_project
from coevo.studies.known_sets.novelty_counts import NoveltyCount
from coevo.studies.known_sets.optimade_provider import base_url, read_optimade, system_filters
from coevo.studies.piles.json_entries import refusal, structure_of
from crystal_piles import known_phases, write_extxyz
from optimade_server import OptimadeServer, document
from stub_server import Answer, Request, StubServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ELEMENTS = ("Li", "P", "S")
PHASES = known_phases(32)
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
QUICK = HttpLimits(connect_seconds=300.0, pause_seconds=0.01, silence_seconds=300.0, attempts=3)
"""Of the pauses, not of the servers, which a busy machine holds up."""


def same(found: KnownSet, expected: dict[str, Structure]) -> bool:
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-4, stol=1e-4, angle_tol=0.01)
    structures = {known.id: known.structure for known in found.structures}
    return structures.keys() == expected.keys() and all(matcher.fit(structures[name], expected[name]) for name in expected)


# --- files


def test_a_saved_set_is_read_again_with_its_source_and_date(tmp_path: Path) -> None:
    known = KnownSet("OPTIMADE https://a.org/v1", "2026-01-02T03:04:05+00:00", ELEMENTS, [])
    known.structures.extend(KnownStructure(name, s) for name, s in PHASES.items())
    save_known_set(known, tmp_path / "kept.json")
    again = read_known_set(str(tmp_path / "kept.json"), ELEMENTS)
    assert same(again, PHASES)
    assert again.source == f"OPTIMADE https://a.org/v1, kept in {tmp_path / 'kept.json'}"
    assert again.read_at == known.read_at
    # and as known phases
    assert [r.name for r in load_references(tmp_path / "kept.json", ELEMENTS, complete=False)] == list(PHASES)


def test_a_set_cannot_be_saved_where_it_would_not_be_read(tmp_path: Path) -> None:
    known = KnownSet("x", "2026-01-02T03:04:05+00:00", ELEMENTS, [])
    with pytest.raises(ReferenceDataError, match=r"got '.cif', allowed: a file called .json"):
        save_known_set(known, tmp_path / "kept.cif")
    with pytest.raises(StorageError, match="choose another place"):
        save_known_set(known, tmp_path / "nowhere" / "kept.json")


@pytest.mark.parametrize("packed", ["", ".gz", ".bz2"])
def test_entries_as_alexandria_publishes_them(tmp_path: Path, packed: str) -> None:
    """A dictionary whose list of ComputedStructureEntry comes first, compressed; other systems are passed over."""
    entries = [
        ComputedStructureEntry(s, -1.0 * len(s), entry_id=name, data={"mat_id": name}).as_dict() for name, s in PHASES.items()
    ]
    salt = ComputedStructureEntry(SALT, -8.0, entry_id="agm1").as_dict()
    text = json.dumps({"entries": [salt, *entries]}).encode()
    openers: dict[str, Any] = {"": open, ".gz": gzip.open, ".bz2": bz2.open}
    path = tmp_path / f"alexandria_000.json{packed}"
    with openers[packed](path, "wb") as file:
        file.write(text)
    found = read_known_set(str(path), ELEMENTS)
    assert same(found, PHASES)
    assert found.left_out == {"off_system": 1}
    assert found.source == str(path)


def test_other_files_count_what_they_leave_out(tmp_path: Path) -> None:
    collapsed = PHASES["Li2S"].copy().scale_lattice(2.0)
    write_extxyz(tmp_path / "x.extxyz", [*PHASES.values(), SALT, collapsed])
    found = read_known_set(str(tmp_path / "x.extxyz"), ELEMENTS)
    assert len(found.structures) == len(PHASES)
    assert found.left_out == {"off_system": 1, "volume_too_small": 1}


def test_a_bundled_set_and_a_source_that_is_none(tmp_path: Path) -> None:
    found = read_known_set("li-p-s", ("Li", "S"))
    assert found.describe() | {"read_at": ""} == {
        "source": "bundled set li-p-s",
        "read_at": "",
        "elements": ["Li", "S"],
        "size": 4,
        "received": 4,
        "left_out": {},
        "whole": True,
        "missing": [],
        "notes": [],
    }
    with pytest.raises(AnalysisError, match=r"nope: no such file; allowed: a bundled set .* optimade:URL, or mp"):
        read_known_set("nope", ELEMENTS)


# --- a real OPTIMADE server


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OptimadeServer]:
    copies = {f"{name} {number}": s for number in range(3) for name, s in PHASES.items()}
    documents = [document(name, s) for name, s in {**copies, "salt": SALT}.items()]
    shared = document("shared", PHASES["Li2S"])
    shared["species"] = [
        {"name": "Li", "chemical_symbols": ["Li", "P"], "concentration": [0.5, 0.5]},
        {"name": "S", "chemical_symbols": ["S"], "concentration": [1.0]},
    ]
    sheet = {**document("sheet", PHASES["P black"]), "dimension_types": [1, 1, 0]}
    with OptimadeServer(tmp_path_factory.mktemp("optimade"), [*documents, shared, sheet], page_limit_max=10) as server:
        yield server


def test_a_provider_gives_its_chemical_system_over_several_pages(provider: OptimadeServer) -> None:
    """The server allows 10 at a time and refuses the 100 that are asked for first."""
    found = read_known_set(f"optimade:{provider.url}", ELEMENTS)
    assert same(found, {f"{name} {number}": s for number in range(3) for name, s in PHASES.items()})
    assert found.left_out == {"disordered": 1, "not_periodic": 1}
    assert found.source == f"OPTIMADE {provider.url}/v1"
    assert found.notes == []
    part = read_optimade(f"{provider.url}/v1/", ("Li", "S"), QUICK)
    assert {known.id for known in part.structures} == {
        f"{name} {number}" for number in range(3) for name, s in PHASES.items() if {*s.symbol_set} <= {"Li", "S"}
    }


def test_sub_systems_together_are_the_system(provider: OptimadeServer) -> None:
    reader = JsonReader(provider.url, QUICK)
    found = []
    for filter_ in system_filters(ELEMENTS):
        page = reader.get(f"{provider.url}/v1/structures", {"filter": filter_, "page_limit": "10", "response_fields": "nsites"})
        assert page["links"]["next"] is None
        found += [entry["id"] for entry in page["data"]]
    assert sorted(found) == sorted([*(f"{name} {number}" for number in range(3) for name in PHASES), "shared", "sheet"])


@pytest.mark.parametrize("name", PHASES)
def test_structures_are_those_of_optimades_own_adapter(name: str) -> None:
    entry = document(name, PHASES[name])
    attributes = {key: value for key, value in entry.items() if key not in {"id", "last_modified"}}
    own = OptimadeStructure({"id": name, "type": "structures", "attributes": {**attributes, "last_modified": None}}).as_pymatgen
    found = structure_of(attributes)
    assert np.allclose(found.lattice.matrix, own.lattice.matrix)
    assert np.allclose(found.cart_coords, own.cart_coords)
    assert [site.specie.symbol for site in found] == [site.specie.symbol for site in own]


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://a.org", "https://a.org/v1"),
        ("https://a.org/v1", "https://a.org/v1"),
        ("https://a.org/v1.2/", "https://a.org/v1.2"),
        ("https://a.org/optimade/v1/structures", "https://a.org/optimade/v1"),
    ],
)
def test_addresses_of_providers(given: str, base: str) -> None:
    assert base_url(given) == base


# --- servers that misbehave


def entry_of(name: str) -> dict[str, Any]:
    attributes = document(name, PHASES["Li2S"])
    return {"id": name, "type": "structures", "attributes": {k: v for k, v in attributes.items() if k != "id"}}


def page(*names: str, following: Any = None, **meta: Any) -> Answer:
    return Answer({"data": [entry_of(name) for name in names], "links": {"next": following}, "meta": meta})


def failure(answer: Any, limits: HttpLimits = QUICK) -> tuple[str, list[Request]]:
    with StubServer(answer) as server:
        with pytest.raises(ProviderError) as caught:
            read_optimade(server.url, ELEMENTS, limits)
        message = str(caught.value).replace(server.url, "SERVER")
        assert "\n" not in message
        return message, server.requests


def test_a_server_that_fails_twice_is_asked_again() -> None:
    calls = count()
    with StubServer(lambda request: page("a") if next(calls) == 2 else Answer(b"oops", 503)) as server:
        assert [known.id for known in read_optimade(server.url, ELEMENTS, QUICK).structures] == ["a"]
        assert len(server.requests) == 3


def test_a_server_that_always_fails_is_one_error() -> None:
    message, requests = failure(lambda request: Answer({"errors": [{"detail": "down\x1b[31m for\nwork"}]}, 503))
    assert message == "SERVER/v1/structures: answers 503: down [31m for work (3 attempts)"
    assert len(requests) == 3


def test_a_filter_that_a_server_has_not_is_put_in_other_words() -> None:
    def answer(request: Request) -> Answer:
        if "HAS ONLY" in request.query["filter"]:
            return Answer({"errors": [{"title": "NotImplemented"}]}, 501)
        systems = {'elements HAS ALL "Li","S" AND nelements=2': "a", 'elements HAS ALL "S" AND nelements=1': "b"}
        name = systems.get(request.query["filter"])
        return page(name) if name else page()

    with StubServer(answer) as server:
        assert [known.id for known in read_optimade(server.url, ELEMENTS, QUICK).structures] == ["a", "b"]
        assert len(server.requests) == 1 + 7


def test_a_refusal_is_told_with_the_servers_words() -> None:
    message, requests = failure(lambda request: Answer({"errors": [{"detail": "no such path"}]}, 404))
    assert message == "SERVER/v1/structures: answers 404: no such path"
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(b"<html>Welcome</html>"), "its answer is no JSON: '<html>Welcome</html>'"),
        (Answer(b"[" * 100_000), "its answer is no JSON"),
        (Answer([1, 2]), "not an OPTIMADE answer: it has no list called data"),
        (Answer({"data": {"id": "a"}}), "not an OPTIMADE answer"),
        (Answer(None), "not an OPTIMADE answer"),
        (
            Answer(b"", 302, {"location": "http://example.org/v1/structures"}),
            "leads to another host (http://example.org/v1/structures)",
        ),
        (Answer(b"", 302, {"location": "/v1/structures"}), "five redirections and no answer"),
        (Answer(b"", 302, {"location": "http://[::1"}), "its answer leads to no address"),
        (page("a", following="http://169.254.169.254/latest"), "leads to another host (http://169.254.169.254/latest)"),
        (page("a", following="file:///etc/passwd"), "leads to another host (file:///etc/passwd)"),
        (page("a", following="http://127.0.0.1:1/"), "leads to another port (http://127.0.0.1:1/)"),
        (page("a", following="/v1/structures"), "its pages do not come to an end"),
    ],
)
def test_wrong_content_is_one_error(answer: Answer, told: str) -> None:
    message, _ = failure(lambda request: answer)
    assert told in message


def test_pages_without_an_end() -> None:
    numbers = count()
    fresh = lambda request: page(f"a{next(numbers)}", following={"href": f"/v1/structures?page={next(numbers)}"})  # noqa: E731
    message, requests = failure(fresh, HttpLimits(requests=6, pause_seconds=0.01))
    assert "no end after 6 pages, the most that are read" in message
    assert len(requests) == 6
    message, requests = failure(lambda request: page("a", following=f"/v1/structures?page={next(numbers)}"))
    assert "one brought nothing new and names another" in message
    assert len(requests) == 2


def test_answers_that_are_too_large() -> None:
    bomb = Answer(gzip.compress(b" " * 3_000_000), headers={"content-encoding": "gzip"})
    message, _ = failure(lambda request: bomb, HttpLimits(answer_bytes=1 << 20))
    assert "an answer of more than 1 MB" in message
    numbers = count()
    many = lambda request: page(f"a{next(numbers)}", following=f"/v1/structures?page={next(numbers)}")  # noqa: E731
    message, _ = failure(many, HttpLimits(total_bytes=1 << 15))
    assert "MB in all; ask for less" in message


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    calls = count()
    cut = Answer(b'{"data": [', headers={"content-length": "1000"})
    with StubServer(lambda request: page("a") if next(calls) else cut) as server:
        assert len(read_optimade(server.url, ELEMENTS, QUICK).structures) == 1


@pytest.mark.timing
def test_a_server_that_does_not_answer() -> None:
    given_up = threading.Event()

    def silent(request: Request) -> Answer:
        given_up.wait(300)
        return page()

    with StubServer(silent) as server:
        try:
            with pytest.raises(ProviderError) as caught:
                read_optimade(server.url, ELEMENTS, HttpLimits(silence_seconds=0.2, attempts=1))
        finally:
            given_up.set()
    message = str(caught.value).replace(server.url, "SERVER")
    assert message == "SERVER/v1/structures: no answer within 0.2 s (one attempt)"
    with pytest.raises(ProviderError, match=r"http://127.0.0.1:1/v1/structures: cannot be read \(ConnectionError\)"):
        read_optimade("http://127.0.0.1:1", ELEMENTS, QUICK)


@pytest.mark.parametrize("url", ["ftp://a.org", "a.org", "", "http://", "http://[::1", "http://a.org:x", "file:///etc/passwd"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ProviderError, match=r"not an address; allowed: http://… or https://…"):
        read_optimade(url, ELEMENTS, QUICK)


def test_passwords_in_an_address_are_not_repeated() -> None:
    assert shown_url("https://me:secret@a.org:8080/v1/structures?key=secret") == "https://a.org:8080/v1/structures"
    with pytest.raises(ProviderError) as caught:
        read_optimade("http://me:secret@127.0.0.1:1", ELEMENTS, QUICK)
    assert "secret" not in str(caught.value)


def test_bad_structures_are_counted_and_the_rest_is_kept() -> None:
    good = entry_of("good")
    huge = {"species_at_sites": ["Li"] * 1001}
    bad = [
        {"id": "nan", "attributes": {**good["attributes"], "lattice_vectors": [[float("nan")] * 3] * 3}},
        {"id": "flat", "attributes": {**good["attributes"], "lattice_vectors": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]}},
        {"id": "short", "attributes": {**good["attributes"], "cartesian_site_positions": [[0, 0, 0]]}},
        {"id": "unknown", "attributes": {**good["attributes"], "species_at_sites": ["Zz"] * 3}},
        {"id": "none", "attributes": None},
        {"attributes": good["attributes"]},
        "text",
        {"id": "huge", "attributes": huge},
    ]
    salt = {"id": "salt", "attributes": document("salt", SALT)}
    with StubServer(lambda request: Answer({"data": [*bad, salt, good, good], "meta": {"data_returned": 40}})) as server:
        found = read_optimade(server.url, ELEMENTS, QUICK)
    assert [known.id for known in found.structures] == ["good"]
    assert sum(found.left_out.values()) == len(bad) + 1
    assert found.left_out["off_system"] == 1
    assert found.left_out["too_many_atoms"] == 1
    assert found.missing == [
        f"it announced 40 structures and gave {len(bad) + 3}",
        "1 of the structures it gave are of other elements, so it did not heed the filter",
    ]
    assert (found.received, found.is_whole) == (len(bad) + 1, False)


def unread(name: str) -> dict[str, Any]:
    return {"id": name, "type": "structures", "attributes": dict.fromkeys(("lattice_vectors", "species", "species_at_sites"))}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (page("a", more_data_available=True), "gave 1 structures, says that more are available, and names no next page"),
        (page("a", more_data_available="true", data_returned="237"), "gave 1 structures of 237, says that more are available"),
        (Answer({"errors": [{"detail": "unknown filter HAS ONLY", "status": "501"}]}), "answers with errors: unknown filter"),
        (Answer({"data": [], "errors": [{"detail": "backend time out"}], "meta": {}}), "answers with errors: backend time out"),
        (Answer({"data": [entry_of("a")], "errors": {"title": "broken"}}), "answers with errors: broken"),
        (
            page(warnings=[{"detail": "HAS ONLY is not supported; an empty answer is given"}]),
            "does not heed the filter: HAS ONLY",
        ),
        (page("a", warnings=[{"detail": "The filter was ignored."}]), "does not heed the filter"),
        (Answer({"data": [unread("a"), unread("b")]}), "none of its structures of Li-P-S can be compared: 2 unreadable"),
    ],
)
def test_a_part_of_a_set_is_an_error(answer: Answer, told: str) -> None:
    message, _ = failure(lambda request: answer)
    assert told in message


def read_pages(answer: Any) -> KnownSet:
    with StubServer(answer) as server:
        return read_optimade(server.url, ELEMENTS, QUICK)


def test_what_can_be_completed_is_read() -> None:
    """A next page by another name or as an object, pages without entries, an end that the count shows, a filter put otherwise."""
    second = lambda request: "page" in request.query  # noqa: E731
    for link in ({"next_page": "/v1/structures?page=2"}, {"next": {"href": "?page=2"}}, {"next": None, "next_page": "?page=2"}):
        first = Answer({"data": [entry_of("a")], "links": link, "meta": {"more_data_available": True}})
        found = read_pages(lambda request, first=first: page("b", data_returned=2) if second(request) else first)
        assert ([known.id for known in found.structures], found.is_whole) == (["a", "b"], True)
    empty = page(following="/v1/structures?page=2")
    assert len(read_pages(lambda request: page("b") if second(request) else empty).structures) == 1
    assert read_pages(lambda request: page("a", more_data_available=True, data_returned=1)).is_whole
    only = lambda request: "ONLY" in request.query["filter"]  # noqa: E731
    for refusal_ in (
        page(warnings=[{"detail": "operator HAS ONLY ignored"}]),
        Answer({"errors": [{"detail": "no HAS ONLY", "status": "501"}]}),
        Answer({"errors": [{"detail": "filter not understood"}]}, 404),
    ):
        found = read_pages(lambda request, refusal_=refusal_: refusal_ if only(request) else page("a"))
        assert [known.id for known in found.structures] == ["a"]
    few = Answer({"errors": [{"detail": "page_limit must be at most 50"}]}, 400)
    assert read_pages(lambda request: page("a") if int(request.query["page_limit"]) <= 50 else few).is_whole


def test_what_is_missing_is_part_of_the_set() -> None:
    half = {
        "data": [entry_of("a"), unread("b"), unread("c")],
        "meta": {"data_returned": 3, "warnings": [{"detail": "slow today"}]},
    }
    found = read_pages(lambda request: Answer(half))
    assert (len(found.structures), found.received, found.is_whole) == (1, 3, False)
    assert found.left_out == {"unreadable": 2}
    assert found.notes == ["it warns: slow today"]
    found = read_pages(lambda request: page("a", data_returned="237"))
    assert found.missing == ["it announced 237 structures and gave 1"]
    salt = {"id": "salt", "attributes": document("salt", SALT)}
    found = read_pages(lambda request: Answer({"data": [entry_of("a"), salt]}))
    assert found.missing == ["1 of the structures it gave are of other elements, so it did not heed the filter"]


def test_a_part_that_is_kept_stays_a_part(tmp_path: Path) -> None:
    part = KnownSet(
        "OPTIMADE https://a.org/v1", "2026-01-02T03:04:05+00:00", ELEMENTS, [], {"unreadable": 2}, [], ["it was short"]
    )
    part.structures.append(KnownStructure("a", PHASES["Li2S"]))
    save_known_set(part, tmp_path / "kept.json")
    again = read_known_set(str(tmp_path / "kept.json"), ELEMENTS)
    assert again.source.startswith("OPTIMADE https://a.org/v1 (a part: 1 of 3 could be read; it was short), kept in ")


def test_a_file_of_which_nothing_can_be_read_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([{"jid": "a", "atoms": {}}]))
    with pytest.raises(AnalysisError, match="no structure of Li-P-S in it can be compared: 1 unreadable"):
        read_known_set(str(tmp_path / "x.json"), ELEMENTS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"structure_features": ["implicit_atoms"]}, "incomplete"),
        ({"structure_features": ["assemblies"]}, "disordered"),
        ({"assemblies": [{"sites_in_groups": [[0], [1]], "group_probabilities": [0.5, 0.5]}]}, "disordered"),
        ({"dimension_types": [1, 1, 0]}, "not_periodic"),
        ({"species_at_sites": None}, "unreadable"),
        ({"structure_features": []}, None),
    ],
)
def test_structures_that_are_not_whole_crystals(change: dict[str, Any], reason: str | None) -> None:
    assert refusal({**document("x", PHASES["Li2S"]), **change}) == reason


def test_a_date_after_which_to_ask_again() -> None:
    calls = count()
    late = Answer(b"slow down", 429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
    assert read_pages(lambda request: page("a") if next(calls) else late).is_whole


def test_vacancies_are_no_ordered_structure() -> None:
    attributes = document("x", PHASES["Li2S"])
    attributes["species"][0] = {"name": attributes["species"][0]["name"], "chemical_symbols": ["Li"], "concentration": [0.9]}
    assert refusal(attributes) == "disordered"


# --- the Materials Project

KEY = "k" * 32


def materials(request: Request) -> Answer:
    """Summaries as https://api.materialsproject.org gives them, 1,000 on the first page and the rest on the second."""
    assert request.path == "/materials/summary/"
    first = request.query["_page"] == "1"
    documents = [{"material_id": f"mp-{number}", "structure": SALT.as_dict()} for number in range(1000)]
    oxidised = PHASES["Li2S"].copy()
    oxidised.add_oxidation_state_by_element({"Li": 1, "S": -2})
    rest = [{"material_id": "mp-1153", "structure": oxidised.as_dict()}, {"material_id": "mp-2"}]
    shared = {"material_id": "mp-3", "structure": Structure(Lattice.cubic(4), [{"P": 0.5, "S": 0.5}], [[0, 0, 0]]).as_dict()}
    return Answer({"data": documents if first else [*rest, shared]})


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Send pymatgen's client to a stub."""
    from pymatgen.core import SETTINGS

    def use(url: str) -> None:
        monkeypatch.setitem(SETTINGS, "PMG_MAPI_ENDPOINT", f"{url}/")
        monkeypatch.delitem(SETTINGS, "PMG_MAPI_KEY", raising=False)
        monkeypatch.delenv("PMG_MAPI_KEY", raising=False)
        monkeypatch.setenv("MP_API_KEY", KEY)

    return use


def test_what_is_asked_of_the_materials_project(endpoint: Any) -> None:
    with StubServer(materials) as server:
        endpoint(server.url)
        found = read_materials_project(("S", "Li", "P"))
    assert [known.id for known in found.structures] == ["mp-1153"]
    assert found.left_out == {"off_system": 1000, "unreadable": 1, "disordered": 1}
    assert {r.query["_page"] for r in server.requests} == {"1", "2"}
    for request in server.requests:
        assert request.query["chemsys"] == "Li,P,S,Li-P,Li-S,P-S,Li-P-S"
        assert request.query["_fields"] == "material_id,structure"
        assert {k.lower(): v for k, v in request.headers.items()}["x-api-key"] == KEY


def test_the_key_is_never_told(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with StubServer(lambda request: Answer({"error": f"bad key {KEY}"}, 200)) as server:
        endpoint(server.url)
        with pytest.raises(ProviderError, match=r"bad key \(key\)") as caught:
            read_materials_project(ELEMENTS)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    monkeypatch.setenv("MP_API_KEY", "short")
    with pytest.raises(ProviderError, match="Invalid or old API key"):
        read_materials_project(ELEMENTS)


def test_without_a_key_there_is_no_request(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with StubServer(materials) as server:
        endpoint(server.url)
        monkeypatch.delenv("MP_API_KEY")
        with pytest.raises(ConfigError, match="no API key; set MP_API_KEY"):
            read_known_set("mp", ELEMENTS)
    assert server.requests == []


@pytest.mark.parametrize(
    ("left_out", "missing", "expected"),
    [
        ({}, [], "6 of 6 S.U.N. entries are new against x (1 structures within Li-P-S, read 2026-01-02), 0 are known there"),
        (
            {"off_system": 9},
            [],
            "6 of 6 S.U.N. entries are new against x (1 structures within Li-P-S, read 2026-01-02), 0 are known there",
        ),
        (
            {"unreadable": 4, "off_system": 9},
            ["it announced 50 structures and gave 14"],
            (
                "6 of 6 S.U.N. entries match none of the 1 structures that could be read of 5 in x (within Li-P-S, read "
                "2026-01-02; not compared: 4 unreadable; it announced 50 structures and gave 14), 0 are known there"
            ),
        ),
    ],
)
def test_the_count_says_what_could_not_be_compared(left_out: dict[str, int], missing: list[str], expected: str) -> None:
    known = KnownSet("x", "2026-01-02T03:04:05+00:00", ELEMENTS, [KnownStructure("a", SALT)], left_out, [], missing)
    count_ = NoveltyCount("S.U.N. entries", 6, [], known.describe())
    assert count_.sentence() == expected
    assert count_.to_dict()["sentence"] == expected
