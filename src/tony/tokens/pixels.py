"""Pictures as one id a pixel, in raster order: grey levels, or a palette of colours fitted by k-means.

An id may say which pixel it is of as well (`placed`): place * colours + colour. Then a network learns one embedding for
each colour of each pixel, so that a single head which attends evenly to a picture computes a linear function of it. Rotary
positions give that only after every offset has been learned apart, which a small network does slowly (NOTEBOOK.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tony.errors import TonyError
from tony.media import Image, to_size
from tony.tokens.codec import check_ids, coordinates, neighbours

# k-means sees at most this many pixels: more do not change a palette visibly.
PALETTE_PIXELS = 200_000
# How far apart places lie, relative to how far colours do, where ids are placed.
PLACE_WEIGHT = 0.6


class PixelCodec:
    """Square pictures of one side; a pixel's id is the nearest colour of `palette` (colours, 1 or 3) uint8.

    With `placed`, ids place * colours to (place + 1) * colours - 1 belong to the pixel at `place`.
    """

    modality = "image"

    def __init__(self, side: int, palette: np.ndarray, placed: bool = False) -> None:
        self.side = side
        self.palette = np.asarray(palette, np.uint8)
        self.placed = placed
        self.length = side * side
        self.size = len(self.palette) * (self.length if placed else 1)
        if self.channels == 1:
            nearest = np.abs(np.arange(256)[:, None] - self.palette[:, 0].astype(int)[None]).argmin(1)
            self._nearest_grey = nearest.astype(np.int64)

    @property
    def channels(self) -> int:
        return self.palette.shape[1]

    @property
    def fingerprint(self) -> str:
        """Changes whenever an id, or its place, would mean something else."""
        return f"{self.side} {self.palette.tolist()}" + " placed" * self.placed

    @classmethod
    def grey(cls, side: int, levels: int, placed: bool = False) -> PixelCodec:
        """`levels` evenly spaced greys: with 17 levels scikit-learn's digits (0 to 16) keep every value."""
        return cls(side, np.round(np.linspace(0, 255, levels)).astype(np.uint8)[:, None], placed)

    @classmethod
    def fit(
        cls, images: Iterable[Image], side: int, colours: int, seed: int, placed: bool = False
    ) -> PixelCodec:
        """A palette of `colours` RGB colours, k-means over the pixels of `images`."""
        from sklearn.cluster import MiniBatchKMeans

        pixels = np.concatenate(
            [to_size(image, side, side, channels=3).pixels.reshape(-1, 3) for image in images]
        )
        rng = np.random.default_rng(seed)
        if len(pixels) > PALETTE_PIXELS:
            pixels = pixels[rng.choice(len(pixels), PALETTE_PIXELS, replace=False)]
        distinct = np.unique(pixels, axis=0)
        if len(distinct) <= colours:
            return cls(side, distinct, placed)
        kmeans = MiniBatchKMeans(colours, random_state=seed, n_init=1, batch_size=8192, max_iter=40)
        centres = np.unique(
            np.round(kmeans.fit(pixels.astype(np.float32)).cluster_centers_).astype(np.uint8), axis=0
        )
        return cls(side, centres, placed)

    def allowed(self, place: int) -> range:
        """The ids that the pixel at `place` may have."""
        colours = len(self.palette)
        return range(place * colours, (place + 1) * colours) if self.placed else range(colours)

    def coordinates(self) -> np.ndarray:
        """A point for every id: its colour; placed ids have one-hot columns of places, and of places times colour, instead."""
        colours = coordinates(self.palette)
        if not self.placed:
            return colours
        places = np.eye(self.length, dtype=np.float32)
        alone = PLACE_WEIGHT * np.repeat(places, len(colours), 0)
        inked = np.einsum("pq,ck->pcqk", places, colours).reshape(self.size, -1)
        return np.concatenate([alone, inked], 1)

    def neighbours(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each id (n,) the grey level next to it, at the same pixel; colours of a palette have no order, and stay."""
        if self.channels > 1:
            return ids
        return ids // len(self.palette) * len(self.palette) + neighbours(
            ids % len(self.palette), (len(self.palette),), rng
        )

    def encode(self, part: Image) -> np.ndarray:
        colours = self._colours(part)
        return colours + np.arange(self.length) * len(self.palette) if self.placed else colours

    def _colours(self, part: Image) -> np.ndarray:
        pixels = to_size(part, self.side, self.side, channels=self.channels).pixels
        if self.channels == 1:
            return self._nearest_grey[pixels.reshape(-1)]
        flat = pixels.reshape(-1, 3).astype(np.int32)
        distance = ((flat[:, None] - self.palette[None].astype(np.int32)) ** 2).sum(-1)
        return distance.argmin(1).astype(np.int64)

    def decode(self, ids: np.ndarray) -> Image:
        """The picture of `ids` in raster order; pixels that have no id yet are 0."""
        check_ids(ids, self.size, "picture")
        if len(ids) > self.length:
            raise TonyError(f"{len(ids)} picture ids: a picture of {self.side}x{self.side} has {self.length}")
        places, colours = np.divmod(np.asarray(ids, np.int64), len(self.palette))
        if self.placed and (places != np.arange(len(ids))).any():
            raise TonyError("picture ids are not in raster order: they were not made by this vocabulary")
        pixels = np.zeros((self.length, self.channels), np.uint8)
        pixels[: len(ids)] = self.palette[colours]
        return Image(pixels.reshape(self.side, self.side, self.channels))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        value = {"kind": "pixels", "side": self.side, "palette": self.palette.tolist(), "placed": self.placed}
        (folder / "image.json").write_text(json.dumps(value), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PixelCodec:
        try:
            value = json.loads((folder / "image.json").read_text(encoding="utf-8"))
            return cls(int(value["side"]), np.asarray(value["palette"], np.uint8), bool(value.get("placed")))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise TonyError(
                f"{folder / 'image.json'}: cannot be read ({error}). Train the run again"
            ) from None
