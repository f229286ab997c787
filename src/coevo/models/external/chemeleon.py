"""Chemeleon-DNG (Park, Onwuli and Walsh, Nat. Commun. 16 (2025)) in an environment of its own: compositions given, fitted on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ConfigError
from coevo.families.built_in import CHEMELEON_ENVIRONMENT
from coevo.models.contracts import Capabilities
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.model_files import ModelFiles

if TYPE_CHECKING:
    from typing import Self

    from coevo.families import ExternalFamily

PUBLISHED_FILE = "published.ckpt"
"""What a published file is called in a checkpoint that begins with one; the runner knows it by this name."""


class ChemeleonGenerator(ExternalGenerator):
    """Chemeleon-DNG in its CSP mode: each draw has a composition that was chosen before, and its cell and positions are denoised.

    Its checkpoint before the first fit says how it begins (an untrained network, or published weights by name), or holds a file
    of published weights; after a fit it holds tensors (``weights.pt``) and plain settings (``model.json``), among them the
    compositions and the bounds of cells that the examples taught.

    Notes
    -----
    Reading a checkpoint runs no code: the runner restores tensors, numbers and texts only, of a published file as well.

    A sample depends on the batch size, and a longer one does not begin with a shorter one.
    """

    family: ClassVar[str] = "chemeleon-dng"
    external: ClassVar[ExternalFamily] = CHEMELEON_ENVIRONMENT
    runs_code: ClassVar[bool] = False
    # Diffusion gives no guarantee of geometry, a batch shares its noise, and a fit continues the parent's weights.
    capabilities: ClassVar[Capabilities] = Capabilities(complete=False, spaced=False, extends=False, untaught=True, replay=False)

    @classmethod
    def initial(cls, settings: GeneratorConfig | None = None) -> Self:
        """The model that a node starts from: that of ``generator.chemeleon_dng.weights``.

        Raises
        ------
        ConfigError
            If they are a path and there is no file.
        """
        settings = settings or GeneratorConfig()
        weights = settings.chemeleon_dng.weights
        if "/" not in weights:
            return cls(document={"weights": weights}, settings=settings)
        source = Path(weights).expanduser()
        if not source.is_file():
            raise ConfigError(
                f"generator.chemeleon_dng.weights: there is no file {source}; give the path of a checkpoint of Chemeleon-DNG's "
                "CSP model (.ckpt), the name of published weights, or fresh"
            )
        model = ModelFiles()
        shutil.copyfile(source, model.path / PUBLISHED_FILE)
        return cls(model, {"weights": "file"}, settings)

    def options(self) -> dict[str, Any]:
        """Settings for the runner: the section ``generator.chemeleon_dng``, with the weights that the checkpoint began with."""
        chosen = self.settings.chemeleon_dng.model_dump(mode="json")
        # A checkpoint stays what it is: the weights it began with are its own, not those of the present configuration.
        chosen["weights"] = self.document.get("weights", chosen["weights"])
        return chosen | {"fit_max_e_hull": self.settings.fit_max_e_hull}
