"""What every codec of one modality offers: media to token ids and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from tony.errors import TonyError
from tony.media import Part


def check_ids(ids: np.ndarray, size: int, what: str) -> None:
    """Raise a TonyError unless every id lies in [0, size): an id of another modality would decode to nonsense."""
    ids = np.asarray(ids)
    if ids.size and not (0 <= ids.min() and ids.max() < size):
        wrong = ids[(ids < 0) | (ids >= size)][0]
        raise TonyError(f"{what} id {int(wrong)} is outside 0 to {size - 1}: these ids are not of this vocabulary")


@runtime_checkable
class Codec(Protocol):
    """Turns parts of one modality into ids and back. Ids lie in [0, size); anything else is a TonyError."""

    size: int

    def encode(self, part: Part) -> np.ndarray:
        """The part's ids, int64 of shape (n,)."""
        ...

    def decode(self, ids: np.ndarray) -> Part:
        """The part that the ids stand for."""
        ...

    def save(self, folder: str | os.PathLike) -> Path:
        """The folder that now holds the codec: JSON and safetensors, written so that nothing is left half-written."""
        ...

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """The codec that `save` wrote there. Raises TonyError where the folder holds none, or a damaged one."""
        ...
