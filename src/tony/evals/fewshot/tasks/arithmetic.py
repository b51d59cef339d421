"""GPT-3's ten arithmetic tests (Brown et al. 2020, section 3.9.1) in the strings of its released files.

Context "\\n\\nQ: What is 98 plus 45?\\n\\nA:", completion " 143". Operands are uniform on [0, 10^d), so a difference may be
negative and a "two-digit" product may be of one digit. 2,000 questions a test, as released; they are drawn here, by seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from tony.evals.task import Example, Task

QUESTIONS = 2000  # a test, as released; as many more are kept to draw worked examples from
SEED = 2005_14165

Make = Callable[[np.random.Generator], tuple[str, int]]


def _two(digits: int, word: str, value: Callable[[int, int], int]) -> Make:
    def make(stream: np.random.Generator) -> tuple[str, int]:
        a, b = (int(x) for x in stream.integers(0, 10**digits, 2))
        return f"{a} {word} {b}", value(a, b)

    return make


OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def _composite(stream: np.random.Generator) -> tuple[str, int]:
    """(a op b) op c of single digits: the shape of all questions of the released file."""
    a, b, c = (int(x) for x in stream.integers(0, 10, 3))
    first, second = (list(OPERATIONS)[i] for i in stream.integers(0, 3, 2))
    return f"({a} {first} {b}) {second} {c}", OPERATIONS[second](OPERATIONS[first](a, b), c)


TESTS: dict[str, Make] = {
    **{f"{d}D+": _two(d, "plus", int.__add__) for d in range(2, 6)},
    **{f"{d}D-": _two(d, "minus", int.__sub__) for d in range(2, 6)},
    "2Dx": _two(2, "times", int.__mul__),
    "1DC": _composite,
}


@cache
def _examples(name: str) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(test, train): no question of the one is in the other, where there are enough to tell (1DC has 9,000)."""
    stream = np.random.default_rng([SEED, list(TESTS).index(name)])
    test = [_example(*TESTS[name](stream)) for _ in range(QUESTIONS)]
    asked = {example.context for example in test}
    train: dict[str, Example] = {}
    while len(train) < QUESTIONS:
        example = _example(*TESTS[name](stream))
        if example.context not in asked:
            train.setdefault(example.context, example)
    return tuple(test), tuple(train.values())


def _example(question: str, answer: int) -> Example:
    return Example(context=f"\n\nQ: What is {question}?\n\nA:", target=f" {answer}")


def arithmetic() -> list[Task]:
    return [
        Task(
            name=name,
            test=lambda name=name: _examples(name)[0],
            train=lambda name=name: _examples(name)[1],
            max_tokens=12,
        )
        for name in TESTS
    ]
