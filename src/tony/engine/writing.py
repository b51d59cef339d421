"""Ids in, text out: whole characters as soon as they are whole, and nothing that may be part of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Writing:
    """The text of one completion as it grows; `text` is what is safe to show so far."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, tuple(s for s in stop if s)
        self._stream = DecodeStream(skip_special_tokens=False)
        self._ids: list[int] = []
        self._whole = ""  # all characters that are complete
        self._shown = 0
        self.is_stopped = False

    @property
    def text(self) -> str:
        return self._whole[: self._shown]

    def add(self, index: int) -> str:
        """The characters that one more id makes certain; after a stop string `is_stopped` is true and nothing comes."""
        if self.is_stopped:
            return ""
        self._ids.append(index)
        new = self._stream.step(self._tokenizer, index)
        if not new:
            return ""
        # A stop string that ends here began at most its length before the new characters.
        self._whole += new
        for place in sorted(self._places(len(new))):
            self.is_stopped = True
            return self._show(place)
        return self._show(len(self._whole) - self._held())

    def flush(self) -> str:
        """What is left at the end: characters held back, and bytes that never became one (U+FFFD)."""
        if self.is_stopped:
            return ""
        self._whole += self._tokenizer.decode(self._ids, skip_special_tokens=False)[len(self._whole) :]
        places = self._places(len(self._whole))
        self.is_stopped = bool(places)
        return self._show(min(places, default=len(self._whole)))

    def _places(self, new: int) -> list[int]:
        """Where stop strings begin that end within the last `new` characters."""
        found = (self._whole.find(s, max(0, len(self._whole) - new - len(s) + 1)) for s in self._stop)
        return [place for place in found if place >= 0]

    def _held(self) -> int:
        """How many of the last characters could be the beginning of a stop string."""
        longest = max((len(s) for s in self._stop), default=1) - 1
        for length in range(min(longest, len(self._whole)), 0, -1):
            end = self._whole[-length:]
            if any(len(s) > length and s.startswith(end) for s in self._stop):
                return length
        return 0

    def _show(self, end: int) -> str:
        delta = self._whole[self._shown : end]
        self._shown = max(end, self._shown)
        return delta
