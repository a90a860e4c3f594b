"""The one thing that MuseTalk's three networks have in common."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """What ``query`` (B, N, C) finds in ``key`` and ``value`` (B, T, C): (B, N, C), each head for its part of C.

    Vaswani et al., "Attention Is All You Need" (2017).
    """
    parts = (given.unflatten(-1, (heads, -1)).transpose(1, 2) for given in (query, key, value))
    return functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
