"""The coordinate check: do activations, and their change in the first steps, keep their size as width grows?

Under muP every feature moves by O(1) at every width (Tensor Programs V, section D.1). So size is width^0 in every layer and at
every step. Only what random weights average out may shrink, from its initial value: logits, and attention logits that are
divided by head_dim. Anything else that grows or shrinks is a rule broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from tony.errors import TonyError
from tony.mup.factors import Optimizer, check_optimizer
from tony.mup.plan import Plan
from tony.mup.rules import Setting, setting_for
from tony.mup.slopes import Size, judge
from tony.mup.verdict import CoordinateCheck
from tony.mup.watch import watch


class MakePlan(Protocol):
    """What makes a plan of (base, wider, target): Plan itself, or functools.partial(Plan, rules=...)."""

    def __call__(self, base: nn.Module, wider: nn.Module, target: nn.Module, /) -> Plan: ...


def coordinate_check(
    make: Callable[[int], nn.Module],
    loss: Callable[[nn.Module], Tensor],
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    *,
    plan: MakePlan | None = Plan,
    optimizer: Optimizer = "adamw",
    lr: Setting = 1e-2,
    weight_decay: Setting = 0.0,
    eps: float = 1e-8,
    momentum: float = 0.9,
    steps: int = 4,
    seeds: int = 4,
    tolerance: float = 0.15,
) -> CoordinateCheck:
    """Train `make(width)` for a few steps at every width, and judge how sizes go with width.

    make: builds a model of a width with its own initialisation, by torch's global generator.
    loss: the loss of a model on one fixed batch.
    widths: growing; the first is the base's. A factor of 16 from end to end shows what matters.
    plan: makes the plan of (base, wider, target); None checks the standard parametrisation.
    optimizer: "sgd", "adam" or "adamw"; lr, weight_decay and eps are the base's. A large lr shows faults sooner.
    seeds: models drawn at each width; the interval of a slope comes from their scatter.
    tolerance: a slope whose interval is wholly beyond it fails; a broken rule shows as 1/2 or more.

    Raises:
        TonyError: fewer than three widths, one seed or no step, or Muon (check its rules with AdamW's).
    """
    check_optimizer(optimizer)
    if optimizer == "muon":
        raise TonyError("coordinate_check knows sgd, adam and adamw. Check the model's roles with adamw")
    if len(widths) < 3 or sorted(set(widths)) != list(widths):
        raise TonyError(f"coordinate_check: widths {tuple(widths)} must be three or more, growing")
    if steps < 1 or seeds < 2:
        raise TonyError("coordinate_check: a slope with an interval needs one step and two seeds or more")
    settings = Settings(optimizer, lr, weight_decay, eps, momentum)
    with torch.device("meta"):
        base, wider = make(widths[0]), make(widths[1])
    sizes: list[Size] = []
    for width in widths:
        for seed in range(seeds):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model = make(width)
                made = plan(base, wider, model) if plan is not None else None
                sizes += _train(model, made, loss, settings, steps, width, seed)
    return CoordinateCheck(
        parametrization="standard" if plan is None else "muP",
        widths=tuple(widths),
        steps=steps,
        tolerance=tolerance,
        sizes=tuple(sizes),
        lines=judge(sizes, tolerance),
    )


@dataclass(frozen=True)
class Settings:
    """How the models of a check are trained."""

    optimizer: Optimizer
    lr: Setting
    weight_decay: Setting
    eps: float
    momentum: float

    def build(self, model: nn.Module, plan: Plan | None) -> torch.optim.Optimizer:
        """The optimiser of `model`, by the plan or by the standard parametrisation."""
        if plan is not None:
            groups = plan.groups(
                model, lr=self.lr, weight_decay=self.weight_decay, eps=self.eps, optimizer=self.optimizer
            )
        else:
            groups = [
                {
                    "params": [parameter],
                    "lr": setting_for(self.lr, name, "lr"),
                    "weight_decay": setting_for(self.weight_decay, name, "weight_decay"),
                }
                for name, parameter in model.named_parameters()
            ]
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=self.momentum)
        kind = torch.optim.AdamW if self.optimizer == "adamw" else torch.optim.Adam
        return kind(groups, eps=self.eps)


def _train(
    model: nn.Module,
    plan: Plan | None,
    loss: Callable[[nn.Module], Tensor],
    settings: Settings,
    steps: int,
    width: int,
    seed: int,
) -> Iterator[Size]:
    """The size of everything watched at steps 0 to `steps`, and of its change since step 0."""
    if plan is not None:
        plan.init_(model)
    optimizer = settings.build(model, plan)
    at_start: dict[str, Tensor] = {}
    with watch(model) as watcher:
        for step in range(steps + 1):
            watcher.clear()
            value = loss(model)
            for layer, seen in watcher.seen.items():
                yield Size(layer, "activation", step, width, seed, _mean_size(seen), seen.numel())
                if step == 0:
                    at_start[layer] = seen.clone()
                elif layer in at_start and at_start[layer].shape == seen.shape:
                    change = _mean_size(seen - at_start[layer])
                    yield Size(layer, "change", step, width, seed, change, seen.numel())
            if step < steps:
                optimizer.zero_grad()
                value.backward()
                optimizer.step()


def _mean_size(x: Tensor) -> float:
    return float(x.double().abs().mean())
