"""OPTIMADE servers that fail, stop, lie or send what is no crystal: read as far as that is the whole set, or one error."""

from __future__ import annotations

import gzip
import json
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from pymatgen.core import Lattice, Structure

from coevo.errors import AnalysisError, ProviderError
from coevo.studies.known_sets.http_json import HttpLimits, shown_url
from coevo.studies.known_sets.known_sets import read_known_set, save_known_set
from coevo.studies.known_sets.known_structures import KnownSet, KnownStructure
from coevo.studies.known_sets.optimade_provider import read_optimade
from coevo.studies.piles.json_entries import refusal
from crystal_piles import known_phases
from optimade_server import document
from stub_server import Answer, Request, StubServer

if TYPE_CHECKING:
    from pathlib import Path


ELEMENTS = ("Li", "P", "S")


PHASES = known_phases(32)


SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


QUICK = HttpLimits(connect_seconds=300.0, pause_seconds=0.01, silence_seconds=300.0, attempts=3)


# --- servers that misbehave


def entry_of(name: str) -> dict[str, Any]:
    attributes = document(name, PHASES["Li2S"])
    return {"id": name, "type": "structures", "attributes": {k: v for k, v in attributes.items() if k != "id"}}


def page(*names: str, following: Any = None, **meta: Any) -> Answer:
    return Answer({"data": [entry_of(name) for name in names], "links": {"next": following}, "meta": meta})


FIRST = " (sub-system Li, 1 of 7; the others are not used without it)"


def failure(answer: Any, limits: HttpLimits = QUICK) -> tuple[str, list[Request]]:
    with StubServer(answer) as server:
        with pytest.raises(ProviderError) as caught:
            read_optimade(server.url, ELEMENTS, limits)
        message = str(caught.value).replace(server.url, "SERVER")
        assert "\n" not in message
        return message.removesuffix(FIRST), server.requests


def test_a_server_that_fails_twice_is_asked_again() -> None:
    calls = count()
    with StubServer(lambda request: page("a") if next(calls) >= 2 else Answer(b"oops", 503)) as server:
        assert [known.id for known in read_optimade(server.url, ELEMENTS, QUICK).structures] == ["a"]
        assert len(server.requests) == 3 + 6


def test_a_server_that_always_fails_is_one_error() -> None:
    message, requests = failure(lambda request: Answer({"errors": [{"detail": "down\x1b[31m for\nwork"}]}, 503))
    assert message == "SERVER/v1/structures: answers 503: down [31m for work (3 attempts)"
    assert len(requests) == 3


def test_each_sub_system_is_asked_for_by_itself() -> None:
    """HAS ONLY is another question to some servers: OQMD answers it with what has all of the elements."""
    systems = {'elements HAS ALL "Li","S" AND nelements=2': "a", 'elements HAS ALL "S" AND nelements=1': "b"}

    def answer(request: Request) -> Answer:
        name = systems.get(request.query["filter"])
        return page(name) if name else page()

    with StubServer(answer) as server:
        assert [known.id for known in read_optimade(server.url, ELEMENTS, QUICK).structures] == ["a", "b"]
        assert [request.query["filter"] for request in server.requests] == [
            *(f'elements HAS ALL "{symbol}" AND nelements=1' for symbol in ELEMENTS),
            'elements HAS ALL "Li","P" AND nelements=2',
            'elements HAS ALL "Li","S" AND nelements=2',
            'elements HAS ALL "P","S" AND nelements=2',
            'elements HAS ALL "Li","P","S" AND nelements=3',
        ]


def test_a_sub_system_that_cannot_be_read_is_named_and_there_is_no_set() -> None:
    def answer(request: Request) -> Answer:
        return Answer(b"time out", 504) if '"Li","P" ' in request.query["filter"] else page("a")

    message, requests = failure(answer)
    assert message == (
        "SERVER/v1/structures: answers 504: time out (3 attempts) (sub-system Li-P, 4 of 7; the others are not used without it)"
    )
    assert len(requests) == 3 + 3


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
    assert message == f"SERVER/v1/structures: no answer within 0.2 s (one attempt){FIRST}"
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
    given = Answer({"data": [*bad, salt, good, good], "meta": {"data_returned": 40}})
    with StubServer(for_sulphides(lambda request: given)) as server:
        found = read_optimade(server.url, ELEMENTS, QUICK)
    assert [known.id for known in found.structures] == ["good"]
    assert sum(found.left_out.values()) == len(bad) + 1
    assert found.left_out["off_system"] == 1
    assert found.left_out["too_many_atoms"] == 1
    assert found.missing == [
        f"it announced 40 structures of Li-S and gave {len(bad) + 3}",
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


def for_sulphides(answer: Any) -> Any:
    """Answer so to what is asked of Li-S, and with nothing to the rest."""
    other = lambda request: '"Li","S" ' not in request.query.get("filter", '"Li","S" ')  # noqa: E731
    return lambda request: page() if other(request) else answer(request)


def read_pages(answer: Any) -> KnownSet:
    with StubServer(for_sulphides(answer)) as server:
        return read_optimade(server.url, ELEMENTS, QUICK)


def test_what_can_be_completed_is_read() -> None:
    """A next page by another name or as an object, pages without entries, an end that the count shows, smaller pages."""
    second = lambda request: "page" in request.query  # noqa: E731
    for link in ({"next_page": "/v1/structures?page=2"}, {"next": {"href": "?page=2"}}, {"next": None, "next_page": "?page=2"}):
        first = Answer({"data": [entry_of("a")], "links": link, "meta": {"more_data_available": True}})
        found = read_pages(lambda request, first=first: page("b", data_returned=2) if second(request) else first)
        assert ([known.id for known in found.structures], found.is_whole) == (["a", "b"], True)
    empty = page(following="/v1/structures?page=2")
    assert len(read_pages(lambda request: page("b") if second(request) else empty).structures) == 1
    assert read_pages(lambda request: page("a", more_data_available=True, data_returned=1)).is_whole
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
    assert found.missing == ["it announced 237 structures of Li-S and gave 1"]
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
