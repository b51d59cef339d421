"""The page of what ladders found in their domains, from `domain.domain`'s JSON: one table a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tony.forecast.choose import transition
from tony.forecast.climb import runs_of
from tony.forecast.derived import to_pf_days

NOTHING = 1e-9  # nats: a fit that ends at the edge E = 0 leaves such
UNITS = {"E": "nats", "N0": "parameters", "C0": "FLOP", "alpha": "", "beta": ""}


def law_rows(domain: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """(law, constant, value, 90% interval, the paper's) of every constant; a C0 also in PF-days."""
    rows = []
    for law in domain["laws"]:
        paper = law["paper"] or {}
        for name, value in law["constants"].items():
            theirs = f"{paper[name]:.3g}" if name in paper else "-"
            rows.append(
                (
                    law["name"],
                    f"{name} {UNITS[name]}".strip(),
                    _number(value["value"]),
                    between(value),
                    theirs,
                )
            )
        if "C0" in law["constants"]:
            value = {k: v and to_pf_days(v) for k, v in law["constants"]["C0"].items()}
            theirs = f"{to_pf_days(paper['C0']):.3g}" if "C0" in paper else "-"
            rows.append((law["name"], "C0 PF-days", _number(value["value"]), between(value), theirs))
    return rows


def goal_rows(domain: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(goal, N with its interval, C with its interval, the paper's N)."""
    return [
        (
            f"{goal['reducible']:g} {goal['unit']}".replace("a image", "an image"),
            around(goal["N"]),
            around(goal["C"]),
            _number(goal["paper_N"]),
        )
        for goal in domain["goals"]
    ]


def sentences(domain: dict[str, Any]) -> list[str]:
    """What is irreducible and what is not, in words."""
    told = [
        f"irreducible by {name}: {around(value)} nats a token" for name, value in domain["entropy"].items()
    ]
    image = domain.get("image")
    n = image["tokens"] if image else None
    for which, value in (domain["kl"] or {}).items():
        if which == "by":
            continue
        line = f"reducible at the {which} (N = {value['N']:.3g}, D = {value['D']:.3g}): {around(value)} nats a token"
        if n:
            scaled = {k: value[k] and n * value[k] for k in ("value", "low", "high")}
            line += f", {around(scaled)} nats a picture"
        told.append(line)
    for name, law in (image or {"laws": {}})["laws"].items():
        scale = "N0" if "N0" in law else "C0"
        line = f"{name}, a picture of {n:.0f} counted ids: {law['irreducible']:.4g} nats cannot be reduced"
        if "paper_irreducible" in law:
            line += f" (paper: {law['paper_irreducible']:.4g})"
        theirs = f" (paper: {law[f'paper_{scale}']:.3g})" if f"paper_{scale}" in law else ""
        told.append(f"{line}; 1 nat is left at {scale[0]} = {law[scale]:.3g}{theirs}")
    return told


def between(value: dict[str, float | None]) -> str:
    """`low to high`; an end that no data bound is open."""
    low, high = value.get("low"), value.get("high")
    if low is None and high is None:
        return "-"
    return f"{_number(low, 'none')} to {_number(high, 'no bound')}"


def around(value: dict[str, float | None] | None) -> str:
    """`value (90%: low to high)`."""
    if value is None:
        return "-"
    interval = between(value)
    return _number(value["value"], "none") + (f" (90%: {interval})" if interval != "-" else "")


def page(
    domains: Sequence[dict[str, Any]],
    findings: Sequence[dict[str, Any]] = (),
    receipts: Sequence[dict[str, Any]] = (),
    earlier: Sequence[dict[str, Any]] = (),
) -> str:
    """Markdown: forecasts and what came of them, constants beside the paper's, what is irreducible, what sizes reach, studies.

    Args:
        domains: of `domain.domain`.
        findings: of studies, `Finding.to_dict`, put under their domains.
        receipts: of `receipt.read_receipt`, of the recipes as they are.
        earlier: of recipes that these took the place of, or that were tried beside them.
    """
    lines = [
        "# What the ladders found",
        "",
        "Made by benchmarks/forecast.py from ladders that were trained on one machine. N is without embeddings, C = 6 N D; "
        "intervals are 90%, by a bootstrap over runs; the paper is Henighan et al. 2020, whose data are others: its constants "
        "show what is usual, and are no target.",
    ]
    if receipts or earlier:
        head = (
            "domain",
            "law",
            "compute, times the largest run's",
            "forecast",
            "90% interval",
            "half-width",
            "measured",
            "error",
        )
        lines += [
            "",
            "## Forecasts, written before their targets were trained",
            "",
            *_table(head, [*map(_kept, receipts)]),
        ]
        if earlier:
            lines += [
                "",
                "Of recipes that these took the place of, or that were tried beside them:",
                "",
                *_table(head, [*map(_kept, earlier)]),
            ]
        every = [*receipts, *earlier]
        warned = [(receipt["domain"], _warning(receipt)) for receipt in every]
        truths = [receipt["confirmation"] for receipt in every if receipt.get("confirmation")]
        lines += [
            "",
            f"Confirmed: {len(truths)}, of which {sum(t['inside'] for t in truths)} lie inside their 90% intervals. An interval "
            "knows the noise of runs and of the fit and (since 2026-11-29, night) what forms that predict as well differ by; not "
            "what changes beyond the ladder.",
            "",
            *(f"- {domain}: {warning}." for domain, warning in warned if warning),
        ]
    known = [domain["domain"] for domain in domains]
    others = [{"domain": name} for name in dict.fromkeys(f["domain"] for f in findings) if name not in known]
    for domain in (*domains, *others):
        if domain in others:
            lines += ["", f"## {domain['domain']}", *_studies(domain["domain"], findings)]
            continue
        lines += [
            "",
            f"## {domain['domain']}",
            "",
            f"Beside the paper's row: {domain['paper_domain'] or 'none'}.",
            "",
        ]
        lines += _table(("law", "constant", "value", "90% interval", "paper"), law_rows(domain))
        lines += ["", *(f"- {law['name']}: {law['of']}." for law in domain["laws"])]
        lines += [f"- No {name}: {why}." for name, why in domain["refused"].items()]
        lines += ["", *(f"- {told[0].upper()}{told[1:]}." for told in sentences(domain))]
        lines += ["", *_table(("reducible loss", "N, data without end", "C", "paper's N"), goal_rows(domain))]
        lines += (
            ["", *(f"- {note[0].upper()}{note[1:]}." for note in domain["notes"])] if domain["notes"] else []
        )
        lines += _studies(domain["domain"], findings)
    return "\n".join(lines) + "\n"


def _kept(receipt: dict[str, Any]) -> tuple[str, ...]:
    """The row of a receipt."""
    forecast, truth = receipt["forecast"], receipt.get("confirmation")
    came = (
        (f"{truth['loss']:.4f}", f"{truth['error']:+.2%}" + ("" if truth["inside"] else ", outside"))
        if truth
        else ("-", "-")
    )
    interval = f"{forecast['low']:.4f} to {forecast['high']:.4f}"
    return (
        receipt["domain"],
        receipt["law"]["form"],
        f"{receipt['beyond']:.0f}",
        f"{forecast['loss']:.4f}",
        interval,
        f"{(forecast['high'] - forecast['low']) / (2 * forecast['loss']):.1%}",
        *came,
    )


def _warning(receipt: dict[str, Any]) -> str | None:
    """What `choose` warns of where the ladder's losses fall faster and faster; receipts from before it did are told of, too."""
    target = receipt["target"]
    return transition(runs_of(receipt["inputs"]), target["D"] / target["N"])


def _studies(domain: str, findings: Sequence[dict[str, Any]]) -> list[str]:
    """The tables and answers of a domain's studies."""
    lines: list[str] = []
    for finding in (f for f in findings if f["domain"] == domain):
        lines += ["", f"### {finding['study']}", ""]
        lines += _table(finding["columns"], [[_cell(v) for v in row] for row in finding["rows"]])
        lines += ["", *(f"- {answer}" for answer in (*finding["answers"], *finding["warnings"]))]
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None, none: str = "-") -> str:
    return none if value is None else f"{value if abs(value) > NOTHING else 0:.4g}"
