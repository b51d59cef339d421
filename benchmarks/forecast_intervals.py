"""Do intervals hold what is measured afterwards, and what does it cost them to hold every form that predicts as well?

    python benchmarks/forecast_intervals.py receipts                 # two minutes
    python benchmarks/forecast_intervals.py synthetic --ladders 30   # twenty minutes

"receipts": every confirmed receipt, forecast anew from its inputs. "synthetic": ladders of L = E + A / N^a + B / D^b with four
or seven sizes, as ours are, and of four sizes at three budgets, whose truth is known. For intervals of the chosen law alone (with or without its constant, as
`choose` has it), and for those that also hold forms within so many times the least held-out error: the share that holds the
measured loss and the median half-width. JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

RECEIPTS = Path(__file__).parent / "receipts"
WITHIN = (1.0, 1.1, 1.25, 1.5)  # times the least held-out error
RESAMPLES = 200
BEYOND = 33
NOISE = 0.003  # of a run
FOUR = (20272, 45336, 80384, 125416)
SEVEN = (3432, 7628, 13488, 21012, 30200, 41052, 53568)
SHAPES: dict[str, tuple[tuple, int, Callable[[int], tuple], float, float | None]] = {
    # Sizes, runs of each, tokens of a size's runs, tokens per parameter of the target, and the ray, if it is one.
    "four sizes": (FOUR, 4, lambda n: (8 * n, 14 * n), 14, 14),
    "seven sizes": (SEVEN, 3, lambda n: (40 * n, 50 * n), 50, 50),
    "budgets": (FOUR, 2, lambda n: tuple(1.32e12 * share / 6 / n for share in (0.25, 0.5, 1)), 26.5, None),
}
TRUTHS = {  # E, A, a, B, b
    "language, no entropy": (0.0, 4.9, 0.12, 8.0, 0.13),
    "language, E = 0.8": (0.8, 6.0, 0.20, 9.0, 0.19),
    "pictures, E = 2.5": (2.5, 14.0, 0.35, 20.0, 0.34),
}


def intervals(
    runs: Any, ray: float | None, at: dict[str, float], seed: int = 0
) -> tuple[float, dict[str, tuple]]:
    """The forecast, and the interval by every rule."""
    from tony.forecast import bootstrap, choose, fit
    from tony.forecast.choose import rows_for

    choice = choose(runs, ray=ray)
    errors = {c.form: c.heldout for c in choice.candidates if c.heldout is not None}
    least = min(errors.values())
    bent = [law for law in choice.beside if law.form.name == choice.law.form.name.replace("+constant", "")]
    alone = bootstrap(choice.law, RESAMPLES, seed, bent).predict(**at)
    held = [(0.0, alone)]
    for form, error in errors.items():
        if error <= max(WITHIN) * least and form.name != choice.law.form.name:
            law = fit(rows_for(runs, form, ray), form)
            held.append((error / least, bootstrap(law, RESAMPLES, seed).predict(**at)))
    found = {"law alone": (alone.low, alone.high)}
    for within in WITHIN:
        own = [p for ratio, p in held if ratio <= within]
        found[f"within {within:g}"] = (min(p.low for p in own), max(p.high for p in own))
    return alone.loss, found


def summary(cases: list[tuple[float, float, dict[str, tuple]]]) -> dict[str, Any]:
    """Of (measured, forecast, intervals)."""
    rules = cases[0][2]
    return {
        "ladders": len(cases),
        "median error": statistics.median(abs(f / m - 1) for m, f, _ in cases),
        "held": {rule: sum(i[rule][0] <= m <= i[rule][1] for m, _, i in cases) / len(cases) for rule in rules},
        "half width": {rule: statistics.median((i[rule][1] - i[rule][0]) / 2 / f for _, f, i in cases) for rule in rules},
    }  # fmt: skip


def of_receipts() -> dict[str, Any]:
    """Of every confirmed receipt."""
    from tony.forecast.choose import on_ray
    from tony.forecast.climb import runs_of

    cases = {}
    for path in sorted(RECEIPTS.glob("*.json")):
        receipt = json.loads(path.read_text(encoding="utf-8"))
        if "confirmation" not in receipt:
            continue
        target = receipt["target"]
        at = {name: target[name] for name in "NDC"}
        runs, ray = runs_of(receipt["inputs"]), target["D"] / target["N"]
        along = set(runs.n[on_ray(runs, ray)]) == set(runs.n)  # or its sizes share budgets
        loss, found = intervals(runs, ray if along else None, at)
        cases[path.stem] = (receipt["confirmation"]["loss"], loss, found)
        print(path.stem, file=sys.stderr, flush=True)
    each = {
        name: {"measured": m, "forecast": f, **{rule: list(map(float, i)) for rule, i in found.items()}}
        for name, (m, f, found) in cases.items()
    }
    return {"all": summary(list(cases.values())), "each": each}


def of_synthetic(ladders: int) -> dict[str, Any]:
    """Of ladders whose truth is known."""
    from tony.forecast.table import Runs, checked

    result = {}
    for shape, (sizes, seeds, tokens, ratio, ray) in SHAPES.items():
        places = [(n, f"{n} {seed}", d) for n in sizes for seed in range(seeds) for d in tokens(n)]
        n, label, d = (np.array(column) for column in zip(*places, strict=True))
        n = n.astype(float)
        largest = float((6 * n * d).max())
        size = float(np.sqrt(BEYOND * largest / (6 * ratio)))
        at = {"N": size, "D": ratio * size, "C": 6 * ratio * size**2}
        for name, (e, a, p, b, q) in TRUTHS.items():
            cases = []
            for seed in range(ladders):
                rng = np.random.default_rng([seed, 5])
                own = rng.normal(size=len(n))
                if ray is not None:  # branches share their stable run
                    branches = len(n) // (len(sizes) * seeds)
                    shared = np.repeat(rng.normal(size=len(sizes) * seeds), branches)
                    own = (own + shared) / np.sqrt(2)
                loss = (e + a * n**-p + b * d**-q) * np.exp(NOISE * own)
                truth = (e + a * at["N"] ** -p + b * at["D"] ** -q) * np.exp(NOISE * rng.normal())
                runs = checked(Runs(n=n, d=d, c=6 * n * d, loss=loss, run=label, lines=np.arange(len(n)) + 1))
                cases.append((truth, *intervals(runs, ray, at, seed)))
            result[f"{shape}, {name}"] = summary(cases)
            print(json.dumps({f"{shape}, {name}": result[f"{shape}, {name}"]}), file=sys.stderr, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("receipts", "synthetic"))
    parser.add_argument("--ladders", type=int, default=30)
    flags = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # of resamples that ran away
    print(json.dumps(of_receipts() if flags.part == "receipts" else of_synthetic(flags.ladders), indent=1))


if __name__ == "__main__":
    main()
