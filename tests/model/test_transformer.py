"""Protects: the network is the Llama or Qwen3 that others run, and documents packed together are documents alone."""

import itertools

import pytest
import torch

from tony.errors import TonyError
from tony.model import Segments
from tony.model.machine import choose_device, choose_precision, has_compiler
from tony.model.transformer import causal_bias
from tony.model.weights import load_model, save_model

V = 61
SHAPES = {
    "plain": {"qk_norm": False},
    "qk_norm": {"qk_norm": True},
    "grouped": {"qk_norm": True, "kv_heads": 2},
    "one kv head": {"qk_norm": False, "kv_heads": 1},
    "banded": {"qk_norm": True, "kv_heads": 2, "window": 7, "banded": (1,)},
    "tied": {"qk_norm": False, "tied": True},
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def model(request, random_model):
    return random_model(V, **request.param)


def ids_of(*shape, seed=0):
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def peer_of(model):
    """The same network as Hugging Face transformers computes it, with the weights copied by role."""
    import transformers

    c = model.config
    shared = {
        "vocab_size": c.vocabulary, "hidden_size": c.width, "intermediate_size": c.hidden, "head_dim": c.head_dim,
        "num_hidden_layers": c.depth, "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads,
        "max_position_embeddings": c.context, "rms_norm_eps": c.norm_eps, "tie_word_embeddings": c.tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_base}, "attn_implementation": "eager",
        "attention_bias": False,
    }  # fmt: skip
    if c.qk_norm:
        if c.banded:
            kinds = ["sliding_attention" if i in c.banded else "full_attention" for i in range(c.depth)]
            shared |= {"use_sliding_window": True, "sliding_window": c.window, "layer_types": kinds}
        peer = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shared))
    else:
        peer = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shared))
    state = {"model.embed_tokens.weight": model.embedding.weight, "model.norm.weight": model.norm.weight}
    state["lm_head.weight"] = model.readout.weight
    for i, block in enumerate(model.blocks):
        q, k, v = block.attention.qkv.weight.split(
            [n * c.head_dim for n in (c.heads, c.kv_heads, c.kv_heads)]
        )
        gate, up = block.mlp.gate_up.weight.chunk(2)
        weights = {
            "self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v,
            "self_attn.o_proj": block.attention.out.weight, "mlp.gate_proj": gate, "mlp.up_proj": up,
            "mlp.down_proj": block.mlp.down.weight, "input_layernorm": block.attention_norm.weight,
            "post_attention_layernorm": block.mlp_norm.weight,
        }  # fmt: skip
        if c.qk_norm:
            weights |= {
                "self_attn.q_norm": block.attention.q_norm.weight,
                "self_attn.k_norm": block.attention.k_norm.weight,
            }
        state |= {f"model.layers.{i}.{name}.weight": weight for name, weight in weights.items()}
    peer.load_state_dict(state)
    return peer.eval()


def test_logits_equal_transformers(model):
    pytest.importorskip("transformers")
    ids = ids_of(2, 37)
    with torch.no_grad():
        theirs = peer_of(model)(ids).logits
    ours = model(ids)
    assert ours.std() > 0.5, "logits of no normal size prove nothing"
    assert (ours - theirs).abs().max() < 1e-4


LENGTHS = [[5, 16, 1, 9], [31], [2, 17, 12], [20, 11]]  # rows 1 and 4 are full, the others end in padding
WINDOW = 31


def packed():
    """Windows of LENGTHS, and where each document lies: (ids, [(row, first, length)])."""
    ids = ids_of(len(LENGTHS), WINDOW, seed=1)
    places = [
        (row, first, length)
        for row, lengths in enumerate(LENGTHS)
        for first, length in zip(itertools.accumulate([0, *lengths]), lengths, strict=False)
    ]
    return ids, places


def test_packed_documents_equal_documents_alone(model):
    ids, places = packed()
    logits = model(ids, segments=Segments.from_lengths(LENGTHS, WINDOW))
    for row, first, length in places:
        alone = model(ids[row : row + 1, first : first + length])[0]
        torch.testing.assert_close(logits[row, first : first + length], alone, atol=2e-5, rtol=0)


