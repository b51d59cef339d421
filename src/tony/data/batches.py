"""Batches: which windows make batch i is a pure function of (seed, i).

Windows form one endless sequence, epoch after epoch, each epoch its own seeded permutation; batch i takes the i-th
stretch of it. So resuming is a seek, and nothing of the loader is ever saved but i.

A curriculum keeps the order in which the source gave its documents, from the first step to the last: the groups in which
they were packed come one after the other, and only within a group windows are permuted. The run then goes once through
all groups, however long it is: where it needs fewer windows than there are, each group gives a part of its own, and
where it needs more, each group is gone through several times before the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from tony.data.shards import Packing, Shard


@dataclass(frozen=True)
class Batch:
    """Packed windows.

    Attributes:
        ids: int64 (windows, context).
        lengths: the documents of each window, in order; what is left of the window is padding.
        places: int64 (n,), flat positions whose successor the loss counts.
        targets: int64 (n,), those successors.
    """

    ids: torch.Tensor
    lengths: list[list[int]]
    places: torch.Tensor
    targets: torch.Tensor


class Batches:
    """Batch i of a shard, for every i from 0.

    Args:
        shard: the encoded documents.
        context: positions of a window.
        batch_tokens: positions of a batch; rounded down to whole windows, one at least.
        seed: of the epochs' permutations.
        curriculum: how many batches the run has in all, where documents are to come in the order of the shard.
    """

    def __init__(
        self, shard: Shard, context: int, batch_tokens: int, seed: int, curriculum: int | None = None
    ) -> None:
        self.shard, self.context, self.seed = shard, context, seed
        self.packing: Packing = shard.packing(context)
        self.windows_per_batch = max(1, batch_tokens // context)
        self._permutation = lru_cache(maxsize=4)(self._permute)
        self._span = curriculum * self.windows_per_batch if curriculum else None

    @property
    def tokens_per_batch(self) -> int:
        return self.windows_per_batch * self.context

    def _permute(self, epoch: int, size: int, *group: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 11, epoch, *group]).permutation(size)

    def windows(self, index: int) -> list[int]:
        """The windows of batch `index`."""
        first = index * self.windows_per_batch
        return [self._window(place) for place in range(first, first + self.windows_per_batch)]

    def _window(self, place: int) -> int:
        """The window at `place` of the run's sequence."""
        n = len(self.packing)
        if self._span is None:
            return int(self._permutation(place // n, n)[place % n])
        passes = -(-self._span // n)  # through each group
        place = place % self._span * passes * n // self._span
        group = int(np.searchsorted(self.packing.groups, place // passes, side="right")) - 1
        start, end = (int(edge) for edge in self.packing.groups[group : group + 2])
        turn, within = divmod(place - start * passes, end - start)
        return start + int(self._permutation(turn, end - start, group)[within])

    def __getitem__(self, index: int) -> Batch:
        return self.assemble(self.windows(index))

    def assemble(self, windows: list[int]) -> Batch:
        """The batch of these windows, one a row."""
        ids = np.zeros((len(windows), self.context), np.int64)
        counted = np.zeros((len(windows), self.context), bool)
        lengths = []
        for row, window in enumerate(windows):
            place, row_lengths = 0, []
            for document in self.packing.window(window):
                tokens = self.shard.tokens(int(document))
                ids[row, place : place + len(tokens)] = tokens.ids
                counted[row, place : place + len(tokens)] = tokens.counted
                place += len(tokens)
                row_lengths.append(len(tokens))
            lengths.append(row_lengths)
        # A document's first id is never counted, so the position before a counted one is in the same document.
        followed = np.flatnonzero(counted.reshape(-1)[1:])
        return Batch(
            ids=torch.from_numpy(ids),
            lengths=lengths,
            places=torch.from_numpy(followed),
            targets=torch.from_numpy(ids.reshape(-1)[followed + 1]),
        )
