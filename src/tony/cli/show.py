"""What verbs print: JSON, and the any-to-any table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

INPUTS = ("text", "image", "audio", "video")
OUTPUTS = ("text", "image", "audio")


def print_json(value: Any) -> None:
    """`value` as JSON, and nothing else, on standard output."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def print_asked(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """`result` as JSON or by `show`; then, on standard error, what could not be asked, and exit status 2 for it."""
    import typer

    if as_json:
        print_json(result)
    else:
        show(result)
    for line in result["errors"]:
        print(f"tony: {line}", file=sys.stderr)
    if result["errors"]:
        raise typer.Exit(2)


def print_omni(result: dict[str, Any]) -> None:
    """The any-to-any table: English as a grid, the rest in rows; shares of right answers with 95% intervals."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    cells = dict(result["cells"])
    grid = Table(title="Any to any, English: % right (95% interval)")
    grid.add_column("in \\ out")
    for output in OUTPUTS:
        grid.add_column(output, justify="right")
    for source in INPUTS:
        row = [cells.pop(f"{source}->{output}", None) for output in OUTPUTS]
        grid.add_row(source, *("-" if cell is None else _percent(cell) for cell in row))
    console.print(grid)
    rest = Table(title="More than one part, and motion")
    rest.add_column("cell")
    rest.add_column("% right", justify="right")
    for name, cell in cells.items():
        rest.add_row(name, _percent(cell))
    console.print(rest)
    languages = result["languages"]
    if languages:
        names = list(dict.fromkeys(name for table in languages.values() for name in table))
        others = Table(title="Other languages")
        others.add_column("cell")
        for language in languages:
            others.add_column(language, justify="right")
        for name in names:
            row = [table.get(name) for table in languages.values()]
            others.add_row(name, *("-" if cell is None else _percent(cell) for cell in row))
        console.print(others)
    for name, judge in result["judges"].items():
        console.print(
            f"{name} judge on held-out real examples: {_percent(judge)} of {judge['n']}", highlight=False
        )


def _percent(cell: dict[str, Any]) -> str:
    return f"{100 * cell['accuracy']:.1f} ({100 * cell['low']:.0f}-{100 * cell['high']:.0f})"
