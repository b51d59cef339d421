"""The same thing seen or heard a little differently, for training on few files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tony.media import Audio, Image, Part, to_rate, to_size

CROP = 0.12  # most of a picture's width and height that is cut away
SPEED = 0.1  # a sound is up to this much faster and higher, or slower and lower
SHIFT = 0.02  # seconds: most silence put before a sound, the length of a frame of the sound codec
GAIN_DB = 3.0


def varied(part: Part, rng: np.random.Generator) -> Part:
    """A picture a little closer, a sound a little faster or slower, later and louder or softer; other parts as they are."""
    match part:
        case Image():
            height, width = part.pixels.shape[:2]
            h, w = (max(1, round(side * (1 - CROP * rng.random()))) for side in (height, width))
            y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            closer = replace(part, pixels=part.pixels[y : y + h, x : x + w].copy())
            return to_size(closer, width, height)
        case Audio():
            rate = round(part.rate * (1 + SPEED * rng.uniform(-1, 1)))
            samples = to_rate(replace(part, rate=rate), part.rate).samples
            before = np.zeros(int(rng.integers(int(SHIFT * part.rate) + 1)), np.float32)
            gain = 10 ** (GAIN_DB * rng.uniform(-1, 1) / 20)
            louder = np.clip(np.concatenate([before, gain * samples]), -1, 1)
            return replace(part, samples=louder.astype(np.float32))
    return part
