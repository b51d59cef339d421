"""Fashion-MNIST as pictures alone: 60,000 + 10,000 grey pictures of 28 x 28, in random crops and flips.

The crops are what keeps a model from learning pictures by heart, so that training and test loss measure one thing. Test
pictures are cropped and flipped in the same way: both splits are draws from one distribution.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from tony.data.packages import debian_package
from tony.data.sources import Split
from tony.errors import TonyError
from tony.media import Audio, Document, Image
from tony.runs.data_recipes import PicturesData

PACKAGE = "dataset-fashion-mnist"
SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"  # 0.0~git20200523.55506a9-1
FILES = {"train": "train-images-idx3-ubyte.gz", "heldout": "t10k-images-idx3-ubyte.gz"}


class Pictures:
    """Source of documents of one picture each."""

    def __init__(self, recipe: PicturesData, seed: int = 0) -> None:
        self.recipe, self.seed = recipe, seed

    @cached_property
    def folder(self) -> Path:
        return Path(self.recipe.path) if self.recipe.path else debian_package(PACKAGE, SHA256)

    def pixels(self, split: Split) -> np.ndarray:
        """The pictures of a split, uint8 (n, 28, 28)."""
        path = next(self.folder.rglob(FILES[split]), None) if self.folder.is_dir() else None
        if path is None:
            raise TonyError(
                f"{self.folder}: holds no {FILES[split]}. Unpack {PACKAGE} there with dpkg-deb -x, or leave data.path out"
            )
        return read_idx(path)

    def documents(self, split: Split) -> Iterator[Document]:
        """Every picture, `copies` times in training, each time another crop, in a seeded order."""
        pictures = self.pixels(split)
        rng = np.random.default_rng([self.seed, split == "train"])
        for _ in range(self.recipe.copies if split == "train" else 1):
            for index in rng.permutation(len(pictures)):
                yield Document([Image(self.vary(pictures[index], rng)[..., None])])

    def vary(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A square crop of one side in [28 - crop, 28] at a random place, mirrored or not."""
        side = len(picture)
        kept = side - int(rng.integers(self.recipe.crop + 1))
        top, left = rng.integers(side - kept + 1, size=2)
        part = picture[top : top + kept, left : left + kept]
        return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)

    def texts(self) -> Iterator[str]:
        return iter(())

    def images(self) -> Sequence[Image]:
        return [Image(picture[..., None]) for picture in self.pixels("train")[:1000]]

    def sounds(self) -> Sequence[Audio]:
        return []


def read_idx(path: Path) -> np.ndarray:
    """The array in a gzipped IDX file of bytes, as MNIST has them.

    Raises:
        TonyError: it is no such file.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        dimensions = data[3]
        if data[:3] != b"\0\0\x08":
            raise ValueError("no IDX file of bytes")
        shape = np.frombuffer(data, ">u4", dimensions, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise TonyError(f"{path}: cannot be read ({error}). Unpack the package again") from None
