"""The Flow of a study: the jobs of its kind, then the one that writes its document beside the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobflow import Flow

from coevo.flows.studies.registry import part
from coevo.makers.studies.commit import CommitStudyMaker

if TYPE_CHECKING:
    from coevo.configs.section import Section
    from coevo.flows.studies.inputs import StudyInputs
    from coevo.flows.studies.registry import StudyKind


def study_flow(kind: StudyKind, inputs: StudyInputs, settings: Section, softness: dict[str, Any] | None) -> Flow:
    """Wire a study.

    Parameters
    ----------
    kind : StudyKind
    inputs : StudyInputs
    settings : Section
        Of the class that the kind names.
    softness : dict or None
        Of :func:`coevo.analysis.stiffness.softness.softness_of`.

    Returns
    -------
    Flow
        Its output: that of :class:`~coevo.makers.studies.commit.CommitStudyMaker`.
    """
    work: Flow = part(kind.flow)(inputs.config, inputs, settings)
    head = {
        "study": kind.name,
        "node": inputs.node,
        "state": inputs.state,
        "checkpoints": {"force_field": inputs.force_field["sha256"]},
        "phases": [dict(phase) for phase in inputs.phases],
        "settings": settings.model_dump(mode="json"),
        "softness": softness,
    }
    commit = CommitStudyMaker(f"{inputs.prefix}/commit-study", inputs.workers, head=head).make(work.output)
    return Flow([work, commit], output=commit.output, name=inputs.prefix)
