"""Protects clip art and photographs: crops lie inside a picture, near copies are never on both sides, reduced to one side."""

import numpy as np
import pytest

from tony.data.gallery import PHOTOGRAPHS, clipart, is_held_out, photographs
from tony.data.pictures import FITTED, HELD_OUT_COPIES, Pictures, crop
from tony.errors import TonyError
from tony.media import Image, write
from tony.runs import load_recipe
from tony.runs.data_recipes import PicturesData

DRAWINGS = [
    f"{name}_{i}" for name in "ant bee cat dog elk fox gnu hen ibis jay owl lion".split() for i in (1, 2)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Packages in the layout of Debian's, each picture of one shade of its own."""
    root = tmp_path_factory.mktemp("gallery")
    art, photos = root / "usr/share/openclipart/png/animals", root / "usr/share/doc/opencv-doc/examples/data"
    art.mkdir(parents=True)
    photos.mkdir(parents=True)
    for i, name in enumerate(DRAWINGS):
        write(Image(np.full((40, 30 + i, 3), 10 * i, np.uint8)), art / f"{name}.png")
    (art / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    for i, line in enumerate(PHOTOGRAPHS.split()):
        if line.endswith(".png"):
            write(Image(np.full((50, 60, 3), i, np.uint8)), photos / line)
    write(Image(np.zeros((9, 9, 3), np.uint8)), photos / "chessboard.png")
    return root


def test_numbered_variants_share_a_side(folder):
    shades = {
        split: {int(p[0, 0, 0]) // 10 for p in clipart(split, folder)} for split in ("train", "heldout")
    }
    assert shades["train"] | shades["heldout"] == set(range(len(DRAWINGS))) and shades["heldout"]
    assert {s // 2 for s in shades["train"]}.isdisjoint(s // 2 for s in shades["heldout"])


def test_a_tenth_of_names_is_held_out():
    names = [f"{a}{b}{c}.png" for a in "abcdefghij" for b in "abcdefghij" for c in "abcdefghij"]
    assert np.mean([is_held_out(name) for name in names]) == pytest.approx(0.1, abs=0.03)


def test_scenes_share_a_side_and_diagrams_are_left(folder):
    scene = {name: i for i, line in enumerate(PHOTOGRAPHS.strip().splitlines()) for name in line.split()}
    order = PHOTOGRAPHS.split()
    shown = {s: [order[int(p[0, 0, 0])] for p in photographs(s, folder)] for s in ("train", "heldout")}
    assert sorted(shown["train"] + shown["heldout"]) == sorted(n for n in order if n.endswith(".png"))
    assert {scene[n] for n in shown["train"]}.isdisjoint(scene[n] for n in shown["heldout"])


def test_crops_are_squares_of_the_picture():
    picture = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30, 1).repeat(3, 2)
    rng = np.random.default_rng(0)
    sides, mirrored = set(), 0
    for _ in range(200):
        part = crop(picture, 0.5, rng)[..., 0]
        side = len(part)
        assert part.shape == (side, side) and 10 <= side <= 20
        flipped = part[0, 0] > part[0, -1]
        part = part[:, ::-1] if flipped else part
        top, left = divmod(int(part[0, 0]), 30)
        np.testing.assert_array_equal(part, picture[top : top + side, left : left + side, 0])
        sides.add(side)
        mirrored += flipped
    assert len(sides) == 11 and 70 < mirrored < 130


def test_documents_of_several_sets(folder):
    source = Pictures(PicturesData(path=str(folder), sets=("clipart", "photographs"), copies=2, side=8))
    train, heldout = (list(source.documents(split)) for split in ("train", "heldout"))
    assert len(train) == 2 * len(source.shown("train"))
    assert len(heldout) == HELD_OUT_COPIES * len(source.shown("heldout"))
    assert all(d.parts[0].pixels.shape == (8, 8, 3) for d in train + heldout)
    assert len(source.images()) == min(FITTED, len(source.shown("train")))


def test_recipes_from_before_keep_their_hash():
    """The hash that this recipe had when Fashion-MNIST was the only set."""
    recipe = load_recipe({"name": "x", "data": {"kind": "pictures", "copies": 7}})
    assert recipe.hash == "02fc78e27810"
    other = load_recipe({"name": "x", "data": {"kind": "pictures", "copies": 7, "sets": ["clipart"]}})
    assert other.hash != recipe.hash and "clipart" in other.to_toml()


def test_missing_packages_say_what_to_do(tmp_path):
    with pytest.raises(TonyError, match="dpkg-deb -x"):
        next(clipart("train", tmp_path))
    with pytest.raises(TonyError, match="dpkg-deb -x"):
        photographs("train", tmp_path)
    with pytest.raises(TonyError, match="is no folder"):
        photographs("train", tmp_path / "none")
