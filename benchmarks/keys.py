"""Keys of the past in fewer numbers: what it costs in nats a token, what it saves in memory and time.

    tony import smollm2
    python benchmarks/keys.py runs/smollm2 [--docs docs]

Keys and queries are learned on numpy's docstrings; the loss is measured on scikit-learn's, in documents of 1,024 ids, each
chunk of 128 seeing all before and itself through the kept keys. Beside the two-source truncation (this project's choice)
stand a hybrid and an oblivious orthogonal projection, and the principal axes of the keys alone, the choice that knows one
source only. Steps are timed after 1,000 ids, the sides in turn, the best of each.

The last line is one JSON object; "ok" says that two sources lose less than any other way at every size.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import math
import os
import pkgutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from torch import Tensor

from tony.engine.exchange.folder import LanguageModel, load_language_model
from tony.engine.keys import KeySketch
from tony.engine.slots import Slots
from tony.model import Transformer
from tony.model.cache import Cache

DOCUMENT, CHUNK = 1024, 128
FITTED, ASKED = 16, 6  # documents
STEPS, PAST = 16, 1000
OURS = "two sources, truncated"


def docstrings(package: str) -> Iterator[str]:
    """Docstrings of 600 characters or more, each once, by module and name."""
    seen = set()
    root = importlib.import_module(package)
    for info in sorted(pkgutil.walk_packages(root.__path__, package + "."), key=lambda m: m.name):
        if any(
            part.startswith("_") or part in ("tests", "conftest", "setup") for part in info.name.split(".")
        ):
            continue
        try:
            module = importlib.import_module(info.name)
        except Exception:  # optional parts that are not installed
            continue
        for _, item in sorted(vars(module).items(), key=lambda pair: pair[0]):
            if callable(item) and str(getattr(item, "__module__", "")).startswith(package):
                text = inspect.getdoc(item) or ""
                if len(text) >= 600 and text not in seen:
                    seen.add(text)
                    yield text


def documents(source: LanguageModel, package: str, count: int) -> list[list[int]]:
    """The first `count` documents of 1,024 ids of a package's docstrings."""
    ids: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in docstrings(package):
            ids += source.encode(text + "\n\n")
            if len(ids) >= count * DOCUMENT:
                break
    return [ids[i * DOCUMENT : (i + 1) * DOCUMENT] for i in range(count)]


@torch.inference_mode()
def nats(model: Transformer, asked: list[list[int]], sketch: KeySketch | None) -> float:
    """Mean nats a token."""
    total = count = 0
    for ids in asked:
        slots = Slots(model.config, 1, len(ids), torch.float32, "cpu", sketch)
        for start in range(0, len(ids) - 1, CHUNK):
            new = torch.tensor(ids[start : start + CHUNK])
            logits = model.readout(model.states(new[None], slots.view(0, 1)))[0]
            after = torch.tensor(ids[start + 1 : start + 1 + CHUNK])
            total += float(torch.nn.functional.cross_entropy(logits[: len(after)], after, reduction="sum"))
            count += len(after)
    return total / count


class KeyMoments(Cache):
    """A cache that sums keys' outer products."""

    def __init__(self, config, sums: Tensor) -> None:
        super().__init__(config, 1)
        self._sums = sums

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self._sums[layer] += (keys[0].transpose(1, 2) @ keys[0]).double()
        return super().write(layer, keys, values)


@torch.inference_mode()
def principal(model: Transformer, fitted: list[list[int]]) -> Tensor:
    """Principal axes (depth, K, E, E) of the keys of each head, the greatest first."""
    config = model.config
    sums = torch.zeros(config.depth, config.kv_heads, config.head_dim, config.head_dim, dtype=torch.float64)
    for ids in fitted:
        model.states(torch.tensor([ids]), KeyMoments(config, sums))
    return torch.linalg.eigh(sums).eigenvectors.flip(-1).float()


