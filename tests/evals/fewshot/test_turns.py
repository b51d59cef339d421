"""Protects: pictures and sounds of worked examples reach the model, as turns, and choices are scored as plain passes say."""

import json

import numpy as np
import pytest
import torch

from tony.engine import Omni
from tony.engine.exchange.folder import LanguageModel
from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.evals.fewshot import Settings, evaluate_fewshot
from tony.evals.fewshot.cell import make_cell
from tony.evals.fewshot.turns import document_of
from tony.evals.task import Example, Task
from tony.media import Audio, Image, Text
from tony.runs import load_recipe

WORDS = "zero one two three".split()
CHOICES = tuple(f" {word}" for word in WORDS)
RECIPE = {
    "name": "random",
    "train": {"precision": "float32"},
    "sampling": {"max_text": 6, "max_seconds": 0.3},
}


@pytest.fixture(scope="module")
def omni(random_model, vocabulary):
    made = Omni(random_model(vocabulary.size), vocabulary, load_recipe(RECIPE))
    made.engine = type(made.engine)(made.engine.model.float(), made.engine.grammar, torch.float32)
    return made


def examples(start, count):
    rng = np.random.default_rng(start)
    out = []
    for i in range(count):
        picture = Image(rng.integers(0, 256, (4, 4), dtype=np.uint8))
        sound = Audio(rng.standard_normal(1600).astype(np.float32) * 0.1, 16_000)
        part = sound if i % 3 == 0 else picture
        out.append(Example(context="what:", target=CHOICES[i % 4], choices=CHOICES, parts=(part,)))
    return out


def task(scoring):
    return Task(
        name=scoring,
        test=lambda: examples(0, 8),
        train=lambda: examples(1, 5),
        scoring=scoring,
        normalise="sum",
    )


def test_worked_examples_are_turns():
    question = make_cell(task("choice"), 2, None, 0, "item").questions[1]
    parts = list(document_of(question))
    assert [part.role for part in parts] == ["user", "user", "assistant"] * 2 + ["user", "user"]
    assert parts[2].text == question.shots[0].target.strip()
    assert np.array_equal(parts[6].pixels, examples(0, 8)[1].parts[0].pixels)


def test_choices_are_scored_as_plain_passes_say(omni, tmp_path):
    result = evaluate_fewshot(
        omni, [task("choice"), task("generate")], Settings(shots=(0, 2), items=None), tmp_path
    )
    assert [row["n"] for row in result["results"]] == [8] * 4 and not result["errors"]
    samples = [json.loads(line) for line in (tmp_path / "fewshot.jsonl").read_text().splitlines()]
    cell = make_cell(task("choice"), 2, None, 0, "item")
    v = omni.vocabulary
    for question, sample in zip(cell.questions, samples[8:16], strict=True):
        assert sample["prompt"].count("<") == 3, "three pictures or sounds are named"
        prompt = [*omni.prompt(document_of(question)), v.begin("text")]
        for choice, nats in zip(CHOICES, sample["nats"], strict=True):
            ids = [*v.encode_part(Text(choice.strip())), v.end("text")]
            logits = omni.engine.model(torch.tensor([[int(i) for i in [*prompt, *ids]]]))[
                0, len(prompt) - 1 : -1
            ]
            own = logits.double().log_softmax(-1).gather(1, torch.tensor([int(i) for i in ids])[:, None])
            assert nats == pytest.approx(float(own.sum()), abs=1e-3)


def test_choices_are_scored_in_the_engines_own_precision(omni, random_model, vocabulary, tmp_path):
    """Nats of a bfloat16 engine are close to those of float32: its weights are of another type than the states."""
    half = Omni(random_model(vocabulary.size), vocabulary, load_recipe(RECIPE))
    half.engine = type(half.engine)(half.engine.model.float(), half.engine.grammar, torch.bfloat16)
    nats = []
    for model, name in ((omni, "whole"), (half, "half")):
        evaluate_fewshot(model, [task("choice")], Settings(shots=(1,), items=None), tmp_path / name)
        lines = (tmp_path / name / "fewshot.jsonl").read_text().splitlines()
        nats.append([value for line in lines for value in json.loads(line)["nats"]])
    assert nats[0] != nats[1] and nats[1] == pytest.approx(nats[0], rel=0.05)


def test_a_picture_that_changes_is_another_question(omni):
    first = make_cell(task("choice"), 1, None, 0, "item").questions
    other = Task(**{**task("choice").__dict__, "test": lambda: examples(7, 8)})
    second = make_cell(other, 1, None, 0, "item").questions
    assert not {q.key for q in first} & {q.key for q in second}


def test_too_many_turns_and_models_of_text_are_one_line_each(omni, vocabulary, tmp_path):
    result = evaluate_fewshot(omni, [task("choice")], Settings(shots=(5, 0), items=None), tmp_path / "a")
    assert len(result["results"]) + len(result["errors"]) == 2
    model = LanguageModel(omni.engine.model, omni_tokenizer(vocabulary), 0, 1, "text only")
    result = evaluate_fewshot(model, [task("choice")], Settings(shots=(0,), items=None), tmp_path / "b")
    assert result["errors"] == [
        "choice, 0-shot: asks about pictures or sounds, and text only reads text only"
    ]
