"""Protects: a text that is divided to fit keeps every id, and what the loss counts of it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tony.data.fit import fit
from tony.media import Document, Text


def body(vocabulary, tokens):
    """(id, counted) of the text ids of a piece."""
    text = vocabulary.ranges["text"]
    return [(i, bool(c)) for i, c in zip(tokens.ids, tokens.counted, strict=True) if i in text]


@given(st.text("ab c\n", min_size=1, max_size=300), st.integers(0, 300), st.integers(40, 120))
def test_pieces_put_together_are_the_whole(vocabulary, text, length, context):
    part = Text(text, given=min(length, len(text)))
    whole = vocabulary.encode(Document([part]))
    pieces, is_short = fit(Document([part]), vocabulary, context)
    assert not is_short and all(len(piece) <= context for piece in pieces)
    assert [pair for piece in pieces for pair in body(vocabulary, piece)] == body(vocabulary, whole)


def test_the_loss_does_not_count_a_prompt(vocabulary):
    prompt, answer = "one two", " three"
    tokens = vocabulary.encode(Document([Text(prompt + answer, given=len(prompt))]))
    alone = [vocabulary.encode_part(Text(piece)) for piece in (prompt, answer)]
    assert np.array_equal(tokens.ids[2:-2], np.concatenate(alone))
    assert tokens.counted.tolist() == [False] * (2 + len(alone[0])) + [True] * (len(alone[1]) + 1) + [False]
