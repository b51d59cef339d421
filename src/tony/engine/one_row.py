"""A decoding step of one sequence, compiled; CPU only.

One row reads every weight once and computes almost nothing, so it is as fast as memory is read if nothing else is in the way:
the library's products of one row read at half that speed, and between them stand thirty small operations a layer. Here a
product is written as a sum of products, which torch.compile turns into a loop that reads weights of any precision at memory's
speed, and everything between two attentions is one function, which all layers share: seconds to compile, not a minute.

Legend: D width, H query heads, K key/value heads, E head_dim.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.model.cache import Cache
from tony.model.transformer import Block, Transformer, rotary_table, rotate

TRY_AGAIN = 64  # steps between two looks at whether another number of threads has become faster


class Stored(NamedTuple):
    """A weight (out, in) of any precision, and the factor (out,) of each row, if it has one."""

    weight: Tensor
    scale: Tensor | None = None


class Shape(NamedTuple):
    heads: int
    kv_heads: int
    eps: float


def dot(stored: Stored, x: Tensor) -> Tensor:
    """The product (out,) of a weight and x (in,), both in float32."""
    y = (stored.weight.float() * x).sum(-1)
    return y if stored.scale is None else y * stored.scale


# Everything on the way is returned as well: what a compiled function returns is stored, and what it does not is computed anew
# for every row of the product that wants it, 1,536 times an exp for each number of the gated MLP.


def before(
    x: Tensor, gains: list[Tensor], qkv: Stored, cos: Tensor, sin: Tensor, shape: Shape
) -> list[Tensor]:
    """x (D,) -> queries, keys and values (H + 2K, E) as `Attention.project` has them, and what was on the way.

    gains: of the norm before attention, then of queries and keys where the model has QK-norm.
    """
    normed = F.rms_norm(x, x.shape, gains[0], shape.eps)
    flat = dot(qkv, normed)
    heads = flat.view(shape.heads + 2 * shape.kv_heads, -1)
    qk, v = heads.split((shape.heads + shape.kv_heads, shape.kv_heads))
    if len(gains) == 3:
        q, k = qk.split((shape.heads, shape.kv_heads))
        size = gains[1].shape
        qk = torch.cat((F.rms_norm(q, size, gains[1], shape.eps), F.rms_norm(k, size, gains[2], shape.eps)))
    return [torch.cat((rotate(qk, cos, sin), v)), normed, flat]


def after(
    x: Tensor, mixed: Tensor, out: Stored, gain: Tensor, gate_up: Stored, down: Stored, eps: float
) -> list[Tensor]:
    """x (D,) and mixed values (H * E,) -> the residual stream (D,) as `Block.after` has it, and what was on the way."""
    x = x + dot(out, mixed)
    normed = F.rms_norm(x, x.shape, gain, eps)
    both = dot(gate_up, normed)
    gate, up = both.chunk(2)
    hidden = F.silu(gate) * up
    return [x + dot(down, hidden), x, normed, both, hidden]


def between(x, mixed, own: tuple, following: tuple, cos, sin, shape: Shape) -> list[Tensor]:
    """From one attention to the next: `after` of one layer and `before` of the one that follows."""
    x, *way = after(x, mixed, *own, shape.eps)
    qkv, *more = before(x, *following, cos, sin, shape)
    return [x, qkv, *way, *more]


def last(x, mixed, own: tuple, gain: Tensor, eps: float) -> list[Tensor]:
    """From the last attention to the final normalised state (D,)."""
    x, *way = after(x, mixed, *own, eps)
    return [F.rms_norm(x, x.shape, gain, eps), x, *way]


class OneRow:
    """The step of one row of `model`; call it with ids (1, 1) and a cache of one row, as `Transformer.states`.

    The first call compiles. How many threads are faster is measured there, and looked at again now and then: two threads
    that wait for each other on a busy machine are slower than one, and bits do not depend on it.

    Args:
        model: the network.
        stored: gives a linear layer's weight as it is kept.
    """

    def __init__(self, model: Transformer, stored: Callable[[nn.Module], Stored]) -> None:
        self._model = model
        config = model.config
        self._shape = Shape(config.heads, config.kv_heads, config.norm_eps)
        self._before = [self._before_of(block, stored) for block in model.blocks]
        self._after = [
            (stored(b.attention.out), b.mlp_norm.weight, stored(b.mlp.gate_up), stored(b.mlp.down))
            for b in model.blocks
        ]
        self._first, self._between, self._last = (
            torch.compile(part, dynamic=False) for part in (before, between, last)
        )
        self._threads = Threads()

    @staticmethod
    def _before_of(block: Block, stored: Callable[[nn.Module], Stored]) -> tuple[list[Tensor], Stored]:
        attention = block.attention
        norms = [block.attention_norm, attention.q_norm, attention.k_norm]
        return [norm.weight for norm in norms if norm is not None], stored(attention.qkv)

    def __call__(self, ids: Tensor, cache: Cache) -> Tensor:
        """Final normalised states (1, 1, D) of ids (1, 1) that follow what `cache` holds."""
        positions, bias = cache.look(1, self._model.norm.weight)
        tables = rotary_table(positions, self._model.config.head_dim, self._model.config.rope_base)
        cos, sin = (table[0, 0] for table in tables)
        x = self._model.embedding(ids)[0, 0]
        state = self._threads.run(lambda: self._walk(x, cos, sin, cache, bias))
        cache.advance(1)
        return state[None, None]

    def _walk(self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache, bias: Tensor) -> Tensor:
        """Through all layers; a second time it writes the same keys and values to the same place."""
        qkv, *_ = self._first(x, *self._before[0], cos, sin, self._shape)
        for block, own, following in zip(
            self._model.blocks, self._after, [*self._before[1:], None], strict=True
        ):
            mixed = block.attention.step(qkv[None, None], cache, bias)[0, 0]
            if following is None:
                return self._last(x, mixed, own, self._model.norm.weight, self._shape.eps)[0]
            x, qkv, *_ = self._between(x, mixed, own, following, cos, sin, self._shape)
        raise AssertionError("a model has a layer")


class Readout(nn.Module):
    """A linear layer whose products of one row are compiled; `many` computes the others."""

    def __init__(self, stored: Stored, many: nn.Module) -> None:
        super().__init__()
        self._stored, self._many = stored, many
        self._dot = torch.compile(dot, dynamic=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[:-1].numel() > 1:
            return self._many(x)
        return self._dot(self._stored, x.reshape(-1)).view(*x.shape[:-1], -1)


class Threads:
    """One thread or all: what took less time when it was tried last."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._calls = 0

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """The result of `work`, which may be run more than once; the number of threads is left as it was."""
        most = torch.get_num_threads()
        if most == 1:
            return work()
        if not self._seconds:
            work()  # compiles
        if self._calls % TRY_AGAIN == 0:
            self._timed(work, 1)
            result = self._timed(work, most)
        else:
            result = self._timed(work, min((1, most), key=lambda n: self._seconds.get(n, 0.0)))
        self._calls += 1
        torch.set_num_threads(most)
        return result

    def _timed(self, work: Callable[[], Tensor], threads: int) -> Tensor:
        torch.set_num_threads(threads)
        began = time.perf_counter()
        result = work()
        self._seconds[threads] = time.perf_counter() - began
        return result
