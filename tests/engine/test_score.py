"""Protects: scores are those of one plain forward pass per text, whatever is scored together, and nothing is computed twice."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.engine.exchange.huggingface import to_huggingface
from tony.engine.score import Scorer, split_ids
from tony.errors import TonyError

SIZE = 97
SHAPES = {
    "grouped": {"kv_heads": 2},
    "banded": {"kv_heads": 2, "depth": 3, "window": 5, "banded": (0, 2)},
    "tied, no qk-norm": {"tied": True, "qk_norm": False},
}


@pytest.fixture(scope="module", params=SHAPES)
def model(request, random_model):
    return random_model(SIZE, **SHAPES[request.param])


def plain(model, context, continuation):
    logits = model(torch.tensor([[*context, *continuation]]))[0, len(context) - 1 : -1].double()
    target = torch.tensor(continuation)
    return logits.log_softmax(-1).gather(1, target[:, None])[:, 0].tolist(), logits.argmax(
        -1
    ).tolist() == list(continuation)


def nodes(texts):
    """Ids of the tree that texts make."""
    return len({tuple(text[:end]) for text in texts for end in range(1, len(text) + 1)})


def check(model, scorer, pairs, prefix=()):
    for (context, continuation), score in zip(pairs, scorer.score(pairs, prefix), strict=True):
        expected, greedy = plain(model, context, continuation)
        assert score.logprobs == pytest.approx(expected, abs=1e-4)
        assert score.greedy == greedy and score.total == pytest.approx(sum(expected), abs=1e-3)


few = st.lists(st.integers(3, 5), min_size=1, max_size=12)  # three ids: many shared beginnings


@given(pairs=st.lists(st.tuples(few, few), min_size=1, max_size=12), bundle=st.sampled_from([1, 7, 30, 1000]))
@settings(max_examples=40)
def test_scores_are_those_of_a_plain_pass_and_no_id_is_computed_twice(random_model, pairs, bundle):
    model = random_model(SIZE, kv_heads=2, window=5, banded=(1,))
    scorer = Scorer(model, bundle)
    check(model, scorer, pairs)
    assert scorer.computed == nodes([[*context, *continuation[:-1]] for context, continuation in pairs])


def ids_of(length, seed=0):
    return np.random.default_rng([length, seed]).integers(3, SIZE, length).tolist()


def questions(prefix, count=20):
    out = []
    for q in range(count):
        context = prefix + ids_of(5 + q % 4, q)
        out += [(context, ids_of(1 + c % 3, 100 * q + c)) for c in range(4)]
    return out


def test_a_shared_prefix_and_each_question_are_computed_once(model):
    pairs = questions(ids_of(60))
    for bundle in (1000, 50):
        scorer = Scorer(model, bundle)
        check(model, scorer, pairs)
        assert scorer.computed == nodes([[*context, *continuation[:-1]] for context, continuation in pairs])


def test_with_a_prefix_results_do_not_depend_on_earlier_calls(model):
    """Bit for bit: a killed run that goes on must write what an uninterrupted one writes."""
    prefix = ids_of(60)
    pairs = questions(prefix)
    one = Scorer(model, 40)
    first, second = one.score(pairs[:40], prefix), one.score(pairs[40:], prefix)
    assert Scorer(model, 40).score(pairs[40:], prefix) == second
    assert one.score(pairs[:40], prefix) == first
    check(model, Scorer(model), pairs, prefix)
    other = Scorer(model)
    check(model, other, questions(ids_of(60, 1)), ids_of(60, 1))
    check(model, other, pairs, prefix)


def test_order_and_repetition_change_nothing(model):
    pairs = questions(ids_of(10), 5)
    expected = [s.total for s in Scorer(model).score(pairs)]
    shuffled = np.random.default_rng(0).permutation(len(pairs)).tolist() * 2
    found = Scorer(model, 30).score([pairs[i] for i in shuffled])
    assert [s.total for s in found] == pytest.approx([expected[i] for i in shuffled], abs=1e-4)


def test_whole_documents_from_their_first_id(model):
    ids = ids_of(256)
    check(model, Scorer(model, 100), [(ids[:1], ids[1:])])
    check(model, Scorer(model, 100), [(ids[:1], [*ids[1:], 5])] * 2)


def test_log_likelihoods_are_those_of_transformers(random_model):
    transformers = pytest.importorskip("transformers")
    model = random_model(SIZE, qk_norm=False, kv_heads=2)
    config, tensors = to_huggingface(model)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
    theirs.load_state_dict(tensors)
    pairs = questions(ids_of(30), 8)
    for (context, continuation), score in zip(pairs, Scorer(model).score(pairs), strict=True):
        with torch.no_grad():
            logits = theirs(torch.tensor([[*context, *continuation]])).logits[0, len(context) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None])[:, 0]
        assert score.logprobs == pytest.approx(expected.tolist(), abs=1e-3)


def test_what_has_no_likelihood_is_refused(model):
    scorer = Scorer(model)
    for pair, words in (
        (([1], []), "empty continuation"),
        (([], [1]), "empty context"),
        ((ids_of(200), ids_of(58)), "have 258 ids.*context is 256"),
    ):
        with pytest.raises(TonyError, match=words):
            scorer.score([([1], [2]), pair])
    assert scorer.score([]) == []


def test_texts_are_divided_as_they_are_when_written_together():
    table = {"ab": 1, "a": 2, "b": 3, " c": 4, " ": 5, "c": 6}

    def encode(text):
        """The longest known piece first."""
        out = []
        while text:
            piece = max((p for p in table if text.startswith(p)), key=len)
            out.append(table[piece])
            text = text[len(piece) :]
        return out

    assert split_ids(encode, "b", " c", None) == ([3], [4])
    assert split_ids(encode, "b ", "c", None) == ([3], [4]), "a space goes with what it stands before"
    assert split_ids(encode, "ba", "b", None) == ([3], [1]), "a token across the border is the continuation's"
    assert split_ids(encode, "", "b", 9) == ([9], [3])
    with pytest.raises(TonyError, match="no ids"):
        split_ids(encode, "b", "", 9)
    with pytest.raises(TonyError, match="no id that begins"):
        split_ids(encode, "", "b", None)
