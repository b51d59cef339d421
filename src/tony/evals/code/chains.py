"""How the pass rate falls with the length of a chain of operations in one docstring (Chen et al. 2021, 6 and appendix C).

Thirteen string operations; a problem chains several different ones. The paper: "with each additional component, pass
rate drops by roughly a factor of 2-3".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tony.evals.code.problems import Problem
from tony.evals.code.studies import by_problem, share
from tony.evals.intervals import REDRAWS


@dataclass(frozen=True)
class Block:
    """One operation: how the docstring says it, the line of code that does it, and the function that it must equal."""

    words: str
    code: str
    apply: Callable[[str], str]


BLOCKS = (
    Block("remove all instances of the letter e from the string", 's = s.replace("e", "")', lambda s: s.replace("e", "")),
    Block("replace all spaces with exclamation points in the string", 's = s.replace(" ", "!")', lambda s: s.replace(" ", "!")),
    Block("convert the string s to lowercase", "s = s.lower()", lambda s: s.lower()),
    Block("remove the first and last two characters of the string", "s = s[2:-2]", lambda s: s[2:-2]),
    Block("removes all vowels from the string", 's = "".join(c for c in s if c not in "aeiouAEIOU")',
          lambda s: "".join(c for c in s if c not in "aeiouAEIOU")),
    Block("remove every third character from the string", 's = "".join(c for i, c in enumerate(s) if i % 3 != 0)',
          lambda s: "".join(c for i, c in enumerate(s) if i % 3)),
    Block("drop the last half of the string, as computed by characters", "s = s[: len(s) // 2]", lambda s: s[: len(s) // 2]),
    Block("replace spaces with triple spaces", 's = s.replace(" ", "   ")', lambda s: s.replace(" ", "   ")),
    Block("reverse the order of words in the string", 's = " ".join(s.split()[::-1])', lambda s: " ".join(s.split()[::-1])),
    Block("drop the first half of the string, as computed by number of words",
          's = " ".join(s.split()[len(s.split()) // 2 :])', lambda s: " ".join(s.split()[len(s.split()) // 2 :])),
    Block("add the word apples after every word in the string", 's = " ".join(w + " apples" for w in s.split())',
          lambda s: " ".join(f"{w} apples" for w in s.split())),
    Block("make every other character in the string uppercase",
          's = "".join(c.upper() if i % 2 == 0 else c for i, c in enumerate(s))',
          lambda s: "".join(c if i % 2 else c.upper() for i, c in enumerate(s))),
    Block("delete all exclamation points, question marks, and periods from the string",
          's = "".join(c for c in s if c not in "!?.")', lambda s: "".join(c for c in s if c not in "!?.")),
)  # fmt: skip
ENTRY = "string_manipulation"
_PROMPT = '''\
def {entry}(s: str):
    """
    This function takes a string as input, then returns the result of performing
    the following sequence of manipulations on that string:
{bullets}
    """
'''
_INPUTS = (
    "Hello there, how are you today?",
    "The quick brown fox jumps over the lazy dog. Twice!",
    "every EEL needs a tree",
    "a b c d e f g h i j k",
    "One. Two? Three! four five six seven",
    "antidisestablishmentarianism",
    "",
)


def chain(blocks: Sequence[Block], task_id: str) -> Problem:
    """The problem that asks for `blocks` one after another."""
    answers = []
    for text in _INPUTS:
        for block in blocks:
            text = block.apply(text)
        answers.append(text)
    bullets = "\n".join(f"    -{block.words}" for block in blocks)
    tests = "\n".join(
        f"    assert candidate({given!r}) == {wanted!r}"
        for given, wanted in zip(_INPUTS, answers, strict=True)
    )
    solution = "".join(f"    {block.code}\n" for block in blocks) + "    return s\n"
    return Problem(
        task_id,
        _PROMPT.format(entry=ENTRY, bullets=bullets),
        ENTRY,
        f"def check(candidate):\n{tests}\n",
        solution=solution,
    )


def chain_problems(longest: int = 5, each: int = 26, seed: int = 0) -> dict[str, Problem]:
    """Chains of 1 to `longest` different blocks, `each` of a length; of length 1 the thirteen there are."""
    rng = np.random.default_rng(seed)
    problems = {}
    for length in range(1, longest + 1):
        count = len(BLOCKS) if length == 1 else each
        for number in range(count):
            chosen = [number] if length == 1 else rng.choice(len(BLOCKS), length, replace=False)
            name = f"chain/{length}/{number}"
            problems[name] = chain([BLOCKS[i] for i in chosen], name)
    return problems


def report(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The pass rate of each length, and the factor by which one more block divides it.

    The factor is that of the likeliest p(length) = a / factor^(length - 1) (binomial likelihood), with a bootstrap over
    problems; there is none where no sample of some length above 1 is right.
    """
    lengths: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    for name, count in by_problem(rows).items():
        lengths[int(name.split("/")[1])][name] = count
    results = [
        share(f"{length} block{'s' * (length > 1)}", list(counts.values()))
        for length, counts in sorted(lengths.items())
    ]
    if sum(right > 0 for counts in lengths.values() for _, right in counts.values()) < 2 or len(lengths) < 2:
        return {"results": results, "factor": None, "why": "too few right samples to fit a factor"}
    counts = [np.array(list(of.values()), float) for _, of in sorted(lengths.items())]
    fit = _Fit(sorted(lengths))
    rng = np.random.default_rng(0)
    drawn = [
        fit([c[rng.integers(len(c), size=len(c))].sum(axis=0) for c in counts]) for _ in range(REDRAWS // 4)
    ]
    low, high = map(float, np.quantile(drawn, (0.025, 0.975)))
    factor = {"value": fit([c.sum(axis=0) for c in counts]), "low": low, "high": high}
    return {"results": results, "factor": factor}


class _Fit:
    """The likeliest factor for counts of each length, on a fixed grid of 1/4 to 1000 (no longer chain is ever right)."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._factors = np.geomspace(0.25, 1000, 300)
        shape = self._factors[:, None] ** -np.array([n - 1 for n in lengths], float)  # (factors, lengths)
        top = np.geomspace(1e-4, 1, 100) / np.maximum(
            1, shape.max(axis=1, keepdims=True)
        )  # (factors, levels)
        p = np.clip(top[:, :, None] * shape[:, None], 1e-12, 1 - 1e-12)
        self._right, self._wrong = np.log(p), np.log1p(-p)

    def __call__(self, sums: Sequence[np.ndarray]) -> float:
        """`sums`: of each length, (samples, right ones)."""
        n, c = np.array(sums).T
        likelihood = self._right @ c + self._wrong @ (n - c)
        return float(self._factors[likelihood.max(axis=1).argmax()])
