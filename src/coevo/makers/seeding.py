"""What a new node starts from: its references as a shard, and checkpoints of the published force field and the generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import ConfigError
from coevo.families import descriptor_of, names_of
from coevo.families.weights_files import weights_file
from coevo.makers.checkpoints import save_checkpoint
from coevo.makers.step import current_store, write_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.references import ReferenceStructure
    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Record, ShardReference


def write_references(references: Sequence[ReferenceStructure]) -> ShardReference:
    """Write reference documents as a shard, sorted by id; equal structures are one reference (the first name stays).

    Parameters
    ----------
    references : sequence of ReferenceStructure
    """
    from coevo.makers.populations.population import describe
    from coevo.node_store.canonical import structure_document, structure_id

    documents: dict[str, Record] = {}
    for reference in references:
        identity = structure_id(reference.structure)
        if identity in documents:
            continue
        documents[identity] = {
            "_id": identity,
            "name": reference.name,
            "source": reference.source,
            "licence": reference.licence,
            "structure": structure_document(reference.structure),
            **describe(reference.structure),
        }
    return write_records(current_store(), [documents[identity] for identity in sorted(documents)])


def check_elements(config: NodeConfig) -> None:
    """Refuse a node of elements that its force field does not know.

    Raises
    ------
    ConfigError
    """
    family = descriptor_of(config.screening.force_field.family, "force_field")
    unknown = sorted(set(config.node.elements) - (family.elements or set(config.node.elements)))
    if unknown:
        raise ConfigError(
            f"screening.force_field.family: got {family.name}, which does not know {', '.join(unknown)} of node.elements, "
            f"allowed: a family that does; known here: {', '.join(names_of('force_field'))}"
        )


def check_own_file(config: NodeConfig) -> None:
    """Read a model file of the user's own before there is a node: it may be none, or not know elements that its family does.

    Raises
    ------
    ConfigError
        If there is no such file, its family has no environment, or the model does not know an element of the node.
    ModelError
        If it cannot be read.
    """
    from pymatgen.core import Element

    from coevo.models.registry import force_field_class

    chosen = config.screening.force_field
    if weights_file(chosen.weights) is None:
        return
    known = force_field_class(chosen.family).published(chosen.weights).atomic_numbers
    unknown = [symbol for symbol in config.node.elements if Element(symbol).Z not in known]
    if unknown:
        raise ConfigError(
            f"screening.force_field.weights: got {chosen.weights}, which does not know {', '.join(unknown)} of node.elements, "
            "allowed: a model that does"
        )


def initial_checkpoints(config: NodeConfig) -> tuple[Checkpoint, Checkpoint]:
    """Write the published force field and the unfitted generator as artifacts and return their checkpoints."""
    from coevo.models.registry import force_field_from, generator_from

    store = current_store()
    published = config.screening.force_field
    force_field = force_field_from(published.family, weights=published.weights)
    generator = generator_from(config.generator.family, settings=config.generator)
    return (
        save_checkpoint(store, force_field, parent=None, training_set=None),
        save_checkpoint(store, generator, parent=None, training_set=None),
    )
