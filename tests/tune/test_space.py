"""Protects what a search chooses from: forms that people write, grids in factors of 2, draws that a seed fixes."""

import numpy as np
import pytest

from tony.errors import TonyError
from tony.runs import load_recipe
from tony.tune.space import Choice, Range, check_space, default_space, grid_points, random_point, read_space


def test_forms_that_people_write():
    space = read_space(["lr=0.001..0.008", "decay=0.2|0.6", "output_scale=2"])
    assert space == {"lr": Range(0.001, 0.008), "decay": Choice((0.2, 0.6)), "output_scale": Choice((2.0,))}
    assert [str(choices) for choices in space.values()] == ["0.001..0.008", "0.2|0.6", "2"]


@pytest.mark.parametrize(
    "item", ["lr", "rate=1..2", "lr=2..1", "lr=0..1", "lr=a|b", "lr=1..2..3", "lr=nan|1"]
)
def test_other_forms_are_named(item):
    with pytest.raises(TonyError, match="write"):
        read_space([item])


def test_a_grid_goes_in_factors_of_two():
    assert Range(0.25, 4.0).grid() == [0.25, 0.5, 1.0, 2.0, 4.0]
    points = grid_points({"lr": Range(0.001, 0.003), "decay": Choice((0.2, 1.0))})
    assert points == [
        {"lr": 0.001, "decay": 0.2}, {"lr": 0.001, "decay": 1.0}, {"lr": 0.002, "decay": 0.2}, {"lr": 0.002, "decay": 1.0}
    ]  # fmt: skip


def test_random_points_are_fixed_by_seed_and_index_and_even_in_the_logarithm():
    space = {"lr": Range(2.0**-10, 2.0**-4), "decay": Choice((0.2, 0.6, 1.0))}
    points = [random_point(space, 3, index) for index in range(600)]
    assert points[17] == random_point(space, 3, 17) != random_point(space, 4, 17)
    logs = np.log2([point["lr"] for point in points])
    assert logs.min() >= -10 and logs.max() <= -4
    assert logs.mean() == pytest.approx(-7, abs=4 * (6 / 12**0.5) / 600**0.5)
    assert {point["decay"] for point in points} == {0.2, 0.6, 1.0}


def test_the_default_space_has_no_attention_scale_without_qk_norm():
    assert "attention_scale" in default_space(load_recipe({}))
    assert "attention_scale" not in default_space(load_recipe({}, ["model.qk_norm=false"]))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("decay=0.5|7", r"--space decay=0.5\|7: 7: input should be less than or equal to 1"),
        ("lr=0", "--space lr=0: 0: input should be greater than 0"),
        ("init_scale=-1", "--space init_scale=-1: -1: input should be greater than 0"),
    ],
)
def test_values_that_no_recipe_takes_are_named_before_any_work(item, said, repository):
    recipe = load_recipe(repository / "recipes" / "digits.toml")
    check_space(recipe, default_space(recipe))
    with pytest.raises(TonyError, match=said):
        check_space(recipe, read_space([item]))
