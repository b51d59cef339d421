"""Where the documents lie in a batch of packed windows, arranged so that attention never crosses from one to another.

Attention over a whole window wastes most of its work on pairs of positions that belong to different documents. Here the
documents of a batch are sorted into buckets of similar length; each bucket is one dense batched attention. This is
variable-length attention ("varlen") written with plain matrix products, so it runs on every device.

Legend: N positions in the batch (batch x length), n documents in a bucket, L padded length of a bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

# Padding a document to its bucket costs up to one step of length; a finer ladder costs more, smaller products.
BUCKET_STEP = 16


@dataclass(frozen=True)
class Bucket:
    """`count` documents, padded to `length`, that begin at `offset` of the gathered positions."""

    offset: int
    count: int
    length: int


@dataclass(frozen=True)
class Segments:
    """A batch's documents.

    Attributes:
        positions: int64 (N,), the position of each token within its own document.
        gather: int64 (S,), the flat position that each slot of the buckets holds (padding repeats a position); S is the
            sum of n * L.
        restore: int64 (N,), the slot in which each flat position is found again.
        buckets: the buckets, in the order of their slots.
    """

    positions: torch.Tensor
    gather: torch.Tensor
    restore: torch.Tensor
    buckets: tuple[Bucket, ...]

    @classmethod
    def from_lengths(cls, lengths: Sequence[Sequence[int]], window: int) -> Segments:
        """The segments of windows (one per row) in which documents of `lengths` stand one after the other.

        What is left at the end of a window counts as one more document, so that every position has a slot.
        """
        starts, sizes = [], []
        for row, row_lengths in enumerate(lengths):
            filled = int(sum(row_lengths))
            assert filled <= window, "the documents of a window must fit it"
            sizes_here = [*row_lengths, window - filled] if filled < window else list(row_lengths)
            starts.extend(row * window + np.concatenate([[0], np.cumsum(sizes_here)[:-1]]))
            sizes.extend(sizes_here)
        start, size = np.asarray(starts, np.int64), np.asarray(sizes, np.int64)
        padded = -(-size // BUCKET_STEP) * BUCKET_STEP
        padded = np.minimum(padded, max(window, 1))

        num_positions = window * len(lengths)
        positions = np.zeros(num_positions, np.int64)
        restore = np.zeros(num_positions, np.int64)
        gathers, buckets, offset = [], [], 0
        for length in np.unique(padded):
            members = padded == length
            count = int(members.sum())
            step = np.arange(length)
            flat = start[members, None] + np.minimum(step, size[members, None] - 1)  # (n, L)
            valid = step < size[members, None]
            slots = offset + np.arange(count * length).reshape(count, length)
            restore[flat[valid]] = slots[valid]
            positions[flat[valid]] = np.broadcast_to(step, flat.shape)[valid]
            gathers.append(flat.reshape(-1))
            buckets.append(Bucket(offset, count, int(length)))
            offset += count * int(length)
        to = torch.from_numpy
        return cls(to(positions), to(np.concatenate(gathers)), to(restore), tuple(buckets))

    def to(self, device: torch.device | str) -> Segments:
        return Segments(
            self.positions.to(device), self.gather.to(device), self.restore.to(device), self.buckets
        )

    def rows(self, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`gather` and `restore` for rows of heads: (S * heads,) and (N * heads,).

        On the side of the batch row `position * heads + head`, in the buckets heads come first: (bucket, head, n, L). So
        that one pick of rows arranges positions and heads at once, and every bucket is contiguous.
        """
        head = torch.arange(heads, device=self.gather.device)
        gathers, starts, sizes = [], [], []
        for bucket in self.buckets:
            slots = bucket.count * bucket.length
            positions = self.gather[bucket.offset : bucket.offset + slots]
            gathers.append((positions * heads + head[:, None]).reshape(-1))
            starts.append(bucket.offset)
            sizes.append(slots)
        start = torch.tensor(starts, device=head.device)
        of = torch.searchsorted(start, self.restore, right=True) - 1
        size = torch.tensor(sizes, device=head.device)[of]
        start = start[of]
        restore = (start * heads + self.restore - start)[:, None] + size[:, None] * head
        return torch.cat(gathers), restore.reshape(-1)


class Gather(torch.autograd.Function):
    """Rows of `x` in the order of the buckets; the gradient picks rows back.

    Picking is a permutation up to padding, so its transpose is another pick. That is several times faster on a CPU
    than the scatter-add that indexing would record.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, gather: torch.Tensor, restore: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(restore)
        return x.index_select(0, gather)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        (restore,) = ctx.saved_tensors
        return grad.index_select(0, restore), None, None


class Restore(torch.autograd.Function):
    """Rows of the buckets put back in the order of the batch; padding gets no gradient."""

    @staticmethod
    def forward(ctx, slots: torch.Tensor, restore: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(restore)
        ctx.num_slots = slots.shape[0]
        return slots.index_select(0, restore)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        (restore,) = ctx.saved_tensors
        return grad.new_zeros(ctx.num_slots, *grad.shape[1:]).index_copy_(0, restore, grad), None
