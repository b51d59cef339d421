"""What `tony eval MODEL quiz --results` prints: the columns of GPT-3's table of its news article experiment."""

from __future__ import annotations

from typing import Any


def print_quiz(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    names = {"model": result["model"], "control": f"control: {result['control']}"}
    table = Table(title="Told from real texts (50% is guessing)")
    table.add_column("texts by")
    for name in ("% right (95% interval)", "participants", "I don't know, %"):
        table.add_column(name, justify="right")
    for row in result["results"]:
        unknown = "-" if row["unknown"] is None else f"{100 * row['unknown']:.1f}"
        table.add_row(names[row["name"]], _share(row), str(row["n"]), unknown)
    console = Console()
    console.print(table)
    for line in remarks(result):
        console.print(line, highlight=False)


def remarks(result: dict[str, Any]) -> list[str]:
    """What the table leaves out: the difference, and who does not count."""
    lines = []
    difference = result["difference"]
    if difference is not None:
        value, low, high = (100 * difference[name] for name in ("value", "low", "high"))
        lines.append(
            f"Control minus model: {value:+.1f} points ({low:+.1f} to {high:+.1f}), paired over {difference['n']} "
            f"participants, t = {difference['t']:.1f}, p = {difference['p']:.1g}."
        )
    if result["excluded"]:
        lines.append(
            f"{_people(result['excluded'])} for the model: right on half of the control's texts or fewer."
        )
    if result["unfinished"]:
        lines.append(f"{_people(result['unfinished'])}: not finished.")
    return lines


def _people(n: int) -> str:
    return "1 participant does not count" if n == 1 else f"{n} participants do not count"


def _share(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    return f"{100 * row['value']:.1f} ({100 * row['low']:.1f}-{100 * row['high']:.1f})"
