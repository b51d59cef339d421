"""Protects: real and generated texts are brought into one form, and what cannot be a quiz is refused with the remedy."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.evals.quiz import choose, read_passages
from tony.evals.quiz.passages import cut, num_words, tidy

SENTENCE = "The river was low that year and nobody in the village remembered it lower."  # 14 words


def articles(path, n=6, sentences=4):
    rows = [
        {"title": f"Title {i}", "text": f"Number {i}. " + " ".join([SENTENCE] * sentences)} for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_cut_ends_at_a_sentence_where_that_leaves_half():
    assert cut("One two three. Four five six. Seven", 5) == "One two three."
    assert cut("One two three. Four five six. Seven", 6) == "One two three. Four five six."
    assert cut("One. Two three four five six", 5) == "One. Two three four five"
    assert cut('He said "go." And then', 4) == 'He said "go."'
    assert cut("It is 3.5 metres long", 3) == "It is 3.5"
    assert cut("", 5) == "" and cut("word", 5) == "word"


@given(st.text("ab .!\n\t", max_size=80), st.integers(1, 12))
def test_a_cut_is_a_beginning_of_no_more_words(text, words):
    text = tidy(text)
    kept = cut(text, words)
    assert text.startswith(kept) and kept == kept.rstrip() == tidy(kept)
    assert min(words, num_words(text)) / 2 <= num_words(kept) <= words


def test_line_breaks_do_not_tell_a_file_from_a_model():
    assert tidy("  one\ntwo \t three\r\n\r\n \n\n four\n") == "one two three\n\nfour"


def test_an_article_with_a_title_is_one_passage(tmp_path):
    passages = read_passages(articles(tmp_path / "a.jsonl"), 30)
    assert len(passages) == 6
    assert passages[0].opening == "Title 0" and passages[0].prompt == "Title 0\n\n"
    assert passages[0].text == f"Number 0. {SENTENCE} {SENTENCE}"


def test_a_text_file_is_cut_into_passages_with_openings(tmp_path):
    paragraph = "\n".join([SENTENCE] * 3)
    (tmp_path / "b.txt").write_text("\n\n".join(f"{i} {paragraph}" for i in range(20)), encoding="utf-8")
    passages = read_passages(tmp_path, 30)
    assert len(passages) == 10  # two paragraphs of 43 words each have room for 30 words and an opening
    assert passages[0].opening == passages[0].prompt == f"0 {SENTENCE}"
    assert passages[0].text == f"{SENTENCE} {SENTENCE}"
    assert len({passage.opening for passage in passages}) == 10


def test_choosing_is_seeded(tmp_path):
    passages = read_passages(articles(tmp_path / "a.jsonl", 12), 30)
    assert choose(passages, 5, 1) == choose(passages, 5, 1) != choose(passages, 5, 2)
    assert len(choose(passages, 99, 1)) == 12


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", "no passages"),
        ("short.txt", b"A short note, and nothing more than these few words in it at all.", "--words"),
        ("other.jsonl", b'{"body": "x"}\n', "other.jsonl:1"),
        ("number.jsonl", b'{"text": 3}\n', "number.jsonl:1"),
        ("latin.txt", b"caf\xe9", "UTF-8"),
    ],
)
def test_bad_texts_are_one_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TonyError, match=words):
        read_passages(tmp_path / name, 30)


def test_a_missing_file_and_too_small_a_quiz_are_refused(tmp_path):
    with pytest.raises(TonyError, match="no such file"):
        read_passages(tmp_path / "absent", 30)
    with pytest.raises(TonyError, match="first=3"):
        choose(read_passages(articles(tmp_path / "a.jsonl"), 30), 3, 0)
