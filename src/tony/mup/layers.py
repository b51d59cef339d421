"""What a layer does with each of its parameters: which dimensions it sums over, and how it initialises them.

Only layers of torch itself are known here, and parameters with one entry a feature. Of anything else a person must say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from tony.mup.rules import Law

NORMS = (_NormBase, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
FUSED_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True)
class Use:
    """How a layer uses a parameter.

    reads: the dimensions it sums over.   writes: the dimensions of what comes out.   others must not grow.
    law: how its own initialisation falls with width; `like` is the parameter of the layer whose fans that law takes.
    groups: a transposed convolution's groups, which part `reads` and multiply `writes`.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    law: Law
    like: str | None = None
    grouped: bool = False


def use_of(owner: nn.Module, leaf: str, shape: Sequence[int], law: Law) -> Use | None:
    """How `owner` uses its own parameter `leaf`, or None where its type does not say.

    `law` is how the model's matrices are said to be initialised; a layer whose type knows better overrules "fan_in".
    """
    everything = tuple(range(len(shape)))
    if isinstance(owner, NORMS):
        return Use((), everything, "constant")
    if isinstance(owner, (nn.Linear, _ConvNd)):
        transposed = isinstance(owner, _ConvTransposeNd)
        if leaf == "weight":
            reads, writes = ((0,), (1,)) if transposed else ((1,), (0,))
            return Use(reads, writes, law, "weight", grouped=transposed)
        if leaf == "bias":
            # torch draws it U(-1, 1) * fan_in^-1/2; where a model zeroes it instead, no factor matters.
            return Use((), (0,), "fan_in", "weight")
    if isinstance(owner, (nn.Embedding, nn.EmbeddingBag)):
        return Use((), (1,), "constant")
    if isinstance(owner, nn.MultiheadAttention):
        xavier: Law = "constant" if law == "constant" else "fan_average"
        if leaf in FUSED_ATTENTION:
            return Use((1,), (0,), xavier, leaf)
        if leaf in ("bias_k", "bias_v"):
            return Use((), everything, xavier, leaf)
    if isinstance(owner, nn.RNNBase):
        # Every parameter is drawn U(-1, 1) * hidden^-1/2, also those that read the input.
        like = "weight_hr_l0" if owner.proj_size else "weight_hh_l0"
        reads, writes = ((1,), (0,)) if len(shape) == 2 else ((), everything)
        return Use(reads, writes, "constant" if law == "constant" else "fan_in", like)
    if sum(size > 1 for size in shape) <= 1:
        return Use((), everything, "constant")
    return None


def torch_fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) as torch.nn.init counts them, also for transposed convolutions."""
    if len(shape) < 2:
        return 1, 1
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def own_growth(law: Law, base: Sequence[int], target: Sequence[int]) -> float:
    """A module's own initial standard deviation at the target's shape over that at the base's."""
    (base_in, base_out), (target_in, target_out) = torch_fans(base), torch_fans(target)
    fans = {
        "constant": (1, 1),
        "fan_in": (base_in, target_in),
        "fan_out": (base_out, target_out),
        "fan_average": (base_in + base_out, target_in + target_out),
    }
    before, after = fans[law]
    return math.sqrt(before / after)
