"""Training: the scale of the labels, the split by family, and the refusal of a model worse than its parent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.configs.loading import parse_config
from coevo.configs.tree import NodeSection, TrainingConfig
from coevo.errors import ConfigError
from coevo.makers.labels.training_set import replayed, scale_for, scales_for, split_for, splits_for
from coevo.makers.train_force_field import TrainForceFieldMaker, loss_ratio
from coevo.models.contracts import Prediction, TrainingFrame
from coevo.node_store.canonical import structure_document

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.0), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
LITHIUM = Structure(Lattice.cubic(3.4), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SULPHUR = Structure(Lattice.cubic(3.0), ["S"], [[0, 0, 0]])


ENERGIES = {"Li": -2.0, "S": -4.0}


class KnownField:
    """A force field whose energies are known: x_Li e_Li + x_S e_S (+ a binding energy in compounds)."""

    energy_scale = "mp2020"

    def energy(self, structure: Structure) -> float:
        shares = structure.composition.fractional_composition
        binding = -1.0 if len(shares) > 1 else 0.0
        return sum(float(shares[e]) * value for e, value in ENERGIES.items()) + binding

    def evaluate(self, structures, *, workers: int = 1, progress=None):
        return [Prediction(self.energy(s), np.zeros((len(s), 3)), np.zeros((3, 3))) for s in structures]


def label(structure: Structure, energy: float, how: str = "reference", **more) -> dict:
    return {
        "_id": f"{structure.formula}-{energy}",
        "structure": structure_document(structure),
        "family": structure.formula,
        "energy_per_atom": energy,
        "forces": np.zeros((len(structure), 3)).tolist(),
        "stress": np.zeros((3, 3)).tolist(),
        "how": how,
        "functional": "r2SCAN",
        "anion_corrected": False,
        **more,
    }


def shifted(structure: Structure, functional: str = "r2SCAN") -> dict:
    """A label on another scale: −10 eV per Li and −20 eV per S, as other pseudopotentials would give."""
    shares = structure.composition.fractional_composition
    offset = -10.0 * float(shares["Li"]) - 20.0 * float(shares["S"])
    return label(structure, KnownField().energy(structure) + offset, functional=functional)


def test_offsets_bring_labels_to_the_models_scale() -> None:
    labels = [shifted(s) for s in (LITHIUM, SULPHUR, ROCKSALT)]
    scale = scale_for(labels, None, KnownField(), ["Li", "S"], workers=1)
    assert scale.warning == ""
    for frame, structure in zip(scale.frames(labels), (LITHIUM, SULPHUR, ROCKSALT), strict=True):
        assert frame.energy == pytest.approx(KnownField().energy(structure), abs=1e-9)


def test_a_reference_with_several_labels_is_fitted_by_the_last_of_them() -> None:
    """An earlier label of the sulphide, 20 meV/atom off, would move the offsets and leave a residual twice."""
    labels = [shifted(s) for s in (LITHIUM, SULPHUR, ROCKSALT)]
    alone = scale_for(labels, None, KnownField(), ["Li", "S"], workers=1)
    earlier = {**labels[2], "_id": "earlier", "energy_per_atom": labels[2]["energy_per_atom"] + 0.02}
    several = scale_for([earlier, *labels], None, KnownField(), ["Li", "S"], workers=1)
    assert several.offsets == alone.offsets
    assert several.offsets.n == 3
    assert [r.reference for r in several.offsets.residuals] == [label["family"] for label in labels]
    other = scale_for([*labels, earlier], None, KnownField(), ["Li", "S"], workers=1)
    assert other.offsets.residual_rms > 0.001


def test_stored_offsets_are_frozen() -> None:
    first = scale_for([shifted(s) for s in (LITHIUM, SULPHUR, ROCKSALT)], None, KnownField(), ["Li", "S"], workers=1)
    stored = first.offsets.to_dict()
    moved = [label(s, 0.0) for s in (LITHIUM, SULPHUR, ROCKSALT)]
    again = scale_for(moved, stored, KnownField(), ["Li", "S"], workers=1)
    assert again.offsets == first.offsets


def test_labels_of_two_settings_meet_through_their_own_offsets() -> None:
    """The same crystals by two codes whose energies differ by a constant per element: after the offsets they agree."""
    one = [{**shifted(s), "settings_digest": "one"} for s in (LITHIUM, SULPHUR, ROCKSALT)]
    other = [{**label(s, KnownField().energy(s) + 3.0), "settings_digest": "other"} for s in (LITHIUM, SULPHUR, ROCKSALT)]
    alone = [{**shifted(ROCKSALT), "settings_digest": "third", "code": "vasp"}]
    scales = scales_for([*one, *other, *alone], {}, KnownField(), ["Li", "S"], workers=1)
    assert set(scales.by_settings) == set(scales.offsets()) == {"one", "other"}
    energies = [frame.energy for frame in scales.frames([*one, *other])]
    assert energies[:3] == pytest.approx(energies[3:], abs=1e-9)
    (warning,) = scales.warnings
    assert warning.startswith("1 labels of vasp: no labelled elemental reference of Li, S")
    # those that are stored stay as they are
    moved = [{**label(LITHIUM, 0.0), "settings_digest": "one"}]
    again = scales_for(moved, scales.offsets(), KnownField(), ["Li", "S"], workers=1)
    assert again.offsets()["one"] == scales.offsets()["one"]


def test_a_new_element_gets_an_offset_and_the_others_stay_frozen() -> None:
    """As after a merge or an extension: the stored offsets know Li only."""
    first = scale_for([shifted(LITHIUM)], None, KnownField(), ["Li"], workers=1)
    moved = label(LITHIUM, 7.0)  # would change the offset of Li, if it were fitted again
    labels = [moved, shifted(SULPHUR), shifted(ROCKSALT)]
    scale = scale_for(labels, first.offsets.to_dict(), KnownField(), ["Li", "S"], workers=1)
    assert scale.offsets.elements == ("Li", "S")
    assert scale.offsets.values == pytest.approx((10.0, 20.0), abs=1e-9)
    assert scale.frames([shifted(ROCKSALT)])[0].energy == pytest.approx(KnownField().energy(ROCKSALT), abs=1e-9)


def test_a_new_element_without_a_labelled_reference_fixes_nothing() -> None:
    first = scale_for([shifted(LITHIUM)], None, KnownField(), ["Li"], workers=1)
    scale = scale_for([shifted(LITHIUM), shifted(ROCKSALT)], first.offsets.to_dict(), KnownField(), ["Li", "S"], workers=1)
    assert scale.offsets is None
    assert "no labelled elemental reference of S" in scale.warning


def test_new_labels_follow_the_split_of_their_family_and_frame() -> None:
    """After a merge a family may be test whatever its hash says."""
    training = TrainingConfig(test_fraction=0.0, validation_fraction=0.01)
    older = [
        {"_id": "1", "family": "a", "frame": "f1", "split": "test"},
        {"_id": "2", "family": "b", "frame": "f2", "split": "validation"},
    ]
    new = [
        {"_id": "3", "family": "a", "frame": "f3", "how": "random"},
        {"_id": "4", "family": "c", "frame": "f2", "how": "random"},
        {"_id": "5", "family": "d", "frame": "f5", "how": "random"},
    ]
    assert splits_for(new, older, training, seed=1) == {"3": "test", "4": "validation", "5": "train"}


def test_compounds_alone_fix_no_offsets() -> None:
    scale = scale_for([shifted(ROCKSALT)], None, KnownField(), ["Li", "S"], workers=1)
    assert scale.offsets is None
    assert scale.warning


def test_plain_pbe_labels_get_the_anion_correction_of_mp2020_once() -> None:
    """−0.503 eV per S in compounds and none in elements (pymatgen's MP2020 table)."""
    from coevo.makers.labels.training_set import corrected_energy

    li2s = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.72), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
    plain = label(li2s, -4.0, functional="PBE")
    assert corrected_energy(plain, li2s, "mp2020") == pytest.approx(-4.0 - 0.503 / 3, abs=1e-3)
    assert corrected_energy(label(SULPHUR, -4.0, functional="PBE"), SULPHUR, "mp2020") == -4.0
    assert corrected_energy(label(li2s, -4.0, functional="PBE", anion_corrected=True), li2s, "mp2020") == -4.0
    assert corrected_energy(label(li2s, -4.0), li2s, "mp2020") == -4.0
    # a scale of raw PBE has no correction: what a corrected label holds of it is taken away, and others stay as they are
    for scale in ("pbe", "omat24"):
        assert corrected_energy(plain, li2s, scale) == -4.0
        corrected = label(li2s, -4.0, functional="PBE", anion_corrected=True)
        assert corrected_energy(corrected, li2s, scale) == pytest.approx(-4.0 + 0.503 / 3, abs=1e-3)
        assert corrected_energy(label(li2s, -4.0), li2s, scale) == -4.0
    assert corrected_energy(label(li2s, -4.0, functional="PBE", anion_corrected=True), li2s, "r2scan") == -4.0


