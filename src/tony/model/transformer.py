"""The network: a pre-norm decoder-only transformer, of the shape that Llama and Qwen3 checkpoints have.

RMSNorm, rotary positions (rotate-half convention), SwiGLU, grouped-query attention, optional QK-norm, optional tied
embeddings, dense or banded attention by layer. There are no constant multipliers in the forward pass.

Legend: B batch, T length, N = B * T, D width, H query heads, K key/value heads, E head_dim, F hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.model.cache import ROWS_TOGETHER, Cache
from tony.model.segments import Gather, Restore, Segments

SHAPES = 64  # that a process compiles for, as for the sizes of a ladder; torch's own limit of 8 falls back without a word


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The shape of a transformer; every value that a checkpoint needs to be read again."""

    vocabulary: int
    width: int
    depth: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    context: int
    qk_norm: bool = True
    tied: bool = False
    rope_base: float = 10_000.0
    norm_eps: float = 1e-6
    window: int | None = None
    banded: tuple[int, ...] = ()

    @classmethod
    def from_recipe(cls, recipe: Any, vocabulary: int) -> TransformerConfig:
        """The shape that a recipe's `[model]` section (any object with its attributes) asks for."""
        heads = recipe.width // recipe.head_dim
        return cls(
            vocabulary=vocabulary,
            width=recipe.width,
            depth=recipe.depth,
            heads=heads,
            kv_heads=recipe.kv_heads or heads,
            head_dim=recipe.head_dim,
            hidden=recipe.hidden or -(-8 * recipe.width // (3 * 64)) * 64,
            context=recipe.context,
            qk_norm=recipe.qk_norm,
            tied=recipe.tied,
            rope_base=recipe.rope_base,
            window=recipe.window,
            banded=tuple(recipe.banded),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension (Zhang and Sennrich 2019), computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps)


def rotary_table(positions: Tensor, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines, and sines with the sign that `rotate` wants, of rotary positions (Su et al. 2021).

    Both are float32 of shape (*positions.shape, 1, E); the halves of the cosines are alike, the first half of the sines is
    negative.
    """
    frequency = base ** (
        -torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    )
    angle = positions[..., None, None].float() * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (..., heads, E) turned by its position; halves are the pairs (the convention of Hugging Face checkpoints)."""
    x = x.float()
    a, b = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((b, a), dim=-1), sin)


def causal_bias(length: int, window: int | None, like: Tensor) -> Tensor:
    """0 where position i may see j (j <= i, and i - j < window in a banded layer), -inf elsewhere: (L, L)."""
    i = torch.arange(length, device=like.device)
    distance = i[:, None] - i[None, :]
    hidden = distance < 0
    if window is not None:
        hidden |= distance >= window
    return torch.zeros(length, length, dtype=like.dtype, device=like.device).masked_fill_(hidden, -math.inf)


class Attention(nn.Module):
    """Grouped-query self-attention with scale E^-0.5."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.window = config.window if layer in config.banded else None
        self.layer = layer
        self.qkv = nn.Linear(config.width, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(self.heads * self.head_dim, config.width, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Queries, keys and values (..., H + 2K, E) of x (..., D), queries and keys normalised and rotated."""
        qkv = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        qk, v = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=-2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = qk.split((self.heads, self.kv_heads), dim=-2)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), dim=-2)
        return torch.cat((rotate(qk, cos, sin).to(v.dtype), v), dim=-2)

    def mix(self, qkv: Tensor, segments: Segments, shared: dict) -> Tensor:
        """qkv (N, H + 2K, E) of packed documents -> (N, H * E); a position sees its own document's past only.

        `shared` keeps what all layers of a forward pass need of `segments`.
        """
        heads, kv_heads, dim = self.heads, self.kv_heads, self.head_dim
        if "rows" not in shared:
            shared["rows"] = segments.rows(heads + 2 * kv_heads), segments.rows(heads)[1]
        (gather, back), restore = shared["rows"]
        sizes = [b.count * b.length * h for b in segments.buckets for h in (heads, kv_heads, kv_heads)]
        parts = iter(Gather.apply(qkv.view(-1, dim), gather, back).split(sizes))
        outputs = []
        for bucket in segments.buckets:
            q, k, v = (
                next(parts).view(-1, bucket.count, bucket.length, dim) for _ in range(3)
            )  # (heads, n, L, E)
            key = (bucket.length, self.window)
            if key not in shared:
                shared[key] = causal_bias(*key, like=q)
            outputs.append(attend(q, k, v, shared[key]).reshape(-1, dim))
        return Restore.apply(torch.cat(outputs), restore).view(-1, heads * dim)

    def step(self, qkv: Tensor, cache: Cache, bias: Tensor) -> Tensor:
        """qkv (B, T, H + 2K, E) that follows what `cache` holds -> (B, T, H * E); keys and values are appended."""
        q, k, v = qkv.transpose(1, 2).split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        keys, values = cache.write(self.layer, k, v)  # (B, K, S, E)
        asked = cache.ask(self.layer, q)
        if cache.is_empty:
            # A first prompt sees nothing but itself: no need to read back what was just written.
            bias = causal_bias(qkv.shape[1], self.window, like=q)
            mixed = attend(*(t.transpose(0, 1) for t in (q, k, v)), bias).transpose(0, 1)
        else:
            if self.window is not None:
                bias = cache.banded(bias, self.window)
            mixed = attend_rows(asked.to(keys.dtype), keys, values, bias, cache.reaches).to(q.dtype)
        return mixed.transpose(1, 2).flatten(-2)


