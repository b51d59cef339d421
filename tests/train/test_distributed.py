"""Several processes train as one does: the same steps, up to rounding."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tony.errors import TonyError
from tony.model import Transformer
from tony.model.weights import load_model
from tony.runs import Run
from tony.train.distributed import Group
from tony.train.optimizer import divide

TINY = Path(__file__).with_name("tiny.py")


def train(folder, *arguments, launcher=()):
    command = [sys.executable, *launcher, str(TINY), str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=dict(os.environ, OMP_NUM_THREADS="1")
    )
    assert done.returncode == 0, done.stderr
    return Run(folder / "tiny")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(
    "how",
    [
        {"arguments": ["0", "2"], "launcher": []},
        {"arguments": [], "launcher": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]},
    ],
    ids=["helpers", "torchrun"],
)
def test_two_processes_learn_what_one_learns(how, alone, tmp_path):
    together = train(tmp_path, *how["arguments"], launcher=how["launcher"])
    first, second = alone.metrics(), together.metrics()
    assert [row["step"] for row in first] == [row["step"] for row in second]
    for a, b in zip(first, second, strict=True):
        assert a["loss_by_modality"] == pytest.approx(b["loss_by_modality"], rel=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
        if "heldout_by_modality" in a:
            assert a["heldout_by_modality"] == pytest.approx(b["heldout_by_modality"], rel=1e-4)
    one, two = load_model(alone.model), load_model(together.model)
    assert isinstance(one, Transformer)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-2, atol=1e-3)


def test_a_group_of_one_changes_nothing():
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.tensor([1.0, 2.0, 3.0])
    figures = torch.tensor([5.0], dtype=torch.float64)
    group = Group()
    group.wait()
    group.mean_gradients([parameter], 7.0, figures)
    assert parameter.grad.tolist() == [1.0, 2.0, 3.0] and figures.item() == 5.0 and group.is_first


def test_fewer_windows_than_processes_is_said(beside, tmp_path):
    tiny = beside(TINY)
    with pytest.raises(TonyError, match=r"train\.batch_tokens=640 is 4 windows"):
        tiny.trainer(tmp_path, group=Group(0, 5))


def test_gradients_are_weighed_by_what_each_process_counted(monkeypatch):
    """Against the closed form: the other process had weight 3 and gradient (10, 20)."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    monkeypatch.setattr(Group, "sum", lambda self, values: values.add_(torch.tensor([30.0, 60.0, 3.0, 4.0])))
    figures = torch.tensor([6.0], dtype=torch.float64)
    Group(0, 2).mean_gradients([parameter], 1.0, figures)
    np.testing.assert_allclose(parameter.grad.numpy(), [31 / 4, 62 / 4])
    assert figures.item() == 10.0


def test_muon_divided_among_processes_is_muon(tmp_path):
    """Two processes that orthogonalise half of the matrices each, against one; stopped and resumed on the way."""
    one = train(tmp_path / "one", "0", "1", "muon")
    two = train(tmp_path / "two", "0", "2", "muon", "12")
    two = train(tmp_path / "two", "0", "2", "muon")
    for a, b in zip(one.metrics(), two.metrics(), strict=True):
        assert a["loss_by_modality"] == pytest.approx(b["loss_by_modality"], rel=1e-3)
    for p, q in zip(load_model(one.model).parameters(), load_model(two.model).parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=5e-2, atol=5e-3)


def test_matrices_are_divided_evenly_and_each_once():
    matrices = [torch.zeros(n, 8) for n in (8, 64, 16, 32, 40, 24, 8)]
    shares = divide(matrices, 2)
    assert sorted(id(m) for share in shares for m in share) == sorted(map(id, matrices))
    costs = [sum(m.numel() for m in share) for share in shares]
    assert max(costs) <= 1.1 * min(costs)