def test_all_frames_of_a_family_share_a_split_and_references_are_trained_on() -> None:
    training = TrainingConfig(test_fraction=0.4, validation_fraction=0.3)
    found = set()
    for family in map(str, range(60)):
        splits = {split_for({"family": family, "how": how}, training, seed=1) for how in ("random", "stability")}
        assert len(splits) == 1
        found |= splits
        assert split_for({"family": family, "how": "reference"}, training, seed=1) == "train"
    assert found == {"train", "validation", "test"}


def test_replay_is_bounded_and_repeats() -> None:
    new, old = [{"_id": f"n{i}"} for i in range(3)], [{"_id": f"o{i}"} for i in range(50)]
    rows = replayed(new, old, 10, seed=3)
    assert rows[:3] == new
    assert len(rows) == 13
    assert rows == replayed(new, old, 10, seed=3)
    assert len(replayed(new, old[:5], 10, seed=3)) == 8


def test_loss_ratio_is_the_mean_of_energy_and_force() -> None:
    def errors(energy: float, force: float) -> dict:
        return {"energy_rmse_mev_per_atom": energy, "force_rmse_mev_per_angstrom": force}

    assert loss_ratio(errors(100, 200), errors(50, 200)) == pytest.approx(0.75)
    assert loss_ratio(errors(100, 200), errors(100, 200)) == 1.0
    assert loss_ratio(errors(0, 200), errors(1, 200)) > 1


