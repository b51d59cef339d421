"""Few-shot multiple choice by log-likelihood: our scorer beside lm-evaluation-harness with its HF backend.

    tony import smollm2
    python benchmarks/scoring.py runs/smollm2 [--items 20] [--shots 32]

The task is `definition` of our WordNet tasks (four words, which one has this definition?), with ONE draw of K worked
examples on both sides, in float32 with the same number of threads. lm-evaluation-harness (extra `lm-eval`) gets the same
prompts as a local task, in batches of four, and computes choices of one token together, as it does by itself; where it is
not installed, the same prompts go through `transformers` one question at a time, its choices in one batch. Seconds are of
text to log-likelihoods on both sides; what the harness does around that is not counted. A draw of worked examples per
question, as in the paper, is timed apart (ours).

The last line is one JSON object. Its "ok" is what is asked: 32 worked examples or more, at least 5 times as fast as the
harness, the same accuracy by the sum of nats, and no log-likelihood further than 1e-3 nats a token from that of
`transformers`, which the harness's backend is. "asked" has each of these apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch

from tony.engine.exchange.folder import LanguageModel, export_model, load_language_model
from tony.engine.score import Scorer, split_ids
from tony.evals.fewshot.cell import Cell, make_cell
from tony.evals.fewshot.find import find_tasks

SEED = 0
SHOTS, FASTER, NATS_A_TOKEN = 32, 5.0, 1e-3  # what is asked
Nats = list[list[float]]  # of each question's choices


def ours(source: LanguageModel, cell: Cell) -> tuple[Nats, float, int, list[list[int]]]:
    """Nats, seconds, ids computed, and the number of ids of each choice."""
    began = time.perf_counter()
    pairs = [
        split_ids(source.encode, q.prompt, choice, source.bos)
        for q in cell.questions
        for choice in q.example.choices
    ]
    scorer = Scorer(source.model)
    scores = iter([score.total for score in scorer.score(pairs)])
    lengths = iter([len(after) for _, after in pairs])
    nats = [[next(scores) for _ in q.example.choices] for q in cell.questions]
    counts = [[next(lengths) for _ in q.example.choices] for q in cell.questions]
    return nats, time.perf_counter() - began, scorer.computed, counts


def plain_transformers(folder: Path, source: LanguageModel, cell: Cell) -> tuple[Nats, float]:
    """One forward pass a question, its choices as a padded batch."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    began, nats = time.perf_counter(), []
    with torch.inference_mode():
        for question in cell.questions:
            pairs = [
                split_ids(source.encode, question.prompt, choice, source.bos)
                for choice in question.example.choices
            ]
            longest = max(len(a) + len(b) for a, b in pairs)
            ids = torch.zeros(len(pairs), longest, dtype=torch.int64)
            for row, (a, b) in enumerate(pairs):
                ids[row, : len(a) + len(b)] = torch.tensor([*a, *b])
            logprobs = model(ids).logits.log_softmax(-1)
            nats.append(
                [
                    float(
                        logprobs[row, len(a) - 1 : len(a) + len(b) - 1]
                        .gather(1, torch.tensor(b)[:, None])
                        .sum()
                    )
                    for row, (a, b) in enumerate(pairs)
                ]
            )
    return nats, time.perf_counter() - began


def harness(folder: Path, work: Path, cell: Cell) -> tuple[Nats, float]:
    """lm-evaluation-harness on a local task whose questions carry the worked examples, so that both sides see the same
    characters: what it computes is what it computes for examples that it puts there itself."""
    from lm_eval import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    class Timed(HFLM):
        seconds = 0.0

        def loglikelihood(self, requests, disable_tqdm=True):
            began = time.perf_counter()
            found = super().loglikelihood(requests, disable_tqdm=True)
            self.seconds += time.perf_counter() - began
            return found

    rows = [
        {
            "text": q.prompt,
            "choices": list(q.example.choices),
            "label": q.example.choices.index(q.example.target),
        }
        for q in cell.questions
    ]
    data = work / "test.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "definition_local",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(work / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc"}],
    }
    model = Timed(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4)
    tasks = TaskManager(include_defaults=False).load([task])
    out = evaluate(model, tasks, bootstrap_iters=0)
    samples = sorted(out["samples"]["definition_local"], key=lambda s: s["doc_id"])
    return [[float(r[0][0]) for r in s["resps"]] for s in samples], model.seconds


def accuracy(nats: Nats, cell: Cell) -> float:
    picked = [q.example.choices[int(np.argmax(n))] for n, q in zip(nats, cell.questions, strict=True)]
    return float(np.mean([a == q.example.target for a, q in zip(picked, cell.questions, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--shots", type=int, default=SHOTS)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    source = load_language_model(args.model)
    (task,), _ = find_tasks(["definition"])
    fixed = make_cell(task, args.shots, args.items, SEED, "task")
    drawn = make_cell(task, args.shots, args.items, SEED, "item")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "hf"
        export_model(source, folder)
        nats, seconds, computed, counts = ours(source, fixed)
        print(f"ours, one draw: {seconds:.1f} s, {computed} ids computed", flush=True)
        has_harness = importlib.util.find_spec("lm_eval") is not None
        if has_harness:
            theirs, their_seconds = harness(folder, Path(work), fixed)
        else:
            theirs, their_seconds = plain_transformers(folder, source, fixed)
        peer = "lm-evaluation-harness" if has_harness else "transformers"
        print(f"{peer}: {their_seconds:.1f} s", flush=True)
        _, drawn_seconds, drawn_computed, _ = ours(source, drawn)
        print(f"ours, a draw per question: {drawn_seconds:.1f} s, {drawn_computed} ids computed", flush=True)
    differences = [
        abs(a - b) / n
        for own, other, lengths in zip(nats, theirs, counts, strict=True)
        for a, b, n in zip(own, other, lengths, strict=True)
    ]
    right, their_right = accuracy(nats, fixed), accuracy(theirs, fixed)
    asked = {
        f"at least {SHOTS} shots": args.shots >= SHOTS,
        f"at least {FASTER:g}x lm-evaluation-harness": has_harness and their_seconds / seconds >= FASTER,
        "equal accuracies": right == their_right,
        f"within {NATS_A_TOKEN:g} nats a token": max(differences) <= NATS_A_TOKEN,
    }
    result = {
        "model": source.name,
        "items": args.items,
        "shots": args.shots,
        "threads": args.threads,
        "peer": peer,
        "seconds": round(seconds, 2),
        "peer_seconds": round(their_seconds, 2),
        "ratio": round(their_seconds / seconds, 1),
        "seconds_draw_per_question": round(drawn_seconds, 2),
        "accuracy": right,
        "peer_accuracy": their_right,
        "largest_difference_nats_per_token": float(f"{max(differences):.2g}"),
        "asked": asked,
        "ok": all(asked.values()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
