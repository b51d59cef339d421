"""Runs whose law is known."""

import numpy as np

from tony.forecast.table import Runs

HOFFMANN = {"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}


def joint_loss(n, d, E=1.69, A=406.4, a=0.34, B=410.7, b=0.28):
    return E + A / n**a + B / d**b


def runs_of(loss, n=None, d=None, c=None, run=None):
    rows = len(loss)
    lines = np.arange(rows) + 2
    return Runs(n, d, c, np.asarray(loss, float), np.array(lines if run is None else run, str), lines)


def joint_runs(rows=240, noise=0.0, seed=0, law=HOFFMANN):
    """Sizes and budgets as wide as Hoffmann et al.'s."""
    rng = np.random.default_rng(seed)
    n = np.exp(rng.uniform(np.log(5e7), np.log(1.6e10), rows))
    c = np.exp(rng.uniform(np.log(1e18), np.log(1e22), rows))
    d = c / (6 * n)
    return runs_of(joint_loss(n, d, **law) * np.exp(noise * rng.normal(size=rows)), n, d, c)


def power_runs(rows=8, noise=0.003, seed=0, low=1e13, high=1e15):
    """A ladder in C whose law is that of 16x16 pictures, and the law itself."""

    def truth(c):
        return 2.64 + 0.6 * (c / 1e14) ** -0.16

    c = np.geomspace(low, high, rows)
    rng = np.random.default_rng(seed)
    return runs_of(truth(c) * np.exp(noise * rng.normal(size=rows)), c=c), truth
