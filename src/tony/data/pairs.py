"""Fashion-MNIST with captions: each picture, cropped and flipped as in `pictures.py`, and a sentence that is true of it.

    a grey patterned ankle boot, higher at the right, covering four tenths

What it is comes from the data set's label, and everything else is measured on the very pixels that are shown, before they are
made smaller: so caption and picture tell of each other, but neither tells all of the other. The recipe says which comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from tony.data.pictures import Pictures, read_idx
from tony.data.sources import Split
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text
from tony.runs.data_recipes import PairsData, PicturesData

LABELS = {"train": "train-labels-idx1-ubyte.gz", "heldout": "t10k-labels-idx1-ubyte.gz"}
CLASSES = (
    "t-shirt", "pair of trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
SHOES = ("sandal", "sneaker", "ankle boot")
INK = 32  # a brighter pixel belongs to the thing, a darker one to the black behind it
TONES = ("black", "dark", "grey", "light", "white")
TONE_EDGES = (105, 140, 165, 190)  # mean grey of the ink: about a fifth of the pictures each
PATTERNED = (
    0.2  # mean difference of neighbours in a row, of the mean grey: two fifths of the pictures are above
)
TENTHS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
CAPTIONS_OF_BPE = 5000


def caption(picture: np.ndarray, label: int) -> str:
    """What can be said of a grey picture, uint8 (side, side), of a class: tone, texture, name, slope, size."""
    ink = picture > INK
    shade = float(picture[ink].mean()) if ink.any() else 0.0
    tone = TONES[int(np.searchsorted(TONE_EDGES, shade, side="right"))]
    beside = ink[:, 1:] & ink[:, :-1]
    steps = np.abs(np.diff(picture.astype(int), axis=1))[beside]
    texture = "patterned" if len(steps) and steps.mean() > PATTERNED * shade else "plain"
    size = TENTHS[round(10 * float(ink.mean()))]
    name = CLASSES[label]
    slope = f", higher at the {_higher_side(ink)}" if name in SHOES else ""
    return f"a {tone} {texture} {name}{slope}, covering {size} tenth{'s' * (size != 'one')}"


def _higher_side(ink: np.ndarray) -> str:
    """The half, left or right, whose columns of `ink` (side, side) begin nearer to the top on average."""
    side = len(ink)
    height = np.where(ink.any(0), side - ink.argmax(0), 0)  # (side,), of each column
    left, right = height[: side // 2].mean(), height[-(side // 2) :].mean()
    return "left" if left > right else "right"


def blanked(document: Document) -> Document:
    """The pair with a blank in place of what comes first: no words, or a black picture; the loss does not count it."""
    first, *others = document
    blank = (
        Text("", counted=False)
        if isinstance(first, Text)
        else Image(np.zeros_like(first.pixels), counted=False)
    )
    return Document([blank, *others])


class Pairs:
    """Source of documents of a caption and its picture, in the order that the recipe's `direction` names."""

    def __init__(self, recipe: PairsData, seed: int = 0) -> None:
        self.recipe, self.seed = recipe, seed
        settings = PicturesData(path=recipe.path, copies=recipe.copies, crop=recipe.crop)
        self.pictures = Pictures(settings, seed)

    def labels(self, split: Split) -> np.ndarray:
        """The class of every picture of a split, uint8 (n,)."""
        path = next(self.pictures.folder.rglob(LABELS[split]), None)
        if path is None:
            raise TonyError(
                f"{self.pictures.folder}: holds no {LABELS[split]}. Unpack the whole package there, or leave data.path out"
            )
        return read_idx(path)

    def examples(self, split: Split) -> Iterator[tuple[str, Image]]:
        """Every picture with its caption, `copies` times in training, each time another crop, in a seeded order."""
        pictures, labels = self.pictures.pixels(split), self.labels(split)
        if len(pictures) != len(labels) or labels.max(initial=0) >= len(CLASSES):
            raise TonyError(
                f"{self.pictures.folder}: {len(pictures)} pictures and {len(labels)} labels do not belong together. "
                "Unpack the package again"
            )
        rng = np.random.default_rng([self.seed, split == "train", 19])
        for _ in range(self.recipe.copies if split == "train" else 1):
            for index in rng.permutation(len(pictures)):
                picture = self.pictures.vary(pictures[index], rng)
                yield caption(picture, int(labels[index])), Image(picture[..., None])

    def documents(self, split: Split) -> Iterator[Document]:
        """The pairs; in training a share `blank` of them without what comes first."""
        coin = np.random.default_rng([self.seed, 23])  # its own, so that pictures do not depend on `blank`
        share = self.recipe.blank if split == "train" else 0.0
        for words, picture in self.examples(split):
            parts = [Text(words), picture]
            pair = Document(parts if self.recipe.direction == "text->image" else parts[::-1])
            yield blanked(pair) if coin.random() < share else pair

    def texts(self) -> Iterator[str]:
        return (words for words, _ in islice(self.examples("train"), CAPTIONS_OF_BPE))

    def images(self) -> Sequence[Image]:
        return self.pictures.images()

    def sounds(self) -> Sequence[Audio]:
        return []
