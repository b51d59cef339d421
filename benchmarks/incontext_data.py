"""Text that holds patterns, for benchmarks/incontext.py: blocks of worked examples of one rule each, among WordNet's definitions.

A block is a run of lines "reverse = esrever", all of one rule. Rules are GPT-3's five word scrambles, and steps such as "reverse"
or "drop the vowels", one alone or two in a row. A fifth of the pairs, and a fifth of the words, are never in a block.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from tony.evals.fewshot.tasks.scramble import HEAD, TESTS
from tony.evals.fewshot.tasks.words import frequent_words, synsets
from tony.evals.task import Example, Task

WORDS = 10_000  # the most frequent ones of 4 to 9 letters
BLOCKS = 12  # of a document
PROSE = 0.2  # share of the blocks that are definitions
SEED = 2005_14165
VOWELS = "aeiou"

STEPS: dict[str, Callable[[str], str]] = {
    "reverse": lambda w: w[::-1],
    "rotate": lambda w: w[1:] + w[:1],
    "rotate back": lambda w: w[-1:] + w[:-1],
    "swap ends": lambda w: w[-1] + w[1:-1] + w[0],
    "double": lambda w: "".join(c + c for c in w),
    "drop first": lambda w: w[1:],
    "drop last": lambda w: w[:-1],
    "consonants": lambda w: "".join(c for c in w if c not in VOWELS),
    "next letter": lambda w: "".join(chr((ord(c) - 96) % 26 + 97) for c in w),
    "sort": lambda w: "".join(sorted(w)),
    "every second": lambda w: w[::2],
    "dashes": lambda w: "-".join(w),
    "upper case": str.upper,
}
Rule = tuple[str, ...]
PROBES = ("elephant", "quizzes", "banana", "abcdefgh", "tsunami")  # words that tell all different rules apart


def _share(name: str) -> float:
    """A number in [0, 1) that only `name` decides."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48


def apply(rule: Rule, word: str) -> str:
    for step in rule:
        word = STEPS[step](word)
    return word


def _split() -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """The rules that are in the text, and those that never are under any name: "reverse, rotate" is "rotate back, reverse"."""
    effects: dict[tuple[str, ...], list[Rule]] = {}
    for rule in (*((step,) for step in STEPS), *permutations(STEPS, 2)):
        effect = tuple(apply(rule, probe) for probe in PROBES)
        if effect != PROBES:
            effects.setdefault(effect, []).append(rule)
    seen, unseen = [], []
    for rules in effects.values():
        is_single = len(rules[0]) == 1
        (seen if is_single or _share("+".join(rules[0])) > 0.2 else unseen).append(rules[0])
    return tuple(seen), tuple(unseen)


SEEN, UNSEEN = _split()


def words(held_out: bool) -> list[str]:
    """The words of the blocks, or the fifth of them that is never in one."""
    usual = [w for w in frequent_words() if 4 <= len(w) <= 9 and set(w) <= set(string.ascii_lowercase)]
    return [w for w in usual[:WORDS] if (_share(w) < 0.2) == held_out]


def pair_of(rule: str | Rule, word: str, stream: np.random.Generator) -> tuple[str, str]:
    """What stands before and behind the equals sign."""
    if isinstance(rule, str):
        return TESTS[rule](word, stream), word
    return word, apply(rule, word)


def write_corpus(path: Path, documents: int) -> None:
    """A JSONL file of documents that `tony train` reads."""
    known, stream = words(held_out=False), np.random.default_rng(SEED)
    definitions = [f"{s.words[0]}: {s.definition}" for part in ("noun", "verb") for s in synsets(part)]

    def block() -> str:
        if stream.random() < PROSE:
            return "\n".join(definitions[i] for i in stream.integers(0, len(definitions), 6))
        scrambled = stream.random() < 0.3
        rule = list(TESTS)[stream.integers(len(TESTS))] if scrambled else SEEN[stream.integers(len(SEEN))]
        chosen = (known[i] for i in stream.integers(0, len(known), int(stream.integers(2, 24))))
        lines = [" = ".join(pair_of(rule, word, stream)) for word in chosen]
        head = [HEAD] if scrambled and stream.random() < 0.5 else []
        return "\n".join([*head, *lines])

    with path.open("w", encoding="utf-8") as out:
        for _ in range(documents):
            text = "\n\n".join(block() for _ in range(BLOCKS))
            out.write(json.dumps({"parts": [{"type": "text", "text": text}]}) + "\n")


def tasks() -> dict[str, list[Task]]:
    """By family: the five scrambles, rules that the text has (eight), and pairs of steps that it never has (eight)."""
    single = [(step,) for step in ("reverse", "swap ends", "consonants", "next letter")]
    seen = [*single, *_first([rule for rule in SEEN if len(rule) == 2], 4)]
    return {
        "scrambles": [_task(name, name) for name in TESTS],
        "seen rules": [_task("+".join(rule), rule) for rule in seen],
        "unseen pairs": [_task("+".join(rule), rule) for rule in _first(UNSEEN, 8)],
    }


def _first(rules: Sequence[Rule], count: int) -> list[Rule]:
    """Some of `rules`, in an order that has nothing to do with them."""
    return sorted(rules, key=lambda rule: _share("chosen " + "+".join(rule)))[:count]


def _task(name: str, rule: str | Rule) -> Task:
    def examples(held_out: bool) -> list[Example]:
        stream = np.random.default_rng([SEED, int(held_out)])
        return list(_examples(rule, words(held_out), stream))

    return Task(
        name=name,
        head=HEAD if isinstance(rule, str) else "",
        test=lambda: examples(True),
        train=lambda: examples(False),
        max_tokens=20,
    )


def _examples(rule: str | Rule, of: list[str], stream: np.random.Generator) -> Iterator[Example]:
    for word in of:
        asked, answer = pair_of(rule, word, stream)
        if answer and asked != answer:
            yield Example(context=f"\n{asked} =", target=f" {answer}")
