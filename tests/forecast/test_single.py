"""Protects plans by laws in one variable: whose sizes they are is said, and what a law does not say is refused."""

import json

import numpy as np
import pytest
from synthetic import joint_loss, runs_of
from typer.testing import CliRunner

from tony.cli.main import app
from tony.errors import TonyError
from tony.forecast import bootstrap, fit
from tony.forecast.frontier import SizeRule
from tony.forecast.report import load_size, save_law
from tony.forecast.single import single


def ray(ratio=40.0, known=True):
    """Runs of one D / N."""
    n = np.geomspace(1e7, 1e9, 8)
    loss = joint_loss(n, ratio * n)
    c = 6 * ratio * n**2
    return runs_of(loss, n, ratio * n, c) if known else runs_of(loss, c=c)


def found(runs, form):
    return bootstrap(fit(runs, form), 50)


@pytest.mark.parametrize("variable", ["N", "D", "C"])
def test_runs_of_one_ratio_give_it(variable):
    law = single(found(ray(), f"power+constant:{variable}"), SizeRule(0.9, 0.0, "convex hull"))
    n, d = law.optimum(1e21)
    assert 6 * n * d == pytest.approx(1e21) and d / n == pytest.approx(40)
    loss = law.predict(n, d)
    assert loss.loss == pytest.approx(joint_loss(n, d), rel=0.01)
    assert any("40 tokens per parameter that all runs of the law have" in w for w in loss.warnings)


def test_a_size_law_of_the_same_runs_is_used(tmp_path):
    rule = SizeRule(0.6, float(np.log(2.0)), "iso-FLOP profiles")
    law = found(ray(known=False), "power+constant:C")
    save_law(tmp_path / "law.json", law, rule)
    assert load_size(tmp_path / "law.json") == rule
    n, d = single(law, rule).optimum(1e21)
    assert n == pytest.approx(2 * 1e21**0.6) and 6 * n * d == pytest.approx(1e21)
    assert any("iso-FLOP profiles of the same runs" in w for w in single(law, rule).predict(n, d).warnings)


def test_without_one_twenty_is_assumed_and_said(tmp_path):
    save_law(tmp_path / "law.json", found(ray(known=False), "power+constant:C"))
    words = ("forecast", "plan", "--flops", "1e22", "--law", str(tmp_path / "law.json"))
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    (choice,) = json.loads(done.stdout)["choices"]  # nothing is said of over-trained ones
    assert choice["tokens_per_parameter"] == pytest.approx(20)
    assert any("D / N = 20 is assumed" in w for w in choice["loss"]["warnings"])
    said = CliRunner().invoke(app, list(words))
    assert said.exit_code == 0 and "D / N = 20 is assumed" in said.stderr


@pytest.mark.parametrize("variable", ["N", "D"])
def test_a_law_of_runs_of_many_ratios_says_nothing_of_a_budget(variable):
    n = np.geomspace(1e7, 1e9, 8)
    d = n * np.geomspace(5, 300, 8)
    runs = runs_of(joint_loss(n, d), n, d, 6 * n * d)
    with pytest.raises(TonyError, match=r"5 to 300 tokens per parameter.*Fit --form joint"):
        single(found(runs, f"power+constant:{variable}"), None)
    only = runs_of(joint_loss(n, d), **{variable.lower(): n if variable == "N" else d})
    with pytest.raises(TonyError, match="do not tell theirs"):
        single(found(only, f"power+constant:{variable}"), None)


def test_the_command_saves_the_size_law_and_plans_by_it(tmp_path):
    rows = []
    for c in np.geomspace(1e18, 1e21, 4):
        for n in np.geomspace(0.2, 5, 7) * np.sqrt(c / 120):
            rows.append(f"{n},{c / 6 / n},{joint_loss(n, c / 6 / n)}")
    (tmp_path / "runs.csv").write_text("N,D,loss\n" + "\n".join(rows))
    law = tmp_path / "law.json"
    words = (
        "fit",
        str(tmp_path / "runs.csv"),
        "--form",
        "power+constant:C",
        "--resamples",
        "50",
        "--save",
        str(law),
    )
    assert CliRunner().invoke(app, ["forecast", *words]).exit_code == 0
    done = CliRunner().invoke(app, ["forecast", "plan", "--flops", "1e22", "--law", str(law), "--json"])
    (choice,) = json.loads(done.stdout)["choices"]
    g = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62)
    assert choice["N"] == pytest.approx(
        g * (1e22 / 6) ** (0.28 / 0.62), rel=0.1
    )  # the closed form of the truth
