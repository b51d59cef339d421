"""Pictures alone, in random crops and flips: Fashion-MNIST, clip art, photographs, or several of them.

Fashion-MNIST has 60,000 + 10,000 grey pictures of 28 x 28; clip art and photographs are in colour, of any size
(`gallery.py`), and their crops are reduced to one side.

The crops are what keeps a model from learning pictures by heart, so that training and test loss measure one thing. Test
pictures are cropped and flipped in the same way: both splits are draws from one distribution.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from tony.data.gallery import clipart, photographs
from tony.data.packages import debian_package
from tony.data.sources import Split
from tony.errors import TonyError
from tony.media import Audio, Document, Image, to_size
from tony.runs.data_recipes import PicturesData

PACKAGE = "dataset-fashion-mnist"
SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"  # 0.0~git20200523.55506a9-1
CROPS = {"clipart": 1, "photographs": 64}  # a photograph has as many crops as so many other pictures
HELD_OUT_COPIES = 16  # of clip art and photographs: fewer are held out than of Fashion-MNIST
FITTED = 1000  # pictures that a codec is fitted to
FILES = {"train": "train-images-idx3-ubyte.gz", "heldout": "t10k-images-idx3-ubyte.gz"}


class Pictures:
    """Source of documents of one picture each."""

    def __init__(self, recipe: PicturesData, seed: int = 0) -> None:
        self.recipe, self.seed = recipe, seed
        self._shown: dict[Split, list[tuple[str, np.ndarray]]] = {}

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

    def shown(self, split: Split) -> list[tuple[str, np.ndarray]]:
        """What one copy of the split shows: (set, picture), photographs several times."""
        if split not in self._shown:
            self._shown[split] = self._read(split)
        return self._shown[split]

    def _read(self, split: Split) -> list[tuple[str, np.ndarray]]:
        folder = Path(self.recipe.path) if self.recipe.path else None
        pairs: list[tuple[str, np.ndarray]] = []
        for name in self.recipe.sets:
            match name:
                case "fashion":
                    pictures = list(self.pixels(split))
                case "clipart":
                    pictures = list(clipart(split, folder))
                case "photographs":
                    pictures = photographs(split, folder)
            pairs += [(name, p) for p in pictures for _ in range(CROPS.get(name, 1))]
        return pairs

    def documents(self, split: Split) -> Iterator[Document]:
        """Every picture, `copies` times in training, each time another crop, in a seeded order."""
        shown = self.shown(split)
        rng = np.random.default_rng([self.seed, split == "train"])
        more = 1 if "fashion" in self.recipe.sets else HELD_OUT_COPIES
        for _ in range(self.recipe.copies if split == "train" else more):
            for index in rng.permutation(len(shown)):
                yield Document([self.image(*shown[index], rng)])

    def image(self, name: str, picture: np.ndarray, rng: np.random.Generator) -> Image:
        """One crop of a picture of a set."""
        if name == "fashion":
            return Image(self.vary(picture, rng)[..., None])
        part = crop(picture, self.recipe.zoom, rng)
        side = min(self.recipe.side, len(part))
        return to_size(Image(part), side, side)

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
        """Whole pictures of Fashion-MNIST, crops of others."""
        if self.recipe.sets == ("fashion",):
            return [Image(picture[..., None]) for picture in self.pixels("train")[:FITTED]]
        shown, rng = self.shown("train"), np.random.default_rng([self.seed, 2])
        chosen = rng.permutation(len(shown))[:FITTED]
        return [self.image(*shown[i], rng) for i in chosen]

    def sounds(self) -> Sequence[Audio]:
        return []


def crop(picture: np.ndarray, zoom: float, rng: np.random.Generator) -> np.ndarray:
    """A square of `zoom` to 1 of the shorter side at a random place of a picture (height, width, C), mirrored or not."""
    height, width = picture.shape[:2]
    side = max(1, round(min(height, width) * rng.uniform(zoom, 1)))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    part = picture[top : top + side, left : left + side]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


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
