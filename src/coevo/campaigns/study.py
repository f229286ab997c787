"""Make a study of a state, here or on a site; a killed one goes on when it is asked for again, and the state never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.analysis.stiffness.softness import softness_of
from coevo.campaigns.running import run_flow
from coevo.campaigns.study_phases import StudyPhases, hull_records, structure_records
from coevo.configs.loading import config_from_dict
from coevo.errors import CorruptArtifactError
from coevo.flows.studies.flow import study_flow
from coevo.flows.studies.inputs import StudyInputs
from coevo.flows.studies.registry import kind_of, part
from coevo.makers.checkpoints import check_checkpoint
from coevo.makers.step import write_records
from coevo.node_store.known_fields import checkpoint_reference
from coevo.node_store.study_documents import StoredStudy, read_study
from coevo.node_store.trust.arrivals import refuse_unagreed

if TYPE_CHECKING:
    from jobflow import Flow

    from coevo.configs.section import Section
    from coevo.configs.tree import NodeConfig
    from coevo.flows.studies.inputs import StudyEstimate
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView
    from coevo.slurm.submission import WorkflowQueue


@dataclass(frozen=True)
class PreparedStudy:
    """A study that can be run.

    Attributes
    ----------
    flow : Flow
        Its output names the study.
    inputs : StudyInputs
    """

    flow: Flow
    inputs: StudyInputs


def run_study(store: NodeStore, view: StateView, kind: str, settings: Section, phases: StudyPhases) -> StoredStudy:
    """Make a study in this process; the same study again computes nothing.

    Parameters
    ----------
    store : NodeStore
    view : StateView
        Its force field is used, and its hull.
    kind : str
        Name of the study.
    settings : Section
        Of the class that the kind names.
    phases : StudyPhases
        Of :func:`coevo.campaigns.study_phases.choose_phases`.

    Returns
    -------
    StoredStudy

    Raises
    ------
    QueryError
        There is no such kind.
    CheckpointError
        The force field is not here, or came in a bundle and is not trusted; nothing was computed.
    ConfigError
        The configuration came in a bundle and names things of this machine that nobody has agreed to; nothing was computed.
    """
    from jobflow import JobStore
    from jobflow.core.reference import find_and_resolve_references
    from maggma.stores import MemoryStore

    prepared = prepare_study(store, view, kind, settings, phases)
    documents = JobStore(MemoryStore())
    run_flow(prepared.flow, documents)
    made = find_and_resolve_references(prepared.flow.output, documents)
    found = read_study(store.backend, view.node, view.id, made["study"])
    if found is None:
        raise CorruptArtifactError(
            f"study {made['study']} of {view.node}@{view.id[:12]} was removed while it was made; run it again"
        )
    return found


def prepare_study(store: NodeStore, view: StateView, kind: str, settings: Section, phases: StudyPhases) -> PreparedStudy:
    """Check what a study needs, write its inputs as artifacts and wire it; takes and raises what :func:`run_study` does."""
    found = kind_of(kind)
    config = _config(view)
    refuse_unagreed(store, view.node, {"screening": config.screening.model_dump(mode="json")})
    check_checkpoint(store, view, "force_field")
    inputs = StudyInputs(
        node=view.node,
        state=view.id,
        config=config,
        force_field=checkpoint_reference(view.document["checkpoints"]["force_field"]),
        phases=phases.phases,
        structures=write_records(store, structure_records(view, phases)),
        hull=write_records(store, hull_records(view)),
        prefix=f"{view.node}/{found.name}-{view.id[:8]}",
        workers=config.resources.workers,
    )
    return PreparedStudy(study_flow(found, inputs, settings, softness_of(view.document["metrics"])), inputs)


def submit_study(
    store: NodeStore, queue: WorkflowQueue, view: StateView, kind: str, settings: Section, phases: StudyPhases
) -> tuple[str, bool]:
    """Add a study to the queue of a site; what was computed of it is found by its keys and not computed again.

    Parameters
    ----------
    store : NodeStore
        Of the site.
    queue : WorkflowQueue
    view, kind, settings, phases
        As :func:`run_study` takes them.

    Returns
    -------
    name : str
        Of the workflow.
    added : bool
        Whether it was added now; False if it was there already.

    Raises
    ------
    QueryError, CheckpointError, ConfigError
        As :func:`run_study`; nothing was added.
    """
    from coevo.slurm.study_submission import submit_study as submit

    prepared = prepare_study(store, view, kind, settings, phases)
    asked = {
        "node": view.node,
        "study": kind,
        "state": view.id,
        "phases": [phase["id"] for phase in phases.phases],
        "settings": settings.model_dump(mode="json"),
    }
    return submit(queue, prepared.flow, asked, view.iteration)


def plan_study(view: StateView, kind: str, settings: Section, phases: StudyPhases) -> StudyEstimate:
    """Say what a study would cost; nothing is computed or stored.

    Raises
    ------
    QueryError
        There is no such kind.
    """
    structures = [view.structure(phase["id"]) for phase in phases.phases]
    found: StudyEstimate = part(kind_of(kind).estimate)(_config(view), structures, settings)
    return found


def _config(view: StateView) -> NodeConfig:
    return config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