def test_gradients_of_packed_documents_equal_those_of_documents_alone(model):
    model.requires_grad_(True)
    ids, places = packed()
    weight = torch.randn(*ids.shape, V, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(*ids.shape, 1)
    for row, first, length in places:
        mask[row, first : first + length] = 1
    weight *= mask  # padding has no loss

    def gradients(loss):
        model.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    together = gradients((model(ids, segments=Segments.from_lengths(LENGTHS, WINDOW)) * weight).sum())
    alone = gradients(
        sum((model(ids[r : r + 1, a : a + n])[0] * weight[r, a : a + n]).sum() for r, a, n in places)
    )
    for name, gradient in together.items():
        torch.testing.assert_close(
            gradient, alone[name], atol=1e-3 * float(alone[name].abs().max()), rtol=0, msg=name
        )


def test_padding_reaches_nothing(model):
    """Neither the ids of padding nor a change in another document moves a document's logits by one bit."""
    ids, places = packed()
    segments = Segments.from_lengths(LENGTHS, WINDOW)
    before = model(ids, segments=segments)
    changed = ids.clone()
    inside = torch.zeros_like(ids, dtype=torch.bool)
    for row, first, length in places:
        inside[row, first : first + length] = True
    changed[~inside] = (changed[~inside] + 1) % V
    after = model(changed, segments=segments)
    assert torch.equal(before[inside], after[inside])
    row, first, length = places[2]
    changed = ids.clone()
    changed[row, first : first + length] += 1
    after = model(changed % V, segments=segments)
    inside[row, first : first + length] = False
    assert torch.equal(before[inside], after[inside])


def test_padding_gets_no_gradient(random_model):
    """The embedding of an id that stands in padding only stays as it is."""
    model = random_model(V).requires_grad_(True)
    ids, places = packed()
    ids = ids % (V - 1)
    inside = torch.zeros_like(ids, dtype=torch.bool)
    for row, first, length in places:
        inside[row, first : first + length] = True
    ids[~inside] = V - 1
    logits = model(ids, segments=Segments.from_lengths(LENGTHS, WINDOW))
    logits[inside].square().sum().backward()
    assert (model.embedding.weight.grad[V - 1] == 0).all()
    assert (model.embedding.weight.grad[int(ids[0, 0])] != 0).any()


def test_segments_place_every_position_once():
    segments = Segments.from_lengths(LENGTHS, WINDOW)
    n = WINDOW * len(LENGTHS)
    assert torch.equal(segments.gather[segments.restore], torch.arange(n)), "restore undoes gather"
    assert sum(b.count * b.length for b in segments.buckets) == len(segments.gather)
    _, places = packed()
    for row, first, length in places:
        start = row * WINDOW + first
        assert segments.positions[start : start + length].tolist() == list(range(length))


def test_the_future_is_hidden(model):
    ids = ids_of(1, 24)
    changed = ids.clone()
    changed[0, 15] = (changed[0, 15] + 1) % V
    before, after = model(ids), model(changed)
    assert torch.equal(before[0, :15], after[0, :15])
    assert not torch.equal(before[0, 15:], after[0, 15:])


def test_a_band_hides_what_lies_further_back():
    bias = causal_bias(9, 3, torch.zeros(1))
    seen = bias == 0
    assert [row.nonzero().flatten().tolist() for row in seen[:5]] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
    ]


def test_bfloat16_is_close(random_model):
    model = random_model(V)
    ids = ids_of(2, 40)
    exact = model(ids)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(ids).float()
    assert (rough - exact).abs().max() < 0.15
    assert (rough - exact).square().mean().sqrt() < 0.02 * exact.std()


def test_first_predictions_are_uniform():
    from tony.model import Transformer, TransformerConfig

    shape = TransformerConfig(
        vocabulary=V, width=32, depth=1, heads=2, kv_heads=2, head_dim=16, hidden=64, context=32
    )
    model = Transformer(shape)
    assert (model(ids_of(1, 5)) == 0).all()
    again = Transformer(shape)
    model.reset(torch.Generator().manual_seed(3))
    again.reset(torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")
def test_compiled_blocks_equal_eager(random_model):
    model = random_model(V, kv_heads=2).requires_grad_(True)
    ids, _ = packed()
    segments = Segments.from_lengths(LENGTHS, WINDOW)

    def value_and_gradients():
        model.zero_grad()
        logits = model(ids, segments=segments)
        logits.square().mean().backward()
        return logits.detach(), [p.grad.clone() for p in model.parameters()]

    eager, eager_gradients = value_and_gradients()
    model.compile_blocks()
    compiled, compiled_gradients = value_and_gradients()
    torch.testing.assert_close(compiled, eager, atol=1e-5, rtol=1e-5)
    for a, b in zip(compiled_gradients, eager_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_evaluations_do_not_compile_for_their_own_shapes(random_model):
    model = random_model(V)
    ids = ids_of(2, 7)
    eager = model(ids)

    def compiled(*_):
        raise AssertionError("compiled code was called")

    model._compiled = (compiled, compiled)
    with torch.no_grad():
        assert torch.equal(model(ids), eager)
    with torch.enable_grad(), pytest.raises(AssertionError, match="compiled"):
        model(ids)


def test_a_saved_model_comes_back_equal(model, tmp_path):
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert again.config == model.config
    ids = ids_of(1, 12)
    assert torch.equal(again(ids), model(ids))
    assert not any(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize("damage", ["truncated", "config", "missing", "other shape"])
def test_a_damaged_model_is_one_line(random_model, tmp_path, damage):
    save_model(tmp_path, random_model(V))
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    match damage:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "config":
            config.write_text("[")
        case "missing":
            weights.unlink()
        case "other shape":
            config.write_text(config.read_text().replace('"width": 48', '"width": 24'))
    with pytest.raises(TonyError, match="train") as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_unknown_devices_are_refused():
    with pytest.raises(TonyError, match=r"train\.device"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(TonyError, match="no CUDA"):
            choose_device("cuda")
    assert choose_device("auto").type in ("cpu", "cuda")
    assert choose_precision("float32", torch.device("cpu")) is torch.float32
