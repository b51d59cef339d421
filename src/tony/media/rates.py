"""Sound to another sampling rate, whole or as it comes, with soxr."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tony.errors import TonyError
from tony.media.document import Audio

_QUALITY = "HQ"  # 20 bits, linear phase


def to_rate(audio: Audio, rate: int) -> Audio:
    """`audio` at `rate` samples per second; the same object where it has that rate already."""
    _check_rate(rate)
    if audio.rate == rate:
        return audio
    import soxr

    samples = soxr.resample(np.asarray(audio.samples), audio.rate, rate, quality=_QUALITY)
    return replace(audio, samples=samples, rate=int(rate))


class Resampler:
    """Sound to another rate piece by piece; the pieces joined equal `to_rate` of the whole, to the bit.

    resampler = Resampler(48_000, 16_000)
    for piece in pieces: use(resampler.push(piece))
    use(resampler.finish())
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        _check_rate(from_rate)
        _check_rate(to_rate)
        self.from_rate, self.to_rate = int(from_rate), int(to_rate)
        self.reset()

    def reset(self) -> None:
        """Forgets what was pushed: ready for another sound."""
        self._stream = None
        if self.from_rate != self.to_rate:
            import soxr

            self._stream = soxr.ResampleStream(
                self.from_rate, self.to_rate, 1, dtype="float32", quality=_QUALITY
            )
        self._is_finished = False

    def push(self, samples: np.ndarray) -> np.ndarray:
        """What is final at the new rate, float32 (m,), after `samples` float (n,); it may be empty."""
        if self._is_finished:
            raise TonyError("Resampler.push after finish: call reset first")
        return self._resampled(samples, last=False)

    def finish(self) -> np.ndarray:
        """The rest, float32 (m,), after the last piece."""
        if self._is_finished:
            return np.zeros(0, np.float32)
        self._is_finished = True
        return self._resampled(np.zeros(0, np.float32), last=True)

    def _resampled(self, samples: np.ndarray, last: bool) -> np.ndarray:
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if samples.ndim != 1:
            raise TonyError(f"Resampler takes mono samples of shape (n,), not {samples.shape}")
        if self._stream is None:
            return samples.copy()
        return self._stream.resample_chunk(samples, last=last)


def _check_rate(rate: int) -> None:
    if not isinstance(rate, (int, np.integer)) or rate <= 0:
        raise TonyError(f"rate is {rate!r}: give a positive whole number of samples per second")
