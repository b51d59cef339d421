"""From three models (base, wider, target) to the role and growth of every parameter, or an error that names one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import UninitializedParameter

from tony.errors import TonyError
from tony.mup.factors import Row, width_init
from tony.mup.layers import NORMS, Use, own_growth, torch_fans, use_of
from tony.mup.rules import Law, Role, Rule, matches

# The names that models give to their numbers of heads, and to the projections that make keys and values.
QUERY_HEADS = re.compile(r"^(n_|num_)?(q_|query_|attention_)?heads?$")
KV_HEADS = re.compile(r"(kv|key_value).*heads?$|query_groups$")
KEYS = re.compile(r"(^|[._])(q?kv?|v|keys?|values?|c_attn|query_key_value)(_proj)?[.]")


@dataclass(frozen=True)
class Found:
    """One parameter in the three models: its layer in base and target, and its shapes."""

    name: str
    leaf: str
    owner: nn.Module
    base_owner: nn.Module
    wider_owner: nn.Module
    base: tuple[int, ...]
    wider: tuple[int, ...]
    target: tuple[int, ...]

    @property
    def growing(self) -> tuple[int, ...]:
        return tuple(i for i, (a, b) in enumerate(zip(self.base, self.wider, strict=True)) if a != b)

    def growth(self, dims: Sequence[int]) -> float:
        """Target over base along `dims`."""
        return math.prod(self.target[i] / self.base[i] for i in dims)


def assign_roles(
    base: nn.Module, wider: nn.Module, target: nn.Module, rules: Sequence[Rule], init: Law
) -> Iterator[Row]:
    """A row for every parameter of `target`, width only.

    Raises:
        TonyError: the models differ in more than width, or a parameter's role cannot be told and no rule says it.
    """
    found = list(_align(base, wider, target))
    if not any(parameter.growing for parameter in found):
        raise TonyError(
            "base and wider have the same shapes, so nothing says which dimensions grow: build wider wider than base"
        )
    _check_fixed(found)
    _check_ties(target, rules)
    _check_heads(base, wider, found, rules)
    rows = [_row(parameter, _rule_for(parameter.name, rules), init) for parameter in found]
    _check_bottlenecks(rows, rules)
    yield from rows


def _rule_for(name: str, rules: Sequence[Rule]) -> Rule | None:
    return next((rule for rule in rules if matches(rule.pattern, name)), None)


def _has_said_role(name: str, rules: Sequence[Rule]) -> bool:
    rule = _rule_for(name, rules)
    return rule is not None and rule.role is not None


def _align(base: nn.Module, wider: nn.Module, target: nn.Module) -> Iterator[Found]:
    models = {"base": base, "wider": wider, "target": target}
    names = {key: [name for name, _ in model.named_parameters()] for key, model in models.items()}
    for key in ("base", "wider"):
        odd = sorted(set(names[key]) ^ set(names["target"]))
        if odd:
            raise TonyError(
                f"{odd[0]}: not in both {key} and target. Build base and wider with the target's depth and options, "
                "at other widths only"
            )
    for name in names["target"]:
        prefix, _, leaf = name.rpartition(".")
        owners = {key: model.get_submodule(prefix) for key, model in models.items()}
        parameters = {key: getattr(owner, leaf) for key, owner in owners.items()}
        if any(isinstance(parameter, UninitializedParameter) for parameter in parameters.values()):
            raise TonyError(
                f"{name}: a lazy parameter without a shape. Run one batch through the models first"
            )
        shapes = {key: tuple(parameter.shape) for key, parameter in parameters.items()}
        found = Found(name, leaf, owners["target"], owners["base"], owners["wider"], *shapes.values())
        if len({len(shape) for shape in shapes.values()}) > 1:
            raise TonyError(
                f"{name}: {found.base}, {found.wider} and {found.target} differ in their dimensions"
            )
        yield found


def _check_fixed(found: Sequence[Found]) -> None:
    for parameter in found:
        for dim, (base, target) in enumerate(zip(parameter.base, parameter.target, strict=True)):
            if dim not in parameter.growing and base != target:
                raise TonyError(
                    f"{parameter.name}: dimension {dim} is {base} in base and wider but {target} in target. Build base and wider "
                    "with the target's vocabulary, context and depth"
                )


def _check_ties(target: nn.Module, rules: Sequence[Rule]) -> None:
    first: dict[int, str] = {}
    for name, parameter in target.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(parameter), name)
        if known != name and not _has_said_role(known, rules):
            raise TonyError(
                f"{name}: tied to {known}. A readout must shrink with width where an embedding must not: untie them, or keep "
                f"the embedding's role by Rule({known!r}, role='input') and divide the logits by the growth in width yourself"
            )


def _check_heads(base: nn.Module, wider: nn.Module, found: Sequence[Found], rules: Sequence[Rule]) -> None:
    """Fixed key/value heads under growing query heads: a fused projection hides them from the shapes."""
    wide = dict(wider.named_modules())
    for name, module in base.named_modules():
        (heads, kv_heads), (wide_heads, wide_kv_heads) = _heads(module), _heads(wide[name])
        if not kv_heads or heads == wide_heads or kv_heads != wide_kv_heads:
            continue
        inside = [p.name for p in found if p.growing and p.name.startswith(f"{name}." if name else "")]
        keys = [n for n in inside if KEYS.search(n)] or inside
        if keys and not all(_has_said_role(key, rules) for key in keys):
            raise TonyError(
                f"{keys[0]}: {min(kv_heads)} key/value heads stay while the query heads grow. Let both grow by the same "
                f"factor; or, knowing better, plan with rules=[Rule({keys[0]!r}, role=...)]"
            )
    for parameter in found:
        owners = (parameter.base_owner, parameter.wider_owner)
        if not all(isinstance(owner, nn.MultiheadAttention) for owner in owners):
            continue
        if owners[0].head_dim != owners[1].head_dim and not _rule_for(parameter.name, rules):
            raise TonyError(
                f"{parameter.name}: head_dim grows, and nn.MultiheadAttention divides by its square root where muP divides by "
                "head_dim itself. Let num_heads grow at a fixed head_dim; or, knowing better, plan with "
                f"rules=[Rule({parameter.name!r}, role='hidden')]"
            )


def _heads(module: nn.Module) -> tuple[set[int], set[int]]:
    """The numbers of query heads and of key/value heads that a module, or its config, says it has."""
    config = getattr(module, "config", None)
    said = {**getattr(config, "__dict__", {}), **vars(module)}
    numbers = {key: value for key, value in said.items() if type(value) is int}
    return (
        {value for key, value in numbers.items() if QUERY_HEADS.search(key)},
        {value for key, value in numbers.items() if KV_HEADS.search(key)},
    )


def _check_bottlenecks(rows: Sequence[Row], rules: Sequence[Rule]) -> None:
    """A weight that reads width and writes a fixed size, with hidden weights after it, may be no readout."""
    last = max((i for i, row in enumerate(rows) if row.role == "hidden"), default=0)
    unsaid = [
        (i, row) for i, row in enumerate(rows) if row.role == "output" and not _has_said_role(row.name, rules)
    ]
    keys = [row.name for _, row in unsaid if KEYS.search(row.name)]
    for i, row in unsaid:
        # Keys and values together are an attention's, wherever it stands; a lone "value" may be a readout.
        if i < last or (len(keys) > 1 and row.name in keys):
            raise TonyError(
                f"{row.name}: reads what grows, writes what stays {row.shape[0]}, and hidden layers follow. Key/value heads "
                "that stay fixed? Let them grow with the width. A router or a readout? "
                f"Rule({row.name!r}, role='output')"
            )


def _row(parameter: Found, rule: Rule | None, init: Law) -> Row:
    name, growing = parameter.name, parameter.growing
    if len(growing) > 2:
        raise TonyError(
            f"{name}: dimensions {', '.join(map(str, growing))} all grow, and muP knows matrices only (two). Keep one of them "
            "fixed in wider and target, such as the number of experts or of heads"
        )
    use = use_of(parameter.owner, parameter.leaf, parameter.target, init)
    if rule and (rule.role or rule.fan_in is not None):
        role, reads, writes = _by_rule(parameter, rule, use)
    elif use is None and growing:
        raise TonyError(
            f"{name}: {_kind(parameter)} of shape {parameter.target} is no layer that muP knows. Say what it is: "
            f"Rule({name!r}, role='input' | 'hidden' | 'output', fan_in=<the dimension summed over>, init='fan_in' | 'constant')"
        )
    else:
        role, reads, writes = _by_layer(parameter, use)
    law, like = _law(parameter, rule, use, role)
    shapes = _shapes_like(parameter, like)
    is_bias = like == "weight" and parameter.leaf == "bias" and law == "fan_in"
    return Row(
        name=name, shape=parameter.target, base_shape=parameter.base, role=role, reads=reads, writes=writes,
        init=width_init(role, reads) / own_growth(law, *shapes),
        drawn_within=torch_fans(shapes[1])[0] ** -0.5 if is_bias else None,
    )  # fmt: skip


def _kind(parameter: Found) -> str:
    return f"a parameter of {type(parameter.owner).__name__}"


def _by_layer(parameter: Found, use: Use | None) -> tuple[Role, float, float]:
    if use is None:
        return "scalar", 1.0, 1.0
    for dim in parameter.growing:
        if dim not in use.reads + use.writes:
            raise TonyError(
                f"{parameter.name}: dimension {dim} grows from base to wider, which is no width but a size of the task "
                "(vocabulary, kernel). Build base and wider with the target's"
            )
    reads, writes = parameter.growth(use.reads), parameter.growth(use.writes)
    grows_in = any(dim in use.reads for dim in parameter.growing)
    grows_out = any(dim in use.writes for dim in parameter.growing)
    if (
        use.grouped
    ):  # a transposed convolution's weight is (in, out / groups, ...): each group reads in / groups
        owners = (parameter.base_owner, parameter.wider_owner, parameter.owner)
        base, wider, target = (int(owner.groups) for owner in owners)  # type: ignore[arg-type]
        reads, writes = reads * base / target, writes * target / base
        grows_in = parameter.wider[0] * base != parameter.base[0] * wider
        grows_out = parameter.wider[1] * wider != parameter.base[1] * base
    if grows_in:
        return ("hidden" if grows_out else "output"), reads, writes
    if not grows_out:
        return "scalar", 1.0, 1.0
    is_vector = isinstance(parameter.owner, NORMS) or sum(size > 1 for size in parameter.target) <= 1
    return ("vector" if is_vector else "input"), 1.0, writes


def _by_rule(parameter: Found, rule: Rule, use: Use | None) -> tuple[Role, float, float]:
    growing, rank = parameter.growing, len(parameter.base)
    said = rule.fan_in_of(rank)
    if said is None and use is not None:
        said = use.reads or None
    role = rule.role
    if role is None:
        role = "hidden" if len(growing) == 2 else "output" if set(growing) <= set(said or ()) else "input"
        role = role if growing else "scalar"
    if role == "scalar" or not growing:
        return "scalar", 1.0, 1.0
    summed = set(growing) & set(said or ())
    if len(growing) == 2 and said and (len(summed) < 2 if role == "output" else summed and role != "hidden"):
        raise TonyError(
            f"{parameter.name}: dimensions {growing[0]} and {growing[1]} both grow, one that is summed over and one that is "
            f"written, so it is hidden and not {role}. Give Rule({rule.pattern!r}, role='hidden')"
        )
    if role in ("input", "vector"):
        return role, 1.0, parameter.growth(growing)
    if role == "output":
        return role, parameter.growth(growing), 1.0
    reads = [dim for dim in growing if dim in (said or ())]
    writes = [dim for dim in growing if dim not in reads]
    if not reads or not writes:
        raise TonyError(
            f"{parameter.name}: role 'hidden' needs one growing dimension that is summed over and one that is not, of "
            f"{growing}. Give Rule({rule.pattern!r}, role='hidden', fan_in=<dimension>)"
        )
    return role, parameter.growth(reads), parameter.growth(writes)


def _law(parameter: Found, rule: Rule | None, use: Use | None, role: Role) -> tuple[Law, str | None]:
    """How the parameter's own initialisation falls with width, and whose fans say so (None: its own)."""
    like = use.like if use else None
    if rule and rule.init:
        return rule.init, like
    if use is not None:
        return use.law, like
    if role in ("hidden", "output") and parameter.growing:
        raise TonyError(
            f"{parameter.name}: its own initialisation is not known. Say whether it falls with width: "
            f"Rule({parameter.name!r}, role={role!r}, init='fan_in') or init='constant'"
        )
    return "constant", None


def _shapes_like(parameter: Found, like: str | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if like is None or like == parameter.leaf:
        return parameter.base, parameter.target
    return tuple(getattr(parameter.base_owner, like).shape), tuple(getattr(parameter.owner, like).shape)
