"""Exact log-likelihoods of continuations, every id that texts share computed once.

The texts to score, sorted, are walked as a tree: what several begin with is one path. Each forward pass takes a bundle of
branches as ONE sequence, in which an id sees its own ancestors only; the path that leads to the next bundle stays in the
cache. So the ids computed are the nodes of the tree, each once: the examples before a task's questions once for the task,
a question once for its choices. There is no padding, and nothing depends on what is scored together but rounding.

Legend: P ids of the path, T new ids, K key/value heads, E head_dim, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tony.engine.prefixes import common
from tony.errors import TonyError
from tony.model import Transformer

BUNDLE = 1024  # new ids in a forward pass: enough to keep the matrix products busy
READOUT = 256  # rows of logits at once: 50 MB with 49,152 ids


@dataclass(frozen=True)
class Score:
    """How likely a continuation is.

    Attributes:
        logprobs: nats, one for each id of the continuation.
        greedy: whether every id of it is the likeliest at its place (of equals the lowest id).
    """

    logprobs: tuple[float, ...]
    greedy: bool

    @property
    def total(self) -> float:
        """Nats: ln P(continuation | context)."""
        return math.fsum(self.logprobs)


def split_ids(
    encode: Callable[[str], list[int]], context: str, continuation: str, bos: int | None
) -> tuple[list[int], list[int]]:
    """The ids of a context and of what continues it, as they are when written together.

    Spaces at the end of the context go to the continuation, and where a token spans the border it is counted to the
    continuation whole. An empty context is `bos`.

    Raises:
        TonyError: the continuation has no ids, or the context is empty and there is no `bos`.
    """
    kept = context.rstrip(" ")
    continuation = context[len(kept) :] + continuation
    whole, before = encode(kept + continuation), encode(kept)
    border = common(whole, before)
    if border == len(whole):
        raise TonyError(f"the continuation {continuation!r} after ...{kept[-20:]!r} has no ids")
    if not border and bos is None:
        raise TonyError("the context is empty, and this model has no id that begins a text")
    return (whole[:border] or [bos]), whole[border:]


@dataclass(eq=False)
class _Node:
    """One id in the tree of a bundle; `place` is its row in the forward pass, `parent` its parent's, or -1."""

    place: int
    parent: int
    depth: int
    from_path: int  # how many ids of the path it sees
    children: dict[int, _Node] = field(default_factory=dict)


class Scorer:
    """A model and the path that its cache holds.

    Args:
        model: the network.
        bundle: new ids in a forward pass, at most.
    """

    def __init__(self, model: Transformer, bundle: int = BUNDLE) -> None:
        self.model, self.bundle = model, bundle
        self.computed = 0  # ids that went through the network
        self._path: list[int] = []
        self._states = model.norm.weight.new_zeros(0, model.config.width)  # final states (P, D) of the path
        self._cache = _PathCache(model)

    def forget(self) -> None:
        """Drop the path: what comes next does not depend on what was scored before, and costs its beginning again."""
        self._path, self._states = [], self._states[:0]

    @torch.inference_mode()
    def score(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], prefix: Sequence[int] = ()
    ) -> list[Score]:
        """The score of each (context, continuation), in order.

        With `prefix`, which all contexts begin with, results do not depend on what was scored before: the cache begins
        with exactly that, computed in the same way each time; it stays for the next call with the same prefix.

        Raises:
            TonyError: a context or continuation is empty, or they do not fit the model's context together.
        """
        limit = self.model.config.context
        for context, continuation in pairs:
            if not context or not continuation:
                which = "continuation" if context else "context"
                raise TonyError(f"an empty {which} has no likelihood: give at least one id")
            assert tuple(context[: len(prefix)]) == tuple(prefix), "all contexts begin with the prefix"
            # The last id of a continuation is only looked up, so it needs no place.
            if len(context) + len(continuation) - 1 > limit:
                raise TonyError(
                    f"context and continuation have {len(context) + len(continuation)} ids and this model's context is "
                    f"{limit}: shorten them"
                )
        self._hold(list(prefix))
        texts = [(*context, *continuation[:-1]) for context, continuation in pairs]
        order = sorted(range(len(pairs)), key=lambda i: texts[i])
        scores: list[Score | None] = [None] * len(pairs)
        first = 0
        while first < len(order):
            first = self._pass(pairs, texts, order, first, scores)
        return [score for score in scores if score is not None]

    def _hold(self, prefix: list[int]) -> None:
        """Make the path `prefix` and nothing else; without one it stays what it is."""
        if not prefix:
            return
        if self._path[: len(prefix)] != prefix:
            self._path = []
            for start in range(0, len(prefix), self.bundle):
                part = prefix[start : start + self.bundle]
                states = self._forward([_Node(i, i - 1, start + i, start) for i in range(len(part))], part)
                self._cache.keep(start, list(range(len(part))))
                self._path += part
                self._states = torch.cat([self._states[:start], states])
        self._path, self._states = prefix, self._states[: len(prefix)]

    def _pass(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        texts: Sequence[tuple[int, ...]],
        order: list[int],
        first: int,
        scores: list[Score | None],
    ) -> int:
        """Score the next bundle; where the one after it begins comes back."""
        nodes: list[_Node] = []
        ids: list[int] = []
        roots: dict[int, dict[int, _Node]] = {}  # by the number of ids of the path that come before
        places: list[
            list[int]
        ] = []  # of each text, where the states of its ids will be: of the path, then of the bundle
        path = len(self._path)
        end, new = first, 0
        while end == first or not new or len(nodes) + new <= self.bundle:
            text = texts[order[end]]
            begin = common(self._path, text)
            line = self._line(text, begin, roots, nodes, ids)
            places.append([*range(begin), *(path + node.place for node in line)])
            end += 1
            if end == len(order):
                break
            new = len(texts[order[end]]) - common(text, texts[order[end]])
        states = torch.cat([self._states, self._forward(nodes, ids)]) if nodes else self._states
        self._read(pairs, order[first:end], places, states, scores)
        if line:
            self._cache.keep(begin, [node.place for node in line])
        self._path, self._states = list(text), states[places[-1]]
        return end

    @staticmethod
    def _line(
        text: tuple[int, ...],
        begin: int,
        roots: dict[int, dict[int, _Node]],
        nodes: list[_Node],
        ids: list[int],
    ) -> list[_Node]:
        """The nodes of `text` from its id number `begin` on, those that are missing added."""
        level, parent, line = roots.setdefault(begin, {}), -1, []
        for depth in range(begin, len(text)):
            node = level.get(text[depth])
            if node is None:
                node = level[text[depth]] = _Node(len(nodes), parent, depth, begin)
                nodes.append(node)
                ids.append(text[depth])
            line.append(node)
            level, parent = node.children, node.place
        return line

    def _forward(self, nodes: list[_Node], ids: list[int]) -> Tensor:
        """Final states (T, D) of a bundle."""
        self.computed += len(ids)
        self._cache.arrange(nodes, len(self._path))
        tensor = torch.tensor([ids], device=self._cache.device)
        return self.model.states(tensor, self._cache)[0]

    def _read(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        chosen: list[int],
        places: list[list[int]],
        states: Tensor,
        scores: list[Score | None],
    ) -> None:
        """Look the continuations up in the logits behind their ids."""
        needed, targets = [], []
        for i, own in zip(chosen, places, strict=True):
            continuation = pairs[i][1]
            needed += own[-len(continuation) :]
            targets += continuation
        unique, where = torch.tensor(needed).unique(return_inverse=True)
        target = torch.tensor(targets)
        logprobs, greedy = (
            torch.empty(len(targets), dtype=torch.float64),
            torch.empty(len(targets), dtype=torch.bool),
        )
        for start in range(0, len(unique), READOUT):
            logits = (
                self.model.readout(states[unique[start : start + READOUT].to(states.device)]).float().cpu()
            )
            mine = ((where >= start) & (where < start + READOUT)).nonzero()[:, 0]
            rows = where[mine] - start
            found = logits[rows, target[mine]]
            logprobs[mine] = found.double() - logits.logsumexp(-1)[rows].double()
            greedy[mine] = logits.argmax(-1)[rows] == target[mine]
        at = 0
        for i in chosen:
            end = at + len(pairs[i][1])
            scores[i] = Score(tuple(logprobs[at:end].tolist()), bool(greedy[at:end].all()))
            at = end


