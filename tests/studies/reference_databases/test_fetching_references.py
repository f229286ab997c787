"""Fetching references from databases that behave as the real ones do: sub-systems, faults, resuming, joining, the file."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from coevo.configs.references import load_references
from coevo.errors import ConfigError, ProviderError, ReferenceDataError, StorageError
from coevo.studies.known_sets.http_json import HttpLimits
from coevo.studies.known_sets.known_sets import read_known_set
from coevo.studies.reference_databases.reference_files import answers_question, fetch_into, question
from coevo.studies.reference_databases.sources import Database, databases_of, split_databases
from crystal_piles import displaced, known_phases
from fake_databases import OQMD, MaterialsProject, OptimadeDatabase, summary
from stub_server import Answer, StubServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from coevo.studies.reference_databases.reference_files import Fetched

ELEMENTS = ("Li", "P", "S")
SYSTEMS = ["Li", "P", "S", "Li-P", "Li-S", "P-S", "Li-P-S"]
PHASES = known_phases(32)
QUICK = HttpLimits(connect_seconds=300.0, pause_seconds=0.01, silence_seconds=300.0, attempts=3)
KEY = "k" * 32


def elemental(symbol: str) -> str:
    return next(name for name, s in PHASES.items() if s.symbol_set == (symbol,))


def of(system: str) -> list[str]:
    return [name for name, s in PHASES.items() if "-".join(sorted(s.symbol_set)) == system]


@pytest.fixture
def database() -> OptimadeDatabase:
    """All small phases of Li-P-S, each with energies that tell it from the others."""
    return OptimadeDatabase({f"agm{n}": (s, 0.01 * n, -0.1 * n) for n, s in enumerate(PHASES.values())})


def fetched(path: Path, databases: list[Database], **options: Any) -> Fetched:
    return fetch_into(path, databases, ELEMENTS, **{"max_e_hull": None, "limits": QUICK, "say": lambda line: None, **options})


def at(server: StubServer, name: str = "alexandria") -> list[Database]:
    return databases_of([f"{name}@{server.url}"])


def items_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["phases"]
    return found


# --- what is asked, and the file


def test_every_sub_system_is_asked_and_the_file_is_one_of_references(database: OptimadeDatabase, tmp_path: Path) -> None:
    database.version = "2026.1"
    with StubServer(database) as server:
        found = fetched(tmp_path / "r.json", at(server))
        shown = f"alexandria at {server.url}"
    assert database.asked == SYSTEMS
    assert all("HAS ONLY" not in request.query.get("filter", "") for request in server.requests)
    references = load_references(str(tmp_path / "r.json"), ELEMENTS)
    assert {r.name.split()[0] for r in references} == set(database.rows)
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-4, stol=1e-4, angle_tol=0.01)
    for reference in references:
        number = int(reference.name.split()[0].removeprefix("agm"))
        assert matcher.fit(reference.structure, list(PHASES.values())[number])
        assert reference.licence == "CC-BY-4.0"
    item = next(item for item in items_of(tmp_path / "r.json") if item["name"].startswith("agm3 "))
    (told,) = item["databases"]
    assert told | {"fetched_at": "", "modified": ""} == {
        "database": shown,
        "id": "agm3",
        "version": "2026.1",
        "fetched_at": "",
        "modified": "",
        "licence": "CC-BY-4.0",
        "energy_above_hull": 0.03,
        "formation_energy_per_atom": pytest.approx(-0.3),
    }
    assert not (tmp_path / "r.json.part").exists()
    assert sum(count_.kept for count_ in found.joined.counts) == len(PHASES)
    # and a known set for rediscover, with nothing left out
    again = read_known_set(str(tmp_path / "r.json"), ELEMENTS)
    assert (len(again.structures), again.left_out) == (len(PHASES), {})


def test_a_reader_of_has_only_would_have_got_a_part(database: OptimadeDatabase) -> None:
    """The rule of OQMD's server, which the stand-in has: the reason for the seven questions."""
    with StubServer(database) as server:
        import requests

        asked = {"filter": 'elements HAS ONLY "Li","P","S"', "page_limit": "100", "response_fields": "nelements"}
        database.page_size = 100
        answer = requests.get(f"{server.url}/v1/structures", params=asked, timeout=60).json()
    assert len(answer["data"]) == len(of("Li-P-S")) < len(PHASES)
    assert answer["meta"]["data_returned"] == len(of("Li-P-S"))


