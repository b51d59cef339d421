"""How long work shows itself: one line with progress, speed, loss and time left."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol


class Reporter(Protocol):
    """Who is told about long work. A total of 0 means that it is not known."""

    def begin(self, what: str, total: int, done: int = 0) -> None: ...

    def advance(self, done: int, **figures: Any) -> None: ...

    def say(self, line: str) -> None: ...


class Silent:
    """A reporter that keeps quiet."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        pass

    def advance(self, done: int, **figures: Any) -> None:
        pass

    def say(self, line: str) -> None:
        pass


class Terminal:
    """A Rich progress line on standard error; where that is no terminal, a plain line every ten seconds."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=False,
        )
        self._task: Any = None
        self._what, self._total, self._last = "", 0, 0.0

    def __enter__(self) -> Terminal:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self._what, self._total = what, total
        if self._console.is_terminal:
            if self._task is not None:
                self._progress.stop_task(self._task)
            self._task = self._progress.add_task(what, total=total or None, completed=done, figures="")
        else:
            self.say(f"{what} ...")
            self._last = time.monotonic()

    def advance(self, done: int, **figures: Any) -> None:
        text = _figures(figures)
        if self._console.is_terminal:
            self._progress.update(self._task, completed=done, figures=text)
        elif time.monotonic() - self._last > 10 or done == self._total:
            self._last = time.monotonic()
            self.say(f"{self._what}: {done}{f'/{self._total}' if self._total else ''} {text}".rstrip())

    def say(self, line: str) -> None:
        if self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)


def _figures(figures: dict[str, Any]) -> str:
    words = []
    if "loss" in figures:
        words.append(f"loss {figures['loss']:.3f}")
    if figures.get("by"):
        words.append(" ".join(f"{name} {value:.2f}" for name, value in figures["by"].items()))
    if "speed" in figures:
        words.append(f"{figures['speed']:,.0f} tokens/s")
    return "  ".join(words)
