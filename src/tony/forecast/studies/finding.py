"""What a study found: a table, curves to draw, and sentences that answer its question."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tony.atomic import replacing
from tony.forecast.figures import STYLE


@dataclass(frozen=True)
class Curve:
    """One series of a figure: points, and the law through them where one was fitted."""

    name: str
    x: list[float]
    y: list[float]
    law_x: list[float] = field(default_factory=list)
    law_y: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Axes:
    """The labels, with units, and which axes are logarithmic: "", "x", "y" or "xy"."""

    x: str
    y: str
    log: str = "x"


@dataclass(frozen=True)
class Finding:
    """The result of a study.

    Attributes:
        columns, rows: the table that is printed; numbers stay numbers.
        laws: constants by the name of what was fitted.
        answers: sentences, each with its figures.
    """

    study: str
    domain: str
    columns: tuple[str, ...]
    rows: list[list[Any]]
    axes: Axes
    curves: list[Curve]
    laws: dict[str, dict[str, float]] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def draw(self, path: Path) -> None:
        """The figure as PNG.

        Raises:
            TonyError: it cannot be written.
        """
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with rc_context(STYLE):
            figure = Figure(figsize=(7, 4.6), layout="constrained")
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            for curve in self.curves:
                (line,) = axes.plot(
                    curve.x, curve.y, "o" if curve.law_x else "o-", label=curve.name, markersize=4
                )
                if curve.law_x:
                    axes.plot(curve.law_x, curve.law_y, color=line.get_color(), linewidth=1)
            axes.set(xlabel=self.axes.x, ylabel=self.axes.y, title=f"{self.domain}: {self.study}")
            if "x" in self.axes.log:
                axes.set_xscale("log")
                _few_marks(axes.xaxis)
            if "y" in self.axes.log:
                axes.set_yscale("log")
                _few_marks(axes.yaxis)
            if len(self.curves) > 1:
                axes.legend(
                    fontsize=9, loc="upper left", bbox_to_anchor=(1, 1)
                )  # beside: curves fill the rest
            with replacing(path) as temporary:
                figure.savefig(temporary, format="png")


def _few_marks(axis: Any) -> None:
    """Round numbers on a short logarithmic axis, whose usual marks would run into each other or be too few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if low <= 0 or high / low >= 300:
        return
    if high / low < 5:
        axis.set_major_locator(MaxNLocator(6))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if 10 <= value < 1e6 else f"{value:g}")
    )
