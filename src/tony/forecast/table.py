"""Anybody's runs as a table: sizes, data, compute and losses, with what is wrong in it named row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.forecast.cells import GAP, PF_DAY, name_rows, numbers, read_columns, some, unit_of

FEWEST = 4
LOSS_UNITS = ("nat", "bit", "perplexity")
CURVE = 100  # at most so many rows of one learning curve count: its rows err together, and fits take time by the row
CROWDED = 20  # rows a size from which a table looks like learning curves


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
    loss_unit: str = "nat",
) -> Runs:
    """The runs in `source`: a CSV file, a data frame, or a mapping of columns.

    Args:
        n, d, c, loss: names of the columns; without a name, one called N, D, C or loss is taken where there is one.
            With two of N, D and C the third is C = 6 N D.
        run: the column that says which run a row belongs to; without it every row is a run of its own.
        where: rows whose column has one of these values are used, others not.
        n_unit, d_unit, c_unit: 1, K, M, B, T, or a number, such as the tokens of a step; C also "flop" and "pf-day". Cells
            such as 125M carry their own.
        loss_unit: nat, bit, or perplexity (nats are fitted).

    Raises:
        TonyError: no such file or column; a loss that is not positive; units that are mixed; nothing to fit.
    """
    columns = read_columns(source)
    keep = np.ones(len(columns.lines), bool)
    for name, values in (where or {}).items():
        wanted = [str(v) for v in values]
        keep &= np.array([str(cell).strip() in wanted for cell in columns.named(name, "--where")], bool)
    if not keep.any():
        conditions = ", ".join(f"{k}={'|'.join(map(str, v))}" for k, v in (where or {}).items())
        raise TonyError(f"no row to fit{f' where {conditions}' if where else ''}: the table is empty there")
    lines = columns.lines[keep]

    def kept(name: str, flag: str) -> list[Any]:
        return [cell for cell, one in zip(columns.named(name, flag), keep, strict=True) if one]

    values: dict[str, np.ndarray | None] = {}
    for key, name, unit in (("N", n, n_unit), ("D", d, d_unit), ("C", c, c_unit)):
        name = name or (key if key in columns else None)
        if name is None:
            values[key] = None
            continue
        cells = kept(name, f"--{key.lower()}")
        values[key] = numbers(cells, name, lines, columns.comma) * unit_of(unit, key)
    losses = numbers(kept(loss or "loss", "--loss"), loss or "loss", lines, columns.comma)
    labels = kept(run, "--run") if run else lines
    losses = _nats(losses, loss_unit, lines)
    runs = checked(Runs(values["N"], values["D"], values["C"], losses, np.array(labels, str), lines, []))
    if run:
        return _thinned(runs)
    sizes = len(runs) if runs.n is None else len(np.unique(runs.n))
    if len(runs) >= CROWDED * sizes:
        runs.warnings.append(
            f"{len(runs)} rows have only {sizes} {'size' if sizes == 1 else 'sizes'} N: if they are points of learning curves, "
            "say which run each belongs to (--run COLUMN), or intervals are too narrow"
        )
    return runs


def _thinned(runs: Runs) -> Runs:
    """The runs with at most `CURVE` rows each, evenly in log D (or C, or N)."""
    x = np.log(next(a for a in (runs.d, runs.c, runs.n) if a is not None))
    _, member = np.unique(runs.run, return_inverse=True)
    keep = np.ones(len(runs), bool)
    for one in np.flatnonzero(np.bincount(member) > CURVE):
        rows = np.flatnonzero(member == one)
        rows = rows[np.argsort(x[rows], kind="stable")]
        span = max(float(np.ptp(x[rows])), 1e-12)
        bins = np.floor((x[rows] - x[rows[0]]) / span * (CURVE - 1e-9))
        keep[rows[:-1][bins[1:] == bins[:-1]]] = False  # the last of each bin stays
    if not keep.all():
        runs = runs.take(keep)
        runs.warnings.append(
            f"{len(runs)} of {len(keep)} rows of learning curves are used: at most {CURVE} a run, evenly in log D"
        )
    return runs


def _nats(losses: np.ndarray, unit: str, lines: np.ndarray) -> np.ndarray:
    """Losses (rows,) in `unit` as nats."""
    if unit not in LOSS_UNITS:
        raise TonyError(f"unit {unit!r} of the loss is not known. Known: {', '.join(LOSS_UNITS)}")
    if unit == "bit":
        return losses * np.log(2)
    if unit == "perplexity":
        if (losses <= 1).any():
            raise TonyError(
                f"{name_rows(lines[losses <= 1])}: a perplexity is more than 1. Correct or remove those rows"
            )
        return np.log(losses)
    return losses


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
        warnings.append(f"{name_rows(runs.lines[~whole])} left out: no finite number there")
        runs = runs.take(whole)
    for name, values in (("loss", runs.loss), ("N", runs.n), ("D", runs.d), ("C", runs.c)):
        if values is not None and (values <= 0).any():
            bad = name_rows(runs.lines[values <= 0])
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
            f"{name_rows(runs.lines[runs.loss > 20])}: losses above 20. If they are perplexities, say so (--loss-unit "
            "perplexity)"
        )
    keys = np.stack([a for a in (n, d, c, runs.loss) if a is not None], axis=1)
    _, firsts, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    single = np.zeros(len(runs), bool)
    single[firsts] = True
    if not single.all():
        twins = [
            f"{runs.lines[i]} as {runs.lines[firsts[inverse.ravel()[i]]]}" for i in np.flatnonzero(~single)
        ]
        warnings.append(f"duplicate rows counted once: {some(twins)}")
        runs = runs.take(single)
    if len(runs) < FEWEST:
        raise TonyError(
            f"{len(runs)} {'row' if len(runs) == 1 else 'rows'} ({name_rows(runs.lines)}): a law with an irreducible loss needs "
            f"at least {FEWEST}. Add runs of other sizes"
        )
    return replace(runs, warnings=warnings)


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
                f"{name_rows(np.sort(runs.lines[odd]))}: {name} is {ratios[widest]:.2g} times {where} the other rows: mixed units. "
                "Write all in one unit"
            )


def _compute_agrees(ratio: np.ndarray, lines: np.ndarray) -> list[str]:
    """What C / (6 N D) says about the units of C."""
    middle = float(np.median(ratio))
    odd = (ratio > 3 * middle) | (ratio < middle / 3)
    if odd.any():
        raise TonyError(
            f"{name_rows(lines[odd])}: C / (6 N D) is {ratio[odd][0]:.3g} there and {middle:.3g} elsewhere: mixed units. Write all "
            "in one unit"
        )
    if 0.3 < middle < 3:
        return []
    if 0.3 < middle * PF_DAY < 3:
        return ["C looks as if it were in PF-days: say so (--c-unit pf-day)"]
    return [
        f"C is {middle:.3g} times 6 N D in all rows: forecasts for a budget need C in FLOP, N and D as numbers"
    ]
