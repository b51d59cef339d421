"""Small models of other people's making: nothing in them knows of muP."""

import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    """Input, two hidden layers, readout, all with biases; the second layer may grow by a factor of its own."""

    def __init__(self, width=16, inner=None, inputs=6, outputs=5, activation=torch.tanh):
        super().__init__()
        inner = inner or width
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, inner)
        self.third = nn.Linear(inner, width)
        self.readout = nn.Linear(width, outputs)
        self.activation = activation

    def forward(self, x):
        x = self.activation(self.first(x))
        x = self.activation(self.second(x))
        x = self.activation(self.third(x))
        return self.readout(x)


class Attention(nn.Module):
    """Grouped-query attention by hand; `scale` is the power of head_dim that logits are divided by."""

    def __init__(self, width, heads, kv_heads, head_dim, scale=0.5):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim, self.scale = heads, kv_heads, head_dim, scale
        self.q = nn.Linear(width, heads * head_dim, bias=False)
        self.k = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.v = nn.Linear(width, kv_heads * head_dim, bias=True)
        self.out = nn.Linear(heads * head_dim, width)

    def forward(self, x):
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v))
        scores = q @ k.transpose(-1, -2) / self.head_dim**self.scale
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    def __init__(self, width, heads, kv_heads, head_dim, hidden, scale, branch):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, kv_heads, head_dim, scale)
        self.mlp_norm = nn.RMSNorm(width)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width)
        self.branch = branch  # an explicit residual multiplier, for comparison

    def forward(self, x):
        x = x + self.branch * self.attention(self.attention_norm(x))
        y = self.mlp_norm(x)
        return x + self.branch * self.down(F.silu(self.gate(y)) * self.up(y))


class Transformer(nn.Module):
    """Pre-norm, learned positions (a bare parameter), grouped-query attention, gated MLP, untied readout."""

    def __init__(
        self, width=16, heads=None, kv_heads=None, head_dim=4, hidden=None, depth=2, vocabulary=11, context=7,
        scale=0.5, branch=1.0,
    ):  # fmt: skip
        super().__init__()
        heads = heads or width // head_dim
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.5 * torch.randn(context, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, kv_heads or heads, head_dim, hidden or 2 * width, scale, branch)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, vocabulary)

    def forward(self, ids):
        x = self.embedding(ids) + self.positions[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x))


class ConvNet(nn.Module):
    """Plain, depthwise and transposed convolutions with batch norms, pooled into a readout."""

    def __init__(self, width=8, outputs=3):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.sequence = nn.Conv1d(width, width, 3, padding=1, groups=width // 4)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x):
        x = torch.tanh(self.norm(self.first(x)))
        x = torch.tanh(self.second(torch.tanh(self.depthwise(x))))
        x = torch.tanh(self.up(x)).flatten(2)
        return self.readout(torch.tanh(self.sequence(x)).mean(2))


POSITIONS = "positions"  # the one parameter of the Transformer that needs a rule


def meta(make, **shape):
    with torch.device("meta"):
        return make(**shape)
