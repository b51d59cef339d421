"""What captions and pictures tell of each other: mutual information against size, and what a picture is worth in words.

A model that was never shown a blank knows nothing of what comes after one, and makes the information too large (the paper: about
twice). So a copy of each model is trained on, on a mix that is blank in half of its documents, and it is measured on that copy.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice

import numpy as np

from tony.atomic import write_json
from tony.data.pairs import Pairs
from tony.data.shards import Shard
from tony.data.sources import open_source
from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.derived import LogLaw, fit_log
from tony.forecast.ladder import Rung
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.mutual import Captions, Measured, caption_of, losses, told
from tony.runs import Recipe, Run
from tony.runs.data_recipes import PairsData
from tony.train.loop import Trainer
from tony.train.prepare import encode_documents

RESULT = "information.json"
BLANK = 0.5  # of the documents of the fine-tuning
STEPS, SHARE = (
    300,
    0.05,
)  # of the fine-tuning: at least so many, or so much of the rung's (the paper's: 4% at most)
CAPTIONS = 60_000  # that their probabilities are taken from
NORMAL_90 = 1.645  # standard errors on each side of 90%
GOAL = 0.2  # the infogain whose size the paper asks for


def run(climber: Climber) -> Finding:
    """Information and infogain of the finished rungs, the longest of each size, and of the target where it is trained.

    Raises:
        TonyError: the data are not captioned pictures, or no rung is finished.
    """
    base = climber.ladder.base
    if not isinstance(base.data, PairsData):
        raise TonyError(
            f"study information needs captioned pictures, and data.kind is {base.data.kind!r}. "
            "Give recipes/ladders/text-to-image.toml or image-to-text.toml"
        )
    longest = {rung.n: rung for rung in sorted(climber.ladder.rungs, key=lambda rung: rung.tokens)}
    finished = [r for r in (*longest.values(), climber.ladder.target) if climber.point(r) is not None]
    if not finished:
        raise TonyError(
            f"no rung of {base.name} is finished below {climber.root}: train the ladder first, with tony forecast RECIPE"
        )
    finished.sort(key=lambda rung: rung.n)
    examples = Examples(climber)
    found = [examples.measured(rung) for rung in finished]
    return _finding(base, finished, found, examples)


class Examples:
    """The examples that are measured and those of the fine-tuning, made when they are asked for."""

    def __init__(self, climber: Climber) -> None:
        self.climber, self.recipe = climber, climber.ladder.base
        self.source = open_source(self.recipe)
        assert isinstance(self.source, Pairs)
        self.text_is_first = self.source.recipe.direction == "text->image"
        most = self.climber.ladder.settings.heldout_tokens // self.recipe.model.context
        self.documents = list(islice(self.source.documents("heldout"), max(2, most)))
        trained = map(caption_of, islice(self.source.documents("train"), CAPTIONS))
        sample = [*trained, *map(caption_of, self.documents)]
        self.captions = Captions.of(sample)
        self.entropy = self.captions.entropy(len(sample))

    def measured(self, rung: Rung) -> tuple[Measured, float]:
        """What the fine-tuned copy of a rung's model knows, and I by the model itself; what is there is read."""
        run = Run.create(tuned_recipe(rung, self.climber), self.climber.root)
        path = run.path / RESULT
        if not path.is_file():
            trainer = self._tuned(run)
            found = Measured.of(
                *losses(trainer, self.documents), told(trainer, self.documents, self.captions)
            )
            blank, given, _ = losses(self.climber.trained(rung), self.documents)
            write_json(path, {"tuned": asdict(found), "untuned": float((blank - given).mean())})
        value = json.loads(path.read_text(encoding="utf-8"))
        return Measured(**value["tuned"]), float(value["untuned"])

    def _tuned(self, run: Run) -> Trainer:
        material, reporter = self.climber.material, self.climber.reporter
        folder = self.climber.root / f"{self.recipe.name}-blanks" / "train"
        if not (folder / "index.json").is_file():
            mixed = open_source(run.recipe).documents("train")
            tokens = encode_documents(
                mixed, material.vocabulary, self.recipe.model.context, reporter, "encoding (blanks)"
            )
            Shard.write(folder, tokens, material.vocabulary)
        shard = Shard(folder, material.vocabulary.hash)
        trainer = Trainer(run, material.vocabulary, shard, material.heldout, reporter)
        trainer.resume()
        if trainer.step < trainer.steps:
            reporter.say(f"{run.recipe.name}: {trainer.steps} steps, half of the documents with a blank")
            trainer.fit()
        trainer.finish()
        return trainer


