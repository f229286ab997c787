"""A campaign: a number of transitions of one branch, each a workflow of its own, decided from the branch head alone.

The decision is idempotent: whoever asks, and however often, gets the same next workflow for the same head, and a campaign that
was killed goes on where its branch stands.

Also here, what a Flow may be handed: plain values, references to outputs of its own jobs, and nothing that a decoder acts on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from coevo.configs.changing import check_change, check_force_field
from coevo.configs.loading import config_difference, config_from_dict, parse_config
from coevo.errors import CampaignError, ConfigError, CorruptArtifactError, StateNotFoundError
from coevo.flows.transition import CoevolutionMaker, SeedMaker
from coevo.makers.committee.members import members_for
from coevo.makers.generators import further, generators_for
from coevo.node_store.known_fields import checkpoint_reference, refuse_marked_keys
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jobflow import Flow

    from coevo.configs.loading import LoadedConfig
    from coevo.configs.tree import NodeConfig
    from coevo.node_store.documents import CampaignDocument
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def check_inputs(flow: Flow) -> None:
    """Look at the arguments of every job of a Flow before it is run or added to a queue.

    jobflow writes arguments as JSON and reads them with a decoder that imports what a mapping with ``@module`` names. References
    to outputs are objects of their own here, so a mapping with such a key can only have come from a document.

    Raises
    ------
    CorruptArtifactError
        With the job and the path to the key; nothing was run.
    """
    for job, _ in flow.iterflow():
        try:
            refuse_marked_keys(list(job.function_args), "arguments")
            refuse_marked_keys(dict(job.function_kwargs), "arguments")
        except ValueError as err:
            what = f"job {job.name}: {err}; nothing was run; a document of the state holds it: see coevo verify"
            raise CorruptArtifactError(what) from None


Say = Callable[[str], None]
Verdict = Literal["continue", "finished", "mature"]


@dataclass(frozen=True)
class Decision:
    """What a campaign does next.

    Attributes
    ----------
    verdict : {"continue", "finished", "mature"}
    done : int
        Transitions made since the campaign's start.
    flow : Flow or None
        The next transition.
    """

    verdict: Verdict
    done: int
    flow: Flow | None = None


def next_transition(
    config: NodeConfig, head: Mapping[str, Any], *, branch: str, start_iteration: int, iterations: int
) -> Decision:
    """Decide on the next transition.

    Parameters
    ----------
    config : NodeConfig
        The node's configuration as it stands now.
    head : mapping
        Document of the state at the branch head (``_id``, ``iteration``, ``checkpoints``, ``metrics``).
    branch : str
    start_iteration : int
        Iteration of the state that the campaign started from.
    iterations : int
        Transitions that the campaign is to make.
    """
    done = head["iteration"] - start_iteration
    if done >= iterations:
        return Decision("finished", done)
    if done and head["metrics"]["maturity"]["mature"]:
        return Decision("mature", done)
    force_field = checkpoint_reference(head["checkpoints"]["force_field"])
    generators = generators_for(config, head["checkpoints"])
    committee = members_for(config, head["checkpoints"])
    flow = CoevolutionMaker(config=config, branch=branch).make(
        head["_id"], head["iteration"] + 1, force_field, generators["generator"], committee, further(generators)
    )
    return Decision("continue", done, flow)


def create_node(store: NodeStore, loaded: LoadedConfig, *, base: Path | None = None, say: Say | None = None) -> None:
    """Create the node of a configuration, without a state; one that is there with the same configuration is left as it is.

    Parameters
    ----------
    store : NodeStore
    loaded : LoadedConfig
        Configuration and its text.
    base : Path or None
        Directory that a relative file of references starts from.
    say : callable, optional
        Is told what of the references is left out.

    Raises
    ------
    NodeExistsError
        The node exists with another configuration.
    ConfigError
        The configuration names the seed of a branch, a force field that does not know its elements, or a model file that is not
        there.
    ModelError
        A model file that it names cannot be read; then there is no node.
    ReferenceDataError
        The references cannot be read; then there is no node.
    """
    from coevo.configs.references import load_references
    from coevo.flows.seeding import check_elements, check_own_file

    config = of_branch(loaded.config, 0, loaded.source)
    check_elements(config)
    load_references(config.node.references, config.node.elements, base=base, exclude=config.references.exclude, say=say)
    check_own_file(config)
    store.create_node(config.node.name, config.node.elements, config.identity(), loaded.text)


def seed_flow(loaded: LoadedConfig, *, base: Path | None = None) -> Flow:
    """Write what a new node starts from as artifacts, and wire its first state.

    Parameters
    ----------
    loaded : LoadedConfig
    base : Path or None
        Directory that a relative file of references starts from.
    """
    from coevo.configs.references import load_references
    from coevo.flows.seeding import published_force_field, write_references

    config = loaded.config
    references = load_references(config.node.references, config.node.elements, base=base, exclude=config.references.exclude)
    force_field, generators = published_force_field(config), generators_for(config)
    return SeedMaker(config=config).make(
        write_references(references), force_field, generators["generator"], members_for(config, {}), further(generators)
    )


def live_config(
    store: NodeStore, node: str, head: StateView, say: Say, branch: str | None = None, *, only_read: bool = False
) -> NodeConfig:
    """Read the node's configuration as it stands now, with the seed of the branch, and say how it differs from that of the head.

    Parameters
    ----------
    store : NodeStore
    node : str
    head : StateView
        Of the branch.
    say : callable
        Prints one line.
    branch : str or None
        Its seed may have been given to it since its head was made; None goes on with the seed of the head.
    only_read : bool
        Nothing will act on it; then it may hold what came in a bundle and the user has not agreed to.

    Raises
    ------
    ConfigError
        It is not valid, changes what cannot change, or holds what the user has not agreed to.
    """
    from coevo.node_store.seeds import recorded_seed, seed_of_branch
    from coevo.node_store.trust.arrivals import refuse_unagreed

    source = store.config_source(node)
    seed = recorded_seed(head) if branch is None else seed_of_branch(store.backend, node, branch, head)
    text, ref = store.read_config_text(node), f"{node}@{head.id[:12]}"
    before = config_from_dict(head.document["config"], source=f"configuration of {ref}")
    try:
        config = of_branch(parse_config(text, source=source), seed, source)
    except ConfigError:
        check_force_field(before, text, ref)
        raise
    if not only_read:
        refuse_unagreed(store, node, config.model_dump(mode="json"))
    check_change(before, config, ref)
    for line in config_difference(before.identity(), config.identity()):
        if not line.startswith("node.branch_seed:"):
            say(f"configuration changed: {line}")
    if seed != recorded_seed(head):
        say(f"branch {branch} goes on from {head.id[:8]} with a seed of its own: {seed}")
    return config


def of_branch(config: NodeConfig, seed: int, source: str) -> NodeConfig:
    """Return a node's configuration as a branch with a seed uses it.

    Raises
    ------
    ConfigError
        The text of the configuration names a seed of a branch; it is that of all branches.
    """
    if config.node.branch_seed:
        raise ConfigError(
            f"{source}: node.branch_seed: got {config.node.branch_seed}, allowed: nothing, because a file is read for all "
            "branches; remove the line and say coevo run NODE --branch NAME --seed N, or coevo branch REF NAME --seed N"
        )
    return config.model_copy(update={"node": config.node.model_copy(update={"branch_seed": seed})}) if seed else config


def start_or_resume(store: NodeStore, node: str, branch: str, iterations: int, say: Say) -> CampaignDocument:
    """Return the campaign to work on: the unfinished one of this branch, or a new one that is recorded now."""
    head = store.head(node, branch)
    if head is None:
        raise StateNotFoundError(f"node {node!r} has no state on branch {branch!r} yet; finish `coevo init` first")
    unfinished = store.unfinished_campaign(node, branch)
    if unfinished is None:
        return store.start_campaign(node, branch, iterations, head)
    say(
        f"finishing the campaign of {counted(unfinished.iterations, 'transitions')} that started from "
        f"{(unfinished.start or '')[:8]}; run again for more"
    )
    return unfinished


def decide(store: NodeStore, campaign: CampaignDocument, say: Say) -> tuple[Decision, StateView]:
    """Decide on the next transition of a recorded campaign from where its branch stands.

    Returns
    -------
    decision : Decision
    head : StateView
        The branch head that it rests on.

    Raises
    ------
    CampaignError
        The branch no longer descends from the state that the campaign started from.
    ConfigError
        The node's configuration is not valid any more.
    StateNotFoundError
        The node has no state yet.
    """
    node, branch = campaign.node, campaign.branch
    if store.head(node, branch) is None:
        raise StateNotFoundError(f"node {node!r} has no state on branch {branch!r} yet; finish `coevo init` first")
    head = store.state(f"{node}@{branch}")
    start_iteration = 0
    if campaign.start is not None:
        start = store.state(f"{node}@{campaign.start}")
        start_iteration = start.iteration
        if head.id != start.id and start.id not in {state.id for state in head.ancestors()}:
            raise CampaignError(
                f"branch {branch!r} of {node!r} stands at {head.id[:8]}, which does not descend from {start.id[:8]}, "
                "where the unfinished campaign started: somebody moved the branch; move it back or make a new branch"
            )
    config = live_config(store, node, head, say, branch)
    document = {**head.document, "_id": head.id}
    decision = next_transition(config, document, branch=branch, start_iteration=start_iteration, iterations=campaign.iterations)
    return decision, head
