"""Keys and values of beginnings that many prompts share, found again by a chained hash of their ids.

A prompt is cut into blocks of BLOCK ids. A block's name is the hash of its parent's name and its own ids, so a name
stands for everything from the first id on (vLLM's automatic prefix caching; nano-vllm's block manager).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

BLOCK = 32


@dataclass(frozen=True)
class Block:
    """Keys and values (depth, K, BLOCK, E) of BLOCK ids, whose place is fixed by all that stands before them."""

    ids: tuple[int, ...]
    keys: Tensor
    values: Tensor

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes


class Prefixes:
    """At most `most_bytes` of blocks; the least recently used go first."""

    def __init__(self, most_bytes: int = 1 << 30) -> None:
        self.most_bytes, self.nbytes = most_bytes, 0
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, ids: Sequence[int], multiple: int = BLOCK) -> list[Block]:
        """The longest known chain of blocks that `ids` begin with, its last id excepted: that one is always computed.

        The chain is cut to a whole number of `multiple` ids.
        """
        found: list[Block] = []
        for name, part in _names(ids[:-1]):
            block = self._blocks.get(name)
            if block is None or block.ids != part:
                break
            self._blocks.move_to_end(name)
            found.append(block)
        return found[: len(found) * BLOCK // multiple * multiple // BLOCK]

    def missing(self, ids: Sequence[int]) -> list[int]:
        """Which whole blocks of `ids`, by number, are not known yet."""
        return [i for i, (name, _) in enumerate(_names(ids)) if name not in self._blocks]

    def keep(self, ids: Sequence[int], number: int, keys: Tensor, values: Tensor) -> None:
        """Remember block `number` of `ids`."""
        for i, (name, part) in enumerate(_names(ids[: (number + 1) * BLOCK])):
            if i == number and name not in self._blocks:
                block = Block(part, keys, values)
                self._blocks[name] = block
                self.nbytes += block.nbytes
        while self.nbytes > self.most_bytes and self._blocks:
            _, oldest = self._blocks.popitem(last=False)
            self.nbytes -= oldest.nbytes


def _names(ids: Sequence[int]) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """The name and the ids of each whole block."""
    name = b""
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        part = tuple(ids[start : start + BLOCK])
        name = hashlib.blake2b(name + np.asarray(part, np.int64).tobytes(), digest_size=16).digest()
        yield name, part
