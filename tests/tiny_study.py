"""A kind of study that takes no time: volumes of phases, scaled; of two jobs, as a study of a real kind is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow
from pydantic import Field

from coevo.configs.section import Section
from coevo.flows.studies.inputs import StudyEstimate
from coevo.flows.studies.registry import KINDS, StudyKind
from coevo.makers.step import StepMaker, current_store, read_records, step
from coevo.node_store.canonical import structure_from_document

if TYPE_CHECKING:
    from coevo.flows.studies.inputs import StudyInputs


class TinyStudy(Section):
    scale: float = Field(default=1.0, gt=0)
    limit: float = Field(default=20.0, description="Å³/atom; phases that take less are called dynamically stable")


@dataclass
class VolumesMaker(StepMaker):
    name: str = "tiny-volumes"
    settings: TinyStudy = field(kw_only=True)

    @step
    def make(self, structures: dict[str, Any]) -> dict[str, Any]:
        return self.compute(structures)

    def compute(self, structures: dict[str, Any]) -> dict[str, Any]:
        store = current_store()
        rows = [
            {"id": record["id"], "volume": (s := structure_from_document(record["structure"])).volume / len(s)}
            for record in read_records(store, structures)
        ]
        text = "".join(f"{row['id']} {row['volume'] * self.settings.scale!r}\n" for row in rows).encode()
        artifact = store.artifacts.put_bytes(text)
        return {"rows": rows, "file": {"name": "volumes.txt", "sha256": artifact.sha256, "size": artifact.size}}


@dataclass
class ScaleMaker(StepMaker):
    name: str = "tiny-scale"
    settings: TinyStudy = field(kw_only=True)

    @step
    def make(self, measured: dict[str, Any]) -> dict[str, Any]:
        return self.compute(measured)

    def compute(self, measured: dict[str, Any]) -> dict[str, Any]:
        volumes = {row["id"]: row["volume"] * self.settings.scale for row in measured["rows"]}
        return {
            "results": {"volumes": volumes},
            "entries": {name: {"dynamically_stable": volume < self.settings.limit} for name, volume in volumes.items()},
            "artifacts": [measured["file"]],
            "packages": {"tiny": "1"},
        }


def make(config: Any, inputs: StudyInputs, settings: TinyStudy) -> Flow:
    volumes = VolumesMaker(f"{inputs.prefix}/screen/0000", inputs.workers, settings=settings).make(inputs.structures)
    scaled = ScaleMaker(f"{inputs.prefix}/assess", inputs.workers, settings=settings).make(volumes.output)
    return Flow([volumes, scaled], output=scaled.output)


def estimate(config: Any, structures: Any, settings: TinyStudy) -> StudyEstimate:
    return StudyEstimate(3, 0.001 * sum(map(len, structures)), ("0.001 s an atom",))


def summary(document: dict[str, Any]) -> list[str]:
    return [f"{len(document['results']['volumes'])} volumes, scaled by {document['settings']['scale']:g}"]


def tables(document: dict[str, Any]) -> list[Any]:
    rows = [[phase["formula"], phase["id"][:8], document["results"]["volumes"][phase["id"]]] for phase in document["phases"]]
    return [("volumes", ["formula", "phase", "volume (Å³/atom)"], rows)]


TINY_KIND = StudyKind(
    name="tiny",
    title="volumes of phases",
    settings="tiny_study:TinyStudy",
    flow="tiny_study:make",
    estimate="tiny_study:estimate",
    summary="tiny_study:summary",
    tables="tiny_study:tables",
)


def add() -> None:
    """Register the kind in this process."""
    KINDS["tiny"] = TINY_KIND
