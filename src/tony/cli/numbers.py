"""Options that are lists of numbers, such as --k 1,10."""

from __future__ import annotations

from typing import TypeVar

from tony.errors import TonyError

Number = TypeVar("Number", int, float)


def read_numbers(option: str, text: str, kind: type[Number], least: Number, example: str) -> list[Number]:
    """The numbers of `text`, without repeats, in the order given.

    Raises:
        TonyError: not numbers of that kind from `least` on, with commas between.
    """
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(number >= least for number in numbers):
        raise TonyError(
            f"--{option} {text}: numbers from {least:g} on with commas between are expected, such as {example}"
        )
    return list(dict.fromkeys(numbers))
