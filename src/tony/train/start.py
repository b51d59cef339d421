"""A whole training, from a recipe to a finished run folder."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tony.atomic import write_json
from tony.model.machine import choose_device, give_back_memory, prepare_threads
from tony.runs import Recipe, Run, describe_environment
from tony.train.distributed import Group, helped, launched_group
from tony.train.loop import Trainer
from tony.train.prepare import prepare
from tony.train.pretrained import settled
from tony.train.progress import Reporter, Silent


def train_run(recipe: Recipe, root: str | Path, reporter: Reporter) -> tuple[Run, dict[str, Any]]:
    """The finished run of `recipe` below `root`, and its figures; what is already done is not done again."""
    run = Run.create(settled(recipe), root)
    device = choose_device(recipe.train.device)
    processes = recipe.train.processes if device.type == "cpu" else 1
    with launched_group(device) as group:
        if group.is_first:
            prepare(run, reporter)
        group.wait()
        vocabulary, train, heldout = prepare(run, reporter)
        give_back_memory()  # a source holds all pictures and sounds until here
        with helped(group, processes, partial(_help, run.path)) as group:
            trainer = Trainer(run, vocabulary, train, heldout, reporter, group)
            if group.is_first:
                write_json(run.path / "environment.json", describe_environment(recipe, str(trainer.device)))
            if trainer.resume():
                reporter.say(f"going on from step {trainer.step} of {trainer.steps}")
            if trainer.step < trainer.steps:
                trainer.fit()
                trainer.finish()
            elif not run.is_finished:
                trainer.finish()
            group.wait()
    prepare_threads()
    last = run.metrics()[-1]
    counted, whole = (train.modality_counts(vocabulary, counted_only=c) for c in (True, False))
    return run, {
        "run": str(run.path),
        "recipe_hash": recipe.hash,
        "parameters": trainer.model.num_parameters,
        "steps": trainer.step,
        "tokens": trainer.step * trainer.batches.tokens_per_batch,
        "seconds": last["seconds"],
        "tokens_per_second": last["tokens"] / max(last["seconds"], 1e-9),
        "loss": last["loss"],
        "loss_by_modality": last["loss_by_modality"],
        "heldout_by_modality": last.get("heldout_by_modality", {}),
        "unigram_entropy": heldout.unigram_entropy(vocabulary),
        "share_of_tokens": _shares(whole),
        "share_of_counted": _shares(counted),
        "share_of_loss": trainer.loss_shares,
        "lost_to_packing": trainer.batches.packing.lost,
    }


def _help(path: Path, group: Group) -> None:
    """What every process but the first does: the same steps, silently."""
    reporter = Silent()
    run = Run(path)
    trainer = Trainer(run, *prepare(run, reporter), reporter, group)
    trainer.resume()
    with suppress(KeyboardInterrupt):  # the first process says that it was stopped
        if trainer.step < trainer.steps:
            trainer.fit()
        group.wait()


def _shares(counts: dict[str, int]) -> dict[str, float]:
    total = max(1, sum(counts.values()))
    return {name: count / total for name, count in counts.items()}
