"""A DPA-3 model: a branch of published weights or a checkpoint of a fit, and predictions of padded batches."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from coevo_runner import TaskError
from deepmd.pretrained.download import DEFAULT_CACHE_DIR, resolve_model_path
from deepmd.pretrained.registry import MODEL_REGISTRY
from deepmd.pt.model.model import get_model
from deepmd.pt.train.wrapper import ModelWrapper
from deepmd.pt.utils.env import DEVICE
from deepmd.utils.model_branch_dict import get_model_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

MPTRJ = ("MP_traj_v024_alldata_mixu", "MPTraj")
OMAT24 = ("Omat24",)
PUBLISHED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "DPA-3.1-3M-mptrj": ("DPA-3.1-3M", MPTRJ, "pbe"),
    "DPA-3.1-3M-omat24": ("DPA-3.1-3M", OMAT24, "omat24"),
    "DPA-3.2-5M-mptrj": ("DPA-3.2-5M", MPTRJ, "pbe"),
    "DPA-3.2-5M-omat24": ("DPA-3.2-5M", OMAT24, "omat24"),
}
"""Weights by coevo's name: DeePMD-kit's name, names of the branch in its files (in any case), and the scale of its energies."""

CHECKPOINT = "model.pt"
"""File of a model directory: a checkpoint of DeePMD-kit's own form with one branch."""

KNOWN = [*range(1, 84), *range(89, 95)]
"""Atomic numbers that the training data of these branches have; the type maps of the networks go further."""

PADDING = -1
"""Type of an atom that is none."""

ATOMS_AT_ONCE = int(os.environ.get("DP_INFER_BATCH_SIZE", "1024"))
"""Atoms of a batch, padding counted, as DeePMD-kit's own evaluator bounds them."""


@dataclass
class Model:
    """A network on its device.

    Attributes
    ----------
    wrapper : ModelWrapper
        DeePMD-kit's, whose state is a checkpoint.
    energy_scale : str
    """

    wrapper: Any
    energy_scale: str

    def __post_init__(self) -> None:
        self.types = np.full(len(chemical_symbols) + 1, PADDING)
        symbols = self.network.get_type_map()
        for place, symbol in enumerate(symbols):
            if symbol in atomic_numbers:
                self.types[atomic_numbers[symbol]] = place

    @property
    def network(self) -> Any:
        """The network alone."""
        return self.wrapper.model["Default"]

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.network.get_rcut())

    @property
    def elements(self) -> list[int]:
        """Atomic numbers."""
        return [z for z in KNOWN if self.types[z] != PADDING]

    def element_energies(self) -> dict[str, float]:
        """Energy that the network adds for each atom of an element, eV."""
        atomic = self.network.atomic_model
        bias = atomic.out_bias[0].reshape(len(self.network.get_type_map()), -1)[:, 0].detach().cpu().double().numpy()
        return {str(z): float(bias[self.types[z]]) for z in self.elements}

    def predict(self, numbers: Any, counts: Any, positions: Any, cells: Any) -> dict[str, Any]:
        """Energies (eV), forces (eV/Å) and stresses (eV/Å³, ASE sign) of crystals, as coevo sends them."""
        energies, forces, stresses = np.zeros(len(counts)), np.zeros((len(numbers), 3)), np.zeros((len(counts), 3, 3))
        bounds = np.concatenate([[0], np.cumsum(counts)])
        for chosen in parts(counts):
            batch = self.padded(
                [(numbers[bounds[i] : bounds[i + 1]], positions[bounds[i] : bounds[i + 1]], cells[i]) for i in chosen]
            )
            output = self.wrapper(**batch)[0]
            found = {name: output[name].detach().cpu().double().numpy() for name in ("energy", "force", "virial")}
            for row, i in enumerate(chosen):
                energies[i] = found["energy"][row, 0]
                forces[bounds[i] : bounds[i + 1]] = found["force"][row, : counts[i]]
                virial = found["virial"][row].reshape(3, 3)
                stresses[i] = -0.5 * (virial + virial.T) / abs(np.linalg.det(cells[i]))
        return {"energies": energies, "forces": forces, "stresses": stresses}

    def padded(self, crystals: list[tuple[Any, Any, Any]]) -> dict[str, torch.Tensor]:
        """Crystals (atomic numbers, positions, cell) as one input, the smaller ones padded with atoms that are none."""
        most = max(len(numbers) for numbers, _, _ in crystals)
        coord = np.zeros((len(crystals), most, 3))
        atype = np.full((len(crystals), most), PADDING)
        box = np.zeros((len(crystals), 9))
        for row, (numbers, positions, cell) in enumerate(crystals):
            coord[row, : len(numbers)], atype[row, : len(numbers)] = positions, self.types[numbers]
            # DeePMD-kit takes the heights of a cell from its determinant; the vectors of a left-handed one turned round are the
            # same lattice.
            box[row] = (np.sign(np.linalg.det(cell)) * np.asarray(cell)).reshape(9)
        return {
            "coord": torch.tensor(coord, dtype=torch.float64, device=DEVICE),
            "atype": torch.tensor(atype, dtype=torch.long, device=DEVICE),
            "box": torch.tensor(box, dtype=torch.float64, device=DEVICE),
        }


def parts(counts: Any) -> Iterator[list[int]]:
    """Places of crystals that go together: of similar sizes, not more than :data:`ATOMS_AT_ONCE` with the padding."""
    chosen: list[int] = []
    for i in np.argsort(counts, kind="stable"):
        if chosen and (len(chosen) + 1) * counts[i] > ATOMS_AT_ONCE:  # the newest is the largest
            yield chosen
            chosen = []
        chosen.append(int(i))
    if chosen:
        yield chosen


