"""Rules of thumb for batch size, number of steps and sequence length. None of them is part of muP; none is applied by a plan.

Tensor Programs V transfers hyperparameters over batch size, training time and sequence length unchanged, within
the moderate ranges it tried. Beyond those these are the rules that people use. Each has its source; validate at your scale.
Sequence length has none: keep the batch in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tony.errors import TonyError


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What the rules change, as AdamW takes it."""

    lr: float
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


def adam_for_batch(tuned: Hyperparameters, ratio: float) -> Hyperparameters:
    """Adam at `ratio` times the batch and as many examples in all: the square-root rule.

    Keeps the stochastic differential equation that Adam approximates (Malladi et al. 2022, arXiv 2205.10287):
    lr * sqrt(k), 1 - beta * k, eps / sqrt(k).

    Raises:
        TonyError: a ratio that leaves no beta above 0, or is not above 0.
    """
    _positive(ratio)
    beta1, beta2 = 1 - ratio * (1 - tuned.beta1), 1 - ratio * (1 - tuned.beta2)
    if beta1 < 0 or beta2 < 0:
        raise TonyError(
            f"batch ratio {ratio:g} leaves no momentum: the square-root rule ends at {1 / (1 - tuned.beta1):g}"
        )
    return replace(tuned, lr=tuned.lr * ratio**0.5, beta1=beta1, beta2=beta2, eps=tuned.eps / ratio**0.5)


def sgd_lr_for_batch(lr: float, ratio: float) -> float:
    """SGD's learning rate at `ratio` times the batch: proportional (Goyal et al. 2017, arXiv 1706.02677)."""
    _positive(ratio)
    return lr * ratio


def adam_for_steps(tuned: Hyperparameters, ratio: float, exponent: float = 0.3) -> Hyperparameters:
    """AdamW for `ratio` times the steps at the same batch: lr * ratio^-0.3, and the same lr * weight_decay * steps.

    The exponent is that of the Delphi runs of the marin project (2026; fitted on 3e18 to 3e20 FLOPs); Tensor Programs V uses
    0. Weight decay keeps the averaging time of AdamW, in
    epochs (Wang and Aitchison 2024, arXiv 2405.13698).
    """
    _positive(ratio)
    lr = tuned.lr * ratio**-exponent
    return replace(tuned, lr=lr, weight_decay=tuned.weight_decay * (tuned.lr / lr) / ratio)


def _positive(ratio: float) -> None:
    if not ratio > 0:
        raise TonyError(f"ratio {ratio} is the target's over the proxy's: more than 0")
