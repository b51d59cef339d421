"""Protects: training that begins from weights that are there begins as that model, in its shape and with its text ids."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel

from tony.errors import TonyError
from tony.model import Segments
from tony.model.weights import load_model, save_model
from tony.runs import load_recipe
from tony.tokens.vocabulary import Vocabulary
from tony.train.pretrained import Pretrained, settled
from tony.train.progress import Silent
from tony.train.start import train_run

TEXT = "def add(a, b):\n    return a + b\n\n\n"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "not tied"])
def imported(request, random_model, tmp_path_factory):
    """A folder as `tony import` writes it: more embeddings than tokens, as some models have, and other norms."""
    folder = tmp_path_factory.mktemp("imported")
    alphabet = sorted(ByteLevel.alphabet())
    names = ["<begin>", "<end>", *alphabet]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    model = random_model(len(names) + 6, kv_heads=2, tied=request.param, qk_norm=False, norm_eps=1e-3)
    save_model(folder / "model", model)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "import.json").write_text(json.dumps({"source": "a test", "bos": 0, "eos": 1}))
    return folder


def recipe_of(start, data, **changes):
    (data / "text").mkdir(exist_ok=True)
    for number in range(12):
        (data / "text" / f"{number}.txt").write_text(f"# {number}\n{TEXT * (number + 1)}")
    tree = {
        "name": "on", "start": str(start), "data": {"kind": "folder", "path": str(data / "text")},
        "vocabulary": {"image": False, "sound": False}, "model": {"context": 32},
        "train": {"tokens": 64, "batch_tokens": 64, "lr": 1e-30, "weight_decay": 0.0, "precision": "float32"},
    }  # fmt: skip
    return load_recipe(tree, [f"{key}={value}" for key, value in changes.items()])


def logits_of(model, ids):
    with torch.inference_mode():
        states = model.trunk(torch.tensor([ids]), Segments.from_lengths([[len(ids)]], len(ids)))
        return model.readout(states)


def test_an_imported_model_goes_on_as_it_was(imported, tmp_path):
    run, result = train_run(recipe_of(imported, tmp_path), tmp_path / "runs", Silent())
    theirs, ours = load_model(imported / "model"), load_model(run.model)
    vocabulary = Vocabulary.load(run.vocabulary)
    text = vocabulary.ranges["text"]
    ids = list(np.random.default_rng(0).integers(0, text.size, 20))
    expected = logits_of(theirs, ids)[:, : text.size]
    found = logits_of(ours, [i + text.start for i in ids])[:, text.start : text.end]
    assert torch.allclose(found, expected, atol=1e-5)
    assert ours.config.norm_eps == 1e-3 and ours.config.depth == theirs.config.depth
    assert run.recipe.model.width == theirs.config.width and run.recipe.vocabulary.text == text.size
    assert ours.embedding.weight[vocabulary.control("begin_text")].equal(theirs.embedding.weight[0])
    assert ours.readout.weight[vocabulary.end("text")].equal(theirs.readout.weight[1])
    marks = [vocabulary.control(name) for name in ("start", "begin_text", "stop", "end_text")]
    new = [i for i in range(vocabulary.size) if i not in text and i not in marks]
    shares = logits_of(ours, [i + text.start for i in ids]).softmax(-1).view(len(ids), -1)
    assert shares[:, new].sum(-1).mean() < 1.5 * len(new) / vocabulary.size  # no likelier than others
    assert result["steps"] == 1 and all(p.isfinite().all() for p in ours.parameters())


def test_a_run_goes_on_as_it_was(imported, tmp_path):
    first, before = train_run(recipe_of(imported, tmp_path), tmp_path / "runs", Silent())
    again = recipe_of(first.path, tmp_path, name="further")
    second, after = train_run(again, tmp_path / "runs", Silent())
    for name, tensor in load_model(first.model).state_dict().items():
        assert torch.allclose(load_model(second.model).state_dict()[name], tensor, atol=1e-6), name
    assert Vocabulary.load(second.vocabulary).hash == Vocabulary.load(first.vocabulary).hash
    assert after["heldout_by_modality"]["text"] == pytest.approx(
        before["heldout_by_modality"]["text"], rel=1e-5
    )
    train_run(again, tmp_path / "runs", Silent())  # the same command finds the finished run


def test_mup_gives_learning_rates_and_no_initial_values(imported, tmp_path):
    width = Pretrained(imported).config.width
    recipe = recipe_of(imported, tmp_path, name="mup", **{"mup.base_width": width // 2})
    run, _ = train_run(recipe, tmp_path / "runs", Silent())
    given, found = (load_model(folder).state_dict() for folder in (imported / "model", run.model))
    blocks = [name for name in found if name.startswith("blocks.")]
    assert blocks and all(torch.allclose(found[name], given[name], atol=1e-6) for name in blocks)


def test_what_cannot_be_begun_from_is_refused(imported, tmp_path):
    with pytest.raises(TonyError, match="no model to begin from"):
        settled(recipe_of(tmp_path, tmp_path))
    with pytest.raises(TonyError, match="lower it"):
        settled(recipe_of(imported, tmp_path, **{"model.context": 100_000}))
    with pytest.raises(TonyError, match=r"mup\.output_scale"):
        settled(recipe_of(imported, tmp_path, **{"mup.base_width": 8, "mup.output_scale": 2}))
    (tmp_path / "model").mkdir()
    (tmp_path / "import.json").write_text("{}")
    with pytest.raises(TonyError, match="not finished"):
        settled(recipe_of(tmp_path, tmp_path))
    (tmp_path / "model" / "model.safetensors").touch()
    for content, message in (
        ("{", "cannot be read"),
        ("{}", "no shape"),
        ('{"banded": [], "size": 1}', "no shape"),
    ):
        (tmp_path / "model" / "config.json").write_text(content)
        with pytest.raises(TonyError, match=message):
            settled(recipe_of(tmp_path, tmp_path))


def test_recipes_without_a_start_keep_their_hash():
    """Of a run that was trained before there was such a key."""
    assert load_recipe({"data": {"kind": "digits"}}).hash == load_recipe({"start": None}).hash
    assert load_recipe({"start": "runs/a"}).hash != load_recipe({}).hash
