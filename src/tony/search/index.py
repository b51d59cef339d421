"""The index of a folder: one short vector a file, on disk, refreshed where files change.

Query and document are the two sources of an asymmetric random projection: documents are kept as k numbers in float16
instead of E in float32, and a query is projected from the other side, so that inner products are kept without bias.
Stored as safetensors: reading an index runs nothing.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tony.atomic import replacing
from tony.errors import TonyError
from tony.projections import AsymmetricRandomProjection, ProjectionWarning

FEWEST = 256  # documents: a smaller index is kept exactly, as it is small, and a projection has little to learn from
OUTGROWN = 2  # times the documents that the projection was fitted on: it is fitted again


@dataclass(frozen=True)
class Entry:
    """A file, and what says whether it has changed since."""

    name: str
    modality: str
    size: int
    modified: int  # nanoseconds

    @property
    def stamp(self) -> tuple[str, int, int]:
        return self.name, self.size, self.modified


@dataclass(frozen=True)
class Index:
    """Compressed documents.

    Attributes:
        entries: the n files, in the order of the rows.
        rows: (n, k) float16, or (n, E) float32 where nothing is compressed.
        left, right: (E, k) float32, what documents and queries are multiplied by; None where nothing is compressed.
        fitted_on: how many documents the projection was fitted on.
        head: hash of the head that made the vectors.
    """

    entries: tuple[Entry, ...]
    rows: np.ndarray
    left: np.ndarray | None
    right: np.ndarray | None
    fitted_on: int
    head: str

    @classmethod
    def build(
        cls, entries: Sequence[Entry], vectors: np.ndarray, queries: np.ndarray, head: str, k: int
    ) -> Index:
        """Index unit vectors (n, E) of `entries`; `queries` (m, E) are what queries look like."""
        if len(entries) < FEWEST or k >= vectors.shape[1]:
            return cls(tuple(entries), vectors.astype(np.float32), None, None, len(entries), head)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ProjectionWarning
            )  # its remedy, more rows, is not the reader's to give
            fitted = AsymmetricRandomProjection(k, random_state=0).fit(vectors, other=queries)
        left, right = fitted.components_left_.T, fitted.components_right_.T
        kept = cls(
            (),
            np.zeros((0, k), np.float16),
            left.astype(np.float32),
            right.astype(np.float32),
            len(entries),
            head,
        )
        return kept.replaced(entries, kept.compress(vectors))

    def compress(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors (n, E) of documents as this index keeps them."""
        if self.left is None:
            return vectors.astype(np.float32)
        # A document unlike all that the projection was fitted on may be long in its coordinates.
        most = np.finfo(np.float16).max
        return np.clip(vectors @ self.left, -most, most).astype(np.float16)

    def replaced(self, entries: Sequence[Entry], rows: np.ndarray) -> Index:
        """The same projection with other documents, compressed already."""
        return Index(tuple(entries), rows, self.left, self.right, self.fitted_on, self.head)

    def is_outgrown_by(self, documents: int) -> bool:
        """Whether these are so many more documents that the projection should be fitted again."""
        return documents >= max(FEWEST, OUTGROWN * self.fitted_on)

    @property
    def bytes_per_document(self) -> int:
        return self.rows.shape[1] * self.rows.dtype.itemsize

    def scores(self, query: np.ndarray) -> np.ndarray:
        """Estimated cosines (n,) of a unit vector (E,) with every document."""
        return self.rows.astype(np.float32) @ (query if self.right is None else query @ self.right)

    def save(self, path: Path) -> None:
        """Write `path`, whole or not at all."""
        tensors = {"rows": self.rows}
        if self.left is not None and self.right is not None:
            tensors |= {"left": self.left, "right": self.right}
        entries = [[e.name, e.modality, e.size, e.modified] for e in self.entries]
        about = {"head": self.head, "fitted_on": str(self.fitted_on), "entries": json.dumps(entries)}
        with replacing(path) as temporary:
            save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, temporary, about)

    @classmethod
    def load(cls, path: Path) -> Index:
        """The index in `path`.

        Raises:
            TonyError: there is none, or it is damaged.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            entries = tuple(Entry(*fields) for fields in json.loads(about["entries"]))
            index = cls(
                entries, tensors["rows"], tensors.get("left"), tensors.get("right"),
                int(about["fitted_on"]), about["head"],
            )  # fmt: skip
            if len(entries) != len(index.rows):
                raise ValueError("rows are missing")
            if index.left is not None and not index.left.shape == index.right.shape == (
                len(index.left),
                index.rows.shape[1],
            ):
                raise ValueError("shapes do not agree")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise TonyError(
                f"{path}: unreadable index ({error}). Remove it; the next search makes it again"
            ) from None
        return index

    def unchanged(self, found: Sequence[Entry]) -> Iterator[tuple[int, int]]:
        """(position in `found`, row here) of the files that are as they were."""
        rows = {entry.stamp: row for row, entry in enumerate(self.entries)}
        yield from ((i, rows[entry.stamp]) for i, entry in enumerate(found) if entry.stamp in rows)
