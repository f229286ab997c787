"""ADiT (Joshi et al., arXiv:2503.03965) in an environment of its own, from the user's checkout: sampled, fitted on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ConfigError
from coevo.families.built_in import ADIT_ENVIRONMENT
from coevo.models.contracts import Capabilities
from coevo.models.external.exchange import run_task
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.model_files import ModelFiles, mapping_in, move_model

if TYPE_CHECKING:
    from typing import Self

    from coevo.families import ExternalFamily

ADIT = ADIT_ENVIRONMENT
_OF_A_NODE = ("adit.json", "vae.pt", "dit.pt")


class AditGenerator(ExternalGenerator):
    """ADiT: conditions are the chemical system, by a mask on the decoder's logits, and the number of atoms.

    A model is an autoencoder and a diffusion transformer on its latent space, kept as two tables of tensors and their sizes as
    JSON; reading one cannot run code. It starts from nothing, or from a folder that the user's own settings name
    (``generator.adit.weights``): checkpoints of ADiT's trainers, which are pickles and are taken apart in the family's
    environment, once, or a model directory of another node. The document in the checkpoint records the elements that the
    autoencoder has seen, how often crystals have how many atoms, and the digest of the data of the last fit.

    Notes
    -----
    Compositions and energies are no conditions of ADiT's: where the node asks for compositions, draws of others are dropped and
    counted. A sample depends on the batch size, and a longer one does not begin with a shorter one.
    """

    family: ClassVar[str] = "adit"
    external: ClassVar[ExternalFamily] = ADIT
    runs_code: ClassVar[bool] = False
    # Diffusion gives no guarantee of geometry or composition, a batch shares its noise, and a fit continues the parent's weights.
    capabilities: ClassVar[Capabilities] = Capabilities(complete=False, spaced=False, extends=False, untaught=False, replay=False)

    @classmethod
    def initial(cls, settings: GeneratorConfig | None = None) -> Self:
        """The model that a node starts from: that of ``generator.adit.weights``.

        Raises
        ------
        ConfigError
            If they are a folder without a model, or the family has no environment to read it in.
        ModelError
            If the folder's files cannot be read as a model of ADiT.
        """
        settings = settings or GeneratorConfig()
        weights = settings.adit.weights
        if weights == "new":
            return cls(document={"weights": "new"}, settings=settings)
        files = _files_in(Path(weights).expanduser())

        def prepare(directory: Path) -> None:
            (directory / "model").mkdir()
            for file in files:
                shutil.copyfile(file, directory / "model" / file.name)

        model = ModelFiles()
        # The user's own word names the folder: reading it may run code.
        request = {"model": "input/model", "trusted": True, "sources": []}
        with run_task(cls.external, "read", request, prepare=prepare) as run:
            move_model(run, model.path)
            told = mapping_in(run, "document")
            commits = {checkout.name: checkout.commit for checkout in run.checkouts}
        return cls(model, {**told, "weights": "folder", "checkouts": commits}, settings)

    def options(self) -> dict[str, Any]:
        """Settings for the runner: the section ``generator.adit`` but for the weights, which the checkpoint holds."""
        chosen = self.settings.adit.model_dump(mode="json", exclude={"weights"})
        return chosen | {"fit_max_e_hull": self.settings.fit_max_e_hull}


def _files_in(folder: Path) -> list[Path]:
    """The files of a model: those of a node's model directory, or else two checkpoints of ADiT's trainers."""
    if all((folder / name).is_file() for name in _OF_A_NODE):
        return [folder / name for name in _OF_A_NODE]
    found = sorted(folder.glob("*.ckpt")) if folder.is_dir() else []
    if len(found) != 2:
        state = f"{len(found)} files .ckpt" if folder.is_dir() else "no folder"
        raise ConfigError(
            f"generator.adit.weights: {folder}: got {state}, allowed: a folder with two files .ckpt of ADiT, an autoencoder's "
            f"and that of the diffusion model trained on it, or with {', '.join(_OF_A_NODE)}; or new: a model that the node "
            "trains from scratch"
        )
    return found
