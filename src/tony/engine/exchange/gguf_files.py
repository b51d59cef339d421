"""GGUF files: read (dequantised to float32) and written, through the `gguf` library.

GGUF's "llama" pairs neighbouring dimensions in rotary positions where Hugging Face pairs halves, so the rows of its
query and key weights stand in another order; "qwen3" keeps the halves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tony.atomic import replacing
from tony.engine.exchange.huggingface import config_from_huggingface, to_huggingface
from tony.engine.exchange.tokenizers import bpe_tokenizer
from tony.errors import TonyError
from tony.model import Transformer

FILE_TYPES = {
    "float32": "ALL_F32",
    "bfloat16": "MOSTLY_BF16",
    "float16": "MOSTLY_F16",
}  # as the library names them
OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NORMAL, CONTROL = 1, 3  # token types


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise TonyError("GGUF needs the package gguf: pip install 'tony-omni[hub]'") from None
    return gguf


def interleave(weight: Tensor, heads: int) -> Tensor:
    """Rows (heads * E, D) from halves to neighbouring pairs."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape)


def halve(weight: Tensor, heads: int) -> Tensor:
    """Rows (heads * E, D) from neighbouring pairs to halves: the inverse of `interleave`."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(weight.shape)


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], Tokenizer, dict[str, Any]]:
    """A Hugging Face config, tensors by Hugging Face's names, the tokenizer, and the ids bos and eos and the chat template
    of a GGUF file, as a dict {bos, eos, template}.

    Raises:
        TonyError: no GGUF file, a damaged one, or one that our network cannot hold.
    """
    gguf = _library()
    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise TonyError(f"{path}: no readable GGUF file ({error}). Fetch it again") from None
    values = {name: field.contents() for name, field in reader.fields.items()}
    config = _read_config(path, values, {tensor.name: tensor for tensor in reader.tensors})
    tensors: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        try:
            array = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except (NotImplementedError, ValueError) as error:
            raise TonyError(f"{path}: {tensor.name} cannot be dequantised ({error})") from None
        weight = torch.from_numpy(np.array(array, np.float32))  # a copy: the file is closed after this
        if config["model_type"] == "llama" and ".attn_q." in tensor.name:
            weight = halve(weight, config["num_attention_heads"])
        elif config["model_type"] == "llama" and ".attn_k." in tensor.name:
            weight = halve(weight, config["num_key_value_heads"])
        tensors[_theirs(path, tensor.name)] = weight
    special = {
        name: values.get(f"tokenizer.ggml.{key}_token_id") for name, key in (("bos", "bos"), ("eos", "eos"))
    }
    special["template"] = values.get("tokenizer.chat_template")
    return config, tensors, _read_tokenizer(path, values), special


def _read_config(path: Path, values: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    kind = values.get("general.architecture")
    if kind not in ("llama", "qwen3"):
        raise TonyError(f"{path}: architecture {kind!r} cannot be imported; known are llama, qwen3")
    if "rope_freqs.weight" in tensors or values.get(f"{kind}.rope.scaling.type", "none") != "none":
        raise TonyError(f"{path}: scaled rotary positions cannot be imported")
    if values.get(f"{kind}.expert_count"):
        raise TonyError(f"{path}: a mixture of experts cannot be imported")
    try:
        heads = int(values[f"{kind}.attention.head_count"])
        width = int(values[f"{kind}.embedding_length"])
        head_dim = int(values.get(f"{kind}.attention.key_length", width // heads))
        if int(values.get(f"{kind}.rope.dimension_count", head_dim)) != head_dim:
            raise TonyError(f"{path}: rotary positions over a part of each head cannot be imported")
        return {
            "model_type": kind,
            "vocab_size": int(tensors["token_embd.weight"].shape[1]),
            "hidden_size": width,
            "num_hidden_layers": int(values[f"{kind}.block_count"]),
            "num_attention_heads": heads,
            "num_key_value_heads": int(values.get(f"{kind}.attention.head_count_kv", heads)),
            "head_dim": head_dim,
            "intermediate_size": int(values[f"{kind}.feed_forward_length"]),
            "max_position_embeddings": int(values[f"{kind}.context_length"]),
            "rms_norm_eps": _shortest(values[f"{kind}.attention.layer_norm_rms_epsilon"]),
            "rope_theta": float(values.get(f"{kind}.rope.freq_base", 10_000.0)),
            "tie_word_embeddings": "output.weight" not in tensors,
        }
    except KeyError as error:
        raise TonyError(
            f"{path}: {error} is missing, so the shape is unknown. Fetch the file again"
        ) from None


def _theirs(path: Path, name: str) -> str:
    """Hugging Face's name of a GGUF tensor."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in INSIDE and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{INSIDE[parts[2]]}.weight"
    raise TonyError(f"{path}: tensor {name} has no place in our network (biases cannot be imported)")