class BiasedField(KnownField):
    """A force field off by a known bias, whose fit leads to another known bias."""

    family = "chgnet"
    format = "text"

    def __init__(self, bias: float, fitted_bias: float | None = None):
        self.bias = bias
        self.fitted_bias = fitted_bias

    def evaluate(self, structures, *, workers: int = 1, progress=None):
        return [
            Prediction(self.energy(s) + self.bias * (len(s.composition) > 1), np.full((len(s), 3), self.bias), np.zeros((3, 3)))
            for s in structures
        ]

    def fit(self, training, validation, settings, seed, *, progress=None):
        assert training
        assert validation
        return BiasedField(self.fitted_bias), {"epochs_run": 1}

    def save(self, path: Path) -> None:
        path.write_text(str(self.bias))


def train(monkeypatch, tmp_path, field: BiasedField, *, accept: bool = True, **training) -> dict:
    from coevo.configs.tree import NodeSection
    from coevo.makers.step import current_store
    from coevo.makers.train_force_field import TrainForceFieldMaker

    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    monkeypatch.setattr("coevo.makers.train_force_field.load_force_field", lambda store, checkpoint: field)
    maker = TrainForceFieldMaker(
        node=NodeSection(name="n", elements=("Li", "S"), references="x"),
        training=TrainingConfig(min_frames=4, **training),
        accept_scale_mismatch=accept,
    )
    references = [shifted(s) for s in (LITHIUM, SULPHUR, ROCKSALT)]
    offset = shifted(ROCKSALT)["energy_per_atom"] - KnownField().energy(ROCKSALT)
    frames = []
    for i in range(12):
        structure = ROCKSALT.copy()
        structure.scale_lattice(structure.volume * (1 + i / 100))
        frames.append(label(structure, KnownField().energy(structure) + offset, how="random"))
    rows = [
        {**row, "_id": f"{i:064d}", "status": "admitted", "settings_digest": "d", "kind": "relaxed", "code": "teacher"}
        for i, row in enumerate(references + frames)
    ]
    splits = {row["_id"]: ("train", "validation", "test")[i % 3] if i >= 3 else "train" for i, row in enumerate(rows)}
    checkpoint = {"family": "chgnet", "format": "text", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}
    return maker._train(current_store(), rows, [], splits, checkpoint, {}, 1)


