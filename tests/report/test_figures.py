"""Diagrams of hulls, the map, labels and lineages of the report, against other tools and on cases made by hand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Lattice, Structure

from coevo.configs.references import load_references
from coevo.node_store.store import open_store
from coevo.report.figures.hull import HEIGHT, corner_place, hull_plot
from coevo.report.figures.hull_points import HullPoints, hull_points
from coevo.report.figures.labels_on_axes import place_labels
from coevo.report.figures.loop import lanes_of, lineage_plot, loop_plot
from coevo.report.figures.plots import new_figure, paper_style, write_plot
from coevo.report.gathering import gather
from coevo.report.motif_gallery import charge_text
from coevo.report.structure_map import choose, map_input, principal_components, script_text
from coevo.report.tables import EXCESS_COLUMN, number, stable_table, sun_table, whose_energies
from coevo.settings import Settings
from tiny_node import Coevo


def evaluation(formula: str, energy: float, kind: str = "entry", name: str = "") -> dict[str, Any]:
    composition = Composition(formula)
    return {
        "structure_id": (name or f"{formula}{energy:.6f}").ljust(64, "0"),
        "kind": kind,
        "formula": formula,
        "elements": sorted(element.symbol for element in composition),
        "energy_per_atom": energy,
        "formation_energy_per_atom": 0.0,
        "energy_above_hull": 0.0,
        "volume_per_atom": 15.0,
        "is_sun": kind == "entry",
        "duplicate_of": None,
    }


def with_energies(elements: list[str], rows: list[dict[str, Any]]) -> HullPoints:
    """Points with the energies that the store would have."""
    points = hull_points(elements, rows)
    energies = [row["energy_per_atom"] for row in points.rows]
    formation = points.hull.formation_energy(points.shares, energies)
    above = points.hull.energy_above_hull(points.shares, energies)
    for row, e_form, e_hull in zip(points.rows, formation, above, strict=True):
        row.update(formation_energy_per_atom=float(e_form), energy_above_hull=float(e_hull))
    return points


PHASES = {
    1: [("Li", -1.9), ("Li", -1.85)],
    2: [("Li", -1.9), ("S", -4.1), ("Li2S", -4.0), ("LiS", -3.9), ("Li2S", -3.8), ("Li3S", -2.6)],
    3: [
        ("Li", -1.9),
        ("P", -5.4),
        ("S", -4.1),
        ("Li2S", -4.0),
        ("Li3P", -3.7),
        ("P2S5", -4.95),
        ("Li3PS4", -4.75),
        ("LiPS3", -4.6),
    ],
    4: [
        *(("Li", -1.9), ("P", -5.4), ("S", -4.1), ("Cl", -1.8), ("Li2S", -4.0), ("Li3P", -3.7), ("LiCl", -3.8)),
        *(("P2S5", -4.95), ("Li3PS4", -4.75), ("Li6PS5Cl", -4.5), ("PCl3", -3.5)),
    ],
    5: [("Li", -1.9), ("P", -5.4), ("S", -4.1), ("Cl", -1.8), ("O", -4.9), ("Li2S", -4.0), ("Li2O", -4.8)],
}
ELEMENTS = ["Li", "P", "S", "Cl", "O"]


def made(count: int) -> HullPoints:
    elements = ["Li", "S"] if count == 2 else ELEMENTS[:count]
    rows = [evaluation(f, e, "reference" if i < count else "entry", f"{i}") for i, (f, e) in enumerate(PHASES[count])]
    return with_energies(elements, rows)


def test_tables_show_an_excess_of_electrons_where_there_is_one() -> None:
    rows = [
        {**evaluation(*phase), "space_group": 1, "nsites": 4, "iteration_added": 1, "energy_above_reference_hull": 0.0}
        for phase in [("Li", -1.9), ("S", -4.1), ("Li2S", -4.0), ("Li3S", -3.6)]
    ]
    for row, excess in zip(rows, (0.0, -2.0, 0.0, 0.25), strict=True):
        assert EXCESS_COLUMN not in stable_table(with_energies(["Li", "S"], rows), {}).columns
        row["electron_excess"] = excess
    table = stable_table(with_energies(["Li", "S"], rows), {})
    place = table.columns.index(EXCESS_COLUMN)
    assert {row[0]: row[place] for row in table.rows} == {"Li": "", "S": "", "Li₂S": "", "Li₃S": "0.25"}
    assert place in table.numeric
    assert all(len(row) == len(table.columns) for row in table.rows)
    data: Any = SimpleNamespace(sun_entries=rows)
    table = sun_table(data, 10)
    assert [row[table.columns.index(EXCESS_COLUMN)] for row in table.rows] == ["", "", "", "0.25"]
    assert table.numeric == {1, 2, 3, 5, 6}
    assert EXCESS_COLUMN not in sun_table(data, 3).columns


def test_a_refuted_phase_on_the_hull_is_marked() -> None:
    rows = [{**evaluation(*phase), "space_group": 1} for phase in [("Li", -1.9), ("S", -4.1), ("Li2S", -4.0)]]
    assert "label" not in stable_table(with_energies(["Li", "S"], rows), {}).columns
    assert whose_energies(rows) == "by this state's force field"
    for row, status in zip(rows, ("confirmed", "confirmed", "refuted"), strict=True):
        row["hull_status"] = status
    table = stable_table(with_energies(["Li", "S"], rows), {})
    place = table.columns.index("label")
    told = {row[0]: row[place] for row in table.rows}
    assert told == {"Li": "confirmed", "S": "confirmed", "Li₂S": "refuted: its energy is the label's"}
    assert {table.columns[number] for number in table.numeric} == {"formation energy (eV/atom)"}
    assert whose_energies(rows) == "by this state's force field, of refuted entries by their labels"


def test_a_state_without_a_loop_says_what_made_it() -> None:
    def why(parents: tuple[str, ...] = (), started_from: Any = None, **metrics: Any) -> str:
        view = SimpleNamespace(parents=parents, started_from=started_from)
        return loop_plot(SimpleNamespace(view=view, metrics=metrics)).missing  # type: ignore[arg-type]

    assert why() == "this is the first state of the node; no iteration has run"
    assert "made from a state of another node" in why(started_from={"node": "other", "state": "0" * 64})
    assert "made by labels that were added to its parent" in why(("0" * 64,), labels={})
    assert "a merge or an extension" in why(("0" * 64,), union={})


@pytest.mark.parametrize("count", [2, 3, 4])
def test_corners_and_facets_are_those_of_pymatgen(count: int) -> None:
    points = made(count)
    entries = [
        PDEntry(Composition(row["formula"]), row["energy_per_atom"] * Composition(row["formula"]).num_atoms)
        for row in points.rows
    ]
    diagram = PhaseDiagram(entries)
    names = [Composition(row["formula"]).reduced_formula for row in points.rows]
    stable = {entry.composition.reduced_formula for entry in diagram.stable_entries}
    assert sorted(names[row] for row in points.corners) == sorted(stable)
    facets = {frozenset(diagram.qhull_entries[i].composition.reduced_formula for i in facet) for facet in diagram.facets}
    assert {frozenset(names[row] for row in facet) for facet in points.facets()} == facets
    lines = {frozenset(pair) for facet in facets for pair in ((a, b) for a in facet for b in facet if a < b)}
    assert {frozenset(names[row] for row in pair) for pair in points.tie_lines()} == lines


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_each_number_of_elements_has_its_diagram(count: int, tmp_path: Path) -> None:
    points = made(count)
    data: Any = SimpleNamespace(
        elements=points.elements,
        references=[row for row in points.rows if row["kind"] == "reference"],
        entries=[row for row in points.rows if row["kind"] == "entry"],
        reference_names={},
        stable_threshold=0.1,
        view=SimpleNamespace(document={"config": {"curation": {"max_e_hull": 0.2}}}),
    )
    plot = hull_plot(data)
    for name in ("figures", "data"):
        (tmp_path / name).mkdir()
    write_plot(plot, tmp_path)
    axes = (tmp_path / "figures" / "hull.svg").read_text().count('<g id="axes_')
    assert axes == {1: 1, 2: 2, 3: 2, 4: 5, 5: 0}[count]
    assert bool(plot.missing) == (count == 5)
    assert all("Li2S" in plot.alt for _ in range(1) if count > 1)
    tables = list(plot.tables)
    assert tables == (["hull"] if count != 4 else ["hull-Li-P-S", "hull-Li-P-Cl", "hull-Li-S-Cl", "hull-P-S-Cl"])


def test_a_face_of_a_quaternary_hull_is_the_hull_of_its_elements() -> None:
    points = made(4)
    face = points.face(["Li", "P", "S"])
    whole = {points.rows[row]["structure_id"] for row in points.corners if "Cl" not in points.rows[row]["elements"]}
    assert {face.rows[row]["structure_id"] for row in face.corners} == whole


def test_only_what_can_be_seen_is_drawn() -> None:
    rows = [evaluation(f, e, "reference", f"r{i}") for i, (f, e) in enumerate(PHASES[3])]
    rows += [evaluation("Li3PS4", -4.7 - 0.01 * i, "entry", f"e{i}") for i in range(5)]
    points = with_energies(["Li", "P", "S"], rows)
    shown = [points.rows[i] for i in points.shown()]
    assert len(shown) == len({(row["kind"], row["formula"]) for row in rows}) == 9
    (entry,) = [row for row in shown if row["kind"] == "entry"]
    assert entry["energy_per_atom"] == pytest.approx(-4.74)
    energies = [row["energy_above_hull"] for row in shown]
    assert energies == sorted(energies, reverse=True)


@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda parts: sum(parts) > 0.01))
def test_places_in_the_triangle_are_barycentric(parts: list[float]) -> None:
    share = np.array(parts) / sum(parts)
    corners = np.array([corner_place(row) for row in np.eye(3)])
    assert corners.tolist() == [[0.0, 0.0], [0.5, HEIGHT], [1.0, 0.0]]
    assert corner_place(share) == pytest.approx(tuple(share @ corners), abs=1e-12)


def test_labels_do_not_overlap_and_stay_inside() -> None:
    import matplotlib.text

    with paper_style():
        figure = new_figure((90, 66))
        axes = figure.subplots()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        places = [(0.1 + 0.09 * (i % 9), 0.2 + 0.04 * (i % 5)) for i in range(25)]
        place_labels(axes, [(place, f"Li{i}PS4") for i, place in enumerate(places)], places)
        figure.draw_without_rendering()
        # of the text alone, without the line to its point
        boxes = [matplotlib.text.Text.get_window_extent(text) for text in axes.findobj(matplotlib.text.Annotation)]
    assert 3 < len(boxes) <= 25
    for index, box in enumerate(boxes):
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


# --- the map


@pytest.fixture(scope="module")
def known() -> list[Structure]:
    return [reference.structure for reference in load_references("li-p-s", ["Li", "P", "S"])]


def test_components_are_those_of_a_plain_decomposition(known: list[Structure]) -> None:
    places, explained = principal_components(known, ["Li", "P", "S"])
    assert places.shape == (len(known), 2)
    assert places.mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-12)
    assert abs(float(places[:, 0] @ places[:, 1])) < 1e-9
    assert 1 >= explained[0] >= explained[1] > 0
    assert (places**2).sum(axis=0)[0] / (places**2).sum(axis=0)[1] == pytest.approx(explained[0] / explained[1])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000))
def test_a_place_in_the_map_depends_on_the_crystal_only(known: list[Structure], seed: int) -> None:
    rng = np.random.default_rng(seed)
    others = []
    for structure in known:
        other = structure.copy()
        if len(other) < 9:
            other.make_supercell(rng.integers(1, 3, size=3).tolist())
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        lattice = Lattice(other.lattice.matrix @ rotation)
        order = rng.permutation(len(other))
        shift = rng.random(3)
        others.append(Structure(lattice, [other.species[i] for i in order], other.frac_coords[order] + shift))
    places, _ = principal_components(known, ["Li", "P", "S"])
    again, _ = principal_components(others, ["Li", "P", "S"])
    assert again == pytest.approx(places, abs=1e-6)


def test_identical_structures_have_a_map_too(known: list[Structure]) -> None:
    places, explained = principal_components([known[1]] * 3, ["Li", "P", "S"])
    assert np.abs(places).max() < 1e-9
    assert all(np.isfinite(explained))


def test_the_map_holds_the_state(finished: Coevo) -> None:
    data = gather(open_store(Settings(database=f"file:{finished.database}")), "tiny")
    rows = choose(data)
    assert [row["kind"] for row in rows] == ["reference"] * len(data.references) + ["entry"] * len(data.live_entries)
    assert choose(data, most=len(data.references) + 1)[-1]["structure_id"] == (
        data.sun_entries[0]["structure_id"]
        if data.sun_entries
        else min(data.live_entries, key=lambda row: row["energy_above_hull"])["structure_id"]
    )
    found = map_input(data, rows)
    json.dumps(found, allow_nan=False)
    assert len(found["structures"]) == len(rows)
    energies = found["properties"]["energy above hull"]
    assert energies["units"] == "eV/atom"
    assert energies["values"] == pytest.approx([row["energy_above_hull"] for row in rows], abs=1e-4)
    for row, structure in zip(rows, found["structures"], strict=True):
        stored = data.view.structure(row["structure_id"])
        assert structure["size"] == len(stored)
        assert np.reshape(structure["cell"], (3, 3)) == pytest.approx(stored.lattice.matrix, abs=1e-4)
        assert np.transpose([structure["x"], structure["y"], structure["z"]]) == pytest.approx(stored.cart_coords, abs=1e-4)


@given(st.text())
def test_no_text_can_end_the_script_that_holds_it(text: str) -> None:
    safe = script_text(json.dumps(text, ensure_ascii=False))
    assert json.loads(safe) == text
    assert not set(safe) & set("<>&\u2028\u2029")


# --- lineages


def history_of(parents: dict[str, list[str]], head: str) -> Any:
    depth: dict[str, int] = {}
    for name, above in parents.items():
        depth[name] = 1 + max((depth[parent] for parent in above), default=-1)
    views = {
        name: SimpleNamespace(id=name.ljust(64, "0"), iteration=depth[name], parents=tuple(p.ljust(64, "0") for p in above))
        for name, above in parents.items()
    }
    return SimpleNamespace(view=views[head], states=tuple(views.values()), branches={views[head].id: ["main"]})


def test_merged_histories_have_lines_of_their_own(tmp_path: Path) -> None:
    data = history_of({"a": [], "b": ["a"], "c": ["b"], "x": [], "y": ["x"], "m": ["c", "y"], "n": ["m"]}, "n")
    lanes = {name[0]: lane for name, lane in lanes_of(data).items()}
    assert lanes == {"a": 0, "b": 0, "c": 0, "m": 0, "n": 0, "x": 1, "y": 1}
    for name in ("figures", "data"):
        (tmp_path / name).mkdir()
    plot = lineage_plot(data)
    write_plot(plot, tmp_path)
    svg = (tmp_path / "figures" / "lineage.svg").read_text()
    for state in data.states:
        assert f"#state-{state.id[:16]}" in svg
    assert "7 states, 1 of them merges" in plot.alt


def test_no_two_states_share_a_place() -> None:
    parents = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["c"], "f": ["d", "e"], "g": ["f"]}
    data = history_of(parents, "g")  # type: ignore[arg-type]
    lanes = lanes_of(data)
    assert len({(view.iteration, lanes[view.id]) for view in data.states}) == len(parents)


@pytest.mark.parametrize(
    ("charge", "words"), [(None, "charge not counted"), (0, "neutral"), (-3, "charge 3\u2212"), (1, "charge 1+")]
)
def test_charges_are_written_as_chemists_do(charge: int | None, words: str) -> None:
    assert charge_text(charge) == words


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.0004, "0.000"), (-0.0004, "0.000"), (-0.0215, "\u22120.021")])
def test_numbers_have_a_true_minus(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_history_is_in_order(finished: Coevo) -> None:
    data = gather(open_store(Settings(database=f"file:{finished.database}")), "tiny")
    assert [view.iteration for view in data.line] == [0, 1, 2]
    assert all(later.parents == (earlier.id,) for earlier, later in pairwise(data.line))
