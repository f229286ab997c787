"""Label documents from files that a user has already: of which settings, families and kinds they are, and what they replace."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from coevo.makers.imported.frames import JudgedFrame, judge_frames
from coevo.makers.label import label_document, packet_of
from coevo.makers.labels.imported import superseded_by
from coevo.makers.step import current_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import NodeConfig
    from coevo.labelling.imported import ImportedFile
    from coevo.makers.imported.settings import FileSettings, Vouched
    from coevo.makers.outputs import LabelPacket
    from coevo.node_store.views import StateView

    Label = dict[str, Any]


@dataclass(frozen=True)
class ImportedLabels:
    """The labels of one file.

    Attributes
    ----------
    name : str
        Of the file.
    imported : ImportedFile
    frames : list of JudgedFrame
    settings : FileSettings
    labels : list of dict
        Label documents, each once.
    """

    name: str
    imported: ImportedFile
    frames: list[JudgedFrame]
    settings: FileSettings
    labels: list[Label] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, int]:
        """Rejected frames by reason, those too of which the reader has no geometry."""
        found = Counter(frame.result.reason for frame in self.frames if not frame.is_admitted)
        found.update(reason for reason, _ in self.left_out)
        return dict(sorted(found.items()))

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Reason and sentence of each frame without a geometry."""
        return self.imported.left_out

    @property
    def total(self) -> int:
        """Frames of the file."""
        return len(self.frames) + len(self.left_out)

    @property
    def admitted(self) -> int:
        """Frames that are admitted."""
        return sum(frame.is_admitted for frame in self.frames)

    def packet(self) -> LabelPacket:
        """Write the labels as one packet; its counts are those of the frames, also of those that are no label."""
        counts = Counter(frame.result.status for frame in self.frames)
        counts["rejected"] += len(self.left_out)
        counts = +counts
        return {**packet_of(current_store(), self.labels), "counts": dict(sorted(counts.items())), "reasons": self.reasons}


def imported_labels(
    view: StateView,
    config: NodeConfig,
    files: Sequence[tuple[str, ImportedFile]],
    *,
    vouched: Vouched | None = None,
    workers: int = 1,
) -> list[ImportedLabels]:
    """Return the labels of files, in their order.

    Parameters
    ----------
    view : StateView
        The state that the labels are added to.
    config : NodeConfig
    files : sequence of (str, ImportedFile)
        With the name of each.
    vouched : Vouched or None
        The digest that the user says they belong to.
    workers : int

    Notes
    -----
    A frame is *relaxed* if its forces are small, else *path*. Of each element and digest a frame of the pure element joins the
    energy scales (``how`` is ``reference`` if it is one of the node, else ``anchor``); every other frame is ``imported``.
    """
    from coevo.labelling.sanity import SanityLimits
    from coevo.makers.imported.families import families_of
    from coevo.makers.imported.settings import settings_of_files

    limits = SanityLimits.from_config(config.labelling)
    older = list(view.labels())
    settings = settings_of_files(files, older, vouched)
    judged = [judge_frames(imported, limits, config.node.elements) for _, imported in files]
    families = families_of(view, config, judged, older, workers=workers)
    found = [
        ImportedLabels(name, imported, frames, own) for (name, imported), frames, own in zip(files, judged, settings, strict=True)
    ]
    references = set(view.manifest["references"])
    anchors = _anchors(found, families, references, older)
    return [
        replace(file, labels=_documents(file, of_frames, references, anchors, older))
        for file, of_frames in zip(found, families, strict=True)
    ]


def _documents(
    file: ImportedLabels, families: Sequence[str], references: set[str], anchors: set[tuple[str, int]], older: Sequence[Label]
) -> list[Label]:
    """Return the label documents of a file, each once, in its order."""
    labels: dict[str, Label] = {}
    replaced = superseded_by(older)
    for frame, family in zip(file.frames, families, strict=True):
        if frame.document is None:
            continue
        is_anchor = (file.settings.digest, id(frame)) in anchors
        record = {
            "id": frame.id,
            "structure": frame.document,
            "family": family,
            "kind": "relaxed" if frame.is_relaxed else "path",
            "how": ("reference" if family in references else "anchor") if is_anchor else "imported",
        }
        label = label_document(record, frame.result, file.imported.settings, file.settings.digest)
        label |= file.settings.recorded_with({element.symbol for element in frame.structure.composition.elements}, file.name)
        supersedes = replaced(label)
        labels.setdefault(label["_id"], label | ({"supersedes": supersedes} if supersedes else {}))
    return list(labels.values())


def _anchors(
    files: Sequence[ImportedLabels], families: Sequence[Sequence[str]], references: set[str], older: Sequence[Label]
) -> set[tuple[str, int]]:
    """Choose the frames that join the energy scales: per digest and element those of lowest energy.

    One of each elemental reference of the node; where none of an element is labelled, one of its family of lowest energy.
    """
    from coevo.makers.labels.imported import ANCHORS
    from coevo.makers.labels.training_set import elements_of

    candidates: dict[tuple[str, str], dict[str, JudgedFrame]] = {}
    for file, of_frames in zip(files, families, strict=True):
        for frame, family in zip(file.frames, of_frames, strict=True):
            if frame.is_admitted and frame.is_elemental:
                element = frame.structure.composition.elements[0].symbol
                lowest = candidates.setdefault((file.settings.digest, element), {})
                lowest[family] = min(lowest.get(family, frame), frame, key=lambda x: (not x.is_relaxed, x.energy, x.id))
    there = {
        (label["settings_digest"], *elements_of([label]))
        for label in older
        if label["how"] in ANCHORS and label["status"] == "admitted" and len(elements_of([label])) == 1
    }
    chosen: set[tuple[str, int]] = set()
    for (digest, element), lowest in sorted(candidates.items()):
        known = [frame for family, frame in lowest.items() if family in references]
        if not known and (digest, element) not in there:
            known = [min(lowest.values(), key=lambda x: (x.energy, x.id))]
        chosen |= {(digest, id(frame)) for frame in known}
    return chosen
