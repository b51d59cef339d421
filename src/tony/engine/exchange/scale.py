"""Another attention scale than head_dim^-0.5, folded into weights so that no reader needs to know of it."""

from __future__ import annotations

import math

import torch

from tony.errors import TonyError
from tony.model import Transformer


@torch.no_grad()
def fold_attention_scale(model: Transformer, scale: float) -> None:
    """Change `model` in place so that scale E^-0.5 (E = head_dim) gives what `scale` gave before.

    Scores are linear in the query: a factor scale * E^0.5 goes to the query weights (Llama). With QK-norm the query's
    length is lost in the norm, so the factor goes to the gain behind it (Qwen3).

    Raises:
        TonyError: the scale is no positive finite number.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise TonyError(f"attention scale {scale}: give a positive number (the usual one is head_dim^-0.5)")
    config = model.config
    factor = scale * math.sqrt(config.head_dim)
    for block in model.blocks:
        attention = block.attention
        if attention.q_norm is not None:
            attention.q_norm.weight.mul_(factor)
        else:
            attention.qkv.weight[: config.heads * config.head_dim].mul_(factor)
