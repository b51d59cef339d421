"""A network whose features are each repeated k times, weights divided by what is read k times, computes the same function;
under the plan's factors it goes on doing so, exactly, through any optimiser with momentum, decay and a visible epsilon.

This proves learning-rate, weight-decay and epsilon factors without any statistics, and for growth that differs by dimension.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tony.mup import Plan, Rule

WIDE = {
    "MLP": ({"width": 4, "inner": 3}, {"width": 8, "inner": 15}),
    "Transformer": (
        {"width": 6, "heads": 2, "kv_heads": 1, "hidden": 5},
        {"width": 12, "heads": 8, "kv_heads": 4, "hidden": 15},
    ),
    "ConvNet": ({"width": 4}, {"width": 12}),
}


def read_growth(base, wide, name):
    """How often each thing that parameter `name` reads was repeated, from the layers' own words."""
    owner, leaf = name.rpartition(".")[::2]
    base, wide = base.get_submodule(owner), wide.get_submodule(owner)
    if leaf != "weight":
        return 1
    if isinstance(base, nn.Linear):
        return wide.in_features // base.in_features
    if isinstance(base, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)):
        return wide.in_channels // wide.groups // (base.in_channels // base.groups)
    return 1


@torch.no_grad()
def repeat(base, wide):
    """Copy base's weights into wide, features repeated."""
    for name, parameter in wide.named_parameters():
        small = base.get_parameter(name)
        times = [a // b for a, b in zip(parameter.shape, small.shape, strict=True)]
        parameter.copy_(small.tile(times) / read_growth(base, wide, name))


def batch_for(name):
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 3, (12,), generator=generator)
    if name == "Transformer":
        ids = torch.randint(0, 11, (2, 6), generator=generator)
        return ids, targets
    shape = (12, 6) if name == "MLP" else (12, 1, 4, 4)
    return torch.randn(shape, generator=generator, dtype=torch.float64), targets


def train(model, optimizers, batch, steps=20):
    inputs, targets = batch
    for _ in range(steps):
        loss = F.cross_entropy(model(inputs).flatten(0, -2), targets)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return model(inputs).detach()


class Orthogonal(torch.optim.Optimizer):
    """Muon with an exact orthogonalisation in place of torch's approximate one in bfloat16."""

    def __init__(self, groups, adjust):
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})
        self.adjust = adjust

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                u, s, v = torch.linalg.svd(p.grad, full_matrices=False)
                kept = (s > 1e-9 * s[0]).double()
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * self.adjust(*p.shape) * (u * kept) @ v)


ADJUST = {
    "original": lambda rows, columns: max(1, rows / columns) ** 0.5,
    "match_rms_adamw": lambda rows, columns: 0.2 * max(rows, columns) ** 0.5,
}


def optimizers_for(kind, plan, model):
    if kind == "sgd":
        groups = plan.groups(model, lr=0.1, weight_decay=0.01, optimizer="sgd")
        return [torch.optim.SGD(groups, momentum=0.9)]
    adamw = {"lr": 0.02, "weight_decay": 0.1, "eps": 1e-2}
    if kind == "adamw":
        return [torch.optim.AdamW(plan.groups(model, **adamw))]
    rest = plan.groups(model, **adamw, where=lambda row: not row.for_muon)
    muon = plan.groups(model, lr=0.02, weight_decay=0.1, optimizer="muon", adjust_lr_fn=kind)
    return [torch.optim.AdamW(rest), Orthogonal(muon, ADJUST[kind])]


CASES = [
    (name, kind)
    for name in WIDE
    for kind in ("sgd", "adamw", *ADJUST)
    if not (name == "ConvNet" and kind in ADJUST)  # no matrix in it is hidden
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_repeated_features_stay_repeated(models, name, kind):
    torch.manual_seed(0)
    make = getattr(models, name)
    small, large = WIDE[name]
    base, wide = make(**small).double(), make(**large).double()
    repeat(base, wide)
    wider = models.meta(make, **large)
    rules = [Rule("positions", "input")] if name == "Transformer" else []
    plans = [Plan(base, wider, target, rules=rules) for target in (base, wide)]
    batch = batch_for(name)
    at_start = base(batch[0]).detach()
    assert torch.allclose(at_start, wide(batch[0]), atol=1e-12)
    ends = [
        train(model, optimizers_for(kind, plan, model), batch)
        for plan, model in zip(plans, (base, wide), strict=True)
    ]
    assert (ends[0] - at_start).abs().max() > 0.05, "nothing was learned: the test would show nothing"
    assert (ends[0] - ends[1]).abs().max() < 1e-8


@pytest.mark.parametrize("what", ["lr", "weight_decay", "eps"])
def test_any_wrong_factor_shows(models, what):
    """Broken on purpose: leave one kind of factor out of the wide model's groups."""
    torch.manual_seed(0)
    small, large = WIDE["MLP"]
    base, wide = models.MLP(**small).double(), models.MLP(**large).double()
    repeat(base, wide)
    batch = batch_for("MLP")
    ends = []
    for model in (base, wide):
        plan = Plan(base, models.meta(models.MLP, **large), model)
        groups = plan.groups(model, lr=0.02, weight_decay=0.1, eps=1e-2)
        for group in groups:
            group[what] = {"lr": 0.02, "weight_decay": 0.1, "eps": 1e-2}[what]
        ends.append(train(model, [torch.optim.AdamW(groups)], batch))
    assert (ends[0] - ends[1]).abs().max() > 1e-4
