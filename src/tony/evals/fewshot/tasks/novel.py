"""Using a word that does not exist, once it is explained: GPT-3's section 3.9.5 made measurable.

'A "whatpu" is a small, furry animal native to Tanzania. An example of a sentence that uses the word whatpu is:'. The paper
lets people judge what is written; here the model chooses among four sentences that use the word as four kinds of thing.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tony.evals.task import Example, Task

SEED = 2005_14169
QUESTIONS = 300
ONSETS = "b br c ch d dr f fl g gl h k l m n p pl qu r s sk t tr v w y z".split()
NUCLEI = "a e i o u ai ee oo ou".split()
CODAS = "b ck d ff g l m n p r sh t x zz".split()
KINDS: dict[str, tuple[list[str], list[str]]] = {
    "animal": (
        [
            "is a small, furry animal native to Tanzania",
            "is a large bird that lives by the sea",
            "is a shy animal that hunts at night",
            "is a kind of wild dog",
            "is a brown animal with long ears",
        ],
        [
            "The {w} ran into the forest when it heard us.",
            "We saw a {w} feeding its young.",
            "The {w} was hungry and looked for food.",
            "A {w} bit the farmer on the leg.",
        ],
    ),
    "food": (
        [
            "is a sweet cake made with honey",
            "is a thick soup eaten in winter",
            "is a sour fruit with a hard skin",
            "is a bread made from rice",
            "is a spicy sauce made from peppers",
        ],
        [
            "We ate a {w} for breakfast.",
            "This {w} tastes better with a little salt.",
            "My grandmother cooked a {w} for dinner.",
            "He asked the waiter for one more {w}.",
        ],
    ),
    "tool": (
        [
            "is a tool used to cut wood",
            "is a machine that cleans floors",
            "is a long knife used by fishermen",
            "is a device for measuring wind",
            "is a heavy hammer with two heads",
        ],
        [
            "The workman put the {w} back in his toolbox.",
            "The handle of the {w} was broken.",
            "You can repair it with a {w} and some nails.",
            "She switched off the {w} and unplugged it.",
        ],
    ),
    "garment": (
        [
            "is a warm coat worn in the mountains",
            "is a hat made of straw",
            "is a long dress worn at weddings",
            "is a pair of soft leather shoes",
            "is a scarf made of silk",
        ],
        [
            "She wore a red {w} to the party.",
            "His {w} did not match his trousers.",
            "The tailor sewed a new {w} for the bride.",
            "Take off your wet {w} and hang it up.",
        ],
    ),
}


def _word(stream: np.random.Generator) -> str:
    def part(values: list[str]) -> str:
        return values[stream.integers(len(values))]

    return part(ONSETS) + part(NUCLEI) + part(ONSETS) + part(NUCLEI) + part(CODAS)


@cache
def _examples() -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    stream = np.random.default_rng([SEED])
    found = []
    for _ in range(QUESTIONS + 100):
        word, kind = _word(stream), list(KINDS)[stream.integers(len(KINDS))]
        definition = KINDS[kind][0][stream.integers(5)]
        sentences = {name: KINDS[name][1][stream.integers(4)].format(w=word) for name in KINDS}
        found.append(
            Example(
                context=f'\nA "{word}" {definition}. An example of a sentence that uses the word {word} is:\n',
                target=sentences[kind],
                choices=tuple(sentences.values()),
            )
        )
    return tuple(found[100:]), tuple(found[:100])


def novel() -> list[Task]:
    return [
        Task(
            name="novel-words",
            test=lambda: _examples()[0],
            train=lambda: _examples()[1],
            scoring="choice",
            normalise="token",
        )
    ]
