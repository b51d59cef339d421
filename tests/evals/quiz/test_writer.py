"""Protects: the model reads the opening and the control does not; texts are as long as the real one; the context is heeded."""

import pytest

from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.engine.text import TextEngine
from tony.errors import TonyError
from tony.evals.quiz import Passage
from tony.evals.quiz.items import LONGER
from tony.evals.quiz.writer import SPARE, EngineWriter

PASSAGES = [
    Passage(opening, "three four five six seven eight", opening) for opening in ("one two", "nine zero")
]


@pytest.fixture(scope="module")
def engine(random_model, vocabulary):
    return TextEngine(random_model(vocabulary.size, context=64), omni_tokenizer(vocabulary), 0, 1)


def test_only_the_control_does_not_read_the_opening(engine):
    writer, control = EngineWriter(engine, 1.0, 0.95), EngineWriter(engine, 1.5, reads_opening=False)
    assert writer.write(PASSAGES[0], 3, 5) != writer.write(PASSAGES[1], 3, 5)
    assert (
        control.write(PASSAGES[0], 3, 5)
        == control.write(PASSAGES[1], 3, 5)
        != control.write(PASSAGES[0], 3, 6)
    )
    length = len(engine.encode(PASSAGES[0].text))
    most = int(LONGER * length) + SPARE
    texts = control.write(PASSAGES[0], 8, 1)
    assert len(texts) == 8 and all(len(engine.encode(text)) <= 2 * most for text in texts)


def test_a_control_needs_no_id_that_begins_a_text(engine, random_model, vocabulary):
    bare = TextEngine(engine.model, engine.tokenizer, None, None)
    assert EngineWriter(bare, 1.5, reads_opening=False).write(PASSAGES[0], 1, 0)


def test_a_text_beyond_the_context_is_refused(engine):
    with pytest.raises(TonyError, match="--words"):
        EngineWriter(engine, 1.0).write(Passage("one", "two " * 80, "one"), 1, 0)
    with pytest.raises(TonyError, match="leaves 0"):
        EngineWriter(engine, 1.0).write(Passage("one", "two", "one " * 80), 1, 0)
