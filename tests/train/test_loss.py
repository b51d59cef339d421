"""Protects: the hand-written value and gradient of the loss are those of plain torch, z-loss included."""

import pytest
import torch
import torch.nn.functional as F

from tony.train.loss import weighted_nats


def plain(logits, targets, weights, z):
    nats = F.cross_entropy(logits, targets, reduction="none")
    return (weights * (nats + z * logits.logsumexp(1).square())).sum() / weights.sum(), nats


def case(dtype, n=37, size=23, scale=4.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(n, size, generator=g, dtype=torch.float64)).to(dtype)
    targets = torch.randint(size, (n,), generator=g)
    weights = torch.rand(n, generator=g, dtype=torch.float64).to(dtype) * 3
    return logits, targets, weights


@pytest.mark.parametrize("z", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_value_and_gradient_equal_autograd(dtype, tolerance, z):
    logits, targets, weights = case(dtype)
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    loss, nats = weighted_nats(ours, targets, weights, z)
    expected, expected_nats = plain(theirs, targets, weights.double(), z)
    torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(nats.double(), expected_nats, rtol=10 * tolerance, atol=10 * tolerance)
    (2.5 * loss).backward()
    (2.5 * expected).backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0, atol=tolerance)
    assert torch.equal(ours.detach(), logits), "the logits themselves are left alone"


def test_bfloat16_logits_are_summed_in_float32():
    logits, targets, weights = case(torch.bfloat16)
    loss, nats = weighted_nats(logits, targets, weights.float(), 1e-4)
    expected, expected_nats = plain(logits.float(), targets, weights.float(), 1e-4)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(nats, expected_nats)


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[1e4, 0.0], [-1e4, 1e4]], requires_grad=True)
    loss, nats = weighted_nats(logits, torch.tensor([0, 0]), torch.ones(2), 0.0)
    loss.backward()
    assert nats.tolist() == [0.0, 2e4] and torch.isfinite(logits.grad).all()


def test_a_batch_that_weighs_nothing_moves_nothing():
    logits, targets, _ = case(torch.float32)
    logits.requires_grad_()
    loss, nats = weighted_nats(logits, targets, torch.zeros(len(targets)), 1e-4)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all() and torch.isfinite(nats).all()
