"""Weights laid out once for the few rows of a decoding step, in float32, bfloat16 or int8; CPU only.

A decoding step reads every weight to multiply it with a handful of rows: it is as fast as memory is read. The plain product
of a few rows is two to four times slower than that, since the library lays the weights out anew in every call. Here they are
laid out beforehand by the operators that `torch.compile` uses with frozen weights (torch.ops.mkl, torch.ops.mkldnn), with
nothing to compile.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.engine.one_row import OneRow, Readout, Stored
from tony.errors import TonyError
from tony.model import Transformer
from tony.model.machine import has_compiler

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS = ("float32", "bfloat16", "int8")
STEP = 16  # rows that the layout of the weights is made for; others use it as it is, which beats padding them
FEW = 64  # more rows than this are a prefill: the plain product is as fast


def packed(model: Transformer, precision: Precision = "float32", compiled: bool = False) -> Transformer:
    """A copy of `model` for writing and scoring; on other devices than a CPU, and for float32 where the operators are
    missing, `model` itself.

    bfloat16 multiplies in bfloat16 and adds in float32. int8 keeps a weight as a whole number from -127 to 127 times a
    factor a row of the matrix, for steps of one row; more rows are multiplied in bfloat16 by the same rounded weights.

    `compiled`: the first step of one row takes some seconds to compile (see one_row), and steps of one row then take about
    half the time; worth it from some hundred steps on.

    Raises:
        TonyError: the precision is unknown, this build of torch has no operators for it, or there is no C++ compiler.
    """
    if precision not in PRECISIONS:
        raise TonyError(f"precision {precision!r}: use {', '.join(PRECISIONS)}")
    if model.norm.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        if precision == "float32":
            return model
        raise TonyError(
            f"precision {precision}: this device or build of torch has no such weights; use float32"
        )
    if compiled and not has_compiler():
        raise TonyError("compiled steps need a C++ compiler, and none was found: install g++, or do without")
    kind = {"float32": _Float32, "bfloat16": _BFloat16, "int8": _Int8}[precision]
    with torch.no_grad():
        # The copy shares every tensor: only the layouts made below are new.
        memo = {id(tensor): tensor for tensor in model.parameters()}
        made = copy.deepcopy(model, memo)
        for module in list(made.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, kind(child.weight))
        if compiled:
            made.one_row = OneRow(made, lambda linear: linear.stored)
            made.readout = Readout(made.readout.stored, made.readout)
    return made


class _Float32(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self._weight = weight.detach()
        self._many = torch.ops.mkldnn._reorder_linear_weight(self._weight, STEP)
        self._one = None
        if torch.backends.mkl.is_available():
            self._one = torch.ops.mkl._mkl_reorder_linear_weight(self._weight, 1)

    @property
    def stored(self) -> Stored:
        return Stored(self._weight)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[:-1].numel()
        if rows > FEW:
            return F.linear(x, self._weight)
        if rows == 1 and self._one is not None:
            return torch.ops.mkl._mkl_linear(x, self._one, self._weight, None, 1)
        return _few(x, self._many)


class _BFloat16(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self._weight = weight.detach().bfloat16()
        self._many = torch.ops.mkldnn._reorder_linear_weight(self._weight, STEP)

    @property
    def stored(self) -> Stored:
        return Stored(self._weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x.bfloat16()
        return F.linear(x, self._weight) if x.shape[:-1].numel() > FEW else _few(x, self._many)


class _Int8(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scale = (weight.detach().abs().amax(1) / 127).clamp_min(1e-12).bfloat16()
        whole = (weight.detach() / scale.float()[:, None]).round().clamp(-127, 127)
        self._whole, self._scale = whole.to(torch.int8), scale
        self._weight = (whole * scale.float()[:, None]).bfloat16()
        self._many = torch.ops.mkldnn._reorder_linear_weight(self._weight, STEP)

    @property
    def stored(self) -> Stored:
        return Stored(self._whole, self._scale)

    def forward(self, x: Tensor) -> Tensor:
        x = x.bfloat16()
        rows = x.shape[:-1].numel()
        if rows == 1:
            flat = x.reshape(1, x.shape[-1])
            return torch.ops.aten._weight_int8pack_mm(flat, self._whole, self._scale).view(*x.shape[:-1], -1)
        return F.linear(x, self._weight) if rows > FEW else _few(x, self._many)


def _few(x: Tensor, layout: Tensor) -> Tensor:
    """x (..., in) times a weight laid out for STEP rows."""
    flat = x.reshape(-1, x.shape[-1])
    return torch.ops.mkldnn._linear_pointwise(flat, layout, None, "none", [], "").view(*x.shape[:-1], -1)