def test_a_better_model_is_adopted_with_its_lineage(monkeypatch, tmp_path) -> None:
    result = train(monkeypatch, tmp_path, BiasedField(0.4, fitted_bias=0.1))
    assert result["adopted"]
    assert result["test_loss_ratio"] < 1
    assert result["checkpoint"]["parent"] == "0" * 64
    assert result["checkpoint"]["training_set"]
    assert result["test_after"]["all"]["energy_rmse_mev_per_atom"] < result["test_before"]["all"]["energy_rmse_mev_per_atom"]


def test_a_model_worse_than_its_parent_is_refused(monkeypatch, tmp_path) -> None:
    result = train(monkeypatch, tmp_path, BiasedField(0.1, fitted_bias=0.4))
    assert not result["adopted"]
    assert "worse than its parent" in result["reason"]
    assert result["checkpoint"]["sha256"] == "0" * 64


def test_training_that_is_off_or_short_of_frames_keeps_the_parent_and_says_why(monkeypatch, tmp_path) -> None:
    off = train(monkeypatch, tmp_path, BiasedField(0.4, fitted_bias=0.1), enabled=False)
    assert not off["adopted"]
    assert "switched off" in off["reason"]
    assert off["prequential"]["all"]["n"] == 15, "the error before training is measured all the same"
    assert off["offsets"]["d"], "and the offsets are frozen"


def test_offsets_are_of_the_elements_that_the_labels_hold() -> None:
    """A node of more elements than are labelled, as after an extension."""
    labels = [shifted(s) for s in (LITHIUM, SULPHUR, ROCKSALT)]
    scale = scale_for(labels, None, KnownField(), ["Cl", "Li", "P", "S"], workers=1)
    assert scale.offsets.elements == ("Li", "S")
    assert scale.offsets.values == pytest.approx((10.0, 20.0), abs=1e-9)
    # an imported crystal of an element that is no reference joins the scales as well
    anchored = [labels[0], {**labels[1], "how": "anchor"}, {**labels[2], "how": "imported"}]
    assert scale_for(anchored, None, KnownField(), ["Li", "S"], workers=1).offsets.values == pytest.approx((10.0, 20.0), abs=1e-9)


def test_what_is_test_in_any_label_of_a_family_or_frame_stays_test() -> None:
    older = [
        {"_id": "1", "family": "a", "frame": "f", "split": "test", "how": "imported"},
        {"_id": "2", "family": "a", "frame": "g", "split": "train", "how": "reference"},
    ]
    new = [{"_id": "3", "family": "a", "frame": "g", "how": "random"}]
    assert splits_for(new, older, TrainingConfig(), 0) == {"3": "test"}


def test_labels_that_offsets_do_not_bring_to_the_scale_are_refused_unless_that_is_accepted() -> None:
    """Li, S and LiS, whose binding the labels do not have: 1 eV/atom is parted into 1/1.5 (1/2, 1/2, -1), an rms of 0.471 eV."""
    labels = [shifted(LITHIUM), shifted(SULPHUR), {**shifted(ROCKSALT), "energy_per_atom": -3.0 - 15.0}]
    refused = scale_for(labels, None, KnownField(), ["Li", "S"], workers=1)
    assert refused.offsets is None
    assert "off by 471 meV/atom (rms), allowed: 30 (force field minus label: LiS −667, Li +333, S +333" in refused.warning
    accepted = scale_for(labels, None, KnownField(), ["Li", "S"], workers=1, accept_mismatch=True)
    assert accepted.warning == ""
    assert accepted.offsets.residual_rms == pytest.approx(np.sqrt(2) / 3, abs=1e-9)
    assert {r.formula: r.reference for r in accepted.offsets.residuals}["LiS"] == ROCKSALT.formula
    frozen = scale_for(labels, accepted.offsets.to_dict(), KnownField(), ["Li", "S"], workers=1)
    assert frozen.offsets == accepted.offsets, "what a state has is not fitted again, and not refused"


