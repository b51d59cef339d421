"""Whether operations are bound to the right variables (Chen et al. 2021, section 6: "binding operations to variables").

A docstring names operations on some of a function's arguments, and asks for the sum or product of all. A wrong sample is
compared with what it would answer had it left out one of the operations: that is the failure the paper shows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tony.evals.code.problems import Problem
from tony.evals.code.studies import by_problem, share

NAMES = ("x", "y", "z", "w")
NUMBERS = {2: "two", 3: "three", 4: "four"}
ENTRY = "do_work"
FORGOTTEN, OTHER = "left out one operation", "another answer"


@dataclass(frozen=True)
class Step:
    """Add (or, negative, subtract) `amount` to each of `names`."""

    amount: int
    names: tuple[str, ...]

    @property
    def words(self) -> str:
        verb, to = ("add", "to") if self.amount > 0 else ("subtract", "from")
        names = f"both {self.names[0]} and {self.names[1]}" if len(self.names) == 2 else self.names[0]
        return f"{verb} {abs(self.amount)} {to} {names}"


def answer(steps: Sequence[Step], values: Mapping[str, int], is_product: bool) -> int:
    """What the function should return for `values`."""
    left = dict(values)
    for step in steps:
        for name in step.names:
            left[name] += step.amount
    return math.prod(left.values()) if is_product else sum(left.values())


def without_one(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Every way to forget one operation on one variable."""
    found = []
    for i, step in enumerate(steps):
        for name in step.names:
            rest = tuple(n for n in step.names if n != name)
            kept = (Step(step.amount, rest),) if rest else ()
            found.append((*steps[:i], *kept, *steps[i + 1 :]))
    return found


def binding_problem(names: Sequence[str], steps: Sequence[Step], is_product: bool, task_id: str) -> Problem:
    """The problem that asks for `steps` on arguments `names`."""
    words = ", then ".join(step.words for step in steps)
    asked = "product" if is_product else "sum"
    docstring = (
        f"{words[0].upper()}{words[1:]}.\n    Return the {asked} of the {NUMBERS[len(names)]} numbers."
    )
    prompt = f'def {ENTRY}({", ".join(names)}):\n    """{docstring}\n    """\n'
    cases = [tuple((7 * i + 11 * j) % 17 - 3 for i in range(1, len(names) + 1)) for j in range(6)]

    def answers(of: Sequence[Step]) -> list[int]:
        return [answer(of, dict(zip(names, case, strict=True)), is_product) for case in cases]

    slips = [slip for slip in map(answers, without_one(steps)) if slip != answers(steps)]
    test = (
        "def check(candidate):\n"
        f"    got = [candidate(*case) for case in {cases!r}]\n"
        f"    assert got not in {slips!r}, {FORGOTTEN!r}\n"
        f"    assert got == {answers(steps)!r}, {OTHER!r}\n"
    )
    lines = [f"    {n} += {step.amount}\n" for step in steps for n in step.names]
    solution = "".join(lines) + f"    return {(' * ' if is_product else ' + ').join(names)}\n"
    return Problem(task_id, prompt, ENTRY, test, solution=solution)


def binding_problems(longest: int = 4, each: int = 20, seed: int = 0) -> dict[str, Problem]:
    """Problems of 1 to `longest` operations, `each` of a number, on two to four variables."""
    rng = np.random.default_rng(seed)
    problems = {}
    for count in range(1, longest + 1):
        for number in range(each):
            names = NAMES[: rng.integers(2, 5)]
            steps = []
            for _ in range(count):
                bound = rng.choice(len(names), rng.integers(1, 3), replace=False)
                amount = int(rng.integers(1, 10)) * int(rng.choice((-1, 1)))
                steps.append(Step(amount, tuple(names[i] for i in bound)))
            name = f"binding/{count}/{number}"
            problems[name] = binding_problem(names, steps, bool(rng.integers(2)), name)
    return problems


def report(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The pass rate by number of operations, and what the wrong answers were."""
    counts = by_problem(rows)
    sizes = sorted({int(name.split("/")[1]) for name in counts})
    results = [
        share(
            f"{size} operation{'s' * (size > 1)}",
            [c for name, c in counts.items() if name.split("/")[1] == str(size)],
        )
        for size in sizes
    ]
    kinds = Counter(
        next((kind for kind in (FORGOTTEN, OTHER) if kind in row["detail"]), row["ending"])
        for row in rows
        if not row["passed"]
    )
    return {"results": results, "wrong": dict(kinds.most_common())}
