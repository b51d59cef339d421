"""Writing text on a CPU: our engine beside `transformers` and llama.cpp.

    tony import smollm2
    python benchmarks/engine.py runs/smollm2 [--steps 24]

Every side writes greedily with the same weights after the same prompt, at its fastest setting of threads: one or two, which
sleep while they wait or spin (OpenMP reads that when it loads, so each has a process of its own). Sides take turns, and each
one's best round counts. Measured are milliseconds a decoding step at batch 1 and 16, and the seconds that 64 requests of mixed
lengths take: in one continuous batch, and in static batches of 16 that each last as long as their longest request (our engine
both times, so that only the batching differs; `transformers` beside it).

`transformers` is called as model(ids, past_key_values=cache) in a bare loop, faster than its generate(), and is not
compiled. llama.cpp is the package llama-cpp-python, built on this
machine, where it is installed; it reads GGUF files that we wrote. Our steps include sampling, log-probabilities and the
bookkeeping of the batch. "compiled": steps of one row are compiled (tony.engine.one_row); seconds to the first step are stated.

A prefix of 1,500 ids that 200 requests share is counted, and what its reuse changes is compared with computing it anew.
What fewer bits cost is measured too: nats a token of each precision on the first 512 ids of a text (--text).

The last line is one JSON object; "asked" says which ratios were reached.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tony.engine.batcher import Batcher, Job
from tony.engine.exchange.folder import export_model, load_language_model
from tony.engine.packed import PRECISIONS, packed
from tony.engine.sampling import GREEDY
from tony.engine.score import Scorer

PROMPT = 64
SPIN = {
    "threads sleep": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "threads spin": {"OMP_WAIT_POLICY": "ACTIVE"},
}
PARTS = ("loss", "batch1", "batch16", "mixed", "prefix")
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


def load_transformers(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def transformers(model: torch.nn.Module, ids: list[int], steps: int) -> Steps:
    @torch.inference_mode()
    def run(rows: int) -> float:
        out = model(torch.tensor([ids] * rows), use_cache=True)
        began = time.perf_counter()
        for _ in range(steps):
            new = out.logits[:, -1].argmax(-1, keepdim=True)
            out = model(new, past_key_values=out.past_key_values, use_cache=True)
        return (time.perf_counter() - began) / steps

    return run


def llama_cpp(path: Path, ids: list[int], steps: int) -> Steps:
    """llama.cpp through its own Python binding, one row."""
    import llama_cpp

    def run(rows: int) -> float:
        assert rows == 1
        threads = torch.get_num_threads()
        model = llama_cpp.Llama(
            str(path), n_ctx=PROMPT + steps + 2, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        model.eval(ids)
        new = [int(np.argmax(model.scores[model.n_tokens - 1]))]
        began = time.perf_counter()
        for _ in range(steps):
            model.eval(new)
            new = [int(np.argmax(model.scores[model.n_tokens - 1]))]
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


def mixed(
    model: torch.nn.Module, peer: torch.nn.Module, requests: int = 64, rows: int = 16
) -> dict[str, float]:
    """Seconds for requests of 16 ids each that write as many as an exponential distribution of mean 32 says, as in
    Anyscale's comparison of 2023: continuous, and in static batches in order, in which all rows are computed until the
    longest is done."""
    stream = np.random.default_rng(0)
    lengths = np.clip(np.ceil(stream.exponential(32, requests)), 1, 256).astype(int).tolist()
    prompts = stream.integers(1000, 20_000, (requests, 16)).tolist()

    def run(batches: list[list[tuple[list[int], int]]]) -> float:
        batcher = Batcher(model, rows=rows, room=16 + max(lengths) + 1)
        began = time.perf_counter()
        for batch in batches:
            for ids, most in batch:
                batcher.submit(Job(ids=ids, most=most, decoding=GREEDY))
            while not batcher.is_idle:
                batcher.step()
        return time.perf_counter() - began

    @torch.inference_mode()
    def run_peer(batches: list[list[tuple[list[int], int]]]) -> float:
        began = time.perf_counter()
        for batch in batches:
            out = peer(torch.tensor([ids for ids, _ in batch]), use_cache=True)
            for _ in range(batch[0][1] - 1):
                new = out.logits[:, -1:].argmax(-1)
                out = peer(new, past_key_values=out.past_key_values, use_cache=True)
        return time.perf_counter() - began

    everything = list(zip(prompts, lengths, strict=True))
    static = [
        [(ids, max(lengths[i : i + rows])) for ids in prompts[i : i + rows]] for i in range(0, requests, rows)
    ]
    return {
        "continuous": round(run([everything]), 2),
        "static": round(run(static), 2),
        "transformers, static": round(run_peer(static), 2),
    }


def shared_prefix(model: torch.nn.Module, text: list[int], requests: int = 200) -> dict[str, Any]:
    """Requests of 4 to 24 ids of their own behind 1,500 ids of `text`: ids computed, seconds, and what reuse changes in the logits
    behind the prompt, against computing them anew (12 requests); the same of a deterministic batcher."""
    prefix, room = text[:1500], 1600
    stream = np.random.default_rng(1)
    own = [stream.integers(1000, 20_000, size).tolist() for size in stream.integers(4, 25, requests)]
    jobs = [Job(ids=[*prefix, *ids], most=1, decoding=GREEDY) for ids in own]
    batcher = Batcher(model, room=room)
    began = time.perf_counter()
    for job in jobs:
        batcher.submit(job)
    while not batcher.is_idle:
        batcher.step()
    found: dict[str, Any] = {
        "requests": requests,
        "ids in all prompts": sum(len(job.ids) for job in jobs),
        "ids computed": batcher.counts.prompt,
        "ids computed if the prefix is computed once": len(prefix) + sum(map(len, own)),
        "seconds": round(time.perf_counter() - began, 1),
    }
    for deterministic in (False, True):
        how = {"rows": 1, "room": room, "deterministic": deterministic, "chunk": 64 if deterministic else 256}
        kept, worst, largest = Batcher(model, **how), 0.0, 0.0
        kept.prefill(jobs[-1], 1)
        for job in jobs[:12]:
            fresh = Batcher(model, prefix_bytes=0, **how).prefill(job, 1)[1]
            worst = max(worst, float((kept.prefill(job, 1)[1] - fresh).abs().max()))
            largest = max(largest, float(fresh.abs().max()))
        name = "deterministic: " if deterministic else ""
        found[f"{name}largest change of a logit"] = float(f"{worst:.2g}")
        found[f"{name}largest logit"] = round(largest, 1)
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All parts that `args.only` names, under this process's setting of waiting threads."""
    source = load_language_model(args.model)
    ids = torch.randint(1000, 20_000, (PROMPT,), generator=torch.Generator().manual_seed(0)).tolist()
    result: dict[str, Any] = {"model": source.name, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "hf"
        export_model(source, folder)
        fast = {p: packed(source.model, p) for p in PRECISIONS}
        if "loss" in args.only:
            text = source.encode(args.text.read_text(encoding="utf-8"))[:512]
            result["nats_a_token"] = show("loss", losses(fast, text))
        sides: dict[str, Steps] = {f"tony {p}": ours(model, ids, args.steps) for p, model in fast.items()}
        peers = {name: load_transformers(folder, getattr(torch, name)) for name in ("float32", "bfloat16")}
        for name, peer in peers.items():
            sides[f"transformers {name}"] = transformers(peer, ids, args.steps)
        if "batch16" in args.only:
            result["ms_a_step_batch_16"] = show("batch 16", best(sides, 16, args.rounds))
        if "mixed" in args.only:
            torch.set_num_threads(2)
            result["seconds_64_mixed"] = show("64 requests", mixed(fast["float32"], peers["float32"]))
        if "prefix" in args.only:
            text = source.encode(args.text.read_text(encoding="utf-8"))
            result["shared_prefix"] = shared_prefix(source.model, text)
            print(f"shared prefix {result['shared_prefix']}", flush=True)
        if "batch1" in args.only:
            compiling = {}
            for precision in PRECISIONS:
                run = sides[f"tony {precision}, compiled"] = ours(
                    packed(source.model, precision, compiled=True), ids, args.steps
                )
                began = time.perf_counter()
                run(1)
                compiling[precision] = round(time.perf_counter() - began, 1)
            result["seconds_to_compile"] = show("compile", compiling)
            if importlib.util.find_spec("llama_cpp"):
                for name in ("float32", "bfloat16"):
                    export_model(source, Path(work) / f"{name}.gguf", "gguf", name)
                    sides[f"llama.cpp {name}"] = llama_cpp(Path(work) / f"{name}.gguf", ids, args.steps)
            result["ms_a_step_batch_1"] = show("batch 1", best(sides, 1, args.rounds))
    return result


def merge(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The better of both settings for each side; which one it was stands beside it."""
    whole = dict(next(iter(results.values())))
    for part in ("ms_a_step_batch_1", "ms_a_step_batch_16"):
        if part in whole:
            whole[part] = {name: min(r[part][name] for r in results.values()) for name in whole[part]}
            whole[f"{part}, each setting"] = {setting: r[part] for setting, r in results.items()}
    if "seconds_64_mixed" in whole:
        whole["seconds_64_mixed"] = min(
            (r["seconds_64_mixed"] for r in results.values()), key=lambda m: m["continuous"]
        )
    return whole


def asked(whole: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """By what is asked: the ratio reached, and the ratio wanted."""
    one, sixteen = whole.get("ms_a_step_batch_1"), whole.get("ms_a_step_batch_16")
    found: dict[str, tuple[float, float]] = {}
    if one:
        mine = {p: min(one[f"tony {p}"], one[f"tony {p}, compiled"]) for p in PRECISIONS}
        found["float32, of transformers"] = (one["transformers float32"] / mine["float32"], 2.5)
        found["bfloat16, of transformers"] = (one["transformers bfloat16"] / mine["bfloat16"], 1.3)
        if "llama.cpp float32" in one:
            found["float32, of llama.cpp"] = (one["llama.cpp float32"] / mine["float32"], 0.8)
            found["goal: int8, of llama.cpp bfloat16"] = (one["llama.cpp bfloat16"] / mine["int8"], 1.0)
    if sixteen:
        for precision in ("float32", "bfloat16"):
            ratio = sixteen[f"transformers {precision}"] / sixteen[f"tony {precision}"]
            found[f"batch 16 {precision}, of transformers"] = (ratio, 1.2)
    if mixed_seconds := whole.get("seconds_64_mixed"):
        found["64 mixed requests, of static batches"] = (
            mixed_seconds["static"] / mixed_seconds["continuous"],
            2.0,
        )
    if prefix := whole.get("shared_prefix"):
        once = prefix["ids computed if the prefix is computed once"]
        found["shared prefix, computed as often as"] = (once / prefix["ids computed"], 1.0)
        for name in ("", "deterministic: "):
            change = prefix[f"{name}largest change of a logit"]
            key = f"{name}shared prefix, 1e-5 over the largest change of a logit"
            found[key] = (min(1e-5 / max(change, 1e-12), 1e3), 1.0)
    return {name: (round(ratio, 2), wanted) for name, (ratio, wanted) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--text", type=Path, default=Path(__file__).parents[1] / "docs" / "mup.md")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run")
    parser.add_argument(
        "--one-setting", action="store_true", help="with the threads' setting of this process only"
    )
    args = parser.parse_args()
    args.only = set(args.only.split(","))
    if wrong := args.only - set(PARTS):
        parser.error(f"no part {', '.join(sorted(wrong))}: use {','.join(PARTS)}")
    if args.one_setting:
        print(json.dumps(measure(args)))
        return
    results, only = {}, args.only
    for setting, variables in SPIN.items():
        if not only:
            break
        print(f"{setting}:", flush=True)
        child = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--one-setting", "--only", ",".join(only)],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            text=True,
        )
        for text in child.stdout:
            if text.startswith("{"):
                results[setting] = json.loads(text)
            else:
                print(text, end="", flush=True)
        if child.wait():
            sys.exit(child.returncode)
        only = only - {"loss", "prefix"}  # which do not depend on it
    whole = merge(results)
    reached = asked(whole)
    whole["asked"] = {name: {"ratio": ratio, "asked": wanted} for name, (ratio, wanted) in reached.items()}
    whole["ok"] = all(
        ratio >= wanted for name, (ratio, wanted) in reached.items() if not name.startswith("goal")
    )
    print(json.dumps(whole))


def show(title: str, figures: dict[str, float]) -> dict[str, float]:
    for name, value in figures.items():
        print(f"{title:12} {name:38} {value:10.3f}", flush=True)
    return figures


if __name__ == "__main__":
    main()
