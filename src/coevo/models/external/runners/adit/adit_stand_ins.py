"""What ADiT's modules import and a node does not need, and small modules of our own in its place; used before ADiT is imported.

The evaluators of molecules, crystals and MOFs want rdkit, openbabel, posebusters, mofchecker, smact and matminer, and judge
samples while a model trains, which coevo does itself; ``src/utils/__init__.py`` wants hydra and rich for command lines. PyTorch
Geometric's own scatter takes the place of torch_scatter, which would have to be compiled.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

STAND_INS = {
    "wandb": "an empty module: nothing is logged there",
    "torch_scatter": "the scatter of PyTorch Geometric",
    "src.eval": "evaluators that judge nothing: coevo judges what is drawn",
    "src.utils": "its modules one by one, without hydra and rich",
}
"""Module to what takes its place where it is missing; the parts of the checkout are always replaced."""

_EVALUATORS = {
    "crystal_reconstruction": "CrystalReconstructionEvaluator",
    "mof_reconstruction": "MOFReconstructionEvaluator",
    "molecule_reconstruction": "MoleculeReconstructionEvaluator",
    "crystal_generation": "CrystalGenerationEvaluator",
    "mof_generation": "MOFGenerationEvaluator",
    "molecule_generation": "MoleculeGenerationEvaluator",
}


class _Evaluator:
    """Takes whatever an evaluator is given, and judges nothing."""

    def __init__(self, *_arguments: Any, **_more: Any):
        pass


def install(checkout: str) -> dict[str, str]:
    """Put everything in its place and the checkout on the path; return what was replaced, and by what."""
    root = Path(checkout)
    if not (root / "src" / "models").is_dir():
        raise FileNotFoundError(f"{root} holds no src/models: it is no checkout of all-atom-diffusion-transformer")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    replaced = dict(STAND_INS)
    for name in ("wandb", "torch_scatter"):
        if name not in sys.modules and importlib.util.find_spec(name) is not None:
            del replaced[name]
    if "wandb" in replaced:
        _module("wandb")
    if "torch_scatter" in replaced:
        _module("torch_scatter", scatter=_scatter)
    _module("src.eval", __path__=[])
    for module, evaluator in _EVALUATORS.items():
        _module(f"src.eval.{module}", **{evaluator: type(evaluator, (_Evaluator,), {})})
    # A package with the path of the real one: `from src.utils import pylogger` finds that file, and __init__.py is not run.
    _module("src.utils", __path__=[str(root / "src" / "utils")])
    return replaced


def _module(name: str, **contents: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def _scatter(src: Any, index: Any, dim: int = -1, out: Any = None, dim_size: int | None = None, reduce: str = "sum") -> Any:
    from torch_geometric.utils import scatter

    if out is not None:
        raise NotImplementedError("scatter into an existing tensor")
    return scatter(src, index, dim=dim, dim_size=dim_size, reduce=reduce)
