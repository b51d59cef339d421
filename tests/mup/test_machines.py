"""The plan's groups are ordinary: the same losses under torch.compile, FSDP2 on two processes, and after save and load."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tony.mup import Plan

STEPS = 6


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 6, generator=generator), torch.randint(0, 5, (16,), generator=generator)


def start(mlp, width=64):
    torch.manual_seed(0)
    model = mlp(width)
    with torch.device("meta"):
        base, wider = mlp(16), mlp(32)
    return model, Plan(base, wider, model)


def optimizer_for(plan, model):
    return torch.optim.AdamW(plan.groups(model, lr=0.01, weight_decay=0.1, eps=1e-6))


def train(model, plan, optimizer, steps=range(STEPS)):
    """Losses of steps that clip hard and schedule the learning rate by its factor."""
    losses = []
    for step in steps:
        inputs, targets = batch(step)
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        norm = plan.clip_grad_norm_(model, 0.2)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / STEPS) * group["lr_factor"]
        optimizer.step()
        optimizer.zero_grad()
        losses.append((loss.item(), norm.item()))
    return losses


@pytest.fixture(scope="module")
def expected(models):
    model, plan = start(models.MLP)
    plan.init_(model)
    return train(model, plan, optimizer_for(plan, model))


def close(losses, expected):
    return torch.allclose(torch.tensor(losses), torch.tensor(expected), rtol=1e-4)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled(models, expected, backend):
    model, plan = start(models.MLP)
    plan.init_(model)
    compiled = torch.compile(model, backend=backend)
    assert close(train(compiled, plan, optimizer_for(plan, compiled)), expected)


def test_saved_and_loaded(models, expected, tmp_path):
    model, plan = start(models.MLP)
    plan.init_(model)
    optimizer = optimizer_for(plan, model)
    losses = train(model, plan, optimizer, range(3))
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "plan": plan.to_dict()},
        tmp_path / "at3.pt",
    )

    state = torch.load(tmp_path / "at3.pt", weights_only=True)
    model = models.MLP(64)
    model.load_state_dict(state["model"])
    plan = Plan.from_dict(state["plan"])
    optimizer = optimizer_for(plan, model)
    optimizer.load_state_dict(state["optimizer"])
    assert losses + train(model, plan, optimizer, range(3, STEPS)) == expected


def test_sharded_over_two_processes(expected):
    """Both processes see the same batch, so that the mean gradient is the one of a single process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(__file__).with_name("sharded.py")
    processes = [
        subprocess.Popen([sys.executable, script, str(rank), str(port)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=90)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    for losses in printed:
        assert close(json.loads(losses), expected)
