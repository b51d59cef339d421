"""`tony forecast`: fit anybody's runs, plan a run from a fitted law, or climb a ladder and forecast (RECIPE)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tony.errors import TonyError


class VerbOrRecipe(TyperGroup):
    """`tony forecast RECIPE` is `tony forecast ladder RECIPE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next((arg for arg in args if not arg.startswith("-")), None)
        if first is not None and first not in self.commands and "--help" not in args[: args.index(first)]:
            args = ["ladder", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=VerbOrRecipe,
    help="Scaling laws: forecast the loss before you pay for it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="print the result as JSON and nothing else")]


@app.command("fit")
def fit(
    data: Annotated[
        Path, typer.Argument(help="a table with a header and one row a run, or a point of a run")
    ],
    n: Annotated[str | None, typer.Option(help="column of parameters N")] = None,
    d: Annotated[str | None, typer.Option(help="column of training tokens D")] = None,
    c: Annotated[str | None, typer.Option(help="column of compute C; without it C = 6 N D")] = None,
    loss: Annotated[str, typer.Option(help="column of losses")] = "loss",
    run: Annotated[str | None, typer.Option(help="column that says which run a row belongs to")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE, or COLUMN=VALUE|VALUE: only these rows")
    ] = None,
    n_unit: Annotated[str, typer.Option(help="of N: 1, K, M, B, T or a number")] = "1",
    d_unit: Annotated[
        str, typer.Option(help="of D: 1, K, M, B, T or a number, such as the tokens of a step")
    ] = "1",
    c_unit: Annotated[str, typer.Option(help="of C: flop, pf-day or a number")] = "flop",
    loss_unit: Annotated[str, typer.Option(help="nat, bit or perplexity")] = "nat",
    form: Annotated[
        str, typer.Option(help="joint, overtraining, power+constant:C (or :N, :D), power:C, or auto")
    ] = "auto",
    delta: Annotated[float, typer.Option(help="of the Huber loss of log L; inf is least squares")] = 1e-3,
    budget: Annotated[
        list[float] | None, typer.Option(help="FLOP: say what is compute-optimal for them")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option(help="forecast here, such as N=7e9,D=1.4e11 or C=1e22")
    ] = None,
    resamples: Annotated[int, typer.Option(help="of the bootstrap")] = 1000,
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
    plots: Annotated[Path | None, typer.Option(help="folder for compute, isoflop and residuals .png")] = None,
    save: Annotated[Path | None, typer.Option(help="write the law, for `tony forecast plan --law`")] = None,
    as_json: Json = False,
) -> None:
    """Fit scaling laws to a table of runs, from any trainer."""
    from tony.forecast.report import analyse, save_law
    from tony.forecast.table import read_runs

    points = [_point(text) for text in at or []]
    for flops in budget or []:
        check_number("budget", flops, 1e20)
    if resamples < 20:
        raise TonyError(f"--resamples {resamples}: 90% of fewer than 20 is no interval; 1000 is usual")
    if not delta > 0:
        raise TonyError(f"--delta {delta:g}: give a number above 0, such as 0.001, or inf for least squares")
    if seed < 0:
        raise TonyError(f"--seed {seed}: give 0 or more")
    units = {"n_unit": n_unit, "d_unit": d_unit, "c_unit": c_unit, "loss_unit": loss_unit}
    runs = read_runs(data, n=n, d=d, c=c, loss=loss, run=run, where=_conditions(where or []), **units)
    report = analyse(runs, form, delta, resamples, seed)
    result = report.to_dict(budget or [], points)
    if plots is not None:
        from tony.forecast.figures import draw

        result["plots"] = [str(path) for path in draw(report, plots, points)]
    if save is not None:
        save_law(save, report.found, report.size_rule)
        result["saved"] = str(save)
    if as_json:
        from tony.cli.show import print_json

        print_json(result)
        return
    from tony.cli.show_forecast import print_report

    print_report(result)


def _conditions(texts: list[str]) -> dict[str, list[str]]:
    found = {}
    for text in texts:
        column, separator, values = text.partition("=")
        if not separator:
            raise TonyError(f"--where {text!r}: write COLUMN=VALUE, such as --where dataset=rpj")
        found[column] = values.split("|")
    return found


def _point(text: str) -> dict[str, float]:
    """`N=7e9,D=1.4e11` as numbers."""
    try:
        point = {k.strip().upper(): float(v) for k, v in (pair.split("=") for pair in text.split(","))}
    except ValueError:
        point = {}
    if not point or not point.keys() <= {"N", "D", "C"} or not all(0 < v < math.inf for v in point.values()):
        raise TonyError(f"--at {text!r}: write such as --at N=7e9,D=1.4e11 or --at C=1e22")
    if point.keys() == {"N", "D"}:
        point["C"] = 6 * point["N"] * point["D"]
    elif point.keys() in ({"N", "C"}, {"D", "C"}):
        known, missing = ("N", "D") if "N" in point else ("D", "N")
        point[missing] = point["C"] / (6 * point[known])
    return point


def check_number(option: str, value: float, example: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not 0 < value < math.inf:
        raise TonyError(f"--{option} {value:g}: give a number above 0, such as {example:g}")


@app.command("plan")
def plan(
    flops: Annotated[float, typer.Option(help="compute of the run, FLOP")],
    gpus: Annotated[int, typer.Option(help="how many")] = 8,
    gpu: Annotated[str, typer.Option(help="a100, h100, h200, b200 or l40s")] = "h100",
    law: Annotated[
        Path | None, typer.Option(help="from `tony forecast fit --save`; without it published constants")
    ] = None,
    embeddings: Annotated[
        bool | None,
        typer.Option(
            "--embeddings/--no-embeddings",
            help="whether the law's N counts embeddings; those of published laws do, of --law it is taken not to",
        ),
    ] = None,
    vocabulary: Annotated[int, typer.Option(help="of the model")] = 128_256,
    context: Annotated[int, typer.Option(help="tokens of a row")] = 8192,
    batch_tokens: Annotated[int | None, typer.Option(help="without it 0.292 C^0.327")] = None,
    mfu: Annotated[float, typer.Option(help="model FLOP utilisation that is reached")] = 0.4,
    price: Annotated[float | None, typer.Option(help="dollars of a GPU for an hour")] = None,
    as_json: Json = False,
) -> None:
    """Size, tokens, loss, memory, days and cost of a run: compute-optimal, and over-trained."""
    from dataclasses import replace

    from tony.forecast.plan import GPUS, OVERTRAINED
    from tony.forecast.plan import plan as make
    from tony.forecast.published import Published
    from tony.forecast.single import by_file

    gpu = gpu.lower()
    if gpu not in GPUS:
        raise TonyError(f"--gpu {gpu!r} is not known. Known: {', '.join(GPUS)}")
    chosen = GPUS[gpu] if price is None else replace(GPUS[gpu], dollars=price)
    for option, value, example in (
        ("flops", flops, 1e24), ("mfu", mfu, 0.4), ("vocabulary", vocabulary, 128_256), ("price", chosen.dollars, 2.5),
        ("batch-tokens", 1 if batch_tokens is None else batch_tokens, 4e6),
    ):  # fmt: skip
        check_number(option, value, example)
    published = Published()
    found, best, shares = (
        (published, published.optimum(flops), OVERTRAINED) if law is None else by_file(law, flops)
    )
    settings = {
        "vocabulary": vocabulary, "context": context, "batch_tokens": batch_tokens, "mfu": mfu, "shares": shares,
    }  # fmt: skip
    counted = law is None if embeddings is None else embeddings
    choices = make(found, best, flops, gpus, chosen, with_embeddings=counted, **settings)
    result = {
        "flops": flops, "gpus": gpus, "gpu": gpu, "mfu": mfu, "dollars_per_gpu_hour": chosen.dollars,
        "law": str(law) if law else published.name, "n_counts_embeddings": counted, "choices": [choice.to_dict() for choice in choices],
    }  # fmt: skip
    if as_json:
        from tony.cli.show import print_json

        print_json(result)
        return
    from tony.cli.show_forecast import print_plan

    print_plan(result)


@app.command("ladder")
def ladder(
    recipe: Annotated[str, typer.Argument(help="a recipe with a [forecast] section")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as forecast.sizes=5")] = None,
    runs: Annotated[Path, typer.Option(help="where run folders live")] = Path("runs"),
    receipt: Annotated[
        Path | None, typer.Option(help="where the receipt goes; RUNS/NAME-forecast.json")
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="then train the target, and compare")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="print what it would cost, and stop")] = False,
    form: Annotated[str, typer.Option(help="of the law; auto is chosen by held-out error")] = "auto",
    plots: Annotated[Path | None, typer.Option(help="folder for the pictures")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes that share the sizes")] = 1,
    ray: Annotated[str | None, typer.Option(help="fan out over Ray: an address, auto, or local")] = None,
    as_json: Json = False,
) -> None:
    """Train a ladder of small models, and write down the loss of a large one before it is trained."""
    from tony.cli.show import print_json
    from tony.train.progress import Terminal

    steps = _ladder(recipe, overrides)
    with Terminal() as reporter:
        for line in cost_lines(steps):
            reporter.say(line)
        if dry:
            if as_json:
                print_json(
                    {"flops": steps.flops, "target_flops": steps.target.flops, "runs": len(steps.rungs)}
                )
            return
        result = climb(steps, runs, receipt, confirm, form, plots, reporter, workers, ray)
    if as_json:
        print_json(result)
        return
    from tony.cli.show_forecast import print_receipt

    print_receipt(result)


def _ladder(recipe: str, overrides: list[str] | None) -> Any:
    """The ladder of a recipe's file, or of a shipped one by its name."""
    from tony.cli.recipes import SHIPPED
    from tony.forecast.ladder import load_ladder

    path = Path(recipe)
    if not path.is_file() and (SHIPPED / "ladders" / f"{recipe}.toml").is_file():
        path = SHIPPED / "ladders" / f"{recipe}.toml"
    return load_ladder(path, tuple(overrides or ()))


@app.command("study")
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="aspect, classify, codes, data, frontier, heldout, information, levels, modules, position or rates"
        ),
    ],
    recipe: Annotated[str, typer.Argument(help="a recipe with a [forecast] section")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as forecast.sizes=5")] = None,
    runs: Annotated[Path, typer.Option(help="where run folders live")] = Path("runs"),
    out: Annotated[
        Path | None, typer.Option(help="folder of the result and its picture; RUNS/studies")
    ] = None,
    as_json: Json = False,
) -> None:
    """One of the paper's other experiments, on the models of a ladder; finished runs are read, not trained anew."""
    from tony.atomic import write_json
    from tony.forecast.climb import Climber
    from tony.forecast.studies import study_named
    from tony.train.progress import Terminal

    run = study_named(name)
    steps = _ladder(recipe, overrides)
    folder = out or runs / "studies"
    try:  # before anything is trained
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TonyError(
            f"{folder}: cannot be made ({error.strerror}). Choose another folder (--out)"
        ) from None
    with Terminal() as reporter:
        finding = run(Climber(steps, runs, reporter))
    stem = f"{steps.base.name}-{name}"
    write_json(folder / f"{stem}.json", finding.to_dict())
    finding.draw(folder / f"{stem}.png")
    result = {**finding.to_dict(), "picture": str(folder / f"{stem}.png")}
    if as_json:
        from tony.cli.show import print_json

        print_json(result)
        return
    from tony.cli.show_forecast import print_finding

    print_finding(result)


def cost_lines(steps: Any) -> list[str]:
    """What a ladder will cost, before it starts, and which of its runs are too small or too short to tell anything."""
    from tony.forecast.ladder import SHORT

    lines = [
        f"{r.recipe.name}: width {r.recipe.model.width}, N = {r.n:,}, D = {r.tokens:,} tokens, {r.flops:.3g} FLOP"
        for r in steps.rungs
    ]
    target = steps.target
    small = [
        f"N = {n:,} is small against its context of {steps.base.model.context}: left out of the fit. Raise forecast.smallest"
        for n in sorted(steps.small)
    ]
    short = sorted({(r.n, r.tokens, r.steps) for r in steps.rungs if r.steps < SHORT})
    hasty = [
        f"N = {n:,} on {tokens:,} tokens has {count} steps, and runs under {SHORT} lie off the law of longer ones: lower "
        "train.batch_tokens, or raise forecast.tokens_per_parameter"
        for n, tokens, count in short
    ]
    return [
        *lines,
        *small,
        *hasty,
        f"in all {steps.flops:.3g} FLOP for {len(lines)} points"
        + ("" if steps.settings.budgets else "; stable parts are shared"),
        f"target: width {target.recipe.model.width}, N = {target.n:,}, D = {target.tokens:,}, {target.flops:.3g} FLOP, "
        f"{target.flops / steps.largest:.0f} times the largest run"
        + (f"; {len(steps.targets)} runs" if len(steps.targets) > 1 else ""),
    ]


def climb(
    steps: Any,
    runs: Path,
    receipt: Path | None,
    confirmed: bool,
    form: str,
    plots: Path | None,
    reporter: Any,
    workers: int = 1,
    ray: str | None = None,
) -> dict[str, Any]:
    """Run the ladder, write the receipt and what it says of its domain, and confirm it where that is asked for."""
    from tony.atomic import write_json
    from tony.forecast.climb import Climber, runs_of
    from tony.forecast.domain import domain
    from tony.forecast.receipt import check_receipt, confirm, make_receipt, save_receipt
    from tony.forecast.report import analyse

    path = receipt or runs / f"{steps.base.name}-forecast.json"
    check_receipt(path, steps)
    climber = Climber(steps, runs, reporter)
    seconds, target_seconds = climber.seconds()
    together = "" if workers == 1 and ray is None else " of one process"
    reporter.say(
        f"about {seconds / 60:.0f} minutes here{together}, and {target_seconds / 60:.0f} for the target (--confirm)"
    )
    climbed = climber.climb(workers=workers, ray=ray)
    points = [point for point in climbed if point["N"] not in steps.small]
    report = analyse(runs_of(points), form, ray=steps.settings.along)
    result = save_receipt(path, make_receipt(steps, points, report.found, report.warnings))
    about = domain(steps, points, report.found, runs, climber.material.heldout)
    beside = path.with_name(f"{path.stem}-domain.json")
    write_json(beside, about)
    if confirmed:
        result = confirm(path, climber.targets(workers))
    result = {
        **result,
        "domain": about,
        "receipt": str(path),
        "of_domain": str(beside),
        "warnings": [w for w in report.warnings if w not in result["forecast"]["warnings"]],
    }
    if plots is not None:
        from tony.forecast.figures import draw

        at = {k: float(result["target"][k]) for k in "NDC"}
        if "confirmation" in result:
            at["loss"] = result["confirmation"]["loss"]
        result["plots"] = [str(p) for p in draw(report, plots, [at])]
    return result
