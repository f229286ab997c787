"""What the jobs of a step return: small JSON documents of references and counts, typed.

They are dictionaries at run time. jobflow stores the module path of a pydantic schema in every job and output, and these are to
be read by later versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from coevo.makers.step import ShardReference

Counts = dict[str, int]
"""A word, such as a reason, to how many."""

Checkpoint = dict[str, Any]
"""As a state holds it (:class:`coevo.node_store.documents.CheckpointDocument`)."""


class Keyed(TypedDict):
    """What every stored result has."""

    key: NotRequired[str]
    """Under which it is stored."""


class Generated(Keyed):
    """Of a shard of candidates."""

    candidates: ShardReference
    rejected: Counts
    """Draws that became no candidate, by reason."""


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
    counts: dict[str, Any]
    model: str
    """sha256 of the force field that screened the candidates."""
    energy_above_hull: dict[str, Any] | None
    """Quantiles, eV/atom."""


class Selected(Keyed):
    """Frames that are to be labelled."""

    frames: ShardReference
    """Of ``{id, structure, family, kind, how}``."""
    counts: dict[str, Any]


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


class TrainedGenerator(Keyed):
    """The generator that a state gets."""

    checkpoint: Checkpoint
    fitted: bool
    report: dict[str, Any]


class Assessed(Keyed):
    """What a state says of its population."""

    evaluations: ShardReference
    samples: ShardReference
    """Rows of the ruler."""
    counts: dict[str, Any]
    validation: dict[str, Any] | None
    """What first-principles labels say of stability."""
    fingerprints: Any


class Measured(Keyed):
    """What a state records of itself."""

    metrics: dict[str, Any]


class Committed(TypedDict):
    """The new state."""

    state: str
    """Its id."""
