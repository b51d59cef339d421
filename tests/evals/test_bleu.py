"""Protects: BLEU of a corpus and of a sentence, against sacrebleu's own front door and against the formula by hand."""

import math

import pytest

from tony.evals.bleu import corpus_bleu, sentence_bleu

sacrebleu = pytest.importorskip("sacrebleu")


def test_of_a_corpus_with_several_references():
    answers = ["the cat sat on the mat", "a dog ran in the park today", "birds fly south in winter"]
    right = [
        ["the cat sat on a mat"],
        ["a dog ran in the park", "the dog ran in a park"],
        ["birds fly north"],
    ]
    references = [[r[0] for r in right], [r[-1] for r in right]]
    value, low, high = corpus_bleu(answers, right)
    assert value == pytest.approx(sacrebleu.corpus_bleu(answers, references).score)
    assert low < high


def test_of_a_sentence_by_hand():
    # Precisions of 1 to 4 tokens 3/5, 2/4, 1/3, and 1/(2*2) by exponential smoothing; no brevity penalty.
    expected = math.exp(sum(map(math.log, (3 / 5, 2 / 4, 1 / 3, 1 / 4))) / 4)
    assert sentence_bleu("abcde", "abcxy") == pytest.approx(expected)
    assert sentence_bleu(["x", "a  b"], ["x", "a b"]) == pytest.approx(1), "a token stays one, spaces and all"
