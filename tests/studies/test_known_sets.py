"""Sets of known structures: files, a real OPTIMADE server, servers that misbehave, and what is asked of the Materials Project."""

from __future__ import annotations

import bz2
import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optimade.adapters import Structure as OptimadeStructure
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

from coevo.configs.references import load_references
from coevo.errors import AnalysisError, ConfigError, ProviderError, ReferenceDataError, StorageError
from coevo.studies.known_sets.http_json import HttpLimits, JsonReader
from coevo.studies.known_sets.known_sets import read_known_set, save_known_set
from coevo.studies.known_sets.known_structures import KnownSet, KnownStructure
from coevo.studies.known_sets.materials_project import read_materials_project
from coevo.studies.known_sets.novelty_counts import NoveltyCount
from coevo.studies.known_sets.optimade_provider import base_url, read_optimade, sub_systems, system_filter
from coevo.studies.piles.json_entries import structure_of
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
    for system in sub_systems(ELEMENTS):
        page = reader.get(
            f"{provider.url}/v1/structures", {"filter": system_filter(system), "page_limit": "10", "response_fields": "nsites"}
        )
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
