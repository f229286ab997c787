"""Stands in for flash_attn, which needs a GPU and a compiler: its two functions that Uni-3DAR calls, by torch's own attention.

``scaled_dot_product_attention`` chooses the same algorithm on GPUs that have it.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    **_others: Any,
) -> torch.Tensor:
    """Attention of a batch; q of shape (batch, queries, heads, dimension), k and v with keys in place of queries.

    With ``causal`` the last query sees the last key, as in flash_attn since 2.1.
    """
    queries, keys = q.shape[1], k.shape[1]
    mask = None
    if causal and queries != keys:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    out = scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        dropout_p=dropout_p,
        is_causal=causal and mask is None,
        scale=softmax_scale,
    )
    return out.transpose(1, 2)


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    _max_seqlen_q: int,
    _max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    **_others: Any,
) -> torch.Tensor:
    """Attention within each of several sequences that lie one behind the other; q of shape (all queries, heads, dimension)."""
    borders_q, borders_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    found = [
        flash_attn_func(q[None, a:b], k[None, c:d], v[None, c:d], dropout_p, softmax_scale, causal)[0]
        for a, b, c, d in zip(borders_q, borders_q[1:], borders_k, borders_k[1:])  # noqa: B905 - Python 3.8
    ]
    return torch.cat(found)


def install() -> bool:
    """Put the stand-in where ``import flash_attn`` finds it, if there is no other; whether it was needed."""
    try:
        import flash_attn.flash_attn_interface  # noqa: F401 - the real one is there
    except ImportError:
        package, interface = types.ModuleType("flash_attn"), types.ModuleType("flash_attn.flash_attn_interface")
        for module in (package, interface):
            module.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
            module.flash_attn_varlen_func = flash_attn_varlen_func  # type: ignore[attr-defined]
        package.flash_attn_interface = interface  # type: ignore[attr-defined]
        sys.modules["flash_attn"], sys.modules["flash_attn.flash_attn_interface"] = package, interface
        return True
    return False
