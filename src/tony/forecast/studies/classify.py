"""Fine-tuning generative models of pictures to name what they show (Henighan et al. 2020, sections 6 and 8).

Of each finished size the readout is dropped; the last layer's activations are averaged over the pixels and one linear layer
makes class scores of them. Everything is then trained on labels of Fashion-MNIST, and beside it the same shape from its
initial weights, with the same budget, schedule and order. Each of the two starts has a learning rate of its own, tuned on
labels of training pictures at one middle size and carried over width by muP. In the paper loss and error of the pretrained models fall as a power
of N beyond where the generative loss is flat, those from nothing overfit, and small models gain nothing.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.atomic import write_json
from tony.data.pairs import Pairs
from tony.data.pictures import Pictures
from tony.data.sources import Split
from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.fit import fit
from tony.forecast.ladder import Rung
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.runs import on_ray
from tony.forecast.table import Runs
from tony.media import Document, Image
from tony.model import Segments, Transformer
from tony.model.machine import autocast
from tony.runs.data_recipes import PairsData
from tony.tokens.vocabulary import Vocabulary
from tony.train.loop import Trainer, learning_rate
from tony.train.optimizer import build_optimizer, clip_gradients, set_learning_rate

SETTINGS = {"train": 4000, "heldout": 2000, "epochs": 4, "batch": 50, "warmup": 0.1, "decay": 0.9}
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
JUDGED = 5  # one of so many labelled training pictures judges the rates
CLASSES = 10
BEFORE = 2  # ids before the first pixel: start, begin_image
STARTS = ("pretrained", "from nothing")


class Classifier(nn.Module):
    """A transformer's trunk, its mean over pixels, and one linear layer of zeros."""

    def __init__(self, model: Transformer, classes: int = CLASSES) -> None:
        super().__init__()
        self.model = model
        model.readout.requires_grad_(False)  # dropped; kept where the plan of learning rates looks for it
        self.head = nn.Linear(model.config.width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def pooled(self, ids: Tensor) -> Tensor:
        """The mean over pixels (B, D) of the final states of pictures ids (B, T): start, begin_image, pixels."""
        count, length = ids.shape
        segments = Segments.from_lengths([[length]] * count, length)
        return self.model.trunk(ids, segments.to(ids.device)).view(count, length, -1)[:, BEFORE:].mean(1)

    def forward(self, ids: Tensor) -> Tensor:
        """Class scores (B, classes)."""
        return self.head(self.pooled(ids))


def run(climber: Climber) -> Finding:
    """Fine-tune the longest branch of each size, and the target where it is finished, and fit powers of N.

    Raises:
        TonyError: the recipe's pictures are not Fashion-MNIST, which alone has labels.
    """
    climber = on_ray(climber)
    base = climber.ladder.base
    if base.data.kind != "pictures" or base.data.sets != ("fashion",) or base.vocabulary.image is None:
        raise TonyError(
            f'{base.name}: only Fashion-MNIST has labels to fine-tune on (data.kind=pictures, data.sets=["fashion"]). Give '
            "recipes/ladders/images.toml"
        )
    longest = {rung.n: rung for rung in sorted(climber.ladder.rungs, key=lambda rung: rung.tokens)}
    rungs = [longest[n] for n in sorted(longest)]
    if climber.point(climber.ladder.target) is not None:
        rungs.append(climber.ladder.target)
    data: dict[Split, tuple[Tensor, Tensor]] = {
        split: labelled(climber, split) for split in ("train", "heldout")
    }
    rates = _rates(climber, longest[sorted(longest)[len(longest) // 2]], *data["train"])
    results = [_read(climber, rung, rates) or _compare(climber, rung, rates, data) for rung in rungs]
    return _finding(climber, rungs, rates, results)


def labelled(climber: Climber, split: Split) -> tuple[Tensor, Tensor]:
    """Whole pictures as ids (n, T) and their classes (n,): the first of a split in a seeded order."""
    recipe = climber.ladder.base
    pixels = Pictures(recipe.data, recipe.seed).pixels(split)
    classes = Pairs(PairsData(path=recipe.data.path)).labels(split)
    chosen = np.random.default_rng([recipe.seed, 19]).permutation(len(pixels))[: int(SETTINGS[split])]
    ids = picture_ids(climber.material.vocabulary, pixels[chosen])
    return ids, torch.from_numpy(classes[chosen].astype(np.int64))


def picture_ids(vocabulary: Vocabulary, pixels: np.ndarray) -> Tensor:
    """Grey pictures uint8 (n, side, side) as ids (n, T) up to their last pixel, as the generative model reads them."""
    rows = [vocabulary.encode(Document([Image(p[..., None])])).ids[:-2] for p in pixels]
    return torch.from_numpy(np.stack(rows))


def _read(climber: Climber, rung: Rung, rates: dict[str, float] | None = None) -> dict[str, Any] | None:
    """What was found of a size before with the same settings: its errors at these rates, or without them its sweep."""
    path = climber.root / rung.recipe.name / ("classify.json" if rates else "classify-rates.json")
    if climber.point(rung) is None or not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found["of"] == _inputs(rung, rates) else None


def _inputs(rung: Rung, rates: dict[str, float] | None = None) -> dict[str, Any]:
    return {"recipe": rung.recipe.hash, "settings": SETTINGS, "rates": rates or list(RATES)}


def _start(climber: Climber, rung: Rung, start: str) -> Trainer:
    return climber.trained(rung) if start == "pretrained" else climber.trainer(rung.recipe)


def _rates(climber: Climber, rung: Rung, ids: Tensor, classes: Tensor) -> dict[str, float]:
    """The learning rate of least loss for each start, among RATES at one size, judged by pictures that it is not trained on."""
    found = _read(climber, rung)
    if found is None:
        found = {"of": _inputs(rung)}
        judged = len(ids) // JUDGED
        for start in STARTS:
            losses = []
            for rate in RATES:
                climber.reporter.say(f"{rung.recipe.name}: learning rate {rate:g}, {start}")
                tuned = fine_tune(_start(climber, rung, start), ids[judged:], classes[judged:], rate)
                losses.append(grade(tuned, ids[:judged], classes[:judged])["loss"])
            found[start] = losses
        write_json(climber.root / rung.recipe.name / "classify-rates.json", found)
    return {start: RATES[int(np.argmin(found[start]))] for start in STARTS}


def _compare(
    climber: Climber, rung: Rung, rates: dict[str, float], data: dict[Split, tuple[Tensor, Tensor]]
) -> dict[str, Any]:
    found: dict[str, Any] = {"of": _inputs(rung, rates)}
    for start in STARTS:
        climber.reporter.say(f"{rung.recipe.name}: naming pictures, {start}")
        classifier = fine_tune(_start(climber, rung, start), *data["train"], rates[start])
        for split in ("train", "heldout"):
            found[f"{start}, {split}"] = grade(classifier, *data[split])
    write_json(climber.root / rung.recipe.name / "classify.json", found)
    return found


def fine_tune(
    trainer: Trainer, ids: Tensor, classes: Tensor, lr: float, epochs: int | None = None
) -> Classifier:
    """All weights of a trainer's model, and a new head, trained on labelled pictures; `lr` goes through the trainer's plan."""
    torch.manual_seed(trainer.run.recipe.seed)
    classifier = Classifier(trainer.model, int(classes.max()) + 1).to(trainer.device)
    batch, epochs = int(SETTINGS["batch"]), epochs or int(SETTINGS["epochs"])
    steps = epochs * max(1, len(ids) // batch)
    recipe = trainer.recipe.model_copy(
        update={k: SETTINGS[k] for k in ("warmup", "decay")} | {"lr": lr, "optimizer": "adamw"}
    )
    optimizer = build_optimizer(classifier.model, recipe, trainer.plan)
    # A head is a readout: under muP its rate falls with width as the readout's does.
    mup, own = trainer.run.recipe.mup, trainer.run.recipe.model.width
    width = mup.base_width / own if mup else 1.0
    head = torch.optim.AdamW(classifier.head.parameters(), weight_decay=0.0)
    trainer.reporter.begin("fine-tuning", steps)
    for step in range(steps):
        epoch, place = divmod(step * batch, steps // epochs * batch)
        order = np.random.default_rng([trainer.run.recipe.seed, 29, epoch]).permutation(len(ids))
        chosen = torch.from_numpy(order[place : place + batch])
        with autocast(trainer.device, trainer.precision):
            scores = classifier(ids[chosen].to(trainer.device))
        loss = F.cross_entropy(scores.float(), classes[chosen].to(trainer.device))
        loss.backward()
        clip_gradients(classifier, recipe.clip)
        rate = learning_rate(recipe, step, steps)
        set_learning_rate(optimizer, rate)
        head.param_groups[0]["lr"] = rate * width
        optimizer.step()
        head.step()
        classifier.zero_grad(set_to_none=True)
        if step % 20 == 19:
            trainer.reporter.advance(step + 1, loss=float(loss.detach()))
    return classifier


@torch.no_grad()
def grade(classifier: Classifier, ids: Tensor, classes: Tensor) -> dict[str, float]:
    """The cross-entropy in nats a picture, and the share of pictures that are named wrongly."""
    device = classifier.head.weight.device
    scores = torch.cat([classifier(part.to(device)).float().cpu() for part in ids.split(100)])
    wrong = (scores.argmax(1) != classes).double().mean()
    return {"loss": float(F.cross_entropy(scores, classes)), "error": float(wrong)}


def _finding(
    climber: Climber, rungs: list[Rung], rates: dict[str, float], results: list[dict[str, Any]]
) -> Finding:
    points = [climber.point(rung) for rung in rungs]
    n = np.array([rung.n for rung in rungs], float)
    rows = []
    for size, point, found in zip(n, points, results, strict=True):
        graded = [found[f"{start}, heldout"][what] for start in STARTS for what in ("loss", "error")]
        rows.append([int(size), point["loss"] if point else float("nan"), *graded])
    laws, curves, answers = {}, [], []
    for start in STARTS:
        for what in ("loss", "error"):
            values = np.array([found[f"{start}, heldout"][what] for found in results])
            law = fit(_table(n, np.maximum(values, 1e-9)), "power:N")
            laws[f"{what} of {start}: (N0 / N)^alpha"] = {k: law.constants[k] for k in ("N0", "alpha")}
            if what == "error":
                x = np.geomspace(n.min(), n.max(), 60)
                fitted = np.asarray(law.predict(N=x))
                curves.append(Curve(start, n.tolist(), values.tolist(), x.tolist(), fitted.tolist()))
            answers.append(
                f"{start}: {what} {values[0]:.3g} at N = {n[0]:,.0f}, {values[-1]:.3g} at N = {n[-1]:,.0f}; exponent "
                f"{law.constants['alpha']:.3f}"
            )
    gains = [row[5] / max(row[3], 1e-9) for row in rows]
    answers.append(
        f"training from nothing errs {gains[0]:.2f} times as often at the smallest size and {gains[-1]:.2f} times at the "
        "largest; the paper's small models gain nothing, its large ones follow a power of N"
    )
    warnings = [
        f"{SETTINGS['train']} labelled pictures, {SETTINGS['epochs']} epochs; an error among {SETTINGS['heldout']} test pictures has a "
        f"standard error of about {np.sqrt(rows[-1][3] * (1 - rows[-1][3]) / int(SETTINGS['heldout'])):.4f}",
        "learning rates: " + ", ".join(f"{rate:g} {start}" for start, rate in rates.items()),
    ]
    graded = [f"{start}, {what}" for start in STARTS for what in ("loss", "error")]
    columns = ("N", "generative loss", *graded)
    axes = Axes("N, parameters without embeddings", "error on test pictures", "xy")
    return Finding("classify", climber.ladder.base.name, columns, rows, axes, curves, laws, answers, warnings)


def _table(n: np.ndarray, loss: np.ndarray) -> Runs:
    return Runs(n, None, None, loss, n.astype(str), np.arange(len(n)) + 1)
