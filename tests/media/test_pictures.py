"""Pictures come in upright, on white, in 8 bits, and PNG gives back every pixel."""

import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tony.errors import TonyError
from tony.media import Image, Video, decode, encode, to_size


def saved(picture: PIL.Image.Image, kind: str, **options) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))),
)
def test_png_round_trip_is_exact(pixels):
    data = encode(Image(pixels), "png")
    assert decode(data, "image/png") == Image(pixels)
    peer = np.asarray(PIL.Image.open(io.BytesIO(data)))
    assert np.array_equal(peer, pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def test_jpeg_is_close_and_keeps_channels():
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    for pixels in (np.tile(ramp, (48, 1))[..., None], np.stack([np.tile(ramp, (48, 1))] * 3, axis=2)):
        back = decode(encode(Image(pixels), "jpg"), "cat.jpg")
        assert back.pixels.shape == pixels.shape
        assert np.abs(back.pixels.astype(int) - pixels).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_is_honoured(orientation, kind):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :12] = 255  # a white corner, top left
    undo = {  # from the EXIF standard, table 6: what a camera did to the picture
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = saved(PIL.Image.fromarray(np.ascontiguousarray(undo[orientation](upright))), kind, exif=exif)
    back = decode(data).pixels
    assert back.shape == upright.shape
    assert np.abs(back.astype(int) - upright).mean() < 6


def test_transparency_is_composited_on_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (0, 128, 255)
    back = decode(saved(PIL.Image.fromarray(rgba), "PNG")).pixels[0]
    share = 128 / 255
    assert back.tolist() == [
        [255, 255, 255],
        [round(200 * share + 255 * (1 - share)), round(255 * (1 - share)), round(255 * (1 - share))],
        [200, 0, 0],
    ]


def test_grey_with_alpha_stays_grey():
    grey_alpha = np.array([[[10, 255], [10, 0]]], np.uint8)
    back = decode(saved(PIL.Image.fromarray(grey_alpha, mode="LA"), "PNG")).pixels
    assert back.tolist() == [[[10], [255]]]


def test_palettes_with_and_without_transparency():
    picture = PIL.Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert decode(saved(picture, "PNG")).pixels.tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    assert decode(saved(picture, "PNG", transparency=1)).pixels[0, 1].tolist() == [255, 255, 255]


def test_sixteen_bit_grey_is_scaled_and_rounded():
    deep = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    back = decode(saved(PIL.Image.fromarray(deep), "PNG")).pixels
    assert back[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_one_bit_cmyk_webp_and_bmp():
    bits = PIL.Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert decode(saved(bits, "PNG")).pixels[0, :, 0].tolist() == [0, 255]
    red = PIL.Image.new("RGB", (16, 16), (255, 0, 0))
    for data in (
        saved(red.convert("CMYK"), "JPEG", quality=95),
        saved(red, "WEBP", lossless=True),
        saved(red, "BMP"),
    ):
        assert np.abs(decode(data).pixels[8, 8].astype(int) - [255, 0, 0]).max() <= 3


def test_broken_exif_does_not_cost_the_picture(capfd):
    data = saved(PIL.Image.new("L", (8, 8), 9), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert decode(data).pixels.shape == (8, 8, 1)
    assert capfd.readouterr().err == ""


def test_to_size_shrinks_by_the_mean_of_blocks():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    small = to_size(Image(pixels, role="user", counted=False), 4, 3)
    blocks = pixels.reshape(3, 4, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(small.pixels - blocks).max() <= 0.51
    assert small.role == "user" and not small.counted
    assert to_size(Image(pixels), 8, 12) == Image(pixels)


def test_to_size_keeps_a_smooth_picture_smooth():
    x, y = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 60))
    wave = lambda x, y: 128 + 80 * np.sin(3 * x) * np.cos(2 * y)  # noqa: E731
    big_x, big_y = np.meshgrid((np.arange(137) + 0.5) / 137, (np.arange(41) + 0.5) / 41)
    sampled = to_size(
        Image(np.rint(wave((x * 89 + 0.5) / 90, (y * 59 + 0.5) / 60)).astype(np.uint8)), 137, 41
    )
    assert np.abs(sampled.pixels[..., 0] - wave(big_x, big_y)).max() < 4


def test_to_size_channels_fit_and_clips():
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = (255, 0, 0)  # a red square in the middle
    red = Image(pixels)
    assert (to_size(red, 4, 4, fit="crop").pixels == (255, 0, 0)).all()
    letterbox = to_size(red, 8, 8, fit="letterbox").pixels
    assert (letterbox[2:6] == pixels).all() and not letterbox[:2].any() and not letterbox[6:].any()
    grey = to_size(red, 8, 4, channels=1)
    assert grey.pixels[0, 3, 0] == 76  # BT.601: 0.299 of 255
    assert (to_size(grey, 8, 4, channels=3).pixels[0, 3] == 76).all()
    clip = to_size(Video(np.stack([pixels, 255 - pixels]), fps=4), 2, 2, channels=1)
    assert clip.frames.shape == (2, 2, 2, 1) and clip.fps == 4
    assert clip.frames[1, 0, 0] == to_size(Image(255 - pixels), 2, 2, channels=1).pixels[0, 0]


@pytest.mark.parametrize("wrong", [{"width": 0}, {"width": 2.5}, {"channels": 4}, {"fit": "zoom"}])
def test_to_size_refuses(wrong):
    with pytest.raises(TonyError, match=next(iter(wrong))):
        to_size(Image(np.zeros((2, 2, 1), np.uint8)), **({"width": 2, "height": 2} | wrong))
