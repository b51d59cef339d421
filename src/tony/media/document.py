"""What people bring and what people get: text, pictures, sound and video in any order.

A `Document` is the only thing that crosses between people's files and the token world, in both directions.
Parts are immutable values; arrays inside them are marked read-only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from tony.errors import TonyError

Modality = Literal["text", "image", "audio", "video"]
Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


def _frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view of `array`, so that a part can be shared without copies."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class _Part:
    """What every part carries: whose turn it belongs to, and whether the training loss counts it."""

    modality: ClassVar[Modality]
    role: Role | None = field(default=None, kw_only=True)
    counted: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.role is not None and self.role not in ROLES:
            raise TonyError(f"role is {self.role!r}: use one of {', '.join(ROLES)}, or leave it out")

    def _content(self) -> tuple:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._content() == other._content()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._content())


@dataclass(frozen=True, eq=False)
class Text(_Part):
    """Unicode text, whose first `given` characters are a prompt: the training loss does not count them."""

    modality: ClassVar[Modality] = "text"
    text: str
    given: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.text, str):
            raise TonyError(f"Text.text is {type(self.text).__name__}: give a str")
        if type(self.given) is not int or not 0 <= self.given <= len(self.text):
            raise TonyError(
                f"Text.given is {self.given!r}: give a number of characters, of {len(self.text)} at most"
            )
        try:
            self.text.encode()
        except UnicodeEncodeError as error:  # half a pair from JSON such as "\\ud83d"
            raise TonyError(
                f"Text.text holds half a surrogate pair at character {error.start}: send whole characters"
            ) from error

    def _content(self) -> tuple:
        return self.text, self.given, self.role, self.counted


@dataclass(frozen=True, eq=False)
class Image(_Part):
    """A picture: `pixels` uint8 of shape (height, width, 1) for grey or (height, width, 3) for RGB."""

    modality: ClassVar[Modality] = "image"
    pixels: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        pixels = np.asarray(self.pixels)
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise TonyError(
                f"Image.pixels is {pixels.dtype} of shape {pixels.shape}: give uint8 (height, width, 3 or 1)"
            )
        object.__setattr__(self, "pixels", _frozen(pixels))

    def _content(self) -> tuple:
        return self.pixels.shape, self.pixels.tobytes(), self.role, self.counted

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class Audio(_Part):
    """Mono sound: `samples` float32 of shape (n,), nominally in [-1, 1], at `rate` Hz."""

    modality: ClassVar[Modality] = "audio"
    samples: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        super().__post_init__()
        samples = np.asarray(self.samples)
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise TonyError(f"Audio.samples is {samples.dtype} of shape {samples.shape}: give float32 (n,)")
        if not np.isfinite(samples).all():
            raise TonyError("Audio.samples holds NaN or infinity: clean the sound first")
        if not isinstance(self.rate, (int, np.integer)) or self.rate <= 0:
            raise TonyError(
                f"Audio.rate is {self.rate!r}: give a positive whole number of samples per second"
            )
        object.__setattr__(self, "samples", _frozen(samples.astype(np.float32, copy=False)))
        object.__setattr__(self, "rate", int(self.rate))

    def _content(self) -> tuple:
        return self.rate, self.samples.tobytes(), self.role, self.counted

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, eq=False)
class Video(_Part):
    """A silent clip: `frames` uint8 of shape (time, height, width, 3 or 1), `fps` frames per second."""

    modality: ClassVar[Modality] = "video"
    frames: np.ndarray
    fps: float

    def __post_init__(self) -> None:
        super().__post_init__()
        frames = np.asarray(self.frames)
        if frames.ndim == 3:
            frames = frames[..., None]
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] not in (1, 3) or 0 in frames.shape:
            raise TonyError(
                f"Video.frames is {frames.dtype} of shape {frames.shape}: give uint8 (time, height, width, 3 or 1)"
            )
        if not np.isfinite(self.fps) or self.fps <= 0:
            raise TonyError(f"Video.fps is {self.fps!r}: give a positive number of frames per second")
        object.__setattr__(self, "frames", _frozen(frames))
        object.__setattr__(self, "fps", float(self.fps))

    def _content(self) -> tuple:
        return self.fps, self.frames.shape, self.frames.tobytes(), self.role, self.counted


Part = Text | Image | Audio | Video


@dataclass(frozen=True)
class Document:
    """An ordered list of parts."""

    parts: tuple[Part, ...] = ()

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        parts = tuple(parts)
        for part in parts:
            if not isinstance(part, _Part):
                raise TonyError(f"a Document holds Text, Image, Audio and Video, not {type(part).__name__}")
        object.__setattr__(self, "parts", parts)

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __add__(self, other: Document) -> Document:
        return Document(self.parts + other.parts)

    def as_role(self, role: Role, counted: bool) -> Document:
        """The same parts, all given `role` and `counted`."""
        return Document(replace(part, role=role, counted=counted) for part in self.parts)
