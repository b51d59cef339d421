"""Sweep small, transfer to large, and say how well that went."""

from tony.tune.optimum import (
    Curve,
    Drift,
    Interval,
    Noise,
    Optimum,
    best_rate,
    drift,
    fit_optimum,
    wanted_rates,
    wanted_runs,
)
from tony.tune.transfer import Regret, regret, tuning_cost, wider_is_better

__all__ = [
    "Curve",
    "Drift",
    "Interval",
    "Noise",
    "Optimum",
    "Regret",
    "best_rate",
    "drift",
    "fit_optimum",
    "regret",
    "tuning_cost",
    "wanted_rates",
    "wanted_runs",
    "wider_is_better",
]
