"""Sound on its way out: 16-bit PCM at 24 kHz, made piece by piece."""

from __future__ import annotations

import numpy as np
import soxr

PCM_RATE = 24_000  # the only rate that OpenAI clients expect of "pcm16"


def pcm16(samples: np.ndarray) -> bytes:
    """Little-endian 16-bit samples of float32 `samples` (n,), clipped to [-1, 1]."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes()


class PcmStream:
    """Turns pieces of a sound into 24 kHz PCM16; all pieces joined equal the whole converted at once.

    The resampler keeps its state between pieces (soxr gives the same samples however the input is cut), so
    there is no click at the seams.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._resampler = (
            soxr.ResampleStream(rate, PCM_RATE, 1, dtype="float32") if rate != PCM_RATE else None
        )

    def push(self, samples: np.ndarray, last: bool = False) -> bytes:
        """The PCM16 that is final after `samples` (n,) float32; with `last`, all that is left."""
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        return pcm16(samples)

    def flush(self) -> bytes:
        """The PCM16 that was still held back, when no more samples follow."""
        return self.push(np.zeros(0, np.float32), last=True)
