"""Protects: whatever is sampled is a reply of exactly the wanted parts, and decodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.engine import Grammar
from tony.errors import TonyError
from tony.runs.recipe import SamplingRecipe

WRITABLE = ("text", "image", "audio")
LIMITS = SamplingRecipe(max_text=5, max_seconds=0.1)  # 5 ids of text, 5 of sound
wants = st.lists(st.sampled_from(WRITABLE), min_size=1, max_size=4).map(tuple)


@pytest.fixture(scope="module", params=["vocabulary", "placed_vocabulary"])
def vocabulary(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def grammar(vocabulary):
    return Grammar(vocabulary, LIMITS)


@given(want=wants, seed=st.integers(0, 2**32))
@settings(max_examples=100)
def test_any_allowed_walk_is_the_reply_that_was_asked_for(grammar, vocabulary, want, seed):
    """A walk that takes any allowed id ends, within `length`, in a stream that decodes to exactly those parts."""
    rng = np.random.default_rng(seed)
    state, ids = grammar.start(want), []
    while not state.is_done:
        ids.append(int(rng.choice(np.flatnonzero(grammar.masks[grammar.key(state)]))))
        state = grammar.advance(state, ids[-1])
    assert len(ids) <= grammar.length(want)
    reply = vocabulary.decode([vocabulary.control("start"), *ids])
    assert [p.modality for p in reply] == list(want)
    assert all(len(part.samples) for part in reply if part.modality == "audio")


@given(want=wants)
def test_the_longest_reply_has_length_ids(grammar, want):
    """End marks only where they are forced."""
    state, count = grammar.start(want), 0
    while not state.is_done:
        allowed = np.flatnonzero(grammar.masks[grammar.key(state)])
        state = grammar.advance(state, int(allowed[-1]))  # bodies lie above the control tokens
        count += 1
    assert count == grammar.length(want)


def test_what_each_state_allows(grammar, vocabulary):
    v = vocabulary

    def allowed(state):
        return set(np.flatnonzero(grammar.masks[grammar.key(state)]).tolist())

    def body(name):
        return set(range(v.ranges[name].start, v.ranges[name].end))

    state = grammar.start(("text", "image"))
    assert allowed(state) == {v.begin("text")}
    state = grammar.advance(state, v.begin("text"))
    assert allowed(state) == body("text"), "no empty text"
    for _ in range(4):
        state = grammar.advance(state, v.ranges["text"].start)
        assert allowed(state) == body("text") | {v.end("text")}
    state = grammar.advance(state, v.ranges["text"].start)
    assert allowed(state) == {v.end("text")}, "forced after max_text ids"
    state = grammar.advance(state, v.end("text"))
    assert allowed(state) == {v.begin("image")}
    state = grammar.advance(state, v.begin("image"))
    for place in range(16):
        own = {v.ranges["image"].start + index for index in v.image.allowed(place)}
        assert allowed(state) == own and len(own) == 5
        state = grammar.advance(state, min(own))
    assert allowed(state) == {v.end("image")}
    state = grammar.advance(state, v.end("image"))
    assert state.is_done and allowed(state) == {v.control("stop")}


def test_a_forbidden_id_is_refused(grammar, vocabulary):
    with pytest.raises(TonyError, match="may not follow"):
        grammar.advance(grammar.start(("text",)), vocabulary.begin("image"))


@pytest.mark.parametrize("want", [(), ("video",), ("smell",), ("text", "video")])
def test_what_cannot_be_written_is_refused(grammar, want):
    with pytest.raises(TonyError, match="text, image, audio"):
        grammar.start(want)
    with pytest.raises(TonyError, match="text, image, audio"):
        grammar.length(want)


def test_a_model_without_sound_says_what_it_can_write(silent_vocabulary):
    with pytest.raises(TonyError, match=r"ask for text, image$"):
        Grammar(silent_vocabulary, LIMITS).start(("audio",))
