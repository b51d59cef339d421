"""Protects the choice of a form: by error on larger runs, fewer constants where that is as good."""

import numpy as np
import pytest
from synthetic import joint_runs, power_runs, runs_of

from tony.forecast import bootstrap, choose, fit
from tony.forecast.choose import RIVAL, by_size, heldout_error, on_ray, transition
from tony.forecast.fit import optimum
from tony.forecast.forms import FORMS, JOINT
from tony.forecast.published import theta_of
from tony.forecast.report import analyse


def test_a_joint_law_is_found_in_joint_data():
    choice = choose(joint_runs(60, noise=0.002))
    assert choice.law.form.name in ("joint", "overtraining")
    tried = {c.form.name: c.heldout for c in choice.candidates}
    assert min(tried, key=tried.get) in ("joint", "overtraining")


def test_a_pure_power_law_is_given_next_to_no_constant():
    """Data may have none; the law without it stands beside, and both say about the same."""
    c = np.geomspace(1e15, 1e19, 12)
    noise = np.exp(0.001 * np.random.default_rng(0).normal(size=12))
    choice = choose(runs_of((c / 1e27) ** -0.048 * noise, c=c))
    assert choice.law.form.name == "power+constant:C" and choice.beside[0].form.name == "power:C"
    for law in (choice.law, choice.beside[0]):
        assert law.predict(C=1e21) == pytest.approx((1e21 / 1e27) ** -0.048, rel=5e-3)


def test_a_constant_that_the_ladder_hides_is_not_left_out():
    """Within 120 times of compute a law that bends looks like a power; 33 times beyond, its forecast does not err by 4%."""
    c = np.repeat(180 * np.array([7628, 13488, 21012, 30200, 41052, 53568, 83592.0]) ** 2, 3)
    law = lambda c: 0.65 + 1.25 * (c / 1.1e11) ** -0.107  # noqa: E731
    at, errors, plain = 33 * c.max(), [], []
    for seed in range(12):
        runs = runs_of(law(c) * np.exp(0.005 * np.random.default_rng(seed).normal(size=len(c))), c=c)
        choice = choose(runs, [FORMS["power:C"], FORMS["power+constant:C"]])
        errors.append(abs(float(choice.law.predict(C=at)) / law(at) - 1))
        plain.append(abs(float(fit(runs, "power:C").predict(C=at)) / law(at) - 1))
    assert np.mean(errors) < 0.02 < 0.035 < np.mean(plain)


def test_training_fit_does_not_decide():
    """More constants always fit better; where they predict no better the form with fewer is taken."""
    runs, _ = power_runs(10, noise=0.004, seed=2)
    choice = choose(runs)
    by_name = {c.form.name: c for c in choice.candidates if c.heldout is not None}
    best = by_name[(*choice.beside, choice.law)[0].form.name]
    assert best.heldout <= 1.1 * min(c.heldout for c in by_name.values())


def test_forms_that_predict_about_as_well_stand_beside_and_widen_the_interval():
    """Losses of a joint law on two close rays: the forms differ in the constant, and the interval holds what each says."""
    n = np.repeat([6752.0, 10516, 15112, 20540], 2)
    d = n * np.tile([18.0, 30], 4)
    loss = 0.4 + 5 * n**-0.16 + 8 * d**-0.15
    at = {"N": 120580.0, "D": 30 * 120580.0, "C": 180 * 120580.0**2}
    several = 0
    for seed in range(6):
        noise = np.exp(0.003 * np.random.default_rng(seed).normal(size=8))
        choice = choose(runs_of(loss * noise, n, d, 6 * n * d), ray=30)
        names = [law.form.name for law in (choice.law, *choice.beside)]
        assert len(set(names)) == len(names)
        errors = {c.form.name: c.heldout for c in choice.candidates if c.heldout is not None}
        least = min(errors.values())
        assert {name for name in errors if errors[name] <= RIVAL * least} <= set(names)
        found = bootstrap(choice.law, 100, beside=choice.beside)
        held = found.predict(**at)
        for law in choice.beside:
            own = bootstrap(law, 100).predict(**at)
            assert (held.low <= own.low and own.high <= held.high) or not law.form.has_constant
        several += len(choice.beside) > 1
    assert several


def test_the_largest_runs_are_held_out():
    runs, _ = power_runs(10)
    order = by_size(runs)
    assert list(runs.c[order]) == sorted(runs.c)
    exact, _ = power_runs(10, noise=0.0)
    assert heldout_error(exact, FORMS["power+constant:C"]) < 1e-4
    assert heldout_error(exact, FORMS["power:C"]) > 1e-3


def test_too_few_runs_to_hold_out_is_said():
    runs, _ = power_runs(4)
    assert any("too few runs" in w for w in choose(runs).warnings)


def test_what_cannot_be_fitted_is_listed_with_its_reason():
    d = np.geomspace(1e8, 1e10, 8)
    choice = choose(runs_of(2 + 100 / d**0.3, np.full(8, 1e7), d, 6e7 * d))
    refused = {c.form.name: c.refused for c in choice.candidates if c.refused}
    assert "every row has N" in refused["joint"]
    assert choice.law.form.variables in (("D",), ("C",))


