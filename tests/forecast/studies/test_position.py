"""Protects the losses by position: they are the trainer's own, maps and laws of known losses come back."""

import numpy as np
import pytest

from tony.data.shards import Shard
from tony.forecast.studies.position import (
    PERCENTILES,
    Nats,
    binned,
    fit_position,
    nats_of,
    of_pictures,
    of_text,
    percentiles,
)
from tony.media import Document, Image
from tony.runs import Run, load_recipe
from tony.tokens.pixels import PixelCodec
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Vocabulary
from tony.train.loop import Trainer
from tony.train.progress import Silent


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A model that has learned nothing, of 4x4 pictures."""
    root, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    words = Vocabulary(TextCodec.train(["a"], 256), PixelCodec.grey(4, 16))
    pictures = (Document([Image(rng.integers(0, 256, (4, 4, 1), dtype=np.uint8))]) for _ in range(130))
    shard = Shard.write(root / "shard", (words.encode(p) for p in pictures), words)
    recipe = load_recipe(
        {
            "name": "tiny", "data": {"kind": "pictures", "path": "-"},
            "model": {"width": 16, "depth": 1, "head_dim": 8, "hidden": 32, "context": 40},
            "train": {"batch_tokens": 400, "tokens": 4000, "precision": "float32", "device": "cpu"},
        }
    )  # fmt: skip
    return Trainer(Run.create(recipe, root), words, shard, shard, Silent())


def test_the_sum_over_positions_is_the_loss(trainer):
    nats = nats_of(trainer, examples=130)
    _, _, losses = trainer.loss(list(range(len(trainer.heldout.packing))), trainer.heldout)
    assert len(nats.nats) == losses.counts.sum() == 130 * 17  # 16 pixels and the end mark
    assert nats.nats.sum() == pytest.approx(losses.sums.sum(), rel=1e-5)
    assert sorted(np.unique(nats.place)) == list(range(17)) and nats.by_example().shape == (130,)


def test_a_place_is_the_pixel_in_raster_order(trainer):
    """Losses of every document by hand, one at a time, from the model's logits."""
    import torch
    from torch.nn import functional as F

    from tony.model import Segments

    nats = nats_of(trainer, examples=3)
    shard = trainer.heldout.shard
    chosen = np.random.default_rng([0, 19]).permutation(len(shard))[:3]
    for i, document in enumerate(chosen):
        tokens = shard.tokens(int(document))
        with torch.no_grad():
            states = trainer.model.trunk(
                torch.tensor(tokens.ids)[None], Segments.from_lengths([[len(tokens)]], len(tokens))
            )
            logits = trainer.model.readout(states[:-1])
        each = F.cross_entropy(logits, torch.tensor(tokens.ids[1:]), reduction="none")[
            torch.tensor(tokens.counted[1:])
        ]
        own = nats.nats[nats.example == i]
        np.testing.assert_allclose(own[np.argsort(nats.place[nats.example == i])], each, rtol=1e-4)


def made(grid, count=50):
    """Nats of pictures whose every pixel costs what `grid` says, and whose end mark costs nothing."""
    losses = np.append(grid.ravel(), 0.0)
    places = np.tile(np.arange(len(losses)), count)
    return Nats(np.repeat(np.arange(count), len(losses)), places, np.tile(losses, count))


def test_the_map_is_summed_up():
    grid = np.full((8, 8), 2.0)
    grid[2:6, 2:6] = 3.0
    grid[0, 0] = 5.0
    finding = of_pictures("images", {100: made(grid), 1000: made(0.9 * grid)})
    n, mean, first, first_row, middle, around, top = finding.rows[0]
    assert (n, first, middle, top) == (100, 5.0, 3.0, "row 1, column 1")
    assert mean == pytest.approx(grid.mean()) and first_row == pytest.approx(19 / 8)
    assert around == pytest.approx((47 * 2 + 5) / 48)
    assert finding.curves[1].y == pytest.approx((0.9 * grid).ravel().tolist())


def text(n, p=0.6, unigram=5.0, limit=2.0, length=120, count=40):
    t = np.arange(length) + 1.0
    losses = limit + (unigram - limit) / t**p + 0.0 * n
    return Nats(
        np.repeat(np.arange(count), length), np.tile(np.arange(length), count), np.tile(losses, count)
    )


def test_the_power_of_a_position_comes_back():
    t, loss, weights = binned(text(1))
    assert t[0] == 1 and weights.sum() == 120 * 40
    limit, p = fit_position(t, loss, weights, 5.0)
    assert limit == pytest.approx(2.0, rel=0.01) and p == pytest.approx(0.6, rel=0.02)
    finding = of_text("code", {100: text(1), 1000: text(1, limit=1.8)}, 5.0)
    assert [row[4] for row in finding.rows] == pytest.approx([2.0, 1.8], rel=0.01)
    assert "p from 0.599 to 0.599" in finding.answers[0]


def test_percentiles_follow_the_law_that_was_put_in():
    rng, measured = np.random.default_rng(0), {}
    hardness = rng.normal(size=2000)
    for n in (1e4, 3e4, 1e5, 3e5, 1e6):
        losses = (2.0 + (500 / n) ** 0.3) * np.exp(0.2 * hardness)
        measured[int(n)] = Nats(np.arange(2000), np.zeros(2000, int), losses)
    laws, answers, warnings = percentiles(measured)
    assert set(laws) == {f"{q}% of examples" for q in PERCENTILES} and not warnings
    for q in PERCENTILES:
        assert laws[f"{q}% of examples"]["alpha"] == pytest.approx(0.3, rel=0.02)
    scale = np.exp(np.percentile(0.2 * hardness, 50))
    assert laws["50% of examples"]["E"] == pytest.approx(2 * scale, rel=0.01)
    assert "percentiles: 1%" in answers[0]


def test_three_sizes_make_no_law():
    measured = {n: text(n) for n in (100, 1000, 10_000)}
    laws, _, warnings = percentiles(measured)
    assert not laws and "no law of the percentiles" in warnings[0]
