"""The OPTIMADE server: by the validator of the optimade package, by our own client and by pymatgen's."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from coevo.node_store.store import open_store
from coevo.node_store.views import StateView
from coevo.serve.optimade.filters import ALWAYS, NEVER, NotSupportedError, ratios, state_query
from coevo.settings import Settings
from serve_process import ServeProcess
from tiny_node import Coevo


@pytest.fixture(scope="module")
def view(coevo: Coevo) -> StateView:
    return open_store(Settings(database=f"file:{coevo.database}")).state("tiny")


def asked(server: ServeProcess, text: str, **more: str) -> list[str]:
    rest = "".join(f"&{name}={quote(value)}" for name, value in more.items())
    answer = server.get(f"/optimade/v1/structures?page_limit=500&filter={quote(text)}{rest}")
    assert answer.status == 200, answer.text
    return [row["id"] for row in json.loads(answer.text)["data"]]


def test_the_validator_finds_nothing(server: ServeProcess) -> None:
    from optimade.validator import ImplementationValidator

    validator = ImplementationValidator(base_url=f"{server.url}/optimade", run_optional_tests=True, verbosity=-1)
    validator.validate_implementation()
    results = validator.results
    assert validator.valid, results.failure_messages
    assert (results.failure_count, results.internal_failure_count) == (0, 0)
    assert results.success_count >= 44
    # /references is empty: structures of a node are cited by their state
    assert [told[1].split("?")[0] for told in results.optional_failure_messages] == ["ResponseError: Query references"]


def test_fields_of_ours_have_definitions_and_units(server: ServeProcess, view: StateView) -> None:
    told = json.loads(server.get("/optimade/v1/info/structures").text)["data"]["properties"]
    above = told["_coevo_energy_above_hull"]
    assert (above["type"], above["unit"]) == ("float", "eV/atom")
    assert above["description"]
    assert told["_coevo_is_sun"]["type"] == "boolean"
    (entry,) = json.loads(server.get("/optimade/v1/structures?page_limit=1").text)["data"]
    assert entry["attributes"]["_coevo_state"] == view.id
    assert {name for name in entry["attributes"] if name.startswith("_")} == {name for name in told if name.startswith("_")}
    versions = json.loads(server.get("/optimade/v1/info").text)["data"]["attributes"]["available_api_versions"]
    assert versions[0]["url"] == f"{server.url}/optimade/v1"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", {}),
        ("_coevo_is_sun=TRUE", {"is_sun": True}),
        ("_coevo_is_sun=FALSE", {"is_sun": False}),
        ("_coevo_dynamically_stable=TRUE", {"dynamically_stable": True}),
        ("NOT _coevo_dynamically_stable=TRUE", {"dynamically_stable": {"$ne": True}}),
        ("_coevo_dynamically_stable IS KNOWN", {"dynamically_stable": {"$in": [True, False]}}),
        ("NOT _coevo_energy_above_hull <= 0.1", {"energy_above_hull": {"$gt": 0.1}}),
        ('elements HAS ONLY "Li","S"', {"elements": {"$not": {"$elemMatch": {"$nin": ["Li", "S"]}}}}),
        ('elements HAS ALL "P","S" AND elements LENGTH 2', {"elements": {"$all": ["P", "S"]}, "nelements": 2}),
        ('nelements < 3 OR chemical_formula_reduced CONTAINS "P"', {"$or": [{"nelements": {"$lt": 3}}, {"elements": "P"}]}),
        ("nperiodic_dimensions = 3 AND structure_features LENGTH 0", {}),
        ("nperiodic_dimensions = 2", {"nsites": -1}),
        ("_other_field = 2", {"nsites": -1}),
        ("_other_field IS UNKNOWN AND lattice_vectors IS KNOWN", {}),
        ('chemical_formula_reduced CONTAINS "."', {"nsites": -1}),
        ('last_modified > "2001-01-01T00:00:00Z"', {}),
    ],
)
def test_filters_answer_as_the_state_does(server: ServeProcess, view: StateView, text: str, query: dict[str, object]) -> None:
    assert asked(server, text) == [row["structure_id"] for row in view.entries(query)]


def test_what_studies_say_is_a_field_that_is_null_where_they_say_nothing(server: ServeProcess, view: StateView) -> None:
    told = json.loads(server.get("/optimade/v1/info/structures").text)["data"]["properties"]["_coevo_dynamically_stable"]
    assert (told["type"], told["sortable"]) == ("boolean", False)
    assert "null: not known" in told["description"]
    rows = json.loads(server.get("/optimade/v1/structures?page_limit=500").text)["data"]
    said = {row["structure_id"]: row.get("dynamically_stable") for row in view.with_studied(view.entries({}))}
    assert {row["id"]: row["attributes"]["_coevo_dynamically_stable"] for row in rows} == said
    assert {True, False, None} <= set(said.values())


def test_ratios_of_elements_follow_from_formulas(server: ServeProcess, view: StateView) -> None:
    assert ratios("Li3PS4") == [0.375, 0.125, 0.5]
    wanted = [row["structure_id"] for row in view.entries({}) if 0.5 in ratios(row["chemical_formula_reduced"])]
    assert asked(server, "elements_ratios HAS 0.5") == wanted


def test_order_pages_and_one_entry(server: ServeProcess, view: StateView) -> None:
    ordered = [row["structure_id"] for row in view.entries({}, sort=[("energy_above_hull", -1)])]
    assert asked(server, "", sort="-_coevo_energy_above_hull") == ordered
    page = json.loads(server.get("/optimade/v1/structures?page_limit=2&sort=-_coevo_energy_above_hull&page_offset=1").text)
    assert [row["id"] for row in page["data"]] == ordered[1:3]
    assert page["links"]["next"].startswith(f"{server.url}/optimade/v1/structures?")
    assert page["meta"]["data_returned"] == len(ordered)
    one = json.loads(server.get(f"/optimade/v1/structures/{ordered[0]}").text)["data"]
    assert one["id"] == ordered[0]
    inside = quote('x" OR nsites > 0 OR id="', safe="")
    assert json.loads(server.get(f"/optimade/v1/structures/{inside}").text)["data"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filter=lattice_vectors%20HAS%201", 501),
        ("filter=last_modified%3D%22abc%22", 400),
        ("filter=nsites", 400),
        ("filter=nosuch%3D1", 400),
        ("filter=nsites%3D1%20nsites%3D2", 400),
        ("sort=elements", 400),
        ("sort=_coevo_dynamically_stable", 400),
        ("page_limit=501", 403),
        ("page_offset=99999999999999999999999", 400),
        ("nosuch=1", 400),
    ],
)
def test_what_cannot_be_answered_is_refused_as_the_specification_has_it(server: ServeProcess, query: str, status: int) -> None:
    answer = server.get(f"/optimade/v1/structures?{query}")
    assert answer.status == status, answer.text
    assert json.loads(answer.text)["errors"][0]["detail"]
    assert "Traceback" not in answer.text


def test_our_own_client_finds_every_entry_again(server: ServeProcess, coevo: Coevo, view: StateView) -> None:
    from coevo.studies.known_sets.optimade_provider import read_optimade

    found = read_optimade(f"{server.url}/optimade", ["Li", "P", "S"])
    assert {known.id for known in found.structures} == {row["structure_id"] for row in view.entries({})}
    assert found.missing == []
    against = f"optimade:{server.url}/optimade"
    assert json.loads(coevo("rediscover", "tiny", "--against", against, "--no-motifs", "--format", "json").stdout)


@pytest.mark.long
def test_pymatgen_reads_it(server: ServeProcess, view: StateView) -> None:
    from pymatgen.ext.optimade import OptimadeRester

    with OptimadeRester(f"{server.url}/optimade/") as rester:  # it drops what follows the last slash
        (found,) = rester.get_structures_with_filter('elements HAS "S"').values()
    wanted = {row["structure_id"] for row in view.entries({"elements": "S"})}
    assert set(found) == wanted
    for identifier, structure in found.items():
        assert structure.volume == pytest.approx(view.structure(identifier).volume)


def test_conditions_that_no_evaluation_holds_are_decided_at_once() -> None:
    constants = {"type": "structures", "nperiodic_dimensions": 3}
    assert state_query({"type": {"$eq": "structures"}}, constants, list) == ALWAYS
    assert state_query({"type": {"$eq": "references"}}, constants, list) == NEVER
    assert state_query({"chemical_formula_hill": {"$eq": "x"}}, constants, list) == NEVER
    assert state_query({"$or": [{"id": {"$eq": "x"}}, {"nsites": 2}]}, constants, list) == {
        "$or": [{"structure_id": {"$eq": "x"}}, {"nsites": 2}]
    }
    with pytest.raises(NotSupportedError, match="species"):
        state_query({"species.name": {"$eq": "x"}}, constants, list)
