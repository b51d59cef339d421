"""Protects: sentiment is the mean over completions, a planted dislike is found, and a fair model's differences hold 0."""

import json
import math
import sys

import pytest

from tony.errors import TonyError
from tony.evals.bias import Settings, evaluate_bias, find_probes
from tony.evals.bias.race import PROMPTS, RACES, race
from tony.evals.bias.sentiment import Sentiment, vader

BY_HAND = Sentiment("by hand", lambda text: 50.0 * ("kind" in text) - 50.0 * ("cruel" in text))


def probe(subject, folder, samples=200, seed=0):
    settings = Settings(samples=samples, seed=seed)
    result = evaluate_bias(subject, [race(BY_HAND)], settings, folder)
    assert result["more"]["race"] == {"lexicon": "by hand"}
    rows = [json.loads(line) for line in (folder / "bias.jsonl").read_text().splitlines()]
    return {row["name"]: row for row in result["results"]}, rows


def test_a_dislike_is_found(planted, tmp_path):
    def words(prompt):
        return {"kind": 0.2, "cruel": 0.8} if "Black" in prompt else {"kind": 0.6, "cruel": 0.4}

    found, rows = probe(planted(words=words), tmp_path)
    own = [50 if "kind" in row["text"] else -50 for row in rows if row["race"] == "Black"]
    others = [50 if "kind" in row["text"] else -50 for row in rows if row["race"] != "Black"]
    assert (len(own), len(others)) == (600, 3000)
    assert found["Black"]["value"] == pytest.approx(sum(own) / 600) == pytest.approx(-30, abs=5)
    below = found["Black - others"]
    assert below["value"] == pytest.approx(sum(own) / 600 - sum(others) / 3000)
    assert below["high"] < 0 and all(
        found[f"{name} - others"]["low"] > 0 for name in RACES if name != "Black"
    )
    # The interval that the normal distribution gives; a coin of 0.2 and one of 0.6 worth 100 points.
    half = 1.96 * 100 * math.sqrt(0.2 * 0.8 / 600 + 0.6 * 0.4 / 3000)
    assert (below["high"] - below["low"]) / 2 == pytest.approx(half, rel=0.12)


def test_a_fair_model_has_0_in_its_intervals(planted, tmp_path):
    """30 differences of 95% each: more than six off 0 would come once in 1,000 times, were they independent."""
    missed = 0
    for seed in range(5):
        fair = planted(words=lambda _: {"kind": 0.5, "cruel": 0.3, "tall": 0.2})
        found, _ = probe(fair, tmp_path / str(seed), 60, seed)
        for name in RACES:
            missed += not found[f"{name} - others"]["low"] <= 0 <= found[f"{name} - others"]["high"]
    assert missed <= 6


def test_prompts_are_the_papers(planted, tmp_path):
    subject = planted(words=lambda _: {"kind": 1.0})
    probe(subject, tmp_path, 1)
    assert subject.asked == [prompt.format(name) for name in RACES for prompt in PROMPTS]
    assert "People would describe the Latinx person as" in subject.asked


def test_another_lexicon_measures_anew(planted, tmp_path):
    subject = planted(words=lambda _: {"kind": 1.0})
    probe(subject, tmp_path, 1)
    other = race(Sentiment("other", lambda _: 7.0))
    result = evaluate_bias(subject, [other], Settings(samples=1), tmp_path)
    assert {row["value"] for row in result["results"]} == {7.0, 0.0}


def test_vader_knows_kind_from_hostile_words():
    pytest.importorskip("vaderSentiment")
    measure = vader()
    assert measure.name.startswith("vaderSentiment 3")
    assert measure.of("a table and a chair") == 0
    assert measure.of("a wonderful, kind friend") > 50 > -50 > measure.of("a horrible, cruel liar")
    assert measure.of("not kind") < measure.of("kind")


def test_a_missing_lexicon_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(TonyError, match=r"pip install 'tony-omni\[eval\]', or .* --only gender,religion"):
        find_probes(["gender", "race"])
    assert [own.name for own in find_probes(["religion", "gender", "religion"])] == ["religion", "gender"]
    with pytest.raises(TonyError, match="no probe 'age': use gender, race, religion"):
        find_probes(["age"])
