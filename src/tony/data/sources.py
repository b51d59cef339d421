"""Where documents come from: the contract of every source, and the choice of one by recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from tony.media import Audio, Document, Image
from tony.runs import Recipe

Split = Literal["train", "heldout"]


class Source(Protocol):
    """Documents, split by example so that nothing held out is ever trained on, and what codecs are fitted to."""

    def documents(self, split: Split) -> Iterator[Document]:
        """The documents of one split, the same ones in the same order every time."""
        ...

    def texts(self) -> Iterator[str]:
        """Training text for the BPE."""
        ...

    def images(self) -> Sequence[Image]:
        """Training pictures, frames of clips included."""
        ...

    def sounds(self) -> Sequence[Audio]:
        """Training sounds."""
        ...


def open_source(recipe: Recipe) -> Source:
    """The source that `recipe.data` names.

    Raises:
        TonyError: a folder is missing or holds no example.
    """
    match recipe.data.kind:
        case "digits":
            from tony.data.digits import DigitWorld

            return DigitWorld(recipe.data, recipe.seed)
        case "pictures":
            from tony.data.pictures import Pictures

            return Pictures(recipe.data, recipe.seed)
        case "pairs":
            from tony.data.pairs import Pairs

            return Pairs(recipe.data, recipe.seed)
        case "clips":
            from tony.data.clips import Clips

            return Clips(recipe.data, recipe.seed)
        case "code":
            from tony.data.code import Code

            return Code(recipe.data)
        case "dictionary":
            from tony.data.dictionary import Dictionary

            return Dictionary(recipe.data)
        case "mathematics":
            from tony.data.mathematics import Mathematics

            return Mathematics(recipe.data, recipe.seed)
        case "folder":
            from tony.data.folder import FolderSource

            return FolderSource(recipe.data, recipe.seed)
