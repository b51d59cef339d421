"""Moving GIFs, with pillow. A GIF is a palette of at most 256 colours a frame and a delay in hundredths of a second."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tony.errors import TonyError
from tony.media.document import Image, Video
from tony.media.limits import Limits
from tony.media.pictures import open_picture, to_pillow, to_pixels

if TYPE_CHECKING:
    import PIL.Image

UNSAID_DELAY_MS = 100  # what browsers do with a delay of 0 or 10 ms


def read_gif(file: BinaryIO, name: str, limits: Limits) -> Image | Video:
    """The clip in `file`, in RGB at an even frame rate; an Image where it is one frame without a delay.

    GIF writers merge equal neighbours into one long frame: the shortest delay is taken as the beat, and a
    longer frame is repeated.
    """
    gif = open_picture(file, name, "gif", limits)
    num_frames = getattr(gif, "n_frames", 1)
    if num_frames == 1 and not gif.info.get("duration"):
        return Image(to_pixels(gif))
    width, height = gif.size
    check_clip_size(name, num_frames, width, height, limits)
    frames, delays_ms = [], []
    for index in range(num_frames):
        gif.seek(index)
        gif.load()
        delay = gif.info.get("duration", 0)
        delays_ms.append(delay if delay > 10 else UNSAID_DELAY_MS)
        frames.append(to_pixels(gif.convert("RGBA")))
    beat_ms = min(delays_ms)
    repeats = [max(1, round(delay / beat_ms)) for delay in delays_ms]
    seconds = sum(delays_ms) / 1000
    if seconds > limits.max_clip_seconds:
        raise TonyError(
            f"{name} lasts {seconds:,.0f} s, over the limit of {limits.max_clip_seconds:,.0f} s: cut it shorter"
        )
    check_clip_size(name, sum(repeats), width, height, limits)
    return Video(np.repeat(np.stack(frames), repeats, axis=0), sum(repeats) / seconds)


def check_clip_size(name: str, num_frames: int, width: int, height: int, limits: Limits) -> None:
    """Raises TonyError where a clip of so many frames is over the limits."""
    if num_frames > limits.max_frames:
        raise TonyError(
            f"{name} has {num_frames:,} frames, over the limit of {limits.max_frames:,}: cut it shorter"
        )
    if num_frames * width * height > limits.max_clip_pixels:
        raise TonyError(
            f"{name} has {num_frames:,} frames of {width} x {height}, over the limit of "
            f"{limits.max_clip_pixels:,} pixels in all: make it smaller or shorter, or read it with size= and fps="
        )


def encode_gif(video: Video) -> bytes:
    """`video` as an endlessly looping GIF; exact where no frame has over 256 colours, else dithered."""
    if video.fps > 50:
        raise TonyError(
            f"a GIF shows at most 50 frames per second, not {video.fps:g}: use to_fps, mp4 or webm"
        )
    ends_cs = np.rint(100 * np.arange(len(video.frames) + 1) / video.fps).astype(int)
    frames = [_palette_picture(frame) for frame in video.frames]
    data = io.BytesIO()
    delays_ms = (10 * np.diff(ends_cs)).tolist()
    if max(delays_ms) > 655_350:
        raise TonyError(
            f"a GIF frame lasts at most 655 s, so {video.fps:g} frames per second is too slow: use mp4"
        )
    frames[0].save(
        data, "GIF", save_all=True, append_images=frames[1:], duration=delays_ms, loop=0, optimize=False
    )
    return data.getvalue()


def _palette_picture(pixels: np.ndarray) -> PIL.Image.Image:
    """`pixels` in at most 256 colours: its own where they are so few, else the nearest of a median cut."""
    import PIL.Image

    if pixels.shape[2] == 1:
        return to_pillow(pixels)  # 256 greys
    colours, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) > 256:
        return to_pillow(pixels).quantize(256)
    picture = PIL.Image.fromarray(indices.reshape(pixels.shape[:2]).astype(np.uint8), mode="P")
    picture.putpalette(colours.tobytes())
    return picture
