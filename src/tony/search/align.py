"""Training the head of `Omni.embed`: contrastive, on pairs of the training split, the network frozen.

Symmetric InfoNCE (van den Oord et al. 2018; with both directions and a learned temperature as in Radford et al. 2021):
in a batch of pairs of the same two modalities each part must find its partner among all the others.

Legend: B pairs of a batch, F features, E width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.data.shards import Shard
from tony.engine import Omni
from tony.engine.embedding import Head, pooled_states, unit, weights_hash
from tony.engine.omni import head_path
from tony.errors import TonyError
from tony.search.pairs import Pair, Side, pairs

WIDTH = 128  # E
PAIRS = 5000  # enough for a linear map; the network's pass over them is what takes the time
BATCH = 256
STEPS = 600
CHECK_EVERY = 25  # steps between looks at the pairs that are kept apart
LR = 2e-3
WEIGHT_DECAY = 0.1
TEMPERATURE = 0.07
KEPT_APART = 0.1  # share of the pairs that choose the step to stop at
SAMPLE = 512  # embeddings that are kept as examples of queries
FEWEST = 20  # pairs


def align(omni: Omni, most: int = PAIRS, seed: int = 0) -> Head:
    """Train the head of `omni`'s run on its training shard and save it in the run folder.

    Raises:
        TonyError: the run has no training data any more, or too few pairs of two modalities.
    """
    assert omni.run is not None, "only a run folder has training data"
    shard = Shard(omni.run.data / "train", omni.vocabulary.hash)
    found = pairs(shard, omni.vocabulary, most, seed)
    if len(found) < FEWEST:
        raise TonyError(
            f"{omni.run.path}: {len(found)} pairs of two modalities in its training data are too few to search by "
            f"({FEWEST} are needed): train on pictures or sounds with their words"
        )
    sides = {side.key: side for pair in found for side in pair}
    features = pooled_states(omni.engine, omni.vocabulary, [(s.modality, s.ids) for s in sides.values()])
    head = fit(found, dict(zip(sides, features, strict=True)), weights_hash(omni.run.model), seed)
    head.save(head_path(omni.run))
    omni.__dict__.pop("head", None)  # the one that was read before
    return head


class Maps(nn.Module):
    """One linear map for each modality on standardised features, and a temperature for all."""

    def __init__(self, features: Mapping[str, np.ndarray], width: int) -> None:
        super().__init__()
        self.means = {m: rows.mean(0) for m, rows in features.items()}
        self.scales = {m: 1 / (rows.std(0) + 1e-3) for m, rows in features.items()}
        size = next(iter(features.values())).shape[1]
        self.linear = nn.ModuleDict({m: nn.Linear(size, width) for m in features})
        self.log_scale = nn.Parameter(torch.tensor(-np.log(TEMPERATURE), dtype=torch.float32))

    def forward(self, modality: str, standard: Tensor) -> Tensor:
        """Standardised features (B, F) -> unit vectors (B, E)."""
        return F.normalize(self.linear[modality](standard), dim=-1)

    def standard(self, modality: str, rows: np.ndarray) -> Tensor:
        return torch.from_numpy((rows - self.means[modality]) * self.scales[modality]).float()

    def folded(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """(weight, bias) by modality that take features as they are."""
        weight, bias = {}, {}
        for name, layer in self.linear.items():
            matrix = layer.weight.detach().numpy().T
            weight[name] = self.scales[name][:, None] * matrix
            bias[name] = layer.bias.detach().numpy() - self.means[name] @ weight[name]
        return weight, bias


def info_nce(a: Tensor, b: Tensor, log_scale: Tensor, same: Tensor) -> Tensor:
    """Mean of both directions' cross-entropies for unit vectors a and b (B, E) of B pairs.

    `same` (B, B) is true where b_j has the content of b_i or a_j that of a_i, i != j: no negatives.
    """
    logits = (a @ b.T * log_scale.clamp(max=4.6).exp()).masked_fill(same, -torch.inf)
    target = torch.arange(len(a))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def fit(found: Sequence[Pair], features: Mapping[bytes, np.ndarray], model: str, seed: int = 0) -> Head:
    """The head of pairs, given the features (F,) of every part by its key.

    Pairs that share no part with the training ones choose when to stop. Modalities are kept in the order of the pairs.
    """
    groups, held = _grouped(found)
    by_modality: dict[str, list[np.ndarray]] = {}
    for side in {side.key: side for group in groups.values() for pair in group for side in pair}.values():
        by_modality.setdefault(side.modality, []).append(features[side.key])
    maps = _seeded(seed, lambda: Maps({m: np.stack(rows) for m, rows in by_modality.items()}, WIDTH))
    optimizer = torch.optim.AdamW(maps.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    rng = np.random.default_rng([seed, 32])
    batches = {kinds: _tensors(group, features, maps) for kinds, group in groups.items()}
    apart = {
        kinds: _tensors(group, features, maps)
        for kinds, group in held.items()
        if kinds in groups and len(group) > 1
    }
    shares = np.array([len(group) for group in groups.values()], float) ** 0.5
    best, kept, at = np.inf, maps.state_dict(), 0
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, step / 20, 1.02 - step / STEPS)
        kinds = list(groups)[rng.choice(len(groups), p=shares / shares.sum())]
        loss = _loss(maps, kinds, batches[kinds], rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % CHECK_EVERY == 0 or step == STEPS:
            with torch.no_grad():
                fixed = np.random.default_rng([seed, 33])
                losses = [float(_loss(maps, kinds, rows, fixed)) for kinds, rows in apart.items()]
            now = float(np.mean(losses)) if losses else float(loss.detach())
            if now < best:
                best, at = now, step
                kept = {name: value.detach().clone() for name, value in maps.state_dict().items()}
    maps.load_state_dict(kept)
    weight, bias = maps.folded()
    receipt = {
        "pairs": {"-".join(kinds): len(group) for kinds, group in groups.items()},
        "steps": at,
        "loss_kept_apart": best,
        "seed": seed,
    }
    everything = [side for group in groups.values() for pair in group for side in pair]
    picked = [everything[i] for i in rng.permutation(len(everything))[:SAMPLE]]
    sample = np.concatenate(
        [unit(features[s.key][None] @ weight[s.modality] + bias[s.modality]) for s in picked]
    )
    return Head(weight, bias, sample, model, receipt)


Kinds = tuple[str, str]
Rows = tuple[Tensor, Tensor, np.ndarray, np.ndarray]


def _grouped(found: Sequence[Pair]) -> tuple[dict[Kinds, list[Pair]], dict[Kinds, list[Pair]]]:
    """Pairs by their two modalities, in alphabetical order: those to train on, and those kept apart.

    What is seldom (not a word that many pictures share) decides the side, by its content.
    """
    times: dict[bytes, int] = {}
    for pair in found:
        for side in pair:
            times[side.key] = times.get(side.key, 0) + 1
    sides: tuple[dict[Kinds, list[Pair]], dict[Kinds, list[Pair]]] = ({}, {})
    for pair in found:
        a, b = sorted(pair, key=lambda side: side.modality)
        rare = min((a, b), key=lambda side: (times[side.key], side.key))
        is_apart = np.random.default_rng(np.frombuffer(rare.key, np.uint8)).random() < KEPT_APART
        sides[is_apart].setdefault((a.modality, b.modality), []).append((a, b))
    if not sides[0]:
        return sides[1], {}
    return sides


def _tensors(group: Sequence[Pair], features: Mapping[bytes, np.ndarray], maps: Maps) -> Rows:
    columns: list[Tensor] = []
    keys: list[np.ndarray] = []
    number: dict[bytes, int] = {}
    for which in (0, 1):
        own: list[Side] = [pair[which] for pair in group]
        columns.append(maps.standard(own[0].modality, np.stack([features[s.key] for s in own])))
        keys.append(np.array([number.setdefault(s.key, len(number)) for s in own]))
    return columns[0], columns[1], keys[0], keys[1]


def _loss(maps: Maps, kinds: Kinds, rows: Rows, rng: np.random.Generator) -> Tensor:
    a, b, a_keys, b_keys = rows
    picked = rng.permutation(len(a))[:BATCH]
    same = (a_keys[picked][:, None] == a_keys[picked]) | (b_keys[picked][:, None] == b_keys[picked])
    np.fill_diagonal(same, False)
    left, right = maps(kinds[0], a[picked]), maps(kinds[1], b[picked])
    return info_nce(left, right, maps.log_scale, torch.from_numpy(same))


def _seeded(seed: int, make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
