"""What the report says: its numbers are the store's, missing signals are named, and no folder is harmed."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coevo.errors import ConfigError, CorruptArtifactError, ReferenceDataError, StorageError
from coevo.node_store.store import NodeStore, open_store
from coevo.report.figures.energy import energy_plot
from coevo.report.figures.environments import environment_plot
from coevo.report.figures.errors import GPA_PER_MEV_PER_CUBIC_ANGSTROM, error_plot
from coevo.report.figures.growth import growth_plot
from coevo.report.figures.held_out import held_out_plot
from coevo.report.figures.hull import hull_plot
from coevo.report.figures.loop import loop_plot
from coevo.report.figures.motifs import motif_plot
from coevo.report.figures.plots import Plot, formula_text, new_figure, paper_style, write_plot
from coevo.report.folders import MARK, check_place
from coevo.report.gathering import ReportData, gather
from coevo.report.stiffness_table import frequency_text, stiffness_section
from coevo.report.writing import write_report
from coevo.settings import Settings
from tiny_node import Coevo


@pytest.fixture(scope="module")
def store(finished: Coevo) -> NodeStore:
    return open_store(Settings(database=f"file:{finished.database}"))


@pytest.fixture
def data(store: NodeStore) -> ReportData:
    return gather(store, "tiny")


@pytest.fixture(scope="module")
def plain_report(store: NodeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the newest state, without a map."""
    folder = tmp_path_factory.mktemp("reports") / "tiny"
    write_report(store, "tiny", folder, with_map=False)
    return folder


