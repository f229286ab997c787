"""Uni-3DAR (Lu et al., arXiv:2503.16278) in an environment of its own, by checkouts of the user's: sampled and fine-tuned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ConfigError
from coevo.families.built_in import UNI3DAR_ENVIRONMENT
from coevo.models.contracts import Capabilities
from coevo.models.external.exchange import run_task
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.model_files import ModelFiles, mapping_in, move_model

if TYPE_CHECKING:
    from typing import Self

    from coevo.families import ExternalFamily

UNI3DAR = UNI3DAR_ENVIRONMENT

_FILES = ("weights.pt", "architecture.json")
"""What a model directory holds."""

_OWN = "own.pt"


class Uni3darGenerator(ExternalGenerator):
    """Uni-3DAR: the elements are its only condition.

    Its checkpoint before the first fit holds what its runner read of a published file or a model directory, or says that the
    network is a small untrained one. After a fit it holds the fine-tuned model: tensors by name (``weights.pt``) and the numbers
    of the network (``architecture.json``), which Uni-3DAR's programs want repeated at each start.

    Notes
    -----
    A published file is a pickle. It is unpickled once, in the family's environment, because the user's own configuration names
    it; checkpoints are read as tensors and numbers only, so that reading one runs no code of whoever wrote it.

    Draws of other compositions, chemical systems or sizes than those asked for are dropped and counted: the model that takes a
    composition (``mp20_csp``) is not run. A sample depends on the batch size, and a longer one does not begin with a shorter one.
    """

    family: ClassVar[str] = "uni3dar"
    external: ClassVar[ExternalFamily] = UNI3DAR
    # An autoregressive network promises no geometry, number of atoms or composition, and a fit continues the parent's weights.
    capabilities: ClassVar[Capabilities] = Capabilities(complete=False, spaced=False, extends=False, untaught=False, replay=False)

    @classmethod
    def initial(cls, settings: GeneratorConfig | None = None) -> Self:
        """The model that a node starts from: that of ``generator.uni3dar.weights``.

        Raises
        ------
        ConfigError
            If they are a path where there is no model.
        ModelError
            If the runner cannot read the file.
        """
        settings = settings or GeneratorConfig()
        weights = settings.uni3dar.weights
        if "/" not in weights:
            return cls(document={"weights": weights}, settings=settings)
        source = Path(weights).expanduser()
        if source.is_dir():
            return cls._of_directory(source, settings)
        if not source.is_file():
            raise ConfigError(
                f"generator.uni3dar.weights: there is no file {source}; download mp20.pt of dptech/Uni-3DAR from the hub of "
                "Hugging Face and give its path, or give a model directory, or small"
            )

        def prepare(directory: Path) -> None:
            (directory / "model").mkdir()
            shutil.copyfile(source, directory / "model" / _OWN)

        model = ModelFiles()
        # The user's own configuration names the file: reading it may run code.
        request = {"model": "input/model", "file": _OWN, "document": {}, "trusted": True, "sources": []}
        with run_task(cls.external, "read", request, prepare=prepare) as run:
            move_model(run, model.path)
            document = mapping_in(run, "document")
        return cls(model, {"weights": "file", "sha256": document.get("sha256")}, settings)

    @classmethod
    def _of_directory(cls, source: Path, settings: GeneratorConfig) -> Self:
        missing = [name for name in _FILES if not (source / name).is_file()]
        if missing:
            raise ConfigError(f"generator.uni3dar.weights: {source} is no model directory: {' and '.join(missing)} is missing")
        model = ModelFiles()
        for name in _FILES:
            shutil.copyfile(source / name, model.path / name)
        return cls(model, {"weights": "folder"}, settings)

    def options(self) -> dict[str, Any]:
        """Settings for the runner: the section ``generator.uni3dar``, with the weights that the checkpoint began with."""
        chosen = self.settings.uni3dar.model_dump(mode="json")
        # A checkpoint stays what it is: the weights it began with are its own, not those of the present configuration.
        chosen["weights"] = self.document.get("weights", chosen["weights"])
        return chosen | {"fit_max_e_hull": self.settings.fit_max_e_hull}
