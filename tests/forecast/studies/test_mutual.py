"""Protects what a model knows of pairs: sums over an example, bounds that hold, and a source whose information is known."""

import math

import numpy as np
import pytest

from tony.data.batches import Batches
from tony.data.pairs import blanked
from tony.data.shards import Shard
from tony.forecast.studies.mutual import Captions, Measured, caption_of, losses, nats_of, told
from tony.media import Document, Image, Text
from tony.runs import Run, load_recipe
from tony.tokens.pixels import PixelCodec
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import MODALITIES, Vocabulary
from tony.train.loop import Losses, Trainer
from tony.train.progress import Silent

# A caption is one of 8 letters; three of four pixels are the bits of its number, each wrong once in ten, the last is noise.
BITS, WRONG = 3, 0.1
TRUTH = BITS * (math.log(2) + WRONG * math.log(WRONG) + (1 - WRONG) * math.log(1 - WRONG))  # 1.104 nats


def known_pairs(count, direction, seed):
    rng = np.random.default_rng(seed)
    for letter in rng.integers(2**BITS, size=count):
        pixels = rng.integers(2, size=4)
        pixels[:BITS] = (letter >> np.arange(BITS) & 1) ^ (rng.random(BITS) < WRONG)
        pair = [Text("abcdefgh"[letter]), Image((255 * pixels).astype(np.uint8).reshape(2, 2, 1))]
        yield Document(pair if direction == "text->image" else pair[::-1])


@pytest.fixture(scope="module", params=["text->image", "image->text"])
def known(request, tmp_path_factory):
    """A trainer on the known source, half of its documents with a blank, and 1500 held-out examples with and without."""
    folder, direction = tmp_path_factory.mktemp("known"), request.param
    vocabulary = Vocabulary(TextCodec.train(["abcdefgh"], 256), PixelCodec.grey(2, 2, placed=True))
    coin = np.random.default_rng(5)
    mixed = [blanked(d) if coin.random() < 0.5 else d for d in known_pairs(8000, direction, 1)]
    heldout = list(known_pairs(1500, direction, 2))
    train = Shard.write(folder / "train", map(vocabulary.encode, mixed), vocabulary)
    other = Shard.write(folder / "heldout", map(vocabulary.encode, heldout), vocabulary)
    recipe = load_recipe(
        {
            "name": "known",
            "model": {"width": 32, "depth": 2, "head_dim": 16, "hidden": 64, "context": 64},
            "train": {
                "tokens": 64 * 16 * 200, "batch_tokens": 64 * 16, "lr": 1e-2, "weight_decay": 0.0, "log_every": 100,
                "evaluate_every": 10**9, "precision": "float32", "device": "cpu",
                "loss_shares": {"text": 0.5, "image": 0.5},
            },
        }
    )  # fmt: skip
    trainer = Trainer(Run.create(recipe, folder), vocabulary, train, other, Silent())
    return trainer, heldout


def test_a_trained_model_finds_the_known_information_and_not_more(known):
    trainer, heldout = known
    captions = Captions("abcdefgh", np.full(8, 1 / 8))
    for until in (None, 20, 60, 100, 200):
        if until:
            trainer.fit(until=until)
        found = Measured.of(*losses(trainer, heldout), told(trainer, heldout, captions))
        assert found.information < TRUTH + 3 * found.information_error
        assert found.at_least < TRUTH + 3 * found.at_least_error
        assert until or abs(found.information) < 0.1  # nothing is known before training
    assert found.information > TRUTH - 0.12
    assert found.at_least > TRUTH - 0.12 - 3 * found.at_least_error
    assert found.text == pytest.approx(
        3 * math.log(2), abs=0.1
    )  # a letter of 8, and a mark that always ends it
    assert found.infogain == pytest.approx(TRUTH / (3 * math.log(2)), abs=0.06)


