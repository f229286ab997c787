"""DiffCSP (Jiao et al., NeurIPS 36 (2023)) from a checkout of the user's: crystals of given compositions, trained by the node."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ConfigError
from coevo.families.built_in import DIFFCSP_ENVIRONMENT
from coevo.models.contracts import Capabilities
from coevo.models.external.exchange import run_task
from coevo.models.external.generator import ExternalGenerator
from coevo.models.external.model_files import ModelFiles, mapping_in, move_model

if TYPE_CHECKING:
    from typing import Self

    from coevo.families import ExternalFamily

DIFFCSP = DIFFCSP_ENVIRONMENT

_OWN = ("network.json", "weights.pt")
"""Files of a model as a fit leaves them."""
_COMPOSITIONS = "compositions.json"
"""A further one, the table of what the examples were made of; :mod:`coevo_compositions` judges its contents."""
_MOST_BYTES = 10_000_000


class DiffCSPGenerator(ExternalGenerator):
    """DiffCSP: crystals of compositions that are drawn first, so that composition and number of atoms are kept exactly.

    A checkpoint holds ``weights.pt`` (tensors) and ``network.json`` (numbers), and in its document the table of compositions that
    the examples have. Before the first fit there are no weights, unless ``generator.diffcsp.weights`` names a model directory.

    Notes
    -----
    Reading a checkpoint runs no code: numbers are read as JSON and weights as tensors (``torch.load``, ``weights_only``), and
    what is built of them are the classes of the user's checkout. A directory of DiffCSP's own (``hparams.yaml``, ``*.ckpt``) is
    a pickle; one that the user's configuration names is read in the family's environment, once, and becomes such a checkpoint.

    The energy above hull is no condition of DiffCSP's: ``generator.fit_max_e_hull`` decides what it learns.
    """

    family: ClassVar[str] = "diffcsp"
    external: ClassVar[ExternalFamily] = DIFFCSP
    runs_code: ClassVar[bool] = False
    # Diffusion gives no guarantee of geometry, a batch shares its noise, and a fit continues the parent's weights.
    capabilities: ClassVar[Capabilities] = Capabilities(complete=False, spaced=False, extends=False, untaught=False, replay=False)

    @classmethod
    def initial(cls, settings: GeneratorConfig | None = None) -> Self:
        """The model that a node starts from: that of ``generator.diffcsp.weights``.

        Raises
        ------
        ConfigError
            If they are a folder that is no model directory, or whose ``compositions.json`` is no table, or the family has no
            environment to read it in.
        ModelError
            If DiffCSP's own files in it cannot be read, or are of another model than that of given compositions.
        """
        settings = settings or GeneratorConfig()
        weights = settings.diffcsp.weights
        if "/" not in weights:
            return cls(document={"weights": weights}, settings=settings)
        source = Path(weights).expanduser()
        document: dict[str, Any] = {"weights": "folder"}
        model = ModelFiles()
        if all((source / name).is_file() for name in _OWN):
            for name in _OWN:
                shutil.copyfile(source / name, model.path / name)
            if (source / _COMPOSITIONS).is_file():
                document["compositions"] = _table(source / _COMPOSITIONS)
            return cls(model, document, settings)
        checkpoint = last_checkpoint(source)
        if checkpoint is None or not (source / "hparams.yaml").is_file():
            raise ConfigError(
                f"generator.diffcsp.weights: {source} is no model directory of DiffCSP: hparams.yaml or a file *.ckpt is missing"
            )

        def prepare(directory: Path) -> None:
            (directory / "model").mkdir()
            shutil.copyfile(source / "hparams.yaml", directory / "model" / "hparams.yaml")
            shutil.copyfile(checkpoint, directory / "model" / "model.ckpt")

        # The user's own word names the folder, so that the runner is told that it is trusted: reading it may run code.
        request = {"model": "input/model", "document": document, "trusted": True, "sources": []}
        with run_task(cls.external, "read", request, prepare=prepare) as run:
            move_model(run, model.path)
            document |= mapping_in(run, "document")
        return cls(model, document, settings)

    def options(self) -> dict[str, Any]:
        """Settings for the runner: the section ``generator.diffcsp``."""
        return self.settings.diffcsp.model_dump(mode="json") | {"fit_max_e_hull": self.settings.fit_max_e_hull}


def _table(path: Path) -> dict[str, Any]:
    """What stands in a file of compositions, if it is a mapping."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"generator.diffcsp.weights: {path} cannot be read: {err}") from None
    if not isinstance(found, dict):
        raise ConfigError(
            f"generator.diffcsp.weights: {path} holds no mapping; allowed: formula to units and weights, or no such file"
        )
    return found


def last_checkpoint(directory: Path) -> Path | None:
    """The file that DiffCSP's own scripts would take of a model directory: ``last``, else that of the highest epoch."""
    found = sorted(directory.glob("*.ckpt")) if directory.is_dir() else []
    last = [path for path in found if "last" in path.name]
    return last[0] if last else max(found, key=_epoch, default=None)


def _epoch(path: Path) -> int:
    number = path.name.partition("epoch=")[2].partition("-")[0]
    return int(number) if number.isdigit() else -1
