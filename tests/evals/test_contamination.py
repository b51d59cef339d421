"""Protects: an example is dirty exactly when one of its grams stands in the training text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.evals.contamination import Grams, contamination, gram_length, search, training_texts, words

word = st.sampled_from("a b c d".split())
texts = st.lists(st.lists(word, max_size=12).map(" ".join), max_size=6)


def naive(tests, n, training):
    """Every gram as text, looked for in every document."""
    found = set()
    for number, text in enumerate(tests):
        own = words(text)
        grams = [own[i : i + n] for i in range(len(own) - n + 1)]
        for document in training:
            theirs = words(document)
            if any(theirs[i : i + n] == gram for gram in grams for i in range(len(theirs) - n + 1)):
                found.add(number)
    return found


@given(tests=texts, training=texts, n=st.integers(1, 5))
@settings(max_examples=150)
def test_what_is_found_is_what_a_naive_search_finds(tests, training, n):
    grams = Grams({"t": tests, "u": tests[:1]}, {"t": n, "u": n + 1})
    found = grams.find(training)
    assert {number for task, number in found if task == "t"} == naive(tests, n, training)
    assert {number for task, number in found if task == "u"} == naive(tests[:1], n + 1, training)


def test_case_and_punctuation_do_not_hide_a_gram():
    grams = Grams({"t": ["The quick, brown fox!", "jumps over"]}, {"t": 3})
    assert grams.find(["so THE QUICK (brown) dog"]) == {("t", 0)}
    assert grams.find(["the quick", "brown fox"]) == set(), "no gram spans two documents"


def test_n_is_the_fifth_percentile_within_its_bounds():
    assert gram_length([20] * 100, False) == 13 and gram_length([3] * 100, False) == 8
    assert gram_length([3] * 100, True) == 3 and gram_length([1] * 100, True) == 2
    assert gram_length([9] * 6 + [12] * 94, False) == 9


def test_two_processes_find_what_one_finds():
    tests = [f"alpha {i} beta {i + 1} gamma" for i in range(50)]
    grams = Grams({"t": tests}, {"t": 3})
    training = [f"x {i} beta {i + 1} gamma y" for i in range(0, 50, 3)]
    assert search(grams, training, 2) == search(grams, training) == {("t", i) for i in range(0, 50, 3)}


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "fewshot.jsonl"
    rows = [
        {
            "task": "t", "shots": k, "metric": "exact match", "value": float(i % 2 == 0 and k > 0),
            "context": f"one two three four five six seven item{i}", "target": " end",
        }
        for k in (0, 5)
        for i in range(10)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_report_has_the_columns_and_the_identity_of_table_c1(samples, tmp_path):
    training = tmp_path / "train.jsonl"
    lines = ["two three four five six seven item4 END and one two three four five six seven", "nothing here"]
    training.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    (row,) = contamination(samples, [training])
    assert (row.n_gram, row.n, row.n_dirty, row.n_clean) == (9, 10, 0, 10), (
        "N is 9: eight in a row are not enough"
    )
    training.write_text(json.dumps({"text": "One two three, four five six seven item4 end"}))
    (row,) = contamination(samples, [training])
    assert (row.n_dirty, row.dirty, row.n_clean, row.all) == (1, 1.0, 9, 0.5)
    assert row.clean == pytest.approx(4 / 9) and row.clean_percent == 90
    assert row.relative_difference == pytest.approx(100 * (4 / 9 - 0.5) / 0.5)
    assert (row.dirty * row.n_dirty + row.clean * row.n_clean) / row.n == pytest.approx(row.all)
    saved = json.loads((samples.parent / "contamination.json").read_text())
    assert saved["rows"][0]["relative_difference"] == row.relative_difference


def test_text_is_read_from_files_and_folders(tmp_path):
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "b.jsonl").write_text('{"text": "second"}\n{"text": "third"}\n')
    assert list(training_texts([tmp_path])) == ["first", "second", "third"]
    (tmp_path / "b.jsonl").write_text('{"text": "second"}\n[1]\n')
    with pytest.raises(TonyError, match=r"b\.jsonl:2"):
        list(training_texts([tmp_path]))
    with pytest.raises(TonyError, match="no such file"):
        list(training_texts([tmp_path / "absent"]))


def test_without_samples_there_is_no_report(tmp_path):
    with pytest.raises(TonyError, match="fewshot first"):
        contamination(tmp_path / "fewshot.jsonl", [])
