"""The contract of a probe: what it asks a model, in parts that a kill loses one of, and the numbers that come of the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tony.evals.task import Result

TOGETHER = 48  # completions written together, three full batches of 16: what a kill loses at most
Row = dict[str, Any]


class Subject(Protocol):
    """A model that is probed.

    Attributes:
        name: what results call it.
        identity: what its answers depend on: hashes of its weights, their precision.
    """

    name: str
    identity: dict[str, Any]

    def nats(self, contexts: Sequence[str], continuations: Sequence[str]) -> list[list[float]]:
        """ln P(continuation | context), for each context those of all continuations."""

    def write(self, prompt: str, n: int, seed: int) -> list[str]:
        """`n` sampled completions; the same seed gives the same ones."""


@dataclass(frozen=True)
class Unit:
    """What is asked at once.

    Attributes:
        key: all that the answers depend on, the model apart.
        count: prompts weighed, or completions written.
        ask: the rows that come of it, of what JSON can hold.
    """

    key: str
    count: int
    ask: Callable[[Subject], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is asked, and how the answers are counted.

    Attributes:
        name: what results call it.
        units: (completions a prompt, seed) -> what is asked.
        summarise: all rows -> the figures, and what else they say.
        limits: what the probe cannot show, in a sentence or two that are printed below its figures.
    """

    name: str
    units: Callable[[int, int], list[Unit]]
    summarise: Callable[[Sequence[Row]], tuple[list[Result], dict[str, Any]]]
    limits: str


def writing_units(
    prompt: str, samples: int, seed: int, row_of: Callable[[str], Row], how: str = ""
) -> list[Unit]:
    """`samples` completions of `prompt`, in parts.

    Args:
        prompt: what stands before.
        samples: completions in all.
        seed: with the prompt and the place of the part it makes the part's own.
        row_of: what is kept of a completion.
        how: what else `row_of` depends on.
    """

    def unit(first: int) -> Unit:
        n = min(TOGETHER, samples - first)
        name = f"{prompt} | seed {seed} | from {first}"
        own = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")

        def ask(subject: Subject) -> list[Row]:
            return [{"prompt": prompt, "text": text} | row_of(text) for text in subject.write(prompt, n, own)]

        return Unit(f"{name} | {n} completions | {how}", n, ask)

    return [unit(first) for first in range(0, samples, TOGETHER)]
