"""Merge two states, or extend one by elements, in this process; a killed merge goes on when the same command is given again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from coevo.campaigns.running import run_flow
from coevo.configs.changing import check_change, check_force_field
from coevo.configs.loading import config_from_dict, dump_config, parse_config
from coevo.configs.references import ELEMENTS_SET, joined_references, load_references
from coevo.configs.tree import ReferencesConfig
from coevo.errors import ConfigError, ReferenceDataError
from coevo.flows.campaign import of_branch
from coevo.flows.lineage import ExtendMaker, MergeMaker
from coevo.flows.seeding import check_generator
from coevo.makers.audit.auditor import check_auditor
from coevo.makers.checkpoints import check_checkpoints
from coevo.makers.committee.members import check_members, check_members_going_on, members_for
from coevo.makers.generators import check_generators_going_on, generators_for
from coevo.node_store.known_fields import checkpoint_reference
from coevo.node_store.lineage.transfers import bring_history
from coevo.node_store.recorded import readable_configuration
from coevo.node_store.seeds import seed_of_branch
from coevo.node_store.trust.arrivals import refuse_unagreed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.configs.tree import NodeConfig
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

Side = Literal["left", "right"]
Outcome = Literal["merged", "fast-forward", "nothing to do", "extended"]


@dataclass(frozen=True)
class Target:
    """Where the new state goes.

    Attributes
    ----------
    node, branch : str
    """

    node: str
    branch: str

    def __str__(self) -> str:
        return f"{self.node}@{self.branch}"


def merge(
    store: NodeStore, left: StateView, right: StateView, target: Target, *, train: bool = True, start: Side = "left"
) -> tuple[StateView, Outcome]:
    """Merge two states into a branch of a node, which is created if it is not there.

    Parameters
    ----------
    store : NodeStore
    left, right : StateView
        Of any nodes of the store whose chemical systems overlap.
    target : Target
    train : bool
        Fine-tune the force field on the labels of both and refit the generators; otherwise everything is evaluated by the force
        field of ``start``.
    start : {"left", "right"}
        Whose force field and generators the new state starts from; one of a mixture that it lacks is the other's.

    Returns
    -------
    view : StateView
        Head of the branch.
    outcome : {"merged", "fast-forward", "nothing to do"}

    Raises
    ------
    ConfigError
        If the states have no element in common, or the target's chemical system, withheld references or branch do not fit; or a
        generator that is to be fitted has no environment or checkout here, and nothing was computed.
    BranchMovedError
        If the branch was moved while the merge ran; the merge is kept as a branch of its own.
    CheckpointError
        If a model of the start is missing, damaged or not trusted; nothing was computed.
    """
    newer = _descendant(left, right)
    from_side, other_side = (newer, None) if newer else (left, right) if start == "left" else (right, left)
    config = _config_of(newer, target.node) if newer else _merged_config(left, right, target.node, from_side)
    if not newer and target.node not in store.nodes():
        _check_models(store, from_side, config, other_side, fit=train)  # no node is left behind
    config = _create_or_check(store, config, [newer] if newer else [left, right], from_side)
    with store.run_lock(target.node, target.branch):
        head_id = store.head(target.node, target.branch)
        head = store.state(f"{target.node}@{head_id}") if head_id else None
        if head and _contains(head, left) and _contains(head, right):
            return head, "nothing to do"
        if head and not (_contains(left, head) or _contains(right, head)):
            raise ConfigError(
                f"branch {target} is at {head.id[:12]}, which is neither of the two states nor before one of them; merge into a "
                f"new branch (--into {target.node}@NAME), or merge with {target}"
            )
        if newer:
            store.move_branch(bring_history(store, newer, target.node), target.branch, head_id)
            return store.state(str(target)), "fast-forward"
        _check_models(store, from_side, config, other_side, fit=train)
        if head:
            check_change(_config_of(head, target.node), config, str(target))
            config = of_branch(
                config, seed_of_branch(store.backend, target.node, target.branch, head), store.config_source(target.node)
            )
        sides = {"left": bring_history(store, left, target.node), "right": bring_history(store, right, target.node)}
        parents = [sides["right"], sides["left"]] if head_id == right.id else [sides["left"], sides["right"]]
        flow = MergeMaker(config=config, branch=target.branch, train=train).make(
            [view.id for view in parents],
            sides[start].id,
            head_id,
            max(view.iteration for view in parents) + 1,
            checkpoints_of(sides[start], config, sides["right" if start == "left" else "left"]),
            f"merge {left.node}@{left.id[:8]} and {right.node}@{right.id[:8]}",
        )
        run_flow(flow)
    return store.state(str(target)), "merged"


def extend(
    store: NodeStore, source: StateView, elements: Sequence[str], name: str, references: str, *, base: Path | None = None
) -> tuple[StateView, Outcome]:
    """Start a node of more elements from a state.

    Parameters
    ----------
    store : NodeStore
    source : StateView
        Everything in it is valid in the new node as a sub-system; its checkpoints are where the new node starts.
    elements : sequence of str
        Symbols to add.
    name : str
        Of the new node.
    references : str
        A bundled set or a file with known structures of the new system, the new elements among them. Phases that the source
        withholds stay withheld.
    base : Path or None
        Directory that a relative file starts from.

    Raises
    ------
    ConfigError
        If an element is unknown or there already, or another node has the name.
    ReferenceDataError
        If the references cannot be used, or a new element has none of its own.
    """
    from coevo.flows.seeding import write_references

    before = source.document["elements"]
    repeated = sorted(set(elements) & set(before))
    if repeated or not elements:
        raise ConfigError(
            f"--elements: got {', '.join(elements) or 'nothing'}, allowed: elements that {source.node} does not have "
            f"({', '.join(before)} are there)"
        )
    try:
        config = _config_of(source, name, elements=[*before, *elements], references=references)
    except ConfigError as err:
        if "uncertainty.families" not in str(err):
            raise
        symbols = "-".join([*before, *elements])
        raise ConfigError(
            f"{err}; or start such a node without it: coevo init {name} --from-state {source.node}@{source.id[:12]} --set "
            f"node.elements={symbols} --set node.references={references} --set 'uncertainty.families=[]'"
        ) from None
    withheld = config.references.exclude
    known = [r for r in load_references(references, config.node.elements, base=base, complete=False) if r.name not in withheld]
    alone = {next(iter(r.structure.composition)).symbol for r in known if len(r.structure.composition) == 1}
    missing = [symbol for symbol in elements if symbol not in alone]
    if missing:
        raise ReferenceDataError(
            f"{references}: no structure of {', '.join(missing)} alone; the convex hull of the new node needs at least one of "
            f"each element; add the elemental crystal to the file, or join the bundled set: --references FILE+{ELEMENTS_SET}"
        )
    if name not in store.nodes() or store.head(name, "main") is None:
        _check_models(store, source, config)  # no node is left behind
    config = _create_or_check(store, config, [source], source)
    with store.run_lock(name, "main"):
        if store.head(name, "main") is None:
            parent = bring_history(store, source, name)
            flow = ExtendMaker(config=config).make(
                parent.id,
                parent.iteration + 1,
                write_references(known),
                checkpoints_of(parent, config),
                f"extend {source.node}@{source.id[:8]} by {', '.join(elements)}",
            )
            run_flow(flow)
            return store.state(name), "extended"
    return store.state(name), "nothing to do"


def _check_models(
    store: NodeStore, view: StateView, config: NodeConfig, other: StateView | None = None, *, fit: bool = False
) -> None:
    """Make sure that the models which go on can be loaded, and that generators that are to be fitted can be run here."""
    check_checkpoints(store, view)
    check_generators_going_on(store, view, config, other)
    check_members_going_on(store, view, config)
    if fit and config.generator.fit:
        check_generator(config)


def checkpoints_of(view: StateView, config: NodeConfig, other: StateView | None = None) -> dict[str, dict[str, Any]]:
    """Checkpoints of a state as jobs take them: both models, and the generators and members that a configuration wants besides.

    A generator of a mixture that the state lacks comes from the other state of a merge, if it has one of that family. An auditor
    is made sure of too, which judges the new state by what it said before.
    """
    check_members(config)
    check_auditor(config)
    found = view.document["checkpoints"]
    generators = generators_for(config, *(each.document["checkpoints"] for each in (view, other) if each is not None))
    return {"force_field": checkpoint_reference(found["force_field"]), **generators, **members_for(config, found)}


def _contains(view: StateView, other: StateView) -> bool:
    """Whether a state is another one, or descends from it."""
    return view.id == other.id or (
        view.iteration > other.iteration and any(ancestor.id == other.id for ancestor in view.ancestors())
    )


def _descendant(left: StateView, right: StateView) -> StateView | None:
    """Return the state that contains the other, or None."""
    if _contains(left, right):
        return left
    return right if _contains(right, left) else None


def _config_of(view: StateView, name: str, *, elements: Sequence[str] | None = None, references: str | None = None) -> NodeConfig:
    """Configuration of a state, for another node."""
    document = view.document["config"]
    with readable_configuration(view):
        # a seed is one branch's, and the text of a configuration is for all of them
        node = {**{key: value for key, value in document["node"].items() if key != "branch_seed"}, "name": name}
        if name != view.node:
            node["description"] = ""
        if elements is not None:
            node["elements"] = sorted(set(elements))
        if references is not None:
            node["references"] = joined_references(node["references"], references)
    return config_from_dict({**document, "node": node}, f"configuration of {view.node}@{view.id[:12]}")


def _merged_config(left: StateView, right: StateView, name: str, start: StateView) -> NodeConfig:
    """Configuration of the left state for the elements and references of both, with the force field of the start."""
    systems = [set(view.document["elements"]) for view in (left, right)]
    if not systems[0] & systems[1]:
        raise ConfigError(
            f"{left.node} ({', '.join(sorted(systems[0]))}) and {right.node} ({', '.join(sorted(systems[1]))}) have no element "
            "in common; allowed: states of the same or of overlapping chemical systems"
        )
    scales = [_said_of_node(view, "energy_scale") for view in (left, right)]
    if scales[0] != scales[1]:
        raise ConfigError(f"{left.node}@{left.id[:12]} is on the energy scale {scales[0]}, {_other_scale(right, scales[1])}")
    references = _said_of_node(right, "references")
    config = _config_of(left, name, elements=sorted(systems[0] | systems[1]), references=references)
    changed: dict[str, Any] = {"references": ReferencesConfig(exclude=_withheld_by_both(left, right))}
    if start.document["checkpoints"]["force_field"]["family"] != config.screening.force_field.family:
        force_field = _config_of(start, name).screening.force_field
        changed["screening"] = config.screening.model_copy(update={"force_field": force_field})
    return config.model_copy(update=changed)


def _check_force_field(config: NodeConfig, views: Sequence[StateView], start: StateView) -> None:
    """Refuse a node whose energies are on another scale than those of the states, or whose force field is not that of the start.

    Raises
    ------
    ConfigError
    """
    name, family = config.node.name, start.document["checkpoints"]["force_field"]["family"]
    for view in views:
        scale = _said_of_node(view, "energy_scale")
        if scale != config.node.energy_scale:
            raise ConfigError(f"node {name} is on the energy scale {config.node.energy_scale}, {_other_scale(view, scale)}")
    if family != config.screening.force_field.family:
        raise ConfigError(
            f"node {name}: screening.force_field.family is {config.screening.force_field.family}, and the force field of "
            f"{start.node}@{start.id[:12]} is of the family {family}; a merge goes on with the force field of one of its states "
            "(--force-field LEFT or RIGHT): choose the one of this family, or the name of a new node"
        )


def _other_scale(view: StateView, scale: str) -> str:
    ref = f"{view.node}@{view.id[:12]}"
    return (
        f"{ref} on {scale}; energies of two scales never meet in one hull; start a node from that state on the other scale, and "
        f"merge that: coevo init NEW --from-state {ref} --set screening.force_field.family=FAMILY (and .weights=WEIGHTS)"
    )


def _said_of_node(view: StateView, key: str) -> str:
    with readable_configuration(view):
        found = view.document["config"]["node"][key]
        if not isinstance(found, str):
            raise TypeError(f"node.{key} is a {type(found).__name__}, expected a text")
    return found


def _withheld_by_both(left: StateView, right: StateView) -> tuple[str, ...]:
    """Names of phases that one of the states withholds and none has as a reference."""
    withheld = {name for view in (left, right) for name in excluded_references(view)}
    known = {document["name"] for view in (left, right) for document in view.references()} if withheld else set()
    return tuple(sorted(withheld - known))


def excluded_references(view: StateView) -> list[str]:
    """Names of the phases that a state's configuration withholds; none in states that were made before one could."""
    with readable_configuration(view):
        return list(view.document["config"].get("references", {}).get("exclude", ()))


