"""Protects what a ladder says of its domain: known laws come back, chance makes no frontier, what is not known is not told."""

import json

import numpy as np
import pytest
from synthetic import joint_loss

from tony.forecast import bootstrap, fit
from tony.forecast.climb import runs_of
from tony.forecast.curves import curves
from tony.forecast.derived import to_pf_days
from tony.forecast.domain import domain
from tony.forecast.ladder import LadderRecipe, make_ladder
from tony.forecast.measured import page
from tony.runs import load_recipe

LAW = {"E": 2.5, "A": 20.0, "a": 0.4, "B": 60.0, "b": 0.4}
NOISE = 0.002
RESAMPLES = 20
BATCH = 2720


def ladder_of(**settings):
    """A ladder of 8x8 pictures."""
    recipe = load_recipe(
        {
            "name": "images",
            "data": {"kind": "pictures"},
            "vocabulary": {"text": 256, "image": {"kind": "grey", "side": 8, "levels": 256}},
            "model": {
                "width": 64,
                "depth": 4,
                "head_dim": 8,
                "hidden": 192,
                "context": settings.pop("context", 136),
            },
            "train": {"batch_tokens": BATCH},
        }
    )
    return make_ladder(recipe, LadderRecipe(**settings))


@pytest.fixture(scope="module")
def ladder():
    """Its tokens per parameter go beyond the best on both sides: N_opt = D_opt / 15.6 by LAW."""
    ratios = (2, 4, 8, 16, 32, 64, 128)
    return ladder_of(tokens_per_parameter=ratios, ray=16, allowance=3e15, sizes=7, smallest=32)


@pytest.fixture(scope="module")
def climbed(ladder, tmp_path_factory):
    """Points and learning curves by LAW; training losses are a fiftieth lower, and noisy as few batches are."""
    root, rng, points = tmp_path_factory.mktemp("runs"), np.random.default_rng(0), []
    for rung in ladder.rungs:
        loss = joint_loss(rung.n, rung.tokens, **LAW) * np.exp(NOISE * rng.normal())
        points.append(
            {"name": rung.recipe.name, "N": rung.n, "D": rung.tokens, "C": rung.flops, "loss": loss, "train_loss": loss / 1.02}
        )  # fmt: skip
        for recipe, first, last in (
            (rung.stable, 0, rung.begin),
            (rung.recipe, rung.begin, round(rung.tokens / BATCH)),
        ):
            folder = root / recipe.name
            folder.mkdir(exist_ok=True)
            (folder / "recipe.toml").write_text(recipe.to_toml())
            steps = np.unique(np.linspace(first + 1, last, 40).astype(int))
            above = 1.04 if recipe is rung.stable else 1.01
            losses = (
                above
                / 1.02
                * joint_loss(rung.n, steps * BATCH, **LAW)
                * np.exp(0.03 * rng.normal(size=len(steps)))
            )
            rows = [
                {"step": int(s), "tokens": int(s) * BATCH, "loss": float(x)}
                for s, x in zip(steps, losses, strict=True)
            ]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root, points


@pytest.fixture(scope="module")
def found(ladder, climbed):
    root, points = climbed
    return domain(
        ladder, points, bootstrap(fit(runs_of(points), "overtraining"), 200), root, resamples=RESAMPLES
    )


def constants(found, name):
    return next(law for law in found["laws"] if law["name"] == name)["constants"]


def holds(value, truth, slack=0.0):
    return value["low"] * (1 - slack) <= truth <= value["high"] * (1 + slack)


def test_the_entropy_is_the_one_that_was_put_in(found):
    assert holds(found["entropy"]["overtraining"], LAW["E"])
    assert found["entropy"]["L(C)"]["value"] == pytest.approx(LAW["E"], rel=0.05)


def test_the_frontier_is_one_of_runs_not_of_chance(ladder, climbed):
    """Noise of 3% on the curves would make a frontier 5% below the truth; the smoothed one hardly leaves it."""
    root, points = climbed
    runs, ends = curves(ladder, points, root)
    assert ends.sum() < len(points) and len(runs) > 3 * ends.sum()
    truth = joint_loss(runs.n, runs.d, **LAW)
    assert np.log(runs.loss / truth).min() > -0.012
    assert runs.c.min() >= max(p["C"] for p in points if p["N"] == points[0]["N"]) * (1 - 1e-9)


