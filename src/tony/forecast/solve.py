"""Minimising the Huber loss of a law's residuals from many starts at once, with analytic gradients.

The objective of a start is sum_i w_i huber_delta(r_i), summed over rows (not averaged: with the usual delta of 1e-3 its
gradients are small, and an averaged objective makes optimisers stop early), where r_i is the residual of log L, or of L
itself. With softmax weights p_ik of the terms, dr_i / dtheta = sum_k p_ik X_ik.

Starts move together: every array has a first axis S of starts. A step is Levenberg-Marquardt on the quadratic that
touches the Huber loss from above at the present residuals (weights min(1, delta / |r|)), so that each accepted step
lowers the objective itself. A share of starts is dropped after every few steps (successive halving) and what is left is
finished by BFGS; tests/forecast/test_solve.py measures that nothing is lost against finishing every start by BFGS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

HALVINGS = ((1.0, 6), (0.25, 8), (0.25, 12), (0.3, 20))  # (share of the starts that go on, steps)
SCREEN = 400  # rows that most of a search looks at
FINISHED = 12  # starts that BFGS finishes
SCALE = 1e3  # of the objective in BFGS, whose tolerances are absolute
BLOCK = 2_000_000  # numbers an array may have: larger sets of starts are worked on in blocks


@dataclass(frozen=True)
class Problem:
    """What is fitted.

    Attributes:
        design: (rows, terms, parameters), see `Form.design`.
        target: (rows,) log losses.
        delta: of the Huber loss; infinity is least squares.
        in_logs: whether residuals are of log L (else of L).
    """

    design: np.ndarray
    target: np.ndarray
    delta: float = 1e-3
    in_logs: bool = True

    def residuals(self, theta: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
        """Residuals (S, rows) at theta (S, parameters)."""
        return self._residuals(theta, target)[0]

    def jacobian(self, theta: np.ndarray, target: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Residuals (S, rows) and their derivatives (S, rows, parameters)."""
        residuals, shares, prediction = self._residuals(theta, target)
        # A parameter stands in one term of most forms, or two: what is not zero is added up, each parameter's slopes together.
        slopes = np.zeros((self.design.shape[2], *residuals.shape))
        for k, p in np.argwhere(self.design.any(0)):
            slopes[p] += shares[k] * self.design[:, k, p]
        if not self.in_logs:
            slopes *= prediction
        return residuals, slopes.transpose(1, 2, 0)

    def _residuals(
        self, theta: np.ndarray, target: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals (S, rows), the terms' shares of the prediction (terms, S, rows), and what was predicted (S, rows)."""
        target = self.target if target is None else target
        # Terms come first: reductions along a last axis of two or three are slow.
        shares = np.stack([theta @ term.T for term in self.design.transpose(1, 0, 2)])
        top = shares.max(0)
        shares -= top
        np.exp(shares, out=shares)
        total = shares.sum(0)
        shares /= total
        log_prediction = top + np.log(total)
        if self.in_logs:
            return log_prediction - target, shares, log_prediction
        prediction = np.exp(np.minimum(log_prediction, 50.0))  # a start far off must not overflow
        return prediction - np.exp(target), shares, prediction

    def huber(self, residuals: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
        """The objective (S,) of residuals (S, rows)."""
        size = np.abs(residuals)
        if np.isinf(self.delta):
            return (weights * 0.5 * size**2).sum(-1)
        inner = np.minimum(size, self.delta)
        return (weights * inner * (size - 0.5 * inner)).sum(-1)


def descend(
    problem: Problem,
    theta: np.ndarray,
    steps: int,
    weights: np.ndarray | None = None,
    target: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`theta` (S, parameters) after at most `steps` steps, and the objectives (S,).

    Args:
        weights: (S, rows), how often each start counts each row; None = once.
        target: (S, rows), a target of its own for each start (a bootstrap); None = the problem's.
    """
    rows, terms, _ = problem.design.shape
    block = max(1, BLOCK // (rows * terms))
    if len(theta) > block:
        parts = [
            descend(problem, theta[i : i + block], steps, *(None if a is None else a[i : i + block] for a in (weights, target)))
            for i in range(0, len(theta), block)
        ]  # fmt: skip
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    theta = theta.copy()
    damping = np.full(len(theta), 1e-3)
    value = problem.huber(problem.residuals(theta, target), 1.0 if weights is None else weights)
    moving = np.arange(len(theta))
    for _ in range(steps):
        if not len(moving):
            break
        own = None if target is None else target[moving]
        counted = 1.0 if weights is None else weights[moving]
        residuals, slopes = problem.jacobian(theta[moving], own)
        touch = counted * np.minimum(1.0, problem.delta / np.maximum(np.abs(residuals), 1e-300))
        gradient = np.matmul((touch * residuals)[:, None, :], slopes)[:, 0]
        curvature = np.matmul((touch[..., None] * slopes).transpose(0, 2, 1), slopes)
        diagonal = np.einsum("spp->sp", curvature)
        floor = 1e-9 * diagonal.max(-1, keepdims=True) + 1e-300
        bent = curvature + (damping[moving, None] * (diagonal + floor) + floor)[..., None] * np.eye(
            theta.shape[1]
        )
        step = -np.linalg.solve(bent, gradient[..., None])[..., 0]
        step *= np.minimum(1.0, 4.0 / np.maximum(np.abs(step).max(-1, keepdims=True), 1e-300))
        trial = theta[moving] + step
        new = problem.huber(problem.residuals(trial, own), counted)
        better = new < value[moving]
        gain = np.where(better, value[moving] - new, np.inf)
        theta[moving[better]] = trial[better]
        value[moving[better]] = new[better]
        damping[moving] *= np.where(better, 0.2, 5.0)
        done = (gain < 1e-10 * np.maximum(new, 1e-300)) | (damping[moving] > 1e10)
        damping[moving] = np.maximum(damping[moving], 1e-12)
        moving = moving[~done]
    return theta, value


def finish(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, float]:
    """`theta` (parameters,) at the end of BFGS, restarted while that helps, and its objective."""

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        residuals, slopes = problem.jacobian(x[None])
        clipped = np.clip(residuals[0], -problem.delta, problem.delta)
        return SCALE * float(problem.huber(residuals)[0]), SCALE * clipped @ slopes[0]

    best = objective(theta)[0]
    for _ in range(4):
        with np.errstate(all="ignore"):
            found = minimize(
                objective, theta, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 500}
            )
        if not found.fun < best:
            break
        gain, best, theta = best - found.fun, float(found.fun), found.x
        if gain < 1e-9 * best:
            break
    return theta, best / SCALE


def search(
    problem: Problem, starts: np.ndarray, progress: Callable[[int], None] | None = None
) -> tuple[np.ndarray, float]:
    """The best theta (parameters,) that any of `starts` (S, parameters) leads to, and its objective.

    Of more than `SCREEN` rows, that many, spread evenly over the losses, say which starts are worth finishing on all.
    """
    theta, whole = starts, problem
    if len(problem.target) > SCREEN:
        rows = np.argsort(problem.target, kind="stable")[
            np.linspace(0, len(problem.target) - 1, SCREEN).astype(int)
        ]
        problem = replace(problem, design=problem.design[rows], target=problem.target[rows])
    for share, steps in HALVINGS:
        if share < 1.0:
            value = problem.huber(problem.residuals(theta))
            keep = max(FINISHED, round(share * len(theta)))
            theta = theta[np.argsort(value, kind="stable")[:keep]]
        theta, _ = descend(problem, theta, steps)
        if progress:
            progress(len(theta))
    theta = theta[distinct(theta, problem.huber(problem.residuals(theta)))][:FINISHED]
    ends = [finish(whole, one) for one in theta]
    return min(ends, key=lambda end: end[1])


def distinct(theta: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Places of the rows of `theta`, best first, without those that a better one already stands for."""
    kept: list[int] = []
    for i in np.argsort(value, kind="stable"):
        if all(np.abs(theta[i] - theta[j]).max() > 1e-3 for j in kept[: 2 * FINISHED]):
            kept.append(int(i))
        if len(kept) >= FINISHED:
            break
    return np.array(kept)