class _PathCache:
    """Keys and values of the path, and behind them those of the bundle, with the interface that `Transformer.states` wants."""

    is_empty = False
    reaches = None

    def __init__(self, model: Transformer) -> None:
        weight = model.norm.weight
        self.device = weight.device
        config = model.config
        shape = (config.depth, 1, config.kv_heads, 0, config.head_dim)
        self._keys = torch.zeros(shape, device=self.device)
        self._values = torch.zeros(shape, device=self.device)

    def arrange(self, nodes: list[_Node], path: int) -> None:
        """Make ready for the ids of `nodes` behind a path of `path` ids."""
        count = len(nodes)
        self._path, self._count = path, count
        self._positions = torch.tensor([node.depth for node in nodes], device=self.device)
        sees = torch.zeros(count, path + count, dtype=torch.bool)
        sees[:, :path] = torch.arange(path) < torch.tensor([node.from_path for node in nodes])[:, None]
        for row, node in enumerate(nodes):  # a parent's row comes before its children's
            if node.parent >= 0:
                sees[row, path:] = sees[node.parent, path:]
            sees[row, path + row] = True
        self._hidden = ~sees.to(self.device)
        slots = path + count
        if slots > self._keys.shape[3]:
            for name in ("_keys", "_values"):
                old = getattr(self, name)
                new = old.new_zeros(*old.shape[:3], max(slots, 2 * old.shape[3]), old.shape[4])
                new[..., : old.shape[3], :] = old
                setattr(self, name, new)

    def look(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (1, T) and the bias (1, 1, T, P + T) that hides what is no ancestor."""
        bias = torch.zeros(self._hidden.shape, dtype=like.dtype, device=self.device)
        return self._positions[None], bias.masked_fill_(self._hidden, -math.inf)[None, None]

    def banded(self, bias: Tensor, window: int) -> Tensor:
        """`bias` with everything further back than `window` hidden as well."""
        places = torch.cat([torch.arange(self._path, device=self.device), self._positions])
        return bias.masked_fill(self._positions[:, None] - places >= window, -math.inf)

    def ask(self, layer: int, queries: Tensor) -> Tensor:
        """Queries as they are: keys are kept whole."""
        return queries

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put keys and values (1, K, T, E) of one layer behind the path; all that is in use comes back."""
        end = self._path + self._count
        self._keys[layer, :, :, self._path : end] = keys
        self._values[layer, :, :, self._path : end] = values
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def advance(self, length: int, counts: Tensor | None = None) -> None:
        """Nothing: `keep` says what becomes path."""

    def keep(self, start: int, places: list[int]) -> None:
        """Make the ids in rows `places` of the bundle the path from id number `start` on."""
        rows = torch.tensor(places, device=self.device) + self._path
        for store in (self._keys, self._values):
            store[:, :, :, start : start + len(places)] = store[:, :, :, rows]
