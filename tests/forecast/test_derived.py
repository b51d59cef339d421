"""Protects what follows from a loss: conversions reproduce the paper's tables, error and information laws come back."""

import numpy as np
import pytest

from tony.errors import TonyError
from tony.forecast import fit_error, fit_log, per_image
from tony.forecast.derived import to_bits, to_pf_days


@pytest.mark.parametrize(
    ("tokens", "irreducible", "scale", "exponent", "printed"),
    [  # Henighan et al. 2020: L(C) of table 1, and table 3 (its 8x8 row: 1.9e4, misprinted 1.9e3)
        (192, 3.13, 1.8e-8, 0.19, (602, 1.9e4)),
        (768, 2.64, 1.6e-8, 0.16, (2026, 1.7e10)),
        (3072, 2.21, 3.6e-9, 0.10, (6806, 2.7e26)),
        (256, 4.09, 6.1e-7, 0.11, (1047, 4.7e15)),
        (1024, 3.17, 2.6e-6, 0.12, (3246, 3.1e19)),
    ],
)
def test_nats_per_image_are_those_of_the_paper(tokens, irreducible, scale, exponent, printed):
    whole, c0 = per_image(tokens, irreducible, scale, exponent)
    assert whole == pytest.approx(printed[0], rel=3e-3)
    assert c0 == pytest.approx(printed[1], rel=0.03)


def test_units():
    assert to_pf_days(8.64e19) == 1
    assert to_bits(np.log(2)) == pytest.approx(1)


def test_the_error_law_comes_back():
    loss = np.linspace(2.2, 4.5, 12)
    law = fit_error(loss, 0.85 - 2.1 * np.exp(-0.9 * loss))
    assert (law.ceiling, law.k, law.gamma) == pytest.approx((0.85, 2.1, 0.9), rel=1e-3)
    assert law.predict(2.0) == pytest.approx(0.85 - 2.1 * np.exp(-1.8), rel=1e-4)


def test_error_rates_outside_0_to_1_are_refused():
    with pytest.raises(TonyError, match="row 2"):
        fit_error([3, 2.8, 2.5, 2.2], [0.5, 0.4, 1.2, 0.3])
    with pytest.raises(TonyError, match="at least 4"):
        fit_error([3, 2], [0.5, 0.4])


def test_information_grows_with_log_n():
    n = np.geomspace(1e5, 1e9, 6)
    law = fit_log(n, 0.65 * np.log(n / 3e4))
    assert (law.slope, law.n0) == pytest.approx((0.65, 3e4), rel=1e-6)
    with pytest.raises(TonyError, match="three sizes"):
        fit_log([1e5, 1e6], [1, 2])
