"""What `tony forecast` prints for people."""

from __future__ import annotations

from typing import Any

import typer


def print_report(result: dict[str, Any]) -> None:
    """The law with its constants, what is compute-optimal, forecasts, and what does not hold."""
    from rich.console import Console
    from rich.table import Table

    console, law = Console(), result["law"]
    console.print(law["formula"], highlight=False, markup=False, soft_wrap=True)
    console.print(f"{result['rows']} rows; mean error of the fit {law['mean_error']:.2%}", highlight=False)
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
            mark = " *" if c["form"] == law["form"] else " +" if c["form"] in law["beside"] else ""
            table.add_row(c["form"] + mark, f"{c['heldout_error']:.2%}", f"{c['fitted_error']:.2%}")
        console.print(table)
    if law["beside"]:
        told = " and ".join(law["beside"])
        console.print(f"intervals of losses hold those of {told} (+), too: the runs cannot tell them apart", highlight=False, soft_wrap=True)  # fmt: skip
    exponents = {
        "law": law["size_exponent"],
        "iso-FLOP": result["isoflops"] and result["isoflops"]["beta"],
        "convex hull": result["size"] and result["size"]["beta"],
    }
    for name, beta in exponents.items():
        if beta and name == "law" and beta["low"] == beta["high"]:
            console.print(
                "compute-optimal N grows as C^0.5 by the form of the law, not by the data", highlight=False
            )
        elif beta:
            text = f"compute-optimal N grows as C^{beta['value']:.3f} ({name}; 90%: {interval(beta)})"
            console.print(text, highlight=False, soft_wrap=True)
    for best in result["optimum"]:
        if best["N"]:
            line = f"{best['flops']:.3g} FLOP: N = {_around(best['N'])}, D = {_around(best['D'])} (by {best['by']})"
        else:
            line = f"{best['flops']:.3g} FLOP: no optimal size from these runs"
        console.print(line + _loss(best["loss"]), highlight=False, soft_wrap=True)
    for point in result["forecasts"]:
        where = ", ".join(f"{k} = {point[k]:.3g}" for k in "NDC" if k in point)
        console.print(f"forecast at {where}" + _loss(point["loss"]), highlight=False, soft_wrap=True)
    for path in [*result.get("plots", []), *([result["saved"]] if "saved" in result else [])]:
        console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
    far = [
        w
        for found in (*result["optimum"], *result["forecasts"])
        for w in (found["loss"] or {}).get("warnings", [])
    ]
    for warning in dict.fromkeys([*result["warnings"], *far]):
        typer.echo(f"warning: {warning}", err=True)
    for reason in dict.fromkeys(result["refused"].values()):
        if reason not in result["warnings"]:
            typer.echo(f"not fitted: {reason}", err=True)


def interval(value: dict[str, float | None]) -> str:
    """`low to high`, or a dash."""
    if value.get("low") is None or value.get("high") is None:
        return "-"
    return f"{value['low']:.4g} to {value['high']:.4g}"


def _around(value: dict[str, float | None]) -> str:
    """A size with its interval, where it has one."""
    low, high = value.get("low"), value.get("high")
    around = f" (90%: {low:.3g} to {high:.3g})" if low is not None and high is not None else ""
    return f"{value['value']:.3g}{around}"


def _loss(loss: dict[str, Any] | None) -> str:
    if loss is None:
        return ""
    around = f" (90%: {interval(loss)})" if loss.get("low") is not None else ""
    return f", loss {loss['value']:.4g}{around}"


