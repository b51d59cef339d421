"""Planning a run from a law: how large, on how many tokens, how good, in how many days, for how much.

FLOP per token of a model with n parameters outside embeddings: 6 n, and 6 V D for the readout, and 6 L D T for causal
attention over T positions (forward 2 L D T, half of the full square; Kaplan et al. 2020, section 2.1). Checkpointing every
block computes the forward pass twice: hardware does 4/3 of that. Utilisation is counted in the model's own FLOP (MFU).

Communication of FSDP2 in a step: bfloat16 parameters are gathered twice (forward, backward) and float32 gradients
scattered once for each micro-batch: 8 bytes a parameter of the tensor shard. It overlaps with computing; what is longer
counts. Tensor parallelism sums activations six times a block (twice forward, again in the recomputation, twice backward)
within a machine, and nothing overlaps with that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tony.errors import TonyError
from tony.forecast.interval import Prediction
from tony.forecast.memory import BF16, Memory, Shape, memory

FITS = 0.92  # share of a GPU's memory that a step may fill: the rest is the allocator's and the libraries'
ASPECT = 100  # width / depth of language models (Kaplan et al. 2020; Henighan et al. 2020, section 3)
HEAD = 128
ROUNDED = 1.5  # a batch may be so many times what was asked for: rows and GPUs are whole
OVERTRAINED = (1.0, 0.5, 0.25, 0.125)  # sizes, as shares of the compute-optimal one


@dataclass(frozen=True)
class Gpu:
    """Dense bfloat16 FLOP/s, bytes of memory, bytes/s to other machines and within one, and an hour's price (a round figure
    of 2025: give yours)."""

    flops: float
    memory: float
    network: float
    link: float
    dollars: float


GPUS = {
    "a100": Gpu(312e12, 80e9, 25e9, 300e9, 1.5),
    "h100": Gpu(989e12, 80e9, 50e9, 450e9, 2.5),
    "h200": Gpu(989e12, 141e9, 50e9, 450e9, 3.5),
    "b200": Gpu(2250e12, 180e9, 50e9, 900e9, 5.0),
    "l40s": Gpu(362e12, 48e9, 12.5e9, 32e9, 1.0),
}


class Forecaster(Protocol):
    """A law with its uncertainty: `Bootstrap`, or `Published`."""

    def predict(self, N: Any, D: Any) -> Prediction: ...


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way of spending the compute."""

    name: str
    shape: Shape
    n: float
    d: float
    loss: Prediction
    tensor_parallel: int
    shards: int
    sequences: int
    accumulation: int
    batch_tokens: int
    memory: Memory | None
    step_seconds: float
    days: float
    dollars: float
    refused: str | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        peak = self.memory
        return {
            "name": self.name, "N": self.n, "D": self.d, "tokens_per_parameter": self.d / self.n,
            "shape": self.shape.to_dict(),
            "loss": {
                "value": self.loss.loss, "low": self.loss.low, "high": self.loss.high,
                "level": None if math.isnan(self.loss.level) else self.loss.level, "warnings": list(self.loss.warnings),
            },
            "tensor_parallel": self.tensor_parallel, "shards": self.shards, "sequences_per_gpu": self.sequences,
            "accumulation": self.accumulation, "batch_tokens": self.batch_tokens,
            "memory": peak and {
                "total": peak.total, "states": peak.states, "gathered": peak.gathered, "activations": peak.activations,
                "peak_at": peak.at,
            },
            "step_seconds": self.step_seconds, "steps": self.d / self.batch_tokens, "days": self.days,
            "dollars": self.dollars, "refused": self.refused, "warnings": list(self.warnings),
        }  # fmt: skip


def shape_for(n: float, vocabulary: int, context: int, with_embeddings: bool = False) -> Shape:
    """The shape nearest to `n` parameters at a width of about 100 times the depth.

    Raises:
        TonyError: `n` is too small for one head of 128.
    """
    best: Shape | None = None
    for width in _widths():
        heads = width // HEAD
        kv_heads = math.gcd(heads, 8)
        hidden = 256 * max(1, round(8 * width / 3 / 256))
        one = Shape(
            width=width, depth=1, heads=heads, kv_heads=kv_heads, head_dim=HEAD, hidden=hidden,
            vocabulary=vocabulary, context=context,
        )  # fmt: skip
        left = n - (one.embeddings if with_embeddings else 0)
        depth = round(left / one.block)
        if depth < 1 or not 0.25 <= width / (depth * ASPECT) <= 4:
            continue
        shape = Shape(**{**one.to_dict(), "depth": depth})
        if best is None or _misfit(shape, n, with_embeddings) < _misfit(best, n, with_embeddings):
            best = shape
    if best is None:
        raise TonyError(
            f"{n:.3g} parameters: no transformer of heads of {HEAD} has so few at ordinary proportions. Raise --flops"
        )
    return best


def _widths() -> Iterator[int]:
    """Multiples of 128, coarser as they grow; above 4096 whole groups of eight heads, which tensor parallelism divides."""
    yield from range(128, 1024, 128)
    yield from range(1024, 4096, 256)
    yield from range(4096, 65_536, 1024)


def _misfit(shape: Shape, n: float, with_embeddings: bool) -> float:
    count = shape.n + (shape.embeddings if with_embeddings else 0)
    # Off in size by 1% is as bad as off in proportions by a tenth.
    return abs(math.log(count / n)) + 0.1 * abs(math.log(shape.width / (shape.depth * ASPECT)))