@torch.inference_mode()
def ms_a_step(
    model: Transformer, sketches: dict[str, KeySketch | None], rows: int, rounds: int
) -> dict[str, float]:
    """Milliseconds of a step of `rows` rows after 1,000 ids: the best round of each side."""
    best = dict.fromkeys(sketches, math.inf)
    ids = torch.zeros(rows, 1, dtype=torch.int64)
    for _ in range(rounds):
        for name, sketch in sketches.items():
            slots = Slots(model.config, rows, PAST + STEPS, torch.float32, "cpu", sketch)
            slots.keys.normal_()
            slots.values.normal_()
            slots.lengths = [PAST] * rows
            began = time.perf_counter()
            for _ in range(STEPS):
                model.readout(model.states(ids, slots.view(0, rows)))
            best[name] = min(best[name], 1e3 * (time.perf_counter() - began) / STEPS)
    return {name: round(ms, 1) for name, ms in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--docs", type=Path, help="write keys-measured.md there")
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    source = load_language_model(args.model)
    model, size = source.model, source.model.config.head_dim
    fitted, asked = documents(source, "numpy", FITTED), documents(source, "sklearn", ASKED)
    print(f"{FITTED * DOCUMENT} ids to learn from, {ASKED * DOCUMENT} to measure on", flush=True)
    began = time.perf_counter()
    whole = KeySketch.fit(model, fitted, size)
    seconds = time.perf_counter() - began
    axes = principal(model, fitted)
    sizes = [7 * size // 8, 3 * size // 4, size // 2]

    def cut(keys: Tensor, queries: Tensor, k: int) -> KeySketch:
        """The leading k of all coordinates (both truncations nest)."""
        return KeySketch(keys[..., :k].contiguous(), (queries[..., :k] * math.sqrt(k / size)).contiguous())

    exact = nats(model, asked, None)
    print(f"exact keys: {exact:.4f} nats a token; learned in {seconds:.0f} s", flush=True)
    bytes_of = {
        k: Slots(model.config, 1, 1, torch.float32, "cpu", cut(axes, axes, k)).bytes_per_slot for k in sizes
    }
    full = Slots(model.config, 1, 1, torch.float32, "cpu").bytes_per_slot
    rows = []
    for k in sizes:
        sides = {
            OURS: cut(whole.keys, whole.queries, k),
            "keys' principal axes": cut(axes, axes, k),
        }
        if k == 3 * size // 4:
            sides["two sources, hybrid"] = KeySketch.fit(model, fitted, k, method="hybrid")
            sides["oblivious"] = KeySketch.fit(model, fitted[:1], k, method="oblivious")
        for name, sketch in sides.items():
            rows.append({"size": k, "side": name, "lost": round(nats(model, asked, sketch) - exact, 4)})
            print(f"{k:3} of {size}  {name:24} +{rows[-1]['lost']:.4f} nats", flush=True)
    plain_and_small = {
        "exact": None,
        "three quarters": cut(whole.keys, whole.queries, 3 * size // 4),
        "half": cut(whole.keys, whole.queries, size // 2),
    }
    steps = {f"batch {n}": ms_a_step(model, plain_and_small, n, args.rounds) for n in (1, 16)}
    print(f"ms a step after {PAST} ids: {steps}", flush=True)
    best = {k: min(rows, key=lambda row: (row["size"] != k, row["lost"]))["side"] for k in sizes}
    result = {
        "model": source.name, "nats": round(exact, 4), "fit_seconds": round(seconds, 1), "lost": rows,
        "bytes_a_token": {"exact": full, **{str(k): v for k, v in bytes_of.items()}}, "ms_a_step": steps, "ok": set(best.values()) == {OURS},
    }  # fmt: skip
    if args.docs:
        write(args.docs / "keys-measured.md", result, size)
    print(json.dumps(result))


def write(path: Path, result: dict, size: int) -> None:
    """The tables as a page."""
    lines = [
        "# Keys of the past in fewer numbers: measured", "",
        f"Written by `benchmarks/keys.py --docs docs` with {result['model']}: {result['nats']:.3f} nats a token with exact keys.",
        "", f"| numbers kept of {size} | memory of keys and values | way | nats a token lost |", "|---|---|---|---|",
    ]  # fmt: skip
    full = result["bytes_a_token"]["exact"]
    for row in result["lost"]:
        share = result["bytes_a_token"][str(row["size"])] / full
        lines.append(f"| {row['size']} | {100 * share:.0f}% | {row['side']} | {row['lost']:.4f} |")
    lines += ["", f"| ms a step after {PAST} ids | exact | three quarters | half |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {s['exact']} | {s['three quarters']} | {s['half']} |"
        for name, s in result["ms_a_step"].items()
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
