"""Protects the fit: known constants come back, published constants and errors are reproduced, any units will do."""

import numpy as np
import pytest
from synthetic import HOFFMANN, joint_loss, joint_runs, power_runs, runs_of

from tony.errors import TonyError
from tony.forecast import FORMS, fit, size_for


def test_joint_law_without_noise_comes_back_to_1e_4():
    constants = fit(joint_runs(80), "joint", starts=500).constants
    for name, value in HOFFMANN.items():
        assert constants[name] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("variable", ["N", "D", "C"])
def test_power_and_constant_comes_back(variable):
    x = np.geomspace(1e6, 1e9, 7)
    runs = runs_of(3.12 + (x / 8.0e1) ** -0.24, **{variable.lower(): x})
    law = fit(runs, f"power+constant:{variable}")
    assert law.constants["E"] == pytest.approx(3.12, rel=1e-5)
    assert law.constants["alpha"] == pytest.approx(0.24, rel=1e-4)
    assert law.constants[f"{variable}0"] == pytest.approx(8.0e1, rel=1e-2)  # Nc of the paper's table 1
    assert law.irreducible == law.constants["E"]


def test_power_without_constant_is_the_language_law():
    c = np.geomspace(1e-2, 1e4, 6)
    law = fit(runs_of((c / 3.47e8) ** -0.048, c=c), "power:C")
    assert law.predict(C=1.0) == pytest.approx(2.57, abs=5e-4)  # GPT-3 prints 2.57 C^-0.048
    assert law.irreducible == 0


def test_a_robust_fit_ignores_one_diverged_run():
    runs = joint_runs(60)
    runs.loss[7] *= 1.5
    assert fit(runs, "joint", starts=500).constants["E"] == pytest.approx(1.69, rel=1e-3)
    assert abs(fit(runs, "joint", delta=np.inf, starts=500).constants["E"] / 1.69 - 1) > 1e-2


def test_closed_form_optimum_with_hoffmanns_constants():
    """The figures of the joint law's closed form (derived from the printed constants of Hoffmann et al. 2022)."""
    law = fit(joint_runs(80), "joint", starts=500)
    for flops, n, d, loss in ((1e20, 6.45e8, 2.58e10, 2.600), (5.76e23, 3.22e10, 2.98e12, 1.931)):
        found = law.optimum(flops)
        assert found == pytest.approx((n, d), rel=5e-3)
        assert law.predict(*found) == pytest.approx(loss, abs=1e-3)


def test_the_optimum_is_the_lowest_loss_of_the_budget():
    law = fit(joint_runs(80, noise=0.01), "joint", starts=500)
    n, _ = law.optimum(1e22)
    around = n * np.array([0.9, 1.0, 1.1])
    losses = law.predict(around, 1e22 / 6 / around)
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_the_overtraining_form_is_the_one_of_gadre():
    n = np.repeat(np.geomspace(1e7, 1e9, 4), 3)
    m = np.tile([5.0, 20.0, 320.0], 4)
    c, eta = 6 * n * (m * n), 0.136
    loss = 1.8 + (140.0 * m**eta + 230.0 * m**-eta) * c**-eta
    constants = fit(runs_of(loss, n, m * n, c), "overtraining").constants
    assert constants["eta"] == pytest.approx(eta, rel=1e-4)
    # a = alpha 6^(-q/2) and b = beta in L = E + alpha N^q + beta 6^(q/2) (M N)^q
    assert constants["alpha"] * 6 ** (-constants["q"] / 2) == pytest.approx(140, rel=1e-3)
    assert constants["beta"] == pytest.approx(230, rel=1e-3)


def test_units_do_not_matter():
    a, b = joint_runs(60, noise=0.01), joint_runs(60, noise=0.01)
    b = runs_of(b.loss, b.n * 1e-9, b.d * 1e-9)
    n, d = 3e9, 6e10
    first, second = fit(a, "joint", starts=800), fit(b, "joint", starts=800)
    assert first.predict(n, d) == pytest.approx(second.predict(n * 1e-9, d * 1e-9), rel=1e-5)


def test_the_size_that_a_reducible_loss_needs():
    n = np.geomspace(1e5, 1e8, 7)
    law = fit(runs_of(3.12 + (n / 8.0e1) ** -0.24, n=n), "power+constant:N")
    reducible = 192 * (1e9 / 8.0e1) ** -0.24
    assert reducible == pytest.approx(
        3.8, abs=0.05
    )  # "nearly perfect": nats a picture at a billion parameters
    assert size_for(law, reducible, tokens=192) == pytest.approx(1e9, rel=1e-2)
    with pytest.raises(TonyError, match="more than 0"):
        size_for(law, 0)


def test_rows_that_cannot_determine_a_form_are_refused():
    runs = joint_runs(40)
    with pytest.raises(TonyError, match="every row has N"):
        d = np.geomspace(1e9, 1e11, 6)
        fit(runs_of(joint_loss(1e8, d), np.full(6, 1e8), d, 6e8 * d), "joint")
    with pytest.raises(TonyError, match=r"rows .* cannot determine the 5 constants"):
        fit(runs.take(np.arange(4)), "joint")
    with pytest.raises(TonyError, match=r"power\+constant:N"):
        fit(runs, "nonsense")
    power, _ = power_runs()
    with pytest.raises(TonyError, match="has no N"):
        fit(power, "joint")


def test_every_form_names_its_variables():
    assert {name: form.variables for name, form in FORMS.items() if ":" not in name} == {
        "joint": ("N", "D"),
        "overtraining": ("N", "D"),
    }
