"""Protects the planner: shapes of the size asked for, memory that fits, days and dollars that follow from the FLOP."""

import json
from dataclasses import replace

import pytest
from synthetic import joint_runs, power_runs
from typer.testing import CliRunner

from tony.cli.main import app
from tony.errors import TonyError
from tony.forecast import bootstrap, fit
from tony.forecast.memory import memory
from tony.forecast.plan import FITS, GPUS, Shape, flops_per_token, plan, shape_for
from tony.forecast.published import BESIROGLU, HOFFMANN, Published, theta_of
from tony.forecast.report import load_law, save_law


@pytest.mark.parametrize("n", [1.2e8, 1e9, 7e9, 3e10, 1.5e11, 5e11])
def test_shapes_are_of_the_size_asked_for(n):
    shape = shape_for(n, 128_256, 8192)
    assert shape.n == pytest.approx(n, rel=0.05)
    assert 25 <= shape.width / shape.depth <= 400
    assert shape.heads * shape.head_dim == shape.width and shape.heads % shape.kv_heads == 0
    both = shape_for(max(n, 5e8), 128_256, 8192, with_embeddings=True)
    assert both.n + both.embeddings == pytest.approx(max(n, 5e8), rel=0.1)


def test_flops_per_token_are_those_of_a_known_model():
    """GPT-3 175B: 2 N forward outside attention (table D.1 of Brown et al. 2020: 3.14e23 FLOP for 3e11 tokens, 6 N)."""
    shape = Shape(
        width=12288,
        depth=96,
        heads=96,
        kv_heads=96,
        head_dim=128,
        hidden=32768,
        vocabulary=50257,
        context=2048,
    )
    per_token = flops_per_token(shape)
    assert per_token == pytest.approx(6 * (shape.n + shape.vocabulary * shape.width) + 6 * 96 * 12288 * 2048)
    assert per_token * 3e11 == pytest.approx(3.14e23, rel=0.08)


def test_a_plan_adds_up():
    law = bootstrap(fit(joint_runs(60, noise=0.01), "joint", starts=500), 200)
    flops, gpus, gpu = 1e24, 1024, GPUS["h100"]
    choices = plan(law, law.law.optimum(flops), flops, gpus, gpu)
    assert [c.name.split(",")[0] for c in choices] == ["compute-optimal", *["over-trained"] * 3]
    for choice in choices:
        assert 6 * choice.n * choice.d == pytest.approx(flops)
        assert choice.loss.low < choice.loss.loss < choice.loss.high
        assert choice.memory.total <= FITS * gpu.memory and choice.refused is None
        assert choice.memory == memory(choice.shape, choice.sequences, choice.shards, choice.tensor_parallel)
        assert choice.shards * choice.tensor_parallel == gpus
        least = flops_per_token(choice.shape) * choice.d / (gpus * gpu.flops * 0.4) / 86_400
        assert choice.days >= least * 0.999
        assert choice.dollars == pytest.approx(choice.days * 24 * gpus * gpu.dollars)
    losses = [c.loss.loss for c in choices]
    assert losses == sorted(losses), "over-training costs loss"


def test_what_does_not_fit_says_so():
    found = Published()
    choices = plan(found, found.optimum(1e24), 1e24, 8, GPUS["l40s"])
    assert "GB a GPU even with one row" in choices[0].refused


@pytest.mark.parametrize(
    ("change", "message"),
    [({"mfu": 0.0}, "--mfu"), ({"mfu": 1.5}, "at most 1"), ({"flops": 1e12}, "Raise --flops")],
)
def test_impossible_plans_are_refused(change, message):
    found = Published()
    flops = change.pop("flops", 1e22)
    with pytest.raises(TonyError, match=message):
        plan(found, found.optimum(flops), flops, 8, GPUS["h100"], **change)