def batch_for(flops: float, context: int) -> int:
    """Tokens of a batch: 0.292 C^0.327 (DeepSeek LLM 2024, section 3), in whole rows."""
    return context * max(1, round(0.2920 * flops**0.3271 / context))


def flops_per_token(shape: Shape) -> float:
    """Of training, the model's own."""
    attention = 6 * shape.depth * shape.heads * shape.head_dim * shape.context
    return 6 * shape.n + 6 * shape.vocabulary * shape.width + attention


def plan(
    law: Forecaster,
    optimum: tuple[float, float],
    flops: float,
    gpus: int,
    gpu: Gpu,
    *,
    vocabulary: int = 128_256,
    context: int = 8192,
    batch_tokens: int | None = None,
    mfu: float = 0.4,
    with_embeddings: bool = False,
    node: int = 8,
    shares: tuple[float, ...] = OVERTRAINED,
) -> list[Choice]:
    """The compute-optimal run and over-trained ones (smaller, on more tokens, at the same compute).

    Args:
        optimum: the law's compute-optimal N and D.
        with_embeddings: whether the law's N counts embedding and readout.
        mfu: model FLOP utilisation that is reached.
        node: GPUs of a machine, the most that tensor parallelism spans.
        shares: sizes that are planned, as shares of the compute-optimal one.

    Raises:
        TonyError: a size that is too small, or a number that is not positive.
    """
    for name, value in (("flops", flops), ("gpus", gpus), ("mfu", mfu), ("context", context)):
        if value <= 0:
            raise TonyError(f"--{name} {value:g}: give a number above 0")
    if mfu > 1:
        raise TonyError(f"--mfu {mfu:g}: utilisation is at most 1; 0.4 is usual")
    batch = batch_tokens or batch_for(flops, context)
    choices = []
    for share in shares:
        n = optimum[0] * share
        d = flops / (6 * n)
        name = "compute-optimal" if share == 1 else f"over-trained, 1/{round(1 / share)} the size"
        shape = shape_for(n, vocabulary, context, with_embeddings)
        choices.append(_choice(name, law.predict(N=n, D=d), shape, n, d, batch, gpus, gpu, mfu, node))
    return choices


def _choice(
    name: str, loss: Prediction, shape: Shape, n: float, d: float, batch: int, gpus: int, gpu: Gpu, mfu: float, node: int
) -> Choice:  # fmt: skip
    """The fastest division over the GPUs that fits their memory."""
    rows = max(1, round(batch / shape.context))
    best: dict[str, Any] | None = None
    for tp in (1, 2, 4, 8, 16):
        if tp > min(node, gpus) or gpus % tp or _undivided(shape, tp):
            continue
        shards = gpus // tp
        per_rank = max(1, round(rows / shards))
        sequences = per_rank
        while sequences > 1 and memory(shape, sequences, shards, tp).total > FITS * gpu.memory:
            sequences //= 2
        peak = memory(shape, sequences, shards, tp)
        accumulation = math.ceil(per_rank / sequences)
        tokens = shards * sequences * accumulation * shape.context
        found = {
            "tensor_parallel": tp, "shards": shards, "sequences": sequences, "accumulation": accumulation,
            "batch_tokens": tokens, "memory": peak,
            "step_seconds": _step_seconds(shape, sequences * accumulation, accumulation, shards, tp, gpu, mfu),
        }  # fmt: skip
        if best is None or (not _fits(best, gpu), _pace(best)) > (not _fits(found, gpu), _pace(found)):
            best = found
    assert best is not None  # one GPU a tensor shard always divides
    refused = None
    if not _fits(best, gpu):
        refused = (
            f"{best['memory'].total / 1e9:.0f} GB a GPU even with one row of {shape.context} tokens, and it has "
            f"{gpu.memory / 1e9:.0f}: more GPUs, larger ones, or a shorter context"
        )
    warnings = ()
    if best["batch_tokens"] > ROUNDED * batch:
        warnings = (
            f"the batch is {best['batch_tokens']:.3g} tokens where {batch:.3g} were meant: every one of {best['shards']} shards "
            f"needs a row of {shape.context}. Fewer GPUs or a shorter context, or its loss will lag behind the law",
        )
    days = best["step_seconds"] * d / best["batch_tokens"] / 86_400
    return Choice(
        name=name, shape=shape, n=n, d=d, loss=loss, days=days, dollars=days * 24 * gpus * gpu.dollars, refused=refused,
        warnings=warnings, **best
    )  # fmt: skip


def _fits(found: dict[str, Any], gpu: Gpu) -> bool:
    return found["memory"].total <= FITS * gpu.memory


def _pace(found: dict[str, Any]) -> float:
    """Seconds a token."""
    return found["step_seconds"] / found["batch_tokens"]


def _step_seconds(
    shape: Shape, rows: int, accumulation: int, shards: int, tp: int, gpu: Gpu, mfu: float
) -> float:
    """Of a step in which each rank works on `rows` rows in `accumulation` micro-batches."""
    tokens = rows * shape.context
    computing = flops_per_token(shape) * tokens / (tp * gpu.flops * mfu)
    sums = 6 * 2 * (tp - 1) / tp * BF16 * tokens * shape.width * shape.depth / gpu.link
    moving = 8 * (shape.n + shape.embeddings) / tp * accumulation / gpu.network if shards > 1 else 0.0
    return max(computing + sums, moving)


def _undivided(shape: Shape, tp: int) -> bool:
    return any(getattr(shape, name) % tp for name in ("heads", "kv_heads", "hidden", "vocabulary"))
