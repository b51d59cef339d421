"""Text as byte-level BPE: every byte string has ids, and every list of ids has a text."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel

from tony.errors import TonyError
from tony.media import Text
from tony.tokens.codec import check_ids

# Letters with a leading space, digits in runs of at most three, punctuation, runs of white space kept whole (indented code).
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


class TextCodec:
    """Byte-level BPE trained with the `tokenizers` library; ids 0 to 255 need not be the bytes in order."""

    modality = "text"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size: int = tokenizer.get_vocab_size()
        to_byte = {character: byte for byte, character in _byte_characters().items()}
        self._bytes = [_bytes_of(tokenizer.id_to_token(index) or "", to_byte) for index in range(self.size)]

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], size: int, whitespace_runs: int = 0) -> TextCodec:
        """A BPE of at most `size` ids (256 bytes and merges) fitted to `texts`.

        Args:
            whitespace_runs: a token more for every run of 2 to so many spaces, each wherever it stands: indented code then
                takes fewer ids (Chen et al. 2021, section 3.2, about 30% fewer than GPT-3's vocabulary).
        """
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(_regex(SPLIT), "isolated"),
                ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=sorted(ByteLevel.alphabet()),
            show_progress=False,
            special_tokens=[],
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.add_tokens([AddedToken(" " * n, normalized=False) for n in range(2, whitespace_runs + 1)])
        return cls(tokenizer)

    def encode(self, part: Text) -> np.ndarray:
        return np.asarray(self._tokenizer.encode(part.text, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, ids: np.ndarray) -> Text:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD."""
        check_ids(ids, self.size, "text")
        return Text(b"".join(self._bytes[int(i)] for i in ids).decode("utf-8", errors="replace"))

    def stream(self) -> TextStream:
        return TextStream(self._bytes)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._tokenizer.save(str(folder / "tokenizer.json"))

    @classmethod
    def load(cls, folder: Path) -> TextCodec:
        try:
            return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))
        except Exception as error:  # the library raises plain Exception
            raise TonyError(
                f"{folder / 'tokenizer.json'}: cannot be read ({error}). Train the run again"
            ) from None


class TextStream:
    """Whole characters as soon as their last byte has come."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def step(self, ids: Iterable[int]) -> str:
        return self._decoder.decode(b"".join(self._pieces[int(i)] for i in ids))

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


def _regex(pattern: str):
    from tokenizers import Regex

    return Regex(pattern)


def _bytes_of(token: str, to_byte: dict[str, int]) -> bytes:
    """What a token writes; one that was added to an imported tokenizer as plain text writes itself."""
    if all(character in to_byte for character in token):
        return bytes(to_byte[character] for character in token)
    return token.encode()


def _byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (the GPT-2 convention): printable Latin-1 bytes
    stand for themselves, the others are counted up from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    for offset, byte in enumerate(b for b in range(256) if b not in table):
        table[byte] = chr(0x100 + offset)
    return table
