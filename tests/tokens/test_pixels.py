"""Protects: 17 grey levels keep scikit-learn's digits exactly, and a pixel becomes the nearest colour there is."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.media import Image
from tony.tokens.pixels import PixelCodec


def test_seventeen_levels_keep_real_digits_exactly():
    from sklearn.datasets import load_digits

    codec = PixelCodec.grey(8, 17)
    for values in load_digits().images[::50]:
        pixels = np.round(values * 255 / 16).astype(np.uint8)
        ids = codec.encode(Image(pixels))
        assert (ids.reshape(8, 8) == values).all(), "an id is the grey level itself"
        assert codec.decode(ids) == Image(pixels)


@given(levels=st.integers(2, 256), data=st.data())
def test_grey_takes_the_nearest_level(levels, data):
    codec = PixelCodec.grey(3, levels)
    pixels = np.array(data.draw(st.lists(st.integers(0, 255), min_size=9, max_size=9)), np.uint8).reshape(
        3, 3
    )
    found = codec.decode(codec.encode(Image(pixels))).pixels[..., 0].astype(int)
    best = np.abs(pixels[..., None].astype(int) - codec.palette[:, 0].astype(int)).min(-1)
    assert (np.abs(found - pixels) == best).all()
    assert codec.palette[0, 0] == 0 and codec.palette[-1, 0] == 255


@given(ids=st.lists(st.integers(0, 16), min_size=16, max_size=16))
def test_any_ids_are_a_picture_that_has_those_ids(ids):
    codec = PixelCodec.grey(4, 17)
    assert codec.encode(codec.decode(np.array(ids))).tolist() == ids


@given(values=st.lists(st.integers(0, 4), min_size=9, max_size=9))
def test_a_placed_id_is_the_pixel_and_its_level(values):
    plain, placed = PixelCodec.grey(3, 5), PixelCodec.grey(3, 5, placed=True)
    picture = plain.decode(np.array(values))
    ids = placed.encode(picture)
    assert placed.size == 45 and [divmod(int(i), 5) for i in ids] == list(enumerate(values))
    assert all(index in placed.allowed(place) for place, index in enumerate(ids))
    assert placed.decode(ids) == picture and placed.decode(ids[:4]) == plain.decode(np.array(values[:4]))


def test_placed_ids_out_of_their_place_are_refused():
    with pytest.raises(TonyError, match="raster order"):
        PixelCodec.grey(2, 5, placed=True).decode(np.array([0, 5, 15, 10]))


def colourful(n, seed=0):
    rng = np.random.default_rng(seed)
    return [Image(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)) for _ in range(n)]


def test_palette_takes_the_nearest_colour():
    codec = PixelCodec.fit(colourful(20), 6, 12, seed=0)
    assert codec.size <= 12 and codec.channels == 3
    picture = colourful(1, seed=5)[0]
    found = codec.decode(codec.encode(picture)).pixels.astype(int)
    distance = ((picture.pixels[:, :, None].astype(int) - codec.palette.astype(int)) ** 2).sum(-1)
    assert (((found - picture.pixels) ** 2).sum(-1) == distance.min(-1)).all()


def test_palette_is_fitted_to_the_pictures():
    """k-means beats the same number of colours taken at random."""
    pictures = [Image(np.clip(p.pixels // 4 + 90, 0, 255).astype(np.uint8)) for p in colourful(20)]

    def error(codec):
        pairs = [(p.pixels.astype(int), codec.decode(codec.encode(p)).pixels.astype(int)) for p in pictures]
        return np.mean([((a - b) ** 2).mean() for a, b in pairs])

    random = PixelCodec(6, np.random.default_rng(0).integers(90, 154, (12, 3)).astype(np.uint8))
    assert error(PixelCodec.fit(pictures, 6, 12, seed=0)) < 0.8 * error(random)


def test_few_colours_are_kept_as_they_are():
    pixels = np.zeros((6, 6, 3), np.uint8)
    pixels[2:] = (200, 10, 30)
    codec = PixelCodec.fit([Image(pixels)], 6, 64, seed=0)
    assert codec.size == 2 and codec.decode(codec.encode(Image(pixels))) == Image(pixels)


def test_other_sizes_and_channels_are_converted():
    codec = PixelCodec.grey(4, 17)
    white = Image(np.full((9, 13, 3), 255, np.uint8))
    assert codec.encode(white).tolist() == [16] * 16


def test_a_picture_grows_row_by_row():
    codec = PixelCodec.grey(4, 17)
    pixels = codec.decode(np.full(6, 16)).pixels.reshape(-1)
    assert (pixels[:6] == 255).all() and (pixels[6:] == 0).all()


@pytest.mark.parametrize("ids", [[-1], [17], [0] * 17])
def test_wrong_ids_are_refused(ids):
    with pytest.raises(TonyError):
        PixelCodec.grey(4, 17).decode(np.array(ids))


def test_save_and_load(tmp_path):
    codec = PixelCodec.fit(colourful(3), 6, 9, seed=0)
    codec.save(tmp_path)
    again = PixelCodec.load(tmp_path)
    assert (again.palette == codec.palette).all() and again.side == 6


def test_placed_is_saved_and_tells_vocabularies_apart(tmp_path):
    plain, placed = PixelCodec.grey(4, 5), PixelCodec.grey(4, 5, placed=True)
    placed.save(tmp_path)
    assert PixelCodec.load(tmp_path).placed and PixelCodec.load(tmp_path).size == 80
    assert plain.fingerprint != placed.fingerprint


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", json.dumps({"side": 8, "palette": []})])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "image.json").write_text(content)
    with pytest.raises(TonyError, match=r"image\.json"):
        PixelCodec.load(tmp_path)