def _create_or_check(store: NodeStore, config: NodeConfig, sources: Sequence[StateView], start: StateView) -> NodeConfig:
    """Create the target node, or return the live configuration of the one that is there, if elements and scale are the same.

    Neither the configuration of the sources' nodes nor that of the target may hold what a bundle brought and nobody agreed to,
    nor may that of the states from which a new node's is made: in the new one, references of several are joined already.
    """
    name = config.node.name
    for view in sources:
        refuse_unagreed(store, view.node, _live(store, view.node, view).model_dump(mode="json"))
        if name not in store.nodes():
            refuse_unagreed(store, view.node, view.document["config"])
    if name not in store.nodes():
        _check_force_field(config, sources, start)
        store.create_node(name, config.node.elements, config.identity(), dump_config(config, comments=True))
        return config
    live = _live(store, name, start)
    refuse_unagreed(store, name, live.model_dump(mode="json"))
    if set(live.node.elements) != set(config.node.elements):
        raise ConfigError(
            f"node {name} has the elements {', '.join(live.node.elements)}, the new state has {', '.join(config.node.elements)}; "
            "choose the name of a new node, which gets them all"
        )
    if live.references != config.references:
        here, new = (", ".join(c.references.exclude) or "no reference" for c in (live, config))
        raise ConfigError(
            f"node {name} withholds {here} (references.exclude), the new state would withhold {new}; what a node withholds "
            "cannot change: choose the name of a new node"
        )
    _check_force_field(live, sources, start)
    return live


def _live(store: NodeStore, node: str, view: StateView) -> NodeConfig:
    """Configuration of a node as it stands now; another force field than that of a state, without its scale, is told as such."""
    text = store.read_config_text(node)
    try:
        return parse_config(text, store.config_source(node))
    except ConfigError:
        check_force_field(_config_of(view, node), text, f"{view.node}@{view.id[:12]}")
        raise
