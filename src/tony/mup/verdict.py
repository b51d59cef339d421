"""What a coordinate check found: a verdict, its reasons, a table, a picture, an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tony.errors import TonyError
from tony.mup.slopes import Line, Size, Slope


@dataclass(frozen=True)
class CoordinateCheck:
    """Every size, every line, and whether the model keeps its sizes as width grows.

    sizes: what was measured.   lines: the verdict by layer, kind and step.   tolerance: what a slope may be.
    """

    parametrization: Literal["muP", "standard"]
    widths: tuple[int, ...]
    steps: int
    tolerance: float
    sizes: tuple[Size, ...]
    lines: tuple[Line, ...]

    @property
    def failures(self) -> tuple[Line, ...]:
        """The lines that did not pass, the steepest first; unclear ones last."""

        def steepness(line: Line) -> float:
            if line.verdict == "not finite":
                return float("inf")
            return nearest(line.slope) if line.slope and line.verdict != "unclear" else 0.0

        return tuple(sorted((line for line in self.lines if not line.passed), key=steepness, reverse=True))

    @property
    def moved(self) -> bool:
        """Whether anything changed at all: a check of a model that does not learn says nothing."""
        return any(line.what == "change" and line.verdict != "still" for line in self.lines)

    @property
    def passed(self) -> bool:
        return self.moved and not self.failures

    @property
    def exit_status(self) -> int:
        """0 if it passed, else 1: `raise SystemExit(check.exit_status)`."""
        return 0 if self.passed else 1

    def __str__(self) -> str:
        """The verdict in a few lines."""
        head = f"coordinate check ({self.parametrization}, widths {self.widths[0]} to {self.widths[-1]}, {self.steps} steps): "
        if not self.moved:
            return (
                f"{head}FAIL\n  nothing changed: give a larger lr, or a loss that depends on the parameters"
            )
        if self.passed:
            return f"{head}pass, {len(self.lines)} lines within {self.tolerance:g} of slope 0"
        shown = [f"  {line}" for line in self.failures[:5]]
        if len(self.failures) > 5:
            shown.append(f"  and {len(self.failures) - 5} more of {len(self.lines)} lines")
        if all(line.verdict == "unclear" for line in self.failures):
            shown.append(
                "  nothing is shown to be wrong, but too little is known: give more seeds or more widths"
            )
        return "\n".join((f"{head}FAIL", *shown))

    def table(self) -> str:
        """By layer: the slope of its size at step 0, and that of its change at the step where it is steepest."""
        rows = [("layer", "size at step 0", "change, steepest", "verdict")]
        for layer in dict.fromkeys(line.layer for line in self.lines):
            mine = [line for line in self.lines if line.layer == layer]
            start = next((line for line in mine if line.what == "activation" and line.step == 0), None)
            changes = [line for line in mine if line.what == "change" and line.slope]
            steepest = max(changes, key=lambda line: nearest(line.slope), default=None)
            bad = next((line.verdict for line in self.failures if line.layer == layer), "flat")
            rows.append((layer, _shown(start), _shown(steepest), bad))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything, of plain values."""
        return {"passed": self.passed, "failures": [str(line) for line in self.failures], **asdict(self)}

    def plot(self, path: str | Path) -> None:
        """Draw sizes against width, one panel for each kind and step; lines that did not pass are red and named.

        Raises:
            TonyError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise TonyError("a picture needs matplotlib: pip install matplotlib") from None
        panels: list[tuple[Literal["activation", "change"], int]] = [("activation", 0)]
        panels += [("change", step) for step in range(1, self.steps + 1)]
        figure = Figure(figsize=(3.2 * len(panels), 3.6), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (what, step) in zip(axes, panels, strict=True):
            axis.set(xscale="log", yscale="log", xlabel="width", title=f"{what}, step {step}")
            axis.set_xticks(self.widths, [str(width) for width in self.widths])
            axis.minorticks_off()
            for line in self.lines:
                if (line.what, line.step) != (what, step) or line.verdict in ("still", "not finite"):
                    continue
                style = (
                    {"color": "0.6", "lw": 0.8} if line.passed else {"color": "tab:red", "label": line.layer}
                )
                axis.plot(self.widths, list(self._means(line)), **style)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=6)
        axes[0].set_ylabel("mean absolute value")
        figure.suptitle(str(self).splitlines()[0], fontsize=9)
        figure.savefig(path)

    def _means(self, line: Line) -> Iterator[float]:
        """The mean size at each width, over seeds."""
        for width in self.widths:
            key = (line.layer, line.what, line.step, width)
            found = [s.size for s in self.sizes if (s.layer, s.what, s.step, s.width) == key]
            yield sum(found) / len(found)


def nearest(slope: Slope) -> float:
    """How far from 0 the slope is shown to be: the end of its interval that is nearer, 0 if the interval contains it."""
    return max(slope.low, -slope.high, 0.0)


def _shown(line: Line | None) -> str:
    if line is None or line.slope is None:
        return "-"
    return f"{line.slope.value:+.2f} ({line.slope.low:+.2f} to {line.slope.high:+.2f})"