def _read_tokenizer(path: Path, values: dict[str, Any]) -> Tokenizer:
    if "tokenizer.huggingface.json" in values:
        return Tokenizer.from_str(values["tokenizer.huggingface.json"])
    if values.get("tokenizer.ggml.model") != "gpt2":
        raise TonyError(
            f"{path}: its tokenizer is no byte-level BPE ({values.get('tokenizer.ggml.model')!r}). "
            "Import the model's Hugging Face folder instead"
        )
    tokens = values["tokenizer.ggml.tokens"]
    types = values.get("tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    family = values.get("tokenizer.ggml.pre", "gpt-2")
    return bpe_tokenizer(tokens, values.get("tokenizer.ggml.merges", []), family, special)


def write_gguf(
    path: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    special: dict[str, Any],
    name: str,
    dtype: str,
) -> None:
    """Write `model` to `path`; matrices in `dtype` (of FILE_TYPES), norms in float32.

    Raises:
        TonyError: banded layers, which GGUF's llama and qwen3 do not have; another dtype; a full disk.
    """
    import json

    gguf = _library()
    if model.config.banded:
        raise TonyError("GGUF holds no banded layers: export to a Hugging Face folder instead (--format hf)")
    if dtype not in FILE_TYPES:
        raise TonyError(f"dtype {dtype!r} is not written to GGUF: use {', '.join(FILE_TYPES)}")
    config, tensors = to_huggingface(model)
    shape = config_from_huggingface(config)
    kind = config["model_type"]
    with replacing(path) as temporary:
        writer = gguf.GGUFWriter(temporary, kind)
        writer.add_name(name)
        writer.add_vocab_size(shape.vocabulary)
        writer.add_context_length(shape.context)
        writer.add_embedding_length(shape.width)
        writer.add_block_count(shape.depth)
        writer.add_feed_forward_length(shape.hidden)
        writer.add_head_count(shape.heads)
        writer.add_head_count_kv(shape.kv_heads)
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
        writer.add_rope_dimension_count(shape.head_dim)
        writer.add_rope_freq_base(shape.rope_base)
        writer.add_layer_norm_rms_eps(shape.norm_eps)
        writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[dtype]])
        _write_tokenizer(writer, json.loads(tokenizer.to_str()), tokenizer, shape.vocabulary, special)
        back = {theirs: own for own, theirs in INSIDE.items()} | {v: k for k, v in OUTSIDE.items()}
        for key, tensor in tensors.items():
            if kind == "llama" and key.endswith(("q_proj.weight", "k_proj.weight")):
                tensor = interleave(tensor, shape.heads if "q_proj" in key else shape.kv_heads)
            own = back.get(key)
            if own is None:
                _, _, layer, inside = key.split(".", 3)
                own = f"blk.{layer}.{back[inside.removesuffix('.weight')]}.weight"
            array = tensor.float().numpy()
            kept = FILE_TYPES[dtype].split("_")[1] if array.ndim == 2 else "F32"
            of = gguf.GGMLQuantizationType[kept]
            writer.add_tensor(own, gguf.quants.quantize(array, of), raw_dtype=of)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _write_tokenizer(
    writer: Any, value: dict[str, Any], tokenizer: Tokenizer, size: int, special: dict[str, Any]
) -> None:
    """The tables that other readers use, and the whole tokenizer.json for those that know the key."""
    added = {token["id"] for token in value["added_tokens"] if token["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([tokenizer.id_to_token(i) or f"<|unused_{i}|>" for i in range(size)])
    writer.add_token_types([CONTROL if i in added else NORMAL for i in range(size)])
    merges = value["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_string("tokenizer.huggingface.json", tokenizer.to_str())
    if special.get("bos") is not None:
        writer.add_bos_token_id(special["bos"])
    if special.get("eos") is not None:
        writer.add_eos_token_id(special["eos"])
    if special.get("template") is not None:
        writer.add_chat_template(special["template"])
    writer.add_add_bos_token(False)


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32, which is how GGUF keeps it: 1e-6 comes back as 1e-6."""
    return float(str(np.float32(value)))
