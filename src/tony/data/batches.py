"""Batches: which windows make batch i is a pure function of (seed, i).

Windows form one endless sequence, epoch after epoch, each epoch its own seeded permutation; batch i takes the i-th
stretch of it. So resuming is a seek, and nothing of the loader is ever saved but i.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from tony.data.shards import Packing, Shard, pack


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
    """

    def __init__(self, shard: Shard, context: int, batch_tokens: int, seed: int) -> None:
        self.shard, self.context, self.seed = shard, context, seed
        self.packing: Packing = pack(shard.lengths, context)
        self.windows_per_batch = max(1, batch_tokens // context)
        self._permutation = lru_cache(maxsize=2)(self._permute)

    @property
    def tokens_per_batch(self) -> int:
        return self.windows_per_batch * self.context

    def _permute(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 11, epoch]).permutation(len(self.packing))

    def windows(self, index: int) -> list[int]:
        """The windows of batch `index`."""
        first = index * self.windows_per_batch
        places = range(first, first + self.windows_per_batch)
        n = len(self.packing)
        return [int(self._permutation(place // n)[place % n]) for place in places]

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
