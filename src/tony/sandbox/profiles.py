"""The kinds of program that can be run, and what each side of the sandbox is told about one.

A program is one or more rounds; each round is one candidate process and one judge. The candidate's task never holds a test.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Round:
    """One run: the tasks of both sides (JSON values), standard input where there is one, and what to call it."""

    candidate: dict[str, Any]
    judge: dict[str, Any]
    stdin: bytes | None = None
    name: str = ""


class Program(Protocol):
    """Source, and the rounds it takes to judge it."""

    source: str

    def rounds(self) -> Iterator[Round]: ...


@dataclass(frozen=True)
class FunctionProgram:
    """A function and its tests, as in HumanEval.

    Attributes:
        source: the whole program, its prompt included.
        entry: the function's name (or that of a method of its class `Solution`).
        test: code that defines `check(candidate)`, or asserts about the function by its name.
        prompt: the beginning that the program was asked to complete; tests may use the helpers it defines.
    """

    source: str
    entry: str
    test: str
    prompt: str = ""

    def rounds(self) -> Iterator[Round]:
        yield Round(
            {"profile": "function", "source": self.source, "entry": self.entry},
            {"profile": "function", "entry": self.entry, "test": self.test, "prompt": self.prompt},
        )


@dataclass(frozen=True)
class Case:
    """Standard input and the standard output that is expected for it."""

    stdin: str
    stdout: str


@dataclass(frozen=True)
class ScriptProgram:
    """A script that reads standard input and writes standard output, as in APPS: every case is a run of its own."""

    source: str
    cases: tuple[Case, ...]

    def rounds(self) -> Iterator[Round]:
        for number, case in enumerate(self.cases, 1):
            yield Round(
                {"profile": "stdio", "source": self.source},
                {"profile": "stdio", "stdout": case.stdout},
                case.stdin.encode("utf-8", "surrogatepass"),
                f"case {number} of {len(self.cases)}: ",
            )


def seed_of(task: dict[str, Any]) -> int:
    """The seed of Python's random module in both processes: tests with random inputs ask the same every time."""
    return zlib.crc32(repr(sorted(task.items())).encode("utf-8", "surrogatepass"))
