"""Empirical rules: unchanged at ratio 1, composable, and as their sources state them."""

import pytest

from tony.errors import TonyError
from tony.mup.empirical import Hyperparameters, adam_for_batch, adam_for_steps, sgd_lr_for_batch

TUNED = Hyperparameters(lr=0.01, weight_decay=0.1, beta1=0.9, beta2=0.99, eps=1e-8)


@pytest.mark.parametrize("rule", [adam_for_batch, adam_for_steps])
def test_ratio_one_changes_nothing(rule):
    for field, value in vars(rule(TUNED, 1)).items():
        assert value == pytest.approx(vars(TUNED)[field])


def test_square_root_rule():
    four = adam_for_batch(TUNED, 4)
    assert vars(four) == pytest.approx(
        {"lr": 0.02, "weight_decay": 0.1, "beta1": 0.6, "beta2": 0.96, "eps": 0.5e-8}
    )
    assert vars(adam_for_batch(adam_for_batch(TUNED, 2), 2)) == pytest.approx(vars(four))
    assert sgd_lr_for_batch(0.1, 4) == 0.4
    with pytest.raises(TonyError, match="ends at 10"):
        adam_for_batch(TUNED, 16)


def test_more_steps_keep_the_decay_over_the_run():
    ten = adam_for_steps(TUNED, 10)
    assert ten.lr == pytest.approx(0.01 * 10**-0.3)
    assert ten.lr * ten.weight_decay * 10 == pytest.approx(TUNED.lr * TUNED.weight_decay)


@pytest.mark.parametrize("ratio", [0, -1, float("nan")])
def test_a_ratio_is_more_than_nothing(ratio):
    with pytest.raises(TonyError, match="more than 0"):
        sgd_lr_for_batch(0.1, ratio)
