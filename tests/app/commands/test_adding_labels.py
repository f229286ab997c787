"""Calculations of one set of inputs, added at the command line: one scale, offsets, splits, training and a hull of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.io import write
from imported_sets import CRYSTALS, MESHES, Calculated, write_extxyz, write_vasprun
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Lattice, Structure

from coevo.models.registry import force_field_from
from tiny_node import Coevo, copy_of

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORDINGS = Path(__file__).parents[2] / "labelling" / "recordings" / "imported"
NODE = """
node:
  name: five
  elements: [Li, P, S]
  references: five.extxyz
  seed: 3
generator: {candidates: 4, shard_size: 4, max_atoms: 6}
screening: {fmax: 0.3, max_steps: 20, batch_size: 2}
curation: {max_e_hull: 2.0, stable_threshold: 0.2}
selection: {structures: 2}
labelling: {frames_per_job: 12, accept_scale_mismatch: true}
training: {epochs: 1, batch_size: 4, min_frames: 4, test_fraction: 0.2, validation_fraction: 0.2, mix_settings: true}
maturity: {environments: 20, subsamples: 2, ruler_size: 4}
"""
SHIFTS = {"Li": -7.0, "P": -11.0, "S": -23.0, "Cl": -3.0}
ANION = -0.503
"""eV per sulphur in a sulphide: MP2020's correction of PBE."""


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node of five crystals, before its first transition; copy it, do not change it."""
    directory = tmp_path_factory.mktemp("five")
    write(directory / "five.extxyz", [Calculated(s, 0.0, np.zeros((len(s), 3)), np.eye(3)).atoms() for s in CRYSTALS.values()])
    (directory / "five.yaml").write_text(NODE)
    Coevo(directory)("init", "five.yaml")
    return directory


@pytest.fixture(scope="module")
def calculated() -> dict[str, list[Calculated]]:
    """Each crystal as it is, and rattled and strained, with the numbers of CHGNet's r2SCAN weights and a constant per element."""
    return {name: frames_of(structure) for name, structure in CRYSTALS.items()}


def frames_of(structure: Structure) -> list[Calculated]:
    model, rng = force_field_from("chgnet", weights="r2scan", device="cpu"), np.random.default_rng(5)
    frames = []
    for size in (0.0, 0.06, 0.1, 0.14):
        moved = structure.copy()
        moved.apply_strain(list(size * rng.uniform(-0.4, 0.4, 3)))
        moved = Structure(
            moved.lattice, moved.species, moved.cart_coords + size * rng.normal(size=(len(moved), 3)), coords_are_cartesian=True
        )
        found = model.evaluate([moved], workers=1)[0]
        shift = sum(SHIFTS[site.specie.symbol] for site in moved)
        forces = found.forces if size else np.zeros_like(found.forces)
        frames.append(Calculated(moved, found.energy * len(moved) + shift, forces, found.stress))
    return frames


def lowest(frames: Sequence[Calculated]) -> Calculated:
    """Of the frames whose forces are small, the one of lowest energy."""
    still = [frame for frame in frames if np.linalg.norm(frame.forces, axis=1).max() <= 0.1]
    return min(still, key=lambda frame: frame.energy / len(frame.structure))


def relaxed(calculated: dict[str, list[Calculated]]) -> dict[str, float]:
    """Energies per atom of the crystals as their labels give them."""
    return {name: (best := lowest(frames)).energy / len(best.structure) for name, frames in calculated.items()}


def vaspruns(directory: Path, calculated: dict[str, list[Calculated]]) -> list[str]:
    """One vasprun.xml a crystal: metals smeared (ISMEAR 1), insulators by tetrahedra (-5), meshes by cell, versions mixed."""
    names = []
    for number, (name, frames) in enumerate(calculated.items()):
        metal = name in {"Li", "S", "P"}
        path = directory / f"vasprun.{name}.xml"
        write_vasprun(path, frames, mesh=MESHES[name], ismear=1 if metal else -5, version=f"6.{3 + number % 2}.0")
        names.append(path.name)
    return names


def added(coevo: Coevo, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(coevo("add", *arguments, "--as", "labels", "--format", "json").stdout))


def labels_of(coevo: Coevo, node: str) -> tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]:
    """Labels, manifest and evaluations of the head."""
    from coevo.node_store.store import open_store
    from coevo.settings import Settings

    view = open_store(Settings(database=f"file:{coevo.database}")).state(f"{node}@main")
    return list(view.labels()), view.manifest, [*view.evaluations("reference"), *view.evaluations("entry")]