def test_bayes_rule_over_captions_is_that_of_the_whole_model(known):
    """log q(caption | picture) from the nats of every caption with this picture, written out."""
    trainer, heldout = known
    captions = Captions("abcdefgh", np.arange(1, 9) / 36)
    found = told(trainer, heldout[:3], captions)
    own = [captions.texts.index(caption_of(d)) for d in heldout[:3]]
    if isinstance(heldout[0].parts[0], Text):
        for value, document, index in zip(found, heldout, own, strict=False):
            each = [Document([Text(c), document.parts[1]]) for c in captions.texts]
            nats = nats_of(trainer, [trainer.vocabulary.encode(d) for d in each])[
                :, MODALITIES.index("image")
            ]
            weight = captions.probabilities * np.exp(nats.min() - nats)
            assert value == pytest.approx(
                np.log(weight[index] / weight.sum() / captions.probabilities[index])
            )
    else:
        nats = nats_of(trainer, [trainer.vocabulary.encode(d) for d in heldout[:3]])[
            :, MODALITIES.index("text")
        ]
        np.testing.assert_allclose(found, -nats - np.log(captions.probabilities[own]))


def test_nats_are_sums_over_each_example(known):
    """As many as the trainer counts in all, an example alone as among others, and none of what is not counted."""
    trainer, heldout = known
    encode = trainer.vocabulary.encode
    some = [encode(form(d)) for form in (Document, blanked) for d in heldout[:70]]
    found = nats_of(trainer, some)
    np.testing.assert_allclose(nats_of(trainer, some[100:101]), found[100:101], rtol=1e-5, atol=1e-5)
    batches = Batches(trainer.heldout.shard, 64, 1024, 0)
    losses = Losses.zero()
    for window in range(8):
        _, _, own = trainer.loss([window], batches)
        losses.add(own.sums, own.counts)
    shard = trainer.heldout.shard
    documents = np.concatenate([batches.packing.window(w) for w in range(8)])
    alone = nats_of(trainer, [shard.tokens(int(d)) for d in documents])
    np.testing.assert_allclose(alone.sum(0), losses.sums, rtol=1e-4)
    first = MODALITIES.index(heldout[0].parts[0].modality)
    assert (found[70:, first] == 0).all() and (found[:70, first] > 0).all()


def test_information_is_of_sums_not_of_means():
    """Ten ids that gain 0.1 nats each are 1 nat; the mean over ids would say 0.1."""
    found = Measured.of(np.full(5, 20.0), np.full(5, 19.0), np.full(5, 4.0), np.full(3, 0.5))
    assert (found.information, found.infogain, found.at_least) == (1.0, 0.25, 0.5)


def test_errors_are_those_of_resampled_examples():
    rng = np.random.default_rng(0)
    text = rng.gamma(4, 1.5, 800)
    given = rng.normal(80, 15, 800)  # pictures differ by far more than captions tell of them
    blank = given + 0.5 * text + rng.normal(0, 1, 800)
    found = Measured.of(blank, given, text, text)
    drawn = [Measured.of(blank[i], given[i], text[i], text[i]) for i in rng.integers(800, size=(1000, 800))]
    assert found.information_error == pytest.approx(np.std([d.information for d in drawn]), rel=0.1)
    assert found.infogain_error == pytest.approx(np.std([d.infogain for d in drawn]), rel=0.1)
    assert found.at_least_error == pytest.approx(np.std([d.at_least for d in drawn]), rel=0.1)
    assert found.information_error < 0.2 * given.std() / np.sqrt(800)  # as they are paired


def test_entropy_of_captions():
    assert Captions.of("aabb").entropy(4) == pytest.approx(math.log(2) + 1 / 8)
    draws = np.random.default_rng(0).integers(1000, size=5000).astype(str)
    assert Captions.of(draws).entropy(5000) == pytest.approx(
        math.log(1000), abs=0.02
    )  # frequencies alone: 0.1 less
