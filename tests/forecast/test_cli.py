"""Protects `tony forecast fit`: any CSV by its columns, JSON and pictures, one line for bad input."""

import json
import warnings

import pytest
from synthetic import joint_runs
from typer.testing import CliRunner

from tony.cli.main import app
from tony.errors import TonyError


@pytest.fixture
def table(tmp_path):
    runs = joint_runs(40, noise=0.005)
    path = tmp_path / "runs.csv"
    rows = [
        f"r{i},{n},{d},{loss}" for i, (n, d, loss) in enumerate(zip(runs.n, runs.d, runs.loss, strict=True))
    ]
    path.write_text("name,params,tokens,val\n" + "\n".join(rows))
    return path


def call(*words):
    return CliRunner().invoke(app, ["forecast", *map(str, words)])


COLUMNS = ("--n", "params", "--d", "tokens", "--loss", "val", "--run", "name", "--resamples", 100)


def test_json_plots_and_law(table, tmp_path):
    done = call(
        "fit", table, *COLUMNS, "--form", "joint", "--budget", "1e23", "--at", "N=7e10,D=1.4e12", "--json",
        "--plots", tmp_path / "plots", "--save", tmp_path / "law.json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["law"]["constants"]["E"]["low"] < 1.69 < result["law"]["constants"]["E"]["high"]
    assert result["optimum"][0]["N"]["value"] * result["optimum"][0]["D"]["value"] == pytest.approx(1e23 / 6)
    forecast = result["forecasts"][0]["loss"]
    assert forecast["low"] < forecast["value"] < forecast["high"]
    assert {p.name for p in (tmp_path / "plots").iterdir()} >= {"compute.png", "residuals.png"}
    assert all(
        (tmp_path / "plots" / name).read_bytes()[:4] == b"\x89PNG"
        for name in ("compute.png", "residuals.png")
    )
    planned = call("plan", "--flops", "1e23", "--law", tmp_path / "law.json", "--gpus", 256, "--json")
    assert json.loads(planned.stdout)["choices"][0]["N"] == pytest.approx(result["optimum"][0]["N"]["value"])


def test_people_see_a_table(table):
    done = call("fit", table, *COLUMNS, "--form", "joint", "--budget", "1e23")
    assert done.exit_code == 0, done.output
    assert "90% interval" in done.stdout and "by law" in done.stdout


def test_forms_that_the_runs_cannot_tell_apart_are_named(table):
    law = json.loads(call("fit", table, *COLUMNS, "--resamples", "50", "--json").stdout)
    errors = {c["form"]: c["heldout_error"] for c in law["candidates"] if c["heldout_error"] is not None}
    close = {form for form, error in errors.items() if error <= 1.25 * min(errors.values())}
    assert set(law["law"]["beside"]) == close - {law["law"]["form"]}
    shown = call("fit", table, *COLUMNS, "--resamples", "50").stdout
    assert ("cannot tell them apart" in shown) == bool(law["law"]["beside"])
    assert all(f"{form} +" in shown for form in law["law"]["beside"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--where", "name"), "COLUMN=VALUE"),
        (("--at", "7e9"), "--at N=7e9"),
        (("--n", "missing"), "no column 'missing'"),
        (("--form", "cubic"), "form 'cubic' is not known"),
    ],
)
def test_wrong_flags_are_one_line(table, words, message):
    done = call("fit", table, *COLUMNS, *words)
    assert isinstance(done.exception, TonyError) and message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_losses_in_bits_among_nats_are_named(tmp_path):
    runs = joint_runs(30, noise=0.002)
    runs.loss[[4, 9]] *= 1.4427
    path = tmp_path / "runs.csv"
    rows = [f"{n},{d},{loss}" for n, d, loss in zip(runs.n, runs.d, runs.loss, strict=True)]
    path.write_text("N,D,loss\n" + "\n".join(rows))
    done = call("fit", path, "--form", "joint", "--resamples", 50, "--json")
    assert any("rows 6, 11: losses a factor of 1.44" in w for w in json.loads(done.stdout)["warnings"])


def test_losses_above_the_frontier_are_named(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("C,loss\n" + "\n".join(f"{10.0**k},{2 + 0.1 * k}" for k in range(18, 24)))
    result = json.loads(call("fit", path, "--resamples", 50, "--json").stdout)
    assert any("rows 3, 4, 5, 6, 7: above the frontier" in w for w in result["warnings"])
    assert any("do not fall" in w for w in result["warnings"])


@pytest.mark.parametrize(
    "words",
    [
        ("--budget", "0"), ("--budget", "-1e20"), ("--budget", "nan"), ("--at", "N=nan,D=1e9"), ("--at", "N=1e9,D=inf"),
        ("--resamples", "0"), ("--resamples", "-3"), ("--resamples", "1"), ("--delta", "0"), ("--delta", "-1"),
        ("--delta", "nan"), ("--seed", "-1"), ("--loss-unit", "nits"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_one_line(table, words):
    done = call("fit", table, *COLUMNS, "--form", "overtraining", *words)
    assert isinstance(done.exception, TonyError), done.output
    assert "\n" not in str(done.exception)


def test_two_of_n_d_and_c_say_the_third(table):
    words = ("--form", "power+constant:C", "--at", "N=1e9,D=2e10", "--json")
    point = json.loads(call("fit", table, *COLUMNS, *words).stdout)["forecasts"][0]
    assert point["C"] == pytest.approx(1.2e20) and point["loss"]["value"] > 0


def test_the_exponent_of_the_optimum_is_told(table):
    words = (*COLUMNS, "--budget", "1e23")
    result = json.loads(call("fit", table, *words, "--form", "joint", "--json").stdout)
    exponent = result["law"]["size_exponent"]
    assert exponent["low"] < exponent["value"] < exponent["high"]
    assert exponent["value"] == pytest.approx(
        result["law"]["constants"]["b"]["value"]
        / (result["law"]["constants"]["a"]["value"] + result["law"]["constants"]["b"]["value"])
    )
    said = call("fit", table, *words, "--form", "joint").stdout
    assert "(law; 90%:" in said and "D = " in said and said.count("(90%: ") == 3
    assert "by the form of the law" in call("fit", table, *words, "--form", "overtraining").stdout


def test_a_law_that_is_none_says_so(tmp_path):
    path = tmp_path / "runs.csv"
    runs = joint_runs(30, noise=0.8)
    path.write_text("N,D,loss\n" + "\n".join(map("{},{},{}".format, runs.n, runs.d, runs.loss)))
    result = json.loads(call("fit", path, "--form", "joint", "--resamples", 50, "--json").stdout)
    assert any("on half of its own rows" in w for w in result["warnings"])


def test_losses_that_never_change_draw_and_are_valid_json(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n" + "\n".join(f"{1e8 * 2**i},{2e9 * 2**i},3.0" for i in range(8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = call("fit", path, "--resamples", 50, "--plots", tmp_path / "plots", "--json")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    result = json.loads(done.stdout, parse_constant=refuse)
    assert any("above the frontier" in w for w in result["warnings"])


def test_what_is_not_fitted_is_said_once(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("N,loss\n" + "\n".join(f"{10.0**k},{(8.8e13 / 10.0**k) ** 0.076}" for k in range(5, 12)))
    assert call("fit", path, "--resamples", 50).stderr.count("the table has no C") == 1
