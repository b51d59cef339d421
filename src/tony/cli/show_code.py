"""What `tony eval` prints about programs, and how its lists of numbers are read."""

from __future__ import annotations

from typing import Any

from tony.errors import TonyError


def read_ks(text: str | None) -> list[int] | None:
    """`1,10` as numbers.

    Raises:
        TonyError: not positive integers with commas between.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part[:9]) > 0 for part in parts):
        raise TonyError(f"--k {text}: positive numbers with commas between are expected, such as 1,10")
    return [int(part) for part in parts]


def print_code(summary: dict[str, Any]) -> None:
    """pass@k with intervals, and how the samples ended."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"{summary['num_samples']} samples of {summary['num_problems']} problems")
    for name in ("pass@k", "%", "95% interval", "problems"):
        table.add_column(name, justify="right")
    for rate in summary["pass_at_k"]:
        interval = f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}"
        table.add_row(f"pass@{rate['k']}", f"{100 * rate['value']:.2f}", interval, str(rate["n"]))
    console.print(table)
    endings = ", ".join(f"{count} {ending}" for ending, count in summary["endings"].items())
    console.print(f"endings: {endings}", highlight=False)
    if not summary["sandbox"]["isolation"]["complete"]:
        missing = ", ".join(summary["sandbox"]["isolation"]["missing"])
        console.print(f"run without: {missing}", highlight=False)
