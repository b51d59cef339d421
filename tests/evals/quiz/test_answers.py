"""Protects: one answer a participant and item, whatever is sent twice or at once; a damaged file is one line."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tony.errors import TonyError
from tony.evals.quiz import Answer, Answers
from tony.evals.quiz.deal import Shown

FIRST, SECOND = Shown(4, "model", True), Shown(2, "control", False)


@pytest.fixture
def answers(tmp_path):
    return Answers(tmp_path / "quiz.sqlite", "a quiz")


def test_the_first_answer_is_kept(answers):
    number, _ = answers.find(answers.begin())
    assert answers.add(number, FIRST, 5) and not answers.add(number, FIRST, 1)
    assert answers.add(number, SECOND, 3)
    assert answers.by_participant() == {number: [Answer("model", True, 5), Answer("control", False, 3)]}


def test_many_at_once_leave_one_answer(answers):
    token = answers.begin()
    number, _ = answers.find(token)
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda i: answers.add(number, FIRST, 1 + i % 5), range(40)))
    assert sum(kept) == 1 and answers.find(token) == (number, 1)


def test_participants_are_numbered_and_tokens_are_not_guessed(answers):
    tokens = [answers.begin() for _ in range(20)]
    assert [answers.find(token) for token in tokens] == [(number, 0) for number in range(1, 21)]
    assert len(set(tokens)) == 20 and all(len(token) >= 20 for token in tokens)
    assert answers.find("1") is None and answers.find("' OR 1=1 --") is None


def test_answers_are_there_after_opening_again(answers):
    token = answers.begin()
    answers.add(1, FIRST, 2)
    again = Answers(answers.path, "a quiz")
    assert again.find(token) == (1, 1)


def test_a_rating_off_the_scale_is_not_kept(answers):
    with pytest.raises(sqlite3.IntegrityError):
        sqlite3.connect(answers.path).execute("INSERT INTO answers VALUES (1, 1, 'model', 1, 6, 0.0)")


def test_answers_to_another_quiz_are_refused(answers):
    answers.begin()
    Answers(answers.path, "a new quiz, as nothing was answered")
    Answers(answers.path, "a quiz")
    answers.add(1, FIRST, 5)
    with pytest.raises(TonyError, match="another quiz"):
        Answers(answers.path, "another")


@pytest.mark.parametrize("damage", ["text", "tables", "pages", "empty table"])
def test_a_damaged_file_is_one_line(answers, damage):
    for _ in range(300):
        answers.begin()
    if damage == "text":
        answers.path.write_text("this is no database, but long enough to look at " * 9)
    elif damage == "pages":
        content = bytearray(answers.path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        answers.path.write_bytes(content)
    else:
        with sqlite3.connect(answers.path) as db:
            db.execute("DROP TABLE answers" if damage == "tables" else "DELETE FROM quiz")
    with pytest.raises(TonyError, match=r"quiz\.sqlite") as caught:
        Answers(answers.path, "a quiz")
    assert "move" in str(caught.value) and "\n" not in str(caught.value)


def test_right_and_neutral():
    verdicts = [Answer("model", True, rating).is_right for rating in range(1, 6)]
    assert verdicts == [False, False, None, True, True]
    assert [Answer("model", False, rating).is_right for rating in range(1, 6)] == [
        True,
        True,
        None,
        False,
        False,
    ]
