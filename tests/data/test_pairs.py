"""Protects: a caption is true of the very picture that is shown, and a blank changes nothing but what comes first."""

import gzip
import struct

import numpy as np
import pytest

from tony.data.packages import cache
from tony.data.pairs import CLASSES, SHOES, Pairs, blanked, caption
from tony.data.pictures import PACKAGE, SHA256
from tony.errors import TonyError
from tony.media import Document, Image, Text
from tony.runs.data_recipes import PairsData


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Random blobs with random classes, in the layout of Debian's package."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name, count in (("train", 200), ("t10k", 40)):
        ramp = np.linspace(0, 1, 28)[:, None] * rng.random((count, 1, 28))
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", 255 * ramp * rng.random((count, 1, 1)) ** 0.3)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", rng.integers(10, size=count))
    return folder


def source(package, **settings):
    return Pairs(PairsData(path=str(package), **settings), seed=3)


def parts(document):
    """The words and the pixels of a pair, whichever comes first."""
    words = next(part for part in document if isinstance(part, Text))
    return words.text, next(part for part in document if isinstance(part, Image)).pixels[..., 0]


def told(words):
    """What a caption says: tone, whether patterned, name, side, tenths."""
    head, *between, size = words.removeprefix("a ").split(", ")
    tone, texture, name = head.split(" ", 2)
    side = between[0].removeprefix("higher at the ") if between else None
    return tone, texture == "patterned", name, side, size.split()[1]


def test_captions_are_true_of_pictures_made_by_hand():
    half = np.zeros((28, 28), np.uint8)
    half[14:] = 250
    assert caption(half, 3) == "a white plain dress, covering five tenths"
    assert caption(np.full((24, 24), 90, np.uint8), 8) == "a black plain bag, covering ten tenths"
    assert caption(np.zeros((28, 28), np.uint8), 1) == "a black plain pair of trousers, covering no tenths"
    stripes = half.copy()
    stripes[14:, ::2] = 100
    assert caption(stripes, 6) == "a light patterned shirt, covering five tenths"
    stairs = np.tril(
        np.full((28, 28), 150, np.uint8)
    )  # its columns begin lower and lower: higher at the left
    assert told(caption(stairs, 9)) == ("grey", False, "ankle boot", "left", "five")
    assert told(caption(stairs[:, ::-1], 9)) == ("grey", False, "ankle boot", "right", "five")


def test_every_caption_is_true_of_the_picture_that_is_shown(package):
    """Counted again pixel by pixel."""
    for document in source(package, copies=1).documents("train"):
        words, pixels = parts(document)
        tone, _, name, side, tenths = told(words)
        rows = pixels.tolist()
        ink = [value for row in rows for value in row if value > 32]
        shade = sum(ink) / len(ink) if ink else 0
        edges = {"black": (0, 105), "dark": (105, 140), "grey": (140, 165), "light": (165, 190), "white": (190, 256)}  # fmt: skip
        assert edges[tone][0] <= shade < edges[tone][1]
        assert tenths == "no one two three four five six seven eight nine ten".split()[round(10 * len(ink) / pixels.size)]  # fmt: skip
        assert (side is not None) == (name in SHOES)
        if side is not None:
            heights = [
                max((len(rows) - r for r in range(len(rows)) if rows[r][c] > 32), default=0)
                for c in range(len(rows))
            ]
            half = len(rows) // 2
            assert side == ("left" if sum(heights[:half]) > sum(heights[-half:]) else "right")


def test_the_caption_names_the_class_of_the_picture(package):
    pairs = source(package, crop=0)
    labels = {p.tobytes(): CLASSES[k] for p, k in zip(pairs.pictures.pixels("heldout"), pairs.labels("heldout"), strict=True)}  # fmt: skip
    for document in pairs.documents("heldout"):
        words, pixels = parts(document)
        names = {
            labels.get(np.ascontiguousarray(p).tobytes()) for p in (pixels, pixels[:, ::-1])
        }  # flipped or not
        assert told(words)[2] in names


def test_the_direction_says_what_comes_first(package):
    first, second = next(source(package).documents("heldout"))
    assert isinstance(first, Text) and isinstance(second, Image)
    other = list(next(source(package, direction="image->text").documents("heldout")))
    assert other == [second, first] and first.counted and second.counted


@pytest.mark.parametrize("direction", ["text->image", "image->text"])
def test_a_share_of_training_is_blank_and_all_else_stays(package, direction):
    whole = list(source(package, direction=direction, copies=2).documents("train"))
    mixed = list(source(package, direction=direction, copies=2, blank=0.5).documents("train"))
    assert len(whole) == len(mixed) == 400
    is_blank = [a != b for a, b in zip(whole, mixed, strict=True)]
    assert 160 < sum(is_blank) < 240  # 4 standard deviations
    for a, b, blank in zip(whole, mixed, is_blank, strict=True):
        assert b == (blanked(a) if blank else a)
    for pairs in (source(package, direction=direction, blank=1.0), source(package, direction=direction)):
        assert list(pairs.texts()) == [parts(d)[0] for d in source(package).documents("train")][:5000]
        assert list(pairs.documents("heldout")) == list(
            source(package, direction=direction).documents("heldout")
        )


def test_a_blank_says_nothing_and_is_not_counted(silent_vocabulary):
    pixels = np.full((28, 28, 1), 200, np.uint8)
    words = silent_vocabulary.encode(blanked(Document([Text("a bag"), Image(pixels)])))
    assert len(words) == 1 + 2 + 66 + 1 and words.counted.sum() == 65  # no id of text; pixels and their end
    picture = silent_vocabulary.encode(blanked(Document([Image(pixels), Text("a bag")])))
    assert (picture.ids[2:66] == silent_vocabulary.ranges["image"].start).all()
    kinds = silent_vocabulary.modality_of[picture.ids[picture.counted]]
    assert (kinds == 0).all() and len(kinds)


def test_folders_without_labels_or_with_others_are_refused(package, tmp_path):
    for file in package.glob("*images*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(TonyError, match=r"train-labels-idx1-ubyte\.gz"):
        next(source(tmp_path).documents("train"))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(3))
    with pytest.raises(TonyError, match="200 pictures and 3 labels"):
        next(source(tmp_path).documents("train"))
    with pytest.raises(TonyError, match="holds no"):
        next(source(tmp_path / "none").documents("train"))


@pytest.mark.skipif(not (cache() / f"{PACKAGE}-{SHA256[:12]}").is_dir(), reason=f"{PACKAGE} is not here")
def test_the_real_shoes_are_higher_at_the_heel():
    """Its shoes all face left, so uncropped and unflipped nearly all are higher at the right: labels are in their order."""
    pairs = Pairs(PairsData())
    pictures, labels = pairs.pictures.pixels("heldout"), pairs.labels("heldout")
    sides = {name: [] for name in SHOES}
    for picture, label in zip(pictures, labels, strict=True):
        if CLASSES[label] in SHOES:
            sides[CLASSES[label]].append(told(caption(picture, label))[3] == "right")
    assert np.mean(sides["ankle boot"]) > 0.99 and np.mean(sides["sneaker"]) > 0.98
    assert np.mean(sides["sandal"]) > 0.85
