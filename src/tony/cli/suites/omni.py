"""What `tony eval MODEL omni` does: the any-to-any table of a run of the digit world."""

from __future__ import annotations


def run(model: str, examples: int, as_json: bool) -> None:
    """Measure, write evals/omni.json of the run, and show."""
    from tony.cli.models import find_model
    from tony.cli.progress import reporting
    from tony.cli.show import print_json, print_omni
    from tony.engine import Omni
    from tony.evals.omni import evaluate_omni

    omni = Omni.load(find_model(model))
    with reporting() as (report, _):
        report("measuring", 0, 0)  # the judges are made first, and nothing is done before them
        result = evaluate_omni(omni, examples, progress=lambda done, total: report("measuring", done, total))
    if as_json:
        saved = omni.run.evaluation("omni") if omni.run else result
        print_json(saved)
    else:
        print_omni(result)
