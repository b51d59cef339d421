"""What `tony eval MODEL bias` does: probe what the model says of people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tony.errors import TonyError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of the command line, as they were written."""

    model: str
    only: str
    samples: str | None
    seed: int
    precision: str
    out: Path | None
    as_json: bool


def run(asked: Asked) -> None:
    """Ask, write evals/bias.json of the model, and show."""
    from tony.cli.models import evals_of, find_model
    from tony.cli.numbers import read_numbers
    from tony.cli.progress import reporting
    from tony.cli.show import print_json
    from tony.cli.show_bias import print_bias
    from tony.engine.exchange.folder import load_language_model
    from tony.evals.bias import Settings, evaluate_bias, find_probes
    from tony.evals.bias.subject import EngineSubject
    from tony.model.machine import prepare_threads

    numbers = [] if asked.samples is None else read_numbers("samples", asked.samples, int, 1, "100")
    if len(numbers) > 1:
        raise TonyError(f"--samples {asked.samples}: one number is expected")
    settings = Settings(seed=asked.seed, **({"samples": numbers[0]} if numbers else {}))
    probes = find_probes(asked.only.split(","))
    path = find_model(asked.model)
    prepare_threads()
    subject = EngineSubject(load_language_model(path), asked.precision)
    with reporting() as (report, _):
        result = evaluate_bias(
            subject, probes, settings, asked.out or evals_of(path),
            lambda done, total, _: report("asking", done, total),
        )  # fmt: skip
    if asked.as_json:
        print_json(result)
    else:
        print_bias(result)
