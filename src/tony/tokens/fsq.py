"""Finite scalar quantisation: a few bounded numbers, each rounded to a few levels, read as one mixed-radix number.

Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple" (arXiv 2309.15505), section 3 and appendix A.1.
No codebook is learned, so none can collapse, and there is no auxiliary loss.

Shapes: D is the number of dimensions, one per entry of `levels`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tony.errors import TonyError
from tony.tokens.codec import coordinates


class FSQ(nn.Module):
    """Rounds vectors of D = len(levels) numbers to prod(levels) codes. Holds no parameters.

    Dimension i takes `levels[i]` values. They are spread evenly over [-1, 1], one step short of 1 where the number of
    levels is even, so that 0 is always a level. Two levels are -1 and 1, the sign of the number: 0 as a level would leave
    the other one out of reach, so they follow the symmetric form (Parker et al. 2024, arXiv 2411.19842, section 3.2).
    Index = sum of digit[i] * product(levels[:i]).
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or any(not isinstance(n, int) or n < 2 for n in levels):
            raise TonyError(
                f"FSQ levels are {list(levels)}: give whole numbers of at least 2, such as (8, 8, 8, 8)"
            )
        if math.prod(levels) > 2**31:
            raise TonyError(
                f"FSQ levels {list(levels)} make {math.prod(levels)} codes: use fewer or smaller ones"
            )
        self.levels = tuple(levels)
        self.size = math.prod(levels)
        basis = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("_levels", torch.tensor(levels), persistent=False)  # (D,)
        # What a code is multiplied with to count levels from 0, (D,).
        self.register_buffer(
            "_unit", torch.tensor([0.5 if n == 2 else n // 2 for n in levels]), persistent=False
        )
        self.register_buffer("_basis", torch.tensor(basis), persistent=False)  # (D,)

    def bound(self, z: Tensor) -> Tensor:
        """The unbounded z (..., D) squeezed so that rounding gives exactly `levels` values a dimension.

        An odd number of levels L, or two: tanh(z) * (L - 1) / 2. Another even one is shifted by half a step, and z with
        it so that 0 stays 0. The factor 1.001 keeps the outermost levels reachable at finite z.
        """
        half = (self._levels - 1) * 1.001 / 2
        offset = torch.where((self._levels % 2 == 0) & (self._levels > 2), 0.5, 0.0).to(z.dtype)
        half = half.to(z.dtype)
        shift = torch.atanh(offset / half)
        return torch.tanh(z + shift) * half - offset

    def forward(self, z: Tensor) -> Tensor:
        """The rounded vectors (..., D) in [-1, 1]; the gradient is that of `bound`, as if nothing was rounded."""
        bounded, unit = self.bound(z), self._unit.to(z.dtype)
        middle = unit % 1  # the levels of a dimension are whole numbers, or -1/2 and 1/2
        rounded = bounded + ((bounded - middle).round() + middle - bounded).detach()
        return rounded / unit

    def to_indices(self, codes: Tensor) -> Tensor:
        """The int64 indices (...) of rounded vectors (..., D)."""
        unit = self._unit.to(codes.dtype)
        digits = (codes * unit + unit).round().long()
        return (digits * self._basis).sum(-1)

    def to_codes(self, indices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The rounded vectors (..., D) of int64 indices (...)."""
        digits = indices.unsqueeze(-1) // self._basis % self._levels
        unit = self._unit.to(dtype)
        return (digits.to(dtype) - unit) / unit

    def coordinates(self) -> np.ndarray:
        """The codes (size, D), each dimension with mean 0 and variance 1."""
        return coordinates(self.to_codes(torch.arange(self.size)).cpu().numpy())
