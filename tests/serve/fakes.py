"""A model without a network, for tests of the server and the page: it knows the digits 0 to 9.

Pictures are recognised by their nearest neighbour among scikit-learn's handwritten digits; a "spoken" digit d
is a tone of 400 + 100 d Hz. Replies stream as the real engine's do: text by character, pictures by row, sound
in pieces of 20 ms.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np

from tony.errors import TonyError
from tony.media.document import Audio, Document, Image, Text, Video

WORDS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "fr": ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    "es": ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"],
}


@dataclass(frozen=True)
class Chunk:
    index: int
    delta: object | None
    part: object | None


@dataclass(frozen=True)
class Tokens:
    ids: np.ndarray


class FakeVocabulary:
    """One id a byte, 64 a picture, 50 a second of sound."""

    def encode_part(self, part) -> np.ndarray:
        sizes = {Text: lambda p: len(p.text.encode()), Image: lambda p: 64}
        sizes[Audio] = lambda p: round(p.seconds * 50)
        sizes[Video] = lambda p: 64 * len(p.frames)
        return np.zeros(sizes[type(part)](part), np.int64)

    def encode(self, document: Document) -> Tokens:
        return Tokens(np.concatenate([self.encode_part(part) for part in document]))


@cache
def digit_pictures() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.float32), digits.target


def tone(digit: int, seconds: float = 0.5, rate: int = 16_000) -> Audio:
    """The fake "spoken" digit, with a soft start and end."""
    t = np.arange(int(seconds * rate)) / rate
    envelope = np.minimum(1, 20 * np.minimum(t, seconds - t))
    return Audio((0.5 * envelope * np.sin(2 * np.pi * (400 + 100 * digit) * t)).astype(np.float32), rate)


def digit_of_tone(audio: Audio) -> int:
    spectrum = np.abs(np.fft.rfft(audio.samples * np.hanning(len(audio.samples))))
    peak = np.argmax(spectrum) * audio.rate / len(audio.samples)
    return int(np.clip(round((peak - 400) / 100), 0, 9))


def digit_of_picture(image: Image) -> int:
    """The class of the nearest handwritten digit; the picture must be 8x8 in 17 grey levels."""
    pictures, labels = digit_pictures()
    if image.pixels.shape[:2] != (8, 8):
        raise TonyError(f"the picture is {image.width} x {image.height}: send 8 x 8")
    levels = np.round(image.pixels[:, :, 0] / 255 * 16).astype(np.float32)
    return int(labels[((pictures - levels) ** 2).sum((1, 2)).argmin()])


class FakeOmni:
    """Answers with the digit of the last user turn; `delay` seconds pass before each chunk."""

    name = "fake"
    created = 1_700_000_000
    run = None
    num_parameters = 1_234_567

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.vocabulary = FakeVocabulary()
        self.asked: list[tuple[Document, tuple[str, ...], int, dict | None]] = []
        self.closed = 0

    def stream(self, document, want=("text",), *, seed=0, sampling=None):
        self.asked.append((document, tuple(want), seed, sampling))
        try:
            digit, language = self._understand(document)
            for index, modality in enumerate(want):
                yield from self._part(index, modality, digit, language, seed)
        except GeneratorExit:
            self.closed += 1
            raise

    def reply(self, document, want=("text",), *, seed=0, sampling=None) -> Document:
        chunks = self.stream(document, want, seed=seed, sampling=sampling)
        return Document(chunk.part for chunk in chunks if chunk.part is not None)

    def _understand(self, document: Document) -> tuple[int, str]:
        language, digit = "en", None
        for part in document:
            if isinstance(part, Text) and part.text.strip().rstrip(":") in WORDS:
                language = part.text.strip().rstrip(":")
            elif isinstance(part, Text) and part.text == "crash":
                raise RuntimeError("secret detail")
            elif isinstance(part, Text):
                found = [i for words in WORDS.values() for i, word in enumerate(words) if word in part.text]
                digit = found[0] if found else digit
            elif isinstance(part, Image):
                digit = digit_of_picture(part)
            elif isinstance(part, Audio):
                digit = digit_of_tone(part)
            else:
                digit = 0
        if digit is None:
            raise TonyError("no digit in the prompt: write a number word such as seven")
        return digit, language

    def _part(self, index, modality, digit, language, seed):
        if modality == "text":
            word = WORDS[language][digit]
            for position, letter in enumerate(word):
                time.sleep(self.delay)
                yield Chunk(index, Text(letter), Text(word) if position == len(word) - 1 else None)
        elif modality == "image":
            pictures, labels = digit_pictures()
            choices = pictures[labels == digit]
            pixels = np.round(choices[seed % len(choices)] / 16 * 255).astype(np.uint8)
            for row in range(1, 9):
                time.sleep(self.delay)
                drawn = pixels.copy()
                drawn[row:] = 0
                yield Chunk(index, Image(drawn), Image(pixels) if row == 8 else None)
        else:
            sound = tone(digit)
            pieces = np.split(sound.samples, range(320, len(sound.samples), 320))
            for number, piece in enumerate(pieces):
                time.sleep(self.delay)
                last = number == len(pieces) - 1
                yield Chunk(index, Audio(piece, 16_000), sound if last else None)
