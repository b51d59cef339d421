"""Clip art and photographs out of packages, split by picture: near copies of one picture are on one side.

Clip art: Debian's openclipart-png (public domain). Photographs: those of opencv-doc and python3-skimage (Debian; their
licences are beside them) and scikit-learn's two. Everything else in those packages (diagrams, chessboards, logos, pictures
of the press) is left where it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tony.data.packages import debian_package
from tony.data.sources import Split
from tony.errors import TonyError
from tony.media import Image, read, to_size

PACKAGES = {
    "openclipart-png": "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",  # 1:0.18+dfsg-19
    "opencv-doc": "4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",  # 4.6.0+dfsg-12
    "python3-skimage": "728d88c3e3440f1f3712de0805dc834d29248ff07e1eec8c0f3da07606f752f9",  # 0.19.3-8
}
# A line is one scene: its pictures are held out together or not at all.
PHOTOGRAPHS = """
aero1.jpg aero3.jpg
aloeL.jpg aloeR.jpg
apple.jpg
astronaut.png
baboon.jpg
basketball1.png basketball2.png
board.jpg
box_in_scene.png
brick.png
building.jpg
butterfly.jpg
camera.png
chelsea.png
chicky_512.png
china.jpg
coffee.png
coins.png
ela_original.jpg
flower.jpg
fruits.jpg
graf1.png graf3.png
grass.png
gravel.png
home.jpg
hubble_deep_field.jpg
ihc.png
left.jpg right.jpg
leuvenA.jpg leuvenB.jpg
licenseplate_motion.jpg
moon.png
motorcycle_left.png motorcycle_right.png
orange.jpg
retina.jpg
rocket.jpg
rubberwhale1.png rubberwhale2.png
scenetext01.jpg
scenetext02.jpg
scenetext03.jpg
scenetext04.jpg
scenetext05.jpg
scenetext06.jpg
squirrel_cls.jpg
starry_night.jpg
stuff.jpg
"""
PLACES = ("opencv-doc/examples/data/*", "opencv-doc/examples/text/*", "skimage/data/*")
STARS = "starptstep"  # 1,375 stars of one formula would be a fifth of all clip art
HELD_OUT = 10  # one of so many scenes, or clip arts, is never trained on
MOST = {
    "photographs": 128,
    "clipart": 96,
}  # pixels of the shorter side that are kept in memory, up to twice that


def find(name: str, folder: Path | None) -> Path:
    """Where a package's files are: below `folder` where one is given, else where it is fetched to.

    Raises:
        TonyError: there is no such folder, or the package cannot be fetched.
    """
    if folder is None:
        return debian_package(name, PACKAGES[name])
    if not folder.is_dir():
        raise TonyError(
            f"{folder}: is no folder. Unpack {name} there with dpkg-deb -x, or leave data.path out"
        )
    return folder


def photographs(split: Split, folder: Path | None = None) -> list[np.ndarray]:
    """The photographs of a split, uint8 (height, width, 3).

    Raises:
        TonyError: one that is known is in none of the packages.
    """
    scenes = [line.split() for line in PHOTOGRAPHS.strip().splitlines()]
    places = np.random.default_rng(0).permutation(len(scenes))
    chosen = [
        s for s, place in zip(scenes, places, strict=True) if (place % HELD_OUT == 0) == (split == "heldout")
    ]
    files: dict[str, Path] = {}
    for package in ("opencv-doc", "python3-skimage"):
        root = find(package, folder)
        files |= {path.name: path for place in PLACES for path in root.rglob(place)}
    if folder is None:
        import sklearn.datasets

        files |= {
            path.name: path for path in (Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg")
        }
    missing = [name for scene in chosen for name in scene if name not in files]
    if missing and (folder is None or len(missing) == sum(map(len, chosen))):
        raise TonyError(
            f"the photograph {missing[0]} is in none of the packages: unpack opencv-doc and python3-skimage with dpkg-deb -x "
            "into one folder, and data.path=FOLDER"
        )
    return [_load(files[name], "photographs") for scene in chosen for name in scene if name in files]


def clipart(split: Split, folder: Path | None = None) -> Iterator[np.ndarray]:
    """The clip art of a split on white, uint8 (height, width, 3), in the order of their names; unreadable files are skipped.

    Raises:
        TonyError: there is none.
    """
    root = find("openclipart-png", folder)
    paths = sorted(root.rglob("openclipart/png/**/*.png"))
    if not paths:
        raise TonyError(
            f"{root}: holds no openclipart/png. Unpack openclipart-png there with dpkg-deb -x, or leave data.path out"
        )
    seen = set()
    for path in paths:
        if path.name in seen or stem(path.name) == STARS or is_held_out(path.name) != (split == "heldout"):
            continue
        seen.add(path.name)
        try:
            yield _load(path, "clipart")
        except TonyError:
            continue


def is_held_out(name: str) -> bool:
    """Whether a clip art is never trained on: by its name without digits, which numbered variants share."""
    return hashlib.sha256(stem(name).encode()).digest()[0] * HELD_OUT < 256


def stem(name: str) -> str:
    """What variants of one drawing have in common: the file's name without digits and what divides them."""
    return re.sub(r"[\d_.-]+", "", Path(name).stem.lower())


def _load(path: Path, name: str) -> np.ndarray:
    image = read(path, modality="image")
    assert isinstance(image, Image)
    shrink = max(1, min(image.width, image.height) // MOST[name])
    return to_size(image, max(1, image.width // shrink), max(1, image.height // shrink), channels=3).pixels
