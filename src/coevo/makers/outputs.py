"""What the jobs of a step return: small JSON documents of references and counts, typed.

They are dictionaries at run time. jobflow stores the module path of a pydantic schema in every job and output, and these are to
be read by later versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from coevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from coevo.makers.step import Document, ShardReference

Counts = dict[str, int]
"""A word, such as a reason, to how many."""

Checkpoint = dict[str, Any]
"""As a state holds it (:class:`coevo.node_store.documents.CheckpointDocument`)."""

Checkpoints = dict[str, Checkpoint]
"""Of a state, by slot: ``force_field``, ``generator``, ``generator/FAMILY``; members and generators of a mixture by name."""


class Keyed(TypedDict):
    """What every stored result has."""

    key: NotRequired[str]
    """Under which it is stored."""
    halved_batches: NotRequired[Counts]
    """Structures of the smallest batch that a force field answered, by the reason for which larger ones were halved."""


class Generated(Keyed):
    """Of a shard of candidates."""

    candidates: ShardReference
    rejected: Counts
    """Draws that became no candidate, by reason."""


class Raced(Generated):
    """Of a shard of draws that were looked at: those that were kept; what was not is rejected as ``raced_out``."""

    drawn: int
    """Draws that were looked at."""
    steps: int
    """Of relaxation before the look, in all."""


class Screened(Keyed):
    """Of a shard of candidates."""

    relaxed: ShardReference
    """Of ``{id, structure, energy_per_atom (eV/atom), fmax (eV/Å), steps, origin, path}``."""
    failed: ShardReference
    """Of the candidates, with ``reason`` and ``detail``."""
    rejected: Counts
    steps: int
    """Of relaxation, in all."""


class Curated(Keyed):
    """Of an iteration."""

    screened: ShardReference
    admitted: ShardReference
    sample: ShardReference
    counts: Document
    model: str
    """sha256 of the force field that screened the candidates."""
    energy_above_hull: Document | None
    """Quantiles, eV/atom."""


class Selected(Keyed):
    """Frames that are to be labelled."""

    frames: ShardReference
    """Of ``{id, structure, family, kind, how}``."""
    counts: Document


class LabelPacket(Keyed):
    """Labels of a packet of frames."""

    labels: ShardReference
    """Of label documents."""
    counts: Counts
    """By status."""
    reasons: Counts
    """Of those without numbers."""
    warnings: NotRequired[list[str]]


class Labelled(TypedDict):
    """All labels of an iteration, or those that are added outside one."""

    packets: list[LabelPacket]
    notes: NotRequired[list[str]]
    """What people should know of the references that the offsets are fitted on."""


class Evaluated(Keyed):
    """Of a shard of structures."""

    evaluated: ShardReference
    """The records with ``structure``, ``energy_per_atom`` (None where that failed, with a ``note``) and ``fmax``."""


class Reevaluated(TypedDict):
    """Of a population, shard by shard."""

    shards: list[ShardReference]
    runs: list[Keyed]
    """The evaluations that were done for it."""


class Fit(TypedDict):
    """What became of a fit of the force field."""

    checkpoint: Checkpoint
    """The adopted one: new or the parent's."""
    adopted: bool
    reason: str
    warning: str
    offsets: Document
    """Energy offsets per element (eV/atom), by digest of the settings of labels."""
    prequential: NotRequired[Document]
    """Errors of the parent's force field on the new labels."""
    frames: NotRequired[Counts]
    """By split."""
    test_before: NotRequired[Document]
    test_after: NotRequired[Document]
    """Errors on the test split."""
    fit: NotRequired[Document]
    """The family's own report."""
    test_loss_ratio: NotRequired[float]


class TrainedForceField(Fit, Keyed):
    """The force field that a state gets, and its labels."""

    labels: ShardReference
    """Of the label documents that are new in the state."""
    splits: ShardReference
    """Of ``{id, split}``, for all its labels."""


class TrainedMember(Keyed):
    """A member of the second opinion after an iteration."""

    checkpoint: Checkpoint | None
    """None: it was never fitted, so there is no such member yet."""
    adopted: bool
    reason: str
    frames: NotRequired[Counts]
    test_before: NotRequired[Document]
    test_after: NotRequired[Document]
    """Errors on the test split of the state."""
    fit: NotRequired[Document]
    test_loss_ratio: NotRequired[float]


