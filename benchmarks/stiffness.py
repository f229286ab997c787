"""What makes a fitted force field stiff enough: frames of labelled hull phases at several amplitudes, against today's frames.

CHGNet 0.3.0 is fitted to labels of SevenNet's 7net-l3i5, which has a stiffer Li2S. All arms train on the same labels of a node
(``--database``; that of ``benchmarks/discovery.py --arms l3i5+rules``): its references and, in whole families, as many frames of
its training split as ``--frames`` says; its validation split validates. All but "today" add labelled frames of the same phases,
one of each formula on the hull (up to ``curation.hull_window`` above it), references first: as today's (rattled by 0.05 Å in each
component, strained by up to 4 % in each component), or as ``selection.stiff_frames`` makes them, at two amplitudes; one arm has
none of Li2S. Without a database the frames are those of the bundled references.

Of each arm: bulk moduli and frequencies at Γ of the simplest references beside those of the labels
(``coevo.makers.signals.stiffness``, whose frames no arm is trained on), errors on the node's held-out set, and errors of the
reactions of labelled hull phases of the test split. "The node's own" is the force field that the node itself has after its fits,
all without frames for stiffness.

    python benchmarks/stiffness.py --folder DIRECTORY --database file:DIRECTORY/l3i5+rules-0/db
    python benchmarks/stiffness.py --folder DIRECTORY --quick     # bundled references, two epochs: does it run?

Labels, fits and what was measured of them are kept in the folder and not made again, so a run that was killed goes on. Arms and
seeds that are not run stay as the last record has them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import importlib.metadata
import json
import os
import platform
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_run import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure

    from coevo.makers.labels.training_set import Scales
    from coevo.models.contracts import ForceField, TrainingFrame
    from coevo.models.early_stopping import HullWatch

    Record = dict[str, Any]

RESULT = Path(__file__).parent / "results" / "stiffness.json"
ELEMENTS = ["Li", "P", "S"]
START = ("chgnet", "0.3.0")
LABELLER: Record = {"code": "teacher", "teacher": {"family": "sevennet", "weights": "7net-l3i5"}}
LARGEST = 44
"""Atoms of a phase whose frames are added, at most."""
COMPOUNDS = 3


@dataclass(frozen=True)
class Arm:
    """Frames that are added to today's.

    Attributes
    ----------
    strain, displacement : float
        Largest linear strain, and root-mean-square displacement in Å; both 0: rattled and strained as today's.
    frames : int
        Of each phase.
    without : tuple of str
        Formulas that get none.
    fit : dict
        Settings of the fit that differ; ``watch``: early stopping watches the hull (``training.watch_hull``); ``of_the_node``: it
        begins with the node's own force field, as its next iteration would.
    """

    strain: float = 0.0
    displacement: float = 0.0
    frames: int = 6
    without: tuple[str, ...] = ()
    fit: Record = field(default_factory=dict)


ARMS: dict[str, Arm] = {
    "today": Arm(frames=0),
    "more of today's": Arm(),
    "4 %, 0.1 Å": Arm(0.04, 0.1),
    "6 %, 0.2 Å": Arm(0.06, 0.2),
    "6 %, 0.2 Å, none of Li2S": Arm(0.06, 0.2, without=("Li2S",)),
    "6 %, 0.2 Å, slowly": Arm(0.06, 0.2, fit={"learning_rate": 1e-4}),
    "the node's own, today": Arm(frames=0, fit={"of_the_node": True}),
    "the node's own, 4 %, 0.1 Å": Arm(0.04, 0.1, fit={"of_the_node": True}),
    "the node's own, 4 %, 0.1 Å, hull watched": Arm(0.04, 0.1, fit={"of_the_node": True, "watch": True}),
}


@dataclass
class Pool:
    """Labels that all arms share.

    Attributes
    ----------
    train, validation, held_out : list of dict
        Label documents.
    phases : list of dict
        ``family``, ``formula`` and ``structure`` (document) of labelled phases on the hull.
    references : list of dict
        Reference documents.
    relaxed : list of dict
        All labels of relaxed frames, in all splits: what the hull of the labels is made of.
    source : dict
        What it was made of.
    """

    train: list[Record]
    validation: list[Record]
    held_out: list[Record]
    phases: list[Record]
    references: list[Record]
    relaxed: list[Record]
    source: Record


class Labels:
    """Labels by the labeller, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Record] = json.loads(path.read_text()) if path.exists() else {}
        self._labeller: Any = None

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Label documents of frames; those that are not known are made now."""
        from coevo.configs.tree import LabellingConfig
        from coevo.labelling.digest import settings_digest
        from coevo.makers.label import label_document
        from coevo.makers.labels.settings import labeller_for
        from coevo.node_store.canonical import structure_from_document

        missing = [record for record in records if record["id"] not in self.known]
        for start in range(0, len(missing), 20):
            if self._labeller is None:
                self._labeller = labeller_for(LabellingConfig.model_validate(LABELLER), elements=ELEMENTS)
            part = missing[start : start + 20]
            settings = self._labeller.settings()
            results = self._labeller.label([structure_from_document(record["structure"]) for record in part])
            for record, result in zip(part, results, strict=True):
                self.known[record["id"]] = label_document(record, result, settings, settings_digest(settings))
            self.path.write_text(json.dumps(self.known))
            print(f"labelled {start + len(part)} of {len(missing)}, {cpu_seconds():.0f} CPU s", flush=True)
        # a frame may be wanted for two reasons
        found = [{**self.known[record["id"]], **{k: record[k] for k in ("family", "kind", "how")}} for record in records]
        return [label for label in found if label["status"] == "admitted"]


def in_order(names: Sequence[str]) -> list[str]:
    """Ids in an order that hangs on them alone."""
    return sorted(set(names), key=lambda name: hashlib.sha256(f"stiffness {name}".encode()).hexdigest())


def whole_families(labels: Sequence[Record], most: int) -> list[Record]:
    """Labels of whole families, until there are so many."""
    found: list[Record] = []
    for family in in_order([label["family"] for label in labels]):
        if len(found) < most:
            found += [label for label in labels if label["family"] == family]
    return found


def pool_of_node(name: str, frames: int) -> Pool:
    """Labels of the last state of a node, and its labelled phases on the hull."""
    from coevo.makers.populations.population import members
    from coevo.makers.signals.held_out import held_out_of
    from coevo.makers.step import current_store
    from coevo.node_store.canonical import structure_document

    view = current_store().state(f"{name}@main")
    labels = [label for label in view.labels() if label["status"] == "admitted"]
    of_references = [label for label in labels if label["how"] == "reference"]
    train = [label for label in labels if label["split"] == "train" and label["how"] != "reference"]
    validation = [label for label in labels if label["split"] == "validation"]
    held_out = held_out_of(view)
    assert held_out is not None
    window = view.document["config"]["curation"].get("hull_window", 0.02)
    labelled = {label["family"]: label["split"] for label in labels if label["kind"] == "relaxed"}
    phases: dict[str, Record] = {}
    for kind in ("reference", "entry"):
        for m in sorted(members(view, kind), key=lambda m: (m.document["energy_above_hull"], m.id)):  # type: ignore[arg-type]
            is_one = kind == "reference" or m.document.get("hull_status") == "confirmed"
            near = m.document["energy_above_hull"] <= window and len(m.structure) <= LARGEST
            if is_one and near and labelled.get(m.id) == "train":
                row = {"family": m.id, "formula": m.document["formula"], "structure": structure_document(m.structure)}
                phases.setdefault(m.document["formula"], row)
    return Pool(
        [*of_references, *whole_families(train, frames)],
        whole_families(validation, max(8, frames // 3)),
        held_out.labels,
        list(phases.values()),
        list(view.references()),
        [label for label in labels if label["kind"] == "relaxed"],
        {"state": view.id, "iteration": view.iteration, "labels": len(labels)},
    )


def pool_of_references(labels: Labels, frames: int) -> Pool:
    """Bundled references of at most 32 atoms, each relaxed, rattled and strained, in splits by family."""
    from coevo.analysis.selection import rattled, split_of, strained
    from coevo.configs.references import load_references
    from coevo.node_store.canonical import structure_document, structure_id

    cells = [r.structure for r in load_references("li-p-s", ELEMENTS) if len(r.structure) <= 32]
    documents: list[dict[str, Any]] = [{"_id": structure_id(cell), "structure": structure_document(cell)} for cell in cells]
    records, phases = [], []
    for cell, document in zip(cells, documents, strict=True):
        family = document["_id"]
        records.append(record_of(cell, family, "relaxed", "reference"))
        records.append(record_of(rattled(cell, 0.05, 1), family, "rattled", "random"))
        records.append(record_of(strained(cell, 0.04, 2), family, "strained", "random"))
        phases.append({"family": family, "formula": cell.composition.reduced_formula, "structure": document["structure"]})
    found = labels.of(records)
    split = {d["_id"]: split_of(d["_id"], test_fraction=0.25, validation_fraction=0.25, seed=1) for d in documents}
    by_split: dict[str, list[Record]] = {"train": [], "validation": [], "test": []}
    for label in found:
        label["split"] = "train" if label["how"] == "reference" else split[label["family"]]
        by_split[label["split"]].append(label)
    phases = [phase for phase in phases if split[phase["family"]] == "train"]
    train = by_split["train"][: len(cells) + frames]
    relaxed = [label for label in found if label["kind"] == "relaxed"]
    return Pool(train, by_split["validation"], by_split["test"], phases, documents, relaxed, {"references": "li-p-s"})


def record_of(structure: Structure, family: str, kind: str, how: str) -> Record:
    """A frame as the label step takes it."""
    from coevo.node_store.canonical import structure_document, structure_id

    return {"id": structure_id(structure), "structure": structure_document(structure), "family": family, "kind": kind, "how": how}


def added(arm: Arm, phases: Sequence[Record]) -> Iterator[Record]:
    """Frames that an arm adds."""
    from coevo.analysis.selection import rattled, strained
    from coevo.analysis.stiffness.training_frames import amplitude_frames
    from coevo.node_store.canonical import structure_from_document

    for number, phase in enumerate(phases):
        if phase["formula"] in arm.without:
            continue
        structure, seed = structure_from_document(phase["structure"]), 1000 * number
        if arm.strain:
            frames = list(amplitude_frames(structure, arm.frames, strain=arm.strain, displacement=arm.displacement, seed=seed))
        else:
            turns = range(arm.frames // 2)
            frames = [("rattled", rattled(structure, 0.05, seed + i)) for i in turns]
            frames += [("strained", strained(structure, 0.04, seed + 500 + i)) for i in turns]
        for kind, frame in frames:
            if abs(frame.volume - structure.volume) > 1e-9 or len(frame) > 1:  # an atom alone in its cell is not displaced
                yield record_of(frame, phase["family"], kind, "stiff")


def references_of(labels: Labels, pool: Pool) -> list[Record]:
    """Labels of the frames that stiffness is measured with."""
    from coevo.makers.labels.stiffness import simplest_compounds

    return labels.of([record for compound in simplest_compounds(pool.references, COMPOUNDS) for record in compound.records])


def hull_of_labels(pool: Pool, scales: Scales, split: str) -> HullWatch | None:
    """Reactions of labelled hull phases of one split among themselves and those of the splits before it."""
    from coevo.makers.labels.hull_watch import hull_watch

    competing = {"train"} if split == "validation" else {"train", "validation"}
    rows = [label for label in pool.relaxed if label["split"] in {split, *competing}]
    splits = ["validation" if label["split"] == split else "train" for label in rows]
    return hull_watch(rows, scales.frames(rows), splits, ELEMENTS)


def measured(place: Path, force_field: ForceField, pool: Pool, scales: Scales, stiffness_labels: Sequence[Record]) -> Record:
    """Stiffness, errors on the held-out set, and errors of the reactions of held-out families; from the file if it is there."""
    if not place.exists():
        place.write_text(json.dumps(_measured(force_field, pool, scales, stiffness_labels)))
    told: Record = json.loads(place.read_text())
    return told


def _measured(force_field: ForceField, pool: Pool, scales: Scales, stiffness_labels: Sequence[Record]) -> Record:
    import numpy as np

    from coevo.analysis.signals.residuals import errors
    from coevo.makers.signals.stiffness import stiffness_metrics
    from coevo.models.contracts import Prediction

    frames = scales.frames(pool.held_out)
    stiffness = stiffness_metrics(pool.references, stiffness_labels, force_field, COMPOUNDS, 1)
    found = force_field.evaluate([frame.structure for frame in frames])
    rows = [(p, f) for p, f in zip(found, frames, strict=True) if isinstance(p, Prediction)]
    told: Record = {
        "stiffness": stiffness,
        "held_out": {"frames": len(rows), **asdict(errors([p for p, _ in rows], [f for _, f in rows]))},
    }
    watch = hull_of_labels(pool, scales, "test")
    if watch is not None:
        energies = [p.energy for p in force_field.evaluate(watch.structures) if isinstance(p, Prediction)]
        told["held_out_hull"] = {"phases": len(watch.energies), "rmse_mev_per_atom": 1e3 * watch.spread(np.array(energies))}
    return told


def place_of(name: str, arm: Arm, seed: int, options: argparse.Namespace) -> Path:
    """The file of a fit."""
    told_apart = hashlib.sha256(f"{name} {arm} {seed} {options.epochs}".encode()).hexdigest()[:12]
    return Path(options.folder / f"{told_apart}.safetensors")


def fitted(
    name: str, arm: Arm, seed: int, frames: dict[str, list[TrainingFrame]], watch: HullWatch | None, options: argparse.Namespace
) -> tuple[Any, Record]:
    """The force field of an arm, from the folder if it is there."""
    from coevo.models.contracts import FitSettings
    from coevo.models.registry import force_field_from

    place = place_of(name, arm, seed, options)
    note = place.with_suffix(".json")
    start: Any = own_force_field(options.node) if arm.fit.get("of_the_node") else force_field_from(*START)
    if note.exists():
        return type(start).load(place), json.loads(note.read_text())
    before = cpu_seconds()
    given = {key: value for key, value in arm.fit.items() if key not in {"watch", "of_the_node"}}
    model, report = start.fit(
        frames["train"],
        frames["validation"],
        FitSettings(**{"epochs": options.epochs, **given}),
        seed,
        progress=lambda _: print(".", end="", flush=True),
        watch=watch if arm.fit.get("watch") else None,
    )
    told = {
        "cpu_seconds": round(cpu_seconds() - before, 1),
        "frames": report["frames"],
        "best_epoch": report["best_epoch"],
        "epochs": report["epochs"],
        "watched": report.get("watched", 0),
    }
    model.save(place)
    note.write_text(json.dumps(told))
    return model, told


def main() -> None:
    """Run the arms and record what they give."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where labels and fits are kept")
    parser.add_argument("--database", help="of a node that is labelled by 7net-l3i5; only read")
    parser.add_argument("--node", default="discovery")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--frames", type=int, default=100, help="of the training split, beside the references")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.database:
        os.environ["COEVO_DATABASE"] = options.database
    if options.quick:
        options.frames, options.epochs, options.output = 12, 2, options.folder / "quick.json"
        options.arms = options.arms if options.arms != list(ARMS) else ["today", "4 %, 0.1 Å"]
    options.folder.mkdir(parents=True, exist_ok=True)
    run(options)


