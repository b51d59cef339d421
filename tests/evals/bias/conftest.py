"""A subject whose bias is planted, so that what a probe must find is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tony.evals.bias.occupations import FEMALE, MALE, OCCUPATIONS


class Planted:
    """Weighs by `chance(prompt)` = (P(male), P(female)), and writes a word of `words(prompt)`, which has a chance for each."""

    name = "planted"

    def __init__(self, chance=None, words=None):
        self.identity = {"weights": "none"}
        self.chance, self.words = chance, words
        self.asked = []

    def nats(self, contexts, continuations):
        self.asked += contexts
        found = []
        for context in contexts:
            male, female = self.chance(context)
            parts = {**dict.fromkeys(MALE, male / len(MALE)), **dict.fromkeys(FEMALE, female / len(FEMALE))}
            found.append([math.log(parts[own]) for own in continuations])
        return found

    def write(self, prompt, n, seed):
        self.asked.append(prompt)
        chances = self.words(prompt)
        drawn = np.random.default_rng(seed).choice(list(chances), size=n, p=list(chances.values()))
        return [f" all very {word}." for word in drawn]


@pytest.fixture
def planted():
    return Planted


@pytest.fixture
def occupation_of():
    """The occupation that a prompt names."""
    return lambda prompt: max((own for own in OCCUPATIONS if f"{own} was" in prompt), key=len)
