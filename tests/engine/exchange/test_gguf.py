"""Protects: GGUF written by us is read by us, and by transformers' own reader, as the same model."""

import numpy as np
import pytest
import torch

from tony.engine.exchange.folder import LanguageModel, export_model, load_language_model
from tony.engine.exchange.gguf_files import halve, interleave
from tony.engine.exchange.tokenizers import bpe_tokenizer, omni_tokenizer
from tony.errors import TonyError

gguf = pytest.importorskip("gguf")


@pytest.fixture
def written(tmp_path, random_model, vocabulary):
    def make(dtype="float32", **shape):
        model = random_model(vocabulary.size, kv_heads=2, **shape)
        path = tmp_path / "tiny.gguf"
        source = LanguageModel(model, omni_tokenizer(vocabulary), 1, 2, "tiny", "{{ bos_token }}")
        export_model(source, path, "gguf", dtype)
        return model, path

    return make


def test_pairs_and_halves_are_inverse():
    weight = torch.arange(24.0).view(12, 2)
    pairs = interleave(weight, 2)
    assert torch.equal(halve(pairs, 2), weight)
    assert pairs[:6, 0].tolist() == weight[[0, 3, 1, 4, 2, 5], 0].tolist()


@pytest.mark.parametrize(
    "shape", [{"qk_norm": False}, {"qk_norm": True, "tied": True}], ids=["llama", "qwen3"]
)
def test_float32_comes_back_bit_for_bit(written, shape):
    model, path = written(**shape)
    again = load_language_model(path)
    assert again.model.config == model.config or shape["qk_norm"] is None
    for name, parameter in model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], parameter), name
    assert (again.bos, again.eos) == (1, 2) and again.chat.render([]) == "<|start|>"
    assert again.encode("three") == omni_tokenizer_ids(path, "three")


def omni_tokenizer_ids(path, text):
    """By the tables alone, as a reader does that does not know tokenizer.huggingface.json."""
    fields = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
    special = [
        token
        for token, kind in zip(
            fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"], strict=True
        )
        if kind == 3
    ]
    tokenizer = bpe_tokenizer(
        fields["tokenizer.ggml.tokens"],
        fields["tokenizer.ggml.merges"],
        fields["tokenizer.ggml.pre"],
        special,
    )
    return tokenizer.encode(text).ids


def test_transformers_reads_the_same_model(written):
    transformers = pytest.importorskip("transformers")
    model, path = written(qk_norm=False)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    ids = torch.randint(0, model.config.vocabulary, (2, 24))
    with torch.no_grad():
        expected = theirs(ids).logits
        assert float((model(ids) - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.parametrize(("dtype", "error"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_16_bits_are_close(written, dtype, error):
    model, path = written(dtype, qk_norm=False)
    again = load_language_model(path).model
    np.testing.assert_allclose(again.readout.weight, model.readout.weight, rtol=error, atol=1e-6)
    torch.testing.assert_close(again.norm.weight, model.norm.weight, rtol=0, atol=0)


def test_refusals(written, tmp_path):
    with pytest.raises(TonyError, match="no banded layers"):
        written(qk_norm=True, window=4, banded=(0,))
    with pytest.raises(TonyError, match="use float32, bfloat16, float16"):
        written("float64", qk_norm=True)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUX" + bytes(100))
    with pytest.raises(TonyError, match="no readable GGUF"):
        load_language_model(broken)
    with pytest.raises(TonyError, match="family 'strange'"):
        bpe_tokenizer(["a"], [], "strange", [])
