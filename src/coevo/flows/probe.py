"""A probe: draws of the embedded generator before it has learned anything, relaxed by a state's force field; part of no state.

The generator is as it was published and has no parents to vary, so each draw is independent of all others and of what the node
has found: the same for all states of a node, but for the force field that relaxes them. Batches stand beside each other as
iterations do. Shards have a fixed size, so a larger probe takes over the whole shards of a smaller one, and a killed one goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker

from coevo.configs.element_lists import chemical_systems
from coevo.errors import ConfigError
from coevo.families import DEFAULT_GENERATOR
from coevo.flows.generators import shard_counts
from coevo.makers.generate import GenerateMaker
from coevo.makers.screen import ScreenMaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint, Generated, Screened

SHARD = 50
"""Draws of a job."""
USED = ("max_atoms", "compositions", "subsystem_fraction")
"""Settings of the generator that its draws depend on before it has learned anything. All others are of what it learns, but the
cap on electron excesses, which is not taken: it would make the draws of a shard depend on each other."""


@dataclass(frozen=True)
class Probe:
    """A probe that was made.

    Attributes
    ----------
    config : NodeConfig
        What it was made with (:func:`probe_config`).
    force_field : dict
        Checkpoint that relaxed the draws.
    draws : int
        As they were asked for.
    batches : tuple of tuple of (Generated, Screened)
        Outputs of the jobs: for each batch, for each shard.
    """

    config: NodeConfig
    force_field: Checkpoint
    draws: int
    batches: tuple[tuple[tuple[Generated, Screened], ...], ...]


def probe_config(
    config: NodeConfig, *, max_atoms: int | None = None, formulas: Sequence[str] = (), seed: int | None = None
) -> NodeConfig:
    """Return a node's configuration as a probe uses it.

    The generator is the embedded one, with the settings of the node that its draws depend on; the same for all branches.

    Parameters
    ----------
    config : NodeConfig
    max_atoms : int or None
        Atoms per cell, at most; those of the node by default.
    formulas : sequence of str
        Only these; those of the node by default.
    seed : int or None
        In place of the node's.

    Raises
    ------
    ConfigError
        If a formula cannot be drawn.
    """
    from coevo.configs.loading import config_from_dict

    plain = config.model_dump(mode="json")
    generator = {name: plain["generator"][name] for name in USED} | {"family": DEFAULT_GENERATOR.name}
    if max_atoms is not None:
        generator["max_atoms"] = max_atoms
    if formulas:
        generator["compositions"] = list(formulas)
    node = {key: value for key, value in plain["node"].items() if key != "branch_seed"}
    if seed is not None:
        node["seed"] = seed
    screening = plain["screening"] | {"path_frames": 0}  # nothing is labelled
    found = config_from_dict(plain | {"node": node, "generator": generator, "screening": screening}, "probe")
    for formula in formulas:
        if not can_draw(found, formula):
            raise ConfigError(
                f"probe: got the formula {formula}, allowed: one that the generator draws, with at most "
                f"{found.generator.max_atoms} atoms, of {', '.join(sorted(drawn_systems(found)))}"
            )
    return found


def drawn_systems(config: NodeConfig) -> set[str]:
    """Return the chemical systems that a probe draws in."""
    weights = chemical_systems(config.node.elements, config.generator.subsystem_fraction)
    return {system for system, weight in weights.items() if weight > 0}


def can_draw(config: NodeConfig, formula: str, atoms: int | None = None) -> bool:
    """Whether a probe can draw a formula, in a cell of so many atoms; by default in one formula unit."""
    from pymatgen.core import Composition

    composition = Composition(formula)
    reduced, units = composition.get_reduced_composition_and_factor()
    wanted = {Composition(other).reduced_formula for other in config.generator.compositions}
    size = composition.num_atoms / units if atoms is None else atoms
    return (
        composition.chemical_system in drawn_systems(config)
        and size <= config.generator.max_atoms
        and (not wanted or reduced.reduced_formula in wanted)
    )


def unfitted(config: NodeConfig) -> Checkpoint:
    """Write the generator of a probe as an artifact and return its checkpoint."""
    from coevo.makers.checkpoints import save_checkpoint
    from coevo.makers.step import current_store
    from coevo.models.registry import generator_from

    generator = generator_from(DEFAULT_GENERATOR.name, settings=config.generator)
    return save_checkpoint(current_store(), generator, parent=None, training_set=None)


@dataclass
class ProbeMaker(Maker):
    """The Flow that draws a probe and relaxes it.

    Attributes
    ----------
    name : str
    config : NodeConfig
        Of :func:`probe_config`.
    """

    name: str = "probe"
    config: NodeConfig = field(kw_only=True)

    def make(self, draws: int, batches: int, generator: Checkpoint, force_field: Checkpoint) -> Flow:
        """Wire the probe.

        Parameters
        ----------
        draws, batches : int
            In all, in so many batches of equal size.
        generator, force_field : dict
            Checkpoints of the unfitted generator and of the state's force field.

        Returns
        -------
        Flow
            Its output: for each batch, for each shard, ``[generated, screened]``.

        Raises
        ------
        ConfigError
            If there are fewer draws than batches.
        """
        if not 1 <= batches <= draws:
            raise ConfigError(f"probe: got {draws} draws in {batches} batches, allowed: 1 batch or more, each of 1 draw or more")
        node, workers = self.config.node, self.config.resources.workers
        jobs, output = [], []
        for batch in range(batches):
            rows: list[Any] = []
            size = draws // batches + (batch < draws % batches)
            for shard, count in enumerate(shard_counts(size, SHARD)):
                prefix = f"{node.name}/{self.name}-{batch}"
                generate = GenerateMaker(
                    f"{prefix}/generate/{shard:04d}", workers, self.config.generator, node=node, purpose="probe"
                )
                screen = ScreenMaker(f"{prefix}/screen/{shard:04d}", workers, list(node.elements), self.config.screening)
                generated = generate.make(generator, batch, shard, count)
                screened = screen.make(generated.output["candidates"], force_field)
                jobs += [generated, screened]
                rows.append([generated.output, screened.output])
            output.append(rows)
        return Flow(jobs, output=output, name=f"{node.name}/{self.name}")