@pytest.fixture(scope="module")
def first_report(store: NodeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the first state, which has no signal yet."""
    folder = tmp_path_factory.mktemp("reports") / "first"
    write_report(store, "tiny~2", folder, with_map=False)
    return folder


def same_files(one: Path, other: Path) -> None:
    """Each file of a report has the same bytes in the other."""
    names = json.loads((one / MARK).read_text())["files"]
    assert len(names) > 15
    assert [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()] == []


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "data" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def value(text: str) -> float | None:
    return float(text) if text else None


# --- numbers


@pytest.mark.long
def test_growth_is_what_the_states_count(report: Path, data: ReportData) -> None:
    rows = rows_of(report, "growth")
    assert [int(row["iteration"]) for row in rows] == [0, 1, 2]
    generated = 0
    for row, view in zip(rows, data.line, strict=True):
        metrics, counts = view.document["metrics"], view.document["counts"]
        generated += metrics.get("iteration", {}).get("candidates", 0)
        assert int(row["candidates (cumulative)"]) == generated
        assert int(row["entries"]) == counts["entries"] == len(list(view.entries()))
        assert int(row["S.U.N. entries"]) == metrics["population"]["sun"]
        assert int(row["labels"]) == counts.get("labels", 0)
    assert int(rows[-1]["compositions of entries"]) == len({row["formula"] for row in data.entries})
    assert 0 < float(rows[-1]["covered cells of the composition grid (fraction)"]) <= 1


def test_energies_above_hull_are_those_of_the_ruler(report: Path, data: ReportData) -> None:
    ruler = data.metrics["ruler"]
    rows = {row["iteration"]: row for row in rows_of(report, "energy-above-hull")}
    assert rows.keys() == ruler.keys() == {"1", "2"}
    values = rows_of(report, "energy-above-hull-values")
    for since, found in ruler.items():
        assert int(rows[since]["structures in the sample"]) == found["n"]
        assert value(rows[since]["ruler q50 of E_hull (eV/atom)"]) == found["q50"]
        assert value(rows[since]["ruler q95 of E_hull (eV/atom)"]) == found["q95"]
        drawn = [float(row["ruler E_hull of one structure (eV/atom)"]) for row in values if row["iteration"] == since]
        assert drawn == found["values"]
        then = data.line[int(since)].document["metrics"]["iteration"]["energy_above_hull"]["q50"]
        assert value(rows[since]["median E_hull of all relaxed candidates at that time (eV/atom)"]) == then


def test_errors_are_those_of_training(report: Path, data: ReportData) -> None:
    found = {(int(row["iteration"]), row["errors of"]): row for row in rows_of(report, "force-field-errors")}
    compared = 0
    for view in data.line[1:]:
        for when in ("prequential", "test_before", "test_after"):
            errors = (view.document["metrics"]["force_field"].get(when) or {}).get("all")
            if errors and errors["n"]:
                row = found[view.iteration, when]
                assert value(row["energy RMSE (meV/atom)"]) == errors["energy_rmse_mev_per_atom"]
                assert value(row["force RMSE (meV/angstrom)"]) == errors["force_rmse_mev_per_angstrom"]
                assert value(row["stress RMSE (GPa)"]) == errors["stress_rmse_gpa"]
                assert value(row["energy MAE (meV/atom)"]) == errors["energy_mae_mev_per_atom"]
                assert value(row["force MAE (meV/angstrom)"]) == errors["force_mae_mev_per_angstrom"]
                assert value(row["stress MAE (GPa)"]) == errors["stress_mae_gpa"]
                assert int(row["labelled frames"]) == view.document["counts"]["labels"]
                compared += 1
    assert compared == len(found) > 0


def test_all_force_fields_are_on_one_held_out_set(report: Path, data: ReportData) -> None:
    recorded = [view.document["metrics"].get("held_out") for view in data.line]
    assert recorded[-1] is not None
    rows = rows_of(report, "held-out-errors")
    assert [int(row["iteration"]) for row in rows] == [0, 1, 2]
    for row, found in zip(rows, recorded, strict=True):
        if found:
            assert found["digest"] == recorded[-1]["digest"]
            assert int(row["frames compared"]) == found["errors"]["n"] == found["frames"]
            assert value(row["energy RMSE (meV/atom)"]) == found["errors"]["energy_rmse_mev_per_atom"]
            assert value(row["force MAE (meV/angstrom)"]) == found["errors"]["force_mae_mev_per_angstrom"]
    # the state that fixed the set has those of the force field before it
    fixed = next(found for found in recorded if found)
    assert "ids" in fixed
    before = {row["model"]: row["errors"] for row in fixed["before"]}
    first = rows[0]
    if first["force field"] in before:
        assert value(first["force RMSE (meV/angstrom)"]) == before[first["force field"]]["force_rmse_mev_per_angstrom"]
    text = (report / "index.html").read_text()
    assert f"{fixed['frames']} labelled frames of {fixed['structures']} structures" in text


def test_force_fields_of_which_nothing_was_recorded_are_named(data: ReportData, tmp_path: Path) -> None:
    for view in data.line[:-1]:
        view.document["metrics"].pop("held_out", None)
    data.line[-1].document["metrics"]["held_out"].pop("before", None)
    data.line[-1].document["checkpoints"]["force_field"]["sha256"] = "0" * 64
    plot = held_out_plot(data)
    assert "Not there: the force fields of iterations 0 and 1, of which no errors on this set were recorded." in plot.caption
    assert [row[3] is None for row in plot.tables["held-out-errors"].rows] == [True, True, False]
    assert 'id="axes_' in drawn(plot, tmp_path)


def test_errors_on_another_set_are_not_drawn_with_these(data: ReportData) -> None:
    first = next(view for view in data.line if view.document["metrics"].get("held_out"))
    assert first is not data.view, "the node of the fixture has two labelled states"
    first.document["metrics"]["held_out"]["digest"] = "f" * 64
    first.document["metrics"]["held_out"].pop("before", None)
    rows = held_out_plot(data).tables["held-out-errors"].rows
    assert rows[first.iteration][3] is None or rows[first.iteration][2] == rows[-1][2]


FREQUENCIES = [231.0, 231.2, 231.4, 270.0, 270.1, 270.2]
NUMBERS = {"bulk_modulus_gpa": 29.5, "volume_per_atom": 15.4, "frequencies_cm1": FREQUENCIES, "notes": []}


def test_stiffness_is_told_with_who_labelled(data: ReportData) -> None:
    assert stiffness_section(data) is None
    labels = {**NUMBERS, "bulk_modulus_gpa": 40.8, "code": "espresso", "functional": "PBE", "settings_digest": "a" * 64}
    other = {**NUMBERS, "bulk_modulus_gpa": None, "frequencies_cm1": None, "notes": ["bulk modulus: none"]}
    compounds = [
        {"id": "b" * 64, "formula": "Li2S", "atoms": 3, "model": NUMBERS, "labels": labels},
        {"id": "c" * 64, "formula": "Li3P", "atoms": 8, "model": other, "labels": None},
    ]
    data.metrics["stiffness"] = {"compounds": compounds, "bulk_modulus_ratio": 29.5 / 40.8, "frequency_ratio": 1.0}
    section = stiffness_section(data)
    assert section is not None
    assert section.table.rows == [
        ["Li₂S", "force field", "29.5", "15.40", "231 ×3, 270 ×3", "0.72"],
        ["", "labels: espresso, PBE", "40.8", "15.40", "231 ×3, 270 ×3", ""],
        ["Li₃P", "force field", "–", "15.40", "–", "–"],
    ]
    assert "Bulk modulus: none." in section.text
    assert "the model's own numbers" in section.text
    assert [row[:3] for row in section.data.rows] == [
        ("b" * 64, "Li2S", "force field"),
        ("b" * 64, "Li2S", "labels"),
        ("c" * 64, "Li3P", "force field"),
    ]


def test_an_imaginary_frequency_has_a_minus() -> None:
    assert frequency_text([-33.0, 100.0, 100.5]) == "−33, 100 ×2"


def test_entropies_are_those_of_the_states(report: Path, data: ReportData) -> None:
    rows = rows_of(report, "environments")
    last = [row for row in rows if int(row["iteration"]) == data.view.iteration and row["centre atoms"] == "all"]
    entropies = [data.metrics[kind] for kind in ("entropy", "entropy_multicomponent") if data.metrics[kind]]
    assert [value(row["entropy (nats)"]) for row in last] == [found["mean"] for found in entropies]
    assert [value(row["ln N (nats)"]) for row in last] == [found["ln_n"] for found in entropies]


def test_entries_and_the_hull_are_those_of_the_store(report: Path, data: ReportData) -> None:
    rows = rows_of(report, "sun-entries")
    stored = {row["structure_id"]: row for row in data.view.entries({"is_sun": True})}
    assert [row["id"] for row in rows] == sorted(stored, key=lambda name: (stored[name]["energy_above_hull"], name))
    for row in rows:
        assert value(row["energy above hull (eV/atom)"]) == stored[row["id"]]["energy_above_hull"]
        assert row["formula"] == stored[row["id"]]["formula"]
    everything = {row["structure_id"]: row for row in data.view.evaluations()}
    for row in rows_of(report, "hull"):
        assert value(row["formation energy (eV/atom)"]) == everything[row["id"]]["formation_energy_per_atom"]
        assert row["on the hull"] == "False" or everything[row["id"]]["energy_above_hull"] < 1e-9


def test_the_page_has_hashes_in_full_and_says_who_labelled(report: Path, data: ReportData) -> None:
    text = (report / "index.html").read_text()
    for checkpoint in data.view.document["checkpoints"].values():
        assert checkpoint["sha256"] in text
    for label in data.view.labels():
        assert label["settings_digest"] in text
    assert "not first-principles calculations" in text
    assert text.count("labels: CHGNet r2scan, a teacher, no first principles") == 4, "below each table of errors or S.U.N."
    assert "What the energy offsets of the labels leave of each reference" in text
    (offsets,) = data.view.manifest["offsets"].values()
    for residual in offsets["residuals"]:
        assert residual["reference"][:16] in text
    assert data.view.id in text
    assert str(data.view.document["config"]["maturity"]["ruler_size"]) in text
    for signal in data.metrics["maturity"]["signals"]:
        assert signal["status"] in text
    assert "file://" not in text


@pytest.mark.long
def test_the_same_state_gives_the_same_bytes_on_two_cores(plain_report: Path, store: NodeStore, tmp_path: Path) -> None:
    write_report(store, "tiny", tmp_path / "again", with_map=False, workers=2)
    assert len(json.loads((plain_report / MARK).read_text())["files"]) > 25
    same_files(plain_report, tmp_path / "again")


# --- signals that are not there


def drawn(plot: Plot, folder: Path) -> str:
    """SVG of a figure."""
    for name in ("figures", "data"):
        (folder / name).mkdir(exist_ok=True)
    write_plot(plot, folder)
    assert (folder / "figures" / f"{plot.name}.png").stat().st_size > 1000
    return (folder / "figures" / f"{plot.name}.svg").read_text()


def words_of(svg: str) -> str:
    """Text of a figure, whose letters are paths; matplotlib repeats it in comments, line by line."""
    return " ".join(re.findall(r"<!-- (.*?) -->", svg))


@pytest.mark.parametrize(
    "make",
    [loop_plot, growth_plot, energy_plot, environment_plot, error_plot, held_out_plot, lambda data: motif_plot(data, [])],
)
def test_a_first_state_has_reasons_in_place_of_axes(make: Callable[[ReportData], Plot], store: NodeStore, tmp_path: Path) -> None:
    plot = make(gather(store, "tiny~2"))
    assert plot.missing
    assert plot.missing in plot.alt
    svg = drawn(plot, tmp_path)
    assert "no signal: " in words_of(svg)
    assert 'id="axes_' not in svg


def test_a_first_state_has_a_report(first_report: Path) -> None:
    text = (first_report / "index.html").read_text()
    assert text.count("No signal: ") == 7
    assert "No entry of this state is stable, unique and novel" in text
    assert not (first_report / "structures").exists()
    assert 'id="axes_' in (first_report / "figures" / "hull.svg").read_text()


def without(data: ReportData, change: Callable[[dict[str, Any]], None]) -> ReportData:
    for view in data.line:
        change(view.document["metrics"])
    return data


def test_states_of_before_are_drawn_with_what_they_have(data: ReportData, tmp_path: Path) -> None:
    def older(metrics: dict[str, Any]) -> None:
        for name in ("entropy_multicomponent", "new_environments"):
            metrics.pop(name, None)
        metrics["ruler"] = {k: {q: v[q] for q in ("q05", "q25", "q50", "q75", "q95")} for k, v in metrics["ruler"].items()}
        for when in ("prequential", "test_before", "test_after"):
            errors = ((metrics.get("force_field") or {}).get(when) or {}).get("all")
            if errors and "stress_rmse_gpa" in errors:
                errors["stress_rmse_mev_per_cubic_angstrom"] = errors.pop("stress_rmse_gpa") / GPA_PER_MEV_PER_CUBIC_ANGSTROM

    before = error_plot(data).tables["force-field-errors"].rows
    old = without(data, older)
    after = error_plot(old).tables["force-field-errors"].rows
    assert [row[6] for row in after] == pytest.approx([row[6] for row in before], rel=1e-12)
    energies = energy_plot(old)
    assert not energies.missing
    assert energies.tables["energy-above-hull-values"].rows == []
    assert all(row[1] is None for row in energies.tables["energy-above-hull"].rows)
    assert 'id="axes_' in drawn(energies, tmp_path)
    environments = environment_plot(old)
    if not environments.missing:
        assert "no signal: these states do not keep it" in words_of(drawn(environments, tmp_path))


def test_numbers_that_are_no_numbers_are_one_error(data: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.metrics["ruler"] = {"1": {"q50": "many"}}
    monkeypatch.setattr("coevo.report.writing.gather", lambda store, ref: data)
    with pytest.raises(CorruptArtifactError, match="coevo show"):
        write_report(None, "tiny", tmp_path / "bad", with_map=False)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# --- drawing


def test_text_of_strangers_is_never_set_as_mathematics(data: ReportData, tmp_path: Path) -> None:
    data.branches[data.view.id] = ["$\\frac{1}{2$"]
    from coevo.report.figures.loop import lineage_plot

    assert "frac" in drawn(lineage_plot(data), tmp_path)


def test_a_user_of_another_style_gets_the_same_figures(data: ReportData, tmp_path: Path) -> None:
    import matplotlib as mpl

    own = drawn(growth_plot(data), tmp_path)
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "text.parse_math": True, "svg.hashsalt": "mine"}):
        assert drawn(growth_plot(data), tmp_path) == own
        assert mpl.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    ("formula", "shown"),
    [("Li3PS4", "Li₃PS₄"), ("Li2(PS3)3", "Li₂(PS₃)₃"), ("S", "S"), ("<b>2</b>", "<b>2</b>"), ("2 S", "2 S"), ("", "")],
)
def test_formulas_have_subscripts(formula: str, shown: str) -> None:
    assert formula_text(formula) == shown


def test_panels_fit_into_their_figure(data: ReportData) -> None:
    """No text of a figure is cut off at its edge."""
    import matplotlib.text

    for make in (loop_plot, growth_plot, energy_plot, environment_plot, error_plot, hull_plot):
        plot = make(data)
        with paper_style():
            figure = new_figure(plot.size)
            plot.draw_into(figure)
            figure.draw_without_rendering()
            box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
            labels = [text.get_window_extent() for text in figure.findobj(matplotlib.text.Annotation)]
        assert -0.01 <= box.x0 <= box.x1 <= width + 0.01, plot.name
        assert -0.01 <= box.y0 <= box.y1 <= height + 0.01, plot.name
        for label in labels:
            assert 0 <= label.x0 <= label.x1 <= figure.bbox.x1, plot.name
            assert 0 <= label.y0 <= label.y1 <= figure.bbox.y1, plot.name


# --- folders


def test_a_folder_with_other_things_is_refused(store: NodeStore, tmp_path: Path) -> None:
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(ConfigError, match="mine"):
            write_report(store, "tiny", other, with_map=False, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (other / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ConfigError, match="no directory"):
        check_place(other / "thesis.txt", force=True)


@pytest.mark.long
def test_a_former_report_is_replaced_only_on_demand_and_only_itself(plain_report: Path, store: NodeStore, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "report"
    write_report(store, "tiny~1", folder, with_map=False)
    first = (folder / "index.html").read_bytes()
    with pytest.raises(ConfigError, match="--force"):
        write_report(store, "tiny", folder, with_map=False)
    assert (folder / "index.html").read_bytes() == first
    (folder / "notes.txt").write_text("remember")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        write_report(store, "tiny", folder, with_map=False, force=True)
    (folder / "notes.txt").unlink()
    write_report(store, "tiny", folder, with_map=False, force=True)
    assert (folder / "index.html").read_bytes() == (plain_report / "index.html").read_bytes()
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


@pytest.mark.long
def test_the_directory_that_one_is_in_can_be_filled_with_the_same_bytes(
    first_report: Path, store: NodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_report(store, "tiny~2", Path(), with_map=False)
    same_files(first_report, tmp_path / "here")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "here").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_report_that_fails_leaves_nothing(store: NodeStore, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    with pytest.raises(ReferenceDataError):
        write_report(store, "tiny", folder, targets=str(tmp_path / "absent.json"), with_map=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another place"):
        write_report(store, "tiny", tmp_path / "file" / "report", with_map=False)


@pytest.mark.long
def test_known_phases_are_looked_for(store: NodeStore, tmp_path: Path) -> None:
    write_report(store, "tiny", tmp_path / "report", targets="li-p-s", with_map=False)
    rows = rows_of(tmp_path / "report", "rediscovery")
    assert len(rows) == 14
    references = store.state("tiny").document["counts"]["references"]
    assert sum(row["a reference of the state"] == "True" for row in rows) == references


@pytest.mark.parametrize("name", ["matplotlib", "jinja2"])
def test_a_missing_package_is_one_clear_error(
    name: str, store: NodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"{name}.*pip install 'coevo\[report\]'"):
        write_report(store, "tiny", tmp_path / "report", with_map=False)


def test_without_chemiscope_there_is_a_way(store: NodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coevo.report.structure_map.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--without-map"):
        write_report(store, "tiny", tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_wrote(finished: Coevo, tmp_path: Path) -> None:
    done = finished("report", "tiny~2", "--output", str(tmp_path / "report"), "--without-map")
    assert "without a map" in done.stderr
    assert str(tmp_path / "report" / "index.html") in done.stderr.replace("\n", "")
    assert "coevo: " in finished("report", "tiny@absent", "--output", str(tmp_path / "other"), code=2).stderr
    assert "coevo: " in finished("report", "tiny", "--output", str(tmp_path / "report"), code=2).stderr


def test_help_names_the_options() -> None:
    from coevo.app.cli import app

    text = CliRunner().invoke(app, ["report", "--help"], env={"COLUMNS": "120", "TERM": "dumb"}).output
    for option in ("--output", "--targets", "--without-map", "--force"):
        assert option in text
