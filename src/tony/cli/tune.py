"""`tony tune RECIPE`: search small, carry the values to the target, and say how well that goes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tony.tune.verdict import Verdict


class Search(StrEnum):
    tpe = "tpe"
    random = "random"
    grid = "grid"


def tune(
    source: Annotated[str, typer.Argument(help="the target's recipe (.toml), or a folder of your own files")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as model.width=256")] = None,
    search: Annotated[Search, typer.Option(help="how points are chosen")] = Search.tpe,
    trials: Annotated[int, typer.Option(help="points of a tpe or random search", min=1)] = 24,
    space: Annotated[
        list[str] | None, typer.Option(help="NAME=LOW..HIGH or NAME=A|B|C; again for more names. Default: lr, scales, decay")
    ] = None,
    width: Annotated[int | None, typer.Option(help="of the proxy; default a quarter of the target's", min=1)] = None,
    depth: Annotated[int | None, typer.Option(help="of the proxy; default the target's", min=1)] = None,
    share: Annotated[float, typer.Option(help="of the target's tokens, that a trial is trained on")] = 0.125,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="sweep the learning rate over sizes, muP against standard")
    ] = True,
    seeds: Annotated[int, typer.Option(help="runs at each point of the check under muP", min=1)] = 2,
    workers: Annotated[int | None, typer.Option(help="trials at a time; default one a core", min=1)] = None,
    storage: Annotated[str | None, typer.Option(help="database URL; default SQLite in the run folder")] = None,
    ray: Annotated[str | None, typer.Option(help="fan out over Ray: an address, auto, or local")] = None,
    seed: Annotated[int, typer.Option(help="of the search")] = 0,
    out: Annotated[Path | None, typer.Option(help="where the target's recipe is written")] = None,
    runs: Annotated[Path, typer.Option(help="where run folders live")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print the verdict as JSON and nothing else")] = False,
) -> None:  # fmt: skip
    """Tune a recipe on a small proxy and transfer the values by muP; the same command resumes after Ctrl-C or a crash."""
    from tony.cli.recipes import recipe_for
    from tony.cli.show import print_json
    from tony.train.progress import Terminal
    from tony.tune.space import read_space
    from tony.tune.tune import Settings, arrangement
    from tony.tune.tune import tune as run_tuning

    recipe = recipe_for(source, overrides or [])
    workers, threads = arrangement(recipe, workers)
    settings = Settings(
        search=search.value, trials=trials, space=read_space(space) if space else None, width=width, depth=depth,
        share=share, check=check, seeds=seeds, workers=workers, threads=threads, storage=storage, ray=ray, seed=seed,
    )  # fmt: skip
    with Terminal() as reporter:
        verdict, written = run_tuning(recipe, runs, settings, reporter, out)
    if as_json:
        print_json(verdict.to_dict() | {"written": {name: str(path) for name, path in vars(written).items()}})
        return
    _print(verdict)
    print(f"target's recipe: {written.recipe}\nreport: {written.page}\nnext: tony train {written.recipe}")


def _print(verdict: Verdict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    width, depth = verdict.proxy
    chosen = Table(
        title=f"Best of {len(verdict.trials)} trials at width {width}, depth {depth}: loss {verdict.loss:.4f}"
    )
    for title, justify in (("value", "left"), ("searched", "left"), ("chosen", "right")):
        chosen.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name, choices in verdict.settings["space"].items():
        chosen.add_row(name, choices, f"{verdict.chosen[name]:.4g}")
    console.print(chosen)
    console.print(
        f"cost of the search: {100 * verdict.cost:.1f}% of training the target (N D over trials, by N D)"
    )
    if verdict.checked is None:
        return
    drifts = {how: verdict.checked.drift(how) for how in verdict.checked.curves}
    optima = Table(title="Best learning rate, with its 95% interval")
    optima.add_column(verdict.checked.over, justify="right")
    for how in drifts:
        optima.add_column(how, justify="right")
    for size in drifts["muP"].optima:
        optima.add_row(str(size), *(_rate(found.optima[size]) for found in drifts.values()))
    console.print(optima)
    for how, found in drifts.items():
        console.print(
            f"drift, {how}: 2^{found.spread}{'' if found.is_interior else ', at the edge of what was tried'}"
        )
    lost = verdict.checked.regret("muP")
    error = "" if lost.error is None else f" (standard error {100 * lost.error:.2f}%)"
    console.print(f"regret at the target: {100 * lost.relative:.2f}% of its loss{error}")
    if (wider := verdict.checked.wider()) is not None:
        console.print(f"wider is better at {100 * wider[0]:.0f}% of the steps")
    said = (
        "the transfer holds"
        if verdict.passed
        else f"the transfer is not shown to hold: {'; '.join(verdict.reasons)}"
    )
    console.print(said, style="green" if verdict.passed else "red")


def _rate(at) -> str:
    known = "" if at.low is None else f" ({2**at.low:.2g} to {2**at.high:.2g})"
    return f"{2**at.value:.3g}{known}"
