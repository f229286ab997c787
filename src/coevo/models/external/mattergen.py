"""MatterGen (Zeni et al., Nature 639, 624 (2025)) in an environment of its own: sampled under conditions, fine-tuned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ConfigError
from coevo.families.built_in import MATTERGEN_ENVIRONMENT
from coevo.models.contracts import Capabilities
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.model_files import ModelFiles

if TYPE_CHECKING:
    from typing import Self

    from coevo.families import ExternalFamily

MATTERGEN = MATTERGEN_ENVIRONMENT


class MatterGenGenerator(ExternalGenerator):
    """MatterGen: conditions are the chemical system and the energy above hull.

    Its checkpoint before the first fit names published weights, or holds those of a model directory (``config.yaml`` and
    ``last.ckpt``, as MatterGen writes them); after a fit it holds the fine-tuned model directory. The document in the checkpoint
    records the scaler of the energy above hull, which fits never change, and the digest of the data of the last fit.

    Notes
    -----
    Reading a model directory can run code: its ``config.yaml`` names the classes to construct, its ``last.ckpt`` is a pickle. The
    runner reads one only if it is told that it is trusted: made here, from a folder of the user's own settings, or published;
    one that came in a bundle after `coevo trust`.

    Compositions are no condition of MatterGen's: where the node asks for some, draws of other compositions are dropped and
    counted. A sample depends on the batch size, and a longer one does not begin with a shorter one.
    """

    family: ClassVar[str] = "mattergen"
    external: ClassVar[ExternalFamily] = MATTERGEN
    # Diffusion gives no guarantee of geometry or composition, a batch shares its noise, and a fit continues the parent's weights.
    capabilities: ClassVar[Capabilities] = Capabilities(complete=False, spaced=False, extends=False, untaught=False, replay=False)

    @classmethod
    def initial(cls, settings: GeneratorConfig | None = None) -> Self:
        """The model that a node starts from: that of ``generator.mattergen.weights``.

        Raises
        ------
        ConfigError
            If they are a folder that is no model directory.
        """
        settings = settings or GeneratorConfig()
        weights = settings.mattergen.weights
        if "/" not in weights:
            return cls(document={"weights": weights}, settings=settings)
        source = Path(weights).expanduser()
        checkpoints = sorted(source.rglob("last.ckpt")) if source.is_dir() else []
        if not checkpoints or not (source / "config.yaml").is_file():
            raise ConfigError(
                f"generator.mattergen.weights: {source} is no model directory of MatterGen: config.yaml or last.ckpt is missing"
            )
        model = ModelFiles()
        (model.path / "checkpoints").mkdir()
        shutil.copyfile(source / "config.yaml", model.path / "config.yaml")
        shutil.copyfile(checkpoints[0], model.path / "checkpoints" / "last.ckpt")
        return cls(model, {"weights": "folder"}, settings)

    def options(self) -> dict[str, Any]:
        """Settings for the runner: the section ``generator.mattergen``, with the weights that the checkpoint began with."""
        chosen = self.settings.mattergen.model_dump(mode="json")
        # A checkpoint stays what it is: the weights it began with are its own, not those of the present configuration.
        chosen["weights"] = self.document.get("weights", chosen["weights"])
        return chosen | {"fit_max_e_hull": self.settings.fit_max_e_hull}
