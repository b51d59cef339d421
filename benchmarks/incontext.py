"""Do larger models make better use of the examples in their prompt? A ladder trained on text that holds such patterns.

    python benchmarks/incontext.py [--work DIR] [--docs docs]

Makes the text (incontext_data.py: blocks of worked examples of one rule each, among definitions), trains models of four widths on
the same ids with muP settings, and asks each with `evaluate_fewshot` 0 to 16 worked examples of GPT-3's five scrambles, of rules
that are in the text, and of pairs of steps that never are; always about words that are in no worked example of the text. The
text that each model sees is the same, so only size and examples differ. It goes on where it was stopped.

Writes incontext-measured.md and incontext.png to --docs. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from incontext_data import tasks, write_corpus
from tables import markdown

from tony.engine.exchange.folder import load_language_model
from tony.evals.fewshot import Settings, evaluate_fewshot
from tony.evals.fewshot.figures import Line, write_curves
from tony.evals.intervals import wilson
from tony.model.machine import prepare_threads
from tony.runs import load_recipe
from tony.train.progress import Terminal
from tony.train.start import train_run

RECIPE = Path(__file__).with_name("incontext.toml")
WIDTHS = (32, 64, 128, 256)
SHOTS = (0, 1, 2, 4, 8, 16)


def train(width: int, work: Path) -> tuple[Path, dict[str, Any]]:
    """The finished run of one width, and its figures."""
    changes = [f"name=incontext-{width}", f"model.width={width}", f"data.path={work / 'text'}"]
    with Terminal() as reporter:
        run, figures = train_run(load_recipe(RECIPE, changes), work / "runs", reporter)
    return run.path, figures


def ask(run: Path, seeds: int, items: int) -> dict[str, dict[int, list[tuple[int, int]]]]:
    """By family and K: right answers and questions, of each seed."""
    source, families = load_language_model(run), tasks()
    family_of = {task.name: name for name, own in families.items() for task in own}
    counts: dict[str, dict[int, list[tuple[int, int]]]] = {name: {k: [] for k in SHOTS} for name in families}
    for seed in range(seeds):
        settings = Settings(shots=SHOTS, items=items, seed=seed)
        everything = [task for own in families.values() for task in own]
        result = evaluate_fewshot(source, everything, settings, run / f"evals-{seed}")
        assert not result["errors"], result["errors"]
        for family in families:
            for k in SHOTS:
                rows = [r for r in result["results"] if family_of[r["task"]] == family and r["shots"] == k]
                right = sum(round(r["value"] * r["n"]) for r in rows)
                counts[family][k].append((right, sum(r["n"] for r in rows)))
    return counts


def line(label: str, counts: dict[int, list[tuple[int, int]]]) -> Line:
    """All seeds together, with the Wilson interval."""
    points = []
    for k, pairs in counts.items():
        right, n = map(sum, zip(*pairs, strict=True))
        points.append((k, *(100 * share for share in (right / n, *wilson(right / n, n)))))
    return Line(label, tuple(points))


def gain(own: Line) -> float:
    """Accuracy with the most examples, less that with one, in points."""
    values = {k: value for k, value, _, _ in own.points}
    return values[max(SHOTS)] - values[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=None, help="where text and runs are kept")
    parser.add_argument("--docs", type=Path, default=None)
    parser.add_argument("--documents", type=int, default=2_200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--items", type=int, default=40, help="questions a task, K and seed")
    args = parser.parse_args()
    prepare_threads()
    work = args.work or Path(tempfile.mkdtemp(prefix="tony-incontext-"))
    (work / "text").mkdir(parents=True, exist_ok=True)
    if not (work / "text" / "patterns.jsonl").exists():
        write_corpus(work / "text" / "patterns.jsonl", args.documents)
    models: dict[int, dict[str, Any]] = {}
    lines: dict[str, list[Line]] = {}
    for width in WIDTHS:
        run, figures = train(width, work)
        began = time.perf_counter()
        counts = ask(run, args.seeds, args.items)
        models[width] = {
            "parameters": figures["parameters"],
            "tokens": figures["tokens"],
            "heldout_nats_a_byte": round(figures["heldout_by_modality"]["text"], 4),
            "seconds_trained": round(figures["seconds"]),
            "seconds_asked": round(time.perf_counter() - began),
        }
        print(f"width {width}: {models[width]}", flush=True)
        label = f"{figures['parameters'] / 1e6:.2g} M parameters"
        for family, own in counts.items():
            lines.setdefault(family, []).append(line(label, own))
            shown = "  ".join(f"{k}: {v:.1f}" for k, v, _, _ in lines[family][-1].points)
            print(f"  {family:14} {shown}", flush=True)
    if args.docs:
        write_page(args.docs, models, lines, args.seeds, args.items)
    gains = {family: [round(gain(own), 1) for own in several] for family, several in lines.items()}
    print(json.dumps({"models": models, "points_gained_from_1_to_16_examples": gains}))


def write_page(
    folder: Path, models: dict[int, dict[str, Any]], lines: dict[str, list[Line]], seeds: int, items: int
) -> None:
    write_curves(lines, folder / "incontext.png")
    text = [
        "# Examples in the prompt, by model size: measured",
        "Written by `benchmarks/incontext.py --docs docs`. Models of four widths (depth 6, muP) see the same text of bytes, a fifth of it "
        "WordNet's definitions, the rest blocks of worked examples of one rule each. Asked about words that are in none of its examples: "
        "GPT-3's five scrambles; eight rules that are in the text; eight pairs of steps that are not. "
        f"{items} questions a task and K, {seeds} draws of questions and examples; % right with the 95% Wilson interval of all.",
        "![Accuracy against the number of examples, a line a model](incontext.png)",
        markdown(
            ("width", "parameters", "ids trained on", "held-out nats a byte", "seconds of training"),
            [
                (
                    w,
                    f"{m['parameters']:,}",
                    f"{m['tokens']:,}",
                    m["heldout_nats_a_byte"],
                    m["seconds_trained"],
                )
                for w, m in models.items()
            ],
        ),
    ]
    gains = "; ".join(
        f"{family} {', '.join(f'{gain(own):+.1f}' for own in several)}" for family, several in lines.items()
    )
    text.append(
        f"Points gained from 1 to {max(SHOTS)} examples, from the smallest model to the largest: {gains}."
    )
    for family, several in lines.items():
        rows = [
            (own.label, *(f"{v:.1f} ({low:.1f}-{high:.1f})" for _, v, low, high in own.points))
            for own in several
        ]
        text += [f"## {family.capitalize()}", markdown(("model", *(f"K={k}" for k in SHOTS)), rows)]
    (folder / "incontext-measured.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
