"""Small modules in the place of what DiffCSP imports and today's packages no longer have, or what is imported and not used here.

Nothing of the checkout is changed. A package that is installed is left alone, but for ``dotenv``, which would let a ``.env`` file
of the checkout decide where files are written.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import torch

STAND_INS: dict[str, str] = {}
"""What :func:`install` put in place: name to what it is."""


def install() -> dict[str, str]:
    """Put everything in its place and say what was; call it before anything of DiffCSP is imported."""
    _offer("torch_scatter", "sums and means by index_add", scatter=scatter, segment_coo=_unused, segment_csr=_unused)
    _offer("torch_scatter.composite", "imported, not used", scatter_softmax=_unused)
    _offer("torch_sparse", "imported, not used", SparseTensor=_unused)
    _offer("pathos", "imported, not used")
    _offer("pathos.pools", "imported, not used", ProcessPool=_unused)
    _offer("pyxtal", "imported, not used: no space groups are asked for", pyxtal=_unused)
    _offer("pyxtal.symmetry", "imported, not used: no space groups are asked for", Group=_unused)
    _offer("wandb", "imported, not used: nothing is logged to a service", Settings=_unused)
    _put("dotenv", "reads no .env file", load_dotenv=lambda *_args, **_named: False)
    _offer("p_tqdm", "imported, not used: the launcher reads the crystals", p_umap=_unused, p_map=_unused)
    _geometric_loader()
    return STAND_INS


def _offer(name: str, what: str, **contents: Any) -> None:
    try:
        importlib.import_module(name)
    except (ImportError, OSError):  # OSError: compiled against another torch
        _put(name, what, **contents)


def _put(name: str, what: str, **contents: Any) -> None:
    module = types.ModuleType(name)
    module.__path__ = []  # type: ignore[attr-defined]
    vars(module).update(contents)
    sys.modules[name] = module
    STAND_INS[name] = what


def _unused(*_args: Any, **_named: Any) -> Any:
    raise NotImplementedError("DiffCSP imports this and does not use it for structures of given compositions")


def scatter(
    src: torch.Tensor, index: torch.Tensor, dim: int = -1, out: Any = None, dim_size: int | None = None, reduce: str = "sum"
) -> torch.Tensor:
    """Sums or means of the rows of ``src`` that share an index, as torch_scatter has it for the first dimension.

    Parameters
    ----------
    src : Tensor, shape (n, …)
    index : Tensor, shape (n,)
    dim : int
        0.
    dim_size : int, optional
        Rows of the result; the largest index and one by default.
    reduce : str
        ``sum``, ``add`` or ``mean``; the mean of no row is 0.
    """
    if dim != 0 or out is not None or index.dim() != 1 or reduce not in {"sum", "add", "mean"}:
        raise NotImplementedError(f"scatter with dim {dim}, reduce {reduce!r}: DiffCSP asks for sums and means of rows")
    rows = int(index.max()) + 1 if dim_size is None and len(index) else int(dim_size or 0)
    total = src.new_zeros((rows, *src.shape[1:])).index_add_(0, index, src)
    if reduce != "mean":
        return total
    counts = torch.bincount(index, minlength=rows).clamp(min=1).to(src.dtype)
    return total / counts.reshape(-1, *[1] * (src.dim() - 1))


def _geometric_loader() -> None:
    """``torch_geometric.data.DataLoader``, which has moved to ``torch_geometric.loader``."""
    import torch_geometric.data
    from torch_geometric.loader import DataLoader

    base: Any = DataLoader

    class CrystalLoader(base):  # type: ignore[misc]
        """Says the number of crystals of a batch where Lightning looks for it.

        Lightning takes the length of a batch's first tensor, the edges: without a graph (``graph_method=none``) that is 0, and
        means over batches are NaN.
        """

        def __init__(self, *args: Any, **named: Any):
            super().__init__(*args, **named)
            loader: Any = self
            collate = loader.collate_fn

            def with_length(items: Any) -> Any:
                batch = collate(items)
                if "edge_index" in batch and not batch.edge_index.numel():
                    batch.edge_index = batch.edge_index.new_zeros((batch.num_graphs, 0))
                return batch

            loader.collate_fn = with_length

    torch_geometric.data.DataLoader = CrystalLoader
    STAND_INS["torch_geometric.data.DataLoader"] = "torch_geometric.loader.DataLoader, with the number of crystals of a batch"
