"""The pictures of an evaluation: pass@k over k at each temperature, and what each ranking rule makes of k samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tony.atomic import replacing
from tony.evals.code.ranking import ORACLE

_INCHES = (11.0, 4.2)


def plot_result(result: Mapping[str, Any], path: Path) -> None:
    """Write the picture of a result of `evaluate` or of the ranking study as PNG; bands and bars are 95% intervals over problems."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for temperature, rows in result["ranking"].items():
        _band(left, [row for row in rows if row["rule"] == ORACLE], f"temperature {temperature}")
    left.set(
        title=f"{result['model']}: pass@k",
        xlabel="k, samples a problem",
        ylabel="problems solved, %",
        xscale="log",
    )
    temperature = max(result["ranking"], key=float)
    for i, (rule, rows) in enumerate(_by_rule(result["ranking"][temperature]).items()):
        _bars(right, rows, rule, shift=1 + 0.03 * i)
    right.set(
        title=f"one of k, temperature {temperature}",
        xlabel="k, samples to choose from",
        ylabel="right, %",
        xscale="log",
    )
    for axes in (left, right):
        ks = sorted({row["k"] for row in result["ranking"][temperature]})
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper left")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _by_rule(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["rule"]].append(row)
    return found


def _band(axes: Any, rows: Sequence[Mapping[str, Any]], label: str) -> None:
    ks, values, lows, highs = _columns(rows)
    axes.plot(ks, values, marker="o", markersize=3, label=label)
    axes.fill_between(ks, lows, highs, alpha=0.12)


def _bars(axes: Any, rows: Sequence[Mapping[str, Any]], label: str, shift: float) -> None:
    """Intervals of many lines as bars, each line moved to the side by a factor so that they can be told apart."""
    ks, values, lows, highs = _columns(rows)
    ks = [k * shift for k in ks]
    (line,) = axes.plot(ks, values, marker="o", markersize=3, label=label)
    axes.vlines(ks, lows, highs, alpha=0.5, linewidth=1, color=line.get_color())


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], ...]:
    """k, and value and interval in percent."""
    return [row["k"] for row in rows], *([100 * row[key] for row in rows] for key in ("value", "low", "high"))
