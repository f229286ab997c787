"""Make a probe of a node in this process; a killed one goes on when it is asked for again, and no state is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.campaigns.running import run_flow
from coevo.configs.loading import config_from_dict
from coevo.flows.probe import Probe, ProbeMaker, probe_config, unfitted
from coevo.makers.checkpoints import check_checkpoint
from coevo.node_store.known_fields import checkpoint_reference
from coevo.node_store.probes import note_probe
from coevo.node_store.trust.arrivals import refuse_unagreed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def make_probe(
    store: NodeStore,
    view: StateView,
    *,
    draws: int,
    batches: int,
    max_atoms: int | None = None,
    formulas: Sequence[str] = (),
    seed: int | None = None,
) -> Probe:
    """Draw structures with the unfitted generator and relax them by a state's force field.

    Parameters
    ----------
    store : NodeStore
    view : StateView
        Its configuration and its force field are used.
    draws, batches : int
        As :meth:`coevo.flows.probe.ProbeMaker.make` takes them.
    max_atoms, formulas, seed
        As :func:`coevo.flows.probe.probe_config` takes them.

    Raises
    ------
    ConfigError
        If the options or the configuration are not valid; nothing was computed.
    CheckpointError
        If the force field is not here, or came in a bundle and is not trusted; nothing was computed.
    """
    from jobflow import JobStore
    from jobflow.core.reference import find_and_resolve_references
    from maggma.stores import MemoryStore

    own = config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")
    config = probe_config(own, max_atoms=max_atoms, formulas=formulas, seed=seed)
    refuse_unagreed(store, view.node, {"screening": config.screening.model_dump(mode="json")})
    check_checkpoint(store, view, "force_field")
    force_field = checkpoint_reference(view.document["checkpoints"]["force_field"])
    flow = ProbeMaker(config=config).make(draws, batches, unfitted(config), force_field)
    documents = JobStore(MemoryStore())
    run_flow(flow, documents)
    found = find_and_resolve_references(flow.output, documents)
    return Probe(config, force_field, draws, tuple(tuple((made, relaxed) for made, relaxed in batch) for batch in found))


def note_environments(store: NodeStore, view: StateView, probe: Probe, measured: Mapping[str, Any]) -> bool:
    """Note what a probe says of environments, so that it stands beside the signal of the node.

    Parameters
    ----------
    store : NodeStore
    view : StateView
        Whose force field relaxed it.
    probe : Probe
    measured : mapping
        As :func:`coevo.studies.completeness.measuring.measure` gives it.

    Returns
    -------
    bool
        Whether it was: not of a node without a resolution, and not of a probe of chosen formulas or other sizes, which is another
        population than the node's generator began with.
    """
    own = probe_config(config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}"))
    found = measured["environments"]
    if found is None or probe.config.generator != own.generator:
        return False
    noted = {
        "draws": measured["probe"]["drawn"],
        "batches": measured["probe"]["batches"],
        "seed": measured["probe"]["seed"],
        "e_hull": measured["e_hull"],
        "distance": found["distance"],
        "far": found["batches"],
    }
    note_probe(store.backend, view, noted)
    return True
