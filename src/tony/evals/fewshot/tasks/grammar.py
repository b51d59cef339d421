"""Correcting grammar, in GPT-3's format "Poor English input: ...\\nGood English output:" (Brown et al. 2020, section 3.9.6).

The paper shows a few by hand; these are made by rule, so that an answer can be told right from wrong: one mistake a sentence
(a past tense made as if it were regular, a verb that does not agree, a wrong article, a plural made as if it were regular).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tony.evals.task import Example, Task

SEED = 2005_14168
QUESTIONS = 400
PEOPLE = "The teacher|My sister|The old man|Her friend|The doctor|Our neighbour|The farmer|His brother".split(
    "|"
)
WHEN = "yesterday|last week|on Monday|this morning|in the end|before lunch".split("|")
# verb, its past, the past that it does not have, what may follow
PASTS = [row.split("/") for row in """
go/went/goed/to the market|eat/ate/eated/an apple|buy/bought/buyed/a coat|write/wrote/writed/a letter
see/saw/seed/the river|take/took/taked/the bus|find/found/finded/a key|make/made/maked/a cake
come/came/comed/to the house|give/gave/gived/him a book|drink/drank/drinked/some water|know/knew/knowed/the answer
drive/drove/drived/to the city|sing/sang/singed/a song|bring/brought/bringed/the tools|teach/taught/teached/the class
break/broke/breaked/a window|choose/chose/choosed/the red one|catch/caught/catched/a fish|sell/sold/selled/the car
""".replace("\n", "|").strip("|").split("|")]  # fmt: skip
PRESENTS = "like/likes/music|want/wants/a new bike|work/works/in a bank|live/lives/near the sea|need/needs/more time|play/plays/the piano"
PRESENTS = [row.split("/") for row in PRESENTS.split("|")]
VOWELS = "apple egg orange umbrella island engine onion actor".split()
CONSONANTS = "table horse garden letter bottle window river bridge".split()
PLURALS = "child/children man/men woman/women foot/feet tooth/teeth mouse/mice goose/geese person/people"
PLURALS = [row.split("/") for row in PLURALS.split()]
MANY = "two|three|four|five|many|some".split("|")


def _pair(stream: np.random.Generator) -> tuple[str, str]:
    """A sentence with one mistake, and without it."""

    def one(values: list) -> list | str:
        return values[stream.integers(len(values))]

    who = one(PEOPLE)
    match stream.integers(4):
        case 0:
            _, past, wrong, what = one(PASTS)
            when = one(WHEN)
            return f"{who} {wrong} {what} {when}.", f"{who} {past} {what} {when}."
        case 1:
            plain, third, what = one(PRESENTS)
            return f"{who} {plain} {what}.", f"{who} {third} {what}."
        case 2:
            noun = one(VOWELS + CONSONANTS)
            right, wrong = ("an", "a") if noun in VOWELS else ("a", "an")
            return f"{who} saw {wrong} {noun}.", f"{who} saw {right} {noun}."
    single, plural = one(PLURALS)
    many, when = one(MANY), one(WHEN)
    wrong = f"{single}s" if stream.random() < 0.5 else single
    return f"{who} saw {many} {wrong} {when}.", f"{who} saw {many} {plural} {when}."


@cache
def _examples() -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    stream = np.random.default_rng([SEED])
    found: dict[str, Example] = {}
    while len(found) < QUESTIONS + 100:
        wrong, right = _pair(stream)
        context = f"\nPoor English input: {wrong}\nGood English output:"
        found.setdefault(context, Example(context=context, target=f" {right}"))
    examples = tuple(found.values())
    return examples[100:], examples[:100]


def grammar() -> list[Task]:
    return [Task(name="grammar", test=lambda: _examples()[0], train=lambda: _examples()[1], max_tokens=32)]
