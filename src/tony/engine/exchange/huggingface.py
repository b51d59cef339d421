"""Our transformer as a Hugging Face checkpoint (Llama, or Qwen3 with QK-norm), and back: names, shapes, config.json.

Legend: D width, H query heads, K key/value heads, E head_dim, F hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tony.errors import TonyError
from tony.model import Transformer, TransformerConfig

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
OUTSIDE = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
# Ours to theirs within a block; what we keep as one matrix is a tuple of theirs, stacked by rows.
INSIDE: dict[str, tuple[str, ...]] = {
    "attention_norm.weight": ("input_layernorm.weight",),
    "attention.qkv.weight": tuple(f"self_attn.{name}_proj.weight" for name in "qkv"),
    "attention.q_norm.weight": ("self_attn.q_norm.weight",),
    "attention.k_norm.weight": ("self_attn.k_norm.weight",),
    "attention.out.weight": ("self_attn.o_proj.weight",),
    "mlp_norm.weight": ("post_attention_layernorm.weight",),
    "mlp.gate_up.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.down.weight": ("mlp.down_proj.weight",),
}


def to_huggingface(model: Transformer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The value of config.json, and the tensors by Hugging Face's names; tied weights stand there once.

    Raises:
        TonyError: the model has banded layers without QK-norm, which Llama cannot hold.
    """
    config = model.config
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.state_dict().items():
        for key, value in _theirs(name, parameter, config):
            tensors[key] = value.detach().cpu().contiguous()
    if config.tied:
        tensors.pop("lm_head.weight", None)
    return config_to_huggingface(config), tensors


def config_to_huggingface(config: TransformerConfig) -> dict[str, Any]:
    """The value of config.json, readable by transformers 4 (rope_theta) and 5 (rope_parameters).

    Raises:
        TonyError: as `to_huggingface`.
    """
    kind = "qwen3" if config.qk_norm else "llama"
    if config.banded and not config.qk_norm:
        raise TonyError(
            "banded layers without QK-norm: a Hugging Face Llama holds none. Train with model.qk_norm=true"
        )
    value: dict[str, Any] = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.hidden,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
    }
    if kind == "qwen3":
        value["use_sliding_window"] = bool(config.banded)
        value["sliding_window"] = config.window if config.banded else None
        value["layer_types"] = [
            "sliding_attention" if layer in config.banded else "full_attention"
            for layer in range(config.depth)
        ]
    else:
        value["mlp_bias"] = False
    return value


