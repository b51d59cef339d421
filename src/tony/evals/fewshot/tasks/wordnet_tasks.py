"""Two tasks of choice from WordNet: which word fills a blank (GPT-3's format for LAMBADA), and which word a definition is of."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from tony.evals.fewshot.tasks.words import Synset, frequent_words, synsets
from tony.evals.task import Example, Task

SEED = 2005_14170
QUESTIONS = 1000
CHOICES = 4
COMMON = 5000  # words among the so many most frequent ones: both the answers and the wrong choices


@cache
def _senses(part: str) -> tuple[Synset, ...]:
    """Senses whose most usual word is a frequent one."""
    common = set(frequent_words()[:COMMON])
    return tuple(s for s in synsets(part) if s.words[0] in common and s.words[0].islower())


def _others(word: str, senses: tuple[Synset, ...], avoid: Synset, stream: np.random.Generator) -> list[str]:
    """Words of the same part of speech that this sense does not have."""
    others: list[str] = []
    while len(others) < CHOICES - 1:
        other = senses[stream.integers(len(senses))].words[0]
        if other != word and other not in avoid.words and other not in others:
            others.append(other)
    return others


def _choices(word: str, others: list[str], stream: np.random.Generator) -> tuple[str, ...]:
    words = [word, *others]
    return tuple(f" {words[i]}" for i in stream.permutation(CHOICES))


@cache
def _cloze() -> tuple[Example, ...]:
    stream = np.random.default_rng([SEED, 0])
    found: dict[str, Example] = {}
    for part in ("noun", "verb", "adj"):
        senses = _senses(part)
        for i in stream.permutation(len(senses)):
            sense, word = senses[i], senses[i].words[0]
            fitting = [
                s for s in sense.sentences if len(s.split()) > 4 and len(re.findall(rf"\b{word}\b", s)) == 1
            ]
            if not fitting:
                continue
            blank = re.sub(rf"\b{word}\b", "____", fitting[0])
            context = f"{blank[0].upper()}{blank[1:].rstrip('.')}. ->"
            choices = _choices(word, _others(word, senses, sense, stream), stream)
            found.setdefault(context, Example(context=context, target=f" {word}", choices=choices))
    examples = list(found.values())
    return tuple(examples[i] for i in stream.permutation(len(examples)))


@cache
def _definitions() -> tuple[Example, ...]:
    stream = np.random.default_rng([SEED, 1])
    found: dict[str, Example] = {}
    for part in ("noun", "verb", "adj"):
        senses = _senses(part)
        for i in stream.permutation(len(senses)):
            sense, word = senses[i], senses[i].words[0]
            if re.search(rf"\b{word}", sense.definition) or len(sense.definition) > 120:
                continue
            context = f'Q: Which word means "{sense.definition}"?\nA:'
            choices = _choices(word, _others(word, senses, sense, stream), stream)
            found.setdefault(context, Example(context=context, target=f" {word}", choices=choices))
    examples = list(found.values())
    return tuple(examples[i] for i in stream.permutation(len(examples)))


def wordnet() -> list[Task]:
    """The first thousand are asked; worked examples come from the thousand behind them."""
    return [
        Task(
            name="cloze",
            head="Fill in blank:\n\n",
            between="\n",
            test=lambda: _cloze()[:QUESTIONS],
            train=lambda: _cloze()[QUESTIONS : 2 * QUESTIONS],
            scoring="choice",
            normalise="token",
        ),
        Task(
            name="definition",
            between="\n\n",
            test=lambda: _definitions()[:QUESTIONS],
            train=lambda: _definitions()[QUESTIONS : 2 * QUESTIONS],
            scoring="choice",
            normalise="answer",
            answer_context="A:",
        ),
    ]
