"""Protects problems of mathematics: right answers, splits that never meet, levels, only answers counted, the same every time.

Answers are checked with Python's own integers and decimals, which the package (sympy) does not use.
"""

import json
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest

from tony.data import mathematics
from tony.data.mathematics import LEVELS, TRAINED, Mathematics, Problem
from tony.data.wheels import unpacked_wheels
from tony.errors import TonyError
from tony.runs.data_recipes import MathematicsData
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Vocabulary

SMALL = MathematicsData(problems=1600, held_out=0.2)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    try:
        unpacked_wheels("mathematics-dataset", mathematics.PACKAGES)
    except TonyError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("parts")
        patch.setattr(mathematics, "PART", 200)
        patch.setattr(mathematics, "cache", lambda: folder)
        yield Mathematics(SMALL)


@pytest.fixture(scope="module")
def problems(source):
    return {split: list(source.problems(split)) for split in ("train", "heldout")}


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(TextCodec.train([], 256))


def test_levels_and_modules_come_evenly(problems):
    together = [p for split in problems.values() for p in split]
    levels, modules = (Counter(getattr(p, name) for p in together) for name in ("level", "module"))
    assert levels == dict.fromkeys(TRAINED, 200)
    assert modules == dict.fromkeys(SMALL.modules, 160)
    assert 0.16 < len(problems["heldout"]) / len(together) < 0.24
    first = {p.level for p in problems["train"][:40]}
    assert first == set(TRAINED), "a window mixes levels"


def test_no_question_is_in_both_splits_nor_in_a_test_of_any_level(source, problems):
    trained = {p.question for p in problems["train"]}
    assert not trained & {p.question for p in problems["heldout"]}
    for level in (LEVELS[0], TRAINED[0], LEVELS[-1]):
        asked = source.level(level, 40)
        assert len(asked) == 40 and {p.level for p in asked} == {level}
        assert not trained & {p.question for p in asked}
        assert asked == source.level(level, 40)


def test_harder_levels_have_larger_numbers(source):
    def digits(level):
        asked = [p for p in source.level(level, 40) if p.module == "arithmetic__mul"]
        return sum(len(re.findall(r"\d", p.question)) for p in asked) / len(asked)

    easy, middle, hard = digits(TRAINED[0]), digits(TRAINED[-1]), digits(LEVELS[-1])
    assert easy + 4 < middle < hard - 6


NUMBER = r"(-?\d+(?:\.\d+)?)"
OPERATIONS = [
    (rf"(?:sum of|total of|together|add|sum|plus|put) {NUMBER} (?:and) {NUMBER}", lambda a, b: a + b),
    (rf"{NUMBER} (?:\+|plus) {NUMBER}", lambda a, b: a + b),
    (rf"{NUMBER} (?:-|minus|take away) {NUMBER}", lambda a, b: a - b),
    (rf"subtract {NUMBER} from {NUMBER}", lambda a, b: b - a),
    (rf"{NUMBER} less than {NUMBER}", lambda a, b: b - a),
    (rf"(?:difference between|distance between) {NUMBER} and {NUMBER}", lambda a, b: abs(a - b)),
    (rf"(?:multiply|product of) {NUMBER} and {NUMBER}", lambda a, b: a * b),
    (rf"{NUMBER} ?(?:\*|times) ?{NUMBER}", lambda a, b: a * b),
]


def test_sums_differences_and_products_are_right(problems):
    checked = Counter()
    for problem in problems["train"] + problems["heldout"]:
        if problem.module not in ("arithmetic__add_or_sub", "arithmetic__mul"):
            continue
        for pattern, right in OPERATIONS:
            found = re.search(pattern, problem.question, re.IGNORECASE)
            if found:
                value = right(*map(Decimal, found.groups()))
                assert value == Decimal(problem.answer), problem
                checked[problem.module] += 1
                break
    assert checked["arithmetic__add_or_sub"] > 120 and checked["arithmetic__mul"] > 120, checked


