"""What a ladder's run costs beside its arithmetic: blocks compiled or not, and a trainer made again on the same shard.

    python benchmarks/forecast_speed.py [LADDER] [--widths 16,40,96] [--rounds 5]     # 4 minutes, most of it packing and compiling

Pairs: eager and compiled steps of one recipe by turns, medians of the rounds and their ratios. JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from tony.forecast.climb import Climber
from tony.forecast.ladder import load_ladder, rungs_of
from tony.train.loop import Trainer
from tony.train.progress import Silent

HERE = Path(__file__).parent
STEPS = 4  # of a round


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ladder", nargs="?", default=str(HERE.parent / "recipes" / "ladders" / "text.toml"))
    parser.add_argument("--widths", default="16,40,96")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=Path, help="where the ladder's data lie already")
    options = parser.parse_args()
    ladder = load_ladder(options.ladder)
    with tempfile.TemporaryDirectory() as folder:
        root = options.runs or Path(folder)
        climber = Climber(ladder, root, Silent())
        assert climber.material is not None
        sizes = []
        for width in map(int, options.widths.split(",")):
            rung = rungs_of(ladder.base, ladder.settings, width, "speed", (ladder.settings.ray,))[0]
            made, trainers = [], {}
            for name in ("eager", "compiled"):
                train = rung.recipe.train.model_copy(update={"compile": name == "compiled"})
                recipe = rung.recipe.model_copy(update={"name": f"{rung.recipe.name}-{name}", "train": train})
                began = time.process_time()
                trainers[name] = climber.trainer(recipe)
                made.append(time.process_time() - began)
            sizes.append(
                {"width": width, "n": rung.n, "seconds_to_make": made} | paired(trainers, options.rounds)
            )
            for trainer in trainers.values():
                shutil.rmtree(trainer.run.path)
    print(json.dumps({"ladder": Path(options.ladder).stem, "sizes": sizes}, indent=1))


def paired(trainers: dict[str, Trainer], rounds: int) -> dict[str, float]:
    """Tokens a second of both, and the median ratio; the first steps, in which blocks are compiled, apart."""
    first, seconds = {}, {name: [] for name in trainers}
    for name, trainer in trainers.items():
        began = time.perf_counter()
        trainer.update()
        trainer.update()
        first[name] = time.perf_counter() - began
    for _ in range(rounds):
        for name, trainer in trainers.items():
            began = time.perf_counter()
            for _ in range(STEPS):
                trainer.update()
            seconds[name].append(time.perf_counter() - began)
    tokens = STEPS * next(iter(trainers.values())).batches.tokens_per_batch
    ratios = [a / b for a, b in zip(seconds["eager"], seconds["compiled"], strict=True)]
    return {
        "batch": tokens // STEPS,
        "tokens_per_second": {name: round(tokens / statistics.median(s)) for name, s in seconds.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(min(ratios), 3), round(max(ratios), 3)],
        "compiling_seconds": round(first["compiled"] - first["eager"], 1),
    }


if __name__ == "__main__":
    main()
