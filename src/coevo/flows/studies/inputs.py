"""What a study is handed: phases of a state with their structures, its hull, its force field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import ShardReference


@dataclass(frozen=True)
class StudyInputs:
    """Inputs of the Flow of a study; all of it may be an argument of a job.

    Attributes
    ----------
    node : str
    state : str
        Full id.
    config : NodeConfig
        Of the state.
    force_field : dict
        Checkpoint of the state, as jobs take it.
    phases : tuple of dict
        The chosen entries and references, the most stable first: ``id``, ``formula``, ``kind`` (``entry`` or ``reference``),
        ``name`` (of a reference), ``e_hull`` and ``energy_per_atom`` (eV/atom, in the state).
    structures : ShardReference
        Records ``{"id", "structure"}`` of the phases in their order, relaxed by the force field.
    hull : ShardReference
        Records ``{"id", "kind", "composition", "energy_per_atom"}`` of all that makes the hull of the state, with the energies
        that it has there (eV/atom); ``composition`` is symbol to atoms in the cell.
    prefix : str
        With which the names of all jobs begin: ``NODE/STUDY-STATE``; then ``/STEP`` and, of a shard, ``/0000``.
    workers : int or None
        Worker processes of a job.
    """

    node: str
    state: str
    config: NodeConfig
    force_field: Checkpoint
    phases: tuple[dict[str, Any], ...]
    structures: ShardReference
    hull: ShardReference
    prefix: str
    workers: int | None


@dataclass(frozen=True)
class StudyEstimate:
    """What a study is expected to cost.

    Attributes
    ----------
    jobs : int
    cpu_seconds : float or None
        None where it is not known of this force field.
    lines : tuple of str
        What else there is to say: atoms, supercells, steps; by what the time was measured.
    """

    jobs: int
    cpu_seconds: float | None
    lines: tuple[str, ...] = ()
