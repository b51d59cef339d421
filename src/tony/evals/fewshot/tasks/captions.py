"""Captions from one language to another, in GPT-3's format (Brown et al. 2020, section 3.3): "\\nA frog. =" -> " Une grenouille.".

Real parallel text: what translators wrote under Tux Paint's stamps, a sentence or two each. The head is that of the paper's
figure 2.1, at K = 0 too. Answers are greedy, where the paper searches with four beams. BLEU is of all answers together.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from tony.data.tuxpaint import captions, stamps
from tony.evals.task import Example, Task

SEED = 2005_14171
LANGUAGES = {"en": "English", "fr": "French", "de": "German", "es": "Spanish"}
SHARE = 4  # one pair in so many is for worked examples

Pair = tuple[str, str]  # a caption in English, and in another language


def _plain(text: str) -> str:
    """What makes two captions the same: their letters and digits, whatever their case."""
    return "".join(c for c in text.casefold() if c.isalnum())


def split(pairs: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
    """(test, train) of different pairs: no caption of the one, in either language, is in the other.

    A pair that says the same in both languages is not translated, and left out. The split does not depend on the direction
    that is asked. Captions that differ in a word, such as "A red bus." and "A green bus.", may be on both sides.
    """
    different = {
        (_plain(one), _plain(other)): (one, other) for one, other in pairs if _plain(one) != _plain(other)
    }
    ordered = [different[key] for key in sorted(different)]
    ordered = [ordered[i] for i in np.random.default_rng([SEED]).permutation(len(ordered))]
    train = ordered[: len(ordered) // SHARE]
    known = {_plain(text) for pair in train for text in pair}
    test = [pair for pair in ordered[len(train) :] if known.isdisjoint(map(_plain, pair))]
    return test, train


def examples(pairs: Iterable[Pair]) -> tuple[Example, ...]:
    """A question for each caption (the first of a pair); all its translations are right."""
    translations: dict[str, list[Pair]] = {}
    for pair in pairs:
        translations.setdefault(_plain(pair[0]), []).append(pair)
    return tuple(
        Example(
            context=f"\n{own[0][0]} =",
            target=f" {own[0][1]}",
            accepted=tuple(f" {other}" for _, other in own[1:]),
        )
        for own in translations.values()
    )


@cache
def _captions() -> tuple[dict[str, str], ...]:
    return tuple(captions(path) for path in sorted(stamps().rglob("*.txt")))


@cache
def _examples(source: str, target: str) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(test, train) of one direction."""
    other = target if source == "en" else source
    halves = split((own["en"], own[other]) for own in _captions() if other in own)
    if source != "en":
        halves = tuple([(b, a) for a, b in half] for half in halves)
    test, train = halves
    return examples(test), examples(train)


def translation() -> list[Task]:
    """From English and into it."""
    pairs = [(a, b) for other in LANGUAGES if other != "en" for a, b in (("en", other), (other, "en"))]
    return [
        Task(
            name=f"captions-{a}-{b}",
            head=f"Translate {LANGUAGES[a]} to {LANGUAGES[b]}:",
            test=lambda a=a, b=b: _examples(a, b)[0],
            train=lambda a=a, b=b: _examples(a, b)[1],
            metric="bleu",
            max_tokens=64,
        )
        for a, b in pairs
    ]