def config_from_huggingface(value: Mapping[str, Any]) -> TransformerConfig:
    """Our shape of a config.json.

    Raises:
        TonyError: it asks for something that our network does not compute; the key is named.
    """
    kind = value.get("model_type")
    if kind not in ARCHITECTURES:
        raise TonyError(
            f"config.json: model_type {kind!r} cannot be imported; known are {', '.join(ARCHITECTURES)}"
        )
    rope = value.get("rope_parameters") or {}
    scaling = value.get("rope_scaling") or rope
    rope_type = scaling.get("rope_type", scaling.get("type", "default"))
    if rope_type not in ("default", None):
        raise TonyError(
            f"config.json: rotary positions of type {rope_type!r} cannot be imported, only default"
        )
    plain = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "partial_rotary_factor": 1.0}
    for key, usual in plain.items():
        if value.get(key, usual) != usual:
            raise TonyError(f"config.json: {key}={value[key]!r} cannot be imported, only {usual!r}")
    try:
        heads, depth, width = (
            int(value[key]) for key in ("num_attention_heads", "num_hidden_layers", "hidden_size")
        )
        types = value.get("layer_types") or ["full_attention"] * depth
        banded = tuple(layer for layer, name in enumerate(types) if name == "sliding_attention")
        if kind == "qwen3" and value.get("use_sliding_window") and not value.get("layer_types"):
            banded = tuple(range(int(value.get("max_window_layers", 28)), depth))
        return TransformerConfig(
            vocabulary=int(value["vocab_size"]),
            width=width,
            depth=depth,
            heads=heads,
            kv_heads=int(value.get("num_key_value_heads") or heads),
            head_dim=int(value.get("head_dim") or width // heads),
            hidden=int(value["intermediate_size"]),
            context=int(value["max_position_embeddings"]),
            qk_norm=kind == "qwen3",
            tied=bool(value.get("tie_word_embeddings", False)),
            rope_base=float(rope.get("rope_theta") or value.get("rope_theta") or 10_000.0),
            norm_eps=float(value.get("rms_norm_eps", 1e-6)),
            window=int(value["sliding_window"]) if banded else None,
            banded=banded,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TonyError(f"config.json: {error} is missing or wrong, so the shape is unknown") from None


def from_huggingface(value: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Transformer:
    """The model of a config.json and tensors by Hugging Face's names, float32, for evaluation.

    Raises:
        TonyError: a tensor is missing, of another shape, or unknown; or as `config_from_huggingface`.
    """
    config = config_from_huggingface(value)
    with torch.device("meta"):
        model = Transformer(config)
    left = {name: t for name, t in tensors.items() if not name.endswith("rotary_emb.inv_freq")}
    if config.tied:
        left.pop("lm_head.weight", None)
    state = {}
    for name, parameter in model.named_parameters():
        parts = []
        for key, shape in _shapes(name, config):
            tensor = left.pop(key, None)
            if tensor is None or tuple(tensor.shape) != shape:
                found = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}"
                raise TonyError(f"tensor {key} {found}; config.json asks for {shape}. Fetch the model again")
            parts.append(tensor.float())
        state[name] = torch.cat(parts) if len(parts) > 1 else parts[0].clone()
        assert state[name].shape == parameter.shape
    if left:
        raise TonyError(f"tensor {min(left)} has no place in a {value['model_type']} model of this shape")
    model.load_state_dict(state, strict=not config.tied, assign=True)
    if config.tied:
        model.readout.weight = model.embedding.weight
    return model.eval().requires_grad_(False)


def _names(name: str) -> tuple[str, ...]:
    """Hugging Face's names of our parameter `name`."""
    if name == "readout.weight":
        return ("lm_head.weight",)
    if name in OUTSIDE:
        return (OUTSIDE[name],)
    _, layer, inside = name.split(".", 2)
    return tuple(f"model.layers.{layer}.{theirs}" for theirs in INSIDE[inside])


def _rows(name: str, config: TransformerConfig) -> tuple[int, ...]:
    """How many rows each of Hugging Face's parts of a stacked matrix has."""
    if name.endswith("qkv.weight"):
        return tuple(n * config.head_dim for n in (config.heads, config.kv_heads, config.kv_heads))
    return (config.hidden, config.hidden)


def _theirs(name: str, tensor: Tensor, config: TransformerConfig) -> list[tuple[str, Tensor]]:
    names = _names(name)
    parts = tensor.split(_rows(name, config)) if len(names) > 1 else (tensor,)
    return list(zip(names, parts, strict=True))


def _shapes(name: str, config: TransformerConfig) -> list[tuple[str, tuple[int, ...]]]:
    """Hugging Face's names and shapes of our parameter `name`."""
    names, width = _names(name), config.width
    if len(names) > 1:
        return [(key, (rows, width)) for key, rows in zip(names, _rows(name, config), strict=True)]
    shapes = {
        "embedding.weight": (config.vocabulary, width),
        "readout.weight": (config.vocabulary, width),
        "attention.out.weight": (width, config.heads * config.head_dim),
        "mlp.down.weight": (width, config.hidden),
        "attention.q_norm.weight": (config.head_dim,),
        "attention.k_norm.weight": (config.head_dim,),
    }
    inside = name.split(".", 2)[2] if name.startswith("blocks.") else name
    return [(names[0], shapes.get(inside, (width,)))]
