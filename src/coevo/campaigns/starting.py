"""Start a node from a state of another one: its structures, references and labels, with everything evaluated anew.

That is the way to another force field, whose energies never meet those of the first in one hull. What stays of the models is told
by the configuration: a force field of the same family and weights goes on as the state has it, another one starts as it is
published; a generator of the same family goes on, another one starts unfitted and is fitted once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.campaigns.running import run_flow
from coevo.configs.loading import LoadedConfig, config_from_dict, dump_config
from coevo.configs.overrides import Override, with_overrides
from coevo.configs.references import load_references
from coevo.errors import ConfigError, NodeExistsError, NodeNotFoundError, ReferenceDataError, StateNotFoundError
from coevo.families import COMMITTEE
from coevo.flows.campaign import of_branch
from coevo.flows.lineage import StartMaker
from coevo.flows.seeding import check_elements, check_generator, published_force_field, write_start
from coevo.makers.checkpoints import check_checkpoint
from coevo.makers.committee.members import check_members, check_members_going_on, members_for
from coevo.makers.generators import SLOT, further, slot_in, slots_of, unfitted
from coevo.makers.signals.held_out import held_out_of
from coevo.node_store.known_fields import checkpoint_reference
from coevo.node_store.recorded import readable_configuration
from coevo.node_store.trust.arrivals import refuse_unagreed
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from coevo.configs.references import ReferenceStructure
    from coevo.configs.tree import NodeConfig
    from coevo.flows.campaign import Say
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def start_from(store: NodeStore, ref: str, name: str, overrides: Sequence[Override], say: Say) -> str | None:
    """Create a node whose first state has the structures, references and labels of a state.

    Parameters
    ----------
    store : NodeStore
    ref : str
        The state, of any node of the database.
    name : str
        Of the new node.
    overrides : sequence of Override
        Values in place of those of the state's configuration.
    say : callable
        Prints one line.

    Returns
    -------
    str or None
        Id of the first state, or None when the node was there already, with this configuration and from this state.

    Raises
    ------
    ConfigError
        The configuration is not valid, lacks an element of the state, changes what is withheld, or holds what came in a bundle
        and nobody has agreed to. Nothing was written, as after every other error but of a job.
    NodeExistsError
        Another node has the name.
    ReferenceDataError
        Further references cannot be used, or an element has none.
    CheckpointError
        A model that goes on is missing, damaged or not trusted.
    """
    view = _state(store, ref)
    if name == view.node:
        raise ConfigError(f"--from-state {ref}: {name} is the node of that state; choose the name of a new node")
    config = _configuration(view, name, overrides, say)
    refuse_unagreed(store, view.node, config.model_dump(mode="json"))
    _check_fit(view, config)
    check_elements(config)
    check_members(config)
    more = _further_references(view, config, say)
    loaded = LoadedConfig(config, dump_config(config, comments=True), f"configuration of {view.node}@{view.id[:12]}")
    if name in store.nodes():
        store.create_node(name, config.node.elements, config.identity(), loaded.text)  # refuses another configuration
        if store.head(name, "main") is not None:
            _check_origin(store, name, view)
            return None
    going_on = _going_on(view, config)
    kept = _generators_going_on(view, config)
    if config.generator.fit:
        check_generator(config, [family for slot, family in slots_of(config).items() if slot not in kept])
    for slot in [*going_on, *kept.values()]:
        check_checkpoint(store, view, slot)
    members = _members_going_on(view, "force_field" in going_on)
    check_members_going_on(store, view, config, members)
    before = {slot: checkpoint_reference(view.document["checkpoints"][slot]) for slot in [*going_on, *kept.values()]}
    force_field = before["force_field"] if "force_field" in going_on else published_force_field(config)
    generators = {
        slot: before[kept[slot]] if slot in kept else unfitted(config, family) for slot, family in slots_of(config).items()
    }
    committee = members_for(config, members)
    start = write_start(view, more)
    store.create_node(name, config.node.elements, config.identity(), loaded.text)
    with store.run_lock(name):
        if store.head(name, "main") is not None:
            _check_origin(store, name, view)
            return None
        _tell(view, config, going_on, kept, say)
        flow = StartMaker(config=config).make(
            start,
            force_field,
            generators[SLOT],
            {"node": view.node, "state": view.id},
            offsets=view.manifest["offsets"] if "force_field" in going_on else {},
            fit_generator=SLOT not in kept,
            labels=bool(view.manifest["labels"]),
            held_out=_held_out(view) if "force_field" in going_on else None,
            committee=committee,
            generators=further(generators),
        )
        run_flow(flow)
    return store.head(name, "main")


def _state(store: NodeStore, ref: str) -> StateView:
    try:
        return store.state(ref)
    except (NodeNotFoundError, StateNotFoundError):
        if "/" in ref or Path(ref).is_file():
            raise ConfigError(
                f"--from-state: got {ref}, a file, allowed: a state of the database {store.place}, such as li-p-s@main; one of "
                "another database comes here in a bundle: coevo export REF FILE there, coevo import FILE here"
            ) from None
        raise


def _configuration(view: StateView, name: str, overrides: Sequence[Override], say: Say) -> NodeConfig:
    """Configuration of a state with another name and the values that are given."""
    source = f"configuration of {view.node}@{view.id[:12]}"
    if other := next((each for each in overrides if each.location == ("node", "name") and each.value != name), None):
        raise ConfigError(f"{other.option}: {other}, allowed: {name}, the name that the new node is given; say it once")
    with readable_configuration(view):
        document = view.document["config"]
        # a seed is one branch's, and the text of a configuration is for all of them
        node = {key: value for key, value in document["node"].items() if key != "branch_seed"} | {"description": ""}
        named = [Override(("node", "name"), name, "NEW"), *(each for each in overrides if each.location != ("node", "name"))]
        config, _ = with_overrides({**document, "node": node}, named, lambda _, message: f"{source}: {message}", say)
    return of_branch(config, 0, source)


def _check_fit(view: StateView, config: NodeConfig) -> None:
    """Refuse a node that cannot hold what the state has, or would withhold something else."""
    lacking = sorted(set(view.document["elements"]).difference(config.node.elements))
    if lacking:
        raise ConfigError(
            f"node.elements: got {', '.join(config.node.elements)}, without {', '.join(lacking)} of {view.node}@{view.id[:12]}; "
            "allowed: the elements of the state, and further ones whose known structures node.references names"
        )
    withheld = _said(view).references.exclude
    if config.references.exclude != withheld:
        raise ConfigError(
            f"references.exclude: got {', '.join(config.references.exclude) or 'nothing'}, allowed: what "
            f"{view.node}@{view.id[:12]} withholds ({', '.join(withheld) or 'nothing'}), because its entries and labels were "
            "made so; for other phases make a node with coevo init CONFIG"
        )


def _said(view: StateView) -> NodeConfig:
    with readable_configuration(view):
        return config_from_dict(view.document["config"], f"configuration of {view.node}@{view.id[:12]}")


def _further_references(view: StateView, config: NodeConfig, say: Say) -> list[ReferenceStructure]:
    """References that the new configuration names and that of the state does not; each further element must be among them."""
    found: list[ReferenceStructure] = []
    if config.node.references != _said(view).node.references:
        known = load_references(config.node.references, config.node.elements, complete=False, say=say)
        found = [reference for reference in known if reference.name not in config.references.exclude]
    alone = {next(iter(r.structure.composition)).symbol for r in found if len(r.structure.composition) == 1}
    missing = sorted(set(config.node.elements).difference(alone, view.document["elements"]))
    if missing:
        raise ReferenceDataError(
            f"node.elements: no structure of {', '.join(missing)} alone among the references; the convex hull needs one of each "
            "element: name a file that has them, --set node.references=FILE"
        )
    return found


def _check_origin(store: NodeStore, name: str, view: StateView) -> None:
    """Refuse a node that is there and began with something else."""
    head = store.state(name)
    origin = [head, *head.first_parents()][-1].started_from
    if origin is None or origin["state"] != view.id:
        began = "from its references" if origin is None else f"from {origin['node']}@{origin['state'][:12]}"
        raise NodeExistsError(
            f"node {name} exists already, with this configuration; it started {began} and not from {view.node}@{view.id[:12]}; "
            "choose another name"
        )


def _going_on(view: StateView, config: NodeConfig) -> list[str]:
    """The force field, if the new node goes on with that of the state."""
    checkpoints, chosen = view.document["checkpoints"], config.screening.force_field
    same = chosen == _said(view).screening.force_field and checkpoints["force_field"]["family"] == chosen.family
    return ["force_field"] if same else []


def _generators_going_on(view: StateView, config: NodeConfig) -> dict[str, str]:
    """Slots of the new node's generators that the state has, whatever their slot is there."""
    found = {slot: slot_in(view.document["checkpoints"], family) for slot, family in slots_of(config).items()}
    return {slot: kept for slot, kept in found.items() if kept is not None}


