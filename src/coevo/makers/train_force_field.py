"""Train the force field: prequential error first, then fine-tuning, then the test that decides on the new model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import CurationConfig, NodeSection, TrainingConfig
from coevo.families import DEFAULT_FORCE_FIELD, descriptor_of
from coevo.makers.checkpoints import load_force_field, save_checkpoint
from coevo.makers.outputs import check_labelled
from coevo.makers.screen import FIRST_PACKAGES, family_of
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, write_records
from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.makers.outputs import Checkpoint, Fit, Labelled, TrainedForceField
    from coevo.makers.step import Document, Record
    from coevo.models.contracts import ForceField, TrainingFrame
    from coevo.models.early_stopping import HullWatch
    from coevo.node_store.store import NodeStore


@dataclass
class TrainForceFieldMaker(StepMaker):
    """Fine-tune the parent's force field on the labels of the new state.

    Attributes
    ----------
    node : NodeSection
    training : TrainingConfig
    curation : CurationConfig or None
        Its tolerances decide which new label families are crystals that are labelled already, and share their split; None: each
        family is a crystal of its own. All of it is in the key, so a flow hands over
        :meth:`~coevo.configs.tree.CurationConfig.of_matching`.
    accept_scale_mismatch : bool
        Fit offsets also to labels that they do not bring to the force field's scale (``labelling.accept_scale_mismatch``).
    """

    name: str = "train-force-field"
    node: NodeSection = field(kw_only=True)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    curation: CurationConfig | None = None
    accept_scale_mismatch: bool = False

    version: ClassVar[int] = 2
    later: ClassVar[Mapping[str, Any]] = {"curation": None, "accept_scale_mismatch": False}
    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, DEFAULT_FORCE_FIELD.name))

    @step
    def make(self, labelled: Labelled, checkpoint: Checkpoint, parent: str, iteration: int) -> TrainedForceField:
        """Train.

        Parameters
        ----------
        labelled : dict
            ``{"packets": [outputs of the label jobs]}``.
        checkpoint : dict
            Force-field checkpoint of the parent state.
        parent : str
            Id of the parent state.
        iteration : int

        Returns
        -------
        dict
            ``checkpoint`` (the adopted one: new or the parent's), ``adopted``, ``reason``, ``labels`` (shard of the new label
            documents), ``splits`` (shard of ``{id, split}`` for all labels of the state), ``offsets``, ``prequential``,
            ``test_before`` and ``test_after`` (errors on the test split), ``fit`` (report of the fit).
        """
        from coevo.makers.labels.imported import without_superseded
        from coevo.makers.labels.training_set import splits_for
        from coevo.makers.populations.population import open_state

        check_labelled(labelled)
        store = current_store()
        view = open_state(store, self.node.name, parent)
        older = list(view.labels())
        known = {label["_id"] for label in older}
        made: dict[str, Record] = {}
        for label in read_records(store, [p["labels"] for p in labelled["packets"]]):
            made.setdefault(label["_id"], label)  # two packets may hold the same label, as two files do
        new = [label for identifier, label in made.items() if identifier not in known]
        splits_of_new = splits_for(new, older, self.training, self.node.seed, self._same_crystals(new, older))
        kept = {label["_id"] for label in without_superseded([*older, *new])}
        older = [label for label in older if label["_id"] in kept]
        splits = {label["_id"]: label["split"] for label in older} | splits_of_new
        result = self._train(store, new, older, splits, checkpoint, dict(view.manifest.get("offsets", {})), iteration)
        rows = [{"id": i, "split": split} for i, split in sorted(splits.items())]
        return {**result, "labels": write_records(store, new), "splits": write_records(store, rows)}

    def _same_crystals(self, new: Sequence[Record], older: Sequence[Record]) -> dict[str, str]:
        """Return the family that decides on the split of each new one."""
        from coevo.makers.labels.same_crystals import same_crystals
        from coevo.makers.populations.population import matching_of

        if self.curation is None:
            return {}
        return same_crystals(new, matching_of(self.curation), older, workers=self.usable_workers())

    def _train(
        self,
        store: NodeStore,
        new: list[Record],
        older: list[Record],
        splits: dict[str, str],
        checkpoint: Checkpoint,
        offsets: Document,
        iteration: int,
    ) -> Fit:
        from coevo.makers.labels.stiffness import without_stiffness
        from coevo.makers.labels.training_set import replayed, scales_for

        new, older = without_stiffness(new), without_stiffness(older)
        refused: Fit = {"checkpoint": checkpoint, "adopted": False, "offsets": offsets, "warning": "", "reason": ""}
        admitted = [label for label in new if label["status"] == "admitted"]
        if not admitted:
            return {**refused, "reason": "no new label was admitted"}
        force_field = load_force_field(store, checkpoint)
        usable = [*(x for x in older if x["status"] == "admitted"), *admitted]
        # a fit is of one settings digest; where nothing is fitted, as when labels are added, offsets are found for all new ones
        digests = {x["settings_digest"] for x in (admitted[:1] if self.training.enabled else admitted)}
        scales = scales_for(
            usable if self.training.mix_settings else [x for x in usable if x["settings_digest"] in digests],
            offsets,
            force_field,
            self.node.elements,
            workers=self.usable_workers(),
            accept_mismatch=self.accept_scale_mismatch,
        )
        warning = "; ".join(scales.warnings)
        usable, admitted = ([x for x in rows if x["settings_digest"] in scales.by_settings] for rows in (usable, admitted))
        if not admitted:
            return {**refused, "reason": warning, "warning": warning}
        offsets |= scales.offsets()
        by_split: dict[str, list[Record]] = {"train": [], "validation": [], "test": []}
        for label in usable:
            by_split[splits[label["_id"]]].append(label)
        frames = {name: scales.frames(rows) for name, rows in by_split.items()}
        prequential = self._errors(force_field, scales.frames(admitted), admitted)
        common: Fit = {
            **refused,
            "offsets": offsets,
            "warning": warning,
            "prequential": prequential,
            "frames": {name: len(rows) for name, rows in by_split.items()},
            "test_before": self._errors(force_field, frames["test"], by_split["test"]),
        }
        obstacle = self._obstacle(frames, checkpoint["family"])
        if obstacle:
            return {**common, "reason": obstacle}
        is_new = {label["_id"] for label in admitted}
        training = replayed(
            [x for x in by_split["train"] if x["_id"] in is_new],
            [x for x in by_split["train"] if x["_id"] not in is_new],
            self.training.replay,
            self._seed(iteration, "replay"),
        )
        watch = self._watch(by_split, frames)
        fitted, report = self._fit(force_field, scales.frames(training), frames["validation"], iteration, watch)
        after = self._errors(fitted, frames["test"], by_split["test"])
        ratio = loss_ratio(common["test_before"]["all"], after["all"])
        outcome: Fit = {**common, "fit": report, "test_after": after, "test_loss_ratio": ratio}
        if ratio > 1.0 + self.training.worse_tolerance:
            return {**outcome, "reason": f"worse than its parent on the test split: loss ratio {ratio:.3f}"}
        training_set = write_records(store, [{"id": x["_id"]} for x in training])["sha256"]
        adopted = save_checkpoint(store, fitted, parent=checkpoint, training_set=training_set)
        return {**outcome, "adopted": True, "reason": f"test loss ratio {ratio:.3f}", "checkpoint": adopted}

    def _obstacle(self, frames: dict[str, list[TrainingFrame]], family: str) -> str:
        """Say why no fit is possible, or return an empty string."""
        if not self.training.enabled:
            return "training is switched off"
        if not descriptor_of(family, "force_field").can("fit"):
            return f"the force field {family} cannot be fitted: it stays as it is, and the labels measure its error"
        if self.training.watch_hull and not descriptor_of(family, "force_field").can("watch"):
            return f"the force field {family} cannot watch the hull while it is fitted: training.watch_hull: false fits it"
        if len(frames["train"]) < self.training.min_frames:
            return f"{len(frames['train'])} training frames, at least {self.training.min_frames} are needed (training.min_frames)"
        for name in ("validation", "test"):
            if not frames[name]:
                return f"no {name} frames yet, so a fit could not be judged"
        return ""

    def _watch(self, by_split: Mapping[str, list[Record]], frames: Mapping[str, list[TrainingFrame]]) -> HullWatch | None:
        """What early stopping watches of the hull, if it does: all labels that the fit may see, replayed now or not."""
        from coevo.makers.labels.hull_watch import hull_watch

        if not self.training.watch_hull:
            return None
        seen = ("train", "validation")
        splits = [name for name in seen for _ in by_split[name]]
        labels = [label for name in seen for label in by_split[name]]
        return hull_watch(labels, [frame for name in seen for frame in frames[name]], splits, self.node.elements)

    def _fit(
        self,
        force_field: ForceField,
        training: list[TrainingFrame],
        validation: list[TrainingFrame],
        iteration: int,
        watch: HullWatch | None,
    ) -> tuple[ForceField, Document]:
        from coevo.models.contracts import FitSettings

        names = ("epochs", "learning_rate", "batch_size", "force_weight", "stress_weight", "patience")
        settings = FitSettings(**{name: getattr(self.training, name) for name in names})
        seed = self._seed(iteration, "train-force-field")
        with task("training the force field", settings.epochs, "epochs") as advance:
            if watch is None:  # a family that cannot watch need not know the word
                return force_field.fit(training, validation, settings, seed, progress=advance)
            return force_field.fit(training, validation, settings, seed, progress=advance, watch=watch)

    def _seed(self, iteration: int, what: str) -> int:
        return seed_for(self.node, iteration, what)

    def _errors(self, force_field: ForceField, frames: Sequence[TrainingFrame], labels: Sequence[Record]) -> Document:
        """Errors of all frames, and apart by the way their family was chosen and by kind of frame."""
        from coevo.analysis.signals.residuals import grouped_errors
        from coevo.models.contracts import Prediction

        results = force_field.evaluate([frame.structure for frame in frames], workers=self.usable_workers())
        rows = [(p, f, x) for p, f, x in zip(results, frames, labels, strict=True) if isinstance(p, Prediction)]
        return grouped_errors(
            [p for p, _, _ in rows],
            [f for _, f, _ in rows],
            {"how": [x["how"] for _, _, x in rows], "kind": [x["kind"] for _, _, x in rows]},
        )


def loss_ratio(before: Document, after: Document) -> float:
    """Mean of the energy and force RMSE ratios after / before; below one the new model is better."""
    names = ("energy_rmse_mev_per_atom", "force_rmse_mev_per_angstrom")
    ratios = [after[name] / before[name] if before[name] > 0 else 1.0 + float(after[name] > 0) for name in names]
    return sum(ratios) / len(ratios)
