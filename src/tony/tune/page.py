"""The verdict as one HTML page that needs nothing beside it: figures are inline SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tony.atomic import replacing
from tony.tune.figures import optima_figure, rates_figure, search_figure, wider_figure
from tony.tune.optimum import Curve, Drift, drift
from tony.tune.proxy import KEYS
from tony.tune.verdict import Verdict

STYLE = """
:root { --ink: #24221f; --soft: #6d685f; --edge: #e2ddd2; --ground: #f6f4ef; --card: #fffefb; --good: #1c7d4d; --bad: #a8321f;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; color: var(--ink);
  background: var(--ground); }
body { margin: 0 auto; max-width: 1040px; padding: 32px 24px 64px; }
h1 { font-size: 1.6rem; margin: 0; letter-spacing: -.01em; } h2 { font-size: 1.1rem; margin: 0 0 4px; }
.about { color: var(--soft); margin: 4px 0 20px; } .note { color: var(--soft); font-size: .875rem; margin: 0 0 12px; max-width: 75ch; }
section { background: var(--card); border: 1px solid var(--edge); border-radius: 14px; padding: 20px 22px; margin: 0 0 18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin: 0 0 18px; }
.tile { background: var(--card); border: 1px solid var(--edge); border-radius: 14px; padding: 14px 18px; }
.tile b { display: block; font-size: 1.45rem; font-weight: 650; letter-spacing: -.01em; }
.tile span { color: var(--soft); font-size: .85rem; }
.verdict { font-weight: 650; } .good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--edge); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; }
tr:last-child td { border-bottom: 0; } .scroll { overflow-x: auto; } svg { width: 100%; height: auto; display: block; }
pre { margin: 0; overflow-x: auto; font-size: .85rem; }
"""


def write_page(verdict: Verdict, path: Path) -> None:
    """Write the page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page(verdict), encoding="utf-8")


def curves_page(title: str, curves: Mapping[str, Sequence[Curve]], over: str) -> str:
    """A page of nothing but loss against learning rate, and the best rate of every size: for a sweep of one's own."""
    noises = {curve.size: noise for curve in curves["muP"] if (noise := curve.noise())}
    drifts = {how: drift(list(found), noises) for how, found in curves.items()}
    body = f"<h1>{html.escape(title)}</h1>" + _curves(curves, drifts, over)
    return _document(title, body)


def page(verdict: Verdict) -> str:
    """The page as HTML."""
    name = html.escape(verdict.recipe.name)
    parts = [
        f"<h1>Tuning {name}</h1>",
        f'<p class="about">{html.escape(_about(verdict))}</p>',
        _tiles(verdict),
        _section("Chosen", "Values of the proxy; in the target's recipe they stay as they are, and muP does the rest.", _chosen(verdict)),
    ]  # fmt: skip
    if verdict.checked:
        checked = verdict.checked
        drifts = {how: checked.drift(how) for how in checked.curves}
        parts.append(_curves(checked.curves, drifts, checked.over))
        if verdict.checked.wider() is not None:
            parts.append(
                _section(
                    "Wider is better",
                    "Loss along the way under muP at the proxy's best learning rate, mean over seeds, smoothed.",
                    wider_figure(verdict.checked),
                )
            )
    parts.append(
        _section(
            "The search",
            "Loss of every trial against each value; the best one is ringed.",
            search_figure(verdict),
        )
    )
    return _document(f"Tuning {name}", "\n".join(parts))


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _curves(curves: Mapping[str, Sequence[Curve]], drifts: Mapping[str, Drift], over: str) -> str:
    """The paper's figure 1, and what is read off it."""
    return _section(
        f"Loss against learning rate, for every {over}",
        "Mean over seeds, with the range of the seeds; rings mark the fitted best rate, crosses a run that diverged. Under muP the "
        "best rate should stay where it is; under the standard parametrisation it moves, so that what was tuned small is wrong large.",
        rates_figure(curves, over),
    ) + _section(
        f"Where the best rate lies, by {over}",
        "Vertex of a parabola through the points around the best one, with its 95% interval (parametric bootstrap over seeds).",
        optima_figure(drifts, over) + _optima(drifts, over),
    )


def _about(verdict: Verdict) -> str:
    width, depth = verdict.proxy
    model = verdict.target.model
    return (
        f"{len(verdict.trials)} trials of a proxy of width {width} and depth {depth}, on {verdict.settings['share']:.3g} of the tokens, "
        f"for a target of width {model.width} and depth {model.depth}."
    )


def _tiles(verdict: Verdict) -> str:
    tiles = []
    if verdict.passed is not None:
        word = '<b class="good">holds</b>' if verdict.passed else '<b class="bad">not shown</b>'
        reason = "; ".join(verdict.reasons) or "drift, regret and wider is better within bounds"
        tiles.append(f'<div class="tile">{word}<span>the transfer: {html.escape(reason)}</span></div>')
    if verdict.checked:
        for how, label in (("muP", "muP"), ("standard", "standard parametrisation")):
            spread = verdict.checked.drift(how).spread
            known = (
                "" if spread.low is None else f", 95% interval {2**spread.low:.2f} to {2**spread.high:.2f}"
            )
            tiles.append(_tile(f"x{2**spread.value:.2f}", f"drift of the best learning rate, {label}{known}"))
        lost = verdict.checked.regret("muP")
        error = "" if lost.error is None else f", standard error {100 * lost.error:.2f}%"
        tiles.append(_tile(f"{100 * lost.relative:.2f}%", f"regret at the target{error}"))
        if (wider := verdict.checked.wider()) is not None:
            tiles.append(_tile(f"{100 * wider[0]:.0f}%", "of the steps: wider is better"))
    tiles.append(_tile(f"{100 * verdict.cost:.1f}%", "cost of the search, of training the target"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(figure: str, label: str) -> str:
    return f'<div class="tile"><b>{figure}</b><span>{html.escape(label)}</span></div>'


def _section(title: str, note: str, body: str) -> str:
    return f'<section><h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>{body}</section>'


def _chosen(verdict: Verdict) -> str:
    rows = [("value", "searched", "chosen", "in the recipe before")]
    for name, choices in verdict.settings["space"].items():
        section, key = KEYS[name]
        held = getattr(verdict.recipe, section)
        before = f"{getattr(held, key):.4g}" if held else "1"
        rows.append((name, choices, f"{verdict.chosen[name]:.4g}", before))
    return _table(rows)


def _optima(drifts: Mapping[str, Drift], over: str) -> str:
    rows: list[tuple[Any, ...]] = [(over, *drifts)]
    for size in drifts["muP"].optima:
        cells = []
        for found in drifts.values():
            at = found.optima[size]
            known = "" if at.low is None else f" ({2**at.low:.2g} to {2**at.high:.2g})"
            cells.append(f"{2**at.value:.3g}{known}")
        rows.append((size, *cells))
    rows.append(("drift, factors of 2", *(str(found.spread) for found in drifts.values())))
    return _table(rows)


def _table(rows: list[tuple[Any, ...]]) -> str:
    head, *body = rows
    cells = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in body
    )
    return f'<div class="scroll"><table><tr>{cells}</tr>{lines}</table></div>'
