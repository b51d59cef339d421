"""When the output of a script counts as the expected one: the rule of APPS-form problems."""

from __future__ import annotations

import math
from decimal import Decimal

RELATIVE, ABSOLUTE = 1e-5, 1e-8  # numpy.allclose's, which APPS uses


def outputs_match(got: str, expected: str) -> bool:
    """Whether `got` equals `expected` line by line, without blank lines and white space at the ends of lines.

    Where two lines differ, their words are compared one by one, and two numbers are equal when they are close. Stricter
    than APPS in one thing: lines in another order do not match.
    """
    left, right = _lines(got), _lines(expected)
    return len(left) == len(right) and all(
        a == b or _words_match(a, b) for a, b in zip(left, right, strict=True)
    )


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _words_match(left: str, right: str) -> bool:
    a, b = left.split(), right.split()
    return len(a) == len(b) and all(x == y or _numbers_match(x, y) for x, y in zip(a, b, strict=True))


def _numbers_match(left: str, right: str) -> bool:
    """An expected integer must be met exactly (3.0 meets 3); where it has a point or an exponent, close is enough."""
    try:
        if right.lstrip("+-").isdecimal():
            return Decimal(left) == int(right)
        return math.isclose(float(left), float(right), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    except (ArithmeticError, ValueError):
        return False