def tuned_recipe(rung: Rung, climber: Climber) -> Recipe:
    """The fine-tuning of a rung's model: a rise and a fall of the learning rate, on documents half of which have a blank."""
    recipe = rung.recipe
    per_step = max(1, recipe.train.batch_tokens // recipe.model.context) * recipe.model.context
    steps = max(STEPS, round(SHARE * rung.tokens / per_step))
    train = {"tokens": float(steps * per_step), "warmup": 0.1, "decay": 0.9}
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-blanks",
            "start": str(climber.root / recipe.name),
            "data": recipe.data.model_copy(update={"blank": BLANK, "copies": 1}),
            "train": recipe.train.model_copy(update=train),
        }
    )


def _finding(
    base: Recipe, rungs: list[Rung], found: list[tuple[Measured, float]], examples: Examples
) -> Finding:
    tuned, untuned = [m for m, _ in found], [raw for _, raw in found]
    n, bound = [float(rung.n) for rung in rungs], examples.entropy
    values = {
        "I": [m.information for m in tuned],
        "I at least": [m.at_least for m in tuned],
        "infogain": [m.infogain for m in tuned],
    }
    rows = [
        [rung.n, m.information, round(NORMAL_90 * m.information_error, 3), m.at_least, round(NORMAL_90 * m.at_least_error, 3), raw,
         m.text, m.infogain]
        for rung, m, raw in zip(rungs, tuned, untuned, strict=True)
    ]  # fmt: skip
    laws = {name: fit_log(np.array(n), np.array(y)) for name, y in values.items()} if len(n) >= 3 else {}
    warnings = [] if laws else [f"{len(n)} size(s) are finished: a law in log N needs at least three"]
    above = [
        f"{rung.n:,}"
        for rung, m in zip(rungs, tuned, strict=True)
        if m.information - 2 * m.information_error > bound
    ]
    if above:
        warnings.append(
            f"at N = {', '.join(above)} I exceeds the entropy of captions: these models lack more after a blank than without one. "
            "The true information lies between `at least` and that entropy"
        )
    curves = [
        Curve(name, n, values[name], *((n, laws[name].predict(np.array(n)).tolist()) if laws else ()))
        for name in ("I", "I at least")
    ]
    curves.append(Curve("entropy of captions", [n[0], n[-1]], [bound, bound]))
    return Finding(
        study="information",
        domain=base.name,
        columns=("N", "I", "+-", "at least", "+- ", "untuned", "L(text)", "infogain"),
        rows=rows,
        axes=Axes("N", "nats an example"),
        curves=curves,
        laws={f"{name} = slope log(N/n0)": asdict(law) for name, law in laws.items()},
        answers=[*_answers(rungs[-1].n, tuned[-1], examples), _untuned(tuned, untuned), *_sizes(laws, bound)],
        warnings=warnings,
    )


def _answers(n: int, best: Measured, examples: Examples) -> list[str]:
    """The paper's questions, with the figures of the largest model."""
    first, second = ("caption", "picture") if examples.text_is_first else ("picture", "caption")
    words = float(np.mean([len(caption_of(document).split()) for document in examples.documents]))
    per_word, bound = best.text / words, examples.entropy
    return [
        f"At N = {n:,} a {first} tells {best.information:.2f} +- {NORMAL_90 * best.information_error:.2f} nats of its {second} "
        f"(90%, {len(examples.documents):,} held-out examples), and in any case {best.at_least:.2f} +- "
        f"{NORMAL_90 * best.at_least_error:.2f}; no model can know more than the entropy of captions, {bound:.2f} nats",
        f"Infogain, I over L(text) = {best.text:.2f} nats with no picture known: {best.infogain:.1%} "
        f"+- {NORMAL_90 * best.infogain_error:.1%}, in any case {best.at_least / best.text:.1%}",
        f"A caption has {words:.1f} words of {per_word:.2f} nats: a picture is worth {best.information / per_word:.1f} words of its "
        f"caption, in any case {best.at_least / per_word:.1f}",
    ]


def _untuned(tuned: list[Measured], untuned: list[float]) -> str:
    ratios = [raw / m.information for m, raw in zip(tuned, untuned, strict=True)]
    return (
        f"Without the fine-tuning on blanks I comes out {min(ratios):.2f} to {max(ratios):.2f} times as large"
    )


def _sizes(laws: dict[str, LogLaw], bound: float) -> list[str]:
    """The N at which infogain reaches the goal, and at which the law of what is known in any case meets its bound."""
    if not laws:
        return []
    if min(law.slope for law in laws.values()) <= 0:
        return ["I does not grow with N on these sizes: no size can be named"]
    goal, end = _size(laws["infogain"], GOAL), _size(laws["I at least"], bound)
    return [
        f"By the law infogain is {GOAL:.0%} at N = {goal:.3g}",
        f"The law of I at least meets the entropy of captions at N = {end:.3g}: it has to bend before",
    ]


def _size(law: LogLaw, value: float) -> float:
    return float(law.n0 * np.exp(value / law.slope))
