"""A MatterGen model as a directory (``config.yaml``, ``checkpoints/last.ckpt``): made, loaded, saved, and its sampler.

Numbers of the sampler: Zeni et al., Nature 639, 624 (2025), supplementary information.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coevo_runner import TaskError
from mattergen_small import small_configuration
from mattergen_trust import REPOSITORY, model_to_read, weights_to_read

CONDITIONS = ("chemical_system", "energy_above_hull")
"""Properties that a model must have been trained on, for the node to ask for them."""


def device_of(request: dict[str, Any]) -> torch.device:
    """The device of a request; asking for a GPU that is not there is an error."""
    wanted = request["device"]
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TaskError("no_gpu", "COEVO_DEVICE is cuda, and torch sees no GPU in this environment")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


class Model:
    """A configuration and the module that it describes.

    Parameters
    ----------
    configuration : dict
        Plain, as in ``config.yaml``.
    state : dict or None
        Weights; random ones (of torch's present seed) if None.
    device : torch.device
    """

    def __init__(self, configuration: dict[str, Any], state: dict[str, Any] | None, device: torch.device):
        from hydra.utils import instantiate
        from omegaconf import OmegaConf

        self.configuration = configuration
        wrapped = OmegaConf.create({"lightning_module": configuration["lightning_module"]})
        lightning = instantiate(wrapped.lightning_module)
        if state is not None:
            lightning.load_state_dict(state)
        self.lightning = lightning.to(device)
        self.module = self.lightning.diffusion_module
        self.device = device
        known = list(self.module.model.cond_fields_model_was_trained_on)
        missing = [name for name in CONDITIONS if name not in known]
        if missing:
            raise TaskError(
                "no_condition",
                f"the model was trained on {', '.join(known) or 'no condition'} and knows nothing of {', '.join(missing)}; "
                "use chemical_system_energy_above_hull or a model fine-tuned from it",
            )

    @property
    def steps(self) -> int:
        """Noise levels."""
        return int(next(iter(self.module.corruption.discrete_corruptions.values())).N)

    @property
    def scaler(self) -> Any:
        """The scaler of the energy above hull: (value − mean) / deviation is what the model sees."""
        network = self.module.model
        for embeddings in (network.property_embeddings, getattr(network, "property_embeddings_adapt", {})):
            if "energy_above_hull" in embeddings:
                return embeddings["energy_above_hull"].scaler
        raise TaskError("no_condition", "the model has no embedding of energy_above_hull")

    def scaling(self) -> dict[str, float]:
        """Mean and standard deviation of that scaler, eV/atom; empty if it is no such scaler."""
        if not hasattr(self.scaler, "means"):
            return {}
        return {"mean": float(self.scaler.means[0]), "deviation": float(self.scaler.stds[0])}

    def save(self, directory: Path) -> None:
        """Write the model directory; tensors and plain values only, so that no code has to be run to read it."""
        import yaml

        (directory / "checkpoints").mkdir(parents=True)
        (directory / "config.yaml").write_text(yaml.safe_dump(self.configuration, sort_keys=True), encoding="utf-8")
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.lightning.state_dict().items()}
        torch.save({"state_dict": state}, directory / "checkpoints" / "last.ckpt")


def load_model(directory: Path, device: torch.device, *, trusted: bool) -> Model:
    """Read a model directory, one that this runner wrote or MatterGen; nothing of it is opened unless it is trusted."""
    import yaml

    if trusted is not True:
        raise TaskError("not_trusted", f"{directory} is not trusted, and reading a model of MatterGen can run code")

    files = sorted(directory.rglob("last.ckpt"))
    if not (directory / "config.yaml").is_file() or not files:
        raise TaskError("no_weights", f"{directory} is no model directory of MatterGen: config.yaml or last.ckpt is missing")
    configuration = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
    try:
        checkpoint = torch.load(files[0], map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Checkpoints of lightning hold more than tensors, those of MatterGen among them.
        print("the checkpoint holds more than tensors and is read by pickle: it is trusted")
        checkpoint = torch.load(files[0], map_location="cpu", weights_only=False)
    return Model({"lightning_module": configuration["lightning_module"]}, checkpoint["state_dict"], device)


def published_directory(name: str) -> Path:
    """The directory of published weights; MatterGen downloads them unless they are in its cache."""
    from mattergen.common.utils.data_classes import MatterGenCheckpointInfo

    try:
        return Path(MatterGenCheckpointInfo.from_hf_hub(name).model_path)
    except Exception as err:
        raise TaskError(
            "no_weights",
            f"the published weights {name} are not in the cache of huggingface_hub (HF_HOME) and cannot be downloaded "
            f"({type(err).__name__}); download them on a machine with internet, or set generator.mattergen.weights to a folder",
        ) from err


def published_place(name: str) -> str | None:
    """Where published weights lie in the cache; None if they are not here. Downloads nothing."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(REPOSITORY, f"checkpoints/{name}/checkpoints/last.ckpt")
    return found if isinstance(found, str) else None


def sampler_of(model: Model, guidance: float) -> Any:
    """A predictor-corrector sampler with classifier-free guidance; elements outside the system asked for are masked."""
    from mattergen.common.diffusion.predictors_correctors import (
        LatticeAncestralSamplingPredictor,
        LatticeLangevinDiffCorrector,
    )
    from mattergen.denoiser import mask_disallowed_elements
    from mattergen.diffusion.d3pm.d3pm_predictors_correctors import D3PMAncestralSamplingPredictor
    from mattergen.diffusion.sampling.classifier_free_guidance import GuidedPredictorCorrector
    from mattergen.diffusion.wrapped.wrapped_predictors_correctors import (
        WrappedAncestralSamplingPredictor,
        WrappedLangevinCorrector,
    )
    from mattergen.property_embeddings import SetConditionalEmbeddingType, SetUnconditionalEmbeddingType

    model.module.model.element_mask_func = mask_disallowed_elements
    return GuidedPredictorCorrector.from_pl_module(
        model.lightning,
        guidance_scale=guidance,
        remove_conditioning_fn=SetUnconditionalEmbeddingType(),
        keep_conditioning_fn=SetConditionalEmbeddingType(),
        N=model.steps,
        eps_t=1e-3,
        n_steps_corrector=1,
        predictor_partials={
            "pos": WrappedAncestralSamplingPredictor,
            "cell": LatticeAncestralSamplingPredictor,
            "atomic_numbers": partial(D3PMAncestralSamplingPredictor, predict_x0=True),
        },
        corrector_partials={
            "pos": partial(WrappedLangevinCorrector, snr=0.4, max_step_size=1e6),
            "cell": partial(LatticeLangevinDiffCorrector, snr=0.2, max_step_size=1e6),
        },
    )


def open_model(request: dict[str, Any], device: torch.device) -> Model:
    """The model of the request: the node's own, or what the node starts from."""
    options, directory = request["options"], model_to_read(request)
    if directory is not None:
        return load_model(Path(directory), device, trusted=request["trusted"])
    if options["weights"] == "small":
        torch.manual_seed(0)
        return Model(small_configuration(options["hidden"], options["blocks"], options["steps"]), None, device)
    return load_model(published_directory(weights_to_read(request)), device, trusted=True)


def number(*words: Any) -> int:
    """A seed made of words, the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:4], "big")


def seed_everything(seed: int) -> None:
    """Seed torch, its GPUs, numpy and random."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - MatterGen draws from it
    random.seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
