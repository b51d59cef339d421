"""`tony up`: the digit world, one network trained on it, measured, and the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as train.tokens=2e6")] = None,
    recipe: Annotated[str, typer.Option(help="the recipe to train")] = "recipes/digits.toml",
    runs: Annotated[Path, typer.Option(help="where run folders live")] = Path("runs"),
    host: Annotated[str, typer.Option(help="the address the studio listens on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="the port the studio listens on")] = 8000,
    open_studio: Annotated[
        bool, typer.Option("--open/--no-open", help="open the studio when all is done")
    ] = True,
    examples: Annotated[int, typer.Option(help="examples a cell of the table")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="print the table as JSON; opens no studio")] = False,
) -> None:
    """Make the digit world, train one network on it, measure it, print the table, open the studio."""
    from tony.cli.recipes import recipe_for
    from tony.cli.show import print_json, print_omni
    from tony.engine import Omni
    from tony.evals.omni import evaluate_omni
    from tony.model.machine import give_back_memory
    from tony.train.progress import Terminal
    from tony.train.start import train_run

    open_studio = open_studio and not as_json
    reserved = None
    if open_studio:
        from tony.serve import reserve

        reserved = reserve(host, port)  # before the long work, not after it
    with Terminal() as reporter:
        run, _ = train_run(recipe_for(recipe, overrides or []), runs, reporter)
        give_back_memory()
        omni = Omni.load(run.path)
        result = run.evaluation("omni")
        if result is None or result["settings"]["examples"] != examples:
            reporter.begin("measuring", 0)
            result = evaluate_omni(omni, examples, progress=lambda done, total: reporter.advance(done))
    if as_json:
        print_json({key: result[key] for key in ("cells", "languages", "judges")})
    else:
        print_omni(result)
    if open_studio:
        from tony.cli.serve import open_and_serve

        open_and_serve(omni, run.path, host, port, reserved)
