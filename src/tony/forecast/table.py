"""Anybody's runs as a table: sizes, data, compute and losses, with what is wrong in it named row by row."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tony.errors import TonyError

PF_DAY = 8.64e19  # FLOP
SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
UNITS = {"1": 1.0, **SUFFIXES, "pf-day": PF_DAY, "flop": 1.0}
GAP = 1e3  # neighbouring sizes of one study never lie this far apart
FEWEST = 4
_NUMBER = re.compile(r"^([-+]?[0-9.,_]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([KMBGT])?$")


@dataclass(frozen=True)
class Runs:
    """Rows of finished runs, or of points of learning curves.

    Attributes:
        n: parameters (rows,); d: training tokens; c: compute in FLOP; loss: nats per token. A column that is not known
            is None.
        run: which run each row belongs to: rows of one run are not independent.
        lines: where each row stands in its source (the header is line 1).
        warnings: what was found on the way.
    """

    n: np.ndarray | None
    d: np.ndarray | None
    c: np.ndarray | None
    loss: np.ndarray
    run: np.ndarray
    lines: np.ndarray
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def column(self, variable: str) -> np.ndarray:
        """N, D or C.

        Raises:
            TonyError: the table has no such column.
        """
        values = {"N": self.n, "D": self.d, "C": self.c}[variable]
        if values is None:
            raise TonyError(
                f"the table has no {variable}: name its column (--{variable.lower()} COLUMN), or two of N, D and C = 6 N D"
            )
        return values

    def logs(self, variables: Iterable[str]) -> dict[str, np.ndarray]:
        return {v: np.log(self.column(v)) for v in variables}

    def has(self, variable: str) -> bool:
        return {"N": self.n, "D": self.d, "C": self.c}[variable] is not None

    def take(self, rows: np.ndarray) -> Runs:
        """Some of the rows."""
        part = {name: None if (a := getattr(self, name)) is None else a[rows] for name in "ndc"}
        return replace(self, **part, loss=self.loss[rows], run=self.run[rows], lines=self.lines[rows])


def read_runs(
    source: Any,
    *,
    n: str | None = None,
    d: str | None = None,
    c: str | None = None,
    loss: str | None = None,
    run: str | None = None,
    where: Mapping[str, Sequence[str]] | None = None,
    n_unit: str = "1",
    d_unit: str = "1",
    c_unit: str = "flop",
) -> Runs:
    """The runs in `source`: a CSV file, a data frame, or a mapping of columns.

    Args:
        n, d, c, loss: names of the columns; without a name, one called N, D, C or loss is taken where there is one.
            With two of N, D and C the third is C = 6 N D.
        run: the column that says which run a row belongs to; without it every row is a run of its own.
        where: rows whose column has one of these values are used, others not.
        n_unit, d_unit, c_unit: 1, K, M, B, T; C also "flop" and "pf-day". Cells such as 125M carry their own.

    Raises:
        TonyError: no such file or column; a loss that is not positive; units that are mixed; nothing to fit.
    """
    columns, first = _columns(source)
    keep = np.ones(len(next(iter(columns.values()), [])), bool)
    for name, values in (where or {}).items():
        wanted = [str(v) for v in values]
        keep &= np.array([str(cell) in wanted for cell in _named(columns, name)], bool)
    if not keep.any():
        conditions = ", ".join(f"{k}={'|'.join(map(str, v))}" for k, v in (where or {}).items())
        raise TonyError(f"no row to fit{f' where {conditions}' if where else ''}: the table is empty there")
    lines = np.flatnonzero(keep) + first
    warnings: list[str] = []
    values: dict[str, np.ndarray | None] = {}
    for key, name, unit in (("N", n, n_unit), ("D", d, d_unit), ("C", c, c_unit)):
        name = name or (key if key in columns else None)
        if name is None:
            values[key] = None
            continue
        cells = [cell for cell, kept in zip(_named(columns, name), keep, strict=True) if kept]
        values[key] = _numbers(cells, name, lines) * _unit(unit, key)
    losses = [cell for cell, kept in zip(_named(columns, loss or "loss"), keep, strict=True) if kept]
    values["loss"] = _numbers(losses, loss or "loss", lines)
    labels = [c for c, kept in zip(_named(columns, run), keep, strict=True) if kept] if run else lines
    runs = Runs(values["N"], values["D"], values["C"], values["loss"], np.array(labels, str), lines, warnings)
    return checked(runs)


def checked(runs: Runs) -> Runs:
    """The runs that can be fitted: rows without a number left out, doubles counted once, C = 6 N D filled in.

    Raises:
        TonyError: a loss, size, or compute that is not positive; units that are mixed; fewer than four rows.
    """
    warnings = list(runs.warnings)
    present = [a for a in (runs.n, runs.d, runs.c, runs.loss) if a is not None]
    if len(present) == 1:
        raise TonyError("the table has a loss but none of N, D and C: name a column with --n, --d or --c")
    whole = np.all([np.isfinite(a) for a in present], axis=0)
    if not whole.all():
        warnings.append(f"{_rows(runs.lines[~whole])} left out: no finite number there")
        runs = runs.take(whole)
    for name, values in (("loss", runs.loss), ("N", runs.n), ("D", runs.d), ("C", runs.c)):
        if values is not None and (values <= 0).any():
            bad = _rows(runs.lines[values <= 0])
            raise TonyError(
                f"{bad}: {name} is not positive, and its logarithm is fitted. Correct or remove those rows"
            )
    _check_units(runs)
    n, d, c = runs.n, runs.d, runs.c
    if c is None and n is not None and d is not None:
        c = 6 * n * d
    elif d is None and n is not None and c is not None:
        d = c / (6 * n)
    elif n is None and d is not None and c is not None:
        n = c / (6 * d)
    elif n is not None and d is not None and c is not None:
        warnings += _compute_agrees(c / (6 * n * d), runs.lines)
    runs = replace(runs, n=n, d=d, c=c)
    if (runs.loss > 20).any():
        warnings.append(
            f"{_rows(runs.lines[runs.loss > 20])}: losses above 20. If they are perplexities, take their logarithm"
        )
    keys = np.stack([a for a in (n, d, c, runs.loss) if a is not None], axis=1)
    _, firsts, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    single = np.zeros(len(runs), bool)
    single[firsts] = True
    if not single.all():
        twins = [
            f"{runs.lines[i]} as {runs.lines[firsts[inverse.ravel()[i]]]}" for i in np.flatnonzero(~single)
        ]
        warnings.append(f"duplicate rows counted once: {_some(twins)}")
        runs = runs.take(single)
    if len(runs) < FEWEST:
        raise TonyError(
            f"{len(runs)} {'row' if len(runs) == 1 else 'rows'} ({_rows(runs.lines)}): a law with an irreducible loss needs "
            f"at least {FEWEST}. Add runs of other sizes"
        )
    return replace(runs, warnings=warnings)


def _columns(source: Any) -> tuple[Mapping[str, Sequence[Any]], int]:
    """The columns of `source`, and the line that its first row stands on."""
    if isinstance(source, (str, Path)):
        path = Path(source)
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
        except FileNotFoundError:
            raise TonyError(f"{path}: no such file. Give a CSV with one row a run") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise TonyError(f"{path}: cannot be read as CSV ({error}). Save it as UTF-8 CSV") from None
        if not rows or not reader.fieldnames:
            raise TonyError(f"{path}: holds no row. Give a CSV with a header and one row a run")
        return {name: [row[name] for row in rows] for name in reader.fieldnames}, 2
    try:
        return {str(name): list(source[name]) for name in source}, 0  # a mapping, or a data frame
    except (TypeError, KeyError):
        raise TonyError(
            f"runs are read from a CSV file, a data frame or a mapping, not {type(source)}"
        ) from None


def _named(columns: Mapping[str, Sequence[Any]], name: str) -> Sequence[Any]:
    if name not in columns:
        raise TonyError(f"the table has no column {name!r}. It has: {', '.join(columns)}")
    return columns[name]


def _unit(unit: str, column: str) -> float:
    known = {k: v for k, v in UNITS.items() if column == "C" or k not in ("pf-day", "flop")}
    if unit not in known and not (unit == "flop" and column != "C"):
        raise TonyError(f"unit {unit!r} of {column} is not known. Known: {', '.join(known)}")
    return UNITS[unit]


def _numbers(cells: Sequence[Any], name: str, lines: np.ndarray) -> np.ndarray:
    """The cells as numbers, 125M and 1,000 read; what is empty or "nan" is NaN.

    Raises:
        TonyError: a cell that is no number, or a suffix in some cells and not in others.
    """
    numbers, suffixed, wrong = np.full(len(cells), math.nan), np.zeros(len(cells), bool), []
    for i, cell in enumerate(cells):
        if not isinstance(cell, str):
            numbers[i] = math.nan if cell is None else float(cell)
            continue
        text = cell.strip()
        match = _NUMBER.match(text)
        if match:
            try:
                numbers[i] = float(match[1].replace(",", "").replace("_", "")) * SUFFIXES.get(match[2], 1.0)
                suffixed[i] = match[2] is not None
            except ValueError:
                wrong.append(i)
        elif text.lower() in ("inf", "+inf", "-inf", "infinity"):
            numbers[i] = math.inf
        elif text.lower() not in ("", "nan", "na", "none", "null", "-"):
            wrong.append(i)
    if wrong:
        raise TonyError(
            f"{_rows(lines[wrong])}: {name} is no number ({cells[wrong[0]]!r}). Correct or remove those rows"
        )
    known = np.isfinite(numbers)
    if suffixed.any() and not suffixed[known].all():
        bare = known & ~suffixed & (numbers < GAP * np.nanmin(numbers[suffixed]) / 1e6)
        if bare.any():
            raise TonyError(
                f"{_rows(lines[bare])}: {name} has no suffix there and others have (such as {_example(cells, suffixed)}): mixed "
                "units. Write all in one unit"
            )
    return numbers


def _example(cells: Sequence[Any], chosen: np.ndarray) -> str:
    return str(cells[int(np.flatnonzero(chosen)[0])]).strip()


def _check_units(runs: Runs) -> None:
    """Refuse sizes that fall into two groups a thousand times apart."""
    for name, values in (("N", runs.n), ("D", runs.d), ("C", runs.c)):
        if values is None or len(values) < 2:
            continue
        order = np.argsort(values)
        ratios = values[order][1:] / values[order][:-1]
        widest = int(ratios.argmax())
        limit = GAP**2 if name == "C" else GAP
        if ratios[widest] >= limit:
            low, high = order[: widest + 1], order[widest + 1 :]
            odd, where = (low, "below") if len(low) <= len(high) else (high, "above")
            raise TonyError(
                f"{_rows(np.sort(runs.lines[odd]))}: {name} is {ratios[widest]:.2g} times {where} the other rows: mixed units. "
                "Write all in one unit"
            )


def _compute_agrees(ratio: np.ndarray, lines: np.ndarray) -> list[str]:
    """What C / (6 N D) says about the units of C."""
    middle = float(np.median(ratio))
    odd = (ratio > 3 * middle) | (ratio < middle / 3)
    if odd.any():
        raise TonyError(
            f"{_rows(lines[odd])}: C / (6 N D) is {ratio[odd][0]:.3g} there and {middle:.3g} elsewhere: mixed units. Write all "
            "in one unit"
        )
    if 0.3 < middle < 3:
        return []
    if 0.3 < middle * PF_DAY < 3:
        return ["C looks as if it were in PF-days: say so (--c-unit pf-day)"]
    return [
        f"C is {middle:.3g} times 6 N D in all rows: forecasts for a budget need C in FLOP, N and D as numbers"
    ]


def _rows(lines: Sequence[int] | np.ndarray) -> str:
    lines = [int(line) for line in lines]
    return f"{'row' if len(lines) == 1 else 'rows'} {_some([str(line) for line in lines])}"


def _some(items: Sequence[str], most: int = 12) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def name_rows(lines: Sequence[int] | np.ndarray) -> str:
    """`rows 3, 7, 9`: how rows are named in messages."""
    return _rows(lines)