def test_published_constants_give_published_sizes():
    """Hoffmann et al.'s approach 3 at Gopher's compute: 40 B parameters (their table 3; 32 B by the printed constants)."""
    from tony.forecast.fit import optimum
    from tony.forecast.forms import JOINT

    n, _ = optimum(JOINT, theta_of(HOFFMANN), 5.76e23)
    assert n == pytest.approx(3.22e10, rel=0.01)
    n, d = optimum(JOINT, theta_of(BESIROGLU), 5.76e23)
    assert d / n == pytest.approx(20, rel=0.2), (
        "Besiroglu et al.: about 20 tokens per parameter, as Chinchilla was trained"
    )


def test_a_saved_law_comes_back(tmp_path):
    found = bootstrap(fit(joint_runs(40, noise=0.01), "joint", starts=300), 100)
    save_law(tmp_path / "law.json", found)
    assert load_law(tmp_path / "law.json").predict(N=1e10, D=2e11) == found.predict(N=1e10, D=2e11)
    runs, _ = power_runs(9)
    both = bootstrap(fit(runs, "power+constant:C"), 50, beside=[fit(runs, "power:C")])
    save_law(tmp_path / "both.json", both)
    read = load_law(tmp_path / "both.json").predict(C=1e17)
    assert read == both.predict(C=1e17) and read.low < replace(both, beside=()).predict(C=1e17).low
    for text, message in (("{}", "holds no law"), ("nonsense", "holds no law")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(TonyError, match=message):
            load_law(tmp_path / "bad.json")
    with pytest.raises(TonyError, match="no such file"):
        load_law(tmp_path / "none.json")


def test_the_command_of_the_issue():
    done = CliRunner().invoke(
        app, ["forecast", "plan", "--flops", "1e24", "--gpus", "1024", "--gpu", "h100", "--json"]
    )
    assert done.exit_code == 0, done.output
    best = json.loads(done.stdout)["choices"][0]
    assert best["loss"]["low"] <= best["loss"]["value"] <= best["loss"]["high"]
    assert best["memory"]["total"] < 80e9 and best["days"] > 0 and best["dollars"] > 0


def test_a_batch_that_more_gpus_than_rows_force_is_pointed_out():
    found = Published()
    wide = plan(found, found.optimum(1e24), 1e24, 100_000, GPUS["h100"])[0]
    assert "100000 shards needs a row of 8192" in wide.warnings[0] and wide.to_dict()["warnings"]
    assert plan(found, found.optimum(1e24), 1e24, 1024, GPUS["h100"])[0].warnings == ()


def test_published_constants_are_those_printed():
    """Besiroglu et al. 2024, table 1."""
    assert BESIROGLU == {"E": 1.8172, "A": 482.01, "a": 0.3478, "B": 2085.43, "b": 0.3658}


@pytest.mark.parametrize(
    "words",
    [
        ("--flops", "nan"), ("--flops", "inf"), ("--flops", "-1"), ("--mfu", "nan"), ("--price", "-2"),
        ("--price", "nan"), ("--vocabulary", "0"), ("--batch-tokens", "0"), ("--batch-tokens", "-5"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_one_line(words):
    given = () if words[0] == "--flops" else ("--flops", "1e22")
    done = CliRunner().invoke(app, ["forecast", "plan", *given, *words])
    assert isinstance(done.exception, TonyError) and f"{words[0]} " in str(done.exception)


def test_the_table_fits_a_terminal_and_says_what_its_interval_is(tmp_path):
    done = CliRunner().invoke(app, ["forecast", "plan", "--flops", "1e24", "--gpus", "1024", "--gpu", "H100"])
    assert done.exit_code == 0, done.output
    assert "two fits" in done.stdout and "\u2026" not in done.stdout
    save_law(tmp_path / "law.json", bootstrap(fit(joint_runs(40, noise=0.01), "joint", starts=100), 50))
    words = ("--flops", "1e22", "--law", str(tmp_path / "law.json"), "--json")
    counted = [
        json.loads(CliRunner().invoke(app, ["forecast", "plan", *words, *more]).stdout)["n_counts_embeddings"]
        for more in ((), ("--embeddings",))
    ]
    assert counted == [False, True]