def check_hull(evaluations: Sequence[dict[str, Any]], energies: dict[str, float]) -> None:
    """Compare energy_above_hull_dft with pymatgen's, from energies per atom of the labelled phases."""
    entries = {name: PDEntry(CRYSTALS[name].composition, energy * len(CRYSTALS[name])) for name, energy in energies.items()}
    diagram = PhaseDiagram(list(entries.values()))
    found = {e["formula"]: e["energy_above_hull_dft"] for e in evaluations if e["kind"] == "reference"}
    for name, entry in entries.items():
        assert found[name] == pytest.approx(diagram.get_e_above_hull(entry), abs=1e-6), name


@pytest.mark.long
def test_a_vasp_set_of_five_crystals_is_one_scale(five: Path, tmp_path: Path, calculated: dict[str, list[Calculated]]) -> None:
    coevo = copy_of(five, tmp_path)
    report = added(coevo, "five", *vaspruns(tmp_path, calculated))
    assert {file["settings_digest"] for file in report["files"]} == {report["files"][0]["settings_digest"]}
    assert [(file["admitted"], file["rejected"], file["families"]) for file in report["files"]] == [(4, {}, 1)] * 5
    splits = {name: file["splits"] for name, file in zip(calculated, report["files"], strict=True)}
    assert {name: splits[name] for name in ("Li", "S", "P")} == {key: {"train": 4} for key in ("Li", "S", "P")}
    assert sorted(str(splits[name]) for name in ("Li2S", "Li3PS4")) == ["{'test': 4}", "{'validation': 4}"]
    labels, manifest, evaluations = labels_of(coevo, "five")
    digest = report["files"][0]["settings_digest"]
    (offsets,) = manifest["offsets"].values()
    assert list(manifest["offsets"]) == [digest]
    # the offsets lead from the labels to the node's force field, exactly for the elements that they are fitted on
    model = force_field_from("chgnet", weights="0.3.0", device="cpu")
    for element, value in zip(offsets["elements"], offsets["values"], strict=True):
        anchor = lowest(calculated[element])
        expected = model.evaluate([anchor.structure], workers=1)[0].energy - anchor.energy / len(anchor.structure)
        assert value == pytest.approx(expected, abs=1e-4)
    assert {label["how"] for label in labels if len({s["species"][0]["element"] for s in label["structure"]["sites"]}) > 1} == {
        "imported"
    }
    sulphur = {name: s.composition["S"] / len(s) for name, s in CRYSTALS.items() if name != "S"}
    check_hull(evaluations, {name: energy + ANION * sulphur.get(name, 0.0) for name, energy in relaxed(calculated).items()})
    trained_on(coevo, "five")


def trained_on(coevo: Coevo, node: str) -> None:
    """Run a transition and see that the imported labels are trained on, validated with and tested on."""
    coevo("run", node)
    state = json.loads(coevo("show", node, "--format", "json").stdout)
    force_field = state["metrics"]["force_field"]
    assert "fit" in force_field, force_field["reason"]
    assert force_field["frames"]["train"] >= 12
    assert force_field["frames"]["validation"] >= 4
    assert force_field["frames"]["test"] >= 4
    assert set(force_field["test_before"]["how"]) >= {"imported"}


@pytest.mark.long
def test_one_extended_xyz_of_five_formulas_also_after_an_extension(
    five: Path, tmp_path: Path, calculated: dict[str, list[Calculated]]
) -> None:
    coevo = copy_of(five, tmp_path)
    frames = [frame for number in range(4) for frame in [found[number] for found in calculated.values()]]
    write_extxyz(tmp_path / "mine.extxyz", frames[:15])
    report = added(coevo, "five", "mine.extxyz", "--functional", "r2SCAN")
    (file,) = report["files"]
    assert (file["admitted"], file["families"], file["splits"]) == (15, 5, {"test": 3, "train": 9, "validation": 3})
    chloride = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.1), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    chlorine = Structure(Lattice.cubic(2.6), ["Cl"], [[0, 0, 0]])
    more = [Calculated(s, 0.0, np.zeros((len(s), 3)), np.eye(3)).atoms() for s in (chloride.get_primitive_structure(), chlorine)]
    write(tmp_path / "chlorides.extxyz", more)
    coevo("extend", "five", "--elements", "Cl", "--as", "six", "--references", "chlorides.extxyz")
    _, manifest, evaluations = labels_of(coevo, "six")
    assert list(manifest["offsets"]) == [file["settings_digest"]]
    check_hull(evaluations, relaxed({name: found[:3] for name, found in calculated.items()}))
    # what is added now is of the same settings, and meets the older labels through the same offsets
    write_extxyz(tmp_path / "more.extxyz", frames[15:])
    later = added(coevo, "six", "more.extxyz", "--functional", "r2SCAN")
    assert later["files"][0]["settings_digest"] == file["settings_digest"]
    assert later["files"][0]["splits"] == {"test": 1, "train": 3, "validation": 1}
    labels, now, evaluations = labels_of(coevo, "six")
    assert now["offsets"] == manifest["offsets"]
    assert len(labels) == 20
    check_hull(evaluations, relaxed(calculated))


