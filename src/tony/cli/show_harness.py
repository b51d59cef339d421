"""What `tony eval MODEL lm-eval` prints: a row for each metric of a task."""

from __future__ import annotations

from typing import Any


def print_harness(result: dict[str, Any]) -> None:
    """Values as the harness gives them, shares from 0 to 1; intervals where it has a standard error."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['model']}: lm-evaluation-harness {result['harness']} (95% interval)")
    for name in ("task", "metric", "K", "n", "value"):
        table.add_column(name, justify="left" if name in ("task", "metric") else "right")
    for row in result["results"]:
        value = f"{row['value']:.4g}"
        if row["low"] is not None:
            value += f" ({row['low']:.4g} to {row['high']:.4g})"
        table.add_row(row["task"], row["metric"], _number(row["shots"]), _number(row["n"]), value)
    Console().print(table)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
