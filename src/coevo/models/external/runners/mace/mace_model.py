"""A MACE model: published weights by name, a model of a user's own or a checkpoint, and predictions by MACE's own batch path."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from coevo_network import crystals
from coevo_runner import TaskError
from mace.calculators import foundations_models
from mace.data import AtomicData, Configuration
from mace.tools import AtomicNumberTable, torch_geometric
from mace.tools.utils import get_cache_dir
from mace_files import read_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PUBLISHED: dict[str, tuple[str, str | None, str]] = {
    "small": ("small", None, "pbe"),
    "medium": ("medium", None, "pbe"),
    "large": ("large", None, "pbe"),
    "small-0b": ("small-0b", None, "pbe"),
    "medium-0b": ("medium-0b", None, "pbe"),
    "small-0b2": ("small-0b2", None, "pbe"),
    "medium-0b2": ("medium-0b2", None, "pbe"),
    "large-0b2": ("large-0b2", None, "pbe"),
    "medium-0b3": ("medium-0b3", None, "pbe"),
    "medium-mpa-0": ("medium-mpa-0", None, "pbe"),
    "small-omat-0": ("small-omat-0", None, "omat24"),
    "medium-omat-0": ("medium-omat-0", None, "omat24"),
    "mace-matpes-pbe-0": ("mace-matpes-pbe-0", None, "pbe"),
    "mace-matpes-r2scan-0": ("mace-matpes-r2scan-0", None, "r2scan"),
    "mh-1-omat-pbe": ("mh-1", "omat_pbe", "omat24"),
    "mh-1-matpes-r2scan": ("mh-1", "matpes_r2scan", "r2scan"),
}
"""Weights by coevo's name: that of ``mace_mp(model=…)``, the head of a model that has several, and the scale of its energies."""

SOURCES = ("github:ACEsuit/mace-mp", "github:ACEsuit/mace-foundations")
"""Where MACE fetches published weights from: pickles, so that coevo has to vouch for the place."""


@dataclass
class Model:
    """A network on its device.

    Attributes
    ----------
    network : torch.nn.Module
    head : int
        Place of the head that is asked for.
    energy_scale : str
    device : torch.device
    """

    network: Any
    head: int
    energy_scale: str
    device: torch.device

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.network.r_max)

    @property
    def elements(self) -> list[int]:
        """Atomic numbers, in the order of the network."""
        return [int(z) for z in self.network.atomic_numbers]

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.network.parameters()).dtype

    def element_energies(self) -> dict[str, float]:
        """Energy that the network adds for each atom of an element, eV."""
        energies = torch.atleast_2d(self.network.atomic_energies_fn.atomic_energies)[self.head]
        return {str(z): float(e) for z, e in zip(self.elements, energies)}  # noqa: B905 - Python 3.8

    def graph(self, numbers: Any, positions: Any, cell: Any, **labels: Any) -> AtomicData:
        """The graph of a crystal, with its labels if there are some."""
        heads = [str(k) for k in range(self.head + 1)]
        crystal = Configuration(
            atomic_numbers=np.asarray(numbers),
            positions=np.asarray(positions, dtype=float),
            properties=labels,
            property_weights={},
            cell=np.asarray(cell, dtype=float),
            pbc=(True, True, True),
            head=heads[-1],
        )
        return AtomicData.from_config(crystal, z_table=AtomicNumberTable(self.elements), cutoff=self.cutoff, heads=heads)

    def predict(self, numbers: Any, counts: Any, positions: Any, cells: Any) -> dict[str, Any]:
        """Energies (eV), forces (eV/Å) and stresses (eV/Å³, ASE sign) of crystals, as coevo sends them."""
        return self.predict_graphs([self.graph(*crystal) for crystal in crystals(numbers, counts, positions, cells)])

    def predict_graphs(self, graphs: Sequence[AtomicData]) -> dict[str, Any]:
        """As :meth:`predict`, of graphs that are made already."""
        batch = torch_geometric.Batch.from_data_list(list(graphs)).to(self.device)
        found = self.network(batch.to_dict(), compute_stress=True)
        return {
            "energies": _plain(found["energy"]).reshape(-1),
            "forces": _plain(found["forces"]),
            "stresses": _plain(found["stress"]).reshape(-1, 3, 3),
        }


