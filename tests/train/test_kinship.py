"""Protects: embeddings begin near each other where their codes stand for much the same, and only where they should."""

import numpy as np
import pytest
import torch

from tony.data.words import WORDS
from tony.tokens.pixels import PixelCodec
from tony.tokens.sound import SoundCodec, SoundConfig, SoundNetwork
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Vocabulary
from tony.train.kinship import relate

WIDTH = 128


@pytest.fixture(scope="module")
def vocabulary():
    torch.manual_seed(0)
    sound = SoundCodec(SoundNetwork(SoundConfig(levels=(8, 5, 5), width=32)))
    return Vocabulary(TextCodec.train(WORDS["en"], 300), PixelCodec.grey(4, 17, placed=True), sound)


def embeddings(vocabulary, share):
    generator = torch.Generator().manual_seed(3)
    before = 0.5 * torch.randn(vocabulary.size, WIDTH, generator=generator)
    after = before.clone()
    relate(after, vocabulary, share, generator)
    return before, after


def test_nothing_but_pictures_and_sounds_changes(vocabulary):
    before, after = embeddings(vocabulary, 0.9)
    moved = (before != after).any(1).numpy()
    expected = np.zeros(vocabulary.size, bool)
    for name in ("image", "audio"):
        expected[vocabulary.ranges[name].start : vocabulary.ranges[name].end] = True
    np.testing.assert_array_equal(moved, expected)
    torch.testing.assert_close(*embeddings(vocabulary, 0.0), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["image", "audio"])
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_size_stays_and_distances_follow_the_codes(vocabulary, name, share):
    before, after = (w[vocabulary.ranges[name].start : vocabulary.ranges[name].end]
                     for w in embeddings(vocabulary, share))  # fmt: skip
    assert after.square().mean() == pytest.approx(float(before.square().mean()), rel=0.1)
    points = torch.from_numpy(getattr(vocabulary, {"image": "image", "audio": "sound"}[name]).coordinates())
    wanted, found = torch.pdist(points).numpy(), torch.pdist(after).numpy()
    assert np.corrcoef(wanted, found)[0, 1] > (0.9 if share == 1 else 0.4)
    assert abs(np.corrcoef(wanted, torch.pdist(before).numpy())[0, 1]) < 0.1


def test_the_mean_of_a_picture_is_a_linear_map_of_its_pixels(vocabulary):
    """What one head that attends evenly sees: from it, least squares reads every pixel of pictures it never saw."""
    _, after = embeddings(vocabulary, 1.0)
    codec, start = vocabulary.image, vocabulary.ranges["image"].start
    levels = np.random.default_rng(0).integers(17, size=(400, codec.length))
    ids = levels + np.arange(codec.length) * 17 + start
    means = after[torch.from_numpy(ids)].mean(1).numpy()
    means = np.concatenate([means, np.ones((len(means), 1))], 1)
    found = means[200:] @ np.linalg.lstsq(means[:200], levels[:200], rcond=1e-4)[0]
    np.testing.assert_allclose(found, levels[200:], atol=0.05)


def test_coordinates_of_neighbours_are_near(vocabulary):
    rng = np.random.default_rng(1)
    for codec in (vocabulary.image, vocabulary.sound):
        points, ids = codec.coordinates(), rng.integers(codec.size, size=500)
        step = np.linalg.norm(points[ids] - points[codec.neighbours(ids, rng)], axis=1)
        other = np.linalg.norm(points[ids] - points[rng.permutation(ids)], axis=1)
        assert step.max() < 1.5 * other.mean() and step.mean() < 0.6 * other.mean()