def test_licences(database: OptimadeDatabase, tmp_path: Path) -> None:
    with StubServer(database) as server:
        unknown = fetched(tmp_path / "a.json", at(server, "oqmd"), max_e_hull=0.1, complete=False)
        assert (unknown.answers[0].licence, items_of(tmp_path / "a.json")[0]["licence"]) == ("", "unknown")
        database.info = {"available_licenses": ["CC0-1.0\x1b[31m"], "license": {"href": "https://a.org"}}
        told = fetched(tmp_path / "b.json", at(server))
        assert (told.answers[0].licence, told.answers[0].licence_source) == ("CC0-1.0 [31m", "its /info")
        database.info = {"license": {"href": "https://a.org/terms"}}
        assert fetched(tmp_path / "c.json", at(server)).answers[0].licence == "https://a.org/terms"


# --- faults


def test_time_outs_then_success(database: OptimadeDatabase, tmp_path: Path) -> None:
    calls = count()
    database.faults["Li-P"] = lambda: Answer(b"<html>Gateway Time-out</html>", 504) if next(calls) < 2 else None
    with StubServer(database) as server:
        found = fetched(tmp_path / "r.json", at(server))
    assert len(found.joined.phases) == len(PHASES)
    assert database.asked.count("Li-P") == 3


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(b"<html>Gateway Time-out</html>", 504), "answers 504: <html>Gateway Time-out</html> (3 attempts)"),
        (Answer(b"<!DOCTYPE html><html>Sorry</html>"), "its answer is no JSON: '<!DOCTYPE html><html>Sorry</html>'"),
        (Answer({"data": [], "meta": {"more_data_available": True}}), "says that more are available, and names no next page"),
    ],
)
def test_a_sub_system_that_fails_is_named_and_the_rest_is_kept(
    database: OptimadeDatabase, tmp_path: Path, answer: Answer, told: str
) -> None:
    database.faults["Li-P"] = lambda: answer
    said: list[str] = []
    with StubServer(database) as server:
        with pytest.raises(ProviderError) as caught:
            fetched(tmp_path / "r.json", at(server))
        message = str(caught.value).replace(server.url, "SERVER")
        assert message.startswith(
            "references: 1 of 7 sub-systems could not be read: alexandria at SERVER Li-P: SERVER/v1/structures:"
        )
        assert told in message
        assert f"the 6 that were read are kept in {tmp_path / 'r.json.part'}: the same command goes on there" in message
        assert not (tmp_path / "r.json").exists()
        assert database.asked[-3:] == SYSTEMS[-3:]  # those after it were asked all the same
        database.faults.clear()
        database.asked.clear()
        found = fetched(tmp_path / "r.json", at(server), say=said.append)
        assert database.asked == ["Li-P"]
        assert len(found.joined.phases) == len(PHASES)
        assert said[0].startswith(f"alexandria at {server.url}: 6 of 7 sub-systems are kept in ")
        assert not (tmp_path / "r.json.part").exists()


def test_a_database_that_is_down(database: OptimadeDatabase, tmp_path: Path) -> None:
    """It is left alone after two failures; the other one is asked, and kept."""
    with StubServer(database) as server:
        with pytest.raises(ProviderError) as caught:
            fetched(tmp_path / "r.json", databases_of(["oqmd@http://127.0.0.1:1", f"alexandria@{server.url}"]))
        message = str(caught.value)
        assert message.startswith(
            "references: 7 of 14 sub-systems could not be read: oqmd at http://127.0.0.1:1 Li: http://127.0.0.1:1/v1/structures: "
            "cannot be read (ConnectionError) (3 attempts); oqmd at http://127.0.0.1:1 P: "
        )
        assert "oqmd at http://127.0.0.1:1 S, Li-P, Li-S, P-S, Li-P-S: not asked after this" in message
        assert "the 7 that were read are kept in" in message
        database.asked.clear()
        fetched(tmp_path / "r.json", at(server))  # the same answers serve a fetch without it
        assert database.asked == []


