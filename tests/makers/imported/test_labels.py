"""Labels of files: each frame by itself, families, anchors, splits, and what an import of the same file replaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import NodeConfig, TrainingConfig
from coevo.errors import LabellingError
from coevo.labelling.contract import LabelSettings
from coevo.labelling.imported.contract import ImportedFile, ImportedFrame
from coevo.makers.imported.labels import ImportedLabels, imported_labels
from coevo.makers.imported.settings import vouched_digest
from coevo.makers.labels.imported import without_superseded
from coevo.makers.labels.training_set import splits_for
from coevo.node_store.canonical import structure_id

LITHIUM = Structure(Lattice.cubic(3.44), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SULPHUR = Structure(Lattice.cubic(2.6), ["S"], [[0, 0, 0]])
ANTIFLUORITE = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["S", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25]])
ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ZINCBLENDE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.9), ["Li", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]])
CONFIG = NodeConfig.model_validate({"node": {"name": "n", "elements": ["Li", "S"], "references": "li-p-s"}})


class View:
    """A state with one reference, lithium, and the labels that it is given."""

    def __init__(self, labels: list[dict[str, Any]] | None = None):
        self._labels = labels or []
        self.reference = structure_id(LITHIUM)
        self.manifest = {"references": [self.reference], "structures": [], "labels": {x["_id"]: "train" for x in self._labels}}

    def labels(self) -> list[dict[str, Any]]:
        return [{**label, "split": "train"} for label in self._labels]

    def evaluations(self, kind: str) -> list[dict[str, Any]]:
        return [{"structure_id": self.reference, "formula": "Li", "energy_per_atom": -1.9}] if kind == "reference" else []

    def structure(self, identity: str, *, relaxed: bool) -> Structure:
        return LITHIUM


def rattled(structure: Structure, seed: int) -> Structure:
    rng = np.random.default_rng(seed)
    return Structure(
        structure.lattice,
        structure.species,
        structure.cart_coords + 0.08 * rng.normal(size=(len(structure), 3)),
        coords_are_cartesian=True,
    )


def frame(structure: Structure, energy: float = -3.0, force: float = 0.0, **more: Any) -> ImportedFrame:
    forces = np.zeros((len(structure), 3))
    forces[0, 0] = force
    return ImportedFrame(structure, energy, forces, 0.001 * np.eye(3), **more)


def file_of(*frames: ImportedFrame, functional: str = "PBE", **parameters: Any) -> ImportedFile:
    return ImportedFile(list(frames), LabelSettings("imported", "1", functional, False, {"source": "extxyz", **parameters}))


def labels_of(*files: ImportedFile, view: View | None = None, **options: Any) -> list[ImportedLabels]:
    named = [(f"{number}.xyz", file) for number, file in enumerate(files)]
    return imported_labels(view or View(), CONFIG, named, **options)  # type: ignore[arg-type]


def test_a_bad_frame_decides_over_itself() -> None:
    chloride = Structure(Lattice.cubic(5.0), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    nowhere = Structure(Lattice.cubic(5.0), ["Li", "S"], [[0, 0, 0], [np.nan, 0.5, 0.5]])
    flat = Structure(Lattice([[1, 0, 0], [0, 1, 0], [1, 1, 0]]), ["Li"], [[0, 0, 0]])
    (found,) = labels_of(
        file_of(
            frame(chloride),
            frame(chloride, reason="not_finite", detail="forces hold ****"),
            frame(ROCKSALT),
            frame(nowhere),
            frame(flat),
            frame(ROCKSALT, energy=float("nan")),
            frame(SULPHUR, reason="not_periodic", detail="pbc F F F"),
            frame(ANTIFLUORITE, energy=300.0),
            frame(ANTIFLUORITE, energy=301.0),
        )
    )
    assert found.admitted == 1
    assert found.reasons == {"energy_out_of_range": 2, "foreign_element": 1, "no_crystal": 2, "not_finite": 2, "not_periodic": 1}
    # two rejected frames of one geometry are one label, and what is no crystal of the node is none
    assert sorted((x["status"], x["reason"]) for x in found.labels) == [
        ("admitted", ""),
        ("rejected", "energy_out_of_range"),
        ("rejected", "not_finite"),
    ]


def test_families_are_by_composition_and_structure_and_not_by_file() -> None:
    crystals = (LITHIUM, SULPHUR, ANTIFLUORITE, ROCKSALT, ZINCBLENDE)
    frames = [frame(rattled(x, seed), -3.0 + 0.01 * seed, 0.5 * seed) for seed in range(3) for x in crystals]
    view = View()
    whole = labels_of(file_of(*frames), view=view)[0]
    assert len({x["family"] for x in whole.labels}) == 5
    lithium = {x["family"] for x in whole.labels if len(x["structure"]["sites"]) == 2}
    assert lithium == {view.reference}
    # the same frames in two files in another order: the same families
    first, second = labels_of(file_of(*frames[7:]), file_of(*frames[:7]), view=view)
    assert {x["_id"]: x["family"] for x in [*first.labels, *second.labels]} == {x["_id"]: x["family"] for x in whole.labels}
    # a later file with one of these crystals is of the family that is there
    (later,) = labels_of(file_of(frame(rattled(ZINCBLENDE, 9), -3.2)), view=View(whole.labels))
    assert later.labels[0]["family"] in {x["family"] for x in whole.labels}
    kinds = [x["kind"] for x in whole.labels]
    assert kinds == ["relaxed"] * 5 + ["path"] * 10


def test_one_frame_of_each_element_joins_the_scales() -> None:
    (found,) = labels_of(
        file_of(
            frame(rattled(LITHIUM, 1), -1.8, 0.3),
            frame(LITHIUM, -1.9),
            frame(SULPHUR, -4.0),
            frame(rattled(SULPHUR, 2), -4.1, 0.4),
            frame(ROCKSALT),
        )
    )
    assert [x["how"] for x in found.labels] == ["imported", "reference", "anchor", "imported", "imported"]
    # where an anchor of these settings is there, another crystal of the element is none
    (again,) = labels_of(file_of(frame(Structure(Lattice.cubic(3.3), ["S"], [[0, 0, 0]]), -3.9)), view=View(found.labels))
    assert [x["how"] for x in again.labels] == ["imported"]


@pytest.mark.parametrize("seed", range(6))
def test_five_crystals_leave_no_split_empty(seed: int) -> None:
    (found,) = labels_of(file_of(frame(LITHIUM, -1.9), frame(SULPHUR), frame(ANTIFLUORITE), frame(ROCKSALT), frame(ZINCBLENDE)))
    splits = splits_for(found.labels, [], TrainingConfig(test_fraction=0.1, validation_fraction=0.1), seed)
    assert set(splits.values()) == {"train", "validation", "test"}
    assert all(splits[x["_id"]] == "train" for x in found.labels if x["how"] in {"reference", "anchor"})
    # families that have labels keep their split
    older = [{**x, "split": splits[x["_id"]]} for x in found.labels]
    again = [frame(rattled(x, 3), -3.0) for x in (ANTIFLUORITE, ROCKSALT, ZINCBLENDE)]
    (more,) = labels_of(file_of(*again), view=View(found.labels))
    now = splits_for(more.labels, older, TrainingConfig(test_fraction=0.5, validation_fraction=0.5), seed)
    of_family = {x["family"]: x["split"] for x in older}
    assert all(now[x["_id"]] == of_family[x["family"]] for x in more.labels)


def test_a_file_added_again_moves_its_labels_to_the_new_digest() -> None:
    file = file_of(frame(ROCKSALT), frame(ANTIFLUORITE, energy=300.0))
    (now,) = labels_of(file)
    new_fields = ("settings_base", "settings_facts", "recorded")
    before = [{key: value for key, value in label.items() if key not in new_fields} for label in now.labels]
    old = [{**label, "_id": f"old{number}", "settings_digest": "old"} for number, label in enumerate(before)]
    other = {**old[0], "_id": "another calculation", "energy_per_atom": -2.9, "forces": [[0.1, 0.0, 0.0]] * 8}
    computed = {**old[0], "_id": "computed", "code": "espresso"}
    (again,) = labels_of(file, view=View([*old, other, computed]))
    assert [label["supersedes"] for label in again.labels] == [["old0"], ["old1"]]
    kept = {label["_id"] for label in without_superseded([*old, other, computed, *again.labels])}
    assert kept == {"another calculation", "computed", *(label["_id"] for label in again.labels)}


def test_of_two_labels_that_supersede_each_other_one_stays() -> None:
    rows = [{"_id": "b", "supersedes": ["a"]}, {"_id": "a", "supersedes": ["b"]}, {"_id": "c"}]
    assert [x["_id"] for x in without_superseded(rows)] == ["a", "c"]


def test_the_users_word_joins_what_files_leave_apart() -> None:
    (first,) = labels_of(file_of(frame(LITHIUM, -1.9)))
    older = View(first.labels).labels()
    digest = first.labels[0]["settings_digest"]
    (apart,) = labels_of(file_of(frame(SULPHUR), encut=600.0), view=View(first.labels))
    assert apart.settings.digest != digest
    other = file_of(frame(SULPHUR), encut=600.0)
    (joined,) = labels_of(other, view=View(first.labels), vouched=vouched_digest(older, digest[:8]))
    (label,) = joined.labels
    assert label["settings_digest"] == digest
    assert label["same_settings_as"] == {"digest": digest, "word": "user", "own": apart.settings.digest}
    with pytest.raises(LabellingError, match=r"0\.xyz is of r2SCAN"):
        labels_of(file_of(frame(SULPHUR), functional="r2SCAN"), view=View(first.labels), vouched=vouched_digest(older, digest))
    for prefix, message in (("ffffffff", "no such digest is there"), ("", "no such digest")):
        with pytest.raises(LabellingError, match=message):
            vouched_digest(older, prefix)
