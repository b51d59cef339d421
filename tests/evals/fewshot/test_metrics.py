"""Protects: metrics against values worked out by hand, or by another implementation."""

import math

import pytest

from tony.evals.fewshot.cell import normalised
from tony.evals.fewshot.metrics import bleu, exact_match, f1
from tony.evals.task import Result


def test_exact_match_forgives_white_space_only():
    assert exact_match(" 143\n", [" 143"]) == 1
    assert exact_match("143.", [" 143"]) == 0 and exact_match("Casino", ["casino"]) == 0
    assert exact_match("b", ["a", "b"]) == 1


def test_f1_by_hand():
    assert f1("the cat sat", ["a cat"]) == pytest.approx(2 / 3), "1 of 2 words found, 1 of 1 asked"
    assert f1("Cat!", ["the cat"]) == 1 and f1("", ["cat"]) == 0
    assert f1("x y", ["z", "x"]) == pytest.approx(2 / 3)


def test_bleu_is_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    answers = ["the cat sat on the mat", "a dog ran in the park today", "birds fly south in winter"]
    right = [
        ["the cat sat on a mat"],
        ["a dog ran in the park", "the dog ran in a park"],
        ["birds fly north"],
    ]
    references = [[r[0] for r in right], [r[-1] for r in right]]
    value, low, high = bleu(answers, right)
    assert value == pytest.approx(sacrebleu.corpus_bleu(answers, references).score)
    assert low < high


def test_normalisations_by_hand():
    parts = (-6.0, -2.0, " caf\u00e9", 3)
    values = {how: normalised(*parts, how) for how in ("sum", "token", "character", "byte", "answer")}
    assert values == {"sum": -6, "token": -2, "character": -1.5, "byte": -6 / 5, "answer": -4}


def test_the_interval_of_a_mean_is_students():
    result = Result.mean("m", [0.0, 0.5, 1.0, 0.5], "F1")
    half = 3.182446305284263 * math.sqrt(0.5 / 3 / 4)  # t of 3 degrees of freedom at 97.5%
    assert (result.value, result.n) == (0.5, 4)
    assert (result.low, result.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert math.isnan(Result.mean("m", [1.0], "F1").low)
