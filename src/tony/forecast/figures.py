"""Pictures of a report: loss against compute with the frontier, iso-FLOP profiles, and what the law leaves over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.forecast.fit import predict
from tony.forecast.frontier import pareto
from tony.forecast.interval import LEVEL
from tony.forecast.report import Report
from tony.forecast.table import Runs

INK, ACCENT, SOFT = "#1f2933", "#c2410c", "#9aa5b1"
STYLE = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "text.color": INK, "axes.grid": True,
    "grid.color": "#e4e7eb", "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "figure.dpi": 150, "axes.titlelocation": "left", "axes.titlesize": 11, "axes.titleweight": "bold",
}  # fmt: skip
COLOURS = "viridis"
AXES = {"c": "compute", "p": "size", "t": "data"}  # by the first letter of the axis' label


def draw(report: Report, folder: str | Path, at: list[dict[str, float]] | None = None) -> list[Path]:
    """Write compute.png, isoflop.png (where there are profiles) and residuals.png below `folder`.

    Args:
        at: forecasts to mark, each with its N, D, C, and "loss" where that was measured since.

    Raises:
        TonyError: the folder cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TonyError(f"{folder}: cannot be written ({error.strerror}). Choose another folder") from None
    drawn = []
    pictures = {"compute": _compute, "residuals": _residuals}
    if report.isoflops is not None:
        pictures["isoflop"] = _isoflop
    for name, make in pictures.items():
        with pyplot.rc_context(STYLE):
            figure = make(pyplot, report, at or [])
            path = folder / f"{name}.png"
            figure.savefig(path)
            pyplot.close(figure)
        drawn.append(path)
    return drawn


def _compute(pyplot: Any, report: Report, at: list[dict[str, float]]) -> Any:
    """Loss against compute: every row, the law along it, and the forecasts with their intervals."""
    runs, law = report.runs, report.law
    figure, axes = pyplot.subplots(figsize=(8.2, 4.8), layout="constrained")
    x, label = _abscissa(runs)
    _scatter(figure, axes, runs, x, runs.loss)
    if runs.has("C") and report.frontier is not None:
        rows = pareto(runs.c, runs.loss)
        axes.plot(
            runs.c[rows],
            runs.loss[rows],
            "o",
            mfc="none",
            mec=INK,
            ms=8 if len(rows) <= 40 else 4,  # of long curves nearly every row is on the frontier
            mew=0.9 if len(rows) <= 40 else 0.5,
            label="frontier of the runs",
        )
        grid = np.geomspace(runs.c[rows].min(), runs.c.max() * 3, 200)
        constants = report.frontier.constants
        text = rf"{constants['E']:.3g} + (C / {_scientific(constants['C0'])})$^{{-{constants['alpha']:.2g}}}$, below the frontier"
        axes.plot(grid, report.frontier.predict(C=grid), color=INK, lw=1.3, ls=(0, (5, 2)), label=text)
    far = [p for p in at if _compute_of(p, label) is not None]
    top = max([float(x.max()), *(_compute_of(p, label) for p in far)])
    grid = np.geomspace(x.min(), top * 1.5, 200)
    curve = _along(report, grid, label)
    if curve is not None:
        values, name = curve
        drawn = predict(law.form, report.found.theta, values)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        axes.fill_between(grid, low, high, color=ACCENT, alpha=0.16, lw=0)
        axes.plot(grid, law.predict(**values), color=ACCENT, lw=2, label=name)
    for point in far:
        forecast = report.found.predict(**{k: v for k, v in point.items() if k != "loss"})
        place = _compute_of(point, label)
        axes.errorbar(
            place, forecast.loss, [[forecast.loss - forecast.low], [forecast.high - forecast.loss]],
            fmt="D", color=ACCENT, mfc="white", ms=7, capsize=4, label=f"forecast {forecast.loss:.4g}",
        )  # fmt: skip
        if "loss" in point:
            axes.plot(
                place,
                point["loss"],
                "x",
                color=INK,
                ms=8,
                mew=2,
                zorder=6,
                label=f"measured {point['loss']:.4g}",
            )
    if law.irreducible > 0.2 * runs.loss.min():
        axes.axhline(law.irreducible, color=SOFT, lw=1, ls=":")
        axes.annotate(
            f"irreducible {law.irreducible:.3g}", (1, law.irreducible), xycoords=("axes fraction", "data"),
            xytext=(-4, 4), textcoords="offset points", ha="right", color="#616e7c", fontsize=9,
        )  # fmt: skip
    axes.set(
        xscale="log", xlabel=label, ylabel="loss (nats per token)", title=f"Loss against {AXES[label[0]]}"
    )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize=9)
    return figure