def _plain(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().double().numpy()


def open_model(request: dict[str, Any], device: torch.device) -> Model:
    """The model of a request: the file of a model directory, or published weights by name.

    Raises
    ------
    TaskError
        If there is none of that name, they are not here and cannot be fetched, or the file is no checkpoint of a MACE model.
    """
    document = request["document"]
    name, scale = document.get("weights"), str(document.get("energy_scale"))
    head: str | None = document.get("head")
    if request["model"] is not None:
        try:
            network = read_model(Path(request["model"]))
        except Exception as err:  # whatever it is, there is no model
            raise TaskError("no_weights", f"the checkpoint cannot be opened: {type(err).__name__}: {str(err)[:500]}") from err
        if name in PUBLISHED:
            _, head, scale = PUBLISHED[name]
    elif name in PUBLISHED:
        published, head, scale = PUBLISHED[name]
        network = fetched(published, request)
    else:
        raise TaskError("no_weights", f"no weights {str(name)[:80]!r}; there are {', '.join(PUBLISHED)}")
    return prepared(network, head, scale, device)


def prepared(network: Any, head: str | None, scale: str, device: torch.device) -> Model:
    """A network made ready for predictions with one of its heads.

    Raises
    ------
    TaskError
        If it has no such head, or has several and none is named.
    """
    heads = heads_of(network)
    if head is None and len(heads) > 1:
        default = [one for one in heads if one.lower() == "default"]
        if not default:
            raise TaskError("no_head", f"the model has the heads {', '.join(heads)[:300]}, and none of them was named")
        head = default[0]
    if head is not None and head not in heads:
        raise TaskError("no_head", f"the model has no head {head[:80]!r}; there are {', '.join(heads)[:300]}")
    network.to(device).eval()
    network.requires_grad_(False)
    model = Model(network, heads.index(head) if head is not None else 0, scale, device)
    # MACE makes graphs in torch's default type.
    torch.set_default_dtype(model.dtype)
    return model


def heads_of(network: Any) -> list[str]:
    """Names of the heads; models of earlier versions have one without a name."""
    return [str(one) for one in (getattr(network, "heads", None) or ["Default"])]


def fetched(name: str, request: dict[str, Any]) -> Any:
    """The network of published weights, which MACE fetches if they are not in its cache, in single precision as by ``mace_mp``.

    Raises
    ------
    TaskError
        If coevo does not vouch for where they come from, or they are not here and cannot be fetched.
    """
    missing = [source for source in SOURCES if source not in request.get("sources", ())]
    if missing:
        raise TaskError("not_trusted", f"published weights come from {missing[0]}, and the request does not trust it")
    try:
        with alone():
            path = foundations_models.download_mace_mp_checkpoint(name)
        return torch.load(path, map_location="cpu", weights_only=False).float()
    except Exception as err:  # a download, a file, an attribute of another version: whatever it is, there is no model
        cause = f"{type(err).__name__}: {str(err)[:500]}"
        raise TaskError(
            "no_weights",
            f"weights {name} are not in {get_cache_dir()}, or cannot be read or fetched: {cause}; "
            f"the file is {foundations_models.mace_mp_urls.get(name)}",
        ) from err


@contextmanager
def alone() -> Iterator[None]:
    """Let one process after another fetch: MACE writes what it fetches to one name."""
    directory = get_cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "coevo.lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def place_of(name: str) -> str | None:
    """Where published weights are on this machine; downloads nothing."""
    with mock.patch.object(foundations_models, "_urlretrieve_with_timeout", side_effect=FileNotFoundError):
        try:
            return str(foundations_models.download_mace_mp_checkpoint(PUBLISHED[name][0]))
        except OSError:
            return None
