"""What `tony eval MODEL fewshot` prints, a row a task and a column a K, and the contamination of those tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tony.evals.contamination import Row


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


def print_contamination(rows: Sequence[Row]) -> None:
    """The columns of GPT-3's table C.1; scores in percent."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Test examples that occur in the training text")
    for name in ("task", "metric"):
        table.add_column(name)
    for name in ("N", "all", "n", "dirty", "n", "clean", "n", "clean %", "rel. diff. %"):
        table.add_column(name, justify="right")
    for row in rows:
        difference = row.relative_difference
        table.add_row(
            row.task,
            row.metric,
            str(row.n_gram),
            *(_score(row.all), str(row.n)),
            *(_score(row.dirty), str(row.n_dirty)),
            *(_score(row.clean), str(row.n_clean)),
            f"{row.clean_percent:.0f}",
            "-" if difference is None else f"{difference:+.0f}",
        )
    Console().print(table)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
