"""Protects sampling from a model of Tony's: a run is asked as it was trained, and the same seeds draw the same."""

import shutil

import pytest
import torch

from tony.evals.code.own import EngineSampler
from tony.evals.code.sampler import Scorer
from tony.media import Document, Text
from tony.model import Transformer, TransformerConfig
from tony.model.weights import load_model, save_model
from tony.runs import Run, load_recipe
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Vocabulary

CODE = "def f(x):\n    return x + 1\n" * 30


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a network of random weights over text."""
    root = tmp_path_factory.mktemp("runs")
    recipe = load_recipe(
        {"name": "tiny", "data": {"kind": "code"}, "vocabulary": {"image": False, "sound": False}}
    )
    made = Run.create(recipe, root)
    vocabulary = Vocabulary(TextCodec.train([CODE], 300), None, None, 1.0)
    vocabulary.save(made.vocabulary)
    torch.manual_seed(0)
    model = Transformer(
        TransformerConfig(
            vocabulary=vocabulary.size,
            width=32,
            depth=1,
            heads=2,
            kv_heads=2,
            head_dim=16,
            hidden=64,
            context=128,
        )
    )
    save_model(made.model, model)
    return made


def complete(sampler, prompts=("def f(x):\n",), n=3, temperature=1.0, seeds=(5,)):
    return sampler.complete(list(prompts), n, 20, temperature, 0.95, ("\ndef",), list(seeds))


def test_the_same_seeds_draw_the_same_and_other_prompts_change_nothing(run):
    sampler = EngineSampler(run.path)
    alone = complete(sampler)
    assert alone == complete(EngineSampler(run.path))
    together = complete(sampler, ("a", "def f(x):\n"), seeds=(1, 5))
    assert [d.text for d in together[1]] == [d.text for d in alone[0]]
    assert complete(sampler, seeds=(6,)) != alone
    assert all(d.mean_log_prob < 0 and d.num_tokens > 0 for d in alone[0])


def test_prompts_are_encoded_as_in_training(run):
    """The ids that the engine sees are the beginning of those of a training document of the same text."""
    sampler = EngineSampler(run.path)
    vocabulary = Vocabulary.load(run.vocabulary)
    document = vocabulary.encode(Document([Text(CODE)])).ids.tolist()
    seen = sampler._engine.encode(sampler._before + CODE)
    assert seen == document[: len(seen)] and len(seen) == len(document) - 2


def test_scores_are_the_network_s(run):
    sampler = EngineSampler(run.path)
    assert isinstance(sampler, Scorer)
    short, none = sampler.log_probs([("def f(x):\n", "    return x"), ("x", "y" * 400)])
    assert none is None
    ids = [sampler._engine.encode(t) for t in (sampler._before + "def f(x):\n", "    return x")]
    with torch.no_grad():
        logits = sampler._engine.model(torch.tensor([ids[0] + ids[1]]))[0].log_softmax(-1)
    wanted = sum(logits[len(ids[0]) - 1 + i, token].item() for i, token in enumerate(ids[1]))
    assert short == pytest.approx(wanted, abs=1e-3)


def test_other_weights_are_another_identity(run, tmp_path):
    other = Run.create(run.recipe, tmp_path)
    shutil.copytree(run.vocabulary, other.vocabulary)
    shutil.copytree(run.model, other.model)
    assert EngineSampler(other.path).identity == EngineSampler(run.path).identity
    model = load_model(other.model)
    torch.nn.init.zeros_(next(model.parameters()))
    save_model(other.model, model)
    assert EngineSampler(other.path).identity != EngineSampler(run.path).identity
