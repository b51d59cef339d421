"""What a person says to a plan: roles by name pattern, how a module initialises itself, and what depth scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from tony.errors import TonyError

Role = Literal["input", "hidden", "output", "vector", "scalar"]
"""Which sides of a parameter grow with width.

input   only what it writes (embeddings, first layers)     hidden  what it reads and what it writes
output  only what it reads (readouts)                      vector  one entry a feature (biases, gains): as input
scalar  neither: nothing is scaled
"""

Law = Literal["fan_in", "fan_out", "fan_average", "constant"]
"""How a module's own initial standard deviation falls with width; the fans are those of torch.nn.init.

fan_in       fan_in^-1/2: torch's default, Kaiming    fan_out   fan_out^-1/2
fan_average  (fan_in + fan_out)^-1/2: Xavier          constant  the same at every width, such as GPT-2's 0.02
"""

Setting = float | Mapping[str, float]
"""One number, or numbers by name pattern, of which the first that matches holds."""


def matches(pattern: str, name: str) -> bool:
    """Whether a shell-style pattern names the parameter itself, or the module that holds it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(".")[0], pattern)


@dataclass(frozen=True)
class Rule:
    """What a person knows of the parameters that `pattern` names; the first rule that matches holds.

    pattern: shell-style, such as "blocks.*.router.weight"; the name of a module stands for its parameters.
    role: what the parameter is; None leaves it to the layer's type.
    fan_in: the dimension, or dimensions, that the layer sums over; a bare matrix of role hidden needs it.
    init: how its own initialisation falls with width; None leaves it to the layer's type.

    Raises:
        TonyError: a role or a law of initialisation that does not exist.
    """

    pattern: str
    role: Role | None = None
    fan_in: int | tuple[int, ...] | None = field(default=None, kw_only=True)
    init: Law | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.role is not None and self.role not in get_args(Role):
            raise TonyError(
                f"Rule({self.pattern!r}): no role {self.role!r}. Roles: {', '.join(get_args(Role))}"
            )
        if self.init is not None:
            check_law(self.init, f"Rule({self.pattern!r})")

    def fan_in_of(self, rank: int) -> tuple[int, ...] | None:
        """`fan_in` as dimensions from 0, of a parameter with `rank` dimensions."""
        if self.fan_in is None:
            return None
        dims = (self.fan_in,) if isinstance(self.fan_in, int) else self.fan_in
        if any(not -rank <= dim < rank for dim in dims):
            raise TonyError(
                f"Rule({self.pattern!r}): fan_in {self.fan_in} of a parameter with {rank} dimensions"
            )
        return tuple(dim % rank for dim in dims)


def check_law(law: str, where: str) -> None:
    if law not in get_args(Law):
        raise TonyError(f"{where}: no init law {law!r}. Laws: {', '.join(get_args(Law))}")


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Growth in depth after CompleteP (Dey et al. 2025, arXiv 2505.01618, alpha = 1).

    There a residual block is x + f(x) / L, L the depth over the base depth. Here 1/L is absorbed into the parameters that
    write to the residual stream, so that the forward pass stays as it is.

    ratio: L, the target's depth over that of the model whose hyperparameters were tuned.
    writes: patterns of the layers that write to the residual stream, biases included ("blocks.*.mlp.down").
    blocks: pattern of everything that is inside a residual branch, its norms included ("blocks.*").
    init: "constant", or "inverse_sqrt" where the module itself already divides what `writes` names by sqrt(depth), as GPT-2
        does; CompleteP has no such factor, so it is taken out again.
    """

    ratio: float
    writes: tuple[str, ...]
    blocks: str
    init: Literal["constant", "inverse_sqrt"] = "constant"

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "writes", (self.writes,) if isinstance(self.writes, str) else tuple(self.writes)
        )
        if not 0 < self.ratio < math.inf:
            raise TonyError(
                f"Depth: ratio {self.ratio} is the target's depth over the base's: more than 0, and finite"
            )
        if self.init not in ("constant", "inverse_sqrt"):
            raise TonyError(f"Depth: no init {self.init!r}. Known: constant, inverse_sqrt")


def setting_for(setting: Setting, name: str, what: str) -> float:
    """The number for parameter `name`.

    Raises:
        TonyError: no pattern names it.
    """
    if not isinstance(setting, Mapping):
        return setting
    for pattern, value in setting.items():
        if matches(pattern, name):
            return value
    raise TonyError(
        f"{name}: no pattern of {what} names it. Add a last one for the rest: {{..., '*': value}}"
    )


def factor_for(factors: Mapping[str, float], name: str, what: str) -> float:
    """The factor of parameter `name`: that of the first pattern which matches, 1 where none does.

    Raises:
        TonyError: it is not above 0.
    """
    pattern = next((pattern for pattern in factors if matches(pattern, name)), None)
    if pattern is None:
        return 1.0
    if not 0 < factors[pattern] < math.inf:
        raise TonyError(f"{what}[{pattern!r}] is {factors[pattern]}: a factor is more than 0, and finite")
    return factors[pattern]
