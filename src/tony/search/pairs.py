"""Pairs of parts that show, say or write the same thing, read from a run's encoded documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tony.data.shards import Shard
from tony.tokens.vocabulary import Vocabulary

REQUEST = re.compile(r"[a-z]{2}(-\w+)?:")  # "fr:" asks for a language and shows nothing


@dataclass(frozen=True)
class Side:
    """One part: its modality and its ids without marks."""

    modality: str
    ids: np.ndarray

    @property
    def key(self) -> bytes:
        """Equal for parts of equal content."""
        return self.modality.encode() + self.ids.astype(np.int32).tobytes()


Pair = tuple[Side, Side]


def parts_of(ids: np.ndarray, vocabulary: Vocabulary) -> list[Side]:
    """The parts of one encoded document, in order."""
    begins = {vocabulary.begin(m): m for m in vocabulary.modalities}
    parts, modality, start = [], None, 0
    for position, index in enumerate(ids.tolist()):
        if index in begins:
            modality, start = begins[index], position + 1
        elif modality is not None and index == vocabulary.end(modality):
            parts.append(Side(modality, ids[start:position]))
            modality = None
    return parts


def pairs(shard: Shard, vocabulary: Vocabulary, most: int, seed: int = 0) -> list[Pair]:
    """Up to `most` pairs of two modalities, in a seeded order.

    A pair is a document of exactly two parts (a language that is asked for does not count): one thing, twice. In longer
    ones, such as sums and conversations, what stands together need not be the same.
    """
    found: list[Pair] = []
    for document in np.random.default_rng([seed, 31]).permutation(len(shard)):
        shown = list(_shown(shard.tokens(int(document)).ids, vocabulary))
        if len(shown) == 2 and shown[0].modality != shown[1].modality:
            found.append((shown[0], shown[1]))
            if len(found) == most:
                break
    return found


def _shown(ids: np.ndarray, vocabulary: Vocabulary) -> Iterator[Side]:
    for side in parts_of(ids, vocabulary):
        if len(side.ids) and not _is_request(side, vocabulary):
            yield side


def _is_request(side: Side, vocabulary: Vocabulary) -> bool:
    is_short = side.modality == "text" and len(side.ids) <= 8
    return is_short and REQUEST.fullmatch(vocabulary.decode_part("text", side.ids).text) is not None
