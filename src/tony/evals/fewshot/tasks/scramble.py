"""GPT-3's five word-scrambling tests (Brown et al. 2020, section 3.9.2) in the strings of its released files.

Head "Please unscramble the letters into a word, and write that word:", context "\\nasinoc =", completion " casino". The paper
takes the 10,000 most frequent words of more than 4 and fewer than 15 letters by Norvig's counts; here frequency is the
number of tagged occurrences in SemCor that WordNet's cntlist.rev gives, words of equal count in the order of the alphabet.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import cache

import numpy as np

from tony.evals.fewshot.tasks.words import frequent_words
from tony.evals.task import Example, Task

HEAD = "Please unscramble the letters into a word, and write that word:"
WORDS = 10_000
SEED = 2005_14166

Scramble = Callable[[str, np.random.Generator], str]


def cycle(word: str, stream: np.random.Generator) -> str:
    """ "inevitably" -> "lyinevitab": the last letters come first."""
    first = int(stream.integers(1, len(word)))
    return word[first:] + word[:first]


def _anagram(kept: int) -> Scramble:
    """All but the first and last `kept` letters in random order."""

    def scramble(word: str, stream: np.random.Generator) -> str:
        middle = word[kept:-kept]
        return word[:kept] + "".join(middle[i] for i in stream.permutation(len(middle))) + word[-kept:]

    return scramble


def insert(word: str, stream: np.random.Generator) -> str:
    """ "succession" -> "s.u!c/c!e.s s i/o/n": a punctuation mark or a space between all letters."""
    marks = [" .!/"[i] for i in stream.integers(0, 4, len(word) - 1)]
    return "".join(a + b for a, b in zip(word, [*marks, ""], strict=True))


def reverse(word: str, stream: np.random.Generator) -> str:
    return word[::-1]


TESTS: dict[str, Scramble] = {
    "CL": cycle,
    "A1": _anagram(1),
    "A2": _anagram(2),
    "RI": insert,
    "RW": reverse,
}


@cache
def _examples(name: str) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(test, train): four fifths of the words are asked, the others are for worked examples.

    A scramble that leaves the word as it is, as of "eerie" in A2, is no question and is left out; so is one that another
    word has given.
    """
    words = [w for w in frequent_words() if 4 < len(w) < 15 and all(c in string.ascii_lowercase for c in w)]
    stream = np.random.default_rng([SEED, list(TESTS).index(name)])
    found: dict[str, Example] = {}
    for i in stream.permutation(min(WORDS, len(words))):
        scrambled = TESTS[name](words[i], stream)
        if scrambled != words[i]:
            found.setdefault(scrambled, Example(context=f"\n{scrambled} =", target=f" {words[i]}"))
    examples = tuple(found.values())
    cut = len(examples) // 5
    return examples[cut:], examples[:cut]


def scramble() -> list[Task]:
    return [
        Task(
            name=name,
            head=HEAD,
            test=lambda name=name: _examples(name)[0],
            train=lambda name=name: _examples(name)[1],
            max_tokens=16,
        )
        for name in TESTS
    ]
