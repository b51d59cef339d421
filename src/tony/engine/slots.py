"""Keys and values of many sequences in one preallocated store: a row a sequence, each with its own length.

Legend: R rows, B rows in use, T new ids, K key/value heads, S slots, E head_dim, k numbers kept of a key (E, without a sketch).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tony.engine.keys import KeySketch
from tony.model.cache import ROWS_TOGETHER

WORTH = 0.85  # of the slots that reading all rows as far as the longest would read


class Slots:
    """The store; `view` gives consecutive rows the interface that `Transformer.states` wants of a cache.

    With a `sketch`, keys are kept in as many numbers as it gives.
    """

    def __init__(
        self,
        config: Any,
        rows: int,
        slots: int,
        dtype: torch.dtype,
        device: torch.device | str,
        sketch: KeySketch | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.lengths = [0] * rows
        self.sketch = sketch
        shape = (config.depth, rows, config.kv_heads, slots)
        key_size = sketch.size if sketch else config.head_dim
        # Zeros, not garbage: a slot that is masked still meets a weight of 0, and 0 * NaN would be NaN.
        self.keys = torch.zeros(*shape, key_size, dtype=dtype, device=self.device)
        self.values = torch.zeros(*shape, config.head_dim, dtype=dtype, device=self.device)

    @property
    def size(self) -> int:
        """Slots of a row."""
        return self.keys.shape[3]

    @property
    def bytes_per_slot(self) -> int:
        depth, _, kv_heads, _, key_size = self.keys.shape
        return depth * kv_heads * (key_size + self.values.shape[4]) * self.keys.element_size()

    def grow(self, slots: int) -> None:
        """Make every row at least `slots` long, and at least twice as long as it was."""
        if slots <= self.size:
            return
        old = self.size
        for name in ("keys", "values"):
            have = getattr(self, name)
            new = have.new_zeros(*have.shape[:3], max(slots, 2 * old), have.shape[4])
            new[..., :old, :] = have
            setattr(self, name, new)

    def copy(self, source: int, target: int, start: int = 0) -> None:
        """Make row `target` the same as row `source`, of which it already holds the first `start` slots."""
        end = self.lengths[source]
        for store in (self.keys, self.values):
            store[:, target, :, start:end] = store[:, source, :, start:end]
        self.lengths[target] = end

    def reorder(self, first: int, parents: list[int], start: int) -> None:
        """Row first + i becomes what row first + parents[i] was; all of them agree on the slots before `start`."""
        source = torch.tensor(parents, device=self.device) + first
        rows = slice(first, first + len(parents))
        end = max(self.lengths[rows], default=0)
        for store in (self.keys, self.values):
            store[:, rows, :, start:end] = store[:, source, :, start:end]
        self.lengths[rows] = [self.lengths[first + parent] for parent in parents]

    def read(self, row: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Copies (depth, K, end - start, k or E) of the keys and values of one row, as they are kept."""
        return self.keys[:, row, :, start:end].clone(), self.values[:, row, :, start:end].clone()

    def append(self, row: int, keys: Tensor, values: Tensor) -> None:
        """Add what `read` gave to the end of a row."""
        start = self.lengths[row]
        end = start + keys.shape[2]
        self.keys[:, row, :, start:end] = keys
        self.values[:, row, :, start:end] = values
        self.lengths[row] = end

    def view(self, first: int, count: int, reach: int | None = None) -> View:
        """Rows first to first + count; with `reach`, attention always spans that many slots."""
        return View(self, first, count, reach)


class View:
    """Consecutive rows, for one forward pass."""

    def __init__(self, store: Slots, first: int, count: int, reach: int | None) -> None:
        self._store, self._first, self._rows = store, first, slice(first, first + count)
        lengths = store.lengths[self._rows]
        self._lengths = torch.tensor(lengths, dtype=torch.int64, device=store.device)
        self._longest, self._uniform, self._reach = max(lengths), len(set(lengths)) == 1, reach
        self.reaches: list[int] | None = None
        self._positions = self._lengths[:, None]
        # By layer (B, K, S, k or E), made at once: a layer's own slicing costs more than its copy of a new key.
        self._keys, self._values = (side[:, self._rows].unbind() for side in (store.keys, store.values))

    @property
    def is_empty(self) -> bool:
        """Whether nothing counts as past yet; with a sketch never, as a prompt then reads back its keys as they are kept:
        it is the same whether its beginning was known or not."""
        return self._longest == 0 and not self._store.sketch

    def look(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, T) of the next `length` ids, and the bias (B, 1, T, S) that hides what they may not see."""
        end = self._longest + length
        assert end <= self._store.size, "the batcher grows the store before it is used"
        self._end = end if self._reach is None else self._reach
        self.reaches = self._reaches_after(length)
        device = self._store.device
        self._positions = self._lengths[:, None] + torch.arange(length, device=device)
        hidden = torch.arange(self._end, device=device) > self._positions[..., None]  # (B, T, S)
        bias = torch.zeros(hidden.shape, dtype=like.dtype, device=device).masked_fill_(hidden, -math.inf)
        return self._positions, bias[:, None]

    def _reaches_after(self, length: int) -> list[int] | None:
        """How far the past of every ROWS_TOGETHER rows goes with `length` more, where reading only so far is worth its calls.

        Rows in use are sorted by nothing, but samples of one prompt stand together.
        """
        lengths = self._store.lengths[self._rows]
        if self._reach is not None or self._store.device.type != "cpu" or len(lengths) <= ROWS_TOGETHER:
            return None
        found = [max(lengths[i : i + ROWS_TOGETHER]) + length for i in range(0, len(lengths), ROWS_TOGETHER)]
        return found if sum(found) < WORTH * len(found) * self._end else None

    def banded(self, bias: Tensor, window: int) -> Tensor:
        """`bias` with everything further back than `window` hidden as well."""
        far = self._positions[..., None] - torch.arange(bias.shape[-1], device=bias.device) >= window
        return bias.masked_fill(far[:, None], -math.inf)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, K, T, E) of one layer; views of all that is in use come back, (B, K, S, k or E)."""
        if self._store.sketch:
            keys = self._store.sketch.of_keys(layer, keys)
        out = []
        for mine, new in ((self._keys[layer], keys), (self._values[layer], values)):
            if self._uniform:
                mine.narrow(2, self._longest, new.shape[2]).copy_(new)
            else:
                rows = torch.arange(mine.shape[0], device=mine.device)[:, None]
                mine[rows, :, self._positions] = new.transpose(1, 2).to(mine.dtype)
            out.append(mine.narrow(2, 0, self._end))
        return out[0], out[1]

    def ask(self, layer: int, queries: Tensor) -> Tensor:
        """Queries (B, H, T, E) of one layer in the form that meets the keys that `write` gives, (B, H, T, k or E)."""
        sketch = self._store.sketch
        return sketch.of_queries(layer, queries) if sketch else queries

    def advance(self, length: int, counts: Tensor | None = None) -> None:
        """Count the ids just written as past: `length` in every row, or `counts` (B,)."""
        new = [length] * len(self._lengths) if counts is None else counts.tolist()
        old = self._store.lengths[self._rows]
        self._store.lengths[self._rows] = [a + b for a, b in zip(old, new, strict=True)]
