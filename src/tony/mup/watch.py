"""Watch a forward pass: the output of every module, and the logits of every attention."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SOFTMAX = (torch.softmax, torch.Tensor.softmax, torch.special.softmax, F.softmax)
FUSED = F.scaled_dot_product_attention
MASKED = -1e8  # models mask with -inf or with a large negative number


class Watcher:
    """What the last forward pass under `watch` gave, by name: {"blocks.0.mlp": output, "blocks.0.attention logits": ...}.

    A module that is called again has " (2)" and so on behind its name.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Tensor] = {}
        self._calls: Counter[str] = Counter()

    def clear(self) -> None:
        """Forget the last forward pass."""
        self.seen.clear()
        self._calls.clear()

    def keep(self, name: str, value: Any) -> None:
        """Remember the first floating-point tensor of `value`, as it is now."""
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, (tuple, list)):
            value = next((v for v in value if isinstance(v, Tensor)), None)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return
        self._calls[name] += 1
        if self._calls[name] > 1:
            name = f"{name} ({self._calls[name]})"
        self.seen[name] = value.detach().clone()


class _Logits(TorchFunctionMode):
    """Hands what goes into a softmax over keys to a watcher, named by the module that is running."""

    def __init__(self, watcher: Watcher, running: list[str]) -> None:
        super().__init__()
        self.watcher, self.running = watcher, running

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            # The mode is off inside of a function that it is told of, and torch's own attention calls these two there.
            with (
                patch.object(F, "softmax", self._telling(F.softmax)),
                patch.object(F, "scaled_dot_product_attention", self._telling(FUSED)),
            ):
                return func(*args, **kwargs)
        self._tell(func, args, kwargs)
        return func(*args, **kwargs)

    def _telling(self, func: Callable) -> Callable:
        def told(*args: Any, **kwargs: Any) -> Any:
            self._tell(func, args, kwargs)
            return func(*args, **kwargs)

        return told

    def _tell(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        if func in SOFTMAX:
            logits = (*args, kwargs.get("input"))[0].detach()
        elif func is FUSED:
            q, k = (*args, *(kwargs[name] for name in ("query", "key") if name in kwargs))[:2]
            logits = _fused_logits(q, k, scale=kwargs.get("scale"))
        else:
            return
        name = f"{self.running[-1]} attention logits".strip()
        self.watcher.keep(name, torch.where(logits > MASKED, logits, torch.zeros_like(logits)))


def _fused_logits(q: Tensor, k: Tensor, scale: float | None) -> Tensor:
    """The logits that scaled_dot_product_attention keeps to itself, masks aside: (..., heads, queries, keys)."""
    q, k = q.detach(), k.detach()
    if q.dim() > 3 and q.shape[-3] != k.shape[-3]:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
    return q @ k.transpose(-1, -2) * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))


@contextmanager
def watch(model: nn.Module) -> Iterator[Watcher]:
    """Watch the forward passes of `model` inside the block; the model is left as it was."""
    watcher, running = Watcher(), [""]
    handles = []
    for name, module in model.named_modules():

        def enter(_module: nn.Module, _args: Any, name: str = name) -> None:
            running.append(name)

        def leave(_module: nn.Module, _args: Any, output: Any, name: str = name) -> None:
            running.pop()
            watcher.keep(name or "model", output)

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with _Logits(watcher, running):
            yield watcher
    finally:
        for handle in handles:
            handle.remove()
