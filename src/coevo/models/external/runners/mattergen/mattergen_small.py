"""Configuration of a MatterGen model small enough to be trained on a CPU within minutes.

Numbers of the noise schedules: Zeni et al., Nature 639, 624 (2025), supplementary information.
"""

from __future__ import annotations

from typing import Any

PACKAGE = "mattergen"
DIFFUSION = "mattergen.diffusion"


def small_configuration(hidden: int, blocks: int, steps: int) -> dict[str, Any]:
    """The whole configuration, as in a model directory's ``config.yaml``.

    Parameters
    ----------
    hidden : int
        Width of every embedding.
    blocks : int
        Interaction blocks.
    steps : int
        Noise levels; the published models have 1000.
    """
    module = {
        "_target_": f"{DIFFUSION}.diffusion_module.DiffusionModule",
        "model": {
            "_target_": f"{PACKAGE}.denoiser.GemNetTDenoiser",
            "hidden_dim": hidden,
            "gemnet": _network(hidden, blocks),
            "denoise_atom_types": True,
            "atom_type_diffusion": "mask",
            "property_embeddings": _embeddings(hidden),
        },
        "corruption": _corruption(steps),
        "loss_fn": {
            "_target_": f"{PACKAGE}.common.loss.MaterialsLoss",
            "d3pm_hybrid_lambda": 0.01,
            "reduce": "sum",
            "weights": {"pos": 0.1, "cell": 1.0, "atomic_numbers": 1.0},
        },
        "pre_corruption_fn": {"_target_": f"{PACKAGE}.property_embeddings.SetEmbeddingType", "p_unconditional": 0.2},
    }
    lightning = {"_target_": f"{DIFFUSION}.lightning_module.DiffusionLightningModule", "diffusion_module": module}
    return {"lightning_module": lightning}


def _network(hidden: int, blocks: int) -> dict[str, Any]:
    """GemNet-T."""
    return {
        "_target_": f"{PACKAGE}.common.gemnet.gemnet.GemNetT",
        "num_targets": 1,
        "latent_dim": hidden * 3,  # noise level and two conditions
        "atom_embedding": {
            "_target_": f"{PACKAGE}.common.gemnet.layers.embedding_block.AtomEmbedding",
            "emb_size": hidden,
            "with_mask_type": True,
        },
        "num_spherical": 5,
        "num_radial": 24,
        "num_blocks": blocks,
        "emb_size_atom": hidden,
        "emb_size_edge": hidden,
        "emb_size_trip": 16,
        "emb_size_rbf": 8,
        "emb_size_cbf": 8,
        "emb_size_bil_trip": 16,
        "cutoff": 6.0,
        "max_neighbors": 16,
        "max_cell_images_per_dim": 5,
        "regress_stress": True,
        "otf_graph": True,
    }


def _embeddings(hidden: int) -> dict[str, Any]:
    """Of the two conditions; only the energy is a number and has a scaler."""
    system = {"_target_": f"{PACKAGE}.property_embeddings.ChemicalSystemMultiHotEmbedding", "hidden_dim": hidden}
    energy = {"_target_": f"{DIFFUSION}.model_utils.NoiseLevelEncoding", "d_model": hidden}
    scaler = {"_target_": f"{PACKAGE}.common.utils.data_utils.StandardScalerTorch"}
    parts = {"chemical_system": (system, {"_target_": "torch.nn.Identity"}), "energy_above_hull": (energy, scaler)}
    return {
        name: {
            "_target_": f"{PACKAGE}.property_embeddings.PropertyEmbedding",
            "name": name,
            "conditional_embedding_module": module,
            "unconditional_embedding_module": {
                "_target_": f"{PACKAGE}.property_embeddings.EmbeddingVector",
                "hidden_dim": hidden,
            },
            "scaler": own_scaler,
        }
        for name, (module, own_scaler) in parts.items()
    }


def _corruption(steps: int) -> dict[str, Any]:
    """Noise of positions, cell and atomic numbers."""
    schedule = {
        "_target_": f"{DIFFUSION}.d3pm.d3pm.create_discrete_diffusion_schedule",
        "kind": "standard",
        "num_steps": steps,
    }
    masking = {"_target_": f"{DIFFUSION}.d3pm.d3pm.MaskDiffusion", "dim": 101, "schedule": schedule}
    return {
        "_target_": f"{DIFFUSION}.corruption.multi_corruption.MultiCorruption",
        "sdes": {
            "pos": {"_target_": f"{PACKAGE}.common.diffusion.corruption.NumAtomsVarianceAdjustedWrappedVESDE"},
            "cell": {
                "_target_": f"{PACKAGE}.common.diffusion.corruption.LatticeVPSDE.from_vpsde_config",
                "vpsde_config": {"beta_min": 0.1, "beta_max": 20, "limit_density": 0.05, "limit_var_scaling_constant": 0.25},
            },
        },
        "discrete_corruptions": {
            "atomic_numbers": {
                "_target_": f"{DIFFUSION}.corruption.d3pm_corruption.D3PMCorruption",
                "offset": 1,
                "d3pm": masking,
            }
        },
    }
