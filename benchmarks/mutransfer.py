"""Does what was tuned small hold large? Learning rates over width, depth, on a ResNet; embeddings; the cost of tuning.

    python benchmarks/mutransfer.py [--part PART] [--workers N] [--folder FOLDER] [--fashion FOLDER] [--docs FOLDER]

Parts (default all): width, depth, resnet, embedding, cost, reverse. Every run's result is kept in FOLDER/runs.jsonl, so the
same command goes on after it was stopped, and parts share their runs. Each part says first how long it should take.

The transformers learn the digit world in English, all modalities, at head_dim 32, with AdamW, for 256 steps of 640 ids:
warm-up over 30% of the steps, then a constant rate (in the cost part one that falls to 0 over the last 60%). The loss is the
training loss over the last eighth of the steps, modalities weighted by the recipe's shares. Learning rates lie a factor 2
apart and go on to either side until the best has two neighbours, under both parametrisations alike; under muP the best and
its neighbours have three seeds, and the smallest width's best rate six at every width, to see whether wider is better. The standard parametrisation is Tony's own at every width: fan-in initialisation, readout
from zero, one learning rate for all parameters. At the smallest width the two are the same bit for bit. Seeds fix batches
and initial draws, so runs of one seed compare.

    width      64 to 512 at depth 2       depth     2 to 8 at width 128
    resnet     32 to 128 channels, SGD with momentum on Fashion-MNIST and scikit-learn's digits, 5 seeds for muP
    embedding  the embeddings' own learning rate, 1 to 32 times the others', by width: where is it best?
    cost       8 random trials at width 64 on an eighth of the tokens, against the same 8 at the target (width 256)
    reverse    the standard parametrisation's best rate and first unstable rate at width 512, on a muP model of width 64 with
               base 512

With --docs a page with tables and pictures is written there. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from mutransfer_report import write_page
from mutransfer_resnet import FASHION_VARIABLE, load_pictures
from mutransfer_runs import ROOT, Results, Spec, prepare

from tony.tune import Curve, best_rate, drift, fit_optimum, regret, tuning_cost, wanted_runs, wider_is_better
from tony.tune.page import curves_page
from tony.tune.space import Choice, Range, random_point

MOST_DRIFT = 0.5  # factors of 2
MOST_DRIFT_OVER_DEPTH = 1.0
MOST_REGRET = 0.01
LEAST_WIDER = 0.98
MOST_COST = 0.07
DATA = ['data.languages=["en"]', "data.voices=16", "data.examples=30000"]
WAYS = ("muP", "standard")
EMBEDDING_FACTORS = tuple(2.0**power for power in range(6))
UNSTABLE = 1.25  # times the least loss of its own curve
HIGHEST = 0.0  # log2 of the rate at which the search for an unstable one ends
WARMUP = 0.3  # of the steps: wider need not be better before
ANNEALED = ("decay", 0.6)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Sweep:
    """Losses against the learning rate over sizes, under both parametrisations.

    specs: one a size under muP, the base first.   start: log2 of the first learning rate.
    """

    def __init__(self, results: Results, specs: Sequence[Spec], start: float, seeds: int, over: str) -> None:
        self.results, self.specs, self.start, self.seeds, self.over = results, specs, start, seeds, over

    def runs(self, spec: Spec, how: str) -> dict[tuple[float, int], float]:
        """Losses of what is known of a size, by (log2 lr, seed)."""
        found = {}
        for rate in np.arange(-16.0, 6.0):
            for seed in range(self.seeds):
                outcome = self.results.outcome(replace(spec, how=how, log2_lr=float(rate), seed=seed))
                if outcome:
                    found[float(rate), seed] = outcome.loss
        return found

    def wanted(self) -> list[Spec]:
        out = []
        chosen = best_rate(self.runs(self.specs[0], "muP"))
        for how in WAYS:
            for index, spec in enumerate(self.specs):
                if how == "standard" and index == 0:
                    continue
                seeds = range(self.seeds if how == "muP" else 1)
                start = self.start
                # Begun where theory has its best rate, so that a second minimum leads nobody astray.
                if how == "standard" and spec.task == "omni":
                    start -= round(math.log2(spec.width / spec.base_width))
                out += [
                    replace(spec, how=how, log2_lr=rate, seed=seed)
                    for rate, seed in wanted_runs(self.runs(spec, how), start, seeds, chosen=chosen)
                ]
        return out

    @property
    def expected_seconds(self) -> float:
        """Of what is not known yet: at each size 5 rates and 6 other seeds under muP, 7 rates under standard."""
        total = 0.0
        for index, spec in enumerate(self.specs):
            for how, runs in (("muP", 5 + 3 * (self.seeds - 1)), ("standard", 7 if index else 0)):
                total += spec.seconds * max(0, runs - len(self.runs(spec, how)))
        return total

    def size(self, spec: Spec) -> int:
        return spec.depth if self.over == "depth" else spec.width

    def curves(self) -> dict[str, list[Curve]]:
        return {how: [Curve.of(self.size(spec), self.runs(spec, how)) for spec in self.specs] for how in WAYS}

    def figures(self) -> dict[str, Any]:
        """Drifts, optima, regrets: what the issue asks for."""
        curves = self.curves()
        noises = {curve.size: noise for curve in curves["muP"] if (noise := curve.noise())}
        out: dict[str, Any] = {"over": self.over}
        for how, found in curves.items():
            moved = drift(found, noises)
            lost = regret(found[0], found[-1])
            out[how] = {
                "drift_log2": asdict(moved.spread), "shift_log2": asdict(moved.shift), "is_interior": moved.is_interior,
                "log2_lr": {str(size): asdict(at) for size, at in moved.optima.items()},
                "least_loss": {str(curve.size): float(curve.means[curve.best]) for curve in found},
                "regret": lost.relative if math.isfinite(lost.relative) else None, "regret_error": lost.error,
            }  # fmt: skip
        return out

    def paths(self, log2_lr: float, seeds: int) -> dict[int, list[float]]:
        """The seed mean of the loss along the way, at a learning rate under muP, over seeds that every size has."""
        specs = [replace(spec, log2_lr=log2_lr, seed=seed) for spec in self.specs for seed in range(seeds)]
        self.results.work_off(lambda: specs, say)
        found: dict[int, dict[int, list[float]]] = {}
        for spec in self.specs:
            for seed in range(seeds):
                outcome = self.results.outcome(replace(spec, log2_lr=log2_lr, seed=seed))
                if outcome and not outcome.diverged:
                    found.setdefault(self.size(spec), {})[seed] = [loss for _, loss in outcome.losses]
        common = set.intersection(*(set(by_seed) for by_seed in found.values()))
        return {size: np.mean([by[seed] for seed in common], axis=0).tolist() for size, by in found.items()}


def width_sweep(results: Results, settings: argparse.Namespace) -> Sweep:
    base = settings.widths[0]
    specs = [Spec(width=width, base_width=base, steps=settings.steps) for width in settings.widths]
    return Sweep(results, specs, -7.0, settings.seeds, "width")


def run_sweep(name: str, sweep: Sweep, results: Results, most_drift: float) -> dict[str, Any]:
    """Run a sweep, draw it, and judge its drift."""
    say(f"{name}: about {sweep.expected_seconds / results.workers / 60:.0f} minutes to go")
    seconds = results.work_off(sweep.wanted, say)
    figures = sweep.figures()
    figures["seconds"] = round(seconds, 1)
    mine = figures["muP"]
    figures["ok"] = bool(mine["is_interior"] and mine["drift_log2"]["value"] <= most_drift)
    results.curves[name] = sweep.curves()
    (results.folder / f"{name}.html").write_text(
        curves_page(f"muTransfer: {name}", sweep.curves(), sweep.over), encoding="utf-8"
    )
    return figures


def width_part(results: Results, settings: argparse.Namespace) -> dict[str, Any]:
    sweep = width_sweep(results, settings)
    figures = run_sweep("width", sweep, results, MOST_DRIFT)
    proxy = sweep.curves()["muP"][0]
    best = float(proxy.log2_lrs[proxy.best])
    # Twice the seeds: neighbours of the greatest widths differ by less than a seed does.
    for name, seeds in (
        ("wider_is_better", 2 * settings.seeds),
        ("wider_is_better_with_few_seeds", settings.seeds),
    ):
        share, pairs = wider_is_better(sweep.paths(best, seeds), warmup=WARMUP)
        figures[name] = {"share": share, "pairs": pairs, "log2_lr": best, "seeds": seeds}
    lost, error = figures["muP"]["regret"], figures["muP"]["regret_error"] or 0.0
    figures["ok"] = bool(
        figures["ok"]
        and lost is not None
        and lost <= max(MOST_REGRET, 2 * error)
        and figures["wider_is_better"]["share"] >= LEAST_WIDER
    )
    return figures


def depth_part(results: Results, settings: argparse.Namespace) -> dict[str, Any]:
    width, *depths = settings.depths
    specs = [
        Spec(width=width, depth=depth, base_width=width, base_depth=depths[0], steps=settings.steps)
        for depth in depths
    ]
    sweep = Sweep(results, specs, -7.0, settings.seeds, "depth")
    return run_sweep("depth", sweep, results, MOST_DRIFT_OVER_DEPTH)


def resnet_part(results: Results, settings: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for task, steps in (("fashion", settings.picture_steps), ("digits", settings.picture_steps // 6)):
        load_pictures(task)  # a set that is missing is said before the work
        specs = [
            Spec(task=task, width=width, base_width=settings.channels[0], steps=steps)
            for width in settings.channels
        ]
        sweep = Sweep(results, specs, -5.0, settings.picture_seeds, "width")
        figures[task] = run_sweep(task, sweep, results, MOST_DRIFT)
    figures["seconds"] = sum(figures[task]["seconds"] for task in ("fashion", "digits"))
    figures["ok"] = all(figures[task]["ok"] for task in ("fashion", "digits"))
    return figures


def embedding_part(results: Results, settings: argparse.Namespace) -> dict[str, Any]:
    """Where the embeddings' own learning rate is best, by width; a constant rule says slope 0, 1/sqrt(width) says -1/2."""
    narrow, wide = settings.widths[0], settings.widths[-1]

    def specs_of(width: int, factor: float) -> list[Spec]:
        values = () if factor == 1 else (("embedding_lr", factor),)
        spec = Spec(width=width, base_width=narrow, steps=settings.steps, values=values)
        return [replace(spec, seed=seed) for seed in range(1 if width == wide else 2)]

    specs = [
        spec for width in settings.widths for factor in EMBEDDING_FACTORS for spec in specs_of(width, factor)
    ]
    missing = [spec for spec in specs if results.outcome(spec) is None]
    say(f"embedding: about {sum(spec.seconds for spec in missing) / results.workers / 60:.0f} minutes to go")
    seconds = results.work_off(lambda: specs, say)

    powers = np.log2(EMBEDDING_FACTORS)

    def mean_losses(width: int, modality: str) -> list[float]:
        means = []
        for factor in EMBEDDING_FACTORS:
            outcomes = [results.known[spec.key] for spec in specs_of(width, factor)]
            losses = [o["loss"] if modality == "all" else o["by_modality"].get(modality) for o in outcomes]
            means.append(math.inf if None in losses else float(np.mean(losses)))
        return means

    out: dict[str, Any] = {"factors": EMBEDDING_FACTORS, "seconds": round(seconds, 1)}
    for name in ("all", "text", "image", "audio"):
        curves = {width: mean_losses(width, name) for width in settings.widths}
        found = {width: fit_optimum(powers, losses) for width, losses in curves.items()}
        optima = [at.log2_lr for at in found.values()]
        # What the widest gets by either rule from the narrowest's best factor.
        kept, falling = optima[0], optima[0] - 0.5 * math.log2(wide / narrow)
        by_rule = np.interp([kept, falling], powers, curves[wide])
        out[name] = {
            "slope": float(np.polyfit(np.log2(settings.widths), optima, 1)[0]),
            "constant_over_falling": float(by_rule[0] / by_rule[1] - 1),
            "widths": {
                str(width): {
                    "log2_factor": at.log2_lr,
                    "is_interior": at.is_interior,
                    "losses": curves[width],
                }
                for width, at in found.items()
            },
        }
    out["nearer_to"] = "constant" if out["all"]["slope"] > -0.25 else "1/sqrt(width)"
    out["ok"] = True  # a question: any answer will do
    return out


