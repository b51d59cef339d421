"""The figures of a tuning, as SVG: losses against learning rates, where the best rate lies, wider is better, the search."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator

from tony.tune.optimum import Curve, Drift
from tony.tune.verdict import Checked, Verdict

INK, SOFT, EDGE = "#24221f", "#6d685f", "#e2ddd2"
COLORS = {"muP": "#1c7d4d", "standard": "#b9570f"}
LABELS = {"muP": "muP", "standard": "standard parametrisation"}
LOOK: dict[str, Any] = {
    "font.family": "sans-serif", "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT,
    "xtick.color": SOFT, "ytick.color": SOFT, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": EDGE, "grid.linewidth": 0.7, "axes.axisbelow": True, "legend.frameon": False,
    "figure.facecolor": "none", "axes.facecolor": "none", "svg.fonttype": "path",
}  # fmt: skip
SMOOTH = 5
MOST_TICKS = 8
LEAST_SPAN = 3.0  # factors of 2 on the axis of best rates: a small drift must look small
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def rates_figure(curves: Mapping[str, Sequence[Curve]], over: str) -> str:
    """Loss against learning rate, a line a size: the paper's figure 1, muP and standard side by side."""
    with rc_context(LOOK):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        draw_rates(curves, figure.subplots(1, 2, sharex=True, sharey=True))
        lines, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, names, title=over, loc="outside right upper", fontsize=9, title_fontsize=9)
        return _svg(figure)


def draw_rates(curves: Mapping[str, Sequence[Curve]], axes: Any) -> None:
    """One panel a parametrisation, sharing their axes."""
    every = [curve for found in curves.values() for curve in found]
    finite = np.concatenate([curve.means[np.isfinite(curve.means)] for curve in every])
    least = finite.min()
    # What matters is near the minimum: a curve may leave at the top.
    top = min(finite.max(), least + 4 * (np.median(finite) - least) + 0.05 * abs(least))
    room = 0.06 * (top - least)
    for axis, (how, found) in zip(axes, curves.items(), strict=True):
        colors = colors_of(len(found))
        for curve, color in zip(found, colors, strict=True):
            _draw_curve(axis, curve, color, top + room)
        axis.set_title(LABELS.get(how, how), loc="left", fontweight="bold").set_in_layout(False)
        axis.set(xlabel="learning rate", ylim=(least - room, top + 2 * room))
        _log2_ticks(axis)
        axis.label_outer()
    axes[0].set_ylabel("training loss (nats)")


def _draw_curve(axis: Axes, curve: Curve, color: Any, top: float) -> None:
    means = np.where(np.isfinite(curve.means), curve.means, np.nan)
    axis.plot(curve.log2_lrs, means, "-o", color=color, ms=4, lw=1.7, label=str(curve.size))
    runs = np.where(np.isfinite(curve.losses), curve.losses, np.nan)
    if runs.shape[1] > 1:
        known = np.isfinite(runs).any(axis=1)
        axis.fill_between(
            curve.log2_lrs[known],
            np.nanmin(runs[known], 1),
            np.nanmax(runs[known], 1),
            color=color,
            alpha=0.16,
            lw=0,
        )
    diverged = curve.log2_lrs[~np.isfinite(curve.means)]
    if len(diverged):
        axis.plot(diverged, np.full(len(diverged), top), "x", color=color, ms=6)
    best = curve.optimum()
    axis.plot(best.log2_lr, best.loss, "o", ms=11, mfc="none", mec=color, mew=1.6)


def optima_figure(drifts: Mapping[str, Drift], over: str) -> str:
    """The best learning rate against size, with its interval."""
    with rc_context(LOOK):
        figure = Figure(figsize=(9.6, 3.2), layout="constrained")
        axis = figure.subplots()
        ends: list[float] = []
        for (how, color), aside in zip(COLORS.items(), (1.0, 1.02), strict=True):
            found = list(drifts[how].optima.values())
            sizes = aside * np.array(list(drifts[how].optima))
            axis.plot(sizes, [at.value for at in found], "-o", color=color, lw=1.7, ms=6, label=LABELS[how])
            for size, at in zip(sizes, found, strict=True):
                low, high = (at.value, at.value) if at.low is None else (at.low, at.high)
                axis.vlines(size, low, high, color=color, lw=5, alpha=0.25)
                ends += [low, high]
        centre, span = (max(ends) + min(ends)) / 2, max(LEAST_SPAN, 1.15 * (max(ends) - min(ends)))
        axis.set(xscale="log", xlabel=over, ylabel="best learning rate")
        axis.set_ylim(centre - span / 2, centre + span / 2)
        known = list(drifts["muP"].optima)
        axis.set_xlim(known[0] * (known[0] / known[-1]) ** 0.05, known[-1] * (known[-1] / known[0]) ** 0.05)
        axis.set_xticks(known, [str(size) for size in known])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_locator(MultipleLocator(1.0 if span > 4 else 0.5))
        axis.yaxis.set_major_formatter(FuncFormatter(_power))
        axis.legend(loc="lower left", fontsize=9)
        return _svg(figure)


def wider_figure(checked: Checked) -> str:
    """Loss along the way, a line a size."""
    with rc_context(LOOK):
        figure = Figure(figsize=(9.6, 3.2), layout="constrained")
        axis = figure.subplots()
        kernel = np.ones(SMOOTH) / SMOOTH
        for (size, path), color in zip(checked.paths.items(), colors_of(len(checked.paths)), strict=True):
            steps = np.convolve(checked.steps, kernel, "valid")
            axis.plot(steps, np.convolve(path, kernel, "valid"), color=color, lw=1.6, label=str(size))
        axis.set(xlabel="step", ylabel="training loss (nats)")
        axis.legend(title=checked.over, fontsize=9, title_fontsize=9)
        return _svg(figure)


def search_figure(verdict: Verdict) -> str:
    """Loss of the trials against each value that was searched."""
    names = list(verdict.settings["space"])
    done = [
        trial
        for trial in verdict.trials
        if trial["loss"] is not None and all(name in trial for name in names)
    ]
    with rc_context(LOOK):
        columns = min(3, len(names))
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(9.6, 2.6 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        losses = np.array([trial["loss"] for trial in done])
        for axis, name in zip(axes.flat, names, strict=False):
            values = np.array([trial[name] for trial in done])
            axis.plot(values, losses, "o", color="#2f66c4", ms=5, alpha=0.65, mew=0)
            axis.plot(values[0], losses[0], "o", ms=11, mfc="none", mec=INK, mew=1.4)
            axis.set_xlabel(name)
            if (values > 0).all() and values.max() > 4 * values.min():
                axis.set_xscale("log", base=2)
                axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("loss")
        return _svg(figure)


def colors_of(count: int) -> list[Any]:
    """From light to dark as size grows."""
    return [colormaps["viridis_r"](at) for at in np.linspace(0.15, 0.95, max(count, 2))][:count]


def _log2_ticks(axis: Axes) -> None:
    low, high = axis.get_xlim()
    span = range(int(np.ceil(low)), int(np.floor(high)) + 1)
    axis.set_xticks(list(span)[:: -(-len(span) // MOST_TICKS)])
    axis.xaxis.set_major_formatter(FuncFormatter(_power))


def _power(value: float, _position: int | None = None) -> str:
    return f"$2^{{{value:.3g}}}$"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
