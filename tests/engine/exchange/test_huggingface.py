"""Protects: a model exported and read by `transformers`, with no custom code, gives our logits and our greedy text."""

import json

import pytest
import torch

from tony.engine.exchange.folder import LanguageModel, export_model, load_language_model
from tony.engine.exchange.huggingface import config_from_huggingface, from_huggingface, to_huggingface
from tony.engine.exchange.scale import fold_attention_scale
from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.errors import TonyError
from tony.media import Text
from tony.model import Cache

transformers = pytest.importorskip("transformers")

SHAPES = {
    "llama": {"qk_norm": False},
    "llama, grouped, tied": {"qk_norm": False, "kv_heads": 2, "tied": True, "rope_base": 1e5},
    "qwen3": {"qk_norm": True, "kv_heads": 2},
    "qwen3, tied, wide heads": {"qk_norm": True, "head_dim": 20, "tied": True, "norm_eps": 1e-5},
    "qwen3, banded": {"qk_norm": True, "depth": 4, "window": 7, "banded": (0, 2)},
}


@pytest.fixture
def exported(tmp_path, random_model, vocabulary):
    """shape -> (our model, the one that transformers makes of our export, the folder)."""

    def make(shape):
        model = random_model(vocabulary.size, **shape)
        ends = vocabulary.control("start"), vocabulary.control("stop")
        export_model(LanguageModel(model, omni_tokenizer(vocabulary), *ends, name="tiny"), tmp_path / "out")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "out", dtype=torch.float32
        ).eval()
        return model, theirs, tmp_path / "out"

    return make


def test_conversations_are_written_as_transformers_writes_them(tmp_path, random_model, vocabulary):
    template = (
        "{{ bos_token }}{% for message in messages %}\n  {% if message['role'] == 'user' %}\n"
        "<|user|>{{ message['content'] | trim }}\n  {% else %}<|assistant|>{{ message.content + eos_token }}{% endif %}\n"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    ends = vocabulary.control("start"), vocabulary.control("stop")
    source = LanguageModel(
        random_model(vocabulary.size), omni_tokenizer(vocabulary), *ends, name="tiny", template=template
    )
    export_model(source, tmp_path / "out")
    source.save(tmp_path / "imported", "a test")
    messages = [
        {"role": "user", "content": " one "},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path / "out").apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    for folder in ("out", "imported"):
        assert load_language_model(tmp_path / folder).chat.render(messages, "fo") == expected + "fo"


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", SHAPES)
def test_logits_and_greedy_text_are_those_of_transformers(exported, name):
    model, theirs, folder = exported(SHAPES[name])
    ids = torch.randint(0, model.config.vocabulary, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert relative(model(ids), theirs(ids).logits) < 1e-4
    prompt = ids[:1, :8]
    cache, out, new = Cache(model.config, 1), [], prompt
    for _ in range(64):
        out.append(int(model(new, cache)[0, -1].argmax()))
        new = torch.tensor([[out[-1]]])
    theirs.generation_config.eos_token_id = None  # as ours, it goes on behind an end mark
    settings = transformers.GenerationConfig(max_new_tokens=64, do_sample=False, pad_token_id=0)
    assert theirs.generate(prompt, generation_config=settings)[0, 8:].tolist() == out
    again = load_language_model(folder).model
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_a_checkpoint_of_transformers_is_read(tmp_path, kind):
    """The other way round, from a folder that transformers wrote."""
    shape = {
        "vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    }  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(kind, **shape)
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    ours = from_huggingface(config, theirs.state_dict())
    ids = torch.randint(0, 90, (2, 30))
    with torch.no_grad():
        assert relative(ours(ids), theirs(ids).logits) < 1e-4


def test_the_tokenizer_of_an_omni_model_writes_our_ids(exported, vocabulary):
    *_, folder = exported(SHAPES["llama"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    shift = vocabulary.ranges["text"].start
    for text in ("three + five", "z\u00e9ro, un", "  two\n\n", "\u20ac and \U0001f600"):
        ours = (vocabulary.text.encode(Text(text)) + shift).tolist()
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ours
        assert tokenizer.decode(ours) == text
    assert tokenizer.convert_tokens_to_ids("<|user|>") == vocabulary.control("user")
    assert tokenizer.convert_tokens_to_ids("<|image_3|>") == vocabulary.ranges["image"].start + 3
    assert len(tokenizer) == vocabulary.size


@pytest.mark.parametrize("shape", [{"qk_norm": False}, {"qk_norm": True}], ids=["llama", "qwen3"])
def test_another_attention_scale_is_folded_into_the_weights(random_model, monkeypatch, shape):
    """The folded model at scale E^-0.5 is the plain one at scale 1/E (muP's), computed by patching the scale."""
    from tony.model import transformer

    model = random_model(60, kv_heads=2, **shape)
    ids = torch.randint(0, 60, (2, 20))
    scale = 1 / model.config.head_dim

    def attend(q, k, v, bias):
        k, v = (t.repeat_interleave(q.shape[0] // k.shape[0], dim=0) for t in (k, v))
        return (q @ k.transpose(-1, -2) * scale + bias).softmax(-1) @ v

    with monkeypatch.context() as patch:
        patch.setattr(transformer, "attend", attend)
        expected = model(ids)
    assert relative(model(ids), expected) > 1e-3
    fold_attention_scale(model, scale)
    assert relative(model(ids), expected) < 1e-5
    with pytest.raises(TonyError, match="positive"):
        fold_attention_scale(model, 0.0)


def test_what_a_format_cannot_hold_is_refused(random_model):
    model = random_model(60, qk_norm=False, window=4, banded=(1,))
    with pytest.raises(TonyError, match=r"banded layers without QK-norm"):
        to_huggingface(model)


GOOD = {
    "model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    "change, match",
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "type 'llama3'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "type 'yarn'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"hidden_size": "wide"}, "missing or wrong"),
    ],
)
def test_a_config_that_our_network_does_not_compute_is_refused(change, match):
    assert config_from_huggingface(GOOD).kv_heads == 2
    with pytest.raises(TonyError, match=match):
        config_from_huggingface(GOOD | change)


def test_missing_and_strange_tensors_are_named(random_model):
    config, tensors = to_huggingface(random_model(60))
    missing = {key: value for key, value in tensors.items() if key != "model.norm.weight"}
    with pytest.raises(TonyError, match=r"model\.norm\.weight is missing"):
        from_huggingface(config, missing)
    with pytest.raises(TonyError, match="has shape"):
        from_huggingface(config, tensors | {"model.norm.weight": torch.ones(3)})
    with pytest.raises(TonyError, match="extra has no place"):
        from_huggingface(config, tensors | {"extra": torch.ones(3)})


def test_folders_without_a_model_get_one_line(tmp_path):
    with pytest.raises(TonyError, match="no model here"):
        load_language_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(GOOD))
    with pytest.raises(TonyError, match=r"model.safetensors is missing \(pickled"):
        load_language_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TonyError, match=r"config.json: cannot be read"):
        load_language_model(tmp_path)