class MembersEvaluated(TypedDict):
    """Energies of structures by each member of the second opinion."""

    members: dict[str, list[ShardReference]]
    """Of ``{id, energy_per_atom, note}``, on the member's own scale."""
    runs: list[Keyed]


class Calibrated(Keyed):
    """Errors on new labels against the spread of the parent's members."""

    calibration: Document | None
    reason: str


class Committee(TypedDict):
    """What a commit is told of the second opinion."""

    checkpoints: dict[str, Checkpoint | None]
    """By name of the member."""
    steps: list[Keyed]
    evaluated: MembersEvaluated


class TrainedGenerator(Keyed):
    """The generator that a state gets."""

    checkpoint: Checkpoint
    fitted: bool
    report: Document


class United(Keyed):
    """What the parents of a merge, or the one of an extension, hold together."""

    population: ShardReference
    """Of ``{id, kind, structure, energy_per_atom, fmax, note, since, model}``."""
    samples: dict[str, ShardReference]
    """By iteration."""
    splits: ShardReference
    """Of ``{id, split}``, for all labels."""
    offsets: Document
    references: ShardReference
    """Of the reference documents that are new."""
    counts: Document


class Assessed(Keyed):
    """What a state says of its population."""

    evaluations: ShardReference
    samples: ShardReference
    """Rows of the ruler."""
    counts: Document
    validation: Document | None
    """What first-principles labels say of stability."""
    fingerprints: Any
    committee: NotRequired[Document]
    """What a second opinion says: a metric of the state."""
    audit: NotRequired[Document]
    """What an audit says: a metric of the state."""


class AuditPacket(Keyed):
    """What a force field as the auditor says of a packet of structures."""

    audited: ShardReference
    """Of ``{id, energy_per_atom, is_bound, reason}``."""


class Audited(TypedDict):
    """What is looked at of an iteration, and what the auditor says of it."""

    auditor: Document
    drawn: ShardReference
    """The samples: of ``{id, formula, stratum, energy_above_hull, electron_excess}``."""
    populations: Counts
    """Structures of each stratum."""
    earlier: ShardReference
    """Of ``{id, energy_per_atom, is_bound, reason}``, some with ``formula`` and ``again``: what the same auditor said before."""
    new: list[str]  # ids that were computed for this state
    iteration: int
    references: list[Keyed]
    packets: list[Keyed]
    """Outputs of the jobs of the auditor: ``audited``, or ``labels`` of a code."""


class AuditRuns(TypedDict):
    """What a commit is told of an audit; ``before``: output of the job whose place that of the audit takes."""

    before: Keyed
    audit: Audited


class MeasuredModel(TypedDict):
    """The force field of a state that is measured, and what it is compared with."""

    force_field: Checkpoint
    parents: list[str]
    """Ids, that of the state whose force field goes on first."""
    offsets: NotRequired[Document]
    """Those of the state, by digest of the settings of labels."""
    labels: NotRequired[ShardReference]
    """Of label documents that no parent has."""
    splits: NotRequired[ShardReference]
    """Of ``{id, split}``, for all labels of the state; those of the parents where it is left out."""
    references: NotRequired[ShardReference | None]
    """Of reference documents that no parent has."""
    held_out: NotRequired[list[str] | None]
    """Ids that a held-out set is chosen from, where the force field goes on from a state of another node."""


class CalibratedEnvironments(Keyed):
    """At what distance two environments of a node are two."""

    calibration: Document


class Measured(Keyed):
    """What a state records of itself."""

    metrics: Document


class Committed(TypedDict):
    """The new state: its id."""

    state: str


