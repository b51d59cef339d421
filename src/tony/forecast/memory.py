"""How much memory a training step needs on one GPU: Tony's blocks under FSDP2 and tensor parallelism.

The step that is meant: bfloat16 products, float32 parameters, sums of gradients and AdamW moments (16 bytes a parameter,
all sharded), every block its own FSDP unit and checkpointed (of its activations only its input is kept), embedding and
readout in the root unit, fused causal attention, the loss of all positions of a micro-batch at once.

Bytes per token of a block in its backward pass are counted from what autograd keeps (legend: D width, H = heads x
head_dim, K = kv_heads x head_dim, F hidden, V vocabulary; tensor parallelism divides H, K, F and V):

    two norms, their inputs in float32, their outputs, the residual stream      14 D
    queries and keys normalised and rotated, values, attention and its copy     12 H + 10 K
    gate and up, silu, product, then their gradients                            12 F   (with 2 D for the stream's)
    or, later, the norms' float32 gradients where the MLP's are gone            20 D

tests/forecast/test_memory.py compares with torch's own memory tracker under fake tensors.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tony.errors import TonyError

BF16, FP32 = 2, 4


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A transformer's shape."""

    width: int
    depth: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    context: int

    @property
    def block(self) -> int:
        """Parameters of a block."""
        attention = self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.width * self.hidden + 2 * self.width + 2 * self.head_dim

    @property
    def n(self) -> int:
        """Parameters without embedding and readout."""
        return self.depth * self.block + self.width

    @property
    def embeddings(self) -> int:
        return 2 * self.vocabulary * self.width

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU at the peak of a step, and where that is."""

    states: float
    gathered: float
    activations: float
    at: str

    @property
    def total(self) -> float:
        return self.states + self.gathered + self.activations


def memory(shape: Shape, sequences: int, shards: int = 1, tensor_parallel: int = 1) -> Memory:
    """The peak of one step with `sequences` rows of the context in a micro-batch of each GPU.

    Args:
        shards: GPUs that FSDP shards parameters, gradients and moments over.
        tensor_parallel: GPUs that heads, hidden units and vocabulary are divided among.

    Raises:
        TonyError: tensor_parallel does not divide heads, kv_heads, hidden and vocabulary.
    """
    tp = tensor_parallel
    for name in ("heads", "kv_heads", "hidden", "vocabulary"):
        if getattr(shape, name) % tp:
            raise TonyError(
                f"tensor_parallel={tp} does not divide {name}={getattr(shape, name)}: choose one that does"
            )
    tokens, width = sequences * shape.context, shape.width
    block, root = shape.block / tp, shape.embeddings / tp
    whole = shape.depth * block + root + width
    held, sums = 12 * whole / shards, FP32 * block / shards
    kept = tokens * BF16 * width  # the input of one block
    heads, keys = (h * shape.head_dim / tp for h in (shape.heads, shape.kv_heads))
    mixing = 12 * heads + 10 * keys
    one_block = tokens * max(16 * width + mixing + 12 * shape.hidden / tp, 34 * width + mixing)
    # Root parameters stay gathered from forward to the end, and the readout's gradient waits for the embedding's.
    in_root, prefetch = BF16 * root, BF16 * block if shards > 1 else 0.0
    reducing = FP32 * block if shards > 1 else 0.0
    in_block = 2 * BF16 * block + prefetch + reducing
    logits = tokens * (12 * shape.vocabulary / tp + 10 * width)
    readout = BF16 * root / 2
    peaks = [
        Memory(held, in_root + prefetch, shape.depth * kept + logits, "loss"),
        Memory(held + sums, in_root + readout + in_block, shape.depth * kept + one_block, "last block"),
        Memory(held + FP32 * whole / shards, in_root + readout + in_block, kept + one_block, "first block"),
        Memory(held + FP32 * whole / shards, in_root * 2 + FP32 * root, kept, "embedding"),
    ]
    return max(peaks, key=lambda peak: peak.total)
