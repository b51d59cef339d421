"""Protects: a varied part still is what it was, a little different, and the same for the same seed."""

import numpy as np
import pytest

from tony.data.variation import CROP, SHIFT, SPEED, varied
from tony.media import Audio, Image, Text

RATE = 16_000


def tone(hertz: float, seconds: float = 0.5) -> Audio:
    return Audio(
        (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32), RATE
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_tone_keeps_its_place_within_the_named_bounds(seed):
    sound = tone(440.0)
    other = varied(sound, np.random.default_rng(seed))
    peak = np.abs(np.fft.rfft(other.samples, 1 << 16)).argmax() * RATE / (1 << 16)
    assert 440 * (1 - SPEED) - 2 < peak < 440 * (1 + SPEED) + 2
    low, high = (0.5 / (1 + sign * SPEED) for sign in (1, -1))
    assert low - 0.01 < other.seconds < high + SHIFT + 0.01
    assert other.rate == RATE and other.samples.dtype == np.float32 and np.abs(other.samples).max() <= 1
    assert other != sound


@pytest.mark.parametrize("seed", range(8))
def test_a_picture_keeps_its_size_and_comes_closer(seed):
    """On a ramp from left to right the shown range of columns is at least 1 - CROP of the whole."""
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    other = varied(Image(ramp), np.random.default_rng(seed))
    assert other.pixels.shape == ramp.shape
    row = other.pixels[24, :, 0].astype(int)
    assert (np.diff(row) >= 0).all() and row[-1] - row[0] >= 255 * (1 - CROP) - 8


def test_one_seed_one_form_and_words_stay():
    a, b = (varied(tone(300), np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(a.samples, b.samples)
    assert varied(Text("a frog"), np.random.default_rng(0)) == Text("a frog")


def test_the_smallest_parts_are_taken():
    pixel = varied(Image(np.zeros((1, 1, 3), np.uint8)), np.random.default_rng(0))
    assert pixel.pixels.shape == (1, 1, 3)
    assert len(varied(Audio(np.zeros(1, np.float32), RATE), np.random.default_rng(0)).samples) >= 1
