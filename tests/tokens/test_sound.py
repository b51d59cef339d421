"""Protects: streamed sound equals offline sound, nothing looks further ahead than stated, ids are stable."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.media import Audio, Image, to_rate
from tony.tokens.codec import Codec
from tony.tokens.sound import HOP, KERNEL, RATE, SoundCodec, SoundConfig, SoundNetwork, mel_filters

TINY = SoundConfig(levels=(8, 5, 5, 5), width=32, encoder_blocks=2, decoder_blocks=2)


def _codec(config: SoundConfig = TINY, seed: int = 0) -> SoundCodec:
    """An untrained codec whose features are roughly normalised, so that its ids vary."""
    torch.manual_seed(seed)
    network = SoundNetwork(config)
    for block in [*network.encoder, *network.decoder]:
        torch.nn.init.normal_(block.gain)
    torch.nn.init.normal_(network.to_code.weight)
    network.feature_mean.fill_(-3.0)
    network.feature_scale.fill_(3.0)
    return SoundCodec(network)


@pytest.fixture(scope="module")
def codec() -> SoundCodec:
    return _codec()


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(samples) * np.abs(np.sin(np.arange(samples) / 2000))).astype(np.float32)


def test_follows_the_codec_contract(codec):
    assert isinstance(codec, Codec)
    assert SoundCodec(SoundNetwork(SoundConfig())).size == 4096
    assert SoundConfig.small().levels == (8, 5, 5, 5) and codec.size == 1000


@given(
    frames=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 40), max_size=12),
    seed=st.integers(0, 5),
    windows=st.sampled_from([(1, 640), (2, 640), (2, 320), (4, 400)]),
)
@settings(max_examples=30, deadline=None)
def test_streaming_equals_offline(frames, cuts, seed, windows):
    config = SoundConfig(
        levels=(5, 3),
        width=16,
        encoder_blocks=1,
        decoder_blocks=2,
        synthesis_windows=windows[0],
        synthesis_window=windows[1],
    )
    codec = _codec(config, seed)
    ids = np.random.default_rng(seed).integers(codec.size, size=frames)
    whole = codec.decode(ids).samples
    stream = codec.stream()
    edges = [0, *sorted(min(c, frames) for c in cuts), frames]  # equal cuts are empty chunks
    pieces, given_ids = [], 0
    for a, b in itertools.pairwise(edges):
        pieces.append(stream.step(ids[a:b]))
        given_ids += b - a
        assert sum(map(len, pieces)) == HOP * max(0, given_ids - 1)  # all but the last frame is final
    pieces.append(stream.flush())
    assert whole.shape == (HOP * frames,)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)
    np.testing.assert_array_equal(stream.step(ids), codec.stream().step(ids))  # flush left nothing behind


def test_a_clone_goes_on_alone(codec):
    ids = np.random.default_rng(3).integers(codec.size, size=20)
    stream = codec.stream()
    stream.step(ids[:9])
    other = stream.clone()
    stream.step(ids[::-1])
    np.testing.assert_allclose(
        np.concatenate([other.step(ids[9:]), other.flush()]), codec.decode(ids).samples[8 * HOP :], atol=1e-6
    )


@pytest.mark.parametrize("frame", [3, 10, 17])
def test_looks_ahead_no_further_than_stated(codec, frame):
    """Changing the input from sample s on changes no output before the frame that lies look_ahead_ms before s."""
    samples = _noise(25 * HOP)
    changed = samples.copy()
    changed[frame * HOP :] = _noise(len(samples) - frame * HOP, seed=9)
    ids, other = codec.encode(Audio(samples, RATE)), codec.encode(Audio(changed, RATE))
    assert np.array_equal(ids[:frame], other[:frame])  # the encoder looks ahead 0 ms
    assert not np.array_equal(ids, other)
    look_ahead = codec.look_ahead_ms * RATE // 1000
    first_changed = np.flatnonzero(codec.decode(ids).samples != codec.decode(other).samples)[0]
    assert first_changed >= frame * HOP - look_ahead
    assert codec.look_ahead_ms == 20 and codec.latency_ms == 20 + codec.look_ahead_ms


def test_decoding_many_is_decoding_each(codec):
    rng = np.random.default_rng(3)
    many = [rng.integers(codec.size, size=n) for n in (7, 0, 1, 40, 7, 23)]
    for together in (1, 4, 64):
        for ids, sound in zip(many, codec.decode_many(many, together), strict=True):
            np.testing.assert_allclose(sound.samples, codec.decode(ids).samples, atol=1e-6)


def test_single_precision_gives_nearly_the_same_ids(codec):
    clips = [Audio(_noise(16_000, seed=n), RATE) for n in range(8)]
    exact, quick = (np.concatenate(codec.encode_many(clips, exact=e)) for e in (True, False))
    assert (exact == quick).mean() > 0.99


def test_decoder_waits_for_one_id(codec):
    ids = np.random.default_rng(4).integers(codec.size, size=20)
    other = ids.copy()
    other[10] = (other[10] + 500) % codec.size
    changed = np.flatnonzero(codec.decode(ids).samples != codec.decode(other).samples)
    assert 9 * HOP <= changed[0] < 10 * HOP  # it does use its one frame of look-ahead, and no more


def test_ids_do_not_depend_on_batch_or_threads(codec):
    clips = [Audio(_noise(n, seed=n), RATE) for n in (1, 319, 320, 321, 5000, 16001, 9000)]
    alone = [codec.encode(clip) for clip in clips]
    for batch_seconds in (0.1, 1.0, 60.0):
        for one, many in zip(alone, codec.encode_many(clips, batch_seconds), strict=True):
            np.testing.assert_array_equal(one, many)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for one, clip in zip(alone, clips, strict=True):
            np.testing.assert_array_equal(one, codec.encode(clip))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0),
        np.zeros(1),
        np.ones(1),
        np.zeros(4000),
        np.ones(4000),
        np.sign(_noise(4000)) * 30,
        _noise(4001),
    ],
    ids=["empty", "one zero", "one sample", "silence", "direct current", "clipped", "noise"],
)
def test_edge_inputs(codec, samples):
    ids = codec.encode(Audio(samples.astype(np.float32), RATE))
    assert ids.dtype == np.int64 and ids.shape == (-(-len(samples) // HOP),)
    assert ((ids >= 0) & (ids < codec.size)).all()
    copy = codec.decode(ids)
    assert copy.rate == RATE and len(copy.samples) == HOP * len(ids)
    assert np.abs(copy.samples).max(initial=0) <= 1


def test_other_rates_are_converted(codec):
    audio = Audio(_noise(8000), 8000)
    np.testing.assert_array_equal(codec.encode(audio), codec.encode(to_rate(audio, RATE)))


def test_save_and_load(codec, tmp_path):
    codec.save(tmp_path / "sound")
    codec.save(tmp_path / "sound")  # over itself
    loaded = SoundCodec.load(tmp_path / "sound")
    audio = Audio(_noise(16000), RATE)
    ids = codec.encode(audio)
    np.testing.assert_array_equal(loaded.encode(audio), ids)
    np.testing.assert_array_equal(loaded.decode(ids).samples, codec.decode(ids).samples)
    assert loaded.fingerprint == codec.fingerprint != _codec(seed=1).fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sound"]
    assert TINY.hash != SoundConfig.small().hash


def test_damage_is_told_in_one_line(codec, tmp_path):
    with pytest.raises(TonyError, match="no sound codec in"):
        SoundCodec.load(tmp_path / "nothing")
    folder = codec.save(tmp_path / "sound")
    about = json.loads((folder / "codec.json").read_text())
    about["config"]["width"] = 64
    (folder / "codec.json").write_text(json.dumps(about))
    with pytest.raises(TonyError, match="cannot be read"):
        SoundCodec.load(folder)
    codec.save(folder)
    (folder / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:1000])
    with pytest.raises(TonyError, match="cannot be read"):
        SoundCodec.load(folder)


def test_bad_input_is_refused(codec):
    for ids in ([codec.size], [-1], [0.5], [[1]]):
        with pytest.raises(TonyError, match="sound id"):
            codec.decode(np.array(ids))
    with pytest.raises(TonyError, match="not Image"):
        codec.encode(Image(np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(TonyError, match="synthesis_window"):
        SoundConfig(synthesis_window=500)


def test_mel_filters_cover_speech():
    filters = mel_filters(64, 512)
    torch.testing.assert_close(filters.sum(0), torch.ones(64))
    assert (filters >= 0).all() and (filters[4:248].sum(1) > 0).all()
    assert KERNEL == 7
