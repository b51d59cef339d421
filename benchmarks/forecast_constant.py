"""Should a forecast be by a power law, or by one with a constant? Synthetic ladders at 33 times their compute.

    python benchmarks/forecast_constant.py [--ladders 60]     # a minute

Seven sizes and three seeds, noise 0.5%, as the ladder of prose; of four entropies E. For each form: mean error of the forecast
on the noiseless loss, how often its 90% interval holds a further run, and how often the union of both does. JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from dataclasses import replace

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

SIZES = np.repeat([7628.0, 13488, 21012, 30200, 41052, 53568, 83592], 3)
RATIO, NOISE, BEYOND = 30, 0.005, 33
SOURCES = (
    (0.0, 0.07),
    (0.3, 0.083),
    (0.65, 0.107),
    (1.0, 0.15),
)  # E and the exponent: all fall alike along the ladder


def measure(entropy: float, exponent: float, ladders: int) -> dict:
    """Errors and coverage of both forms on ladders of L = E + A / C^exponent, which is 1.9 at N = 25,000."""
    from tony.forecast import Runs, bootstrap, fit

    c = 6 * RATIO * SIZES**2
    scale = (1.9 - entropy) * (6 * RATIO * 25_000**2) ** exponent
    at = BEYOND * c.max()
    truth = entropy + scale * at**-exponent
    errors, held = {"power": [], "constant": []}, {"power": [], "constant": [], "both": []}
    for seed in range(ladders):
        rng = np.random.default_rng(seed)
        loss = (entropy + scale * c**-exponent) * np.exp(NOISE * rng.normal(size=len(c)))
        rows = np.arange(len(c))
        runs = Runs(SIZES, RATIO * SIZES, c, loss, rows.astype(str), rows)
        further = truth * np.exp(NOISE * rng.normal())
        plain = replace(bootstrap(fit(runs, "power:C", starts=60), 200, seed), beside=()).predict(C=at)
        bent = bootstrap(fit(runs, "power+constant:C", starts=60), 200, seed).predict(C=at)
        for name, found in (("power", plain), ("constant", bent)):
            errors[name].append(abs(found.loss / truth - 1))
            held[name].append(found.low <= further <= found.high)
        held["both"].append(min(plain.low, bent.low) <= further <= max(plain.high, bent.high))
    return {
        "E": entropy,
        "error": {name: float(np.mean(found)) for name, found in errors.items()},
        "held": {name: float(np.mean(found)) for name, found in held.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ladders", type=int, default=60)
    warnings.simplefilter("ignore", RuntimeWarning)  # of resamples that ran away
    print(json.dumps([measure(*source, parser.parse_args().ladders) for source in SOURCES], indent=1))
