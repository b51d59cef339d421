"""Protects the ladder: its cost is what is run, branches are the runs they would be alone, receipts come first."""

import gzip
import json
import struct
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tony.errors import TonyError
from tony.forecast import climb
from tony.forecast.climb import Climber, runs_of
from tony.forecast.fit import Law
from tony.forecast.forms import FORMS
from tony.forecast.interval import Bootstrap
from tony.forecast.ladder import load_ladder, make_ladder, num_parameters
from tony.forecast.receipt import (
    check_receipt,
    confirm,
    make_receipt,
    read_receipt,
    save_receipt,
    target_runs,
)
from tony.runs import Run
from tony.train.loop import Trainer
from tony.train.progress import Silent

SMALL = (
    "forecast.sizes=4", "forecast.smallest=8", "forecast.tokens_per_parameter=[4, 8]", "forecast.ray=8",
    "forecast.seeds=1", "forecast.growth=0", "model.head_dim=4", "train.compile=false", "forecast.gap=5.0", "forecast.heldout_tokens=2000", "forecast.beyond=2", "model.depth=1", "train.batch_tokens=680",
    "train.checkpoint_every=7", "data.copies=1", "name=small", "train.precision=float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Packages of random pictures in the layout of Debian's."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, count in (("train-images-idx3-ubyte.gz", 300), ("t10k-images-idx3-ubyte.gz", 60)):
        pixels = (rng.random((count, 28, 28)) * np.linspace(0, 255, 28)).astype(np.uint8)
        header = b"\0\0\x08\x03" + struct.pack(">III", count, 28, 28)
        (folder / name).write_bytes(gzip.compress(header + pixels.tobytes()))
    return folder


@pytest.fixture(scope="module")
def ladder(repository, pictures):
    path = repository / "recipes" / "ladders" / "images.toml"
    return load_ladder(path, (*SMALL, f"data.path={pictures}", "forecast.allowance=2e10"))


@pytest.fixture(scope="module")
def climbed(ladder, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    climber = Climber(ladder, root, Silent())
    return climber, climber.climb()


def test_the_shipped_recipes_are_planned(repository):
    names = [path.stem for path in (repository / "recipes" / "ladders").glob("*.toml")]
    assert {"images", "video", "text-to-image", "image-to-text", "mathematics", "text", "code"} <= set(names)
    for name in names:
        ladder = load_ladder(repository / "recipes" / "ladders" / f"{name}.toml")
        assert ladder.flops <= ladder.settings.allowance
        assert ladder.target.flops == pytest.approx(ladder.settings.beyond * ladder.largest, rel=0.5)
        assert ladder.target.flops >= ladder.settings.beyond * ladder.largest
        assert len({rung.n for rung in ladder.rungs}) == ladder.settings.sizes
        assert ladder.target.tokens / ladder.target.n == pytest.approx(ladder.settings.ray, rel=0.01)


def test_sizes_are_those_of_the_model(ladder, climbed):
    climber, points = climbed
    model = climber.trainer(ladder.rungs[0].recipe).model
    assert ladder.rungs[0].n == model.num_parameters_without_embeddings == num_parameters(ladder.base, 8)
    assert [p["N"] for p in points] == [rung.n for rung in ladder.rungs]
    for point, rung in zip(points, ladder.rungs, strict=True):
        assert point["C"] == 6 * point["N"] * point["D"] == rung.flops


def test_what_is_computed_is_what_was_said(ladder, climbed):
    """Steps that were really taken: stable runs to their last branch, and every branch from where it begins."""
    climber, _ = climbed
    flops = 0.0
    for rung in ladder.rungs:
        flops += (
            6 * rung.n * (Run(climber.root / rung.recipe.name).metrics()[-1]["tokens"] - rung.begin * 680)
        )
    for name in {rung.stable.name for rung in ladder.rungs}:
        last = max(rung.begin for rung in ladder.rungs if rung.stable.name == name)
        n = next(rung.n for rung in ladder.rungs if rung.stable.name == name)
        flops += 6 * n * last * 680
    assert flops == pytest.approx(ladder.flops)


def test_a_branch_is_the_run_that_it_would_be_alone(ladder, climbed, tmp_path):
    climber, _ = climbed
    rung = ladder.rungs[1]
    m = climber.material
    alone = Trainer(Run.create(rung.recipe, tmp_path), m.vocabulary, m.train, m.heldout, Silent())
    alone.fit()
    branched = climber.trainer(rung.recipe)
    assert branched.resume() and branched.step == alone.step
    for a, b in zip(alone.model.parameters(), branched.model.parameters(), strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-4, atol=1e-6)


def test_finished_runs_are_read_not_trained(ladder, climbed, monkeypatch):
    climber, points = climbed
    again = Climber(ladder, climber.root, Silent())
    monkeypatch.setattr(Climber, "train", lambda *_: pytest.fail("trained again"))
    assert again.climb() == points


def test_several_seeds_of_a_size_are_runs_of_their_own(ladder, repository, pictures):
    path = repository / "recipes" / "ladders" / "images.toml"
    words = (*SMALL, f"data.path={pictures}", "forecast.allowance=4e10", "forecast.seeds=2")
    double = load_ladder(path, words)
    assert double.flops == pytest.approx(2 * ladder.flops) and double.target == ladder.target
    first = [rung for rung in double.rungs if rung.recipe.seed == 0]
    assert first == list(ladder.rungs)
    second = [rung for rung in double.rungs if rung.recipe.seed == 1]
    assert [(r.n, r.tokens, r.begin) for r in first] == [(r.n, r.tokens, r.begin) for r in second]
    assert (
        len({rung.recipe.name for rung in double.rungs})
        == len({rung.recipe.hash for rung in double.rungs})
        == len(double.rungs)
    )
    points = [
        {"N": r.n, "D": r.tokens, "C": r.flops, "loss": 3.0 + r.recipe.seed, "seed": r.recipe.seed}
        for r in double.rungs
    ]
    assert len(set(runs_of(points).run)) == 2 * double.settings.sizes


def test_rates_fall_with_the_length_of_training(ladder, repository, pictures):
    path = repository / "recipes" / "ladders" / "images.toml"
    words = (*SMALL, f"data.path={pictures}", "forecast.allowance=2e10")
    falling = load_ladder(path, (*words, "forecast.horizon=0.5"))
    for rung in (*falling.rungs, falling.target):
        expected = falling.base.train.lr * (rung.n / falling.rungs[0].n) ** -0.5
        assert rung.recipe.train.lr == rung.stable.train.lr == pytest.approx(expected)
    constant = load_ladder(path, (*words, "forecast.horizon=0"))
    assert {rung.recipe.train.lr for rung in constant.rungs} == {constant.base.train.lr}


def test_batches_grow_with_the_length_of_training(repository, pictures):
    path = repository / "recipes" / "ladders" / "images.toml"
    words = (*SMALL, f"data.path={pictures}", "forecast.allowance=2e10")
    growing = load_ladder(path, (*words, "forecast.growth=0.5"))
    context, first = growing.base.model.context, growing.base.train.batch_tokens
    for rung in (*growing.rungs, growing.target):
        batch = rung.recipe.train.batch_tokens
        assert batch % context == 0 and batch == rung.stable.train.batch_tokens
        assert batch == pytest.approx(first * (rung.n / growing.rungs[0].n) ** 0.5, abs=context)
        assert rung.tokens == rung.steps * batch == pytest.approx(rung.recipe.train.tokens)
    assert growing.target.steps < growing.target.tokens / first
    constant = load_ladder(path, (*words, "forecast.growth=0"))
    assert {rung.recipe.train.batch_tokens for rung in (*constant.rungs, constant.target)} == {
        first // context * context
    }


def test_every_size_is_trained_to_every_budget(repository, pictures):
    path = repository / "recipes" / "ladders" / "images.toml"
    words = (
        *SMALL, f"data.path={pictures}", "forecast.budgets=[1, 0.25]", "forecast.tokens_per_parameter=[4]",
        "forecast.ray=8", "forecast.horizon=0.3", "forecast.growth=0.5", "forecast.allowance=4e13", "forecast.seeds=2",
        "train.batch_tokens=1360",
    )  # fmt: skip
    shared = load_ladder(path, words)
    widths = sorted({rung.recipe.model.width for rung in shared.rungs})
    top = 6 * 4 * num_parameters(shared.base, widths[-1]) ** 2
    places = Counter(
        (rung.recipe.model.width, round(np.log(rung.flops / top) / np.log(4))) for rung in shared.rungs
    )
    assert places == {(width, budget): 2 for width in widths for budget in (0, -1)}
    # Each is a run of its own, whose rate and batch are those of its length.
    assert len({rung.stable.name for rung in shared.rungs}) == len(shared.rungs) == 4 * len(widths)
    reference = 8 * num_parameters(shared.base, widths[0])
    for rung in (*shared.rungs, shared.target):
        assert rung.recipe.train.lr == pytest.approx(
            shared.base.train.lr * (rung.tokens / reference) ** -0.3, rel=0.02
        )
        assert rung.recipe.train.batch_tokens == pytest.approx(
            1360 * (rung.tokens / reference) ** 0.5, rel=0.02, abs=150
        )
    assert shared.flops == pytest.approx(sum(rung.flops for rung in shared.rungs))
    assert shared.flops <= 4e13
    assert (
        shared.target.tokens / shared.target.n == pytest.approx(8, rel=0.05) and shared.settings.along is None
    )
    for wrong in (
        "forecast.budgets=[0.5]",
        "forecast.budgets=[1, 0.5, 0.5]",
        "forecast.tokens_per_parameter=[4, 8]",
    ):
        with pytest.raises(TonyError, match="budgets need a 1 among them"):
            load_ladder(path, (*words, wrong))


def test_processes_share_the_sizes(ladder, climbed, tmp_path):
    _, alone = climbed
    climber = Climber(ladder, tmp_path, Silent())
    shared = climber.climb(workers=2)
    assert [p["name"] for p in shared] == [p["name"] for p in alone]
    assert [p["loss"] for p in shared] == pytest.approx([p["loss"] for p in alone], rel=1e-4)


def test_processes_share_the_runs_of_the_target(ladder, climbed, tmp_path):
    """Two runs of a target as small as the smallest rung: one by one, and side by side."""
    small = [rung for rung in ladder.rungs if rung.n == min(r.n for r in ladder.rungs)][:1]
    runs = tuple(
        replace(
            small[0],
            recipe=small[0].recipe.model_copy(update={"name": f"goal-{seed}", "seed": seed}),
            stable=small[0].stable.model_copy(update={"name": f"goal-{seed}-stable", "seed": seed}),
        )
        for seed in (5, 6)
    )
    several = replace(ladder, targets=runs)
    alone = Climber(several, tmp_path / "alone", Silent()).targets()
    shared = Climber(several, tmp_path / "shared", Silent()).targets(workers=2)
    assert [p["name"] for p in shared] == [p["name"] for p in alone] == ["goal-5", "goal-6"]
    assert [p["loss"] for p in shared] == pytest.approx([p["loss"] for p in alone], rel=1e-4)
    assert alone[0]["loss"] != alone[1]["loss"]
    assert Climber(several, tmp_path / "shared", Silent()).targets(workers=2) == shared


@pytest.mark.slow
def test_ray_climbs_the_same_ladder(ladder, climbed, tmp_path):
    pytest.importorskip("ray")
    _, alone = climbed
    shared = Climber(ladder, tmp_path, Silent()).climb(ray="local")
    assert [p["loss"] for p in shared] == pytest.approx([p["loss"] for p in alone], rel=1e-4)


def test_learning_by_heart_is_refused(repository, pictures, tmp_path):
    path = repository / "recipes" / "ladders" / "images.toml"
    strict = load_ladder(
        path, (*SMALL, f"data.path={pictures}", "forecast.allowance=2e10", "forecast.gap=1e-9")
    )
    climber = Climber(strict, tmp_path, Silent())
    values = iter([(2.0, 0.001), (1.0, 0.001)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(climb, "measure", lambda *_, **__: next(values))
        with pytest.raises(TonyError, match="learns its data by heart"):
            climber.train(strict.rungs[0])


def forecast_of(points):
    """A law and resamples without fitting: random pictures have no law."""
    runs = runs_of(points)
    theta = np.log([1.0, 2.0]), 0.1
    vector = np.array([*theta[0], theta[1]])
    law = Law(FORMS["power+constant:C"], vector, 0.0, runs)
    return Bootstrap(law, np.repeat(vector[None], 20, 0), np.linspace(-0.01, 0.01, 20), 0.005)


def test_the_receipt_comes_before_the_truth(ladder, climbed, tmp_path):
    _, points = climbed
    path = tmp_path / "receipt.json"
    receipt = save_receipt(path, make_receipt(ladder, points, forecast_of(points)))
    assert receipt["forecast"]["low"] < receipt["forecast"]["loss"] < receipt["forecast"]["high"]
    assert len(receipt["inputs"]) == len(points) and receipt["beyond"] >= 2
    later = {"recipe": ladder.target.recipe.hash, "loss": 2.0, "standard_error": 0.01, "finished": "2999-01-01T00:00:00Z", "seconds": 1, "sha256": "0"}  # fmt: skip
    with pytest.raises(TonyError, match="after the target was trained"):
        confirm(path, [later | {"finished": "2000-01-01T00:00:00Z"}])
    with pytest.raises(TonyError, match="another target"):
        confirm(path, [later | {"recipe": "other"}])
    with pytest.raises(TonyError, match="another target"):
        confirm(path, [later, later])
    done = confirm(path, [later])
    assert done["confirmation"]["error"] == pytest.approx(done["forecast"]["loss"] / 2 - 1)
    assert read_receipt(path) == done
    old = {k: v for k, v in receipt["target"].items() if k != "runs"}
    assert target_runs({"target": old}) == target_runs(receipt), "receipts from before there could be several"


def test_the_mean_of_several_runs_confirms(ladder, climbed, tmp_path):
    several = make_ladder(ladder.base, ladder.settings.model_copy(update={"targets": 3}))
    assert several.rungs == ladder.rungs and several.target == ladder.target
    names = [rung.recipe.name for rung in several.targets]
    assert names == [f"{names[0]}{suffix}" for suffix in ("", "-s1", "-s2")]
    assert len({rung.recipe.seed for rung in several.targets}) == 3
    assert len({(rung.n, rung.tokens) for rung in several.targets}) == 1
    _, points = climbed
    path = tmp_path / "receipt.json"
    made = make_receipt(several, points, forecast_of(points))
    save_receipt(path, made)
    losses = (made["forecast"]["high"] + 0.3, made["forecast"]["loss"] - 0.2, made["forecast"]["loss"] - 0.1)
    runs = [
        {"recipe": rung.recipe.hash, "loss": loss, "standard_error": 0.01, "finished": "2999-01-01T00:00:00Z", "seconds": 2, "sha256": "0"}
        for rung, loss in zip(several.targets, losses, strict=True)
    ]  # fmt: skip
    with pytest.raises(TonyError, match="another target"):
        confirm(path, runs[:1])
    found = confirm(path, runs)["confirmation"]
    assert found["loss"] == pytest.approx(np.mean(losses)) and found["losses"] == list(losses)
    assert found["seconds"] == 6
    with pytest.raises(TonyError, match="from other runs"):
        save_receipt(path, make_receipt(ladder, points, forecast_of(points)))


def test_a_receipt_that_was_changed_is_refused(ladder, climbed, tmp_path):
    _, points = climbed
    path = tmp_path / "receipt.json"
    save_receipt(path, make_receipt(ladder, points, forecast_of(points)))
    value = json.loads(path.read_text())
    value["forecast"]["loss"] *= 0.99
    path.write_text(json.dumps(value))
    with pytest.raises(TonyError, match="was changed"):
        read_receipt(path)


def test_a_second_forecast_does_not_replace_the_first(ladder, climbed, tmp_path):
    _, points = climbed
    path = tmp_path / "receipt.json"
    first = save_receipt(path, make_receipt(ladder, points, forecast_of(points)))
    assert save_receipt(path, make_receipt(ladder, points, forecast_of(points))) == first
    with pytest.raises(TonyError, match="from other runs"):
        save_receipt(path, make_receipt(ladder, points[:-1], forecast_of(points[:-1])))
    check_receipt(path, ladder)
    check_receipt(tmp_path / "none.json", ladder)
    other = replace(ladder, targets=(ladder.rungs[0],))
    with pytest.raises(TonyError, match="of another target"):  # before anything is trained
        check_receipt(path, other)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("forecast.allowance=1", "does not pay for"),
        ("forecast.ray=7", "none of tokens_per_parameter"),
        ("forecast.sizes=2", "forecast.sizes"),
        ("forecast.unknown=2", "forecast.unknown"),
        ("model.widht=2", "unknown key 'model.widht'"),
    ],
)
def test_wrong_recipes_are_refused(repository, override, message):
    with pytest.raises(TonyError, match=message):
        load_ladder(repository / "recipes" / "ladders" / "mathematics.toml", (override,))


def test_a_recipe_without_a_ladder_is_refused(repository):
    with pytest.raises(TonyError, match="no \\[forecast\\] section"):
        load_ladder(repository / "recipes" / "digits.toml")
