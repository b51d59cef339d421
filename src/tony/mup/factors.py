"""The tables: from what a parameter is to its learning-rate, weight-decay and epsilon factors.

Width follows table 3 of Tensor Programs V (Yang et al. 2022, arXiv 2203.03466), the form without multipliers, relative to a
base width: r_in and r_out are the growth of what a parameter reads and writes. With all r = r_in = r_out:

    role            init std   Adam lr   SGD lr         Muon lr              Adam epsilon
    input, vector   1          1         r_out          -                    1/r_out
    hidden          r_in^-1/2  1/r_in    r_out/r_in     sqrt(r_out/r_in)     1/r_out
    output          1/r_in     1/r_in    1/r_in         -                    1
    scalar          1          1         1              -                    1

Epsilon goes as the gradient does: what a layer writes has r_out entries that together move the loss by O(1), so that each
entry's gradient is 1/r_out (a readout writes finitely many: 1). Weight decay is coupled to the learning rate in torch, and
their product is what must not change with width: its factor is the inverse of the learning rate's.

All of it is exact, not only asymptotic: a network whose features are each repeated r times, weights divided by r_in, stays
so under these factors and computes the same function (tests/mup/test_repeated.py).

Depth follows CompleteP (arXiv 2505.01618, alpha = 1): the branch is divided by L, Adam's epsilon inside of it too. For SGD,
whose step is the gradient, the learning rate of the branch is multiplied by L to the same end (derived, not in the paper).

A constant multiplier a (the 1/L of what writes to the residual stream; an output or attention scale) is absorbed by the abc
symmetry (lemma J.1 of Tensor Programs V): init * a; lr * a for Adam and Muon, a^2 for SGD; epsilon / a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from tony.errors import TonyError
from tony.mup.rules import Role

Optimizer = Literal["sgd", "adam", "adamw", "muon"]
MuonAdjustment = Literal["original", "match_rms_adamw"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One parameter of a plan.

    shape, base_shape: of the target and of the base.
    reads, writes: growth r_in and r_out of what it reads and writes, target over base.
    init: the factor on the module's own initial values.
    depth: L if it is inside a residual branch, else 1.
    multiplier: the constant multiplier absorbed into it.
    drawn_within: the bound of torch's own draw of a bias, on which `init` relies.
    """

    name: str
    shape: tuple[int, ...]
    base_shape: tuple[int, ...]
    role: Role
    reads: float = 1.0
    writes: float = 1.0
    init: float = 1.0
    depth: float = 1.0
    multiplier: float = 1.0
    drawn_within: float | None = None

    @property
    def for_muon(self) -> bool:
        """Whether it is what Muon is for: a hidden weight with two dimensions."""
        return self.role == "hidden" and len(self.shape) == 2

    @property
    def clip_weight(self) -> float:
        """What its gradient counts in a norm that may be compared over widths.

        The gradient of its counterpart in table 8, where the readout has a multiplier 1/r_in, and residual branches their 1/L:
        in table 3 the readout's gradient grows with width.
        """
        return self.multiplier / (self.reads if self.role == "output" else 1.0)


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What a parameter's learning rate, weight decay and epsilon are multiplied with."""

    lr: float
    weight_decay: float
    eps: float


def check_optimizer(optimizer: str) -> None:
    if optimizer not in get_args(Optimizer):
        raise TonyError(f"no factors for optimizer {optimizer!r}. Known: {', '.join(get_args(Optimizer))}")


def width_init(role: Role, reads: float) -> float:
    """Initial standard deviation over that at the base width."""
    return {"hidden": reads**-0.5, "output": 1 / reads}.get(role, 1.0)


def factors(row: Row, optimizer: Optimizer, adjust_lr_fn: MuonAdjustment | None = None) -> Factors:
    """The factors of one parameter; `adjust_lr_fn` is what torch.optim.Muon is told.

    Raises:
        TonyError: an unknown optimizer, or Muon for what is no hidden matrix.
    """
    check_optimizer(optimizer)
    if optimizer == "muon" and not row.for_muon:
        raise TonyError(
            f"{row.name} ({row.role}, {len(row.shape)} dimensions): Muon is for hidden matrices. Give it to AdamW: "
            "plan.groups(model, ..., where=lambda row: not row.for_muon)"
        )
    lr = _lr(row, optimizer, adjust_lr_fn)
    return Factors(lr=lr, weight_decay=1 / lr, eps=_eps(row, optimizer))


def _lr(row: Row, optimizer: Optimizer, adjust_lr_fn: MuonAdjustment | None) -> float:
    if optimizer == "muon":
        # The update is orthogonal: its spectral norm must go as sqrt(fan_out / fan_in) (Yang et al. 2023, arXiv 2310.17813).
        # torch multiplies it by a function of the shape, whose own growth is taken out.
        spectral = math.sqrt(row.writes / row.reads)
        adjusted = _muon_adjustment(row.base_shape, adjust_lr_fn) / _muon_adjustment(row.shape, adjust_lr_fn)
        return spectral * adjusted * row.multiplier
    if optimizer == "sgd":
        width = {"hidden": row.writes / row.reads, "output": 1 / row.reads, "scalar": 1.0}.get(
            row.role, row.writes
        )
        return width * row.depth * row.multiplier**2
    width = 1 / row.reads if row.role in ("hidden", "output") else 1.0
    return width * row.multiplier


def _eps(row: Row, optimizer: Optimizer) -> float:
    if optimizer == "muon":  # a floor under the gradient's Frobenius norm
        return math.sqrt(row.reads / row.writes) / (row.depth * row.multiplier)
    width = 1.0 if row.role in ("output", "scalar") else 1 / row.writes
    return width / (row.depth * row.multiplier)


def _muon_adjustment(shape: tuple[int, ...], adjust_lr_fn: MuonAdjustment | None) -> float:
    """What torch.optim.Muon multiplies the update of a matrix with."""
    rows, columns = shape
    if adjust_lr_fn in (None, "original"):
        return math.sqrt(max(1.0, rows / columns))
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    raise TonyError(f"no Muon adjust_lr_fn {adjust_lr_fn!r}. Known: original, match_rms_adamw")