def cost_part(results: Results, settings: argparse.Namespace) -> dict[str, Any]:
    """The same random trials at the proxy, on an eighth of the tokens, and at the target."""
    narrow, wide = settings.widths[0], settings.target
    space = {
        "lr": Range(2.0**-9, 2.0**-5),
        "output_scale": Choice((0.5, 1.0, 2.0)),
        "embedding_scale": Choice((0.5, 1.0, 2.0)),
    }
    points = [random_point(space, 0, index) for index in range(settings.trials)]

    def specs(width: int, steps: int) -> list[Spec]:
        return [
            Spec(width=width, base_width=narrow, steps=steps, log2_lr=math.log2(point["lr"]),
                 values=(*((name, value) for name, value in point.items() if name != "lr"), ANNEALED))
            for point in points
        ]  # fmt: skip

    proxies, targets = specs(narrow, settings.target_steps // 8), specs(wide, settings.target_steps)
    missing = [spec for spec in (*proxies, *targets) if results.outcome(spec) is None]
    say(f"cost: about {sum(spec.seconds for spec in missing) / results.workers / 60:.0f} minutes to go")
    seconds = results.work_off(lambda: [*proxies, *targets], say)
    small, large = ([results.outcome(spec) for spec in group] for group in (proxies, targets))
    assert all(small) and all(large)
    chosen = int(np.argmin([outcome.loss for outcome in small]))
    best = int(np.argmin([outcome.loss for outcome in large]))
    cost = tuning_cost(
        [(outcome.parameters, outcome.tokens) for outcome in small], (large[0].parameters, large[0].tokens)
    )
    lost = large[chosen].loss / large[best].loss - 1
    return {
        "trials": settings.trials, "cost_share": cost, "chosen": points[chosen], "best_at_target": points[best],
        "loss_transferred": large[chosen].loss, "loss_tuned_directly": large[best].loss, "regret": lost,
        "losses": {"proxy": [o.loss for o in small], "target": [o.loss for o in large]}, "points": points,
        "parameters": [small[0].parameters, large[0].parameters], "tokens": [small[0].tokens, large[0].tokens],
        "seconds": round(seconds, 1), "ok": bool(cost <= MOST_COST and lost <= MOST_REGRET),
    }  # fmt: skip


def reverse_part(results: Results, settings: argparse.Namespace) -> dict[str, Any]:
    """Tensor Programs V, appendix: with the wide model as base, a narrow one is unstable where the wide one is.

    The standard parametrisation at the greatest width is muP relative to that width, so a narrow muP model with that base
    should have the wide one's curve, its best rate and its rates that fail, at a small part of the cost.
    """
    wide, narrow = max(settings.widths), min(settings.widths)
    sweep = width_sweep(results, settings)
    if not sweep.runs(sweep.specs[-1], "standard"):
        say("reverse: needs the runs of --part width")
        return {"ok": False, "reason": "run --part width first"}

    def next_rate() -> list[Spec]:
        """The wide model's next rate, until one is unstable."""
        known = {rate: loss for (rate, _), loss in sweep.runs(sweep.specs[-1], "standard").items()}
        highest = max(known)
        if known[highest] > UNSTABLE * min(known.values()) or highest >= HIGHEST:
            return []
        return [replace(sweep.specs[-1], how="standard", log2_lr=highest + 1)]

    results.work_off(next_rate, say)
    large = sweep.runs(sweep.specs[-1], "standard")
    rates = sorted({rate for rate, _ in large})
    specs = [
        Spec(width=narrow, base_width=base, steps=settings.steps, log2_lr=rate, seed=seed)
        for base in (wide, narrow)
        for rate in rates
        for seed in range(settings.seeds)
    ]
    say(
        f"reverse: about {sum(s.seconds for s in specs if results.outcome(s) is None) / results.workers / 60:.0f} minutes to go"
    )
    seconds = results.work_off(lambda: specs, say)
    copies, plain = (
        {(spec.log2_lr, spec.seed): results.outcome(spec).loss for spec in specs if spec.base_width == base}
        for base in (wide, narrow)
    )
    curves = [Curve.of(wide, large), Curve.of(narrow, copies), Curve.of(narrow, plain)]
    at = {
        name: curve.optimum().log2_lr for name, curve in zip(("wide", "copy", "narrow"), curves, strict=True)
    }

    def unstable(curve: Curve) -> set[float]:
        """Rates above the best one at which the loss is lost."""
        bad = curve.means > UNSTABLE * curve.means[curve.best]
        return {
            float(rate)
            for rate, is_bad in zip(curve.log2_lrs[curve.best :], bad[curve.best :], strict=True)
            if is_bad
        }

    first = {
        name: min(unstable(curve), default=None)
        for name, curve in zip(("wide", "copy", "narrow"), curves, strict=True)
    }
    known = first["wide"] is not None and first["copy"] is not None
    return {
        "log2_lr": at, "first_unstable_log2_lr": first, "seconds": round(seconds, 1),
        "curves": {name: {str(rate): (loss if math.isfinite(loss) else None) for rate, loss in zip(c.log2_lrs, c.means, strict=True)}
                   for name, c in zip(("wide", "copy", "narrow"), curves, strict=True)},
        "ok": bool(known and abs(first["wide"] - first["copy"]) <= 1 and abs(at["wide"] - at["copy"]) < abs(at["wide"] - at["narrow"])),
    }  # fmt: skip


PARTS: dict[str, Callable[[Results, argparse.Namespace], dict[str, Any]]] = {
    "width": width_part, "reverse": reverse_part, "depth": depth_part, "resnet": resnet_part,
    "embedding": embedding_part, "cost": cost_part,
}  # fmt: skip


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--folder", type=Path, default=Path("runs/mutransfer"))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "digits.toml")
    parser.add_argument("--fashion", type=Path, help="folder of Debian's dataset-fashion-mnist")
    parser.add_argument("--docs", type=Path, help="folder that gets the page of what was found")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument(
        "--depths", type=int, nargs="+", default=[128, 2, 4, 8], help="the width, then the depths"
    )
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--picture-steps", type=int, default=500)
    parser.add_argument("--picture-seeds", type=int, default=5)
    parser.add_argument("--target", type=int, default=256, help="width of the cost part's target")
    parser.add_argument("--target-steps", type=int, default=1600)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--set", dest="overrides", nargs="*", default=DATA, help="of the recipe's data")
    return parser.parse_args()


def main() -> None:
    settings = read_arguments()
    if settings.fashion:
        os.environ[FASHION_VARIABLE] = str(settings.fashion)
    parts = list(PARTS) if settings.part == "all" else [settings.part]
    if parts != ["resnet"]:
        prepare(settings.folder, settings.recipe, tuple(settings.overrides))
    settings.folder.mkdir(parents=True, exist_ok=True)
    results = Results(settings.folder, settings.workers)
    found = {}
    for part in parts:
        found[part] = PARTS[part](results, settings)
        say(f"{part}: {json.dumps(found[part])}")
    if settings.docs:
        write_page(settings.docs, found, results.curves)
    spent = sum(outcome["seconds"] for outcome in results.known.values())
    print(
        json.dumps(
            {**found, "run_seconds": round(spent, 1), "ok": all(part["ok"] for part in found.values())}
        )
    )


if __name__ == "__main__":
    main()