def test_a_set_of_pw_outputs_is_one_scale(five: Path, tmp_path: Path) -> None:
    """Recorded outputs of pw.x 6.7 at 30 Ry: lithium, phosphorus and sulphur smeared, the compounds with fixed occupations."""
    coevo = copy_of(five, tmp_path)
    report = added(coevo, "five", *(str(RECORDINGS / f"pw.{name}.out.gz") for name in CRYSTALS))
    assert len({file["settings_digest"] for file in report["files"]}) == 1
    assert [(file["admitted"], file["rejected"]) for file in report["files"]] == [(1, {})] * 5
    splits = [next(iter(file["splits"])) for file in report["files"]]
    assert splits[:3] == ["train"] * 3
    assert sorted(splits[3:]) == ["test", "validation"]
    labels, manifest, evaluations = labels_of(coevo, "five")
    assert sorted(next(iter(manifest["offsets"].values()))["elements"]) == ["Li", "P", "S"]
    formula = {Structure.from_dict(x["structure"]).composition.reduced_formula: x for x in labels}
    sulphur = {"Li2S": 1 / 3, "Li3PS4": 4 / 8}
    check_hull(evaluations, {name: formula[name]["energy_per_atom"] + ANION * sulphur.get(name, 0.0) for name in CRYSTALS})


@pytest.mark.long
def test_each_frame_is_counted_and_nothing_admitted_changes_nothing(
    five: Path, tmp_path: Path, calculated: dict[str, list[Calculated]]
) -> None:
    coevo = copy_of(five, tmp_path)
    before = json.loads(coevo("show", "five", "--format", "json").stdout)["id"]
    good = calculated["Li3PS4"] + calculated["Li2S"]
    wild = [Calculated(f.structure, f.energy - 1e5, f.forces, f.stress) for f in (good[0], good[0])]
    write_extxyz(tmp_path / "wild.extxyz", [wild[0], Calculated(good[0].structure, -2e5, good[0].forces, good[0].stress)])
    refused = coevo("add", "five", "wild.extxyz", "--as", "labels", "--functional", "r2SCAN", code=2).stderr
    assert "nothing added, no new state: none of 2 frames is admitted, 2 rejected (2 energy_out_of_range)" in " ".join(
        refused.split()
    )
    write_extxyz(tmp_path / "good.extxyz", good)
    (tmp_path / "broken.extxyz").write_text("nothing of this kind\n")
    unread = coevo("add", "five", "good.extxyz", "broken.extxyz", "--as", "labels", "--functional", "r2SCAN", code=2).stderr
    assert "broken.extxyz" in unread
    assert json.loads(coevo("show", "five", "--format", "json").stdout)["id"] == before
    chloride = Structure(Lattice.cubic(5.0), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    foreign = Calculated(chloride, -20.0, np.zeros((2, 3)), np.zeros((3, 3)))
    flipped = [Calculated(f.structure, f.energy, -f.forces, f.stress) for f in good]
    write_extxyz(tmp_path / "mixed.extxyz", [foreign, *flipped, wild[0], wild[1]])
    done = coevo("add", "five", "mixed.extxyz", "--as", "labels", "--functional", "r2SCAN")
    said = " ".join(done.stderr.split())
    assert "8 of 11 frames admitted, 3 rejected (2 energy_out_of_range, 1 foreign_element)" in said
    assert "WARNING: mixed.extxyz: the forces are anti-correlated with the force field's" in said
    shown = " ".join(coevo("show", "five").stdout.split())
    assert "8 admitted, 3 rejected (2 energy_out_of_range, 1 foreign_element)" in shown
    assert "the forces are anti-correlated" in shown
    # the same again is nothing new
    head = json.loads(coevo("show", "five", "--format", "json").stdout)["id"]
    again = added(coevo, "five", "mixed.extxyz", "--functional", "r2SCAN")
    assert (again["labels_added"], again["id"]) == (0, head)
    # the same calculations under another word of the user take the place of what was there, and the older state keeps that
    moved = added(coevo, "five", "mixed.extxyz", "--functional", "PBE")
    labels, _, _ = labels_of(coevo, "five")
    assert moved["files"][0]["admitted"] == len([x for x in labels if x["status"] == "admitted"]) == 8
    assert {x["functional"] for x in labels if x["status"] == "admitted"} == {"PBE"}
    assert json.loads(coevo("show", f"five@{head}", "--format", "json").stdout)["counts"]["labels"] == again["counts"]["labels"]
    coevo("verify", "five")