def test_an_optimum_whose_exponent_the_form_fixes_covers_what_the_joint_law_says():
    """Besiroglu et al.'s law: the form with equal exponents predicts as well, and says nothing of how N and D share."""
    law = {"E": 1.8172, "A": 482.01, "a": 0.3478, "B": 2085.43, "b": 0.3658}
    report = analyse(joint_runs(90, noise=0.005, seed=2, law=law), resamples=200)
    assert report.law.form.name == "overtraining"
    n = optimum(JOINT, theta_of(law), 5.76e23)[0]
    best = report.optimum(5.76e23)["N"]
    assert best["low"] < n < best["high"]
    assert any("cover both" in warning for warning in report.warnings)


def test_a_law_of_compute_is_fitted_to_the_ray_of_what_is_forecast():
    """Runs off the ray cost as much and reach less: mixed in, they bend a law of C, and here they do not count."""
    n, m = (a.ravel() for a in np.meshgrid(np.geomspace(1e4, 1e5, 7), [5.0, 40.0]))
    loss = 2 + (1e2 / n) ** 0.5 + (1e3 / (m * n)) ** 0.3
    runs = runs_of(loss, n, m * n, 6 * n * m * n)
    form = FORMS["power+constant:C"]
    assert (runs.take(on_ray(runs, 40.0)).d / runs.take(on_ray(runs, 40.0)).n == 40).all()
    law = choose(runs, [form], ray=40.0).law
    assert len(law.runs) == 7
    c, truth = 6 * 40 * 1e6**2, 2 + (1e2 / 1e6) ** 0.5 + (1e3 / 4e7) ** 0.3
    assert abs(law.predict(C=c) / truth - 1) < 0.01
    mixed = choose(runs, [form]).law
    assert abs(mixed.predict(C=c) / truth - 1) > 2 * abs(law.predict(C=c) / truth - 1)


def test_all_forms_are_judged_on_the_same_runs_of_the_ray():
    n, m = (a.ravel() for a in np.meshgrid(np.geomspace(1e4, 1e5, 7), [10.0, 20.0, 40.0]))
    exact = runs_of(2 + (1e2 / n) ** 0.5 + (1e3 / (m * n)) ** 0.3, n, m * n, 6 * n * m * n)
    assert heldout_error(exact, JOINT, ray=40.0) < 1e-4


def test_the_order_of_rows_does_not_matter():
    """Several runs of a size cost the same, and a cut may fall between them."""
    rng = np.random.default_rng(3)
    n = np.repeat(np.geomspace(1e4, 1e5, 5), 3)
    loss = (2 + (1e2 / n) ** 0.5) * np.exp(0.01 * rng.normal(size=len(n)))
    runs = runs_of(loss, n, 30 * n, 180 * n**2)
    form = FORMS["power+constant:C"]
    shuffled = runs.take(rng.permutation(len(n)))
    assert heldout_error(shuffled, form) == pytest.approx(heldout_error(runs, form), rel=1e-6)


def test_a_loss_that_falls_faster_and_faster_is_warned_of():
    """Laws of every form never are, whatever the seed; models that learn something new on the way are."""
    rng = np.random.default_rng(5)
    n = np.repeat(np.geomspace(3e3, 5e4, 5), 2)

    def warned(loss):
        return transition(
            runs_of(loss * np.exp(0.008 * rng.normal(size=len(n))), n=n, d=30 * n, c=180 * n * n), 30
        )

    power, bent = 3 * (n / 3e3) ** -0.13, 2.5 + (n / 3e3) ** -0.3
    assert not any(warned(loss) for loss in (power, bent) for _ in range(50))
    assert all("largest size lies" in warned(power * np.where(n > 4e4, 0.9, 1)) for _ in range(50))


def test_a_slight_fall_is_warned_of_where_seeds_rule_chance_out():
    rng = np.random.default_rng(6)
    n = np.repeat(np.geomspace(2e4, 1.3e5, 4), 3)
    power = 5 * (n / 2e4) ** -0.1

    def warned(noise, fall, which=slice(None)):
        loss = power * np.where(n > 1e5, 1 - fall, 1) * np.exp(noise * rng.normal(size=len(n)))
        return transition(runs_of(loss[which], n=n[which], d=14 * n[which], c=84 * n[which] ** 2), 14)

    assert sum(bool(warned(0.002, 0.012)) for _ in range(100)) > 60
    assert sum(bool(warned(0.003, 0.0)) for _ in range(1000)) <= 5
    assert not any(warned(0.0, 0.004) for _ in range(3)), "too little to matter"
    assert not warned(0.0, 0.012, slice(None, None, 3)), "single runs show no chance"
    assert "1.2% below" in warned(0.0, 0.012)


def test_a_transition_is_in_the_choice_of_a_ray_only():
    n = np.geomspace(3e3, 5e4, 5)
    loss = 3 * (n / 3e3) ** -0.13 * np.where(n > 4e4, 0.85, 1)
    runs = runs_of(loss, n=n, d=30 * n, c=180 * n * n)
    assert any("falls faster and faster" in w for w in choose(runs, ray=30).warnings)
    assert not any("falls faster and faster" in w for w in choose(runs).warnings)
