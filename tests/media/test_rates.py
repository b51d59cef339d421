"""Resampling keeps what both rates can hold, and piece by piece equals the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.media import Audio, Resampler, to_rate

PAIRS = [(16_000, 24_000), (48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (16_000, 16_000)]


@pytest.mark.parametrize(("from_rate", "rate"), PAIRS)
def test_a_tone_stays_the_same_tone(from_rate, rate):
    at = lambda r: np.sin(2 * np.pi * 1000 * np.arange(r) / r).astype(np.float32)  # noqa: E731
    out = to_rate(Audio(at(from_rate), from_rate, role="user", counted=False), rate)
    assert (out.rate, out.role, out.counted) == (rate, "user", False)
    assert abs(len(out.samples) - rate) <= 1
    middle = slice(rate // 10, -rate // 10)
    error = (out.samples[: len(at(rate))] - at(rate)[: len(out.samples)])[middle]
    assert 10 * np.log10(0.5 / max(np.mean(error**2), 1e-12)) > 90


def test_what_the_lower_rate_cannot_hold_is_filtered_out():
    tone = np.sin(2 * np.pi * 10_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert np.abs(to_rate(Audio(tone, 48_000), 16_000).samples[1000:-1000]).max() < 1e-4


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 4000), max_size=12), st.integers(0, 2**32 - 1))
def test_streaming_equals_offline(pair, sizes, seed):
    samples = np.random.default_rng(seed).normal(size=sum(sizes)).astype(np.float32)
    resampler = Resampler(*pair)
    for _ in range(2):  # again after reset
        pieces = (
            [resampler.push(piece) for piece in np.split(samples, np.cumsum(sizes)[:-1])] if sizes else []
        )
        streamed = np.concatenate([*pieces, resampler.finish()])
        assert np.array_equal(streamed, to_rate(Audio(samples, pair[0]), pair[1]).samples)
        with pytest.raises(TonyError, match="reset"):
            resampler.push(samples)
        resampler.reset()


@pytest.mark.parametrize("rate", [0, -1, 16_000.0, "16000"])
def test_wrong_rates(rate):
    with pytest.raises(TonyError, match="rate is"):
        to_rate(Audio(np.zeros(4, np.float32), 8000), rate)
    with pytest.raises(TonyError, match="rate is"):
        Resampler(8000, rate)
