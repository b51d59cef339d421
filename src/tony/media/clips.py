"""Clips to bytes, with av; and clips to another frame rate."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np

from tony.errors import TonyError
from tony.media.document import Video


def to_fps(video: Video, fps: float) -> Video:
    """`video` at `fps` frames per second and the same length to half a frame: frames are dropped or repeated.

    Frame k of the result is the one on show at the middle of its time, (k + 1/2) / fps.
    """
    if not np.isfinite(fps) or fps <= 0:
        raise TonyError(f"fps is {fps!r}: give a positive number of frames per second")
    num_frames = len(video.frames)
    num_kept = max(1, round(num_frames * fps / video.fps))
    on_show = ((np.arange(num_kept) + 0.5) * (video.fps / fps)).astype(int)
    return replace(video, frames=video.frames[np.minimum(on_show, num_frames - 1)], fps=float(fps))


def encode_clip(video: Video, kind: str) -> bytes:
    """`video` as mp4 (H.264) or webm (VP9), lossy, for any player; or as mkv (FFV1), exact, for storage."""
    import av
    import av.logging

    av.logging.set_level(None)
    height, width, channels = video.frames.shape[1:]
    is_even = width % 2 == 0 and height % 2 == 0
    muxer, codec, pixel_format, options = {
        # H.264 with halved colour resolution, which every player has, needs even sides.
        "mp4": ("mp4", "libx264", "yuv420p" if is_even else "yuv444p", {"crf": "17", "preset": "fast"}),
        "webm": ("webm", "libvpx-vp9", "yuv420p", {"crf": "15", "b": "0", "cpu-used": "4"}),
        # One slice: by default FFV1 refuses clips one pixel wide. Version 3 has checksums.
        "mkv": ("matroska", "ffv1", "gray" if channels == 1 else "bgr0", {"level": "3", "slices": "1"}),
    }[kind]
    data = io.BytesIO()
    try:
        # bitexact: no random identifiers and dates, so that equal clips make equal files
        with av.open(data, "w", format=muxer, container_options={"fflags": "+bitexact"}) as file:
            stream = file.add_stream(codec, rate=Fraction(video.fps).limit_denominator(60_000))
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            if kind != "mkv":
                stream.bit_rate = 0  # by quality, not by rate
            stream.options = options
            # x264's threads make another file of the same clip now and then. With one it still does, in some processes and
            # not in others (3 of 100 files of 24 rows, three bytes longer; why is not known).
            stream.codec_context.thread_count = 1
            for pixels in video.frames:
                frame = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(pixels if channels == 3 else pixels[..., 0]),
                    format="rgb24" if channels == 3 else "gray",
                )
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    except av.error.FFmpegError as error:
        raise TonyError(
            f"{kind} cannot hold {len(video.frames)} frames of {width} x {height} at {video.fps:g} frames per second: "
            "use to_size or to_fps first"
        ) from error
    return data.getvalue()
