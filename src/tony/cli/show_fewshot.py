"""What `tony eval MODEL fewshot` prints: a row a task, a column a K."""

from __future__ import annotations

from typing import Any


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows: shares in percent with their 95% interval."""
    shots = sorted({row["shots"] for row in result["results"]})
    tasks: dict[str, dict[int, dict[str, Any]]] = {}
    for row in result["results"]:
        tasks.setdefault(row["task"], {})[row["shots"]] = row
    header = ["task", "measure", "n", *(f"K={k}" for k in shots)]
    rows = []
    for task, cells in tasks.items():
        first = next(iter(cells.values()))
        values = [_cell(cells[k]) if k in cells else "-" for k in shots]
        rows.append([task, first["metric"], str(first["n"]), *values])
    return header, rows


def _cell(row: dict[str, Any]) -> str:
    scale = 1 if row["metric"] == "BLEU" else 100
    return f"{scale * row['value']:.1f} ({scale * row['low']:.1f}-{scale * row['high']:.1f})"


def print_fewshot(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['model']}: % (95% interval)")
    header, rows = table_rows(result)
    for name in header:
        table.add_column(name, justify="left" if name in ("task", "measure") else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
