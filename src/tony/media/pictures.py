"""Pictures from and to bytes, with pillow; and pictures to another size."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from tony.errors import TonyError
from tony.media.document import Image, Video
from tony.media.limits import Limits

if TYPE_CHECKING:
    import PIL.Image

Fit = Literal["stretch", "crop", "letterbox"]

_warnings_lock = threading.Lock()  # the filters of `warnings` are shared by all threads


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns about odd metadata; what matters here is refused in words of our own."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_picture(file: BinaryIO, name: str, kind: str, limits: Limits) -> PIL.Image.Image:
    """The pillow image in `file`, its header read and its size within `limits`, nothing decoded yet."""
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    # The classes themselves, not PIL.Image.open: it raises or warns by a limit of its own before we see the size.
    readers = {
        "png": PngImagePlugin.PngImageFile,
        "jpeg": JpegImagePlugin.JpegImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
    }
    with _without_warnings():
        picture = readers[kind](file)
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise TonyError(
            f"{name} is {width:,} x {height:,} pixels, over the limit of {limits.max_pixels:,}: make it smaller"
        )
    return picture


def read_picture(file: BinaryIO, name: str, kind: str, limits: Limits) -> Image:
    """The picture in `file`: upright (EXIF), on white where it is transparent, grey kept as one channel."""
    from PIL import ImageOps

    picture = open_picture(file, name, kind, limits)
    picture.load()
    with _without_warnings(), suppress(Exception):  # broken EXIF is no reason to refuse a sound picture
        picture = ImageOps.exif_transpose(picture)
    return Image(to_pixels(picture))


def to_pixels(picture: PIL.Image.Image) -> np.ndarray:
    """`picture` of any mode as uint8 (height, width, 1 or 3)."""
    if picture.mode.startswith(("I", "F")):
        return _deep_grey(picture)
    is_grey = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        colours = np.asarray(picture.convert("RGBA"), dtype=np.uint16)  # (height, width, 4)
        alpha = colours[..., 3:]
        over_white = (colours[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255  # at most 65,152: fits
        pixels = over_white.astype(np.uint8)
        return pixels[..., :1] if is_grey else pixels
    pixels = np.array(picture.convert("L" if is_grey else "RGB"))
    return pixels[..., None] if is_grey else pixels


def _deep_grey(picture: PIL.Image.Image) -> np.ndarray:
    """16-bit grey scaled to 8 bits, rounded: 65535 becomes 255. (Pillow brings 16-bit colour to 8 itself.)"""
    deep = np.asarray(picture).astype(np.float64)
    grey = np.clip(np.rint(deep * (255 / 65535)), 0, 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[deep == transparent] = 255
    return grey[..., None]


def to_pillow(pixels: np.ndarray) -> PIL.Image.Image:
    """The pillow image of uint8 (height, width, 1 or 3)."""
    import PIL.Image

    return PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def encode_picture(image: Image, kind: str) -> bytes:
    """`image` as PNG (exact) or JPEG (quality 95, full colour resolution)."""
    data = io.BytesIO()
    if kind == "jpeg":
        if max(image.width, image.height) > 65_500:
            raise TonyError(
                f"JPEG holds at most 65,500 pixels a side, not {image.width:,} x {image.height:,}: use png"
            )
        to_pillow(image.pixels).save(data, "JPEG", quality=95, subsampling=0)
    else:
        to_pillow(image.pixels).save(data, "PNG")
    return data.getvalue()


def to_size(
    part: Image | Video, width: int, height: int, channels: int | None = None, fit: Fit = "stretch"
) -> Image | Video:
    """`part` (a picture, or a clip frame by frame) at `width` x `height` pixels and with `channels` 1 or 3.

    `fit` says what becomes of another aspect ratio: "stretch" distorts, "crop" cuts off the longer side evenly,
    "letterbox" keeps everything and fills up with black. A whole-number shrink is the mean over each block;
    anything else is Lanczos. Grey is the luma of ITU-R BT.601, as pillow has it.
    """
    for name, value in (("width", width), ("height", height)):
        if not isinstance(value, (int, np.integer)) or value <= 0:
            raise TonyError(f"{name} is {value!r}: give a positive whole number of pixels")
    if channels not in (None, 1, 3):
        raise TonyError(f"channels is {channels!r}: give 1 (grey), 3 (RGB) or None (as it is)")
    if fit not in ("stretch", "crop", "letterbox"):
        raise TonyError(f"fit is {fit!r}: use stretch, crop or letterbox")
    if isinstance(part, Video):
        frames = np.stack([_resized(frame, width, height, channels, fit) for frame in part.frames])
        return replace(part, frames=frames)
    return replace(part, pixels=_resized(part.pixels, width, height, channels, fit))


def _resized(pixels: np.ndarray, width: int, height: int, channels: int | None, fit: Fit) -> np.ndarray:
    import PIL.Image

    picture = to_pillow(pixels)
    if channels is not None:
        picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        from_width, from_height = picture.size
        scale_x, scale_y = width / from_width, height / from_height
        left, top, box_width, box_height = 0.0, 0.0, float(from_width), float(from_height)
        to_width, to_height = width, height
        if fit == "crop":
            scale = max(scale_x, scale_y)
            box_width, box_height = min(from_width, width / scale), min(from_height, height / scale)
            left, top = (from_width - box_width) / 2, (from_height - box_height) / 2
        elif fit == "letterbox":
            scale = min(scale_x, scale_y)
            to_width, to_height = max(1, round(from_width * scale)), max(1, round(from_height * scale))
        factor_x, factor_y = box_width / to_width, box_height / to_height
        if factor_x.is_integer() and factor_y.is_integer():
            left, top = int(left), int(top)
            box = (left, top, left + int(box_width), top + int(box_height))
            picture = picture.reduce((int(factor_x), int(factor_y)), box)  # rounds once
        else:
            box = (left, top, left + box_width, top + box_height)
            picture = picture.resize((to_width, to_height), PIL.Image.Resampling.LANCZOS, box)
        if (to_width, to_height) != (width, height):
            canvas = PIL.Image.new(picture.mode, (width, height))
            canvas.paste(picture, ((width - to_width) // 2, (height - to_height) // 2))
            picture = canvas
    resized = np.array(picture)
    return resized[..., None] if resized.ndim == 2 else resized
