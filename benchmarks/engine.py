"""Writing text on a CPU: our engine beside `transformers`.

    tony import smollm2
    python benchmarks/engine.py runs/smollm2 [--steps 24]

Every side writes greedily with the same weights after the same prompt, at the faster of one and two threads; sides take
turns, and each one's best round counts. Measured are milliseconds a decoding step at batch 1 and 16, and the seconds that
64 requests of mixed lengths take: in one continuous batch, and in static batches of 16 that each last as long as their
longest request (our engine both times, so that only the batching differs).

`transformers` is called as model(ids, past_key_values=cache) in a bare loop, faster than its generate(); our steps include
sampling, log-probabilities and the bookkeeping of the batch. Nothing is compiled on either side.

What fewer bits cost is measured too: nats a token of each precision on the first 512 ids of a text (--text).

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch

from tony.engine.batcher import Batcher, Job
from tony.engine.exchange.folder import export_model, load_language_model
from tony.engine.packed import packed
from tony.engine.sampling import GREEDY
from tony.engine.score import Scorer

PROMPT = 64
Steps = Callable[[int], float]  # rows -> seconds a step


def ours(model: torch.nn.Module, ids: list[int], steps: int) -> Steps:
    def run(rows: int) -> float:
        batcher = Batcher(model, rows=rows, room=PROMPT + steps + 2)
        for _ in range(rows):
            batcher.submit(Job(ids=ids, most=steps + 1, decoding=GREEDY))
        while batcher.counts.written < rows:
            batcher.step()
        began, before = time.perf_counter(), batcher.counts.steps
        while not batcher.is_idle:
            batcher.step()
        return (time.perf_counter() - began) / (batcher.counts.steps - before)

    return run


def transformers(folder: Path, dtype: torch.dtype, ids: list[int], steps: int) -> Steps:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    @torch.inference_mode()
    def run(rows: int) -> float:
        out = model(torch.tensor([ids] * rows), use_cache=True)
        began = time.perf_counter()
        for _ in range(steps):
            new = out.logits[:, -1].argmax(-1, keepdim=True)
            out = model(new, past_key_values=out.past_key_values, use_cache=True)
        return (time.perf_counter() - began) / steps

    return run


def best(sides: dict[str, Steps], rows: int, rounds: int) -> dict[str, float]:
    """Milliseconds a step of each side: the best of all rounds at one thread and at two."""
    found: dict[str, float] = {}
    for _ in range(rounds):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for name, run in sides.items():
                found[name] = min(found.get(name, np.inf), 1e3 * run(rows))
    return {name: round(ms, 1) for name, ms in found.items()}


def losses(models: dict[str, torch.nn.Module], ids: list[int]) -> dict[str, float]:
    """Mean nats a token of `ids`."""
    pair = (ids[:1], ids[1:])
    return {
        name: round(-Scorer(model).score([pair])[0].total / len(pair[1]), 4) for name, model in models.items()
    }


def mixed(model: torch.nn.Module, ids: list[int], requests: int = 64, rows: int = 16) -> dict[str, float]:
    """Seconds for requests that write 4 to 64 ids: continuous, and in static batches."""
    lengths = np.random.default_rng(0).integers(4, 65, requests).tolist()
    room = PROMPT + 66

    def jobs(own: list[int]) -> list[Job]:
        return [Job(ids=[*ids, 300 + n], most=n, decoding=GREEDY) for n in own]

    def run(batches: list[list[Job]]) -> float:
        batcher = Batcher(model, rows=rows, room=room)
        began = time.perf_counter()
        for batch in batches:
            for job in batch:
                batcher.submit(job)
            while not batcher.is_idle:
                batcher.step()
        return time.perf_counter() - began

    static = [lengths[i : i + rows] for i in range(0, requests, rows)]
    continuous = run([jobs(lengths)])
    # In a static batch all rows are computed until the longest is done.
    return {
        "continuous": round(continuous, 2),
        "static": round(run([jobs([max(own)] * len(own)) for own in static]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--text", type=Path, default=Path(__file__).parents[1] / "docs" / "mup.md")
    parser.add_argument("--only", default="", help="parts to run: loss,batch1,batch16,mixed")
    args = parser.parse_args()
    only = set(args.only.split(",")) - {""} or {"loss", "batch1", "batch16", "mixed"}
    source = load_language_model(args.model)
    ids = torch.randint(1000, 20_000, (PROMPT,), generator=torch.Generator().manual_seed(0)).tolist()
    result: dict[str, object] = {"model": source.name, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "hf"
        export_model(source, folder)
        fast = {p: packed(source.model, p) for p in ("float32", "bfloat16", "int8")}
        sides: dict[str, Steps] = {f"tony {p}": ours(model, ids, args.steps) for p, model in fast.items()}
        sides["tony float32, weights as they are"] = ours(source.model, ids, args.steps)
        for name in ("float32", "bfloat16"):
            sides[f"transformers {name}"] = transformers(folder, getattr(torch, name), ids, args.steps)
        if "loss" in only:
            text = source.encode(args.text.read_text(encoding="utf-8"))[:512]
            result["nats_a_token"] = show("loss", losses(fast, text))
        if "batch1" in only:
            result["ms_a_step_batch_1"] = show("batch 1", best(sides, 1, args.rounds))
        if "batch16" in only:
            result["ms_a_step_batch_16"] = show("batch 16", best(sides, 16, args.rounds))
        if "mixed" in only:
            torch.set_num_threads(2)
            result["seconds_64_mixed"] = show("64 requests", mixed(fast["float32"], ids))
    print(json.dumps(result))


def show(title: str, figures: dict[str, float]) -> dict[str, float]:
    for name, value in figures.items():
        print(f"{title:12} {name:38} {value:10.3f}", flush=True)
    return figures


if __name__ == "__main__":
    main()
