"""Protects sampling from a model of Tony's: a run is asked as it was trained, and the same seeds draw the same."""

import shutil

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel

from tony.engine.exchange.chat import ChatTemplate
from tony.engine.exchange.folder import LanguageModel
from tony.engine.text import Completion
from tony.errors import TonyError
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
    found = dict(sampler.complete(list(prompts), n, 20, temperature, 0.95, ("\ndef",), list(seeds)))
    return [found[i] for i in range(len(prompts))]


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


@pytest.fixture(scope="module")
def imported(random_model, tmp_path_factory):
    """A model whose tokenizer joins a line's end to the next line's indent, as GPT-2's and SmolLM2's do."""
    pieces = ["\u010a\u0120", "\u010a\u0120\u0120", "\u010a\u0120\u0120\u0120", "<|im_start|>", "<|im_end|>"]
    names = [*sorted(ByteLevel.alphabet()), *pieces]
    merges = [("\u010a", "\u0120"), ("\u010a\u0120", "\u0120"), ("\u010a\u0120\u0120", "\u0120")]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    model = random_model(len(names), context=512)
    folder = tmp_path_factory.mktemp("imported")
    LanguageModel(model, tokenizer, None, len(names) - 1, "tiny", template).save(folder, "a test")
    return folder


def asked_of(sampler, prompt, monkeypatch):
    """What the engine is asked, and what is drawn where it answers a line's end, its indent and a body."""
    seen = []

    def answer(texts, **settings):
        seen.append((texts[0], settings["stop"]))
        text = "\n    return x"
        yield 0, [Completion(text=text, tokens=[1], logprobs=[-1.0], finish="stop")]

    monkeypatch.setattr(sampler._engine, "as_completed", answer)
    ((_, (drawn,)),) = sampler.complete([prompt], 1, 20, 0.2, 0.95, ("\ndef",), [0])
    return *seen[0], drawn.text


def test_a_prompt_ends_where_a_token_ends(imported, run, monkeypatch):
    """A model that is given half of a token does not go on: SmolLM2 then solved none of 164 problems."""
    prompt = 'def f(x):\n    """Add."""\n'
    asked, _, drawn = asked_of(EngineSampler(imported), prompt, monkeypatch)
    assert asked == prompt[:-1] and prompt + drawn == prompt + "    return x"
    asked, _, drawn = asked_of(EngineSampler(imported), "def f(x):", monkeypatch)
    assert asked == "def f(x):" and drawn == "\n    return x"
    sampler = EngineSampler(run.path)  # its tokenizer keeps a line's end apart from the indent
    assert sampler._without_open_space(prompt) == prompt


def test_a_chat_is_asked_with_an_answer_that_has_begun(imported, run, monkeypatch):
    prompt = "def f(x):\n"
    sampler = EngineSampler(imported, chat=True)
    asked, stops, _ = asked_of(sampler, prompt, monkeypatch)
    assert asked.startswith("<|im_start|>user\nComplete this Python program.")
    assert asked.endswith("<|im_end|>\n<|im_start|>assistant\n```python\ndef f(x):") and "\n```" in stops
    assert sampler.identity != EngineSampler(imported).identity and sampler.api == "engine, chat"
    with pytest.raises(TonyError, match="no chat template"):
        EngineSampler(run.path, chat=True)


def test_a_template_that_refuses_is_one_line():
    with pytest.raises(TonyError, match="without --chat"):
        ChatTemplate("{{ raise_exception('no system here') }}").render([])
    with pytest.raises(TonyError, match="without --chat"):
        ChatTemplate("{% for %}").render([])
    with pytest.raises(TonyError, match="without --chat"):
        ChatTemplate("{{ messages + 1 }}{{ 1 / 0 }}").render([])
    with pytest.raises(TonyError, match="without --chat"):
        ChatTemplate("{{ ''.__class__.__mro__[1].__subclasses__() }}").render([])
