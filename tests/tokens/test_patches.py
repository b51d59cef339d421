"""Protects: pictures become a fixed number of stable ids in range and come back; damage and bad input are told."""

import numpy as np
import pytest
import torch

from tony.errors import TonyError
from tony.media import Audio, Image, to_size
from tony.tokens.codec import Codec
from tony.tokens.patches import PatchCodec, PatchConfig, PatchNetwork


def _codec(seed: int = 0, **changes) -> PatchCodec:
    torch.manual_seed(seed)
    network = PatchNetwork(PatchConfig(**{"width": 32, "blocks": 1, **changes}))
    torch.nn.init.normal_(network.to_code.weight)
    return PatchCodec(network)


@pytest.fixture(scope="module")
def codec() -> PatchCodec:
    return _codec()


def _picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8))


@pytest.mark.parametrize(
    ("side", "patch", "length"), [(64, 8, 64), (96, 8, 144), (128, 8, 256), (256, 16, 256)]
)
def test_64_to_256_ids(side, patch, length):
    codec = _codec(side=side)
    assert isinstance(codec, Codec) and codec.size == 1000 and codec.config.patch == patch
    ids = codec.encode(_picture(side, side))
    assert ids.dtype == np.int64 and ids.shape == (length,) == (codec.length,)
    assert ((ids >= 0) & (ids < codec.size)).all()
    assert codec.decode(ids).pixels.shape == (side, side, 3)


def test_ids_run_row_by_row(codec):
    """A change far down the picture changes ids far down the list only: two blocks of 3 x 3 reach one row each."""
    picture = _picture(64, 64).pixels.copy()
    changed = picture.copy()
    changed[56:] = 255 - changed[56:]
    different = np.flatnonzero(codec.encode(Image(picture)) != codec.encode(Image(changed)))
    assert len(different) and different.min() >= 6 * 8


def test_other_sizes_and_grey_are_converted(codec):
    for picture in (_picture(30, 90), _picture(64, 64, 1), _picture(1, 1)):
        expected = codec.encode(to_size(picture, 64, 64, channels=3))
        np.testing.assert_array_equal(codec.encode(picture), expected)


def test_save_and_load(codec, tmp_path):
    codec.save(tmp_path / "image")
    codec.save(tmp_path / "image")
    loaded = PatchCodec.load(tmp_path / "image")
    picture = _picture(64, 64)
    ids = codec.encode(picture)
    np.testing.assert_array_equal(loaded.encode(picture), ids)
    assert loaded.decode(ids) == codec.decode(ids)
    assert loaded.fingerprint == codec.fingerprint != _codec(seed=1).fingerprint
    (tmp_path / "image" / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(TonyError, match="cannot be read"):
        PatchCodec.load(tmp_path / "image")
    with pytest.raises(TonyError, match="no patch codec"):
        PatchCodec.load(tmp_path / "nothing")


def test_bad_input_is_refused(codec):
    for ids in ([0] * 63, [codec.size] * 64, [-1] * 64, [0.5] * 64):
        with pytest.raises(TonyError, match="picture id"):
            codec.decode(np.array(ids))
    with pytest.raises(TonyError, match="not Audio"):
        codec.encode(Audio(np.zeros(10, np.float32), 16000))
    for side in (32, 100):
        with pytest.raises(TonyError, match="side"):
            PatchConfig(side=side)


def test_many_are_each(codec):
    """Of unlike sizes, in whole and broken batches; in float32 nearly all ids are the same."""
    pictures = [_picture(20 + 9 * n, 64, (1, 3)[n % 2], seed=n) for n in range(7)]
    alone = np.array([codec.encode(picture) for picture in pictures])
    for together in (1, 3, 64):
        np.testing.assert_array_equal(codec.encode_many(pictures, together), alone)
    quick = codec.encode_many(pictures, exact=False)
    assert quick.shape == alone.shape and (quick == alone).mean() > 0.99
    assert codec.encode_many([]).shape == (0, codec.length)
