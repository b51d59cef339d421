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
    """Write the picture of a result of `evaluate` or of the ranking study as PNG; bands are 95% intervals over problems."""
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
    for rule, rows in _by_rule(result["ranking"][temperature]).items():
        _band(right, rows, rule)
    right.set(
        title=f"one of k, temperature {temperature}",
        xlabel="k, samples to choose from",
        ylabel="right, %",
        xscale="log",
    )
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _by_rule(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["rule"]].append(row)
    return found


def _band(axes: Any, rows: Sequence[Mapping[str, Any]], label: str) -> None:
    ks = [row["k"] for row in rows]
    axes.plot(ks, [100 * row["value"] for row in rows], marker="o", markersize=3, label=label)
    axes.fill_between(ks, [100 * row["low"] for row in rows], [100 * row["high"] for row in rows], alpha=0.12)
