"""How a recipe's transformer is optimised: as it stands, or by a muP plan relative to the recipe's base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tony.errors import TonyError
from tony.model import Transformer, TransformerConfig
from tony.mup import Depth, Plan, Rule
from tony.runs.recipe import ModelRecipe, MupRecipe, TrainRecipe
from tony.train.distributed import Group

EPS = 1e-10
RESIDUAL_WRITES = ("blocks.*.attention.out", "blocks.*.mlp.down")


def model_at_width(model: ModelRecipe, width: int) -> ModelRecipe:
    """The recipe's model at another width: as many heads a width, head_dim, depth and context as they are.

    Raises:
        TonyError: `hidden` or `kv_heads` are no whole numbers there, or `width` is no multiple of head_dim.
    """
    changed = {"width": width}
    for name in ("hidden", "kv_heads"):
        value = getattr(model, name)
        if value is None:
            continue
        if value * width % model.width:
            raise TonyError(
                f"model.{name}={value} is no whole number at the base width {width}: choose one that divides, or leave it out"
            )
        changed[name] = value * width // model.width
    if width % model.head_dim:
        raise TonyError(
            f"mup.base_width={width} is no multiple of model.head_dim={model.head_dim}: widths grow by whole heads"
        )
    return model.model_copy(update=changed)


def plan_for(model: ModelRecipe, mup: MupRecipe, vocabulary: int, is_pretrained: bool = False) -> Plan:
    """The plan of a recipe's transformer, relative to the same one at the base's width and depth.

    Of a pretrained one only the ratios of learning rates are of use; tied embeddings then learn as what they are at the
    entrance: how a readout's initial values shrink with width does not matter.
    """

    def shapes(width: int) -> Transformer:
        with torch.device("meta"):
            return Transformer(TransformerConfig.from_recipe(model_at_width(model, width), vocabulary))

    depth = None
    if mup.base_depth is not None:
        # Transformer.reset divides what writes to the residual stream by sqrt(2 depth).
        ratio = model.depth / mup.base_depth
        depth = Depth(ratio=ratio, writes=RESIDUAL_WRITES, blocks="blocks.*", init="inverse_sqrt")
    return Plan(
        shapes(mup.base_width),
        shapes(2 * mup.base_width),
        shapes(model.width),
        depth=depth,
        rules=[Rule("embedding.weight", role="input")] if is_pretrained and model.tied else (),
        multipliers=_multipliers(model, mup),
        init_scales={"blocks.*norm*": 1.0, "blocks.*": mup.init_scale} if mup.init_scale != 1 else None,
    )


def _multipliers(model: ModelRecipe, mup: MupRecipe) -> dict[str, float]:
    """The recipe's constant multipliers, by the parameters that absorb them.

    The gain of normalised queries is what the attention logits are proportional to.
    """
    if mup.attention_scale != 1 and not model.qk_norm:
        raise TonyError(
            f"mup.attention_scale={mup.attention_scale:g} needs model.qk_norm=true, whose gain absorbs it"
        )
    scales = {
        "embedding": mup.embedding_scale,
        "blocks.*.attention.q_norm": mup.attention_scale,
        "readout": mup.output_scale,
    }
    return {pattern: scale for pattern, scale in scales.items() if scale != 1}


class DividedMuon(torch.optim.Muon):
    """Muon whose matrices are divided among the processes of a group: each orthogonalises its own and hands them on.

    Every process holds the same gradients, and orthogonalising small matrices is a sixth of a step on a CPU.
    """

    def __init__(self, groups: list[dict], group: Group, **settings: Any) -> None:
        super().__init__(groups, **settings)
        self._group = group
        self._shares = divide([p for g in self.param_groups for p in g["params"]], group.size)

    def step(self, closure: None = None) -> None:
        for rank, share in enumerate(self._shares):
            if rank != self._group.rank:
                for parameter in share:
                    parameter.grad = None  # torch's optimisers pass over a parameter without one
        super().step(closure)
        for rank, share in enumerate(self._shares):
            self._group.hand_on(rank, share)

    def gather_state(self) -> None:
        """Bring every momentum, which is up to date in one process only, to all."""
        for rank, share in enumerate(self._shares):
            states = [self.state[p] for p in share]
            for parameter, state in zip(share, states, strict=True):
                state.setdefault("momentum_buffer", torch.zeros_like(parameter))
            self._group.hand_on(rank, [state["momentum_buffer"] for state in states])


def divide(matrices: Sequence[Tensor], shares: int) -> list[list[Tensor]]:
    """`matrices` in shares of like cost, the most expensive ones dealt first; the same in every process."""
    out: list[list[Tensor]] = [[] for _ in range(shares)]
    costs = [0] * shares
    for matrix in sorted(matrices, key=lambda m: -m.numel() * min(m.shape)):
        least = costs.index(min(costs))
        out[least].append(matrix)
        costs[least] += matrix.numel() * min(matrix.shape)
    return out


class Optimizers:
    """Several optimisers, each of its own parameters, that step as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]
        self.state = parts[0].state
        for part in parts:
            part.state = self.state  # one table, for checkpoints

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def gather_state(self) -> None:
        """Bring the whole state to every process, for a checkpoint; all of them must call it."""
        for part in self.parts:
            if isinstance(part, DividedMuon):
                part.gather_state()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)


def build_optimizer(
    model: torch.nn.Module, recipe: TrainRecipe, plan: Plan | None = None, group: Group | None = None
) -> Optimizers:
    """The recipe's optimiser, with weight decay on the matrices of the blocks, and none on embeddings, readout and gains.

    "muon" orthogonalises the momentum of the blocks' matrices and gives all else to AdamW; its update is scaled to the size
    of AdamW's, so that one learning rate serves both (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2).
    """
    use_muon = recipe.optimizer == "muon"
    group = group or Group()
    adam = {"betas": (recipe.beta1, recipe.beta2), "eps": EPS, "fused": True}
    muon = {"adjust_lr_fn": "match_rms_adamw"}
    if plan is not None:
        decay = {"*norm*": 0.0, "blocks.*": recipe.weight_decay, "*": 0.0}
        settings = {"lr": recipe.lr, "weight_decay": decay, "eps": EPS}
        if not use_muon:
            return Optimizers(torch.optim.AdamW(plan.groups(model, **settings), lr=recipe.lr, **adam))
        others = plan.groups(model, **settings, where=lambda row: not row.for_muon)
        hidden = plan.groups(model, **settings, optimizer="muon", **muon)
        return Optimizers(
            torch.optim.AdamW(others, lr=recipe.lr, **adam), DividedMuon(hidden, group, lr=recipe.lr, **muon)
        )
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        (matrices if parameter.dim() == 2 and name.startswith("blocks.") else others).append(parameter)
    rest = [{"params": others, "weight_decay": 0.0}]
    hidden = [{"params": matrices, "weight_decay": recipe.weight_decay}]
    if not use_muon:
        return Optimizers(torch.optim.AdamW(hidden + rest, lr=recipe.lr, **adam))
    return Optimizers(
        torch.optim.AdamW(rest, lr=recipe.lr, **adam), DividedMuon(hidden, group, lr=recipe.lr, **muon)
    )


def set_learning_rate(optimizer: Optimizers, lr: float) -> None:
    """Give every group `lr` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)


def clip_gradients(model: torch.nn.Module, most: float, plan: Plan | None = None) -> Tensor:
    """Clip by the global norm, which a plan weighs so that it does not grow with width; the norm comes back."""
    if plan is not None:
        return plan.clip_grad_norm_(model, most)
    return torch.nn.utils.clip_grad_norm_(model.parameters(), most)
