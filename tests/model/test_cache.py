"""Protects: a cached step equals the full forward pass, whatever the rows' lengths and however rows come and go."""

import pytest
import torch

from tony.model import Cache

V = 61
SHAPES = {
    "plain": {"qk_norm": False},
    "qk_norm": {"qk_norm": True},
    "grouped": {"qk_norm": True, "kv_heads": 2},
    "banded": {"qk_norm": True, "kv_heads": 2, "window": 5, "banded": (0,)},
    "tied": {"qk_norm": False, "tied": True},
}
TOLERANCE = 1e-5  # relative to logits of size 1


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def model(request, random_model):
    return random_model(V, **request.param)


def ids_of(*shape, seed=0):
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def close(found, expected):
    scale = float(expected.std())
    assert scale > 0.3
    assert float((found - expected).abs().max()) <= TOLERANCE * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("pieces", [[1] * 20, [7, 1, 1, 1, 10], [80, 1, 1], [20]])
def test_pieces_equal_the_whole(model, pieces):
    ids = ids_of(3, sum(pieces))
    cache = Cache(model.config, 3)
    steps = [model(piece, cache=cache) for piece in ids.split(pieces, 1)]
    close(torch.cat(steps, 1), model(ids))


def ragged(model, lengths, then, seed=0):
    """A cache after prompts of `lengths` and `then` single ids, the whole rows, and the logits of the last step."""
    rows = [ids_of(n + then, seed=seed + i) for i, n in enumerate(lengths)]
    cache = Cache(model.config, len(lengths))
    counts = torch.tensor(lengths)
    prompts = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for i, (row, n) in enumerate(zip(rows, lengths, strict=True)):
        prompts[i, :n] = row[:n]
    states = model.states(prompts, cache, counts)
    logits = model.readout(states[torch.arange(len(lengths)), counts - 1])
    for step in range(then):
        new = torch.stack([row[n + step] for row, n in zip(rows, lengths, strict=True)])
        logits = model(new[:, None], cache=cache)[:, -1]
    return cache, rows, logits


@pytest.mark.parametrize("lengths", [[4, 9, 1], [63, 64, 65], [12, 12], [3, 70]])
@pytest.mark.parametrize("then", [0, 1, 6])
def test_ragged_prompts_equal_prompts_alone(model, lengths, then):
    _, rows, logits = ragged(model, lengths, then)
    for row, found in zip(rows, logits, strict=True):
        close(found, model(row[None])[0, -1])


@pytest.mark.parametrize("kept", [[2, 0], [1], [0, 0, 2, 1], [2, 2]])
def test_rows_can_be_dropped_reordered_and_doubled(model, kept):
    cache, rows, _ = ragged(model, [4, 30, 11], 3)
    cache.select(torch.tensor(kept))
    tails = ids_of(len(kept), 5, seed=9)
    for step in range(5):
        logits = model(tails[:, step : step + 1], cache=cache)[:, -1]
    for i, r in enumerate(kept):
        close(logits[i], model(torch.cat([rows[r], tails[i]])[None])[0, -1])
