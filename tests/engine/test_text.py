"""Protects: completions are what the network's own probabilities say, each with its own random stream."""

import numpy as np
import pytest
import torch

from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.engine.sampling import Decoding
from tony.engine.text import TextEngine
from tony.engine.writing import Writing
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


@pytest.mark.parametrize("stop", [(), ("ee t", "zq"), ("\u20ac\u20ac",), ("\u00e9 \u4e2d",), ("x",)])
def test_written_pieces_are_whole_characters_and_add_up(engine, stop):
    """Every character of several bytes is divided into ids of one byte each."""
    text = "three t\u00e9 \u4e2d \U0001f600 \u20ac\u20ac zero"
    ids = engine.encode(text)
    assert len(ids) > 20
    writing = Writing(engine.tokenizer, stop)
    pieces = [writing.add(index) for index in ids]
    pieces.append(writing.flush())
    places = [text.index(s) for s in stop if s in text]
    expected = text[: min(places)] if places else text
    assert "".join(pieces) == expected == writing.text
    assert writing.is_stopped == bool(places)
    assert all("\ufffd" not in piece for piece in pieces)


def test_what_may_become_a_stop_string_is_held_back(engine):
    writing = Writing(engine.tokenizer, ["three four"])
    shown = "".join(writing.add(index) for index in engine.encode("two three f"))
    assert shown == "two "
    assert "".join(writing.add(index) for index in engine.encode("ive")) == "three five"
    half = engine.encode("\u20ac")[:-1]
    assert "".join(writing.add(index) for index in half) == "" and writing.flush() == "\ufffd"


def test_streams_read_in_turn_are_what_complete_returns(engine):
    warm = Decoding(temperature=0.8)
    streams = [engine.stream(p, max_tokens=15, decoding=warm, seed=3 + i) for i, p in enumerate(PROMPTS)]
    pieces = [[] for _ in PROMPTS]
    while any(not (own and own[-1].finish) for own in pieces):
        for stream, own in zip(streams, pieces, strict=True):
            own.extend(piece for piece in [next(stream, None)] if piece is not None)
    whole = engine.complete(PROMPTS, max_tokens=15, temperature=0.8, seed=3)
    assert ["".join(p.delta for p in own) for own in pieces] == [c.text for (c,) in whole]


def test_a_stream_that_is_closed_frees_its_row(engine):
    stream = engine.stream("three", max_tokens=200)
    next(stream)
    assert not engine.batcher.is_idle
    stream.close()
    assert engine.batcher.is_idle


def test_beam_search_is_at_least_as_likely_as_greedy(engine):
    for prompt in PROMPTS:
        greedy = engine.complete([prompt], max_tokens=6, temperature=0)[0][0]
        best = engine.beam(prompt, max_tokens=6, width=8, length_penalty=0.0)
        assert sum(best.logprobs) >= sum(greedy.logprobs) - 1e-4
