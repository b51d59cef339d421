"""Protects: codec training learns, is the same for one seed, and its losses are what they say."""

import numpy as np
import pytest
import torch

from tony.data.speech import Voice, speak
from tony.errors import TonyError
from tony.media import Audio, Image
from tony.tokens.patches import PatchConfig
from tony.tokens.sound import SoundConfig, SoundNetwork
from tony.train.codecs import (
    Crops,
    PatchTraining,
    SoundLoss,
    SoundTraining,
    magnitudes,
    train_patch_codec,
    train_sound_codec,
)

TINY = SoundConfig(levels=(8, 5, 5, 5), width=64, encoder_blocks=1, decoder_blocks=1)
QUICK = SoundTraining(batch=4, crop_seconds=0.6)


@pytest.fixture(scope="module")
def words() -> list[Audio]:
    return [speak(word, Voice(variant=v)) for word in ("one", "two", "seven", "eleven") for v in ("m1", "f2")]


@pytest.mark.parametrize(("window", "hop", "n_fft"), [(256, 64, 256), (410, 205, 820), (512, 128, 512)])
def test_magnitudes_equal_torch_stft_with_its_gradient(window, hop, n_fft):
    samples = torch.randn(2, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shape = torch.hann_window(window, dtype=torch.float64)
    ours, theirs = samples.clone().requires_grad_(), samples.clone().requires_grad_()
    # torch.stft centres a window inside n_fft, which shifts phases but not magnitudes: lengths are made to agree.
    padded = torch.nn.functional.pad(theirs, ((n_fft - window) // 2, (n_fft - window) // 2))
    spectrum = torch.stft(padded, n_fft, hop, window, shape, center=False, return_complex=True)
    expected = torch.sqrt(spectrum.abs().square() + 1e-8).transpose(1, 2)
    found = magnitudes(ours, shape, hop, n_fft)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_intelligibility_term_follows_estoi(words):
    """On speech with growing noise and with pauses, 1 - term is close to pystoi's ESTOI and falls with it."""
    from pystoi import stoi

    pause = np.zeros(4000, np.float32)
    clean = np.concatenate([piece for w in words for piece in (w.samples, pause)])
    rng = np.random.default_rng(0)
    loss, pairs = SoundLoss(SoundTraining()), []
    for scale in (0.01, 0.05, 0.2):
        noisy = (clean + scale * rng.standard_normal(len(clean))).astype(np.float32)
        ours = 1 - float(loss.unintelligible(torch.from_numpy(noisy)[None], torch.from_numpy(clean)[None]))
        pairs.append((ours, stoi(clean, noisy, 16000, extended=True)))
    assert all(abs(ours - theirs) < 0.02 for ours, theirs in pairs), pairs
    assert pairs[0][0] > pairs[1][0] > pairs[2][0]
    same = torch.from_numpy(clean)[None]
    assert float(loss.unintelligible(same, same)) < 0.05
    assert sum(float(term) for name, term in loss(same, same).items() if name != "intelligibility") < 1e-6


def test_sound_training_learns_and_reports(words):
    seen = []
    train_sound_codec(words, TINY, 60, 0, training=QUICK, progress=lambda *told: seen.append(told))
    assert [s[0] for s in seen] == list(range(1, 61)) and {s[1] for s in seen} == {60}
    first, last = (np.mean([sum(s[2].values()) for s in part]) for part in (seen[:5], seen[-5:]))
    assert last < 0.75 * first


def test_one_seed_one_codec(words):
    ids = [train_sound_codec(words, TINY, 5, seed, training=QUICK).fingerprint for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_training_uses_the_network_that_runs(words):
    """What the differentiable network makes is what the codec's ids decode to."""
    codec = train_sound_codec(words, TINY, 2, training=QUICK)
    network = SoundNetwork(TINY).double()
    network.load_state_dict(codec.network.state_dict())
    samples = words[0].samples[: 320 * 15].astype(np.float64)
    with torch.no_grad():
        copy, latents = network(torch.from_numpy(samples)[None])
    ids = codec.encode(Audio(samples.astype(np.float32), 16000))
    np.testing.assert_array_equal(network.fsq.to_indices(network.fsq(latents))[0], ids)
    np.testing.assert_allclose(codec.decode(ids).samples, copy[0].clamp(-1, 1), atol=1e-6)


def test_batches_are_a_function_of_seed_and_index(words):
    crops, again = (Crops([*words, Audio(np.zeros(0, np.float32), 16000)], QUICK) for _ in range(2))
    assert torch.equal(crops.batch(3, 7, 4), again.batch(3, 7, 4))
    assert not torch.equal(crops.batch(3, 7, 4), crops.batch(3, 8, 4))
    assert crops.batch(0, 0, 4).shape == (4, 9600)


def test_nothing_to_train_on_is_refused():
    with pytest.raises(TonyError, match="no sound"):
        train_sound_codec([], TINY, 1)
    with pytest.raises(TonyError, match="no picture"):
        train_patch_codec([], PatchConfig(), 1)


def _stripes(count: int, seed: int) -> list[Image]:
    """Pictures of slanted stripes in two of six colours."""
    colours = np.random.default_rng(99).integers(0, 256, (6, 3))
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    pictures = []
    for _ in range(count):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        inside = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / 16 + phase) > 0
        one, two = colours[rng.choice(6, 2, replace=False)]
        pictures.append(Image(np.where(inside[..., None], one, two).astype(np.uint8)))
    return pictures


def test_patch_training_beats_the_mean_colour_of_each_patch():
    codec = train_patch_codec(
        _stripes(400, 0), PatchConfig(width=128, blocks=2), 150, 0, training=PatchTraining(batch=16)
    )
    wrong = means = 0.0
    for picture in _stripes(30, 1):
        pixels = picture.pixels.astype(float)
        copy = codec.decode(codec.encode(picture)).pixels
        mean = pixels.reshape(8, 8, 8, 8, 3).mean((1, 3), keepdims=True) + np.zeros((8, 8, 8, 8, 3))
        wrong += np.mean((copy - pixels) ** 2)
        means += np.mean((mean.reshape(64, 64, 3) - pixels) ** 2)
    assert wrong < 0.7 * means, (wrong / 30, means / 30)
