"""Protects: a clip comes back frame by frame at its rate, and marks tell the time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.media import Video
from tony.tokens.pixels import PixelCodec
from tony.tokens.video import VideoCodec

CODEC = VideoCodec(PixelCodec.grey(4, 17), 25.6)


def clip(frames, fps, seed=0):
    levels = np.random.default_rng(seed).integers(0, 17, (frames, 4, 4))
    return Video(np.round(levels * 255 / 16).astype(np.uint8), fps)


@given(frames=st.integers(2, 12), tenths=st.sampled_from([1, 2, 5, 10]), seed=st.integers(0, 9))
def test_round_trip_is_exact_for_whole_tenths(frames, tenths, seed):
    part = clip(frames, 10 / tenths, seed)
    again = CODEC.decode(CODEC.encode(part))
    assert (again.frames == part.frames).all()
    assert again.fps == pytest.approx(part.fps, rel=1e-12)


@pytest.mark.parametrize("fps", [3.0, 12.5, 24.0, 29.97])
def test_other_rates_come_back_within_a_mark(fps):
    part = clip(24, fps)
    again = CODEC.decode(CODEC.encode(part))
    assert abs(23 / again.fps - 23 / fps) <= 0.1, "the last frame's time is right to one mark"


def test_marks_tell_the_time_of_each_frame():
    ids = CODEC.encode(clip(4, 2.0))
    assert len(ids) == 4 * 17
    assert (ids[::17] - CODEC.marks_from).tolist() == [0, 5, 10, 15]
    body = np.delete(ids, np.arange(0, len(ids), 17))
    assert body.max() < CODEC.marks_from


def test_digit_clips_have_at_most_275_ids():
    """DESIGN section 9; the marks of the part itself, its begin and end, are counted."""
    codec = VideoCodec(PixelCodec.grey(8, 17), 25.6)
    assert len(codec.encode(Video(np.zeros((4, 8, 8), np.uint8), 2.0))) + 2 <= 275


def test_a_clip_beyond_the_marks_is_refused():
    codec = VideoCodec(PixelCodec.grey(4, 17), 2.0)
    codec.encode(clip(20, 10.0))
    with pytest.raises(TonyError, match="video_seconds"):
        codec.encode(clip(21, 10.0))


@pytest.mark.parametrize("ids", [[], [3], [17, 1, 2], [17] + [1] * 15, [17] + [1] * 16 + [18]])
def test_ids_that_are_no_frames_are_refused(ids):
    with pytest.raises(TonyError, match="not made by this vocabulary"):
        CODEC.decode(np.array(ids))


def test_one_frame_is_a_clip():
    part = clip(1, 4.0)
    assert (CODEC.decode(CODEC.encode(part)).frames == part.frames).all()
