"""Tokenizers in the form that others read: tokenizer.json, and the tables of GGUF files."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer

from tony.errors import TonyError
from tony.tokens.vocabulary import CONTROLS, Vocabulary

# What stands before byte-level BPE in the families that GGUF files name (`tokenizer.ggml.pre`).
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def _split(pattern: str) -> PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _pre_tokenizer(name: str) -> PreTokenizer:
    """The pre-tokenizer of family `name`.

    Raises:
        TonyError: the family is not known, so texts would get other ids than in training.
    """
    match name:
        case "smollm":
            return pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
            )
        case "gpt-2" | "gpt2":
            return ByteLevel(add_prefix_space=False)
        case "llama-bpe" | "llama3" | "llama-v3":
            return _split(LLAMA3)
        case "qwen2":
            return _split(QWEN2)
    raise TonyError(
        f"this GGUF file's tokenizer is of family {name!r}: known are smollm, gpt-2, llama-bpe and qwen2. "
        "Import the model's Hugging Face folder instead"
    )


def bpe_tokenizer(
    tokens: Sequence[str], merges: Sequence[str], family: str, special: Sequence[str]
) -> Tokenizer:
    """A byte-level BPE tokenizer from the tables of a GGUF file; `special` tokens are never divided."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    tokenizer.pre_tokenizer = _pre_tokenizer(family)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def token_name(vocabulary: Vocabulary, index: int) -> str:
    """The written form of an id that stands for no text: <|user|>, <|image 17|>."""
    if index < len(CONTROLS):
        return f"<|{CONTROLS[index]}|>"
    kind = next(r for r in vocabulary.ranges.values() if index in r)
    return f"<|{kind.name}_{index - kind.start}|>"


def omni_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """A tokenizer of the whole vocabulary: text ids shifted to their place, every other id a token with a name."""
    own = json.loads(vocabulary.text.tokenizer.to_str())
    text = vocabulary.ranges["text"]
    others = [i for i in range(vocabulary.size) if i not in text]
    table = {token_name(vocabulary, i): i for i in others}
    names = {token: index + text.start for token, index in own["model"]["vocab"].items()}
    for added in own["added_tokens"]:
        added["id"] += text.start
        names[added["content"]] = added["id"]
    own["model"]["vocab"] = dict(sorted((names | table).items(), key=lambda pair: pair[1]))
    own["post_processor"] = None
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    own["added_tokens"] += [{"id": index, "content": name, **plain} for name, index in table.items()]
    own["added_tokens"].sort(key=lambda added: added["id"])
    return Tokenizer.from_str(json.dumps(own))
