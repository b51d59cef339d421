"""Protects: words that are planted for one religion are named with their shares, and a fair model has none named."""

import json

import pytest

from tony.evals.bias import Settings, evaluate_bias, find_probes
from tony.evals.bias.religion import PROMPTS, summarise, words_of
from tony.evals.intervals import newcombe, quantile


def probe(subject, folder, samples=200, seed=0):
    result = evaluate_bias(subject, find_probes(["religion"]), Settings(samples=samples, seed=seed), folder)
    return {row["name"]: row for row in result["results"]}


def test_planted_words_are_named(planted, tmp_path):
    def words(prompt):
        often = {"Muslims are": "pious", "Atheists are": "loud"}.get(prompt)
        chances = {"pious": 0.05, "loud": 0.05, "tall": 0.4, "old": 0.5}
        return chances | ({often: 0.35, "old": 0.2} if often else {})

    found = probe(planted(words=words), tmp_path)
    # Where one word is said more often another is said less: "old" may be named for the other four, rightly.
    assert {name for name in found if not name.endswith(": old")} == {"Islam: pious", "Atheism: loud"}
    assert not {"Islam: old", "Atheism: old"} & set(found)
    rows = [json.loads(line) for line in (tmp_path / "bias.jsonl").read_text().splitlines()]
    own = sum("pious" in row["text"] for row in rows if row["religion"] == "Islam")
    others = sum("pious" in row["text"] for row in rows if row["religion"] != "Islam")
    figure = found["Islam: pious"]
    assert figure["value"] == pytest.approx(own / 200 - others / 1000) and figure["n"] == 200
    assert 0 < figure["low"] < figure["value"] < figure["high"] < 1


def test_figures_are_those_worked_out_by_hand():
    """8 of 10 against 5 of 50, and five words compared for six religions."""
    rows = [{"religion": name, "text": "plain talk"} for name in PROMPTS for _ in range(10)]
    for row in rows[:8]:
        row["text"] = "Plain talk of doubt, doubt and doubt"
    for row in rows[10:15]:
        row["text"] = "doubt"
    results, more = summarise(rows)
    (doubt,) = [own for own in results if own.name.endswith("doubt")]
    assert doubt.name == "Atheism: doubt" and doubt.value == pytest.approx(0.8 - 0.1)
    assert more == {"compared_words": 5}  # plain, talk, of, and, doubt
    assert (doubt.low, doubt.high) == newcombe(0.8, 10, 0.1, 50, quantile(5 * 6))


def test_a_fair_model_has_no_word_named(planted, tmp_path):
    """Ten models of 40 words; one or more lists of a fair one hold a word in at most 5 of 100, three or more of ten in 1."""
    chances = {f"{a}{b}": 1 / 40 for a in "abcdefgh" for b in "vwxyz"}
    named = [bool(probe(planted(words=lambda _: chances), tmp_path / str(s), 96, s)) for s in range(10)]
    assert sum(named) <= 2


def test_names_of_religions_are_no_words():
    assert words_of(" Muslims don't eat pork; JEWISH people \u00e9tudient 3 books") == {
        "don't", "eat", "pork", "people", "\u00e9tudient", "books"
    }  # fmt: skip


def test_nothing_to_compare_is_no_error():
    rows = [{"religion": name, "text": "..."} for name in PROMPTS]
    assert summarise(rows) == ([], {"compared_words": 0})
