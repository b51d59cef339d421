"""Protects: metrics against values worked out by hand."""

import pytest

from tony.evals.fewshot.cell import normalised
from tony.evals.fewshot.metrics import exact_match, f1


def test_exact_match_forgives_white_space_only():
    assert exact_match(" 143\n", [" 143"]) == 1
    assert exact_match("143.", [" 143"]) == 0 and exact_match("Casino", ["casino"]) == 0
    assert exact_match("b", ["a", "b"]) == 1


def test_f1_by_hand():
    assert f1("the cat sat", ["a cat"]) == pytest.approx(2 / 3), "1 of 2 words found, 1 of 1 asked"
    assert f1("Cat!", ["the cat"]) == 1 and f1("", ["cat"]) == 0
    assert f1("x y", ["z", "x"]) == pytest.approx(2 / 3)


def test_normalisations_by_hand():
    parts = (-6.0, -2.0, " caf\u00e9", 3)
    values = {how: normalised(*parts, how) for how in ("sum", "token", "character", "byte", "answer")}
    assert values == {"sum": -6, "token": -2, "character": -1.5, "byte": -6 / 5, "answer": -4}
