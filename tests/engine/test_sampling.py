"""Protects: the cuts are those of `transformers`' logits processors, and each id comes as often as they say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.engine.sampling import Decoding, draw, invert, penalise, probabilities
from tony.errors import TonyError

transformers = pytest.importorskip("transformers")


def theirs(logits, d):
    """Probabilities by the processors of `transformers`, in its order."""
    from transformers.generation import logits_process as lp

    logits = lp.TemperatureLogitsWarper(d.temperature)(None, logits.clone())
    if d.top_k:
        logits = lp.TopKLogitsWarper(d.top_k)(None, logits)
    if d.top_p < 1:
        logits = lp.TopPLogitsWarper(d.top_p)(None, logits)
    if d.min_p:
        logits = lp.MinPLogitsWarper(d.min_p)(None, logits)
    return logits.softmax(-1)


decodings = st.builds(
    Decoding,
    temperature=st.sampled_from([0.2, 0.8, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 5, 300, 5000]),
    top_p=st.sampled_from([0.05, 0.5, 0.95, 0.9999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3]),
)


@given(
    seed=st.integers(0, 1000),
    rows=st.lists(decodings, min_size=1, max_size=4),
    size=st.sampled_from([9, 700]),
)
@settings(max_examples=60)
def test_probabilities_are_those_of_transformers(seed, rows, size):
    logits = 3 * torch.randn(len(rows), size, generator=torch.Generator().manual_seed(seed))
    found = probabilities(
        logits,
        torch.tensor([d.temperature for d in rows]),
        *([getattr(d, name) for d in rows] for name in ("top_k", "top_p", "min_p")),
    )
    found = found / found.sum(-1, keepdim=True)
    for row, decoding in enumerate(rows):
        assert torch.allclose(found[row], theirs(logits[row : row + 1], decoding)[0], atol=1e-5)


def test_each_id_comes_as_often_as_its_probability():
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(3))
    n = 4000
    grid = (np.arange(n) + 0.5) / n
    counts = np.bincount(draw(logits.expand(n, -1), [Decoding()] * n, grid), minlength=50)
    assert np.abs(counts / n - logits[0].softmax(-1).numpy()).max() <= 1.01 / n


def test_the_ends_of_the_interval_have_probability():
    found = torch.tensor([[0.0, 0.2, 0.0, 0.3, 0.0]])
    for uniform, expected in ((0.0, 1), (1 - 2**-53, 3)):
        assert int(invert(found, torch.tensor([uniform], dtype=torch.float64))) == expected


def test_repetition_penalty_is_that_of_transformers():
    from transformers.generation import logits_process as lp

    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(4))
    prompt, written = [3, 5, 3], [7, 8, 7]
    expected = lp.RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([prompt + written]), logits.clone())
    found = penalise(logits[0], Decoding(repetition_penalty=1.3), prompt, written)
    assert torch.allclose(found, expected[0])


def test_presence_and_frequency_count_what_was_written():
    logits = torch.zeros(10)
    found = penalise(logits, Decoding(presence_penalty=0.5, frequency_penalty=0.25), [1], [7, 8, 7])
    assert found.tolist() == [0, 0, 0, 0, 0, 0, 0, -1.0, -0.75, 0]
    assert logits.eq(0).all(), "the logits given are left alone"


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 0}, {"top_k": -2}, {"min_p": 2}, {"repetition_penalty": 0}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(TonyError, match=next(iter(wrong))):
        Decoding(**wrong)
