"""Who is shown which text: every participant judges every opening once, in an order of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HANDS = (("model", True), ("control", False), ("control", True), ("model", False))


@dataclass(frozen=True)
class Shown:
    """A text before a participant.

    Attributes:
        item: which one, from 0.
        arm: "model" or "control", a quiz each: half of the texts of either are real.
        is_machine: whether the arm's machine wrote it.
    """

    item: int
    arm: str
    is_machine: bool


def deal(num_items: int, participant: int, seed: int) -> list[Shown]:
    """What participant 1, 2, ... is shown, in order.

    The items are dealt into four hands: model or control, real or not. Hands of one participant differ by one item at
    most, and go round: of four participants in a row each sees an item in another hand.
    """
    places = np.random.default_rng([seed, 0]).permutation(num_items)
    order = np.random.default_rng([seed, participant]).permutation(num_items)
    return [Shown(int(i), *HANDS[(places[i] + participant) % len(HANDS)]) for i in order]
