"""Asymmetric random projections beside what people use: error, accuracy, retrieval, regression, matrix products, time.

    python benchmarks/projections.py [--only NAME ...] [--draws N] [--docs FOLDER]

Each part prints a table and returns figures; every peer is measured in the same run on the same rows:

    predicted    closed-form error beside Monte Carlo, every method and projection, synthetic sources
    digits       digits x class weights beside scikit-learn's GaussianRandomProjection, held-out halves
    accuracy     logistic regression refitted on projected digits
    text         docstring x function body, TF-IDF, d = 1000, held-out halves
    recall       own function among the first ten, d = 2000; FAISS PCA and truncation beside it
    regression   ridge refitted at k = d/8 on real tables
    fit          time of the low-rank fit at d = 2000, and how much of the full method's gain it keeps
    matmul       4,096 x 4,096 matrices: error against time
    protocol     scikit-learn's check_estimator

With --docs the plots and the table are written there. FAISS (faiss-cpu) and pandas are used where installed. The last
line is one JSON object; "ok" is true where all that was asked is reached by the parts that ran.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import projections_data as data
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils.estimator_checks import check_estimator

from tony.projections import AsymmetricRandomProjection, ProjectionWarning
from tony.projections.selection import METHODS
from tony.projections.variance import PROJECTIONS

Rows = list[list]


def squared_error(estimate: np.ndarray, truth: np.ndarray) -> float:
    return float(np.square(estimate - truth).mean())


def draws_of(fitted: AsymmetricRandomProjection, draws: int, measure: Callable) -> np.ndarray:
    """`measure` of that many redraws of a fitted projection."""
    return np.array([measure(fitted.redraw(seed)) for seed in range(draws)])


def table(title: str, head: list[str], rows: Rows) -> str:
    def text(value) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [f"\n### {title}\n", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(text(value) for value in row) + " |" for row in rows]
    print("\n".join(lines), flush=True)
    return "\n".join(lines)


def predicted(draws: int, docs: Path | None) -> dict:
    rng = np.random.default_rng(0)
    width, k = 32, 8
    mix = (
        rng.normal(size=(2, width, width))
        * np.stack([np.linspace(0.1, 2, width), np.linspace(2, 0.1, width)])[:, :, None]
    )
    x, w = (rng.normal(size=(4000, width)) @ m for m in mix)
    few_x, few_w = x[:300], w[:300]
    truth, rows, worst = few_x @ few_w.T, [], 0.0
    for method in METHODS:
        for projection in PROJECTIONS if method not in ("unbiased-optimal", "truncated") else ("gaussian",):
            fitted = AsymmetricRandomProjection(k, method, projection, random_state=0).fit(x, other=w)
            found = draws_of(
                fitted, 4 * draws, lambda one: squared_error(one.inner_products(few_x, few_w), truth)
            )
            ratio = fitted.expected_error(X=few_x, other=few_w) / found.mean()
            worst = max(worst, abs(ratio - 1))
            rows.append([method, projection, float(found.mean()), ratio])
    text = table(
        "Predicted error over Monte Carlo",
        ["method", "projection", "mean squared error", "predicted / measured"],
        rows,
    )
    return {"table": text, "worst_deviation": worst, "ok": worst <= 0.10}


def digits(draws: int, docs: Path | None) -> dict:
    pixels, label = data.digits()
    weights = data.class_weights(pixels, label)
    x, w = pixels[1::2], weights[1::2]
    truth = x @ w.T
    scale, rows, ratios, curves = np.square(truth).mean(), [], {}, {}
    for k in (4, 8, 16, 32):
        plain = []
        for seed in range(draws):
            theirs = GaussianRandomProjection(k, random_state=seed).fit(pixels[::2])
            plain.append(squared_error(theirs.transform(x) @ theirs.transform(w).T, truth))
        curves.setdefault("scikit-learn Gaussian", {})[k] = np.mean(plain) / scale
        rows.append([k, "scikit-learn Gaussian", float(np.mean(plain) / scale), 1.0, "", ""])
        for method in METHODS[2:]:
            fitted = AsymmetricRandomProjection(k, method, random_state=0).fit(
                pixels[::2], other=weights[::2]
            )
            found = draws_of(fitted, draws, lambda one: squared_error(one.inner_products(x, w), truth))
            ratios[f"{method} k={k}"] = ratio = float(np.mean(plain) / found.mean())
            curves.setdefault(method, {})[k] = found.mean() / scale
            spread = float(found.std() / np.sqrt(draws) / scale)
            rows.append(
                [
                    k,
                    method,
                    float(found.mean() / scale),
                    ratio,
                    spread,
                    fitted.expected_error() / found.mean(),
                ]
            )
    head = ["k", "method", "error / mean square", "times below scikit-learn", "+-", "predicted / measured"]
    text = table("Digits x class weights, held out", head, rows)
    if docs:
        plot(
            docs / "projections-digits.png",
            curves,
            "numbers kept (of 64)",
            "squared error / mean square",
            "Digits x class weights",
        )
    ok = min(ratios[f"full k={k}"] for k in (4, 8, 16, 32)) >= 3
    ok &= ratios["hybrid k=16"] >= 10 and ratios["hybrid k=32"] >= 20
    return {"table": text, "times_below": ratios, "ok": bool(ok)}


def accuracy(draws: int, docs: Path | None) -> dict:
    pixels, label = data.digits()
    methods, rows, points = ("diagonal", "full", "auto", "unbiased-optimal", "truncated"), [], {}
    for k in (8, 16):
        found: dict[str, list] = {}
        splits = StratifiedShuffleSplit(10, test_size=0.4, random_state=0).split(pixels, label)
        for split, (seen, unseen) in enumerate(splits):
            fits = {
                m: AsymmetricRandomProjection(k, m, random_state=split).fit(pixels[seen], label[seen])
                for m in methods
            }
            for draw in range(-(-draws // 10)):
                seed = 100 * split + draw
                models = {m: fitted.redraw(seed) for m, fitted in fits.items()}
                models["scikit-learn Gaussian"] = GaussianRandomProjection(k, random_state=seed).fit(
                    pixels[seen]
                )
                for name, model in models.items():
                    if name == "truncated" and draw:
                        continue
                    classifier = LogisticRegression(max_iter=500).fit(
                        model.transform(pixels[seen]), label[seen]
                    )
                    found.setdefault(name, []).append(
                        classifier.score(model.transform(pixels[unseen]), label[unseen])
                    )
        plain = np.mean(found["scikit-learn Gaussian"])
        for name, scores in found.items():
            points[f"{name} k={k}"] = float(100 * (np.mean(scores) - plain))
            rows.append(
                [
                    k,
                    name,
                    f"{np.mean(scores):.3f}",
                    f"{np.std(scores):.3f}",
                    f"{100 * (np.mean(scores) - plain):+.1f}",
                ]
            )
    head = ["k", "features", "accuracy", "sd over draws and splits", "points over scikit-learn"]
    text = table("Digits: logistic regression refitted on projected features", head, rows)
    return {"table": text, "points": points, "ok": points["auto k=8"] >= 10}


def text_pairs(draws: int, docs: Path | None) -> dict:
    notes, bodies = data.tfidf_pairs(1000)
    half = notes.shape[0] // 2
    x, w = notes[half : half + 1000], bodies[half : half + 1000]
    truth, k, rows, ratios = (x @ w.T).toarray(), 128, [], {}
    plain = []
    for seed in range(draws):
        theirs = GaussianRandomProjection(k, random_state=seed).fit(x)
        plain.append(squared_error(theirs.transform(x) @ theirs.transform(w).T, truth))
    settings = [(m, "auto") for m in ("diagonal", "low-rank", "full", "hybrid")] + [("full", 0.0)]
    for method, shrinkage in settings:
        fitted = AsymmetricRandomProjection(k, method, shrinkage=shrinkage, random_state=0)
        fitted.fit(notes[:half], other=bodies[:half])
        few = draws if shrinkage == "auto" else 5
        found = draws_of(fitted, few, lambda one: squared_error(one.inner_products(x, w), truth))
        ratios[f"{method} {shrinkage}"] = ratio = float(np.mean(plain) / found.mean())
        rows.append([method, shrinkage, ratio, fitted.gain_over_oblivious_, str(fitted.report_.balancing)])
    head = ["method", "shrinkage", "times below scikit-learn", "gain announced", "balancing"]
    text = table(f"TF-IDF, docstring x function body, d = 1000, k = {k}, {2 * half} pairs", head, rows)
    ok = ratios["full auto"] >= 1.25 and ratios["full 0.0"] < 1
    return {"table": text, "times_below": ratios, "ok": bool(ok)}


def first_ten(scores: np.ndarray) -> float:
    """Share of rows whose own column is among the ten highest."""
    return float(np.mean((scores > np.diag(scores)[:, None]).sum(axis=1) < 10))


def recall(draws: int, docs: Path | None) -> dict:
    notes, bodies = data.tfidf_pairs(2000)
    half = notes.shape[0] // 2
    x, w = notes[half:], bodies[half:]
    exact, rows, curves, behind = first_ten((x @ w.T).toarray()), [], {}, []
    for k in (32, 64, 128, 256, 512):
        for method in ("oblivious", "diagonal", "low-rank", "auto"):
            fitted = AsymmetricRandomProjection(k, method, random_state=0).fit(
                notes[:half], other=bodies[:half]
            )
            found = draws_of(fitted, draws, lambda one: first_ten(one.inner_products(x, w)))
            curves.setdefault(method, {})[k] = float(found.mean())
            rows.append(
                [
                    k,
                    method,
                    f"{found.mean():.3f}",
                    f"{found.std() / np.sqrt(draws):.4f}",
                    f"{fitted.gain_over_oblivious_:.2f}",
                ]
            )
        if curves["auto"][k] < curves["oblivious"][k] or curves["low-rank"][k] < curves["oblivious"][k]:
            behind.append(k)
        pooled = faiss_pca(notes[:half], bodies[:half], x, w, k)
        if pooled is not None:
            curves.setdefault("FAISS PCA", {})[k] = pooled
            rows.append([k, "FAISS PCA of both sources", f"{pooled:.3f}", "", ""])
    cut = AsymmetricRandomProjection(32, "truncated", shrinkage=0.3, random_state=0)
    cut.fit(notes[:half], other=bodies[:half])
    for k in (32, 64, 128, 256, 512):
        one = first_ten(cut.redraw(0, n_components=k).inner_products(x, w))
        curves.setdefault("truncated", {})[k] = one
        rows.append([k, "truncated", f"{one:.3f}", "", ""])
    title = f"recall@10 of the own function, d = 2000, {half} held-out pairs (exact {exact:.3f})"
    text = table(title, ["k", "method", "recall@10", "+-", "gain in error"], sorted(rows, key=lambda r: r[0]))
    if docs:
        plot(
            docs / "projections-recall.png",
            curves,
            "numbers kept (of 2,000)",
            "recall@10",
            title,
            log=False,
            level=exact,
        )
    return {"table": text, "recall": curves, "exact": exact, "behind_oblivious_at": behind, "ok": not behind}


def faiss_pca(notes, bodies, x, w, k: int) -> float | None:
    """recall@10 by the inner products of FAISS's PCA trained on both sources together; None without FAISS."""
    try:
        import faiss
    except ImportError:
        return None
    pca = faiss.PCAMatrix(notes.shape[1], k)
    pca.train(np.vstack([notes.toarray(), bodies.toarray()]).astype(np.float32))
    left, right = (pca.apply(np.ascontiguousarray(m.toarray(), dtype=np.float32)) for m in (x, w))
    return first_ten(left @ right.T)


