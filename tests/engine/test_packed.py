"""Protects: weights laid out anew give the same logits; those of fewer bits lose no more than is stated."""

import pytest
import torch

from tony.engine.batcher import Batcher, Job
from tony.engine.packed import packed
from tony.engine.sampling import GREEDY
from tony.errors import TonyError
from tony.model import Cache

SIZE = 211
# Root mean square of the differences of logits, in units of their standard deviation. A bfloat16 number is off by 2^-8 at
# most, an int8 weight by 1/254 of its row's largest; both add up over two layers.
LOSS = {"float32": 1e-6, "bfloat16": 0.02, "int8": 0.02}


@pytest.fixture(scope="module", params=[{"tied": True, "qk_norm": False}, {"kv_heads": 2}])
def model(request, random_model):
    return random_model(SIZE, **request.param)


@pytest.mark.parametrize("precision", LOSS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 1), (16, 1), (5, 20)])
def test_logits_are_those_of_the_plain_model(model, precision, shape):
    ids = torch.randint(0, SIZE, shape, generator=torch.Generator().manual_seed(0))
    before = {name: p.clone() for name, p in model.named_parameters()}
    expected = model(ids, Cache(model.config, shape[0]))
    found = packed(model, precision)(ids, Cache(model.config, shape[0])).float()
    assert float((found - expected).pow(2).mean().sqrt() / expected.std()) < LOSS[precision]
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters()), "left alone"


@pytest.mark.parametrize("precision", LOSS)
def test_compiled_steps_are_those_of_the_plain_model(model, precision):
    """One id after the other, past the step at which the number of threads is looked at again."""
    fast = packed(model, precision, compiled=True)
    ids = torch.randint(0, SIZE, (1, 70), generator=torch.Generator().manual_seed(2))
    expected = model(ids, Cache(model.config, 1))
    cache, found = Cache(model.config, 1), []
    with torch.inference_mode():
        found.append(fast(ids[:, :3], cache))
        found += [fast(ids[:, i : i + 1], cache) for i in range(3, ids.shape[1])]
    found = torch.cat(found, dim=1)
    assert float((found - expected).pow(2).mean().sqrt() / expected.std()) < LOSS[precision]


def test_compiled_steps_serve_a_batch_that_thins_out_to_one(model):
    def write(engine_model):
        batcher = Batcher(engine_model, rows=4, room=64)
        for n in (5, 9, 30):
            batcher.submit(Job(ids=[1, 2, 3, n], most=n, decoding=GREEDY))
        events = []
        while not batcher.is_idle:
            events += batcher.step()
        return [(e.job, e.id) for e in events]

    assert write(packed(model, compiled=True)) == write(model)


def test_without_a_compiler_compiled_steps_are_refused(model, monkeypatch):
    monkeypatch.setattr("tony.engine.packed.has_compiler", lambda: False)
    with pytest.raises(TonyError, match="install g\\+\\+"):
        packed(model, compiled=True)


@pytest.mark.parametrize("precision", LOSS)
def test_deterministic_batches_stay_so(model, precision):
    fast = packed(model, precision)

    def run(*jobs):
        batcher = Batcher(fast, rows=16, chunk=32, deterministic=True, room=128)
        numbers = [batcher.submit(job) for job in jobs]
        out = {number: [] for number in numbers}
        while not batcher.is_idle:
            for event in batcher.step():
                out[event.job].append((event.id, event.logprob))
        return [out[number] for number in numbers]

    ids = torch.randint(0, SIZE, (9, 40), generator=torch.Generator().manual_seed(1)).tolist()
    jobs = [Job(ids=row[: 4 * (i + 1)], most=8, decoding=GREEDY) for i, row in enumerate(ids)]
    assert run(*jobs) == [run(job)[0] for job in jobs]


def test_an_unknown_precision_is_refused(model):
    with pytest.raises(TonyError, match="int4"):
        packed(model, "int4")