def run(options: argparse.Namespace) -> None:
    """Make all arms, one after the other, writing the record after each."""
    from coevo.makers.labels.training_set import scales_for
    from coevo.models.registry import force_field_from

    labels = Labels(options.folder / "labels.json")
    pool = pool_of_node(options.node, options.frames) if options.database else pool_of_references(labels, options.frames)
    start = force_field_from(*START)
    scales = scales_for(pool.train, {}, start, ELEMENTS, workers=1, accept_mismatch=True)
    for_stiffness = references_of(labels, pool)
    watch = hull_of_labels(pool, scales, "validation")
    record: Record = {
        "benchmark": "stiffness",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "numpy", "ase")},
        "labels": "sevennet/7net-l3i5",
        "source": pool.source,
        "epochs": options.epochs,
        "frames": {"train": len(pool.train), "validation": len(pool.validation), "held_out": len(pool.held_out)},
        "phases": [phase["formula"] for phase in pool.phases],
        "offsets": scales.offsets(),
        "arms": {
            "published": [{"added": 0, **measured(options.folder / "published.measured", start, pool, scales, for_stiffness)}]
        },
    }
    if options.database:
        own, place = own_force_field(options.node), options.folder / "own.measured"
        record["arms"]["the node's own"] = [{"added": None, **measured(place, own, pool, scales, for_stiffness)}]
    for name in record["arms"]:
        say(name, record)
    if options.output.exists():  # what is not run now is kept, if it is of the same frames
        before = json.loads(options.output.read_text())
        if all(before.get(key) == record[key] for key in ("source", "epochs", "frames")):
            record["arms"] = {**before["arms"], **record["arms"]}
    for name in options.arms:
        arm = ARMS[name]
        if arm.fit.get("of_the_node") and not options.database:
            continue
        more = labels.of(list(added(arm, pool.phases)))
        frames = {"train": scales.frames([*pool.train, *more]), "validation": scales.frames(pool.validation)}
        for seed in options.seeds:
            model, told = fitted(name, arm, seed, frames, watch, options)
            place = place_of(name, arm, seed, options).with_suffix(".measured")
            row = {"seed": seed, "added": len(more), **told, **measured(place, model, pool, scales, for_stiffness)}
            others = [other for other in record["arms"].get(name, []) if other["seed"] != seed]
            record["arms"][name] = [*others, row]
            say(name, record)
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(rounded(record), indent=1) + "\n")
    print(f"written to {options.output}, {cpu_seconds():.0f} CPU s")


