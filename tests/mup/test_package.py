"""Against the PyPI package `mup` (Microsoft, table 8): from the same seed, the plan gives the same trajectory, float64.

Its readout divides its input by the width ratio and its optimisers do the rest; ours has neither. Epsilon is 1e-30 on both
sides and nothing is clipped. The initial weights are not copied but drawn by each side in its own way from one seed: so the
initialisations are compared too.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tony.mup import Plan, Rule

mup = pytest.importorskip("mup")


def theirs(make, **shape):
    """The same model with the package's readout; drawn from the same seed, its own weights are the same."""
    model = make(**shape)
    plain = model.readout
    readout = mup.MuReadout(plain.in_features, plain.out_features)
    readout.load_state_dict(plain.state_dict())
    model.readout = readout
    return model


def plain_convnet(width=8, outputs=3):
    """Plain and grouped convolutions and a batch norm, pooled into a readout."""
    layers = [
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.Tanh(),
        nn.Conv2d(width, 2 * width, 3, padding=1, groups=2), nn.Tanh(),
        nn.Conv2d(2 * width, width, 3, padding=1), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ]  # fmt: skip
    model = nn.Sequential(*layers)
    model.add_module("readout", nn.Linear(width, outputs))
    return model


def cases(models):
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 11, (3, 7), generator=generator)
    return {
        "MLP": (models.MLP, {"width": 16}, {"width": 64}, torch.randn(21, 6, generator=generator)),
        "Transformer": (models.Transformer, {"width": 16}, {"width": 48}, ids),
        "ConvNet": (
            plain_convnet,
            {"width": 8},
            {"width": 24},
            torch.randn(21, 1, 5, 5, generator=generator),
        ),
    }


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("name", ["MLP", "Transformer", "ConvNet"])
def test_same_trajectory(models, name, kind):
    make, base, large, inputs = cases(models)[name]
    wider = {key: 2 * value for key, value in base.items()}
    inputs = inputs if inputs.dtype == torch.long else inputs.double()
    targets = torch.randint(0, 3, (21,), generator=torch.Generator().manual_seed(6))

    torch.manual_seed(0)
    ours = make(**large).double()
    rules = [Rule(models.POSITIONS, "input")] if name == "Transformer" else []
    plan = Plan(models.meta(make, **base), models.meta(make, **wider), ours, rules=rules)
    plan.init_(ours)

    torch.manual_seed(0)
    other = theirs(make, **large).double()
    mup.set_base_shapes(other, theirs(make, **base), delta=theirs(make, **wider))

    ratio = large["width"] / base["width"]
    for (key, mine), (_, their) in zip(ours.named_parameters(), other.named_parameters(), strict=True):
        folded = their / ratio if key == "readout.weight" else their
        assert torch.allclose(mine, folded, rtol=1e-12, atol=0), f"{key}: initialised otherwise"

    if kind == "sgd":
        mine = torch.optim.SGD(plan.groups(ours, lr=0.05, weight_decay=0.01, optimizer="sgd"), momentum=0.9)
        their = mup.MuSGD(other.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    elif kind == "adam":
        mine = torch.optim.Adam(plan.groups(ours, lr=0.01, eps=1e-30, optimizer="adam"))
        their = mup.MuAdam(other.parameters(), lr=0.01, eps=1e-30)
    else:
        mine = torch.optim.AdamW(plan.groups(ours, lr=0.01, weight_decay=0.1, eps=1e-30))
        their = mup.MuAdamW(other.parameters(), lr=0.01, weight_decay=0.1, eps=1e-30)
    first = ours(inputs).detach()
    for _ in range(20):
        for model, optimizer in ((ours, mine), (other, their)):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs).flatten(0, -2), targets).backward()
            optimizer.step()
        assert (ours(inputs) - other(inputs)).abs().max() < 1e-8
    assert (ours(inputs) - first).abs().max() > 0.05