def _held_out(view: StateView) -> list[str]:
    """Ids of the labels that the force field of a state was never trained on, as far as its history says."""
    found = held_out_of(view)
    return found.ids if found else []


def _members_going_on(view: StateView, force_field: bool) -> dict[str, dict[str, Any]]:
    """Members of the state's second opinion; those that were fitted go on with the force field that they were fitted beside."""
    members = {slot: each for slot, each in view.document["checkpoints"].items() if slot.startswith(COMMITTEE)}
    return {slot: each for slot, each in members.items() if force_field or not each.get("parent")}


def _tell(view: StateView, config: NodeConfig, going_on: Sequence[str], kept: Collection[str], say: Say) -> None:
    manifest, chosen = view.manifest, config.screening.force_field
    kinds = {"structures": "entries", "references": "references", "labels": "labels"}
    held = ", ".join(counted(len(manifest[kind]), name) for kind, name in kinds.items())
    say(f"{config.node.name} starts from {view.node}@{view.id[:12]}: {held}")
    before, here = _said(view).node.energy_scale, config.node.energy_scale
    force_field = (
        "that of the state goes on"
        if "force_field" in going_on
        else f"{chosen.family} {chosen.weights} as published; everything is evaluated, the offsets of the labels are fitted anew"
    )
    say(f"force field: {force_field}; energy scale: {here if before == here else f'{before} -> {here}'}")
    for slot, family in slots_of(config).items():
        say(f"generator: {_which(config, family, is_new=slot not in kept)}")


def _which(config: NodeConfig, family: str, *, is_new: bool) -> str:
    new = f"{family}, unfitted"
    return new if is_new else f"{family}, that of the state goes on" if config.generator.mixture else "that of the state goes on"
