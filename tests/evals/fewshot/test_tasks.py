"""Protects: questions have GPT-3's exact strings, right answers, and are never among the worked examples."""

import re
from collections import Counter

import numpy as np
import pytest

from tony.errors import TonyError
from tony.evals.fewshot.draw import shots_of
from tony.evals.fewshot.find import find_tasks
from tony.evals.fewshot.tasks import GROUPS
from tony.evals.fewshot.tasks.numbers import number_word
from tony.evals.fewshot.tasks.scramble import TESTS as SCRAMBLES
from tony.evals.task import Example, Task

ARITHMETIC = {task.name: task for task in GROUPS["arithmetic"]()}
WORDS = {"plus": "+", "minus": "-", "times": "*"}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_right_and_in_the_released_format(name):
    """Every answer worked out again from the question's own text."""
    task = ARITHMETIC[name]
    for example in [*task.test(), *task.train()]:
        match = re.fullmatch(
            r"\n\nQ: What is ([-+*() \d]+|\d+ (?:plus|minus|times) \d+)\?\n\nA:", example.context
        )
        question = match[1]
        for word, sign in WORDS.items():
            question = question.replace(word, sign)
        assert example.target == f" {eval(question)}"
    assert len(task.test()) == 2000


def test_arithmetic_has_the_papers_ranges_and_shapes():
    assert list(ARITHMETIC) == ["2D+", "3D+", "4D+", "5D+", "2D-", "3D-", "4D-", "5D-", "2Dx", "1DC"]
    for digits in range(2, 6):
        numbers = [int(n) for e in ARITHMETIC[f"{digits}D-"].test() for n in re.findall(r"\d+", e.context)]
        assert max(numbers) < 10**digits and max(numbers) > 0.98 * 10**digits
        assert abs(np.mean(numbers) / 10**digits - 0.5) < 0.03, "uniform"
    assert sum(int(e.target) < 0 for e in ARITHMETIC["3D-"].test()) > 800
    shapes = Counter(re.sub(r"\d", "n", e.context) for e in ARITHMETIC["1DC"].test())
    assert len(shapes) == 9 and min(shapes.values()) > 170, "(a op b) op c, all nine about equally often"


@pytest.mark.parametrize(
    ("name", "word", "scrambled"),
    [
        ("CL", "inevitably", r"(?=.{10}$).*"),
        ("A1", "corruption", r"c.{8}n"),
        ("A2", "opponent", r"op.{4}nt"),
        ("RI", "succession", r"s[ .!/]u[ .!/]c[ .!/]c[ .!/]e[ .!/]s[ .!/]s[ .!/]i[ .!/]o[ .!/]n"),
        ("RW", "objects", "stcejbo"),
    ],
)
def test_scrambles_are_the_papers(name, word, scrambled):
    found = SCRAMBLES[name](word, np.random.default_rng(2))
    assert re.fullmatch(scrambled, found) and found != word
    letters = [c for c in found if c.isalpha()]
    assert Counter(letters) == Counter(word)
    if name == "CL":
        assert word in found + found


def test_number_words_are_those_of_num2words():
    num2words = pytest.importorskip("num2words").num2words
    for language in ("en", "fr", "de", "es"):
        assert [number_word(n, language) for n in range(100)] == [
            num2words(n, lang=language) for n in range(100)
        ]


@pytest.mark.parametrize("group", ["arithmetic", "numbers", "grammar", "novel"])
def test_no_question_is_among_the_worked_examples(group):
    for task in GROUPS[group]():
        asked = {example.context for example in task.test()}
        assert not asked & {example.context for example in task.train()}
        for example in [*task.test(), *task.train()]:
            task.check(example)


def test_grammar_changes_one_thing():
    (task,) = GROUPS["grammar"]()
    for example in task.test():
        wrong = re.fullmatch(r"\nPoor English input: (.*)\nGood English output:", example.context)[1].split()
        right = example.target.split()
        assert sum(a != b for a, b in zip(wrong, right, strict=True)) == 1


def make(n, name="t", **settings):
    def examples(start):
        return [Example(context=f"Q{i}", target=f" {i}") for i in range(start, start + n)]

    return Task(name=name, test=lambda: examples(0), train=lambda: examples(1000), **settings)


def test_worked_examples_are_a_function_of_seed_task_and_question():
    train = make(50).train()
    drawn = [shots_of(make(50), train, 10, 3, "item", i) for i in range(20)]
    assert drawn == [shots_of(make(50), train, 10, 3, "item", i) for i in range(20)]
    assert len({tuple(e.context for e in shots) for shots in drawn}) == 20
    assert all(len({e.context for e in shots}) == 10 for shots in drawn), "without replacement"
    assert drawn[0] != shots_of(make(50), train, 10, 4, "item", 0)
    assert drawn[0] != shots_of(make(50, "u"), train, 10, 3, "item", 0)
    assert drawn[0][:5] == shots_of(make(50), train, 5, 3, "item", 0), "more examples are added, not others"
    assert shots_of(make(50), train, 4, 3, "task", 0) == shots_of(make(50), train, 4, 3, "task", 9)
    with pytest.raises(TonyError, match=r"t: 51 examples .* has 50"):
        shots_of(make(50), train, 51, 0, "item", 0)


def test_prompts_are_put_together_as_the_paper_shows():
    shots = [Example(context="\nasinoc =", target=" casino"), Example(context="\nelddim =", target=" middle")]
    task = make(1, head="Please unscramble:")
    assert task.prefix(shots) == "Please unscramble:\nasinoc = casino\nelddim = middle"
    assert make(1, between="\n##\n").prefix(shots) == "\nasinoc = casino\n##\n\nelddim = middle\n##\n"


def test_tasks_are_found_by_group_name_and_path(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from tony.evals.task import Example, Task\n"
        "EXAMPLES = [Example(context=f'{i} ->', target=f' {i + 1}') for i in range(9)]\n"
        "TASKS = [Task(name='next', test=lambda: EXAMPLES[:5], train=lambda: EXAMPLES[5:])]\n"
    )
    broken, empty = tmp_path / "broken.py", tmp_path / "empty.py"
    broken.write_text("import nothing_of_that_name\n")
    empty.write_text("x = 1\n")
    found, errors = find_tasks(
        ["arithmetic", "2D+", str(mine), "nosuch", str(broken), str(empty), str(tmp_path / "no.py")]
    )
    assert [task.name for task in found] == [*ARITHMETIC, "next"]
    assert [line.split(":")[0] for line in errors[1:]] == [str(broken), str(empty), str(tmp_path / "no.py")]
    assert "no task 'nosuch'" in errors[0] and "ModuleNotFoundError" in errors[1]