def test_quotients_factors_and_places_are_right(problems):
    checked = Counter()
    for p in problems["train"]:
        numbers = [int(n) for n in re.findall(r"-?\d+", p.question)]
        if p.module == "arithmetic__div" and "divided by" in p.question:
            assert Fraction(*numbers) == Fraction(p.answer), p
        elif p.module == "numbers__is_factor" and "divide" in p.question and len(numbers) == 2:
            assert p.answer == str(numbers[1] % numbers[0] == 0), p
        elif p.module == "numbers__place_value":
            places = [
                "units",
                "tens",
                "hundreds",
                "thousands",
                "ten thousands",
                "hundred thousands",
                "millions",
            ]
            place = re.search(r"the ([a-z ]+) digit", p.question)[1]
            if place not in places:
                continue
            assert str(numbers[0])[::-1][places.index(place)] == p.answer, p
        else:
            continue
        checked[p.module] += 1
    assert min(checked.values()) > 30 and len(checked) == 3, checked


def test_only_answers_count_in_the_loss(vocabulary, problems):
    for problem in problems["heldout"][:50]:
        tokens = vocabulary.encode(problem.document())
        ids = tokens.ids[tokens.counted]
        assert ids[-1] == vocabulary.end("text")
        assert vocabulary.text.decode(ids[:-1] - vocabulary.ranges["text"].start).text == problem.answer
        assert len(tokens) == len(problem.question) + 1 + len(problem.answer) + 4


def test_a_problem_is_bytes(vocabulary):
    tokens = vocabulary.encode(Problem("m", 3, "What is 1 + 2?", "3").document())
    assert (
        bytes((vocabulary.text._bytes[i - vocabulary.ranges["text"].start][0]) for i in tokens.ids[2:-2])
        == b"What is 1 + 2?\n3"
    )


def test_what_was_drawn_does_not_depend_on_what_came_before(source, problems, tmp_path, monkeypatch):
    """A part drawn alone, in another cache, is the part drawn after others; another seed draws another."""
    original = (source.folder / "9-0.jsonl").read_bytes()
    monkeypatch.setattr(mathematics, "cache", lambda: tmp_path)
    again, other = (Mathematics(SMALL, seed) for seed in (0, 1))
    for one in (again, other):
        list(one._parts([(9, 0)]))
    assert (again.folder / "9-0.jsonl").read_bytes() == original
    assert (other.folder / "9-0.jsonl").read_bytes() != original


def test_more_problems_begin_with_the_same_ones(source, problems):
    more = Mathematics(MathematicsData(problems=1601, held_out=0.2))
    assert more.folder == source.folder
    assert sum(1 for _ in more.problems("train")) > 1.9 * len(problems["train"])
    assert [p for p, _ in zip(more.problems("train"), range(500), strict=False)] == problems["train"][:500]


def test_long_problems_are_left_out(source):
    short = Mathematics(MathematicsData(problems=1600, longest=30))
    kept = list(short.problems("train"))
    assert kept and all(len(p.question) + 1 + len(p.answer) <= 30 for p in kept)
    assert sum(short.left_out.values()) > 400


def test_a_reader_that_stops_leaves_whole_files(source, tmp_path, monkeypatch):
    monkeypatch.setattr(mathematics, "cache", lambda: tmp_path)
    one = Mathematics(SMALL)
    next(one.problems("train"))
    files = sorted(one.folder.glob("*.jsonl"))
    assert files and all(json.loads(line) for f in files for line in f.read_text().splitlines())
    assert len(list(one.problems("train"))) == len(list(source.problems("train")))


def test_unknown_modules_are_named(source):
    with pytest.raises(TonyError, match=r"'numbers__sums' is not known\. Known: algebra__linear_1d, "):
        next(Mathematics(MathematicsData(modules=("numbers__sums",))).problems("train"))


def test_too_few_questions_are_said(source):
    one = Mathematics(MathematicsData(modules=("numbers__place_value",), held_out=0.005))
    with pytest.raises(TonyError, match=r"name more modules, or raise data\.held_out"):
        one.level(1, 2)


def test_wheels_that_cannot_be_fetched_name_the_command(tmp_path):
    with pytest.raises(
        TonyError,
        match=r"pip failed \(.*No matching distribution.*-m pip download --no-deps -d FOLDER nothing==1",
    ):
        unpacked_wheels("nothing", {"nothing==1": ("0" * 64,)}, str(tmp_path), tmp_path / "cache")


def test_another_python_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(mathematics, "cache", lambda: tmp_path)
    monkeypatch.setattr(mathematics.sys, "version_info", (3, 12, 0))
    with pytest.raises(TonyError, match=r"run Tony with Python 3\.11"):
        next(Mathematics(SMALL).problems("train"))
