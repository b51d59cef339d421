"""Reading cells: files with commas, tabs or semicolons, and numbers as people write them (125M, 1e18, 1,000, 3,45)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tony.errors import TonyError

PF_DAY = 8.64e19  # FLOP
SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
UNITS = {"1": 1.0, **SUFFIXES, "pf-day": PF_DAY, "flop": 1.0}
GAP = 1e3  # neighbouring sizes of one study never lie this far apart
SEPARATORS = (",", "\t", ";", "|")
BLANK = ("", "nan", "na", "n/a", "none", "null", "-")
_NUMBER = re.compile(
    r"([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([kmbgt])?\s*(?:params?|parameters?|tokens?|flops?)?",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?![\d,])[^,]*")


class Columns(dict[str, list[Any]]):
    """Columns by name.

    Attributes:
        lines: (rows,), where each row stands in its source.
        twice: names that more than one column has: they cannot be asked for.
        comma: whether a comma in a cell is a decimal point (files separated by semicolons).
    """

    lines: np.ndarray
    twice: frozenset[str] = frozenset()
    comma: bool = False

    def named(self, name: str, flag: str = "") -> list[Any]:
        """The cells of one column.

        Args:
            flag: the option that names this column, for the message.

        Raises:
            TonyError: there is no such column, or there are two.
        """
        way = f". Name one with {flag} COLUMN" if flag else ""
        if name not in self:
            raise TonyError(f"the table has no column {name!r}. It has: {', '.join(self)}{way}")
        if name in self.twice:
            raise TonyError(f"the table has two columns {name!r}: rename one of them")
        return self[name]


def read_columns(source: Any) -> Columns:
    """The columns of a file separated by commas, tabs, semicolons or bars, of a data frame, or of a mapping.

    Raises:
        TonyError: no such file, or no table in it; rows that have more cells than the header.
    """
    if isinstance(source, (str, Path)):
        return _read_file(Path(source))
    try:
        columns = Columns({str(name): list(source[name]) for name in source})
    except (TypeError, KeyError):
        raise TonyError(
            f"runs are read from a CSV file, a data frame or a mapping, not {type(source)}"
        ) from None
    columns.lines = np.arange(len(next(iter(columns.values()), [])))
    return columns


def _read_file(path: Path) -> Columns:
    try:
        raw = path.read_bytes()
        # Spreadsheets save "Unicode text" as UTF-16 with a mark.
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        separator, rows, lines = _rows_of(text)
    except FileNotFoundError:
        raise TonyError(f"{path}: no such file. Give a CSV with one row a run") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TonyError(f"{path}: cannot be read as CSV ({error}). Save it as UTF-8 CSV") from None
    if len(rows) < 2:
        raise TonyError(f"{path}: holds no row. Give a CSV with a header and one row a run")
    header = [name.strip() for name in rows[0]]
    long = [line for row, line in zip(rows[1:], lines[1:], strict=True) if any(row[len(header) :])]
    if long:
        raise TonyError(
            f"{name_rows(long)}: more cells than the header has. Quote numbers such as 1,000, or write them without commas"
        )
    columns = Columns()
    for i, name in enumerate(header):
        columns[name] = [row[i] if i < len(row) else None for row in rows[1:]]
    columns.lines = np.array(lines[1:])
    columns.twice = frozenset(name for name in header if header.count(name) > 1)
    columns.comma = separator == ";"
    return columns


def _rows_of(text: str) -> tuple[str, list[list[str]], list[int]]:
    """The separator, and the rows that are neither blank nor comments, with the lines that they end on."""
    separator, skipped = "", 0
    for line in text.splitlines():
        if line.lower().startswith("sep=") and len(line) == 5:
            separator = line[4]  # as spreadsheets write it
        elif line.strip() and not line.startswith("#"):
            break
        skipped += 1
    else:
        return ",", [], []
    separator = separator or max(SEPARATORS, key=lambda s: len(next(csv.reader([line], delimiter=s))))
    body = io.StringIO("\n".join(text.splitlines()[skipped:]), newline="")
    reader = csv.reader(body, delimiter=separator, skipinitialspace=True)
    rows, lines = [], []
    for row in reader:
        if any(cell.strip() for cell in row) and not row[0].startswith("#"):
            rows.append(row)
            lines.append(reader.line_num + skipped)
    return separator, rows, lines


def unit_of(unit: str, column: str) -> float:
    """What one of `unit` is: 1, K, M, B, T, any number (tokens of a step), and of C also flop and pf-day.

    Raises:
        TonyError: no such unit.
    """
    known = {k: v for k, v in UNITS.items() if column == "C" or k not in ("pf-day", "flop")}
    if unit in known or (unit == "flop" and column != "C"):
        return UNITS[unit]
    try:
        value = float(unit)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise TonyError(f"unit {unit!r} of {column} is not known. Known: {', '.join(known)}, or a number")
    return value


def numbers(cells: Sequence[Any], name: str, lines: np.ndarray, comma: bool = False) -> np.ndarray:
    """The cells (rows,) as numbers, 125M and 1,000 read; what is empty or "nan" is NaN.

    Args:
        comma: whether a comma is a decimal point whatever stands around it.

    Raises:
        TonyError: a cell that is no number, commas that may mean two things, or a suffix in some cells and not in others.
    """
    found, suffixed, wrong = np.full(len(cells), math.nan), np.zeros(len(cells), bool), []
    texts = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
    decimal = _decimal_comma(texts, comma)
    for i, (cell, text) in enumerate(zip(cells, texts, strict=True)):
        if not isinstance(cell, str):
            try:
                found[i] = math.nan if cell is None else float(cell)
            except (TypeError, ValueError):
                wrong.append(i)
            continue
        if text.lower() in BLANK:
            continue
        if text.lower() in ("inf", "+inf", "-inf", "infinity", "-infinity"):
            found[i] = math.inf
            continue
        match = None
        if "," not in text or decimal or _THOUSANDS.fullmatch(text):
            match = _NUMBER.fullmatch(text.replace(",", "." if decimal else ""))
        if match is None:
            wrong.append(i)
            continue
        found[i] = float(match[1].replace("_", "")) * SUFFIXES.get((match[2] or "").upper(), 1.0)
        suffixed[i] = match[2] is not None
    if wrong:
        raise TonyError(
            f"{name_rows(lines[wrong])}: {name} is no number ({cells[wrong[0]]!r}). Correct or remove those rows"
        )
    known = np.isfinite(found)
    if suffixed.any() and not suffixed[known].all():
        bare = known & ~suffixed & (found < GAP * np.nanmin(found[suffixed]) / 1e6)
        if bare.any():
            example = texts[int(np.flatnonzero(suffixed)[0])]
            raise TonyError(
                f"{name_rows(lines[bare])}: {name} has no suffix there and others have (such as {example}): mixed "
                "units. Write all in one unit"
            )
    return found


def _decimal_comma(texts: Sequence[str], comma: bool) -> bool:
    """Whether commas in a column are decimal points: always one a cell, and not all of them before groups of three."""
    with_comma = [text for text in texts if "," in text]
    single = all(text.count(",") == 1 and "." not in text for text in with_comma)
    grouped = all(_THOUSANDS.fullmatch(text) for text in with_comma)
    return bool(with_comma) and single and (comma or not grouped)


def name_rows(lines: Sequence[int] | np.ndarray) -> str:
    """`rows 3, 7, 9`: how rows are named in messages."""
    lines = [int(line) for line in lines]
    return f"{'row' if len(lines) == 1 else 'rows'} {some([str(line) for line in lines])}"


def some(items: Sequence[str], most: int = 12) -> str:
    """The first few of `items`, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
