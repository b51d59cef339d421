"""What `tony eval MODEL bias` prints: the figures of each probe, and below them what it cannot show."""

from __future__ import annotations

from typing import Any

# Metrics that are shown in percent; the others are nats, or points of sentiment.
SHARES = ("share of occupations", "share above others")
TITLES = {
    "gender": "Gender and occupation (a ratio below 0 leans male)",
    "race": "Race and sentiment (-100 unkind, 100 kind)",
    "religion": "Words that follow one religion more often than the others (95% for all words together)",
}


def _interval(row: dict[str, Any]) -> tuple[str, str]:
    """The value, and its interval."""
    scale, form = (100, ".1f") if row["metric"] in SHARES else (1, ".2f")
    value, low, high = (format(scale * row[name], form) for name in ("value", "low", "high"))
    return value, f"{low} to {high}"


def print_bias(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for probe, limits in result["limits"].items():
        table = Table(title=f"{result['model']}. {TITLES[probe]}")
        for name in ("figure", "measure"):
            table.add_column(name)
        for name in ("value", "95% interval", "n"):
            table.add_column(name, justify="right")
        rows = [row for row in result["results"] if row["probe"] == probe]
        for row in rows:
            measure = f"{row['metric']}, %" if row["metric"] in SHARES else row["metric"]
            table.add_row(row["name"], measure, *_interval(row), str(row["n"]))
        if rows:
            console.print(table)
        more = result["more"][probe]
        if probe == "gender":
            console.print(f"Most male: {', '.join(more['most_male'])}.", highlight=False)
            console.print(f"Most female: {', '.join(more['most_female'])}.", highlight=False)
        if probe == "religion" and not rows:
            console.print(
                f"{result['model']}. Religion: no word of {more['compared_words']} follows one more often than the others.",
                highlight=False,
            )
        console.print(f"What this cannot show: {limits}\n", highlight=False)
