"""Laws as they were published, to plan by where there is none of one's own, and to compare with.

Henighan et al. 2020 (arXiv 2010.14701), table 1: exponents and constants by domain, C in PF-days. Hoffmann et al. 2022
(arXiv 2203.15556), approach 3 as printed; Besiroglu et al. 2024 (arXiv 2404.10102), the same runs fitted again
(as printed; their N counts embeddings).
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

# domain -> (L_inf, Nc, alpha) of L(N), (L_inf, Cc, alpha) of L(C), (C0, beta) of N_opt = (C / C0)^beta
HENIGHAN: dict[str, tuple[tuple, tuple, tuple]] = {
    "language": ((0.0, 1.47e14, 0.070), (0.0, 3.47e8, 0.048), (3.3e-13, 0.73)),
    "image 8x8": ((3.12, 8.0e1, 0.24), (3.13, 1.8e-8, 0.19), (5.3e-14, 0.64)),
    "image 16x16": ((2.64, 2.8e2, 0.22), (2.64, 1.6e-8, 0.16), (4.8e-12, 0.75)),
    "image 32x32": ((2.20, 6.3e1, 0.13), (2.21, 3.6e-9, 0.10), (1.6e-13, 0.65)),
    "video": ((1.01, 3.7e4, 0.24), (0.95, 2.2e-5, 0.14), (1.13e-12, 0.71)),
    "mathematics": ((0.28, 1.1e4, 0.16), (0.14, 1.4e-5, 0.17), (2.3e-12, 0.69)),
}


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
