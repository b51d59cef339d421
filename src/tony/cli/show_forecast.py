"""What `tony forecast` prints for people."""

from __future__ import annotations

from typing import Any

import typer


def print_report(result: dict[str, Any]) -> None:
    """The law with its constants, what is compute-optimal, forecasts, and what does not hold."""
    from rich.console import Console
    from rich.table import Table

    console, law = Console(), result["law"]
    title = f"{law['formula']}   ({result['rows']} rows; mean error of the fit {law['mean_error']:.2%})"
    console.print(title, highlight=False, markup=False)
    table = Table()
    for name in ("constant", "value", "90% interval"):
        table.add_column(name, justify="left" if name == "constant" else "right")
    for name, value in law["constants"].items():
        table.add_row(name, f"{value['value']:.4g}", interval(value))
    console.print(table)
    tried = [c for c in result["candidates"] if c["heldout_error"] is not None]
    if tried:
        table = Table(title="Forms, by their error on larger runs than they were fitted to")
        for name in ("form", "held out", "fitted"):
            table.add_column(name, justify="left" if name == "form" else "right")
        for c in sorted(tried, key=lambda c: c["heldout_error"]):
            mark = " *" if c["form"] == law["form"] else ""
            table.add_row(c["form"] + mark, f"{c['heldout_error']:.2%}", f"{c['fitted_error']:.2%}")
        console.print(table)
    for name, found in (("convex hull", result["size"]), ("iso-FLOP", result["isoflops"])):
        if found and found["beta"]:
            beta = found["beta"]
            text = f"compute-optimal N grows as C^{beta['value']:.3f} ({name}; 90%: {interval(beta)})"
            console.print(text, highlight=False)
    for best in result["optimum"]:
        if best["N"]:
            line = f"{best['flops']:.3g} FLOP: N = {best['N']['value']:.3g}, D = {best['D']['value']:.3g} (by {best['by']})"
        else:
            line = f"{best['flops']:.3g} FLOP: no optimal size from these runs"
        console.print(line + _loss(best["loss"]), highlight=False)
    for point in result["forecasts"]:
        where = ", ".join(f"{k} = {point[k]:.3g}" for k in "NDC" if k in point)
        console.print(f"forecast at {where}" + _loss(point["loss"]), highlight=False)
    for path in [*result.get("plots", []), *([result["saved"]] if "saved" in result else [])]:
        console.print(f"written: {path}", highlight=False, markup=False)
    far = [
        w
        for found in (*result["optimum"], *result["forecasts"])
        for w in (found["loss"] or {}).get("warnings", [])
    ]
    for warning in dict.fromkeys([*result["warnings"], *far]):
        typer.echo(f"warning: {warning}", err=True)
    for reason in result["refused"].values():
        if reason not in result["warnings"]:
            typer.echo(f"not fitted: {reason}", err=True)


def interval(value: dict[str, float | None]) -> str:
    """`low to high`, or a dash."""
    if value.get("low") is None or value.get("high") is None:
        return "-"
    return f"{value['low']:.4g} to {value['high']:.4g}"


def _loss(loss: dict[str, Any] | None) -> str:
    if loss is None:
        return ""
    around = f" (90%: {interval(loss)})" if loss.get("low") is not None else ""
    return f", loss {loss['value']:.4g}{around}"