def device_of(request: dict[str, Any]) -> torch.device:
    """The device that DeePMD-kit took.

    Raises
    ------
    TaskError
        If a GPU is asked for and there is none.
    """
    wanted = request["device"]
    if wanted.startswith("cuda") and DEVICE.type != "cuda":
        raise TaskError("no_gpu", f"device {wanted!r} was asked for, and torch sees no GPU in this environment; use cpu")
    return DEVICE


def open_model(request: dict[str, Any]) -> Model:
    """The model of a request: the file of a model directory, or a branch of published weights by name.

    Raises
    ------
    TaskError
        If there is none of that name, it is not here and cannot be fetched, or the file is no checkpoint of DPA-3.
    """
    name = request["document"].get("weights")
    if name not in PUBLISHED:
        raise TaskError("no_weights", f"no weights {str(name)[:80]!r}; there are {', '.join(PUBLISHED)}")
    published, branches, scale = PUBLISHED[name]
    path = published_file(published) if request["model"] is None else Path(request["model"]) / CHECKPOINT
    try:
        wrapper = read_checkpoint(path, branches)
    except Exception as err:  # a file, a configuration: whatever it is, there is no model
        raise TaskError("no_weights", f"weights {name} cannot be opened: {type(err).__name__}: {str(err)[:500]}") from err
    return Model(wrapper, scale)


def published_file(published: str) -> Path:
    """The file of published weights, fetched if it is not here; one that is here and not the right one is left alone.

    Raises
    ------
    TaskError
        If there is none, or it is another one than DeePMD-kit's registry has.
    """
    here = cached(published)
    if here.is_file() and not is_registered(here, published):
        raise TaskError(
            "no_weights",
            f"{here} is not the {published} that DeePMD-kit's registry knows: another sha256; move it away, and `dp pretrained "
            f"download {published}` or the next start fetches it",
        )
    try:
        return Path(resolve_model_path(published))
    except Exception as err:  # a download: whatever it is, there is no model
        raise TaskError(
            "no_weights",
            f"weights {published} cannot be fetched: {type(err).__name__}: {str(err)[:120]}; where there is internet, "
            f"`dp pretrained download {published}` fetches {here.name}, which belongs into {here.parent}",
        ) from err


def cached(published: str) -> Path:
    """Where DeePMD-kit keeps the file of published weights."""
    return Path(DEFAULT_CACHE_DIR) / str(MODEL_REGISTRY[published]["filename"])


def is_registered(path: Path, published: str) -> bool:
    """Whether a file is the one of DeePMD-kit's registry."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == MODEL_REGISTRY[published]["sha256"]


def read_checkpoint(path: Path, branches: tuple[str, ...]) -> Any:
    """The network of a checkpoint, of one of ``branches`` where it has several; read as tensors, numbers and texts only.

    Raises
    ------
    ValueError
        If it is of another architecture, has no such branch, or lacks parameters.
    """
    state = torch.load(path, map_location=DEVICE, weights_only=True)
    state = state.get("model", state)
    settings, prefix = state["_extra_state"]["model_params"], "model.Default."
    if "model_dict" in settings:
        names = {name.lower(): branch for name, branch in get_model_dict(settings["model_dict"])[0].items()}
        branch = next((names[name.lower()] for name in branches if name.lower() in names), None)
        if branch is None:
            raise ValueError(f"no branch {' or '.join(branches)}; there are {', '.join(settings['model_dict'])[:300]}")
        settings, prefix = settings["model_dict"][branch], f"model.{branch}."
    kind, descriptor, fitting = (settings.get(key, {}) for key in ("type", "descriptor", "fitting_net"))
    if (kind or "standard") != "standard" or descriptor.get("type") != "dpa3" or fitting.get("type", "ener") != "ener":
        raise ValueError(
            f"the model is {kind or 'standard'} with descriptor {descriptor.get('type')!r}, allowed: 'dpa3' and energies"
        )
    special = ("spin", "use_srtab", "modifier", "bridging_method", "hessian_mode")
    if odd := [key for key in special if str(settings.get(key)).lower() not in {"none", "false", ""}]:
        raise ValueError(f"the model has {', '.join(odd)}, which is not served here")
    wrapper = ModelWrapper(get_model(settings).to(DEVICE), model_params=settings)
    own = {key.replace(prefix, "model.Default.", 1): value for key, value in state.items() if key.startswith(prefix)}
    own["_extra_state"] = {"model_params": settings, "train_infos": {"lr": 0, "step": 0}}
    missing, unexpected = wrapper.load_state_dict(own, strict=False)
    learned = {key for key, _ in wrapper.named_parameters()}
    if lacking := sorted(learned.intersection(missing)):
        raise ValueError(f"the checkpoint lacks {len(lacking)} of {len(learned)} parameters, such as {lacking[0]}")
    if missing or unexpected:
        print(f"checkpoint of another version: missing {missing}, not used {unexpected}", flush=True)
    wrapper.eval()
    return wrapper


def place_of(name: str) -> str | None:
    """Where published weights are on this machine; downloads nothing."""
    published = PUBLISHED[name][0]
    path = cached(published)
    if not path.is_file():
        return None
    return str(path) if is_registered(path, published) else f"{path}, which is not {published}: another sha256"