def regression(draws: int, docs: Path | None) -> dict:
    rows, ratios = [], {}
    for name, (x, y) in data.regressions().items():
        k, y = x.shape[1] // 8, y.reshape(len(x), -1)
        found: dict[str, list] = {}
        for split, (seen, unseen) in enumerate(ShuffleSplit(5, test_size=0.5, random_state=0).split(x)):

            def error(one=None, seen=seen, unseen=unseen, x=x, y=y) -> float:
                z = x if one is None else one.transform(x)
                model = RidgeCV(np.logspace(-6, 6, 13)).fit(z[seen], y[seen])
                spread = np.square(y[unseen] - y[seen].mean(axis=0)).mean()
                return squared_error(model.predict(z[unseen]).reshape(y[unseen].shape), y[unseen]) / spread

            found.setdefault("all features", []).append(error())
            for method in ("full", "auto", "truncated"):
                fitted = AsymmetricRandomProjection(k, method, random_state=split).fit(x[seen], y[seen])
                found.setdefault(method, []).extend(draws_of(fitted, -(-draws // 5), error))
            for seed in range(-(-draws // 5)):
                theirs = GaussianRandomProjection(k, random_state=seed).fit(x[seen])
                found.setdefault("oblivious", []).append(error(theirs))
        mean = {key: float(np.mean(value)) for key, value in found.items()}
        ratios[name] = mean["auto"] / mean["oblivious"]
        cells = [mean[m] for m in ("all features", "oblivious", "full", "auto", "truncated")]
        rows.append([name, f"{len(x)} x {x.shape[1]}", k, *cells, ratios[name]])
    head = [
        "data",
        "rows x features",
        "k",
        "all features",
        "oblivious",
        "full",
        "auto",
        "truncated",
        "auto / oblivious",
    ]
    text = table(
        "Regression: share of the variance not explained, held out, ridge on k = d/8 numbers", head, rows
    )
    reached = sum(ratio <= 0.8 for ratio in ratios.values())
    return {"table": text, "ratios": ratios, "reached": reached, "ok": reached >= 3}


def fit_time(draws: int, docs: Path | None) -> dict:
    rng = np.random.default_rng(0)
    width, rows, rank = 2000, 6000, 24
    spectra = np.concatenate([np.geomspace(30, 3, rank), np.full(width - rank, 0.05)])
    turns = [np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(2)]
    x, w = ((rng.normal(size=(rows, width)) * spectra) @ turn for turn in turns)
    began, worked = time.perf_counter(), time.process_time()
    fitted = AsymmetricRandomProjection(64, "low-rank", random_state=0).fit(x, other=w)
    wall, work = time.perf_counter() - began, time.process_time() - worked
    # From the true moments A and B: the optimum of every change of coordinates is (sum of the singular values of
    # A^1/2 B^1/2)^2 in place of tr A tr B, and a draw's error over all pairs is |A^1/2 (P_left^T P_right - I) B^1/2|^2.
    left, right = (spectra[:, None] * turn for turn in turns)
    common = left @ right.T
    alike = np.square(common).sum()
    plain = np.square(spectra).sum() ** 2 + alike
    optimum = np.linalg.svd(common, compute_uv=False).sum() ** 2 + alike
    errors = []
    for seed in range(10):
        one = fitted.redraw(seed)
        estimate = (left @ one.components_left_.T) @ (right @ one.components_right_.T).T
        errors.append(np.square(estimate - common).sum())
    kept = float(optimum / (64 * np.mean(errors)))
    text = table(
        "Low-rank fit, d = 2000, 6,000 rows a side",
        ["seconds", "CPU seconds", "full gain possible", "share kept"],
        [[wall, work, float(plain / optimum), kept]],
    )
    return {
        "table": text,
        "seconds": wall,
        "cpu_seconds": work,
        "kept": kept,
        "ok": bool(wall <= 10 and kept >= 0.9),
    }


def matmul(draws: int, docs: Path | None) -> dict:
    rng = np.random.default_rng(0)
    size = 4096
    a = (rng.normal(size=(size, size)) * np.geomspace(1, 0.01, size)).astype(np.float32)
    b = (rng.permutation(np.geomspace(1, 0.01, size))[:, None] * rng.normal(size=(size, size))).astype(
        np.float32
    )
    exactly = []
    for _ in range(5):
        began = time.perf_counter()
        truth = a @ b
        exactly.append(time.perf_counter() - began)
    exact = float(np.median(exactly))
    norm, rows, curves, ratios = float(np.square(truth, dtype=np.float64).sum()), [], {}, []
    columns, fitted_in = b.T.copy(), {}
    for k in (64, 128, 256, 512):
        fits, fitting, times = {}, {}, {}
        for method in ("oblivious", "diagonal", "low-rank"):
            began = time.perf_counter()
            fits[method] = AsymmetricRandomProjection(k, method, shrinkage=0.0, random_state=0)
            fits[method].fit(a, other=columns)
            fitting[method] = time.perf_counter() - began
            fitted_in.setdefault(method, []).append(fitting[method])
        estimates = {}
        for _ in range(9):  # in turn, so that a busy moment of the machine meets all alike
            for method, fitted in fits.items():
                began = time.perf_counter()
                estimates[method] = fitted.inner_products(a, columns)
                times.setdefault(method, []).append(time.perf_counter() - began)
        for method, fitted in fits.items():
            error = float(np.square(estimates[method] - truth, dtype=np.float64).sum()) / norm
            once = float(np.median(times[method]))
            announced = fitted.expected_error() * truth.size / norm
            curves.setdefault(f"{method}, once fitted", {})[once] = error
            slower = float(np.median(np.divide(times[method], times["oblivious"])))
            ratios.append(slower)
            rows.append([k, method, fitting[method], once, slower, error, announced])
    rows.append(["", "exact", 0.0, exact, "", 0.0, 0.0])
    head = [
        "k",
        "method",
        "seconds to fit",
        "seconds once fitted",
        "over oblivious",
        "squared error / |AB|^2",
        "announced",
    ]
    text = table("4,096 x 4,096 product, float32", head, rows)
    if docs:
        for method, seconds in fitted_in.items():  # which do not depend on k
            points = curves[f"{method}, once fitted"].items()
            curves[method] = {float(np.median(seconds)) + once: error for once, error in points}
        plot(
            docs / "projections-matmul.png",
            curves,
            f"seconds, fitting included but where it says otherwise (exact product: {exact:.2f} s)",
            "squared error / |AB|^2",
            "4,096 x 4,096 matrix product",
            mark=exact,
        )
    return {
        "table": text,
        "slower_than_oblivious": max(ratios),
        "exact_seconds": exact,
        "ok": max(ratios) <= 1.15,
    }


def protocol(draws: int, docs: Path | None) -> dict:
    failed, count = [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        for method in METHODS:
            results = check_estimator(AsymmetricRandomProjection(method=method), on_fail=None)
            count += len(results)
            failed += [f"{method}: {one['check_name']}" for one in results if one["status"] == "failed"]
    print(
        f"\ncheck_estimator: {count} checks over {len(METHODS)} methods, failed: {failed or 'none'}",
        flush=True,
    )
    return {"checks": count, "failed": failed, "ok": not failed}


def plot(path: Path, curves: dict, across: str, up: str, title: str, log=True, level=None, mark=None) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    colours: dict[str, str] = {}
    for name, curve in curves.items():
        base = name.removesuffix(", once fitted")
        line = axes.plot(
            list(curve),
            list(curve.values()),
            marker="o",
            label=name,
            color=colours.get(base),
            linestyle="-" if base == name else "--",
        )
        colours[base] = line[0].get_color()
    if level is not None:
        axes.axhline(level, color="black", linestyle=":", label="exact")
    if mark is not None:
        axes.axvline(mark, color="black", linestyle=":", label="exact product")
    axes.set(xscale="log", xlabel=across, ylabel=up, title=title)
    if log:
        axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis) if log else (axes.xaxis,):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def write_table(path: Path, name: str, text: str) -> None:
    """Put one part's table into the page of all tables, in the order of the parts, in place of what it said before."""
    sections = {}
    if path.exists():
        for section in path.read_text().split("\n<!-- part: ")[1:]:
            part, _, old = section.partition(" -->\n")
            sections[part] = old.strip()
    if text:
        sections[name] = text.strip()
    head = (
        "# Asymmetric random projections: measured\n\nWritten by `benchmarks/projections.py --docs docs`.\n"
    )
    body = [f"\n<!-- part: {part} -->\n{sections[part]}\n" for part in PARTS if part in sections]
    path.write_text(head + "".join(body))


PARTS = {
    "predicted": predicted,
    "digits": digits,
    "accuracy": accuracy,
    "text": text_pairs,
    "recall": recall,
    "regression": regression,
    "fit": fit_time,
    "matmul": matmul,
    "protocol": protocol,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--docs", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", ProjectionWarning)
    figures, tables = {"load": os.getloadavg()[0]}, []
    for name in asked.only:
        began = time.perf_counter()
        found = PARTS[name](asked.draws, asked.docs)
        tables.append(found.pop("table", ""))
        figures[name] = {**found, "minutes": round((time.perf_counter() - began) / 60, 1)}
        if asked.docs:
            write_table(asked.docs / "projections-measured.md", name, tables[-1])
    figures["ok"] = all(figures[name]["ok"] for name in asked.only)
    print(json.dumps(figures, default=float))


if __name__ == "__main__":
    main()