def test_the_best_size_is_that_of_the_closed_form(found):
    beta = constants(found, "N_opt(C)")["beta"]
    assert holds(beta, LAW["b"] / (LAW["a"] + LAW["b"]), slack=0.25)
    by_law = constants(found, "N_opt(C) by the law")
    g = (LAW["A"] / LAW["B"]) ** (1 / (LAW["a"] + LAW["b"]))
    assert holds(by_law["C0"], 6 / g**2, slack=0.5)  # N = G (C / 6)^(1/2) is 1 at C = 6 / G^2
    assert by_law["beta"]["value"] == 0.5


def test_sizes_for_a_goal_follow_from_the_law(found):
    for goal in found["goals"]:
        assert goal["unit"] == "nats a token"  # no documents were given
        assert holds(goal["N"], (LAW["A"] / goal["reducible"]) ** (1 / LAW["a"]), slack=0.3)
        assert goal["paper_N"] == pytest.approx(80 * goal["reducible"] ** (-1 / 0.24))


def test_what_is_left_is_the_divergence(ladder, climbed, found):
    _, points = climbed
    largest, target = max(points, key=lambda p: p["C"]), ladder.target
    assert holds(found["kl"]["largest"], largest["loss"] - LAW["E"])
    assert holds(found["kl"]["target"], joint_loss(target.n, target.tokens, **LAW) - LAW["E"])


def test_the_paper_stands_beside_it_in_flop(found):
    law = next(law for law in found["laws"] if law["name"] == "L(C)")
    assert found["paper_domain"] == "image 8x8" and to_pf_days(law["paper"]["C0"]) == pytest.approx(1.8e-8)
    assert law["C0_pf_days"] == pytest.approx(law["constants"]["C0"]["value"] / 8.64e19)


def test_nats_a_picture_are_those_of_its_ids(ladder, climbed):
    class Shard:
        counted = np.ones(650, bool)

        def __len__(self):
            return 10

    root, points = climbed
    found = domain(ladder, points, bootstrap(fit(runs_of(points), "overtraining"), 50), root, Shard(), 0)
    law = constants(found, "L(C)")
    picture = found["image"]["laws"]["L(C)"]
    assert found["image"]["tokens"] == 65
    assert picture["irreducible"] == pytest.approx(65 * law["E"]["value"])
    at_one = (law["C0"]["value"] / picture["C0"]) ** law["alpha"]["value"]
    assert 65 * at_one == pytest.approx(1.0)
    forecast = {"loss": 2.5, "low": 2.4, "high": 2.6}
    target = {"N": 1e6, "D": 2e7}
    kept = {"domain": "images", "law": {"form": "joint"}, "beyond": 30.4, "forecast": forecast}
    kept |= {"target": target, "inputs": points}
    confirmed = kept | {"confirmation": {"loss": 2.0, "error": 0.25, "inside": False}}
    text = page([found], receipts=[kept, confirmed])
    assert "| images | joint | 30 | 2.5000 | 2.4000 to 2.6000 | 4.0% | - | - |" in text
    assert "| 2.0000 | +25.00%, outside |" in text
    assert "Confirmed: 1, of which 0 lie inside" in text
    tried = confirmed | {"domain": "images-four"}
    both = page([found], receipts=[kept], earlier=[tried])
    assert (
        both.index("| images | joint") < both.index("took the place of") < both.index("| images-four | joint")
    )
    assert "Confirmed: 1, of which 0 lie inside" in both
    assert "nats a picture" in text and "1 nats an image" in text and text.count("| L(C) | C0 PF-days |") == 1


def test_an_optimum_at_the_edge_of_the_ladder_is_none(ladder, climbed):
    root, points = climbed
    few = [p for p in points if p["D"] / p["N"] < 5]  # the best has 16
    found = domain(ladder, few, bootstrap(fit(runs_of(few), "overtraining"), 50), root, resamples=0)
    assert "the edge of the ladder: more may be better" in found["refused"]["N_opt(C)"]