def test_an_extension_is_held_to_the_limit_by_its_own_references_and_records_those_of_both_fits() -> None:
    accepted = scale_for([shifted(LITHIUM)], None, KnownField(), ["Li"], workers=1)
    stored = {**accepted.offsets.to_dict(), "n": 3, "residual_rms": 0.3}
    # Li is as it was, the fit of S meets S and LiS: nothing of it is left, and of the five references 0.3 eV/atom of three
    labels = [shifted(LITHIUM), shifted(SULPHUR), shifted(ROCKSALT)]
    joined = scale_for(labels, stored, KnownField(), ["Li", "S"], workers=1)
    assert joined.warning == ""
    assert joined.offsets.residual_rms == pytest.approx(0.3 * np.sqrt(3 / 5), abs=1e-9)
    # LiS 1 eV/atom off: of S and LiS are left 0.8 (-1/2, 1), an rms of 0.632 eV/atom, also beside a good fit of Li
    far = [*labels[:2], {**shifted(ROCKSALT), "energy_per_atom": -4.0 - 15.0 + 1.0}]
    refused = scale_for(far, {**stored, "n": 1000, "residual_rms": 0.0}, KnownField(), ["Li", "S"], workers=1)
    assert refused.offsets is None
    assert "off by 632 meV/atom (rms), allowed: 30 (force field minus label: LiS" in refused.warning


def test_a_force_field_is_not_trained_on_labels_of_another_scale(monkeypatch, tmp_path) -> None:
    result = train(monkeypatch, tmp_path, BiasedField(0.4, fitted_bias=0.1), accept=False)
    assert not result["adopted"]
    assert result["offsets"] == {}
    # 0.4 eV/atom of compounds alone, over sqrt(4.5)
    assert result["reason"].startswith("15 labels of teacher: the labels do not fit the energy scale of the force field")
    assert "off by 189 meV/atom (rms)" in result["warning"]
    near = train(monkeypatch, tmp_path, BiasedField(0.06, fitted_bias=0.01), accept=False)
    assert near["adopted"], "28 meV/atom are within the limit"
    assert [row["formula"] for row in near["offsets"]["d"]["residuals"]] == ["Li", "S", "LiS"]


class Fitted:
    """A force field that notes what its fit was given."""

    def __init__(self) -> None:
        self.given: dict = {}

    def fit(self, training, validation, settings, seed, **more):
        self.given = more
        return self, {}


def watching(**training) -> TrainForceFieldMaker:
    node = NodeSection(name="watching", elements=("Li", "S"), references="li-p-s")
    return TrainForceFieldMaker(node=node, training=TrainingConfig(**training))


def test_early_stopping_is_given_the_hull_where_the_configuration_says_so():
    rows = {"train": [label(LITHIUM, -2.0), label(SULPHUR, -4.0)], "validation": [label(ROCKSALT, -4.0)]}
    frames = {
        split: [
            TrainingFrame(structure, x["energy_per_atom"], np.zeros((len(structure), 3)), np.zeros((3, 3)))
            for x, structure in zip(labels, structures, strict=True)
        ]
        for (split, labels), structures in zip(rows.items(), ([LITHIUM, SULPHUR], [ROCKSALT]), strict=True)
    }
    for labels in rows.values():
        for x in labels:
            x["kind"] = "relaxed"
    assert watching()._watch(rows, frames) is None
    watch = watching(watch_hull=True)._watch(rows, frames)
    assert watch is not None
    assert watch.energies == pytest.approx([-1.0])  # -4 against half of -2 and half of -4
    for given, expected in ((None, {"progress"}), (watch, {"progress", "watch"})):
        model = Fitted()
        watching()._fit(model, [], [], 1, given)  # type: ignore[arg-type]
        assert set(model.given) == expected  # a family that cannot watch need not know the word


def test_a_family_that_cannot_watch_the_hull_says_so():
    enough = {name: [None] * 30 for name in ("train", "validation", "test")}
    assert watching(watch_hull=True)._obstacle(enough, "chgnet") == ""  # type: ignore[arg-type]
    assert "mace cannot watch the hull" in watching(watch_hull=True)._obstacle(enough, "mace")  # type: ignore[arg-type]
    assert watching()._obstacle(enough, "mace") == ""  # type: ignore[arg-type]
    text = (
        "node: {name: n, elements: [Li, S], references: li-p-s, energy_scale: pbe}\nscreening: {force_field: {family: FAMILY}}\n"
    )
    text += "training: {watch_hull: true}\n"
    assert parse_config(text.replace("FAMILY", "sevennet"), "n").training.watch_hull
    with pytest.raises(ConfigError, match=r"training.watch_hull: got true, allowed: false with the force field mace"):
        parse_config(text.replace("FAMILY", "mace"), "n")
