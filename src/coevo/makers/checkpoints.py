"""Model checkpoints as artifacts: ``{"family", "format", "sha256", "size", "parent", "training_set"}``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.families import ROLES
from coevo.models.contracts import Generator
from coevo.models.registry import force_field_from, generator_from
from coevo.node_store.trust.loading import computed_here, condition, fetch_checkpoint, is_trusted
from coevo.settings import read_settings

if TYPE_CHECKING:
    from coevo.configs.tree import GeneratorConfig
    from coevo.makers.outputs import Checkpoint
    from coevo.models.contracts import ForceField
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


def save_checkpoint(
    store: NodeStore, model: ForceField | Generator, *, parent: Checkpoint | None, training_set: str | None
) -> Checkpoint:
    """Write a model that was computed here as an artifact, and record that it was where its loader can run code.

    Parameters
    ----------
    store : NodeStore
    model : ForceField or Generator
    parent : dict or None
        Checkpoint that the model was trained from.
    training_set : str or None
        sha256 of the training set.
    """
    with tempfile.TemporaryDirectory(prefix="coevo-") as directory:
        path = Path(directory) / "checkpoint"
        model.save(path)
        artifact = store.artifacts.put_file(path)
    if getattr(model, "trusted", True):
        computed_here(store, artifact.sha256, model.family, "generator" if isinstance(model, Generator) else "force_field")
    return {
        "family": model.family,
        "format": model.format,
        "sha256": artifact.sha256,
        "size": artifact.size,
        "parent": parent["sha256"] if parent else None,
        "training_set": training_set,
    }


def load_force_field(store: NodeStore, checkpoint: Checkpoint) -> ForceField:
    """Load a force field from its artifact, on the device of this process's settings.

    Raises
    ------
    CheckpointError
        If it is not here, has no loader here, came in a bundle and is not trusted, or cannot be read.
    """
    path = fetch_checkpoint(store, checkpoint, "force_field")
    trusted = is_trusted(store, checkpoint, "force_field")
    return force_field_from(checkpoint["family"], checkpoint=path, device=read_settings().device, trusted=trusted)


def check_checkpoints(store: NodeStore, view: StateView) -> None:
    """Make sure that both models of a state can be loaded, before anything is computed that ends in loading them.

    Of the members of a second opinion only those count that go on
    (:func:`coevo.makers.committee.members.check_members_going_on`): a state may have others, of families that are not here.

    Raises
    ------
    CheckpointError
        If one is not here, or came in a bundle and is not trusted.
    CorruptArtifactError
        If its bytes, in a store of this machine, are damaged; those of a remote store are verified by whoever loads them.
    """
    for role in ROLES:
        if role in view.document["checkpoints"]:
            check_checkpoint(store, view, role)


def check_checkpoint(store: NodeStore, view: StateView, role: str) -> None:
    """Make sure of one model of a state, as :func:`check_checkpoints` of all."""
    checkpoint = view.document["checkpoints"][role]
    if store.artifacts.directory is not None or condition(store, checkpoint, role) != "here":
        fetch_checkpoint(store, checkpoint, role)


def load_generator(store: NodeStore, checkpoint: Checkpoint, settings: GeneratorConfig) -> Generator:
    """Load a generator from its artifact, with the node's present generator settings; raises as :func:`load_force_field`."""
    path = fetch_checkpoint(store, checkpoint, "generator")
    trusted = is_trusted(store, checkpoint, "generator")
    return generator_from(checkpoint["family"], checkpoint=path, settings=settings, trusted=trusted)
