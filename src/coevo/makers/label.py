"""Label: frames go to the labelling code in packets; a failed or rejected frame is a result of a completed job."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from jobflow import Flow, Response, job

from coevo.configs.tree import LabellingConfig, NodeSection
from coevo.errors import LabellingError
from coevo.makers.labels.settings import labeller_for
from coevo.makers.screen import FIRST_PACKAGES
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, workers_of_family, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.labelling.contract import LabelResult, LabelSettings
    from coevo.makers.outputs import Labelled, LabelPacket, Selected
    from coevo.makers.step import Document, Record, ShardReference
    from coevo.node_store.store import NodeStore


def label_document(record: Record, result: LabelResult, settings: LabelSettings, settings_id: str, **more: Any) -> Record:
    """Return the label document of one frame, with more fields of it."""
    from coevo.node_store.identity import label_id

    label = {
        "frame": record["id"],
        **{key: record[key] for key in ("structure", "family", "kind", "how")},
        "code": settings.code,
        "functional": settings.functional,
        "anion_corrected": settings.anion_corrected,
        "settings_digest": settings_id,
        "status": result.status,
        "reason": result.reason,
        "energy_per_atom": result.energy,
        "forces": None if result.forces is None else result.forces.tolist(),
        "stress": None if result.stress is None else result.stress.tolist(),
        "detail": result.detail,
        **more,
    }
    return {"_id": label_id(label), **label}


def packet_of(store: NodeStore, labels: list[Record]) -> LabelPacket:
    """Write labels as one packet: ``labels`` (shard reference), ``counts`` by status, ``reasons`` of those without numbers."""
    return {
        "labels": write_records(store, labels),
        "counts": dict(sorted(Counter(label["status"] for label in labels).items())),
        "reasons": dict(sorted(Counter(label["reason"] for label in labels if label["reason"]).items())),
    }


@dataclass
class LabelPacketMaker(StepMaker):
    """Label one packet of frames.

    Attributes
    ----------
    labelling : LabellingConfig
    elements : tuple of str
        Elements of the node.
    settings_digest : str
        Digest of the settings that the labels must have. It is part of the job's key, so that another potential or executable
        on disk is other work, and a worker that finds others than the job that cut the packets stops. Empty: any.
    stored_as : str
        Digest that the labels are stored under, if it is that of older labels with the same settings for fewer elements
        (:mod:`coevo.makers.labels.settings`). Empty: that of the settings.
    """

    name: str = "label"
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    elements: tuple[str, ...] = ()
    settings_digest: str = ""
    stored_as: str = ""

    later: ClassVar[Mapping[str, Any]] = {"stored_as": ""}
    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:  # noqa: ARG002 - the code labels, whatever the frames
        """Those of the teacher; other codes are named, with their versions, by the digest of their settings."""
        if self.labelling.code != "teacher":
            return {}
        return versions_of_family(self, "force_field", self.labelling.teacher.family)

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:  # noqa: ARG002 - the code labels, whatever the frames
        """Worker processes, where they do all the work of the teacher; other codes run alone."""
        return workers_of_family(self, "force_field", self.labelling.teacher.family) if self.labelling.code == "teacher" else 0

    @step
    def make(self, frames: ShardReference) -> LabelPacket:
        """Label.

        Parameters
        ----------
        frames : dict
            Shard reference of frames.

        Returns
        -------
        dict
            ``labels`` (shard reference), ``counts`` (by status), ``reasons`` (of rejected and failed ones).
        """
        from coevo.labelling.digest import settings_digest
        from coevo.labelling.registry import says_first_principles
        from coevo.makers.labels.settings import facts_of_label
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        labeller = labeller_for(self.labelling, elements=self.elements, workers=self.usable_workers())
        settings = labeller.settings()
        settings_id = settings_digest(settings)
        if self.settings_digest not in {"", settings_id}:
            raise LabellingError(
                f"{settings.code}: the settings of this machine have the digest {settings_id[:12]}, and the labels must have "
                f"{self.settings_digest[:12]}; install the same potentials and versions on every worker"
            )
        records = list(read_records(store, frames))
        structures = [structure_from_document(record["structure"]) for record in records]
        with task("labelling", len(structures), "frames") as advance:
            results = labeller.label(structures, progress=advance)
        stored_as = self.stored_as or settings_id
        said = says_first_principles(labeller, settings.code)
        labels = [
            label_document(record, result, settings, stored_as, **said) for record, result in zip(records, results, strict=True)
        ]
        if stored_as != settings_id:
            facts = [facts_of_label(settings, structure.symbol_set) for structure in structures]
            labels = [{**label, **fact} for label, fact in zip(labels, facts, strict=True)]
        return packet_of(store, labels)


@dataclass
class LabelMaker(StepMaker):
    """Cut the selected frames into packets, one job each.

    Frames that the parent state has labelled with the same settings are not computed again, but for those that failed. References
    join them where the offsets between the two energy scales need them, or all of them do (:mod:`coevo.makers.labels.frames`).

    Attributes
    ----------
    node : NodeSection
    labelling : LabellingConfig
    stiffness : int
        Reference compounds whose strained and displaced frames are labelled too (:mod:`coevo.makers.labels.stiffness`).
    """

    name: str = "label"
    node: NodeSection = field(kw_only=True)
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    stiffness: int = 0

    @job
    def make(self, selected: Selected, parent: str) -> Response[Labelled]:
        """Fan out; the output is ``{"packets": [outputs of the packet jobs]}``, and ``notes`` where there is something to say.

        Parameters
        ----------
        selected : dict
            Output of the select job.
        parent : str
            Id of the parent state.
        """
        from coevo.makers.labels.frames import wanted_frames
        from coevo.makers.labels.settings import current_settings
        from coevo.makers.labels.stiffness import simplest_compounds
        from coevo.makers.populations.population import open_state

        store = current_store()
        view = open_state(store, self.node.name, parent)
        settings = current_settings(self.labelling, self.node.elements, view.labels())
        frames = list(read_records(store, selected["frames"]))
        for compound in simplest_compounds(view.references(), self.stiffness):
            frames += compound.records
        everything = self.labelling.references == "all"
        wanted = wanted_frames(view, self.node, settings.digest, frames, all_references=everything)
        size = self.labelling.frames_per_job
        # apart, so that the packets of new frames are the same work wherever they are wanted
        packets = [rows[start : start + size] for rows in (wanted.new, wanted.again) for start in range(0, len(rows), size)]
        said: Document = {"notes": wanted.notes} if wanted.notes else {}
        if not packets:
            return Response(output=cast("Labelled", {"packets": [], **said}))
        jobs = []
        for index, packet in enumerate(packets):
            maker = LabelPacketMaker(
                name=f"{self.name}/{index:04d}",
                labelling=self.labelling,
                elements=self.node.elements,
                settings_digest=settings.own,
                stored_as="" if settings.digest == settings.own else settings.digest,
                workers=self.workers,
            )
            jobs.append(maker.make(write_records(store, packet)))
        return Response(replace=Flow(jobs, output={"packets": [packet.output for packet in jobs], **said}, name=self.name))