class Transition(TypedDict):
    """What a state is made of by :class:`~coevo.makers.commit.CommitMaker`: the outputs of the steps of a transition.

    The first state of a node has neither a parent nor what an iteration generates, screens, selects, labels and trains on.
    """

    evaluated: Reevaluated
    assessed: Assessed
    generator: TrainedGenerator
    force_field: Checkpoint
    """The adopted one."""
    measured: Measured
    iteration: int
    parent: NotRequired[str | None]
    """Id of the parent state."""
    references: NotRequired[ShardReference | None]
    """Of the reference documents that are new."""
    generated: NotRequired[list[Generated]]  # with a race, what it kept
    drawn: NotRequired[list[Generated]]  # with a race, what it was made of
    bred: NotRequired[list[TrainedGenerator]]  # of several generations, the fits between them
    screened: NotRequired[list[Screened]]
    curated: NotRequired[Curated]
    selected: NotRequired[Selected]
    labelled: NotRequired[Labelled]
    trained: NotRequired[TrainedForceField]
    committee: NotRequired[Committee]
    environments: NotRequired[CalibratedEnvironments]
    audited: NotRequired[AuditRuns]
    generators: NotRequired[dict[str, TrainedGenerator]]  # of a mixture, those beside ``generator``, by family


class UnionTransition(TypedDict):
    """What a state is made of by :class:`~coevo.makers.commit_union.CommitUnionMaker`: a merge, an extension, added labels."""

    united: United
    evaluated: Reevaluated
    assessed: Assessed
    force_field: Checkpoint
    generator: Checkpoint
    measured: Measured
    iteration: int
    parents: list[str]
    """Ids, that of the state that is continued first."""
    expected: str | None
    """Head of the branch when the work began."""
    message: str
    trained: NotRequired[TrainedForceField]
    committee: NotRequired[Committee]
    environments: NotRequired[CalibratedEnvironments]
    audited: NotRequired[AuditRuns]
    generators: NotRequired[dict[str, TrainedGenerator]]
    fitted_generator: NotRequired[TrainedGenerator]
    """Of a mixture, what became of that in the slot ``generator`` in a merge."""


class Start(TypedDict):
    """What a new node takes along of a state of another one; documents are those of that state, with their ids."""

    population: ShardReference
    """Of ``{id, kind, structure, since}`` and, where they are evaluated already, ``energy_per_atom, fmax, note, model``."""
    structures: ShardReference
    references: ShardReference
    labels: ShardReference
    splits: ShardReference
    """Of ``{id, split}``, for all labels."""


class StartTransition(TypedDict):
    """What a state is made of by :class:`~coevo.makers.commit_start.CommitStartMaker`."""

    start: Start
    evaluated: Reevaluated
    assessed: Assessed
    force_field: Checkpoint
    generator: TrainedGenerator
    measured: Measured
    started_from: dict[str, str]
    """``node`` and ``state``."""
    trained: NotRequired[TrainedForceField]
    """Offsets and errors; left out without labels."""
    committee: NotRequired[Committee]
    environments: NotRequired[CalibratedEnvironments]
    generators: NotRequired[dict[str, TrainedGenerator]]


SCREENED = ("relaxed", "failed", "rejected", "steps")
PACKET = ("labels", "counts", "reasons")
RELAXED = ("id", "structure", "energy_per_atom", "origin", "path")
"""Fields that a step of the user's own must give (docs/labels.md): those that are read."""


def check_own(found: Any, wanted: Collection[str], what: str) -> None:
    """Make sure that what another Maker than coevo's may have made has the fields that are read.

    Raises
    ------
    ConfigError
        It is no mapping, or lacks some.
    """
    lacking = [name for name in wanted if not isinstance(found, Mapping) or name not in found]
    if lacking:
        names = ", ".join(map(str, found)) if isinstance(found, Mapping) else ""
        got = f"a mapping of {names or 'nothing'}" if isinstance(found, Mapping) else f"a {type(found).__name__}"
        raise ConfigError(
            f"{what}: got {got}, without {', '.join(lacking)}; a screen_maker and a label_maker of your own give what "
            "docs/labels.md lists"
        )


def check_labelled(found: Any) -> None:
    """Make sure that the output of a label step, which may be the user's own, has packets of labels; raises ConfigError."""
    check_own(found, ("packets",), "output of the label step")
    packets = found["packets"]
    for packet in packets if isinstance(packets, list | tuple) else [packets]:
        check_own(packet, PACKET, "packet of the label step")
