"""Judges of what a model draws and says: classifiers trained on real examples only, which never see the model.

Each judge's own accuracy on held-out real examples is part of every result: it bounds what the model can score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from tony.data.digits import NUM_DIGITS, DigitWorld, Utterance
from tony.media import Audio, Image, to_rate, to_size

RATE = 16_000
BANDS = 40
WINDOW, HOP = 400, 160  # 25 ms every 10 ms
STEPS = 20  # a word is stretched to this many steps of time
NOISE_DB = 30.0  # training words are heard clean and with noise so far below them
VOICES = 48  # training voices a language that the judge of sounds learns from
COMPONENTS = 96  # principal components of the log-mel picture


class ImageJudge:
    """Which digit a picture shows: a support-vector machine on 8x8 grey levels."""

    def __init__(self, world: DigitWorld) -> None:
        from sklearn.svm import SVC

        pixels, digits = world.pictures("train")
        self._machine = SVC(C=10.0, gamma=0.02 / 4).fit(self._features(pixels), digits)
        self._world = world

    @staticmethod
    def _features(pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1) / (255 / 16) / 2

    def digits(self, images: Sequence[Image]) -> np.ndarray:
        """The digit (n,) that each picture shows."""
        if not images:
            return np.zeros(0, np.int64)
        pixels = np.stack([to_size(image, 8, 8, channels=1).pixels[..., 0] for image in images])
        return self._machine.predict(self._features(pixels))

    @cached_property
    def accuracy(self) -> tuple[int, int]:
        """Right answers and questions on held-out real pictures."""
        pixels, digits = self._world.pictures("heldout")
        right = self._machine.predict(self._features(pixels)) == digits
        return int(right.sum()), len(right)


@dataclass(frozen=True)
class Heard:
    """What a judge hears in a sound."""

    language: str
    number: int


class SoundJudge:
    """Which number word in which language a sound says: a support-vector machine on its log-mel picture, reduced by PCA.

    It knows every word of every language, so a French word where an English one was asked for is wrong.
    """

    def __init__(self, world: DigitWorld, seed: int = 0) -> None:
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        self._world = world
        self._labels = [(language, n) for language in world.recipe.languages for n in range(19)]
        voices = min(VOICES, world.recipe.voices)
        teachers = DigitWorld(world.recipe.model_copy(update={"voices": voices}), world.seed)
        heard = [*teachers.utterances("train"), *world.preset_utterances()]
        rng = np.random.default_rng([seed, 31])
        clean = [features(u.audio.samples) for u in heard]
        noisy = [features(_noisy(u.audio.samples, NOISE_DB, rng)) for u in heard]
        targets = np.tile([self._labels.index((u.language, u.number)) for u in heard], 2)
        self._machine = make_pipeline(
            StandardScaler(),
            PCA(COMPONENTS, svd_solver="covariance_eigh", random_state=seed),
            SVC(C=10.0, gamma=0.3 / (BANDS * STEPS)),
        )
        self._machine.fit(np.stack(clean + noisy), targets)

    def hear(self, sounds: Sequence[Audio]) -> list[Heard]:
        """What each sound says."""
        if not sounds:
            return []
        inputs = np.stack([features(to_rate(sound, RATE).samples) for sound in sounds])
        return [Heard(*self._labels[i]) for i in self._machine.predict(inputs)]

    @cached_property
    def accuracy(self) -> tuple[int, int]:
        """Right answers and questions on real words in held-out voices."""
        return self._accuracy(self._world.utterances("heldout"))

    def _accuracy(self, utterances: Sequence[Utterance]) -> tuple[int, int]:
        heard = self.hear([u.audio for u in utterances])
        right = sum(h == Heard(u.language, u.number) for h, u in zip(heard, utterances, strict=True))
        return right, len(utterances)


def features(samples: np.ndarray) -> np.ndarray:
    """Log-mel energies of a word, stretched to 20 steps of time, each band's mean removed, and its length."""
    samples = np.asarray(samples, np.float64)
    loud = np.flatnonzero(np.abs(samples) > 0.03 * (np.abs(samples).max(initial=0.0) + 1e-9))
    if len(loud):
        samples = samples[loud[0] : loud[-1] + 1]
    samples = np.pad(samples, (0, max(0, 4 * WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    mel = np.log(power @ _filters() + 1e-4 * power.mean() + 1e-9)
    mel -= mel.mean()
    at = np.linspace(0, len(mel) - 1, STEPS)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(mel) - 1)
    stretched = mel[low] * (1 - (at - low))[:, None] + mel[high] * (at - low)[:, None]
    return np.concatenate([stretched.reshape(-1), [len(mel) / 20]])


@cache
def _filters() -> np.ndarray:
    """Triangular mel filters (257, bands) from 80 Hz to 7.6 kHz."""
    edges = 700 * (10 ** (np.linspace(_mel(80), _mel(7600), BANDS + 2) / 2595) - 1)
    frequency = np.linspace(0, RATE / 2, 257)[:, None]
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)


def _mel(hertz: float) -> float:
    return 2595 * np.log10(1 + hertz / 700)


def _noisy(samples: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (-decibels / 20)
    return samples + level * rng.standard_normal(len(samples))


def digits_of(number: int) -> list[int]:
    """The digits that are drawn for a number, first to last."""
    digits = [int(d) for d in str(number)]
    assert all(d < NUM_DIGITS for d in digits)
    return digits
