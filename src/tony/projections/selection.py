"""Shrinkage: which change of coordinates to trust, judged in closed form on moments that it was not fitted on.

Every candidate is fitted on one fold of the rows and its expected error is computed on the moments of the other fold,
and the other way round; no projection is drawn. Doing nothing is always among the candidates, so the choice is never
worse than oblivious on the held-out moments. What was chosen is then fitted again on all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from tony.projections import balance
from tony.projections.balance import Basis, Leading
from tony.projections.moments import SecondMoment
from tony.projections.variance import Tails, inclusion, sampled

FLOORS = (1e-12, 1e-6, 1e-3, 1e-2, 0.1, 1.0)
RIDGES = (0.0, 1e-4, 1e-2, 0.1, 0.3, 1.0)
RANKS = (4, 16, 64, 128)
METHODS = ("auto", "oblivious", "diagonal", "low-rank", "full", "hybrid", "unbiased-optimal", "truncated")


@dataclass(frozen=True)
class Candidate:
    """One setting of the change of coordinates; infinite floor and ridge mean the identity and the diagonal."""

    family: str  # oblivious, diagonal, low-rank or full
    floor: float = float("inf")
    ridge: float = float("inf")
    rank: int = 0

    def fit(self, a: SecondMoment, b: SecondMoment) -> Basis:
        """The basis of this setting for second moments a (left) and b (right)."""
        if self.family == "oblivious":
            return balance.oblivious(len(a.diagonal))
        if self.family == "diagonal":
            return balance.diagonal(a, b, self.floor)
        if self.family == "low-rank":
            return balance.low_rank(a, b, self.floor, self.ridge, self.rank)
        return balance.full(a, b, self.floor, self.ridge)

    def __str__(self) -> str:
        parts = [self.family]
        parts += [f"floor {self.floor:g}"] if self.family != "oblivious" else []
        parts += [f"ridge {self.ridge:g}"] if self.family in ("low-rank", "full") else []
        parts += [f"rank {self.rank}"] if self.family == "low-rank" else []
        return ", ".join(parts)


def candidates(method: str, width: int, dense: bool, shrinkage) -> Iterator[Candidate]:
    """The settings that `method` may choose from; one of them where `shrinkage` is a number."""
    if shrinkage != "auto":
        yield _fixed(method, width, dense, float(shrinkage))
        return
    if method not in ("unbiased-optimal", "truncated"):
        yield Candidate("oblivious")
    if method in ("auto", "hybrid", "diagonal", "low-rank", "full"):
        yield from (Candidate("diagonal", floor) for floor in FLOORS)
    if method in ("auto", "hybrid", "low-rank") and not (dense and method != "low-rank"):
        ranks = sorted({min(rank, width) for rank in RANKS})
        floors = (1e-12, 1e-3, 0.1, 1.0)
        yield from (Candidate("low-rank", floor, 0.0, rank) for floor, rank in product(floors, ranks))
        yield from (Candidate("low-rank", float("inf"), 0.0, rank) for rank in ranks)
        yield from (Candidate("low-rank", floor, 0.1, rank) for floor, rank in product(floors, ranks))
    elif method in ("auto", "hybrid", "full", "unbiased-optimal", "truncated"):
        # Above a few hundred features each setting costs seconds, and the finest steps decide little.
        floors, ridges = (FLOORS, RIDGES) if width <= 256 else ((1e-6, 0.1, 1.0), (0.0, 0.3, 1.0))
        yield from (Candidate("full", *setting) for setting in product(floors, ridges))
        if method in ("unbiased-optimal", "truncated"):
            yield from (Candidate("full", floor) for floor in floors)


def _fixed(method: str, width: int, dense: bool, amount: float) -> Candidate:
    if method in ("oblivious", "diagonal"):
        return Candidate(method, amount)
    if method == "low-rank" or not dense:
        return Candidate("low-rank", amount, amount, min(64, width))
    return Candidate("full", amount, amount)


class Judge:
    """The closed-form error of one basis on given moments, for every k."""

    def __init__(self, method: str, projection: str, basis: Basis, a: SecondMoment, b: SecondMoment):
        self.method, self.projection = method, projection
        self.tails: Tails = basis.tails(a, b)
        self.spectrum = basis.spectrum
        self.products = basis.products(a, b) if method == "unbiased-optimal" else None

    def error(self, k: int, exact: int | None = None) -> float:
        """Mean squared error at k numbers a side; `exact` fixes the coordinates that a hybrid keeps."""
        if self.method == "truncated":
            return self.tails.truncated(k)
        if self.method == "unbiased-optimal":
            return sampled(self.products, inclusion(self.spectrum, k)[1])
        if exact is None:
            exact = min(self.ranks(k), key=lambda r: self.tails.projected(self.projection, k, r))
        return self.tails.projected(self.projection, k, exact)

    def ranks(self, k: int) -> list[int]:
        """How many leading coordinates the method may keep exactly at k."""
        if self.method not in ("auto", "hybrid"):
            return [0]
        if self.tails.ambient == 0 and k >= self.tails.size:
            return [self.tails.size]
        return list(range(min(k - 1, self.tails.size) + 1))


@dataclass(frozen=True)
class Choice:
    """What was chosen, and how it and doing nothing do on the held-out moments."""

    candidate: Candidate
    judges: tuple[Judge, ...]  # of the chosen candidate, one a fold
    oblivious: tuple[Judge, ...]
    errors: dict[Candidate, float]  # of every candidate, at the k of the fit

    def exact(self, k: int) -> int | None:
        """How many coordinates to keep exactly at k; None where the method has its own way."""
        return best(self.judges, k)[1]

    def error(self, k: int) -> float:
        """Expected error at k, mean over the folds."""
        return best(self.judges, k)[0]

    def oblivious_error(self, k: int) -> float:
        """Expected error of the same projection without a change of coordinates."""
        return best(self.oblivious, k)[0]

    @property
    def mean_square(self) -> float:
        """E <x, w>^2, what an error is to be compared with."""
        return float(np.mean([judge.tails.cross[0] for judge in self.judges]))


def best(judges: tuple[Judge, ...], k: int) -> tuple[float, int | None]:
    """(least mean error over the judges, number of exact coordinates that reaches it)."""
    if judges[0].method in ("truncated", "unbiased-optimal"):
        return float(np.mean([judge.error(k) for judge in judges])), None
    common = set.intersection(*(set(judge.ranks(k)) for judge in judges))
    return min((float(np.mean([judge.error(k, r) for judge in judges])), r) for r in common)


class Fitter:
    """Fits candidates to one pair of moments; low-rank ones of one floor share what they have in common.

    Args:
        a, b: moments of the left and of the right source.
        rank: the largest of any candidate.
    """

    def __init__(self, a: SecondMoment, b: SecondMoment, rank: int) -> None:
        self.a, self.b, self.rank = a, b, rank
        self._leading: dict[float, Leading] = {}

    def fit(self, candidate: Candidate) -> Basis:
        if candidate.family != "low-rank":
            return candidate.fit(self.a, self.b)
        if candidate.floor not in self._leading:
            self._leading[candidate.floor] = Leading(self.a, self.b, candidate.floor, self.rank)
        return self._leading[candidate.floor].low_rank(candidate.ridge, candidate.rank)


def _is_ridge_of_another_floor(candidate: Candidate, best_so_far: tuple | None) -> bool:
    """A ridge is tried only with the floor that was best without one: all pairs cost twice the time of a fit."""
    is_ridge = candidate.family == "low-rank" and candidate.ridge > 0
    return is_ridge and best_so_far is not None and best_so_far[0].floor != candidate.floor


def choose(
    settings: list[Candidate],
    folds: list[tuple[SecondMoment, SecondMoment]],
    method: str,
    projection: str,
    k: int,
) -> Choice:
    """The candidate with the least mean error at k, each fitted on one of `folds` and judged on the next.

    With a single fold candidates are judged on what they were fitted on. Of equals the first, the plainest, is taken.
    """
    held_out = folds[1:] + folds[:1]
    chosen, errors = None, {}
    rank = max((candidate.rank for candidate in settings), default=0)
    fitters = [Fitter(*fold, rank) for fold in folds]
    for candidate in settings:
        if _is_ridge_of_another_floor(candidate, chosen):
            continue
        judges = tuple(
            Judge(method, projection, fitter.fit(candidate), *seen)
            for fitter, seen in zip(fitters, held_out, strict=True)
        )
        errors[candidate] = best(judges, k)[0]
        if chosen is None or errors[candidate] < errors[chosen[0]]:
            chosen = candidate, judges
    nothing = tuple(
        Judge("oblivious", projection, balance.oblivious(len(a.diagonal)), a, b) for a, b in held_out
    )
    return Choice(*chosen, nothing, errors)
