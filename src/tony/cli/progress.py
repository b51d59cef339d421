"""How verbs show long work of several kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, int, int], None]  # what is being done, done, total
Say = Callable[[str], None]


@contextmanager
def reporting() -> Iterator[tuple[Report, Say]]:
    """A progress line that begins anew with every kind of work; nothing is shown before the first report."""
    from tony.train.progress import Terminal

    with Terminal() as terminal:
        begun = ""

        def report(what: str, done: int, total: int) -> None:
            nonlocal begun
            if what != begun:
                begun = what
                terminal.begin(what, total, done)
            terminal.advance(done)

        yield report, terminal.say
