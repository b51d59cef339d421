"""Keys and values of beginnings that many prompts share, found again by a chained hash of their ids.

A prompt is cut into blocks of BLOCK ids. A block's name is the hash of its parent's name and its own ids, so a name
stands for everything from the first id on (vLLM's automatic prefix caching; nano-vllm's block manager). Where a prompt leaves
all known chains within a block, the part of it that is the same is found too, so a shared beginning of any length is computed
once (as in SGLang's radix tree).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

BLOCK = 32
ROOT = b""  # the name of the empty beginning


@dataclass(frozen=True)
class Block:
    """Keys and values (depth, K, n, E) of n <= BLOCK ids, whose place is fixed by all that stands before them."""

    ids: tuple[int, ...]
    keys: Tensor
    values: Tensor

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def beginning(self, length: int) -> Block:
        """Its first `length` ids."""
        return Block(self.ids[:length], self.keys[:, :, :length], self.values[:, :, :length])


class Prefixes:
    """At most `most_bytes` of blocks; the least recently used go first."""

    def __init__(self, most_bytes: int = 1 << 30) -> None:
        self.most_bytes, self.nbytes = most_bytes, 0
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()
        self._children: dict[
            bytes, dict[bytes, None]
        ] = {}  # a name -> the known blocks that follow it, in order
        self._parents: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, ids: Sequence[int], multiple: int = 1) -> list[Block]:
        """The longest known beginning of `ids`, its last id excepted: that one is always computed.

        The last block may be part of one; with `multiple`, the beginning is cut to a whole number of so many ids, a multiple
        of BLOCK.
        """
        found: list[Block] = []
        parent = ROOT
        for name, part in _names(ids[:-1]):
            block = self._blocks.get(name)
            if block is None or block.ids != part:  # an equal hash is not enough
                break
            self._blocks.move_to_end(name)
            found.append(block)
            parent = name
        if multiple > 1:
            return found[: len(found) * BLOCK // multiple * multiple // BLOCK]
        start = len(found) * BLOCK
        rest = tuple(ids[start : min(start + BLOCK, len(ids) - 1)])
        best, length = None, 0
        for name in self._children.get(parent, ()):
            same = common(self._blocks[name].ids, rest)
            if same > length:
                best, length = name, same
        if best is not None:
            self._blocks.move_to_end(best)
            found.append(self._blocks[best].beginning(length))
        return found

    def missing(self, ids: Sequence[int]) -> list[int]:
        """Which blocks of `ids`, by number, are not known yet; the last one may be short."""
        return [i for i, (name, _) in enumerate(_names(ids, short=True)) if name not in self._blocks]

    def keep(self, ids: Sequence[int], number: int, keys: Tensor, values: Tensor) -> None:
        """Remember block `number` of `ids`."""
        parent = ROOT
        for i, (name, part) in enumerate(_names(ids[: (number + 1) * BLOCK], short=True)):
            if i == number and name not in self._blocks:
                block = Block(part, keys, values)
                self._blocks[name] = block
                self._children.setdefault(parent, {})[name] = None
                self._parents[name] = parent
                self.nbytes += block.nbytes
            parent = name
        while self.nbytes > self.most_bytes and self._blocks:
            self._forget(next(iter(self._blocks)))

    def _forget(self, name: bytes) -> None:
        """Drop a block; those that follow it are found no more and go in their turn."""
        self.nbytes -= self._blocks.pop(name).nbytes
        parent = self._parents.pop(name)
        siblings = self._children[parent]
        del siblings[name]
        if not siblings:
            del self._children[parent]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first ids are the same."""
    length = min(len(one), len(other))
    return next((i for i in range(length) if one[i] != other[i]), length)


def _names(ids: Sequence[int], short: bool = False) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """The name and the ids of each whole block, with `short` also of what is left."""
    name = ROOT
    for start in range(0, len(ids) if short else len(ids) - BLOCK + 1, BLOCK):
        part = tuple(ids[start : start + BLOCK])
        name = hashlib.blake2b(name + np.asarray(part, np.int64).tobytes(), digest_size=16).digest()
        yield name, part