def test_a_law_without_an_entropy_tells_none(ladder, tmp_path):
    """Power laws without a constant: no irreducible loss, no divergence, no size that reaches one; and no curves at hand."""
    points = [
        {"name": r.recipe.name, "N": r.n, "D": r.tokens, "C": r.flops, "loss": (1e9 / r.n) ** 0.07, "train_loss": (1e9 / r.n) ** 0.07}
        for r in ladder.rungs
    ]  # fmt: skip
    found = domain(
        ladder, points, bootstrap(fit(runs_of(points), "power+constant:N"), 50), tmp_path, resamples=0
    )
    assert found["kl"] is None or found["kl"]["by"] != "power+constant:N"
    assert found["entropy"]["power+constant:N"]["value"] is None
    assert any("no irreducible loss" in note for note in found["notes"])
    assert any("no learning curve" in note for note in found["notes"])
    json.dumps(found, allow_nan=False)


def test_modalities_have_laws_of_their_own(ladder, climbed):
    root, points = climbed
    both = [{**p, "loss_by_modality": {"image": p["loss"], "text": 2 * p["loss"]}} for p in points]
    found = domain(ladder, both, bootstrap(fit(runs_of(points), "overtraining"), 50), root, resamples=0)
    image, text = (constants(found, f"L(N), {m}") for m in ("image", "text"))
    assert text["E"]["value"] == pytest.approx(2 * image["E"]["value"], rel=0.02)


@pytest.fixture(scope="module")
def shared():
    """A ladder of budgets around the best sizes, and its points by LAW."""
    ladder = ladder_of(
        budgets=(0.25, 0.5, 1),
        tokens_per_parameter=(4,),
        ray=16,
        allowance=2e15,
        sizes=6,
        smallest=32,
        seeds=2,
    )
    rng, points = np.random.default_rng(1), []
    for rung in ladder.rungs:
        loss = float(joint_loss(rung.n, rung.tokens, **LAW) * np.exp(0.001 * rng.normal()))
        points.append(
            {"name": rung.recipe.name, "N": rung.n, "D": rung.tokens, "C": rung.flops, "loss": loss, "train_loss": loss, "seed": rung.recipe.seed}
        )  # fmt: skip
    return ladder, points


def test_where_sizes_share_budgets_their_laws_are_of_all_runs(shared, tmp_path):
    """At one budget larger sizes read less, so that longest runs have no L(N): the law's term in N is it."""
    ladder, points = shared
    found = domain(ladder, points, bootstrap(fit(runs_of(points), "joint"), 200), tmp_path, resamples=20)
    size = constants(found, "L(N)")
    assert holds(size["alpha"], LAW["a"]) and holds(size["E"], LAW["E"])
    assert size["N0"]["value"] == pytest.approx(LAW["A"] ** (1 / LAW["a"]), rel=0.2)
    best = constants(found, "N_opt(C) by iso-FLOP profiles")
    assert holds(best["beta"], LAW["b"] / (LAW["a"] + LAW["b"]), slack=0.1)
    budget = ladder.largest
    assert (budget / best["C0"]["value"]) ** best["beta"]["value"] == pytest.approx(optimal(budget), rel=0.2)


def optimal(flops):
    """By LAW, in closed form."""
    a, b = LAW["a"], LAW["b"]
    g = (a * LAW["A"] / (b * LAW["B"])) ** (1 / (a + b))
    return g * (flops / 6) ** (b / (a + b))


def test_sizes_small_against_their_context_are_named():
    from tony.cli.forecast import cost_lines

    small = ladder_of(tokens_per_parameter=(20,), ray=20, allowance=1e14, sizes=5, smallest=16, context=2720)
    assert small.small == {rung.n for rung in small.rungs if rung.n < 27_200} and small.small
    assert any("left out of the fit" in line for line in cost_lines(small))


def test_runs_of_few_steps_are_named():
    from tony.cli.forecast import cost_lines

    def hasty(batch):
        ladder = ladder_of(allowance=1e14, sizes=5, smallest=16)
        train = ladder.base.train.model_copy(update={"batch_tokens": batch})
        ladder = make_ladder(ladder.base.model_copy(update={"train": train}), ladder.settings)
        short = {(r.n, r.tokens) for r in ladder.rungs if r.tokens < 99.5 * batch // 136 * 136}
        return short, [line for line in cost_lines(ladder) if "steps, and runs under 100" in line]

    short, lines = hasty(13_600)
    assert short and len(lines) == len(short)
    assert hasty(136) == (set(), [])
