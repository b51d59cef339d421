"""Cross-modal search on things that were never trained on: does a word find its picture, a picture its sound?

    python benchmarks/search.py RUN [--draws 20]

RUN is a finished run of the digit world or of a folder. Its head is trained if it has none (and saved in RUN). Three
things are measured:

    recall@10        is the true item, the other side of the same held-out pair, among the first ten? Beside chance, which
                     is 10 / items, and precision@10: how many of the first ten show the same digit (digit world only;
                     there the true item shares its digit with many others, which bounds recall@10)
    compression      recall@10 of the exact first ten by asymmetric and by oblivious Gaussian projections of k numbers,
                     the same draws; pooled over all held-out items, every query
    time             to train the head

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

from tony.data.digits import WORDS, DigitWorld
from tony.data.shards import Shard
from tony.engine import Omni
from tony.engine.embedding import pooled_states
from tony.engine.omni import head_path
from tony.media import Part, Text
from tony.projections import AsymmetricRandomProjection, ProjectionWarning
from tony.search.align import align
from tony.search.pairs import pairs
from tony.search.search import embed

COPIES = 5  # items of each digit and language
FIRST = 10
ASKED = 5.0  # times chance


def held_out_digits(omni: Omni, seed: int = 0) -> tuple[dict[str, list[Part]], np.ndarray]:
    """Items of three sides (a word, a held-out picture, the word in a held-out voice), and the digit of each."""
    world = DigitWorld(omni.recipe.data, omni.recipe.seed)
    rng = np.random.default_rng(seed)
    sides: dict[str, list[Part]] = {"text": [], "image": [], "audio": []}
    digits = []
    for language in omni.recipe.data.languages:
        for digit in range(10):
            for _ in range(COPIES):
                sides["text"].append(Text(WORDS[language][digit]))
                for kind in ("image", "audio"):
                    sides[kind] += world.part(kind, digit, language, "heldout", rng)
                digits.append(digit)
    return sides, np.array(digits)


def held_out_pairs(omni: Omni) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """By modalities the vectors of both sides of the pairs in the run's held-out shard, each part once."""
    found: dict[tuple[str, str], list] = {}
    seen: set[tuple[tuple[str, str], bytes]] = set()
    for pair in pairs(Shard(omni.run.data / "heldout", omni.vocabulary.hash), omni.vocabulary, 10**6):
        a, b = sorted(pair, key=lambda side: side.modality)
        kinds = (a.modality, b.modality)
        marks = {(kinds, a.key), (kinds, b.key)}
        if not marks & seen:
            seen |= marks
            found.setdefault(kinds, []).append((a, b))
    vectors = {}
    for kinds, group in found.items():
        sides = []
        for which, kind in enumerate(kinds):
            features = pooled_states(
                omni.engine, omni.vocabulary, [(kind, pair[which].ids) for pair in group]
            )
            sides.append(omni.head.apply(kind, features))
        vectors[kinds] = sides[0], sides[1]
    return vectors


def ranks(scores: np.ndarray) -> np.ndarray:
    """Expected rank (n,) of item i for query i of scores (n, n); of equals, the half."""
    own = np.diag(scores)[:, None]
    return (scores > own + 1e-6).sum(1) + ((np.abs(scores - own) <= 1e-6).sum(1) - 1) / 2


def direction(queries: np.ndarray, items: np.ndarray, label: np.ndarray | None) -> dict[str, float]:
    scores = queries @ items.T
    recall, chance = float((ranks(scores) < FIRST).mean()), min(1.0, FIRST / len(items))
    row = {"items": len(items), "recall": recall, "chance": chance, "times_chance": recall / chance}
    if label is not None:
        first = np.argsort(-scores, axis=1, kind="stable")[:, :FIRST]
        row["precision_of_digit"] = float((label[first] == label[:, None]).mean())
    return row


def compression(documents: np.ndarray, queries: np.ndarray, sample: np.ndarray, draws: int) -> list[dict]:
    """Share of the exact first ten that is found among the first ten by k numbers; mean over draws."""
    best = np.argsort(-(queries @ documents.T), axis=1)[:, :FIRST]
    rows = []
    for k in (8, 16, 32, 64):
        row: dict[str, float] = {"k": k, "bytes": 2 * k, "exact_bytes": 4 * documents.shape[1]}
        for method in ("auto", "oblivious"):
            fitted = AsymmetricRandomProjection(k, method, random_state=0).fit(documents, other=sample)
            found = []
            for seed in range(draws):
                one = fitted.redraw(seed)
                left = one.transform(documents).astype(np.float16).astype(np.float32)
                near = np.argsort(-(one.transform_right(queries) @ left.T), axis=1)[:, :FIRST]
                found.append(np.mean([len(set(a) & set(b)) / FIRST for a, b in zip(best, near, strict=True)]))
            row[method] = float(np.mean(found))
            row[f"{method}_error"] = float(np.std(found) / np.sqrt(draws))
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ProjectionWarning)
    omni = Omni.load(arguments.run)
    result: dict = {"benchmark": "search", "run": omni.name}
    if not head_path(omni.run).is_file():
        began, worked = time.perf_counter(), time.process_time()
        align(omni)
        result["head_seconds"] = time.perf_counter() - began
        result["head_cpu_seconds"] = time.process_time() - worked
    result["head"] = dict(omni.head.receipt)
    table: dict[str, dict[str, float]] = {}
    if omni.recipe.data.kind == "digits":
        sides, digits = held_out_digits(omni)
        vectors = {kind: embed(omni, parts) for kind, parts in sides.items() if kind in omni.head.modalities}
        for source in vectors:
            for target in vectors:
                if source != target:
                    table[f"{source}->{target}"] = direction(vectors[source], vectors[target], digits)
        documents = np.concatenate(list(vectors.values()))
    else:
        both = held_out_pairs(omni)
        for (a, b), (left, right) in both.items():
            table[f"{a}->{b}"], table[f"{b}->{a}"] = (
                direction(left, right, None),
                direction(right, left, None),
            )
        documents = np.concatenate([side for pair in both.values() for side in pair])
    print(f"{'direction':16} {'items':>5} {'recall@10':>9} {'chance':>7} {'times':>6} {'same digit':>10}")
    for name, row in table.items():
        same = f"{row['precision_of_digit']:10.3f}" if "precision_of_digit" in row else ""
        print(
            f"{name:16} {row['items']:5d} {row['recall']:9.3f} {row['chance']:7.3f} {row['times_chance']:6.1f} {same}"
        )
    rows = compression(documents, documents, omni.head.sample, arguments.draws)
    print(f"\n{'k':>3} {'bytes':>5} {'asymmetric':>10} {'oblivious':>10}   of the exact first ten found")
    for row in rows:
        print(f"{row['k']:3d} {row['bytes']:5d} {row['auto']:10.3f} {row['oblivious']:10.3f}")
    # Only directions with enough items can show it: five times chance is impossible below 50.
    enough = [row for row in table.values() if row["items"] >= ASKED * FIRST]
    result |= {"directions": table, "compression": rows, "asked_times_chance": ASKED}
    result["ok"] = bool(
        enough
        and all(row["times_chance"] >= ASKED for row in enough)
        and all(row["auto"] >= row["oblivious"] for row in rows)
        and result.get("head_cpu_seconds", 0) <= 120
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
