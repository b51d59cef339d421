"""Protects agreement with what was published: Gadre et al. 2024 on their 104 models, where the set is at hand.

The set (MIT) is not in this repository: TONY_GADRE_CSV names it. benchmarks/forecast.py says where to get it.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from tony.forecast import fit, read_runs

PATH = Path(os.environ.get("TONY_GADRE_CSV", Path(__file__).parents[3] / "shared/data/gadre_104_models.csv"))

pytestmark = pytest.mark.skipif(
    not PATH.is_file(), reason="the set of Gadre et al. is not at hand: set TONY_GADRE_CSV"
)


def protocol(dataset):
    """Fitted to five small models, as published: M = 20 at four sizes, and M = 320 at the smallest."""
    runs = read_runs(PATH, loss="loss_c4_val", where={"dataset": [dataset]})
    m = runs.d / runs.n
    small = (runs.n < 1e9) & (np.abs(m - 20) < 1) | (runs.n < 2e7) & (np.abs(m - 320) < 1)
    assert small.sum() == 5
    law = fit(runs.take(small), "overtraining", delta=np.inf, in_logs=False)
    error = law.predict(runs.n, runs.d) / runs.loss - 1
    large = {(round(n / 1e9, 1), round(x)): e for n, x, e in zip(runs.n, m, error, strict=True) if n > 1e9}
    return law.constants, large


def test_redpajama_constants_and_errors():
    constants, errors = protocol("rpj")
    for name, value in {"alpha": 166.2, "beta": 366.7, "q": -0.2729, "E": 1.837}.items():
        assert constants[name] == pytest.approx(value, rel=1e-3)
    assert errors[1.4, 640] == pytest.approx(0.0071, abs=1e-4)
    assert errors[6.9, 20] == pytest.approx(0.0073, abs=1e-4)


@pytest.mark.parametrize(
    ("dataset", "q", "irreducible", "expected"),
    [
        ("c4_original", -0.2425, 1.508, {(1.4, 20): -0.008, (1.4, 80): 0.015, (6.9, 20): -0.043}),
        ("rw_original", -0.2544, 1.735, {(1.4, 20): -0.006, (1.4, 320): -0.0001, (6.9, 20): -0.016}),
    ],
)
def test_c4_and_refinedweb(dataset, q, irreducible, expected):
    constants, errors = protocol(dataset)
    assert constants["q"] == pytest.approx(q, abs=5e-4)
    assert constants["E"] == pytest.approx(irreducible, abs=2e-3)
    for key, error in expected.items():
        assert errors[key] == pytest.approx(error, abs=6e-4)
