"""`tony train RECIPE|FOLDER`: train, or go on with what was begun."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    source: Annotated[str, typer.Argument(help="a recipe (.toml), or a folder of your own files")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as model.width=256")] = None,
    runs: Annotated[Path, typer.Option(help="where run folders live")] = Path("runs"),
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON and nothing else")
    ] = False,
) -> None:
    """Train a network on a recipe or a folder; the same command resumes after Ctrl-C or a crash."""
    from tony.cli.models import find_model
    from tony.cli.recipes import recipe_for
    from tony.cli.show import print_json
    from tony.train.progress import Terminal
    from tony.train.start import train_run

    recipe = recipe_for(source, overrides or [])
    if recipe.start is not None:  # smollm2 is imported first
        recipe = recipe.model_copy(update={"start": str(find_model(recipe.start))})
    with Terminal() as reporter:
        run, result = train_run(recipe, runs, reporter)
        if recipe.data.kind == "folder":
            from tony.evals.samples import write_samples

            result["samples"] = write_samples(run)
    if as_json:
        print_json(result)
        return
    print(
        f"{run.path}: {result['steps']} steps, {result['tokens']:,} tokens, {result['parameters']:,} parameters"
    )
    for name, nats in result["heldout_by_modality"].items():
        entropy = result["unigram_entropy"].get(name)
        print(f"  held-out {name}: {nats:.3f} nats an id (ids' frequencies alone: {entropy:.3f})")
    for path in result.get("samples", []):
        print(f"  sample: {path}")