def own_force_field(node: str) -> Any:
    """The force field of the last state of a node: what all its fits, without frames for stiffness, made of it."""
    from coevo.makers.checkpoints import load_force_field
    from coevo.makers.step import current_store

    store = current_store()
    checkpoint: Any = store.state(f"{node}@main").document["checkpoints"]["force_field"]
    return load_force_field(store, checkpoint)


def say(name: str, record: Record) -> None:
    """Print the last run of an arm."""
    arm = record["arms"][name][-1]
    print(
        f"{name} ({arm.get('seed')}): +{arm['added']} frames, {arm.get('cpu_seconds')} CPU s, best epoch {arm.get('best_epoch')}"
    )
    for row in arm["stiffness"]["compounds"]:
        model, label = row["model"], row["labels"]
        modes = [[round(x) for x in one["frequencies_cm1"] or [0.0]][-1] if one else None for one in (model, label)]
        moduli = [one and one["bulk_modulus_gpa"] and round(one["bulk_modulus_gpa"], 1) for one in (model, label)]
        print(f"  {row['formula']}: B0 {moduli[0]}, of the labels {moduli[1]}; highest mode {modes[0]}, {modes[1]}")
    told = {key: round(value, 2) for key, value in arm["held_out"].items() if "rmse" in key}
    print("  ", told, "frequencies", round(arm["stiffness"]["frequency_ratio"], 3), arm.get("held_out_hull"), flush=True)


def rounded(value: Any) -> Any:
    """Numbers to five digits."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
