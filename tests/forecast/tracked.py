"""A training step of Tony's blocks under FSDP, with the peak that torch's own memory tracker finds; nothing is computed.

Fake tensors on a fake process group: any number of devices, any size. Mixed precision as in training (bfloat16 products,
float32 parameters, gradients' sums and AdamW), every block checkpointed, causal attention by torch's fused kernel, the
cross-entropy of all positions at once. A tensor-parallel rank has its share of heads, hidden units and vocabulary.
"""

import json
import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint

from tony.model.transformer import Block, RMSNorm, TransformerConfig, rotary_table


class CausalBlock(Block):
    """A block on whole rows (B, T, D), each one document."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.base = config.rope_base

    def forward(self, x):
        a = self.attention
        cos, sin = rotary_table(torch.arange(x.shape[1]), a.head_dim, self.base)
        q, k, v = self.before(x, cos, sin).transpose(1, 2).split((a.heads, a.kv_heads, a.kv_heads), dim=1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=a.heads > a.kv_heads)
        return self.after(x, mixed.transpose(1, 2).flatten(-2))


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(CausalBlock(config, i) for i in range(config.depth))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.readout = nn.Linear(config.width, config.vocabulary, bias=False)

    def loss(self, logits, ids):
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    def forward(self, ids):
        x = self.embedding(ids[:, :-1])
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return self.loss(self.readout(self.norm(x)), ids)


class AdamW(torch.optim.Optimizer):
    """The states and in-place steps of AdamW; torch's own reads its step count, which fake tensors do not have."""

    @torch.no_grad()
    def step(self):
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            if not state:
                state["exp_avg"], state["exp_avg_sq"] = (
                    torch.zeros_like(parameter),
                    torch.zeros_like(parameter),
                )
            state["exp_avg"].lerp_(parameter.grad, 0.1)
            state["exp_avg_sq"].mul_(0.95).addcmul_(parameter.grad, parameter.grad, value=0.05)
            parameter.addcdiv_(state["exp_avg"], state["exp_avg_sq"].sqrt().add_(1e-8), value=-1e-3)


def peak(shape, sequences, shards, tensor_parallel=1):
    """Bytes by kind, and `Total`, at the peak of the second step; parameters held by this rank's tensor shard."""
    tp = tensor_parallel
    config = TransformerConfig(
        vocabulary=shape["vocabulary"] // tp, width=shape["width"], depth=shape["depth"], heads=shape["heads"] // tp,
        kv_heads=shape["kv_heads"] // tp, head_dim=shape["head_dim"], hidden=shape["hidden"] // tp,
        context=shape["context"],
    )  # fmt: skip
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=shards)
    mesh = init_device_mesh("cpu", (shards,))
    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    with FakeTensorMode():
        network = Network(config)
        for block in network.blocks:
            fully_shard(block, mesh=mesh, mp_policy=precision)
        fully_shard(network, mesh=mesh, mp_policy=precision)
        optimizer = AdamW(network.parameters(), {})
        tracker = FSDPMemTracker(network, optimizer)
        tracker.track_inputs(())
        with tracker:
            for step in range(2):
                ids = torch.randint(0, config.vocabulary, (sequences, config.context + 1))
                with torch.autocast("cpu", torch.bfloat16):
                    loss = network(ids)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                if step == 0:  # the moments are there from the second step on
                    tracker.reset_mod_stats()
        snapshot = next(iter(tracker.get_tracker_snapshot("peak").values()))
    dist.destroy_process_group()
    return {getattr(kind, "name", str(kind)).split(".")[-1]: int(size) for kind, size in snapshot.items()}


if __name__ == "__main__":
    print(json.dumps([peak(**case) for case in json.loads(sys.argv[1])]))
