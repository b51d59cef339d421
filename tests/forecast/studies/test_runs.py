"""Protects what studies read of a ladder: along the ray the longest runs, of budgets the best sizes."""

from types import SimpleNamespace

from tony.forecast.climb import Climber
from tony.forecast.ladder import load_ladder
from tony.forecast.studies.runs import along, on_ray
from tony.train.progress import Silent


def climber_of(losses, budgets=(), unfinished=(), small=()):
    """Rungs by (N, D, seed), with their losses."""
    rungs = [SimpleNamespace(n=n, tokens=d, flops=6.0 * n * d, seed=seed) for n, d, seed in losses]
    ladder = SimpleNamespace(
        rungs=rungs,
        small=set(small),
        settings=SimpleNamespace(budgets=budgets),
        largest=max(r.flops for r in rungs),
    )

    def point(rung):
        key = (rung.n, rung.tokens, rung.seed)
        return None if key in unfinished else {"loss": losses[key]}

    return SimpleNamespace(ladder=ladder, point=point)


def places(groups):
    return [[(rung.n, rung.tokens, rung.seed) for rung in rungs] for rungs in groups]


def test_of_a_ray_the_longest_branches():
    losses = {(n, n * m, seed): 1.0 for n in (300, 100, 200) for m in (20, 10) for seed in (0, 1)}
    assert places(along(climber_of(losses))) == [[(n, 20 * n, 0), (n, 20 * n, 1)] for n in (100, 200, 300)]
    missing = {(200, 4000, 1), (300, 6000, 0), (300, 6000, 1)}
    found = places(along(climber_of(losses, unfinished=missing, small=(100,))))
    assert found == [[(200, 4000, 0)]]  # no shorter branch in the place of a longest one


def test_of_budgets_the_best_size_at_each():
    """Whole steps leave a run a little beside its budget; a size is judged by the mean of its seeds."""
    losses = {
        (100, 1010, 0): 3.0, (100, 1010, 1): 3.1, (200, 500, 0): 2.9, (200, 500, 1): 3.3,
        (100, 2000, 0): 2.8, (100, 2000, 1): 2.8, (200, 1000, 0): 2.7, (200, 1000, 1): 2.8,
    }  # fmt: skip
    found = places(along(climber_of(losses, budgets=(0.5, 1))))
    assert found == [[(100, 1010, 0), (100, 1010, 1)], [(200, 1000, 0), (200, 1000, 1)]]


def test_sizes_of_budgets_are_compared_along_the_ray(repository, tmp_path):
    """Each size once, with the target's tokens per parameter; a ladder along a ray is left as it is."""
    path = repository / "recipes" / "ladders" / "images.toml"
    budgets = ("forecast.budgets=[0.25, 0.5, 1]", "forecast.tokens_per_parameter=[20]", "forecast.sizes=4")
    of_budgets = Climber(load_ladder(path, budgets), tmp_path, Silent())
    found = on_ray(of_budgets)
    settings = found.ladder.settings
    assert [r.n for r in found.ladder.rungs] == sorted({r.n for r in of_budgets.ladder.rungs})
    assert all(abs(r.tokens / r.n / settings.ray - 1) < 0.02 for r in found.ladder.rungs)
    assert settings.along == settings.ray and found.ladder.target == of_budgets.ladder.target
    assert not {r.recipe.name for r in found.ladder.rungs} & {r.recipe.name for r in of_budgets.ladder.rungs}
    assert on_ray(found) is found
