"""What `tony eval` prints about programs."""

from __future__ import annotations

from typing import Any


def print_measured(result: dict[str, Any]) -> None:
    """pass@k at the temperature of each k, what a ranking makes of it, and how the samples ended."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    title = f"{result['model']}: {result['num_samples']} samples of {result['num_problems']} problems"
    table = Table(title=title)
    for name in ("pass@k", "temperature", "%", "95% interval", "problems"):
        table.add_column(name, justify="right")
    for rate in result["pass_at_k"]:
        table.add_row(f"pass@{rate['k']}", f"{rate['temperature']:g}", *_figures(rate))
    console.print(table)
    for temperature, rows in result["ranking"].items():
        most = max(row["k"] for row in rows)
        ranking = Table(title=f"one of {most}, temperature {temperature}")
        for name in ("chosen by", "%", "95% interval", "problems"):
            ranking.add_column(name, justify="right")
        for row in rows:
            if row["k"] == most:
                ranking.add_row(row["rule"], *_figures(row))
        console.print(ranking)
    _print_endings(console, result)


def print_study(result: dict[str, Any]) -> None:
    """The rows of a study, differences with their sign, and what else it found in one line each."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"{result['model']}: {result['suite']}, {result['num_samples']} samples")
    for name, justify in (("", "left"), ("%", "right"), ("95% interval", "right"), ("problems", "right")):
        table.add_column(name, justify=justify)
    for row in [*result["results"], *result.get("differences", ())]:
        table.add_row(row["name"], *_figures(row))
    console.print(table)
    for name in (
        "factor",
        "why",
        "wrong",
        "overlap",
        "unreadable",
        "tests",
        "resources",
        "num_copies_or_empty",
    ):
        if result.get(name):
            console.print(f"{name}: {result[name]}", highlight=False)
    _print_endings(console, result)


def _figures(rate: dict[str, Any]) -> tuple[str, str, str]:
    interval = f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}"
    return f"{100 * rate['value']:.2f}", interval, str(rate["n"])


def print_code(summary: dict[str, Any]) -> None:
    """pass@k with intervals, and how the samples ended."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"{summary['num_samples']} samples of {summary['num_problems']} problems")
    for name in ("pass@k", "%", "95% interval", "problems"):
        table.add_column(name, justify="right")
    for rate in summary["pass_at_k"]:
        table.add_row(f"pass@{rate['k']}", *_figures(rate))
    console.print(table)
    _print_endings(console, summary)


def _print_endings(console: Any, summary: dict[str, Any]) -> None:
    endings = ", ".join(f"{count} {ending}" for ending, count in summary["endings"].items())
    console.print(f"endings: {endings}", highlight=False)
    if not summary["sandbox"]["isolation"]["complete"]:
        missing = ", ".join(summary["sandbox"]["isolation"]["missing"])
        console.print(f"run without: {missing}", highlight=False)
