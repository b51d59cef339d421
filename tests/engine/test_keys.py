"""Protects: compressed keys are exact at full size, are what the formula says below it, and meet queries like no key alone could."""

import copy
import math

import numpy as np
import pytest
import torch

from tony.engine.batcher import Batcher, Job
from tony.engine.keys import KeySketch
from tony.engine.sampling import GREEDY
from tony.engine.slots import Slots
from tony.errors import TonyError
from tony.model.cache import Cache
from tony.model.transformer import rotary_table

SIZE = 97
SHAPES = {"grouped": {"kv_heads": 2}, "banded": {"kv_heads": 2, "depth": 3, "window": 9, "banded": (0, 2)}}


@pytest.fixture(scope="module", params=SHAPES)
def model(request, random_model):
    return random_model(SIZE, **SHAPES[request.param])


def texts(count, length, seed=0):
    """Ids of which a few are far more likely than the rest, so that keys have a shape."""
    rng = np.random.default_rng(seed)
    return [np.minimum(rng.geometric(0.08, length), SIZE - 1).tolist() for _ in range(count)]


def logits(model, ids, sketch=None, chunk=16):
    """Of `ids`, chunk by chunk, through a store that keeps keys by `sketch`."""
    slots = Slots(model.config, 1, len(ids), torch.float32, "cpu", sketch)
    out = []
    with torch.inference_mode():
        for start in range(0, len(ids), chunk):
            out.append(
                model.readout(model.states(torch.tensor([ids[start : start + chunk]]), slots.view(0, 1)))
            )
    return torch.cat(out, dim=1)[0]


def test_as_many_numbers_as_before_change_nothing(model):
    sketch = KeySketch.fit(model, texts(4, 120), model.config.head_dim)
    ids = texts(1, 90, seed=1)[0]
    assert torch.allclose(logits(model, ids, sketch), logits(model, ids), atol=2e-4)


def test_a_step_is_attention_with_estimated_inner_products(random_model):
    """One layer by brute force: softmax(q P P'^T k / sqrt(E)) with the sketch's own matrices."""
    model = random_model(SIZE, kv_heads=2, depth=1)
    config, size = model.config, 5
    sketch = KeySketch.fit(model, texts(4, 120), size)
    ids = texts(1, 33, seed=2)[0]
    block = model.blocks[0]
    with torch.inference_mode():
        cos, sin = rotary_table(torch.arange(33), config.head_dim, config.rope_base)
        x = model.embedding(torch.tensor(ids))
        q, k, v = block.before(x, cos, sin).split((config.heads, config.kv_heads, config.kv_heads), dim=-2)
        heads = []
        for head in range(config.heads):
            own = head // (config.heads // config.kv_heads)
            # The sketch holds (k / E)^0.5 for torch's own k^-0.5; together that is E^-0.5.
            estimate = (q[-1, head] @ sketch.queries[0, own]) @ (k[:, own] @ sketch.keys[0, own]).T
            weights = (estimate / math.sqrt(size)).softmax(-1)
            heads.append(weights @ v[:, own])
        expected = model.readout(model.norm(block.after(x[-1], torch.cat(heads))))
    assert torch.allclose(logits(model, ids, sketch, chunk=32)[-1], expected, atol=1e-4)


class KeyMoments(Cache):
    """Sums keys' outer products (depth, K, E, E), as one who knows nothing of queries would."""

    def __init__(self, config, sums):
        super().__init__(config, 1)
        self._sums = sums

    def write(self, layer, keys, values):
        self._sums[layer] += keys[0].transpose(1, 2) @ keys[0]
        return super().write(layer, keys, values)


def principal_axes(model, documents, size):
    """Keys and queries both cut to the leading `size` principal axes of the keys."""
    config = model.config
    sums = torch.zeros(config.depth, config.kv_heads, config.head_dim, config.head_dim)
    with torch.inference_mode():
        for ids in documents:
            model.states(torch.tensor([ids]), KeyMoments(config, sums))
    axes = torch.linalg.eigh(sums).eigenvectors.flip(-1)[..., :size].contiguous()
    return KeySketch(axes, axes * math.sqrt(size / config.head_dim))


def test_both_sources_beat_one_alone_and_chance(model):
    """Nearer to the exact logits than keys cut to their own principal axes, and than an oblivious projection."""
    size, learned = model.config.head_dim // 2, texts(6, 200)
    # Queries that look along a few axes only, as those of trained heads do; random weights have none.
    model = copy.deepcopy(model)
    for block in model.blocks:
        block.attention.q_norm.weight.mul_(torch.linspace(3, 0.05, model.config.head_dim))
    sketches = {
        "both": KeySketch.fit(model, learned, size),
        "keys alone": principal_axes(model, learned, size),
        "oblivious": KeySketch.fit(model, learned, size, method="oblivious"),
    }
    off = {
        name: np.mean(
            [float((logits(model, t, s) - logits(model, t)).square().mean()) for t in texts(5, 100, seed=3)]
        )
        for name, s in sketches.items()
    }
    assert off["both"] < 0.85 * off["keys alone"] and off["both"] < 0.5 * off["oblivious"], off


def test_fewer_bytes_and_prefixes_that_are_found_again(model):
    config = model.config
    sketch = KeySketch.fit(model, texts(4, 120), 3)
    plain, small = Batcher(model, rows=2), Batcher(model, rows=2, keys=sketch)
    saved = config.depth * config.kv_heads * (config.head_dim - 3) * 4
    assert small._slots.bytes_per_slot == plain._slots.bytes_per_slot - saved
    job = Job(ids=texts(1, 100, seed=4)[0], most=12, decoding=GREEDY)

    def written(batcher):
        batcher.submit(job)
        events = []
        while not batcher.is_idle:
            events += batcher.step()
        return [e.id for e in events]

    first = written(small)
    assert small.counts.reused == 0 and len(first) == 12
    assert written(small) == first
    assert small.counts.reused == 99, "the last id is always computed"


def test_chunks_do_not_matter(model):
    sketch = KeySketch.fit(model, texts(4, 120), 5)
    ids = texts(1, 70, seed=5)[0]
    assert torch.allclose(logits(model, ids, sketch, 70), logits(model, ids, sketch, 7), atol=1e-4)


def test_kept_on_disk(model, tmp_path):
    sketch = KeySketch.fit(model, texts(2, 100), 4)
    sketch.save(tmp_path / "keys.safetensors")
    loaded = KeySketch.load(tmp_path / "keys.safetensors")
    assert torch.equal(loaded.keys, sketch.keys) and torch.equal(loaded.queries, sketch.queries)


def test_wrong_sketches_are_refused(model, random_model, tmp_path):
    with pytest.raises(TonyError, match="give 1 to 12"):
        KeySketch.fit(model, texts(1, 50), 13)
    with pytest.raises(TonyError, match="give some thousands"):
        KeySketch.fit(model, texts(1, 5), 4)
    with pytest.raises(TonyError, match="fit it anew"):
        Batcher(random_model(SIZE), keys=KeySketch.fit(model, texts(2, 50), 4))
    (tmp_path / "other").write_bytes(b"no tensors")
    for name in ("other", "missing"):
        with pytest.raises(TonyError, match="no sketch of keys"):
            KeySketch.load(tmp_path / name)
