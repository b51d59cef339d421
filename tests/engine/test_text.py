"""Protects: completions are what the network's own probabilities say, each with its own random stream."""

import numpy as np
import pytest
import torch

from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.engine.text import TextEngine
from tony.errors import TonyError


@pytest.fixture(scope="module")
def engine(random_model, vocabulary):
    return TextEngine(random_model(vocabulary.size, kv_heads=2), omni_tokenizer(vocabulary), 0, 1)


PROMPTS = ["zero one", "three", "one two three four five six seven"]


def test_greedy_completion_is_the_argmax_with_its_log_probability(engine):
    for prompt, (found,) in zip(PROMPTS, engine.complete(PROMPTS, max_tokens=20, temperature=0), strict=True):
        stream = engine.encode(prompt)
        for index, logprob in zip(found.tokens, found.logprobs, strict=True):
            logits = engine.model(torch.tensor([stream]))[0, -1].double()
            assert index == int(logits.argmax())
            assert logprob == pytest.approx(float(logits.log_softmax(-1)[index]), abs=1e-4)
            stream.append(index)
        assert found.text == engine.decode(found.tokens)
        assert found.mean_logprob == pytest.approx(np.mean(found.logprobs))


def test_samples_depend_on_their_own_stream_only(engine):
    settings = {"max_tokens": 12, "temperature": 1.0, "top_p": 0.9}
    together = engine.complete(PROMPTS, n=4, seed=7, **settings)
    alone = [engine.complete([p], n=2, seed=7 + i, **settings)[0] for i, p in enumerate(PROMPTS)]
    assert [[c.tokens for c in samples[:2]] for samples in together] == [
        [c.tokens for c in samples] for samples in alone
    ]
    assert len({tuple(c.tokens) for c in together[0]}) == 4


def test_stop_strings_cut_the_text(engine):
    (plain,) = engine.complete(["three"], max_tokens=30, temperature=0)[0]
    stop = plain.text[5:8]
    (cut,) = engine.complete(["three"], max_tokens=30, temperature=0, stop=[stop])[0]
    assert cut.finish == "stop" and cut.text == plain.text[: plain.text.index(stop)]
    assert plain.tokens[: len(cut.tokens)] == cut.tokens


def test_a_prompt_beyond_the_context_is_refused(engine):
    with pytest.raises(TonyError, match="context is 256"):
        engine.complete(["one two " * 200])
    with pytest.raises(TonyError, match=r"top_p=1\.5"):
        engine.complete(["one"], top_p=1.5)
