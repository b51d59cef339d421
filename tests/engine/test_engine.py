"""Protects: what is sampled is what the network's probabilities and the settings say, alone or in a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tony.engine import Engine, Grammar, Request
from tony.errors import TonyError
from tony.runs.recipe import Sampling, SamplingRecipe

LIMITS = SamplingRecipe(max_text=6, max_seconds=0.2)
WARM = {name: Sampling() for name in ("text", "image", "audio")}
COLD = {name: Sampling(temperature=0.0) for name in ("text", "image", "audio")}


@pytest.fixture(scope="module")
def engine(random_model, vocabulary):
    return Engine(random_model(vocabulary.size, kv_heads=2), Grammar(vocabulary, LIMITS), torch.float32)


def prompts(engine, lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, engine.grammar.vocabulary.size, n) for n in lengths]


def written(engine, requests, sampling):
    out = [[] for _ in requests]
    for step in engine.generate(requests, sampling):
        for row, index in step:
            out[row].append(index)
    return out


WANTS = [("text",), ("image", "text"), ("audio",), ("text", "audio", "image"), ("image", "image")]


def test_batched_equals_alone(engine):
    """Prompts and replies of different lengths; rows leave the batch at different times."""
    requests = [
        Request(ids, WANTS[i % len(WANTS)], seed=100 + i)
        for i, ids in enumerate(prompts(engine, [3, 40, 17, 5, 70, 9, 12, 1]))
    ]
    together = written(engine, requests, WARM)
    assert together == [written(engine, [request], WARM)[0] for request in requests]
    assert together == written(engine, requests, WARM), "the same seeds, the same replies"
    again = [Request(r.ids, r.want, r.seed + 1) for r in requests]
    assert sum(a != b for a, b in zip(together, written(engine, again, WARM), strict=True)) >= 6


def test_greedy_equals_argmax_of_the_full_forward_pass(engine):
    for want, ids in zip(WANTS, prompts(engine, [5, 30, 8, 66, 2]), strict=True):
        (found,) = written(engine, [Request(ids, want)], COLD)
        state, stream = engine.grammar.start(want), list(ids)
        for index in found:
            logits = engine.model(torch.tensor(stream)[None])[0, -1].numpy()
            allowed = engine.grammar.masks[engine.grammar.key(state)]
            assert index == np.where(allowed, logits, -np.inf).argmax()
            state = engine.grammar.advance(state, index)
            stream.append(index)
        assert state.is_done


def naive(logits, allowed, temperature, top_p, top_k):
    """Probabilities by the definitions, one id at a time: mask, temperature, top_k, softmax, top_p, renormalise."""
    values = {i: float(logits[i]) / temperature for i in np.flatnonzero(allowed)}
    if top_k:
        kth = sorted(values.values(), reverse=True)[min(top_k, len(values)) - 1]
        values = {i: v for i, v in values.items() if v >= kth}
    top = max(values.values())
    weights = {i: np.exp(v - top) for i, v in values.items()}
    total = sum(weights.values())
    kept, mass = {}, 0.0
    for i in sorted(weights, key=lambda i: -weights[i]):
        if mass >= top_p:
            break
        kept[i] = weights[i] / total
        mass += kept[i]
    probabilities = np.zeros(len(logits))
    for i, p in kept.items():
        probabilities[i] = p / sum(kept.values())
    return probabilities


class Fixed:
    """A stream of uniform numbers that are known."""

    def __init__(self, value):
        self.value = value

    def random(self):
        return self.value


def draw(engine, logits, state, sampling, uniforms):
    rows = torch.tensor(np.asarray(logits), dtype=torch.float32).expand(len(uniforms), -1)
    chosen = engine._choose(rows, [state] * len(uniforms), [Fixed(u) for u in uniforms], {"text": sampling})
    return chosen.numpy()


@given(
    seed=st.integers(0, 1000),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    top_k=st.sampled_from([0, 1, 3, 20, 10_000]),
)
@settings(max_examples=40)
def test_probabilities_equal_a_naive_implementation(engine, seed, temperature, top_p, top_k):
    """On a fine grid of uniform numbers each id is drawn as often as its probability says."""
    grammar = engine.grammar
    state = grammar.advance(grammar.start(("text",)), grammar.vocabulary.begin("text"))
    logits = 2 * np.random.default_rng(seed).standard_normal(grammar.vocabulary.size)
    expected = naive(logits, grammar.masks[grammar.key(state)], temperature, top_p, top_k)
    n = 2000
    grid = (np.arange(n) + 0.5) / n
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    counts = np.bincount(draw(engine, logits, state, sampling, grid), minlength=len(logits))
    assert np.abs(counts / n - expected).max() <= 1.01 / n + 1e-5
    assert (counts[expected == 0] == 0).all()


@pytest.mark.parametrize("uniform", [0.0, 1e-300, 1 - 2**-53])
def test_the_ends_of_the_interval_are_allowed_ids(engine, uniform):
    """Forbidden ids have probability zero also where rounding is at its worst."""
    grammar = engine.grammar
    for want in ("text", "image", "audio"):
        state = grammar.advance(grammar.start((want,)), grammar.vocabulary.begin(want))
        allowed = grammar.masks[grammar.key(state)]
        for seed in range(20):
            logits = 30 * np.random.default_rng(seed).standard_normal((1, grammar.vocabulary.size)).astype(
                np.float32
            )
            index = int(engine._choose(torch.from_numpy(logits), [state], [Fixed(uniform)], WARM)[0])
            assert allowed[index]


def test_frequencies_match_softmax(engine):
    """Chi-square over 6,000 draws with fixed seeds; a right sampler fails one seed in a thousand."""
    grammar = engine.grammar
    state = grammar.advance(grammar.start(("image",)), grammar.vocabulary.begin("image"))
    logits = torch.from_numpy(np.random.default_rng(5).standard_normal(grammar.vocabulary.size)).float()
    n, r = 6000, grammar.vocabulary.ranges["image"]
    streams = [np.random.default_rng([seed, 21]) for seed in range(n)]
    drawn = engine._choose(logits.expand(n, -1), [state] * n, streams, WARM).numpy()
    expected = logits[r.start : r.end].softmax(0).double().numpy()
    counts = np.bincount(drawn - r.start, minlength=r.size)
    assert chisquare(counts, n * expected / expected.sum()).pvalue > 1e-3


def test_temperature_by_modality(engine):
    """A greedy modality and a warm one in the same batch keep their own settings."""
    mixed = {**WARM, "text": Sampling(temperature=0.0)}
    ids = prompts(engine, [10])[0]
    found = written(
        engine,
        [Request(ids, ("text",), s) for s in range(4)] + [Request(ids, ("audio",), s) for s in range(4)],
        mixed,
    )
    assert len({tuple(f) for f in found[:4]}) == 1 and len({tuple(f) for f in found[4:]}) == 4
    assert found[0] == written(engine, [Request(ids, ("text",))], COLD)[0]


def test_a_request_beyond_the_context_is_refused(engine):
    fits = engine.model.config.context - engine.grammar.length(("image",))
    long = prompts(engine, [fits + 1])[0]
    with pytest.raises(TonyError, match=r"needs 257 ids.*context is 256"):
        written(engine, [Request(long, ("image",))], COLD)
    assert len(written(engine, [Request(long[:-1], ("image",))], COLD)[0]) == 18


def test_no_request_no_step(engine):
    assert list(engine.generate([], COLD)) == []


def test_score_is_the_log_softmax_of_the_full_forward_pass(engine):
    ids = prompts(engine, [25])[0]
    found = engine.score(ids)
    logits = engine.model(torch.from_numpy(ids)[None])[0].double()
    expected = [float(logits[i - 1].log_softmax(-1)[ids[i]]) for i in range(1, 25)]
    assert found[0] == 0 and found[1:] == pytest.approx(expected, abs=1e-4)


def test_bfloat16_is_close_and_leaves_the_model_alone(engine, random_model, vocabulary):
    for shape in ({}, {"tied": True, "qk_norm": False}):
        model = random_model(vocabulary.size, **shape)
        rough = Engine(model, engine.grammar, torch.bfloat16)
        exact = Engine(model, engine.grammar, torch.float32)
        assert all(p.dtype == torch.float32 for p in model.parameters())
        ids = prompts(engine, [40])[0]
        assert np.abs(rough.score(ids) - exact.score(ids)).mean() < 0.05
        assert len(written(rough, [Request(ids, ("text", "image"))], WARM)[0]) > 18