def attend_rows(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, reaches: Sequence[int] | None) -> Tensor:
    """As `attend_fused`; of every ROWS_TOGETHER rows only the first `reaches` slots are read, where that is said.

    Rows of many lengths are otherwise all read as far as the longest goes.
    """
    if reaches is None:
        return attend_fused(q, k, v, bias)
    parts = zip(*(t.split(ROWS_TOGETHER) for t in (q, k, v, bias)), reaches, strict=True)
    return torch.cat([attend_fused(q, k[:, :, :s], v[:, :, :s], bias[..., :s]) for q, k, v, bias, s in parts])


def attend_fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """As `attend`, with torch's fused kernel: the faster one on a GPU, and for a few queries against a long past."""
    groups = q.shape[1] // k.shape[1]
    bias = bias.to(q.dtype)
    if groups > 1 and q.shape[2] == 1:
        # The heads of a group as queries of one head: keys and values are read once, not once a head.
        grouped = q.reshape(q.shape[0], k.shape[1], groups, q.shape[3])
        mixed = F.scaled_dot_product_attention(grouped, k, v, attn_mask=bias)
        return mixed.reshape(*q.shape[:3], v.shape[3])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=groups > 1)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T E^-0.5 + bias) v for q (H, n, T, E), k and v (K, n, S, E), bias (T, S): heads come first.

    On a CPU plain products in bfloat16 take a quarter of the time of torch's fused kernel at these lengths
    (benchmarks/train_speed.py); a GPU uses the fused kernel.
    """
    if q.is_cuda:
        return attend_fused(*(t.transpose(0, 1) for t in (q, k, v)), bias).transpose(0, 1)
    groups = q.shape[0] // k.shape[0]
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=0), v.repeat_interleave(groups, dim=0)
    q3, k3, v3 = (t.flatten(0, 1) for t in (q, k, v))
    bias = bias.to(q.dtype).expand(len(q3), -1, -1)
    scores = torch.baddbmm(bias, q3, k3.transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1).to(v3.dtype), v3).view_as(q)


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate(x)) * up(x)); gate and up are one matrix."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config, layer)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        self.mlp = GatedMLP(config)

    def before(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """What comes before positions are mixed: x (..., D) -> queries, keys and values (..., H + 2K, E)."""
        return self.attention.project(self.attention_norm(x), cos, sin)

    def after(self, x: Tensor, mixed: Tensor) -> Tensor:
        """What comes after: x (..., D) and mixed values (..., H * E) -> the residual stream (..., D)."""
        x = x + self.attention.out(mixed)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """A decoder-only transformer over one flat stream of ids."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.depth))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.readout = nn.Linear(config.width, config.vocabulary, bias=False)
        if config.tied:
            self.readout.weight = self.embedding.weight
        self._compiled: tuple[Any, Any] | None = None
        self.one_row: Callable[[Tensor, Cache], Tensor] | None = None  # a faster `states` of one id (engine)
        self.reset()

    def compile_blocks(self) -> None:
        """Compile what every block does position by position; all blocks share the compiled code.

        Attention stays outside: its bucket shapes change from batch to batch, and would be compiled again each time.
        """
        self._compiled = (
            torch.compile(Block.before, dynamic=False, recompile_limit=SHAPES),
            torch.compile(Block.after, dynamic=False, recompile_limit=SHAPES),
        )

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None = None) -> None:
        """Draw the initial weights: normal with std fan_in^-0.5, divided by sqrt(2 depth) where a block writes to the
        residual stream, and a readout of zero so that the first predictions are uniform."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            elif name == "embedding.weight":
                parameter.normal_(0.0, 0.02 if self.config.tied else 0.5, generator=generator)
            elif name == "readout.weight":
                parameter.zero_()
            else:
                std = parameter.shape[1] ** -0.5
                if name.endswith(("attention.out.weight", "mlp.down.weight")):
                    std /= math.sqrt(2 * self.config.depth)
                parameter.normal_(0.0, std, generator=generator)

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())

    @property
    def num_parameters_without_embeddings(self) -> int:
        return sum(p.numel() for p in self.blocks.parameters()) + self.norm.weight.numel()

    def trunk(self, ids: Tensor, segments: Segments) -> Tensor:
        """Final normalised states (N, D) of packed windows ids (B, T)."""
        cos, sin = rotary_table(segments.positions, self.config.head_dim, self.config.rope_base)
        biases: dict = {}
        x = self.embedding(ids.reshape(-1))
        compiled = (
            self._compiled if torch.is_grad_enabled() else None
        )  # not once more for the shapes of an evaluation
        before, after = compiled or (Block.before, Block.after)
        for block in self.blocks:
            x = after(block, x, block.attention.mix(before(block, x, cos, sin), segments, biases))
        return self.norm(x)

    def states(self, ids: Tensor, cache: Cache, counts: Tensor | None = None) -> Tensor:
        """Final normalised states (B, T, D) of ids (B, T) that follow what `cache` holds.

        `counts` (B,) says how many ids of each row are real; the cache advances by that much (default T).
        """
        if self.one_row is not None and ids.numel() == 1 and counts is None:
            return self.one_row(ids, cache)
        positions, bias = cache.look(ids.shape[1], self.norm.weight)
        cos, sin = rotary_table(positions, self.config.head_dim, self.config.rope_base)
        x = self.embedding(ids)
        for block in self.blocks:
            x = block.after(x, block.attention.step(block.before(x, cos, sin), cache, bias))
        cache.advance(ids.shape[1], counts)
        return self.norm(x)

    def forward(self, ids: Tensor, cache: Cache | None = None, segments: Segments | None = None) -> Tensor:
        """Logits (B, T, V) of ids (B, T).

        With `cache`, the ids follow what it holds. With `segments`, rows are windows of packed documents; without
        either, each row is one document.
        """
        if cache is not None:
            return self.readout(self.states(ids, cache))
        if segments is None:
            segments = Segments.from_lengths([[ids.shape[1]]] * ids.shape[0], ids.shape[1]).to(ids.device)
        return self.readout(self.trunk(ids, segments)).view(*ids.shape, -1)
