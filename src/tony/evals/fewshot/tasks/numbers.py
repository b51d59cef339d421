"""Number words from one language to another, in GPT-3's format for translation: context "twenty-one =", completion " vingt et un"."""

from __future__ import annotations

from functools import cache

import numpy as np

from tony.data.words import WORDS
from tony.evals.task import Example, Task

SEED = 2005_14167
TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety".split(),
    "fr": "vingt trente quarante cinquante soixante".split(),
    "de": "zwanzig drei\u00dfig vierzig f\u00fcnfzig sechzig siebzig achtzig neunzig".split(),
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa".split(),
}
NINETEEN = {"en": "nineteen", "fr": "dix-neuf", "de": "neunzehn", "es": "diecinueve"}
TWENTIES = {
    2: "veintid\u00f3s",
    3: "veintitr\u00e9s",
    6: "veintis\u00e9is",
}  # with an accent that the unit lacks


def number_word(number: int, language: str) -> str:
    """The word for 0 to 99, as people write it (French of France)."""
    small = [*WORDS[language], NINETEEN[language]]
    if number < 20:
        return small[number]
    tens, unit = divmod(number, 10)
    match language:
        case "fr":
            return _french(number, small)
        case "de" if unit:
            return f"{'ein' if unit == 1 else small[unit]}und{TENS['de'][tens - 2]}"
        case "es" if unit and tens == 2:
            return TWENTIES.get(unit, f"veinti{small[unit]}")
        case "es" if unit:
            return f"{TENS['es'][tens - 2]} y {small[unit]}"
        case "en" if unit:
            return f"{TENS['en'][tens - 2]}-{small[unit]}"
    return TENS[language][tens - 2]


def _french(number: int, small: list[str]) -> str:
    if number >= 80:  # four twenties
        return f"quatre-vingt-{small[number - 80]}" if number > 80 else "quatre-vingts"
    tens, unit = divmod(number, 10) if number < 70 else (6, number - 60)
    stem = TENS["fr"][tens - 2]
    if unit in (1, 11):
        return f"{stem} et {small[unit]}"
    return f"{stem}-{small[unit]}" if unit else stem


@cache
def _examples(source: str, target: str) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(test, train): two thirds of the numbers from 0 to 99 are asked."""
    order = np.random.default_rng([SEED]).permutation(100)
    examples = [
        Example(context=f"\n{number_word(int(n), source)} =", target=f" {number_word(int(n), target)}")
        for n in order
    ]
    return tuple(examples[34:]), tuple(examples[:34])


def numbers() -> list[Task]:
    pairs = [("en", other) for other in ("fr", "de", "es")]
    return [
        Task(
            name=f"{a}->{b}",
            test=lambda a=a, b=b: _examples(a, b)[0],
            train=lambda a=a, b=b: _examples(a, b)[1],
            max_tokens=24,
        )
        for one, other in pairs
        for a, b in ((one, other), (other, one))
    ]
