"""A plan: for every parameter of a model its initial scale, learning rate, weight decay and epsilon, relative to a base.

    with torch.device("meta"):
        base, wider = Model(width=64), Model(width=128)
    model = Model(width=1024)
    plan = Plan(base, wider, model)
    plan.init_(model)
    optimizer = torch.optim.AdamW(plan.groups(model, lr=1e-2, weight_decay=0.1))

Hyperparameters tuned at the base's width then serve the target. Nothing is attached to modules or parameters and the
forward pass stays as it is, so that schedulers, torch.compile, FSDP2, checkpoints and exports need to know nothing of it.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from tony.atomic import write_json
from tony.errors import TonyError
from tony.mup.factors import MuonAdjustment, Optimizer, Row, check_optimizer, factors
from tony.mup.roles import assign_roles
from tony.mup.rules import Depth, Law, Role, Rule, Setting, check_law, factor_for, matches, setting_for

FORMAT = 1


class Plan:
    """How the parameters of `target` are initialised and optimised, so that hyperparameters carry over from `base`.

    base: the model at the width whose hyperparameters are, or will be, tuned.
    wider: the same at any larger width; a dimension grows if it differs between the two. Both are built with the target's
        depth, vocabulary and context, best on the meta device: only shapes are read.
    target: the model to train, at any width (the base's included: then every factor is 1).
    rules: what layers' types do not tell; the first rule that matches a parameter holds.
    depth: growth in depth (CompleteP), if any.
    multipliers: constant factors by name pattern that a forward pass might have had, absorbed: {"readout": 2.0} doubles the
        logits. The first pattern that matches holds.
    init_scales: factors on initial values alone, by name pattern, learning rates as they are: {"blocks.*": 0.5}.
    init: how the module's own initialisation of matrices falls with width.

    Raises:
        TonyError: base and wider do not differ, the models differ in more than width, a pattern names nothing, or a parameter
            is covered neither by its layer's type nor by a rule.
    """

    def __init__(
        self,
        base: nn.Module,
        wider: nn.Module,
        target: nn.Module,
        *,
        rules: Sequence[Rule] | Rule = (),
        depth: Depth | None = None,
        multipliers: Mapping[str, float] | None = None,
        init_scales: Mapping[str, float] | None = None,
        init: Law = "fan_in",
    ) -> None:
        check_law(init, "Plan")
        rules = (rules,) if isinstance(rules, Rule) else rules
        base, wider, target = (_unwrapped(model) for model in (base, wider, target))
        rows = {row.name: row for row in assign_roles(base, wider, target, rules, init)}
        _check_patterns([rule.pattern for rule in rules], rows, "rules")
        if depth is not None:
            _check_patterns([*depth.writes, depth.blocks], rows, "depth")
            rows = {name: _deepen(row, depth) for name, row in rows.items()}
        if multipliers:
            _check_patterns(list(multipliers), rows, "multipliers")
            rows = {
                name: _absorb(row, factor_for(multipliers, name, "multipliers")) for name, row in rows.items()
            }
        if init_scales:
            _check_patterns(list(init_scales), rows, "init_scales")
            rows = {
                name: replace(row, init=row.init * factor_for(init_scales, name, "init_scales"))
                for name, row in rows.items()
            }
        self.rows: dict[str, Row] = rows
        self._initialised: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._saved_initialised = False

    @torch.no_grad()
    def init_(self, model: nn.Module) -> None:
        """Multiply the module's own initial values, in place; once, directly after the model was built.

        Raises:
            TonyError: a second call, a model on the meta device or not of the plan, or a bias that is not torch's own draw.
        """
        module = _unwrapped(model)
        if module in self._initialised or self._saved_initialised:
            raise TonyError(
                "plan.init_ was called before: a second call would scale the weights twice. Load a checkpoint after init_ or "
                "without it; a model drawn anew needs a new Plan"
            )
        parameters = list(self._parameters(model))
        for row, parameter in parameters:
            if parameter.is_meta:
                raise TonyError(
                    f"{row.name}: on the meta device. Move the model to a real one and initialise it first"
                )
            bound = row.drawn_within
            if bound is not None and row.init != 1.0 and float(parameter.abs().max()) > bound * 1.001:
                raise TonyError(
                    f"{row.name}: larger than torch's own draw of a bias, so the model initialises it itself. If that does not "
                    f"depend on width, say so: Rule({row.name!r}, init='constant')"
                )
        for row, parameter in parameters:
            if row.init != 1.0:
                parameter.mul_(row.init)
        self._initialised.add(module)

    def groups(
        self,
        model: nn.Module,
        *,
        lr: Setting,
        weight_decay: Setting = 0.0,
        eps: float = 1e-8,
        optimizer: Optimizer = "adamw",
        adjust_lr_fn: MuonAdjustment | None = None,
        where: Callable[[Row], bool] | None = None,
    ) -> list[dict[str, Any]]:
        """Parameter groups for a stock optimiser of torch, as few as there are different settings.

        lr, weight_decay: the base's, one number or numbers by name pattern (the first that matches holds).
        eps: the base's; not used for SGD.
        adjust_lr_fn: what torch.optim.Muon is told.
        where: which parameters; default all, and for Muon the hidden matrices. Frozen parameters are left out.

        Each group carries its "lr_factor" for schedules that set learning rates themselves instead of multiplying them.

        Raises:
            TonyError: a model that is not of the plan, a parameter without a number, or L2 decay in Adam.
        """
        check_optimizer(optimizer)
        if where is None and optimizer == "muon":
            where = _for_muon
        groups: dict[tuple[float, ...], dict[str, Any]] = {}
        for row, parameter in self._parameters(model):
            if not parameter.requires_grad or (where is not None and not where(row)):
                continue
            scale = factors(row, optimizer, adjust_lr_fn)
            decay = setting_for(weight_decay, row.name, "weight_decay")
            if optimizer == "adam" and decay:
                raise TonyError(
                    f"{row.name}: Adam's weight decay is an L2 term inside the gradient, which does not carry over widths. "
                    "Use AdamW, or weight_decay=0"
                )
            rate = setting_for(lr, row.name, "lr")
            values = {
                "lr": rate * scale.lr,
                "weight_decay": decay * scale.weight_decay,
                "eps": eps * scale.eps,
            }
            if optimizer == "sgd":
                del values["eps"]
            key = (*values.values(), scale.lr)
            groups.setdefault(key, {"params": [], **values, "lr_factor": scale.lr})["params"].append(
                parameter
            )
        return list(groups.values())

    @torch.no_grad()
    def clip_grad_norm_(self, model: nn.Module, max_norm: float) -> Tensor:
        """Clip the gradients by a global norm whose size does not grow with width, and return that norm.

        In this form of muP the readout's gradient norm grows as sqrt(width), so a constant threshold on the plain norm would
        clip wide models too often. Each gradient counts as its counterpart in table 8 would (`Row.clip_weight`).
        """
        by_weight: dict[float, list[Tensor]] = {}
        clipped: list[Tensor] = []
        for row, parameter in self._parameters(model):
            if parameter.grad is not None:
                by_weight.setdefault(row.clip_weight, []).append(parameter.grad)
                clipped.append(parameter)
        norms = []
        for weight, gradients in by_weight.items():
            norm = _local(nn.utils.get_total_norm(gradients))
            norms.append(norm if weight == 1.0 else norm * weight)
        total = (
            norms[0]
            if len(norms) == 1
            else torch.linalg.vector_norm(torch.stack(norms))
            if norms
            else torch.zeros(())
        )
        nn.utils.clip_grads_with_norm_(clipped, max_norm, total)
        return total

    def table(self, optimizer: Optimizer = "adamw") -> str:
        """Every parameter's role, growth and factors as text; what Muon does not take is shown as AdamW has it."""
        check_optimizer(optimizer)
        lines = [("parameter", "shape", "role", "r_in", "r_out", "init", "lr", "decay", "eps")]
        for row in self.rows.values():
            own = "adamw" if optimizer == "muon" and not row.for_muon else optimizer
            scale = factors(row, own)
            numbers = (row.reads, row.writes, row.init, scale.lr, scale.weight_decay, scale.eps)
            shown = [f"{number:.4g}" for number in numbers]
            if own == "sgd":
                shown[-1] = "-"
            lines.append((row.name, "x".join(map(str, row.shape)) or "-", row.role, *shown))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, of plain numbers and strings: for a checkpoint."""
        return {
            "format": FORMAT,
            "initialised": bool(self._initialised) or self._saved_initialised,
            "parameters": [asdict(row) for row in self.rows.values()],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` gave; if it had initialised a model, `init_` stays refused.

        Raises:
            TonyError: not what `to_dict` gives.
        """
        known = {field.name for field in fields(Row)}
        try:
            if state["format"] != FORMAT:
                raise TonyError(
                    f"a plan of format {state['format']}: this version reads {FORMAT}. Make the plan anew"
                )
            rows = [Row(**{**row, "shape": tuple(row["shape"]), "base_shape": tuple(row["base_shape"])})
                    for row in state["parameters"] if set(row) == known]  # fmt: skip
            if len(rows) != len(state["parameters"]):
                raise KeyError("parameters")
            initialised = bool(state["initialised"])
        except (KeyError, TypeError) as error:
            raise TonyError(f"no plan: {error} is missing or wrong. Save one with plan.save(path)") from None
        odd = next((row for row in rows if row.role not in get_args(Role)), None)
        if odd:
            raise TonyError(f"no plan: {odd.name} has role {odd.role!r}. Save one with plan.save(path)")
        plan = cls.__new__(cls)
        plan.rows = {row.name: row for row in rows}
        plan._initialised = weakref.WeakSet()
        plan._saved_initialised = initialised
        return plan

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, spawned workers and copies: what `to_dict` keeps."""
        return type(self).from_dict, (self.to_dict(),)

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON."""
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """The plan in a JSON file that `save` wrote.

        Raises:
            TonyError: no such file, or no plan in it.
        """
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TonyError(
                f"{path}: cannot be read as a plan ({error}). Save one with plan.save(path)"
            ) from None
        return cls.from_dict(state)

    def _parameters(self, model: nn.Module) -> Iterator[tuple[Row, nn.Parameter]]:
        """Each parameter of the model with its row; sharded, compiled or wrapped models have the same names."""
        seen = set()
        for wrapped_name, parameter in model.named_parameters():
            name = wrapped_name if wrapped_name in self.rows else _plain_name(wrapped_name)
            row = self.rows.get(name)
            if row is None:
                raise TonyError(f"{name}: not in the plan. Make the plan from the model as it is trained")
            if tuple(parameter.shape) != row.shape:
                raise TonyError(
                    f"{name}: {tuple(parameter.shape)}, planned as {row.shape}. Make a plan for this width"
                )
            seen.add(name)
            yield row, parameter
        missing = next((name for name in self.rows if name not in seen), None)
        if missing:
            raise TonyError(
                f"{missing}: in the plan but not in the model. Make the plan from the model as it is trained"
            )


def _for_muon(row: Row) -> bool:
    return row.for_muon


def _deepen(row: Row, depth: Depth) -> Row:
    """The row with what CompleteP does to it."""
    writes = any(matches(pattern, row.name) for pattern in depth.writes)
    if not writes and not matches(depth.blocks, row.name):
        return row
    row = replace(row, depth=depth.ratio)
    if not writes:
        return row
    return _absorb(row, 1 / depth.ratio, own=depth.ratio**-0.5 if depth.init == "inverse_sqrt" else 1.0)


def _absorb(row: Row, multiplier: float, own: float = 1.0) -> Row:
    # The bound on torch's own draw is of the values before init_, so it stays.
    return replace(row, multiplier=row.multiplier * multiplier, init=row.init * multiplier / own)


def _check_patterns(patterns: Sequence[str], rows: Mapping[str, Row], where: str) -> None:
    for pattern in patterns:
        if not any(matches(pattern, name) for name in rows):
            raise TonyError(
                f"{where}: {pattern!r} names no parameter. There are: {', '.join(list(rows)[:6])}, ..."
            )


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside torch.compile's and data parallel wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner


def _plain_name(name: str) -> str:
    """The parameter's name without what wrappers put into it."""
    parts = name.split(".")
    if parts[0] == "module":
        parts = parts[1:]
    return ".".join(part for part in parts if part not in ("_orig_mod", "_checkpoint_wrapped_module"))


def _local(norm: Tensor) -> Tensor:
    """A norm as a plain tensor; over sharded gradients torch gives a distributed one."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[operator]
