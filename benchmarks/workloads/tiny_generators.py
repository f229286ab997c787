"""Settings with which each family is fitted within one to three minutes of a CPU: networks for tests, not for use."""

from __future__ import annotations

from typing import Any

from workloads.small_node import FIT_MAX_E_HULL, MAX_ATOMS

FAMILIES = ("embedded", "chemeleon-dng", "diffcsp", "uni3dar", "adit", "mattergen")
"""In the order of the table."""

SECTIONS: dict[str, dict[str, Any]] = {
    "chemeleon-dng": {
        "hidden": 64,
        "layers": 3,
        "steps": 100,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "train_batch_size": 16,
        "patience": 40,
        "epochs": 400,
    },
    "diffcsp": {
        "hidden": 64,
        "layers": 3,
        "frequencies": 16,
        "steps": 100,
        "schedule": "linear",
        "batch_size": 16,
        "learning_rate": 1e-3,
        "train_batch_size": 16,
        "patience": 40,
        "epochs": 300,
    },
    "uni3dar": {
        "hidden": 64,
        "heads": 4,
        "layers": 2,
        "levels": 7,
        "oversampling": 2.0,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "train_batch_size": 8,
        "ema_decay": 0.98,
        "augmentation": 0.0,
        "patience": 15,
        "epochs": 40,
    },
    "adit": {
        "vae_width": 64,
        "vae_layers": 2,
        "width": 64,
        "layers": 3,
        "steps": 50,
        "oversampling": 4.0,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "train_batch_size": 16,
        "patience": 40,
        "vae_epochs": 200,
        "epochs": 300,
    },
    "mattergen": {
        "weights": "small",
        "hidden": 48,
        "blocks": 2,
        "steps": 50,
        "guidance_factor": 1.0,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "train_batch_size": 16,
        "patience": 20,
        "epochs": 60,
    },
}
"""Section of ``generator`` by family."""

QUICK: dict[str, dict[str, Any]] = {
    "chemeleon-dng": {"epochs": 2, "steps": 10},
    "diffcsp": {"epochs": 2, "steps": 10},
    "uni3dar": {"epochs": 1, "hidden": 32},
    "adit": {"epochs": 2, "vae_epochs": 2, "steps": 5},
    "mattergen": {"epochs": 1, "steps": 10},
}
"""Changes of :data:`SECTIONS` with which a run takes seconds: does it work?"""


def settings_of(family: str, *, quick: bool) -> dict[str, Any]:
    """The keys of ``generator`` that a family is measured with; all others are at their defaults."""
    section = SECTIONS.get(family, {}) | (QUICK.get(family, {}) if quick else {})
    shared = {"family": family, "max_atoms": MAX_ATOMS, "fit_max_e_hull": FIT_MAX_E_HULL}
    return shared | ({family.replace("-", "_"): section} if section else {})
