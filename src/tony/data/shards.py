"""Encoded documents on disk, and how they are packed into windows.

A shard folder holds `ids.npy`, `counted.npy`, `offsets.npy` and, written last, `index.json` with their checksums and the
hash of the vocabulary that made them. Everything is opened as a memory map.

Packing is best-fit decreasing: among the windows that are open, a document goes into the one it leaves fullest. It is
done within groups of consecutive documents, so that what a window mixes stays random.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tony.atomic import replacing, write_json
from tony.errors import TonyError
from tony.tokens.vocabulary import MODALITIES, Tokens, Vocabulary

PACKING_GROUP = 4096  # documents
MOST_LOST = 0.02  # of the positions


@dataclass(frozen=True)
class Packing:
    """Windows of whole documents.

    Attributes:
        documents: the documents of all windows, one window after the other.
        starts: (windows + 1,), where in `documents` each window begins.
        groups: (groups + 1,), the window at which each group of consecutive documents begins.
        lost: share of the positions that hold no document.
    """

    documents: np.ndarray
    starts: np.ndarray
    groups: np.ndarray
    lost: float

    def __len__(self) -> int:
        return len(self.starts) - 1

    def window(self, index: int) -> np.ndarray:
        return self.documents[self.starts[index] : self.starts[index + 1]]


def pack(lengths: np.ndarray, context: int, group: int = PACKING_GROUP) -> Packing:
    """Documents of `lengths` (each at most `context`) packed into windows of `context` positions.

    By best fit, the longest document first. A group of which that loses more than MOST_LOST, as where all documents are about
    as long, is packed window by window if fewer windows do.
    """
    lengths = np.asarray(lengths, np.int64)
    if len(lengths) and lengths.max() > context:
        raise TonyError(
            f"a document of {int(lengths.max())} ids does not fit model.context={context}: raise it, or shorten the data"
        )
    windows: list[list[int]] = []
    groups = [0]
    for begin in range(0, len(lengths), group):
        members = np.arange(begin, min(begin + group, len(lengths)))
        members = members[np.argsort(-lengths[members], kind="stable")]
        packed = _best_fit(lengths, members, context)
        if lengths[members].sum() < (1 - MOST_LOST) * context * len(packed):
            packed = min(packed, _fullest(lengths, members, context), key=len)
        windows += packed
        groups.append(len(windows))
    starts = np.concatenate([[0], np.cumsum([len(w) for w in windows])]).astype(np.int64)
    documents = np.fromiter((d for w in windows for d in w), np.int64, count=int(starts[-1]))
    total = context * len(windows)
    return Packing(documents, starts, np.array(groups), 1 - float(lengths.sum()) / total if total else 0.0)


def _best_fit(lengths: np.ndarray, members: np.ndarray, context: int) -> list[list[int]]:
    """Windows of `members`, longest first: each goes where the least room is left."""
    windows: list[list[int]] = []
    open_windows: dict[int, list[list[int]]] = {}  # room left -> windows
    rooms: list[int] = []  # its keys, sorted
    for document in members:
        length = int(lengths[document])
        place = bisect_left(rooms, length)
        if place == len(rooms):
            window: list[int] = []
            windows.append(window)
            room = context
        else:
            room = rooms[place]
            window = open_windows[room].pop()
            if not open_windows[room]:
                del open_windows[room], rooms[place]
        window.append(int(document))
        left = room - length
        if left not in open_windows:
            open_windows[left] = []
            insort(rooms, left)
        open_windows[left].append(window)
    return windows


def _fullest(lengths: np.ndarray, members: np.ndarray, context: int) -> list[list[int]]:
    """Windows of `members`, longest first: each takes the longest that is left, and with it what fills it best.

    Which lengths fill it is a subset sum, a bit for each number of positions (Gupta and Ho's minimum bin slack, 1999).
    """
    left: dict[int, list[int]] = {}  # length -> documents, the first one last
    for document in reversed(members.tolist()):
        left.setdefault(int(lengths[document]), []).append(document)
    order = sorted(left, reverse=True)
    windows: list[list[int]] = []
    while order:
        window = [left[order[0]].pop()]
        room = context - order[0]
        mask = (1 << (room + 1)) - 1
        reached = [1]  # bit n: n positions can be filled by documents of the lengths so far
        for length in order:
            bits = reached[-1]
            for _ in range(min(len(left[length]), room // length if length else 0)):
                bits |= bits << length & mask
            reached.append(bits)
        filled = reached[-1].bit_length() - 1
        for length, before in zip(reversed(order), reversed(reached[:-1]), strict=True):
            while not before >> filled & 1:
                window.append(left[length].pop())
                filled -= length
        windows.append(window)
        order = [length for length in order if left[length]]
    return windows


class Shard:
    """The encoded documents of one split, on disk."""

    def __init__(self, folder: Path, vocabulary_hash: str | None = None) -> None:
        self.folder = folder
        try:
            index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            for name, checksum in index["checksums"].items():
                if _checksum(folder / name) != checksum:
                    raise ValueError(f"{name} is damaged")
            self.ids = np.load(folder / "ids.npy", mmap_mode="r", allow_pickle=False)
            self.counted = np.load(folder / "counted.npy", mmap_mode="r", allow_pickle=False)
            self.offsets = np.load(folder / "offsets.npy", allow_pickle=False)
            self.vocabulary_hash: str = index["vocabulary"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TonyError(
                f"{folder}: unreadable shard ({error}). Remove that folder and run the same command"
            ) from None
        if vocabulary_hash is not None and self.vocabulary_hash != vocabulary_hash:
            raise TonyError(
                f"{folder}: encoded with another vocabulary. Remove that folder and run the same command"
            )

    @classmethod
    def write(cls, folder: Path, documents: Iterable[Tokens], vocabulary: Vocabulary) -> Shard:
        """Encode to disk; the index is written last, so a folder without one is not a shard."""
        ids, counted, lengths = [], [], [0]
        for tokens in documents:
            ids.append(tokens.ids)
            counted.append(tokens.counted)
            lengths.append(len(tokens))
        if not ids:
            raise TonyError(f"{folder}: there is no document to write: give more examples")
        dtype = np.uint16 if vocabulary.size <= 2**16 else np.uint32
        arrays = {
            "ids.npy": np.concatenate(ids).astype(dtype),
            "counted.npy": np.concatenate(counted),
            "offsets.npy": np.cumsum(lengths).astype(np.int64),
        }
        (folder / "index.json").unlink(missing_ok=True)
        for name, array in arrays.items():
            with replacing(folder / name) as temporary, temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        checksums = {name: _checksum(folder / name) for name in arrays}
        write_json(folder / "index.json", {"vocabulary": vocabulary.hash, "checksums": checksums})
        return cls(folder)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def tokens(self, document: int) -> Tokens:
        a, b = self.offsets[document], self.offsets[document + 1]
        return Tokens(np.asarray(self.ids[a:b], np.int64), np.asarray(self.counted[a:b]))

    @cached_property
    def _known(self) -> dict[tuple, Any]:
        """What was computed of all documents: the runs of a ladder share a shard, and would each compute it anew."""
        return {}

    def packing(self, context: int) -> Packing:
        """Its documents in windows of `context` positions, packed once.

        Raises:
            TonyError: a document is longer.
        """
        if ("packing", context) not in self._known:
            self._known["packing", context] = pack(self.lengths, context)
        return self._known["packing", context]

    def modality_counts(self, vocabulary: Vocabulary, counted_only: bool) -> dict[str, int]:
        """How many ids each modality has."""
        key = ("counts", vocabulary.hash, counted_only)
        if key not in self._known:
            self._known[key] = self._count(vocabulary, counted_only)
        return dict(self._known[key])

    def _count(self, vocabulary: Vocabulary, counted_only: bool) -> dict[str, int]:
        kinds = vocabulary.modality_of[np.asarray(self.ids, np.int64)]
        if counted_only:
            kinds = kinds[np.asarray(self.counted)]
        return {name: int((kinds == index).sum()) for index, name in enumerate(MODALITIES)}

    def unigram_entropy(self, vocabulary: Vocabulary) -> dict[str, float]:
        """Entropy in nats of the counted ids' frequencies, by modality: the loss of a model that knows only those."""
        ids = np.asarray(self.ids, np.int64)[np.asarray(self.counted)]
        kinds = vocabulary.modality_of[ids]
        entropy = {}
        for index, name in enumerate(MODALITIES):
            counts = np.bincount(ids[kinds == index])
            share = counts[counts > 0] / max(1, counts.sum())
            if len(share):
                entropy[name] = float(-(share * np.log(share)).sum())
        return entropy


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum
