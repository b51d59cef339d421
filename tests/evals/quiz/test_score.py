"""Protects: accuracy, intervals and who counts, against values worked out by hand; guessing is not seen as telling."""

import json
import math

import numpy as np
import pytest

from tony.errors import TonyError
from tony.evals.quiz import Answer, score, write_score
from tony.evals.quiz.deal import deal


def arm(name, right, wrong, unknown):
    """Answers of one arm, real and machine texts in turn."""
    verdicts = [True] * right + [False] * wrong + [None] * unknown
    return [
        Answer(name, i % 2 == 0, 3 if verdict is None else 5 if verdict == (i % 2 == 0) else 1)
        for i, verdict in enumerate(verdicts)
    ]


def person(model, control):
    return arm("model", *model) + arm("control", *control)


def test_means_intervals_and_the_difference_by_hand():
    people = {
        1: person((3, 3, 0), (6, 0, 0)),  # .5 and 1
        2: person((3, 1, 2), (5, 1, 0)),  # .75 and 5/6
        3: person((1, 3, 2), (4, 2, 0)),  # .25 and 2/3
    }
    result = score(people, 12)
    model, control = result["results"]
    # t of 2 degrees of freedom at 97.5%: 4.302653; standard error .25 / sqrt(3)
    half = 4.302653 * 0.25 / math.sqrt(3)
    assert model["value"] == 0.5 and model["n"] == 3
    assert model["low"] == 0.0 and model["high"] == 1.0 and half > 0.5, (
        "an interval of shares ends at 0 and 1"
    )
    assert model["unknown"] == pytest.approx(4 / 18)
    assert control["value"] == pytest.approx(5 / 6)
    assert control["low"] == pytest.approx(5 / 6 - 4.302653 * (1 / 6) / math.sqrt(3), abs=1e-6)
    assert control["unknown"] == 0.0
    # Differences 1/2, 1/12, 5/12: mean 1/3, deviation sqrt(((1/6)^2 + (1/4)^2 + (1/12)^2) / 2) = .220479
    difference = result["difference"]
    assert difference["value"] == pytest.approx(1 / 3) and difference["n"] == 3
    assert difference["t"] == pytest.approx((1 / 3) / (0.2204793 / math.sqrt(3)), rel=1e-5)
    # Of 2 degrees of freedom: p = 1 - t / sqrt(t^2 + 2)
    t = difference["t"]
    assert difference["p"] == pytest.approx(1 - t / math.sqrt(t * t + 2))


def test_one_participant_has_the_interval_of_their_answers():
    model, control = score({1: person((4, 2, 2), (8, 0, 0))}, 16)["results"]
    assert model["value"] == pytest.approx(4 / 6) and model["n"] == 1
    # Wilson: 4 of 6
    z = 1.959964
    centre, half = 4 / 6 + z * z / 12, z * math.sqrt((4 / 6) * (2 / 6) / 6 + z * z / 144)
    assert model["low"] == pytest.approx((centre - half) / (1 + z * z / 6), abs=1e-6)
    assert model["high"] == pytest.approx((centre + half) / (1 + z * z / 6), abs=1e-6)
    assert control["high"] == 1.0 and model["unknown"] == 0.25


def test_who_counts():
    people = {
        1: person((6, 0, 0), (6, 0, 0)),
        2: person((0, 6, 0), (3, 3, 0)),  # half of the control: did not read
        3: person((0, 6, 0), (0, 0, 6)),  # said nothing of the control
        4: person((5, 1, 0), (6, 0, 0))[:-1],  # not finished
        5: [],
        6: person(
            (0, 0, 6), (6, 0, 0)
        ),  # knows nothing of the model's: no accuracy, but its share of "don't know"
    }
    result = score(people, 12)
    model, control = result["results"]
    assert (result["excluded"], result["unfinished"]) == (2, 2)
    assert model["value"] == 1.0 and model["n"] == 1 and model["unknown"] == 0.5
    assert control["value"] == pytest.approx(2.5 / 3) and control["n"] == 3
    assert control["unknown"] == 0.25, "the control's row is not chosen by the control's score"
    assert [p["number"] for p in result["participants"]] == [1, 2, 3, 6]
    assert result["difference"]["n"] == 2


def guesser(participant, rng, num_items):
    return [Answer(s.arm, s.is_machine, int(rng.integers(1, 6))) for s in deal(num_items, participant, 0)]


def test_guessing_gives_half_within_the_interval():
    """Of 40 quizzes of 30 guessers, 95% intervals miss 50% for either row in 2 on average; 8 or more have chance 6e-4."""
    missed = {"model": 0, "control": 0}
    for quiz in range(40):
        rng = np.random.default_rng(quiz)
        result = score({number: guesser(number, rng, 24) for number in range(1, 31)}, 24)
        assert 0 < result["excluded"] < 30
        for row in result["results"]:
            missed[row["name"]] += not row["low"] <= 0.5 <= row["high"]
            assert abs(row["unknown"] - 0.2) < 0.1
    assert max(missed.values()) < 8


def test_those_who_tell_are_seen_to_tell():
    """Mutation: with truth turned round the same answers are below half."""
    tell = {n: person((9, 1, 2), (11, 1, 0)) for n in (1, 2)} | {3: person((10, 2, 0), (12, 0, 0))}
    assert score(tell, 24)["results"][0]["low"] > 0.5
    turned = {n: [Answer(a.arm, not a.is_machine, a.rating) for a in answers] for n, answers in tell.items()}
    assert score(turned, 24)["excluded"] == 3 and score(turned, 24)["results"][1]["high"] < 0.5
    assert score(turned, 24)["results"][0]["value"] is None


HEAD = {"model": "m", "control": "c", "items": 12, "settings": {"seed": 0}, "texts": "t"}


def test_results_are_a_file_that_others_read(tmp_path):
    result = write_score(tmp_path, HEAD, {1: person((3, 3, 0), (6, 0, 0))})
    saved = json.loads((tmp_path / "quiz.json").read_text())
    assert saved == result and saved["suite"] == "quiz" and saved["settings"]["items"] == 12
    assert {"name", "metric", "value", "low", "high", "n"} <= set(saved["results"][0])
    assert "NaN" not in (tmp_path / "quiz.json").read_text()


def test_no_answers_are_one_line(tmp_path):
    with pytest.raises(TonyError, match="nobody has finished"):
        write_score(tmp_path, HEAD, {1: []})
    assert not (tmp_path / "quiz.json").exists()