def print_plan(result: dict[str, Any]) -> None:
    """One column a choice."""
    from rich.console import Console
    from rich.table import Table

    console, choices = Console(), result["choices"]
    head = f"{result['flops']:.3g} FLOP on {result['gpus']} {result['gpu']} at {result['mfu']:.0%} utilisation; law: {result['law']}"
    console.print(head, highlight=False, markup=False, soft_wrap=True)
    table = Table()
    table.add_column("")
    for choice in choices:
        table.add_column(
            choice["name"].replace("compute-", "compute-\n").replace(", ", ",\n"), justify="right"
        )
    lines = {
        "parameters N": lambda c: _short(c["N"]),
        "tokens D": lambda c: _short(c["D"]),
        "D / N": lambda c: f"{c['tokens_per_parameter']:.0f}",
        "loss": lambda c: f"{c['loss']['value']:.3f}",
        "90% interval" if choices[0]["loss"]["level"] else "two fits": lambda c: (
            f"{c['loss']['low']:.3f}-{c['loss']['high']:.3f}"
        ),
        "width x depth": lambda c: f"{c['shape']['width']} x {c['shape']['depth']}",
        "FSDP x TP": lambda c: f"{c['shards']} x {c['tensor_parallel']}",
        "rows x accum.": lambda c: f"{c['sequences_per_gpu']} x {c['accumulation']}",
        "batch, tokens": lambda c: _short(c["batch_tokens"]),
        "GB a GPU": lambda c: f"{c['memory']['total'] / 1e9:.1f}",
        "step, seconds": lambda c: f"{c['step_seconds']:.2f}",
        "steps": lambda c: f"{c['steps']:,.0f}",
        "days": lambda c: f"{c['days']:.1f}",
        "cost": lambda c: f"${c['dollars']:,.0f}",
    }
    for name, text in lines.items():
        table.add_row(name, *(text(choice) for choice in choices))
    console.print(table)
    typer.echo(f"priced at ${result['dollars_per_gpu_hour']:g} a GPU and hour (--price to change)", err=True)
    for note in dict.fromkeys(w for c in choices for w in (*c["loss"]["warnings"], *c["warnings"])):
        typer.echo(f"warning: {note}", err=True)
    for choice in choices:
        if choice["refused"]:
            typer.echo(f"does not fit: {choice['name']}: {choice['refused']}", err=True)


def _short(value: float) -> str:
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def print_receipt(result: dict[str, Any]) -> None:
    """The law, the forecast, and the truth where it is known."""
    from tony.forecast.receipt import other_forms

    forecast, target = result["forecast"], result["target"]
    typer.echo(
        f"{result['law']['formula']}, from {len(result['inputs'])} runs; irreducible {result['law']['irreducible']:.4g}"
    )
    typer.echo(
        f"forecast at {result['beyond']:.0f} times the compute of the largest run (N = {_short(target['N'])}, D = {_short(target['D'])}): "
        f"{forecast['loss']:.4f} ({forecast['level']:.0%}: {forecast['low']:.4f} to {forecast['high']:.4f})"
    )
    if others := other_forms(result):
        told = ", ".join(f"{other['form']} {other['loss']:.4f}" for other in others)
        typer.echo(f"the interval holds those of forms that the runs cannot tell from it: {told}")
    found = result.get("confirmation")
    if found:
        where = "inside" if found["inside"] else "outside"
        runs = found.get("losses", [])
        each = f" (mean of {', '.join(f'{loss:.4f}' for loss in runs)})" if len(runs) > 1 else ""
        typer.echo(
            f"measured {found['loss']:.4f}{each}: the forecast errs by {found['error']:+.2%}, {where} its interval"
        )
    print_domain(result["domain"])
    for warning in (*result["warnings"], *forecast["warnings"]):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"receipt: {result['receipt']}; of the domain: {result['of_domain']}")


def print_domain(found: dict[str, Any]) -> None:
    """What a ladder says of its domain, beside the paper."""
    from rich.console import Console
    from rich.table import Table

    from tony.forecast.measured import goal_rows, law_rows, sentences

    console, paper = Console(), found["paper_domain"] or "no row"
    for title, head, rows in (
        (f"{found['domain']}, beside the paper's {paper}", ("law", "constant", "value", "90% interval", "paper"), law_rows(found)),
        ("What reaches a reducible loss", ("goal", "N, data without end", "C, FLOP", "paper's N"), goal_rows(found)),
    ):  # fmt: skip
        table = Table(title=title)
        for column in head:
            table.add_column(column, justify="left" if column in ("law", "constant", "goal") else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for law in found["laws"]:
        console.print(f"{law['name']}: {law['of']}", highlight=False, markup=False, soft_wrap=True)
    for line in (*sentences(found), *found["notes"]):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for name, why in found["refused"].items():
        typer.echo(f"not fitted: {name}: {why}", err=True)


def print_finding(result: dict[str, Any]) -> None:
    """The table of a study, its laws, and what it answers."""
    from rich.console import Console
    from rich.table import Table

    console, table = Console(), Table(title=f"{result['domain']}: {result['study']}")
    for column in result["columns"]:
        table.add_column(column, justify="right")
    for row in result["rows"]:
        table.add_row(
            *(f"{v:.4g}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else str(v) for v in row)
        )
    console.print(table)
    for name, constants in result["laws"].items():
        values = ", ".join(f"{k} = {v:.4g}" for k, v in constants.items())
        console.print(f"{name}: {values}", highlight=False, markup=False, soft_wrap=True)
    for line in (
        *result["answers"],
        *(f"Note: {w}" for w in result["warnings"]),
        f"written: {result['picture']}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