def _isoflop(pyplot: Any, report: Report, at: list[dict[str, float]]) -> Any:
    """Loss against size at each budget, with the minima, and the size law through them."""
    runs, found = report.runs, report.isoflops
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11.6, 4.4), layout="constrained", width_ratios=(3, 2)
    )
    colours = pyplot.get_cmap(COLOURS)(np.linspace(0.05, 0.85, len(found.profiles)))
    for profile, colour in zip(found.profiles, colours, strict=True):
        n, loss = runs.n[profile.rows], runs.loss[profile.rows]
        left.plot(n, loss, "o", color=colour, ms=4.5, label=f"{_scientific(profile.flops)} FLOP")
        grid = np.geomspace(n.min(), n.max(), 100)
        left.plot(grid, profile.at(grid), color=colour, lw=1.4, ls="-" if profile.refused is None else ":")
        if profile.refused is None:
            left.plot(profile.n, profile.loss, "*", color=ACCENT, mec="white", ms=13, zorder=5)
            error = [[profile.n - profile.n_low], [profile.n_high - profile.n]]
            right.errorbar(profile.flops, profile.n, error, fmt="*", color=ACCENT, ms=11, capsize=3)
    left.set(xscale="log", xlabel="parameters N", ylabel="loss (nats per token)", title="Iso-FLOP profiles")
    left.legend(  # beside the axes: its marks look like runs
        fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), title="budget (dotted: no\nminimum inside)", title_fontsize=8
    )  # fmt: skip
    if found.beta is not None:
        flops = [p.flops for p in found.profiles]
        grid = np.geomspace(min(flops), max(flops) * 10, 50)
        name = rf"N$_{{opt}}$ $\propto$ C$^{{{found.beta:.3f}}}$  (90%: {found.beta_low:.2f} to {found.beta_high:.2f})"
        right.plot(grid, [found.size(c) for c in grid], color=INK, lw=1.4, label=name)
        right.legend(fontsize=9, loc="upper left")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="compute C (FLOP)",
        ylabel="N at the minimum",
        title="Compute-optimal size",
    )
    return figure


def _residuals(pyplot: Any, report: Report, at: list[dict[str, float]]) -> Any:
    """What the law leaves over, against compute, and how it is spread."""
    residuals = 100 * report.law.residuals()
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(9.4, 3.8), layout="constrained", width_ratios=(4, 1), sharey=True
    )
    x, label = _abscissa(report.law.runs)
    left.axhline(0, color=INK, lw=1)
    _scatter(figure, left, report.law.runs, x, residuals, beside=[left, right])
    left.set(xscale="log", xlabel=label, ylabel="100 log(measured / fitted)", title="Residuals (%)")
    left.margins(y=0.15)
    right.hist(
        residuals,
        bins=np.linspace(residuals.min(), residuals.max(), 31),
        orientation="horizontal",
        color=SOFT,
    )
    right.axhline(0, color=INK, lw=1)
    right.set(xlabel="rows", title=f"mean |.| {np.abs(residuals).mean():.2g}%")
    return figure


def _scatter(figure: Any, axes: Any, runs: Runs, x: np.ndarray, y: np.ndarray, beside: Any = None) -> None:
    """The rows, coloured by size where it is known; the colours' scale stands beside `beside`."""
    from matplotlib.colors import LogNorm

    if not runs.has("N") or runs.n.min() == runs.n.max() or x is runs.n:
        axes.plot(x, y, "o", color="#3b6fb6", ms=5, alpha=0.85, mew=0)
        return
    norm = LogNorm(runs.n.min(), runs.n.max())
    marks = axes.scatter(x, y, c=runs.n, norm=norm, cmap=COLOURS, s=24, alpha=0.9, lw=0)
    figure.colorbar(marks, ax=beside or axes, label="parameters N", pad=0.01, aspect=30)


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    power = f"10$^{{{int(exponent)}}}$"
    return power if mantissa == "1.0" else rf"{mantissa} $\times$ {power}"


def _abscissa(runs: Runs) -> tuple[np.ndarray, str]:
    if runs.has("C"):
        return runs.c, "compute C (FLOP)"
    return (runs.n, "parameters N") if runs.has("N") else (runs.d, "training tokens D")


def _compute_of(point: dict[str, float], label: str) -> float | None:
    """Where a forecast stands on the axis."""
    if label.startswith("compute"):
        return point.get("C") or (6 * point["N"] * point["D"] if {"N", "D"} <= point.keys() else None)
    return point.get("N" if label.startswith("parameters") else "D")


def _along(report: Report, grid: np.ndarray, label: str) -> tuple[dict[str, np.ndarray], str] | None:
    """The law along the axis: in its one variable, on the report's ray, or at the optimum of each budget."""
    law = report.law
    if law.form.variables == ({"c": "C", "p": "N", "t": "D"}[label[0]],):
        return {law.form.variables[0]: grid}, f"law and {LEVEL:.0%} interval"
    if law.form.variables == ("N", "D") and label.startswith("compute"):
        if report.ray is not None:
            n = np.sqrt(grid / (6 * report.ray))
            return {"N": n, "D": report.ray * n}, f"law at D/N = {report.ray:g}, {LEVEL:.0%} interval"
        try:
            best = np.array([law.optimum(flops) for flops in grid])
        except TonyError:
            return None
        return {"N": best[:, 0], "D": best[:, 1]}, f"law at the optimum of each budget, {LEVEL:.0%} interval"
    return None
