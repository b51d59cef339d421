"""Weighted cross-entropy with z-loss, its gradient computed together with its value.

For logits x, target t and weight w (normalised by the sum of weights), with Z = log sum exp x:

    loss = sum w (Z - x_t) + z sum w Z^2,        d loss / d x = w ((1 + 2 z Z) softmax(x) - onehot(t))

(z-loss: Chowdhery et al. 2022, section 5.) Writing it out saves four passes over (n, vocabulary) arrays, a tenth of the
time of a step on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor


class WeightedNats(torch.autograd.Function):
    """(logits (n, V), targets (n,), weights (n,), z) -> (loss (), nats (n,)); only the loss has a gradient."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, weights: Tensor, z: float) -> tuple[Tensor, Tensor]:
        share = (weights / weights.sum().clamp_min(1e-30))[:, None]  # all weights may be 0
        x = logits.to(torch.promote_types(logits.dtype, torch.float32), copy=True)
        hit = x.gather(1, targets[:, None])
        top = x.amax(1, keepdim=True)
        x.sub_(top).exp_()
        total = x.sum(1, keepdim=True)
        normaliser = total.log() + top
        nats = normaliser - hit
        loss = (share * (nats + z * normaliser.square())).sum()
        gradient = x.mul_(share * (1 + 2 * z * normaliser) / total)
        gradient.scatter_add_(1, targets[:, None], -share)
        ctx.save_for_backward(gradient.to(logits.dtype))
        nats = nats[:, 0]
        ctx.mark_non_differentiable(nats)
        return loss, nats

    @staticmethod
    def backward(ctx, grad_loss: Tensor, _grad_nats: Tensor):
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(grad_loss.to(gradient.dtype)), None, None, None


def weighted_nats(logits: Tensor, targets: Tensor, weights: Tensor, z: float) -> tuple[Tensor, Tensor]:
    """The loss (), and the negative log-likelihood (n,) in nats of each target, detached."""
    return WeightedNats.apply(logits, targets, weights, z)
