"""What a new node starts from: its references as a shard, and checkpoints of the published force field and the generator.

Also here, what it takes along if it starts from a state of another node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import ConfigError
from coevo.families import descriptor_of, names_of
from coevo.families.weights_files import weights_file
from coevo.makers.checkpoints import save_checkpoint
from coevo.makers.generators import unfitted
from coevo.makers.step import current_store, write_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coevo.configs.references import ReferenceStructure
    from coevo.configs.tree import NodeConfig
    from coevo.makers.outputs import Checkpoint, Start
    from coevo.makers.step import Record, ShardReference
    from coevo.node_store.views import StateView


def write_references(references: Sequence[ReferenceStructure]) -> ShardReference:
    """Write reference documents as a shard, sorted by id; equal structures are one reference (the first name stays).

    Parameters
    ----------
    references : sequence of ReferenceStructure
    """
    return write_records(current_store(), reference_documents(references))


def reference_documents(references: Sequence[ReferenceStructure]) -> list[Record]:
    """Documents of references, sorted by id; equal structures are one reference (the first name stays)."""
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
    return [documents[identity] for identity in sorted(documents)]


def write_start(view: StateView, more: Sequence[ReferenceStructure] = ()) -> Start:
    """Write what a new node takes along of a state: structures at their present geometry, and all documents as they are.

    Parameters
    ----------
    view : StateView
    more : sequence of ReferenceStructure
        Further references; a structure that is one of them is no entry any more.
    """
    from coevo.makers.populations.population import population_records
    from coevo.makers.unite import united_population

    store = current_store()
    known = set(view.manifest["references"])
    added = [row for row in reference_documents(more) if row["_id"] not in known]
    records = [{**record, "since": 0} for record in population_records(view)]  # in this node
    new = [{"id": row["_id"], "kind": "reference", "structure": row["structure"], "since": 0, "model": ""} for row in added]
    population, _ = united_population([records, new])
    labels = list(view.labels())
    return {
        "population": write_records(store, population),
        "structures": write_records(store, view.structure_documents()),
        "references": write_records(store, sorted([*view.references(), *added], key=lambda row: row["_id"])),
        "labels": write_records(store, [{key: value for key, value in row.items() if key != "split"} for row in labels]),
        "splits": write_records(store, [{"id": row["_id"], "split": row["split"]} for row in labels]),
    }


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


def check_environment(config: NodeConfig) -> None:
    """Make sure that the force field, which evaluates the references of a new node, can be asked on this machine.

    Raises
    ------
    ConfigError
        Its family has an environment of its own, and there is none here.
    """
    from coevo.models.external.environment import environment_of

    family = descriptor_of(config.screening.force_field.family, "force_field")
    if family.environment is not None:
        environment_of(family.environment)


def check_generator(config: NodeConfig, families: Iterable[str] | None = None) -> None:
    """Make sure that the generators of a node can be run on this machine, before anything is computed for it.

    Parameters
    ----------
    config : NodeConfig
    families : iterable of str, optional
        Those that are to be run, if they are not all that draw; one whose weight is 0 is never run.

    Raises
    ------
    ConfigError
        A family has an environment of its own, and there is none here, or a checkout that it runs from is absent or not what
        was tested.
    """
    from coevo.models.external.checkouts import verified_checkouts
    from coevo.models.external.environment import environment_of

    for name in config.generator.families if families is None else families:
        if config.generator.mixture and not config.generator.mixture.get(name):
            continue
        family = descriptor_of(name, "generator")
        if family.environment is not None:
            environment_of(family.environment)
            verified_checkouts(family.environment)


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
    return published_force_field(config), unfitted(config, config.generator.family)


def published_force_field(config: NodeConfig) -> Checkpoint:
    """Write the published force field as an artifact and return its checkpoint."""
    from coevo.models.registry import force_field_from

    published = config.screening.force_field
    force_field = force_field_from(published.family, weights=published.weights)
    return save_checkpoint(current_store(), force_field, parent=None, training_set=None)
