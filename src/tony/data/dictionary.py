"""English prose: the definitions of a dictionary, Webster's of 1913 with WordNet's, out of Debian's dict-gcide (GPL).

An entry becomes one line: its head word, and what is said of it without pronunciation, origin and source marks.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from tony.data.packages import debian_package
from tony.data.sources import Split
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text
from tony.runs.data_recipes import DictionaryData

PACKAGE = ("dict-gcide", "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f")  # 0.48.5+nmu2
HEAD = re.compile(r"^(\S[^\\\n]*?) \\")  # the line that an entry begins with: Lark \Lark\ (l[aum]rk), n.
BRACKETS = re.compile(r"\[[^][]*\]")  # origins, sources, and letters that the file's alphabet lacks
SPACE = re.compile(r"\s+")
LINKS = str.maketrans("", "", "{}")
BLOCK = 4_000  # characters of a document: entries that follow one another are of one kin, and are on one side


class Dictionary:
    """Documents of some 4,000 characters, held out by the hash of their content.

    Raises:
        TonyError: (from the first use) the package cannot be fetched, or the folder holds no gcide.dict.dz.
    """

    def __init__(self, recipe: DictionaryData) -> None:
        self.recipe = recipe

    @cached_property
    def blocks(self) -> dict[Split, list[str]]:
        """The documents, in an order of their hashes: the alphabet's would be no fair sample where a run stops early."""
        found: dict[Split, dict[str, str]] = {"train": {}, "heldout": {}}
        for block in blocks(read(self.recipe.path)):
            digest = hashlib.sha256(block.encode()).hexdigest()
            side: Split = "heldout" if int(digest[:8], 16) < self.recipe.held_out * 2**32 else "train"
            found[side][digest] = block
        return {split: [texts[key] for key in sorted(texts)] for split, texts in found.items()}

    def documents(self, split: Split) -> Iterator[Document]:
        for text in self.blocks[split]:
            yield Document([Text(text)])

    def texts(self) -> Iterator[str]:
        yield from self.blocks["train"]

    def images(self) -> Sequence[Image]:
        return []

    def sounds(self) -> Sequence[Audio]:
        return []


def read(path: str = "") -> str:
    """The dictionary as its package has it.

    Raises:
        TonyError: it cannot be fetched, is not below `path`, or is damaged.
    """
    root = Path(path).expanduser() if path else debian_package(*PACKAGE)
    file = next(root.rglob("gcide.dict.dz"), None) if root.is_dir() else None
    if file is None:
        raise TonyError(
            f"{root}: holds no gcide.dict.dz. Unpack dict-gcide there with dpkg-deb -x, or leave data.path out"
        )
    try:
        return gzip.decompress(file.read_bytes()).decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise TonyError(f"{file}: is damaged ({error}). Unpack dict-gcide anew with dpkg-deb -x") from None


def blocks(text: str, size: int = BLOCK) -> Iterator[str]:
    """Entries, one a line, in documents of at least `size` characters but the last."""
    held: list[str] = []
    for entry in entries(text):
        held.append(entry)
        if sum(map(len, held)) >= size:
            yield "\n".join(held)
            held = []
    if held:
        yield "\n".join(held)


def entries(text: str) -> Iterator[str]:
    """`Lark: A frolic; a jolly time.` for each entry that says something of its word."""
    word, lines = "", []
    for line in [*text.splitlines(), "end \\"]:
        head = HEAD.match(line)
        if head is None:
            lines.append(line)
            continue
        meaning = _meaning("\n".join(lines))
        if word and meaning:
            yield f"{word}: {meaning}"
        word, lines = head[1], [line]


def _meaning(entry: str) -> str:
    """What follows the line of the head word, whose origin in brackets may run over several."""
    without = entry
    while (shorter := BRACKETS.sub("", without)) != without:  # they are nested
        without = shorter
    said = without.partition("\n")[2].translate(LINKS)
    return SPACE.sub(" ", said).strip()