def test_killed_and_resumed(database: OptimadeDatabase, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(line: int) -> None:
        raise Killed

    def stop() -> Answer | None:
        monkey.setattr("coevo.studies.reference_databases.asking._words", kill)
        return None

    database.faults["Li-S"] = stop
    with StubServer(database) as server:
        with pytest.MonkeyPatch.context() as monkey, pytest.raises(Killed):
            fetched(tmp_path / "r.json", at(server))
        kept = sorted((tmp_path / "r.json.part").iterdir())
        assert len(kept) == 4
        assert not (tmp_path / "r.json").exists()
        kept[0].write_text(kept[0].read_text()[:50])  # cut off, as a full disk leaves it
        database.faults.clear()
        database.asked.clear()
        found = fetched(tmp_path / "r.json", at(server))
        cut = kept[0].name.split(".")[1]
        assert database.asked == [system for system in SYSTEMS if system in {cut, "Li-S", "P-S", "Li-P-S"}]
        assert len(found.joined.phases) == len(PHASES)
        database.asked.clear()
        fetched(tmp_path / "r.json", at(server), force=True)
        assert database.asked == SYSTEMS  # nothing of a finished fetch is left


def test_without_resuming_all_is_asked_anew(database: OptimadeDatabase, tmp_path: Path) -> None:
    with StubServer(database) as server:
        database.faults["P-S"] = lambda: Answer(b"", 400)
        with pytest.raises(ProviderError):
            fetched(tmp_path / "r.json", at(server))
        database.faults.clear()
        database.asked.clear()
        fetched(tmp_path / "r.json", at(server), resume=False)
    assert database.asked == SYSTEMS


def test_a_wrong_total_is_told(database: OptimadeDatabase, tmp_path: Path) -> None:
    database.announce["Li-S"] = 40
    with StubServer(database) as server:
        found = fetched(tmp_path / "r.json", at(server))
    told = [note for count_ in found.joined.counts for note in count_.notes]
    assert told == [f"it announced 40 structures of Li-S and gave {len(of('Li-S'))}"]


def test_structures_of_another_system_do_not_enter(database: OptimadeDatabase, tmp_path: Path) -> None:
    """A server that does not heed ``nelements``: each sub-system has its own question."""
    database._found = lambda filter_: ("", list(database.rows.values()))  # type: ignore[method-assign]
    with StubServer(database) as server:
        found = fetched(tmp_path / "r.json", at(server))
    assert len(found.joined.phases) == len(PHASES)
    for count_ in found.joined.counts:
        assert count_.left_out == {"off_system": len(PHASES) - len(of(count_.system))}
        assert count_.notes == [f"{count_.left_out['off_system']} of what it gave for {count_.system} are of other elements"]


# --- joining


def test_two_databases_with_the_same_phase(database: OptimadeDatabase, tmp_path: Path) -> None:
    """The first gives the geometry, a little different there; both ids and both energies stay."""
    other = OptimadeDatabase({"4061": (displaced(PHASES["Li2S"], 0.01, 1), -0.02, -1.5)}, OQMD)
    number = list(PHASES).index("Li2S")
    with StubServer(other) as oqmd, StubServer(database) as alexandria:
        found = fetched(tmp_path / "r.json", [*at(oqmd, "oqmd"), *at(alexandria)])
    item = next(item for item in items_of(tmp_path / "r.json") if item["name"] == "oqmd-4061 Li2S")
    assert [(d["id"], d["energy_above_hull"], d["formation_energy_per_atom"], d["licence"]) for d in item["databases"]] == [
        ("4061", -0.02, -1.5, ""),
        (f"agm{number}", 0.01 * number, pytest.approx(-0.1 * number), "CC-BY-4.0"),
    ]
    assert item["licence"] == "unknown"
    assert f"the same crystal: alexandria at {alexandria.url} agm{number}" in item["source"]
    given = next(iter(other.rows.values()))["cartesian_site_positions"]
    reference = next(r for r in load_references(str(tmp_path / "r.json"), ELEMENTS) if r.name == item["name"])
    difference = reference.structure.distance_matrix - crystal(given, reference.structure.lattice.matrix).distance_matrix
    assert abs(difference).max() < 1e-6
    counts = {(c.database.split()[0], c.system): (c.received, c.kept, c.duplicates) for c in found.joined.counts}
    assert counts["oqmd", "Li-S"] == (1, 1, 0)
    assert counts["alexandria", "Li-S"] == (len(of("Li-S")), len(of("Li-S")) - 1, 1)
    assert len(found.joined.phases) == len(PHASES)


def crystal(positions: Any, matrix: Any) -> Structure:
    """Atoms of one kind at Cartesian positions, for their distances."""
    return Structure(matrix, ["H"] * len(positions), positions, coords_are_cartesian=True)


def test_phases_above_the_energy_allowed_are_left_out_and_elements_stay(tmp_path: Path) -> None:
    """Li lies too high and is kept for the hull; a sulphide without a value is not; one that another database has low is."""
    li, p, s = (elemental(symbol) for symbol in ELEMENTS)
    rows = {
        "a": (PHASES[li], 0.3, 0.3),
        "b": (PHASES[p], 0.0, 0.0),
        "c": (PHASES[s], 0.0, 0.0),
        "d": (PHASES["Li2S"], 0.2, -1.0),
        "e": (PHASES["Li3P"], None, None),
        "f": (PHASES[of("P-S")[0]], 0.11, -0.1),
    }
    other = {"x": (PHASES["Li2S"], 0.05, -1.4)}
    with StubServer(OptimadeDatabase(rows)) as one, StubServer(OptimadeDatabase(other, OQMD)) as two:
        found = fetched(tmp_path / "r.json", [*at(one), *at(two, "oqmd")], max_e_hull=0.1)
    assert [phase.members[0].entry.id for phase in found.joined.phases] == ["a", "b", "c", "d"]
    assert found.joined.notes == ["Li: no structure within 0.1 eV/atom; the lowest is kept all the same (a, 0.300 eV/atom)"]
    told = {c.system: (c.kept, c.above, c.without_hull) for c in found.joined.counts if c.database.startswith("alexandria")}
    assert told == {
        "Li": (1, 0, 0),
        "P": (1, 0, 0),
        "S": (1, 0, 0),
        "Li-P": (0, 0, 1),
        "Li-S": (1, 0, 0),
        "P-S": (0, 1, 0),
        "Li-P-S": (0, 0, 0),
    }


def test_a_provider_without_known_energies_is_kept_as_a_whole(database: OptimadeDatabase, tmp_path: Path) -> None:
    with StubServer(database) as server:
        found = fetched(tmp_path / "r.json", databases_of([f"optimade:{server.url}"]), max_e_hull=0.0)
    assert len(found.joined.phases) == len(PHASES)
    assert "gives no energy above hull that is known here" in found.joined.notes[0]
    assert all("_alexandria" not in request.query.get("response_fields", "") for request in server.requests)


def test_elements_that_no_database_has_are_those_of_the_bundled_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, they are named in an error, and what was read stays."""
    with StubServer(OptimadeDatabase({"a": (PHASES["Li2S"], 0.0, -1.5), "b": (PHASES[elemental("S")], 0.0, 0.0)})) as server:
        found = fetched(tmp_path / "r.json", at(server))
        assert [note[:50] for note in found.joined.notes] == [
            "Li: no database asked has a usable structure of it",
            "P: no database asked has a usable structure of it ",
        ]
        references = load_references(str(tmp_path / "r.json"), ELEMENTS)
        assert [sorted(r.structure.symbol_set) for r in references] == [["S"], ["Li", "S"], ["Li"], ["P"]]
        bundled = {r.structure.elements[0].symbol: r for r in load_references("elements", ELEMENTS)}
        assert (references[2].source, references[2].licence) == (bundled["Li"].source, bundled["Li"].licence)
        monkeypatch.setattr("coevo.configs.references.elements_of_the_set", lambda: {"Li"})
        with pytest.raises(ReferenceDataError, match="no database asked has a usable structure of P alone"):
            fetched(tmp_path / "s.json", at(server))
        assert (tmp_path / "s.json.part").is_dir()
        part = fetched(tmp_path / "s.json", at(server), complete=False)
    assert part.joined.missing_elements == ["Li", "P"]


# --- the Materials Project


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    from pymatgen.core import SETTINGS

    def use(url: str, key: str = KEY) -> None:
        monkeypatch.setitem(SETTINGS, "PMG_MAPI_ENDPOINT", f"{url}/")
        monkeypatch.delitem(SETTINGS, "PMG_MAPI_KEY", raising=False)
        monkeypatch.delenv("PMG_MAPI_KEY", raising=False)
        monkeypatch.setenv("MP_API_KEY", key)

    return use


def test_the_materials_project(endpoint: Callable[..., None], tmp_path: Path) -> None:
    """Each material with its own licence, and the version of the database."""
    meta = {"database_version": "2025.02.12", "license": "BY-C"}
    documents = [summary(f"mp-{n}", s, 0.001 * n, -0.1, **meta) for n, s in enumerate(PHASES.values())]
    documents[-1]["builder_meta"] = {**meta, "license": "BY-NC"}
    service = MaterialsProject(documents, KEY)
    with StubServer(service) as server:
        endpoint(server.url)
        found = fetched(tmp_path / "r.json", databases_of(["mp"]), max_e_hull=0.1)
    assert service.asked == SYSTEMS
    assert len(found.joined.phases) == len(PHASES)
    items = {item["name"].split()[0]: item for item in items_of(tmp_path / "r.json")}
    last = items[f"mp-{len(PHASES) - 1}"]
    assert (last["licence"], items["mp-0"]["licence"]) == ("CC-BY-NC-4.0", "CC-BY-4.0")
    told = items["mp-2"]["databases"][0]
    assert (told["version"], told["energy_above_hull"], told["modified"]) == ("2025.02.12", 0.002, "2025-02-12T00:00:00Z")


def test_a_key_that_is_wrong_or_missing(
    endpoint: Callable[..., None], database: OptimadeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StubServer(MaterialsProject([], KEY)) as server, StubServer(database) as other:
        endpoint(server.url, "w" * 32)
        with pytest.raises(
            ProviderError, match=r"mp Li: the Materials Project refuses the key \(401\); set MP_API_KEY"
        ) as caught:
            fetched(tmp_path / "r.json", databases_of(["mp"]))
        assert "wwww" not in str(caught.value)
        assert len(server.requests) == 1
        assert str(caught.value).endswith("Li-P-S: not asked after this. Nothing was written, because it would be a part")
        monkeypatch.delenv("MP_API_KEY")
        with pytest.raises(ConfigError, match="mp: no API key; set MP_API_KEY"):
            fetched(tmp_path / "r.json", [*at(other), *databases_of(["mp"])])
        assert other.requests == []  # told before anybody is asked


# --- names and files


@pytest.mark.parametrize(
    ("given", "names", "rest"),
    [
        ("mp+alexandria", ["mp", "alexandria"], ""),
        ("alexandria + my.cif", ["alexandria"], "my.cif"),
        ("a+b.cif+oqmd+li-p-s", ["oqmd"], "a+b.cif + li-p-s"),
        ("li-p-s + my.cif", [], "li-p-s + my.cif"),
        ("there.json+mp", ["mp"], "there.json"),
        ("optimade:http://127.0.0.1:1/v1+mp+mp", ["optimade:http://127.0.0.1:1/v1", "mp"], ""),
        ("mp+there", ["mp"], "there"),
    ],
)
def test_databases_among_references(
    given: str, names: list[str], rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("[]")
    found = split_databases(given)
    assert ([database.spec for database in found[0]], found[1]) == (names, rest)


def test_a_path_of_that_name_is_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mp").mkdir()
    assert split_databases("mp") == ([], "mp")


@pytest.mark.parametrize("spec", ["nope", "", "mp@http://a.org", "oqmd@file:///etc", "optimade:", "optimade:ftp://a.org"])
def test_what_is_no_database(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed|address"):
        databases_of([spec])


def test_addresses_with_passwords_are_not_repeated(database: OptimadeDatabase, tmp_path: Path) -> None:
    with StubServer(database) as server:
        address = server.url.replace("http://", "http://me:secret@")
        fetched(tmp_path / "r.json", databases_of([f"oqmd@{address}"]), complete=False)
    assert "secret" not in (tmp_path / "r.json").read_text()


def test_a_file_that_is_there(database: OptimadeDatabase, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with StubServer(database) as server:
        where = at(server)
        asked = question(where, ELEMENTS, 0.1)
        assert not answers_question(path, asked)
        fetched(path, where, max_e_hull=0.1)
        assert answers_question(path, asked)
        before = len(server.requests)
        with pytest.raises(StorageError, match="it is there already and is not overwritten"):
            fetched(path, where)
        assert len(server.requests) == before
    with pytest.raises(ReferenceDataError, match=r"answers another question \(max_e_hull: 0.1, asked: None\)"):
        answers_question(path, question(where, ELEMENTS, None))
    path.write_text("[]")
    with pytest.raises(ReferenceDataError, match="was not fetched by coevo"):
        answers_question(path, asked)
    with pytest.raises(ReferenceDataError, match=r"got '.cif', allowed: a file called .json"):
        fetched(tmp_path / "r.cif", where)
