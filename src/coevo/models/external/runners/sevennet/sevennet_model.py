"""A SevenNet model: its weights by name or from a checkpoint of a fit, and predictions of batches by its own batch path."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import sevenn._keys as KEY  # noqa: N812 - as SevenNet calls it
import sevenn.checkpoint
import sevenn.util
import torch
from ase import Atoms
from coevo_network import crystals
from coevo_runner import TaskError
from sevenn.atom_graph_data import AtomGraphData
from sevenn.train.dataload import unlabeled_atoms_to_graph
from torch_geometric.loader.dataloader import Collater

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PUBLISHED: dict[str, tuple[str, str | None, str]] = {
    "7net-0": ("7net-0_11july2024", None, "pbe"),
    "7net-l3i5": ("7net-l3i5", None, "pbe"),
    "7net-mf-0-pbe": ("7net-mf-0", "PBE", "pbe"),
    "7net-mf-0-r2scan": ("7net-mf-0", "R2SCAN", "r2scan"),
    "7net-mf-ompa-mpa": ("7net-mf-ompa", "mpa", "pbe"),
    "7net-mf-ompa-omat24": ("7net-mf-ompa", "omat24", "omat24"),
    "7net-omat": ("7net-omat", None, "omat24"),
}
"""Weights by coevo's name: SevenNet's name, the modality of one that has several, and the scale of its energies."""

CHECKPOINT = "checkpoint.pth"
"""File of a model directory: a checkpoint of SevenNet's own form."""

FULL = [0, 3, 5, 3, 1, 4, 5, 4, 2]
"""Places of a 3 x 3 matrix in SevenNet's order of six components, xx yy zz xy yz zx."""


@contextmanager
def tensors_only() -> Iterator[None]:
    """Read checkpoints in this block as tensors, numbers and texts only, so that no code of whoever wrote one runs."""

    def load(path: str, **kwargs: Any) -> Any:
        return torch.load(path, **{**kwargs, "weights_only": True})

    with mock.patch.object(sevenn.checkpoint, "torch_load", load):
        yield


@dataclass
class Model:
    """A network on its device.

    Attributes
    ----------
    network : torch.nn.Module
    config : dict
        SevenNet's configuration of it.
    modality : str or None
    energy_scale : str
    device : torch.device
    """

    network: Any
    config: dict[str, Any]
    modality: str | None
    energy_scale: str
    device: torch.device

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.config[KEY.CUTOFF])

    @property
    def elements(self) -> list[int]:
        """Atomic numbers."""
        return sorted(int(z) for z in self.config[KEY.TYPE_MAP])

    def element_energies(self) -> dict[str, float]:
        """Energy that the network adds for each atom of an element, eV."""
        types = self.config[KEY.TYPE_MAP]
        shift = self.config[KEY.SHIFT]
        if isinstance(shift, dict) and self.modality is not None:
            shift = shift[self.modality]
        if isinstance(shift, float):
            shift = [shift] * len(types)
        by_number = len(shift) > len(types)
        return {str(z): float(shift[z if by_number else place]) for z, place in types.items()}

    def graph(self, atoms: Atoms) -> AtomGraphData:
        """The graph of a crystal."""
        data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, self.cutoff))
        if self.modality is not None:
            data[KEY.DATA_MODALITY] = self.modality
        return data

    def predict(self, numbers: Any, counts: Any, positions: Any, cells: Any) -> dict[str, Any]:
        """Energies (eV), forces (eV/Å) and stresses (eV/Å³, ASE sign) of crystals, as coevo sends them."""
        each = crystals(numbers, counts, positions, cells)
        return self.predict_graphs([self.graph(Atoms(numbers=z, positions=x, cell=c, pbc=True)) for z, x, c in each])

    def predict_graphs(self, graphs: Sequence[AtomGraphData]) -> dict[str, Any]:
        """As :meth:`predict`, of graphs that are made already."""
        batch = Collater([])([graph.clone() for graph in graphs]).to(self.device)
        found = self.network(batch)
        # SevenNet's stress is a pressure, of the opposite sign.
        stresses = -found[KEY.PRED_STRESS].detach().cpu().double().numpy().reshape(-1, 6)[:, FULL].reshape(-1, 3, 3)
        return {
            "energies": found[KEY.PRED_TOTAL_ENERGY].detach().cpu().double().numpy().reshape(-1),
            "forces": found[KEY.PRED_FORCE].detach().cpu().double().numpy(),
            "stresses": stresses,
        }


def open_model(request: dict[str, Any], device: torch.device) -> Model:
    """The model of a request: the file of a model directory, or published weights by name.

    Raises
    ------
    TaskError
        If there is none of that name, they are not here and cannot be fetched, or the file is no checkpoint of SevenNet.
    """
    document = request["document"]
    name = document.get("weights")
    if name not in PUBLISHED:
        raise TaskError("no_weights", f"no weights {str(name)[:80]!r}; there are {', '.join(PUBLISHED)}")
    published, modality, scale = PUBLISHED[name]
    try:
        if request["model"] is None:  # of the installed package, or its own download
            checkpoint = sevenn.util.load_checkpoint(published)
            config = checkpoint.config
        else:
            with tensors_only():
                checkpoint = sevenn.checkpoint.SevenNetCheckpoint(str(Path(request["model"]) / CHECKPOINT))
                config = checkpoint.config
        network = checkpoint.build_model()
    except Exception as err:  # a download, a file, a configuration: whatever it is, there is no model
        raise TaskError("no_weights", f"weights {name} cannot be opened: {type(err).__name__}: {str(err)[:500]}") from err
    network.set_is_batch_data(True)
    network.to(device).eval()
    network.requires_grad_(False)
    if modality is not None and modality not in (config.get(KEY.MODAL_MAP) or {}):
        raise TaskError("no_weights", f"weights {name} have no modality {modality}")
    return Model(network, config, modality, scale, device)


def place_of(name: str) -> str | None:
    """Where published weights are on this machine; downloads nothing."""
    with mock.patch.object(sevenn.util, "download_checkpoint", side_effect=FileNotFoundError):
        try:
            return str(sevenn.util.pretrained_name_to_path(PUBLISHED[name][0]))
        except FileNotFoundError:
            return None
