"""Laws as they were published, to plan by where there is none of one's own, and to compare with.

Hoffmann et al. 2022 (arXiv 2203.15556), approach 3 as printed; Besiroglu et al. 2024 (arXiv 2404.10102), the same runs
fitted again (as printed; their N counts embeddings). What Henighan et al. 2020 found in each domain is in paper.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tony.forecast.fit import optimum, predict
from tony.forecast.forms import JOINT
from tony.forecast.interval import Prediction

HOFFMANN = {"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}
BESIROGLU = {"E": 1.8172, "A": 482.01, "a": 0.3478, "B": 2085.43, "b": 0.3658}


def theta_of(constants: dict[str, float]) -> np.ndarray:
    """The parameters of E + A / N^a + B / D^b."""
    log = {name: float(np.log(constants[name])) for name in ("E", "A", "B")}
    return np.array([log["E"], log["A"], constants["a"], log["B"], constants["b"]])


@dataclass(frozen=True)
class Published:
    """E + A / N^a + B / D^b by two fits of one set of runs; the interval is what lies between them."""

    name: str = "Besiroglu et al. 2024, and Hoffmann et al. 2022 beside it"

    def optimum(self, flops: float) -> tuple[float, float]:
        return optimum(JOINT, theta_of(BESIROGLU), flops)

    def predict(self, N: Any, D: Any) -> Prediction:
        """The loss by Besiroglu et al.; low and high are those of both fits."""
        point, other = (
            float(predict(JOINT, theta_of(constants), {"N": N, "D": D}))
            for constants in (BESIROGLU, HOFFMANN)
        )
        note = (
            "the interval is the spread of two published fits of one data set, not a 90% interval: give a law of your own with "
            "--law"
        )
        return Prediction(point, min(point, other), max(point, other), float("nan"), (note,))
