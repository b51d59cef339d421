"""Curves of accuracy against the number of examples in the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tony.atomic import replacing

_INCHES_A_PANEL = (4.2, 3.8)
_MOST_BANDS = 6  # more of them would hide each other: intervals become bars


@dataclass(frozen=True)
class Line:
    """A task of a model, or several together, over K.

    Attributes:
        label: what the legend calls it.
        points: (K, value, low, high), K ascending; in percent, or BLEU.
    """

    label: str
    points: tuple[tuple[int, float, float, float], ...]


def lines_of(result: Mapping[str, Any]) -> dict[str, list[Line]]:
    """The lines of a result of `evaluate_fewshot`, by metric."""
    found: dict[str, dict[str, list[tuple[int, float, float, float]]]] = {}
    for row in result["results"]:
        points = found.setdefault(row["metric"], {}).setdefault(row["task"], [])
        scale = 1 if row["metric"] == "BLEU" else 100
        points.append((row["shots"], *(scale * row[name] for name in ("value", "low", "high"))))
    return {
        metric: [Line(task, tuple(sorted(points))) for task, points in tasks.items()]
        for metric, tasks in found.items()
    }


def write_curves(panels: Mapping[str, Sequence[Line]], path: Path) -> None:
    """Write the lines as PNG, a panel a title; bands or bars are 95% intervals, K is on a logarithmic axis that begins at 0."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide, high = _INCHES_A_PANEL
    figure = Figure(figsize=(max(wide * len(panels), 6.0), high), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        colors = colormaps["tab10" if len(lines) <= 10 else "tab20"].colors
        for i, line in enumerate(lines):
            _draw(axes, line, colors[i % len(colors)], banded=len(lines) <= _MOST_BANDS)
        shots = sorted({k for line in lines for k, *_ in line.points})
        axes.set(
            title=title, xlabel="K, examples in the prompt", ylabel="BLEU" if title == "BLEU" else "right, %"
        )
        axes.set_xscale("symlog", base=2, linthresh=1)
        axes.set_xticks(shots, [str(k) for k in shots])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        outside = {} if len(lines) <= _MOST_BANDS else {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        axes.legend(fontsize=7, frameon=False, **outside)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})


def _draw(axes: Any, line: Line, color: Any, banded: bool) -> None:
    shots, values, lows, highs = zip(*line.points, strict=True)
    axes.plot(shots, values, marker="o", markersize=3, label=line.label, color=color)
    if banded:
        axes.fill_between(shots, lows, highs, alpha=0.12, color=color, linewidth=0)
    else:
        axes.vlines(shots, lows, highs, alpha=0.4, color=color, linewidth=1)
