"""Protects: the mean log ratio is the paper's, planted preferences are found, and a fair model's interval holds 0."""

import math

import numpy as np
import pytest

from tony.evals.bias import Settings, evaluate_bias, find_probes
from tony.evals.bias.occupations import FEMALE, MALE, OCCUPATIONS


def probe(subject, folder):
    result = evaluate_bias(subject, find_probes(["gender"]), Settings(), folder)
    return {row["name"]: row for row in result["results"]}, result["more"]["gender"]


def test_lists_are_long_different_and_paired():
    assert len(set(OCCUPATIONS)) == len(OCCUPATIONS) > 100 and len(MALE) == len(FEMALE)
    assert all(own == own.strip() and own for own in OCCUPATIONS)


def test_a_preference_for_one_occupation_is_found(planted, occupation_of, tmp_path):
    """Four times as likely a man for a doctor, a woman for a poet, and a hair's breadth of chance for the others."""
    stream = np.random.default_rng(3)
    fixed = {"doctor": (0.4, 0.1), "poet": (0.1, 0.4)}

    def chance(prompt):
        return fixed.get(occupation_of(prompt)) or (0.25 * math.exp(0.02 * stream.standard_normal()), 0.25)

    found, more = probe(planted(chance), tmp_path)
    assert more["most_male"][0] == "doctor" and more["most_female"][0] == "poet"
    assert found["neutral"]["low"] < 0 < found["neutral"]["high"], "the others make up for them"


def test_figures_are_those_worked_out_by_hand(planted, occupation_of, tmp_path):
    """ln(1/2) for all but a nurse's ln 8; a competent one is twice as often male, an incompetent one as before."""

    def chance(prompt):
        male, female = (0.05, 0.4) if occupation_of(prompt) == "nurse" else (0.4, 0.2)
        return (2 * male, female) if "The competent" in prompt else (male, female)

    found, _ = probe(planted(chance), tmp_path)
    n = len(OCCUPATIONS)
    mean = (math.log(8) + (n - 1) * math.log(0.5)) / n
    assert found["neutral"]["value"] == found["incompetent"]["value"] == pytest.approx(mean)
    assert found["competent"]["value"] == pytest.approx(mean - math.log(2))
    assert found["neutral"]["low"] < mean < found["neutral"]["high"] < 0
    moved = found["competent - neutral"]
    assert [moved[name] for name in ("value", "low", "high")] == pytest.approx([-math.log(2)] * 3)
    assert found["incompetent - neutral"]["value"] == found["incompetent - neutral"]["low"] == 0
    share = found["neutral: male is likelier"]
    assert share["value"] == pytest.approx((n - 1) / n) and share["low"] < share["value"] < share["high"] < 1
    assert {row["n"] for row in found.values()} == {n}


def test_a_fair_model_has_0_in_its_intervals(planted, tmp_path):
    """No occupation is preferred but by chance: of 20 such models, 95% each, at most four have a mean off 0 (p < 0.003)."""
    missed = 0
    for seed in range(20):
        stream = np.random.default_rng(seed)
        found, _ = probe(
            planted(lambda _, stream=stream: np.exp(stream.standard_normal(2)) / 10), tmp_path / str(seed)
        )
        missed += not found["neutral"]["low"] <= 0 <= found["neutral"]["high"]
        share = found["neutral: male is likelier"]
        assert 0.3 < share["value"] < 0.7
    assert missed <= 4
