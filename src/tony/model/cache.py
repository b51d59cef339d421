"""Keys and values of the past, preallocated, with its own length in every row.

Legend: B rows, K key/value heads, S slots, E head_dim.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Slots are allocated in steps, so that one more token does not mean one more allocation.
STEP = 64
ROWS_TOGETHER = 8  # rows of unlike lengths whose past is read as far as the longest of so many goes


class Cache:
    """The past of `rows` documents for a transformer of shape `config`.

    Rows may differ in length: a row's slots beyond its length are never attended to, and are written over. `slots`
    allocates at once what will be needed; without it the store grows as it fills.
    """

    reaches = None  # how far each ROWS_TOGETHER rows' past goes; None = all are read as far as the longest

    def __init__(
        self,
        config: Any,
        rows: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        slots: int = 0,
    ) -> None:
        self.config = config
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=device)
        shape = (config.depth, rows, config.kv_heads, 0, config.head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self._positions = self.lengths[:, None]
        self._used = 0  # the largest length, kept here so that no step waits for a device
        self._uniform = True  # all rows of one length: slots are written as a slice
        self._reserve(slots)

    @property
    def rows(self) -> int:
        return self.lengths.shape[0]

    @property
    def is_empty(self) -> bool:
        """Whether nothing counts as past yet."""
        return self._used == 0

    def _reserve(self, slots: int) -> None:
        have = self.keys.shape[3]
        if slots <= have:
            return
        grown = -(-slots // STEP) * STEP
        for name in ("keys", "values"):
            old = getattr(self, name)
            # Zeros, not garbage: a slot that is masked still meets a weight of 0, and 0 * NaN would be NaN.
            new = old.new_zeros(*old.shape[:3], grown, old.shape[4])
            new[..., :have, :] = old
            setattr(self, name, new)

    def look(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, T) of the next `length` ids, and the bias (B, 1, T, S) that hides what they may not see."""
        self._reserve(self._used + length)
        self._positions = self.lengths[:, None] + torch.arange(length, device=self.lengths.device)
        slots = torch.arange(self._used + length, device=self.lengths.device)
        hidden = slots > self._positions[..., None]  # (B, T, S)
        bias = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -math.inf)
        return self._positions, bias[:, None]

    def banded(self, bias: Tensor, window: int) -> Tensor:
        """`bias` with everything further back than `window` hidden as well."""
        slots = torch.arange(bias.shape[-1], device=bias.device)
        far = self._positions[..., None] - slots >= window
        return bias.masked_fill(far[:, None], -math.inf)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, K, T, E) of one layer; views of all that is in use come back, (B, K, S, E)."""
        length = keys.shape[2]
        end = self._used + length
        if self._uniform:
            self.keys[layer, :, :, self._used : end] = keys
            self.values[layer, :, :, self._used : end] = values
        else:
            rows = torch.arange(self.rows, device=keys.device)[:, None]
            self.keys[layer][rows, :, self._positions] = keys.transpose(1, 2).to(self.keys.dtype)
            self.values[layer][rows, :, self._positions] = values.transpose(1, 2).to(self.values.dtype)
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def ask(self, layer: int, queries: Tensor) -> Tensor:
        """Queries (B, H, T, E) of one layer in the form that meets the keys that `write` gives: here, as they are."""
        return queries

    def advance(self, length: int, counts: Tensor | None = None) -> None:
        """Count the ids just written as past: `length` in every row, or `counts` (B,)."""
        if counts is None:
            self.lengths = self.lengths + length
            self._used += length
        else:
            self.lengths = self.lengths + counts
            self._used = int(self.lengths.max())
            self._uniform = self._uniform and bool((counts == counts[0]).all())

    def select(self, rows: Tensor) -> None:
        """Keep `rows` only, in that order; a row may be taken more than once."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.lengths = self.lengths[rows]
        if self.rows:
            self._used = int(self.lengths.max())
            self._uniform = bool((self.lengths == self.lengths[0]).all())
