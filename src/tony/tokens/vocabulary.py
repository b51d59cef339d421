"""The one id space: control tokens, text, pictures, sound and time marks, in named ranges of consecutive ids.

    [ control | text | image | audio | time ]

A document becomes one flat stream. Every part opens and closes with a mark of its modality; the speaker's mark stands
where the role changes:

    start  user  begin_image 64 ids end_image  assistant  begin_text ids end_text  begin_audio ids end_audio  stop
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.media import Audio, Document, Image, Modality, Part, Text, Video
from tony.tokens.pixels import PixelCodec
from tony.tokens.text import TextCodec
from tony.tokens.video import VideoCodec

CONTROLS = (
    "pad", "start", "stop", "system", "user", "assistant",
    "begin_text", "end_text", "begin_image", "end_image", "begin_audio", "end_audio", "begin_video", "end_video",
)  # fmt: skip
MODALITIES: tuple[Modality, ...] = ("text", "image", "audio", "video")
SOUND_RATE = 16_000
SOUND_IDS_PER_SECOND = 50


@dataclass(frozen=True)
class Range:
    """Ids `start` to `start + size - 1`."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size

    def __contains__(self, index: int) -> bool:
        return self.start <= index < self.end


@dataclass(frozen=True)
class Tokens:
    """A document as ids (n,) int64, and which of them the loss counts (n,) bool."""

    ids: np.ndarray
    counted: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Vocabulary:
    """Text BPE and the codecs of the other modalities in one id space.

    Args:
        text: the text codec.
        image: the picture codec, or None where the network knows no pictures.
        sound: the sound codec, or None.
        video_seconds: how long a clip the time marks reach; clips need a picture codec.
    """

    def __init__(
        self, text: TextCodec, image: Any = None, sound: Any = None, video_seconds: float = 25.6
    ) -> None:
        self.text, self.image, self.sound = text, image, sound
        self.video_seconds = video_seconds
        self.video = VideoCodec(image, video_seconds) if image is not None else None
        sizes = {
            "control": len(CONTROLS),
            "text": text.size,
            "image": image.size if image is not None else 0,
            "audio": sound.size if sound is not None else 0,
            "time": self.video.num_marks if self.video else 0,
        }
        self.ranges: dict[str, Range] = {}
        start = 0
        for name, size in sizes.items():
            self.ranges[name] = Range(name, start, size)
            start += size
        self.size = start
        self.controls = {name: index for index, name in enumerate(CONTROLS)}

    def control(self, name: str) -> int:
        return self.controls[name]

    def begin(self, modality: str) -> int:
        return self.controls[f"begin_{modality}"]

    def end(self, modality: str) -> int:
        return self.controls[f"end_{modality}"]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What this vocabulary can write."""
        have = {"text": True, "image": self.image, "audio": self.sound, "video": self.video}
        return tuple(m for m in MODALITIES if have[m] is not None)

    @property
    def modality_of(self) -> np.ndarray:
        """For every id its modality as an index of MODALITIES, or -1: end marks count to what they end."""
        table = np.full(self.size, -1, np.int64)
        for index, name in enumerate(MODALITIES[:3]):
            r = self.ranges[name]
            table[r.start : r.end] = index
        time = self.ranges["time"]
        table[time.start : time.end] = 3
        for index, name in enumerate(MODALITIES):
            table[self.end(name)] = index
        return table

    def encode(self, document: Document, memo: Mapping[int, np.ndarray] | None = None) -> Tokens:
        """The ids of `document`, and which of them the loss counts.

        Begin marks and speakers are never counted: whoever asks chooses them. A part without a role after one with a
        role goes on in that speaker's turn, as the stream has no mark for "nobody". `memo` holds ids by `payload_key` of
        parts that were encoded before, so that a sound that many documents share is encoded once.
        """
        ids: list[np.ndarray] = [np.array([self.control("start")])]
        counted: list[np.ndarray] = [np.array([False])]
        role = None
        for part in document:
            if part.role is not None and part.role != role:
                ids.append(np.array([self.control(part.role)]))
                counted.append(np.array([False]))
                role = part.role
            body = self.encode_part(part, memo)
            ids += [np.array([self.begin(part.modality)]), body, np.array([self.end(part.modality)])]
            counted += [np.array([False]), self.counted_of(part, body), np.array([part.counted])]
        ids.append(np.array([self.control("stop")]))
        counted.append(np.array([False]))
        return Tokens(np.concatenate(ids).astype(np.int64), np.concatenate(counted))

    def counted_of(self, part: Part, body: np.ndarray) -> np.ndarray:
        """Which ids of a part's `body` the loss counts: those of a prompt (`Text.given`) are not among them."""
        counted = np.full(len(body), part.counted)
        if isinstance(part, Text) and part.given:
            counted[: len(self.text.encode(Text(part.text[: part.given])))] = False
        return counted

    def jitter(self, tokens: Tokens, share: float, rng: np.random.Generator) -> Tokens:
        """`tokens` with a share of their uncounted picture and sound ids moved to a code next to them.

        A network knows nothing of how codes lie to each other; it learns it from prompts that say the same thing in codes
        that differ a little, as another voice or hand would.
        """
        ids = tokens.ids.copy()
        for name, codec in (("image", self.image), ("audio", self.sound)):
            start, size = self.ranges[name].start, self.ranges[name].size
            own = np.flatnonzero(~tokens.counted & (ids >= start) & (ids < start + size))
            moved = own[rng.random(len(own)) < share]
            if len(moved):
                ids[moved] = codec.neighbours(ids[moved] - start, rng) + start
        return Tokens(ids, tokens.counted)

    def encode_part(self, part: Part, memo: Mapping[int, np.ndarray] | None = None) -> np.ndarray:
        """The ids of one part, without its marks.

        Raises:
            TonyError: this vocabulary has no codec for the part's modality.
        """
        if memo is not None and payload_key(part) in memo:
            return memo[payload_key(part)]
        match part:
            case Text():
                # A prompt is encoded apart from what follows, as it is when a model is asked to go on.
                pieces = [part.text[: part.given], part.text[part.given :]] if part.given else [part.text]
                ids = [self.text.encode(Text(piece)) for piece in pieces]
                return np.concatenate(ids) + self.ranges["text"].start
            case Image() if self.image is not None:
                return np.asarray(self.image.encode(part)) + self.ranges["image"].start
            case Audio() if self.sound is not None:
                return np.asarray(self.sound.encode(part)) + self.ranges["audio"].start
            case Video() if self.video is not None:
                ids = self.video.encode(part)
                is_mark = ids >= self.video.marks_from
                return np.where(
                    is_mark,
                    ids - self.video.marks_from + self.ranges["time"].start,
                    ids + self.ranges["image"].start,
                )
        known = ", ".join(self.modalities)
        raise TonyError(f"this model knows no {part.modality}: it was trained on {known}")

    def encode_media(
        self, documents: Iterable[Document], memo: Mapping[int, np.ndarray], exact: bool = True
    ) -> Iterator[tuple[Audio | Image, np.ndarray]]:
        """The sounds and pictures of `documents` that `memo` does not hold, each once, with its ids.

        Sounds, and pictures by a network, are encoded together, which takes a fraction of the time of one by one; `exact`: see
        `SoundCodec.encode_many` and `PatchCodec.encode_many`.
        """
        media = (part for document in documents for part in document if isinstance(part, (Audio, Image)))
        fresh = {key: part for part in media if (key := payload_key(part)) not in memo}
        sounds = [part for part in fresh.values() if isinstance(part, Audio)]
        if sounds and self.sound is not None:
            start = self.ranges["audio"].start
            for part, ids in zip(sounds, self.sound.encode_many(sounds, exact=exact), strict=True):
                yield part, np.asarray(ids) + start
        pictures = [part for part in fresh.values() if isinstance(part, Image)]
        if pictures and hasattr(self.image, "encode_many"):
            start = self.ranges["image"].start
            for part, ids in zip(pictures, self.image.encode_many(pictures, exact=exact), strict=True):
                yield part, ids + start
        elif self.image is not None:
            for part in pictures:
                yield part, self.encode_part(part)

    def decode_part(self, modality: str, ids: Sequence[int] | np.ndarray) -> Part:
        """The part of `ids`, given without marks."""
        ids = np.asarray(ids, np.int64)
        if modality not in self.modalities:
            raise TonyError(f"this model knows no {modality}: it was trained on {', '.join(self.modalities)}")
        match modality:
            case "text":
                return self.text.decode(ids - self.ranges["text"].start)
            case "image":
                if len(ids) != self.image.length:
                    raise TonyError(
                        f"a picture of {len(ids)} ids: this vocabulary's have {self.image.length}"
                    )
                return self.image.decode(ids - self.ranges["image"].start)
            case "audio":
                return self.sound.decode(ids - self.ranges["audio"].start)
            case "video":
                time = self.ranges["time"]
                is_mark = (ids >= time.start) & (ids < time.end)
                return self.video.decode(
                    np.where(
                        is_mark, ids - time.start + self.video.marks_from, ids - self.ranges["image"].start
                    )
                )
        raise AssertionError(modality)

    def decode(self, ids: Iterable[int]) -> Document:
        """The document of a whole stream; marks say what is what.

        Raises:
            TonyError: the stream follows no document's grammar.
        """
        return self.decode_many([ids])[0]

    def decode_many(self, streams: Iterable[Iterable[int]]) -> list[Document]:
        """The document of each stream, as `decode` gives it; their sounds are decoded together."""
        parsed = [self._bodies(ids) for ids in streams]
        sounds: Iterator[Audio] = iter(())
        if self.sound is not None:
            start = self.ranges["audio"].start
            bodies = [
                np.asarray(body, np.int64) - start for own in parsed for m, _, body in own if m == "audio"
            ]
            sounds = iter(self.sound.decode_many(bodies))
        documents = []
        for own in parsed:
            parts = []
            for modality, role, body in own:
                known = modality == "audio" and self.sound is not None
                part = next(sounds) if known else self.decode_part(modality, body)
                object.__setattr__(part, "role", role)
                parts.append(part)
            documents.append(Document(parts))
        return documents

    def _bodies(self, ids: Iterable[int]) -> list[tuple[str, str | None, list[int]]]:
        """Modality, role and ids of each part of a stream."""
        parts: list[tuple[str, str | None, list[int]]] = []
        role, modality, body = None, None, []
        begins = {self.begin(m): m for m in MODALITIES}
        ends = {self.end(m): m for m in MODALITIES}
        speakers = {self.control(r): r for r in ("system", "user", "assistant")}
        for raw in ids:
            index = int(raw)
            if modality is not None:
                if ends.get(index) == modality:
                    parts.append((modality, role, body))
                    modality, body = None, []
                elif index < len(CONTROLS):
                    raise TonyError(
                        f"a {modality} part is interrupted by {CONTROLS[index]}: not a document's stream"
                    )
                else:
                    body.append(index)
            elif index in begins:
                modality = begins[index]
            elif index in speakers:
                role = speakers[index]
            elif index >= len(CONTROLS) or index in ends:
                raise TonyError(f"id {index} stands outside every part: not a document's stream")
        if modality is not None:
            raise TonyError(f"the stream ends within a {modality} part")
        return parts

    @property
    def hash(self) -> str:
        """Changes whenever an id would mean something else."""
        digest = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        digest.update(self.text._tokenizer.to_str().encode())
        for codec in (self.image, self.sound):
            digest.update(str(getattr(codec, "fingerprint", "")).encode())
        return digest.hexdigest()[:12]

    def _description(self) -> dict[str, Any]:
        return {
            "ranges": [[r.name, r.start, r.size] for r in self.ranges.values()],
            "image": type(self.image).__name__ if self.image is not None else None,
            "sound": type(self.sound).__name__ if self.sound is not None else None,
            "video_seconds": self.video_seconds,
        }

    def save(self, folder: Path) -> None:
        """Write text/, image/, sound/ and vocabulary.json below `folder`; the last file written is the index."""
        for name, codec in (("text", self.text), ("image", self.image), ("sound", self.sound)):
            if codec is not None:
                codec.save(folder / name)
        value = self._description() | {"hash": self.hash}
        (folder / "vocabulary.json").write_text(json.dumps(value, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """The vocabulary that `save` wrote.

        Raises:
            TonyError: a file is missing, unreadable, or from another vocabulary.
        """
        from tony.tokens.sound import SoundCodec

        try:
            value = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
            image_kind, has_sound, stored = value["image"], value["sound"] is not None, value["hash"]
            video_seconds = float(value["video_seconds"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TonyError(f"{folder}: no readable vocabulary ({error}). Train the run again") from None
        image = None
        if image_kind == "PixelCodec":
            image = PixelCodec.load(folder / "image")
        elif image_kind is not None:
            from tony.tokens.patches import PatchCodec

            image = PatchCodec.load(folder / "image")
        sound = SoundCodec.load(folder / "sound") if has_sound else None
        vocabulary = cls(TextCodec.load(folder / "text"), image, sound, video_seconds)
        if vocabulary.hash != stored:
            raise TonyError(
                f"{folder}: its parts do not belong together (another run's files?). Train the run again"
            )
        return vocabulary


def payload_key(part: Part) -> int:
    """A key of a part's content that ignores role and flag: the address of its array. The part must stay alive."""
    match part:
        case Text():
            return hash(("text", part.text, part.given))
        case Image():
            return _address(part.pixels)
        case Audio():
            return _address(part.samples)
        case Video():
            return _address(part.frames)


def _address(array: np.ndarray) -> int:
    return hash((array.__array_interface__["data"][0], array.nbytes))
