"""The process that holds the tests and makes the verdict. It never runs a line of the program.

The tests call a stand-in: each call sends the arguments to the candidate's process and gives back the plain value that
returns. Every request carries a random number that its answer must repeat, so an answer cannot be sent before its question.
Each program gets a fresh judge, forked from a server that holds no data, so a test that patches a module or leaves
something behind spoils nothing for the next.
"""

from __future__ import annotations

import builtins
import os
from typing import Any

from tony.sandbox.channel import Channel
from tony.sandbox.compare import outputs_match
from tony.sandbox.values import BadValue, decode, encode
from tony.sandbox.verdict import ANSWERED, SILENT, Ending

_DETAIL = 300
_SPARE_OUTPUT = 1 << 20


class _Over(BaseException):
    """Ends the tests; not an Exception, so that no `except Exception` in them goes on."""


class _Conversation:
    """The judge's side of the channel: calls, their answers, and the first thing that went wrong with them."""

    def __init__(self, channel: Channel, report: int):
        self._channel = channel
        self._report = report
        self._is_loaded = False
        self.has_heard = False  # from here on an error may be the program's doing
        self.calls = 0
        self.raised: Exception | None = None  # what the program's last call raised
        self.fault: tuple[Ending, str] | None = None

    def call(self, *positional: object, **named: object) -> object:
        """The stand-in for the program's function.

        Arguments that cannot cross are the tests' fault in the first call only. Those of a later call may be made of an answer,
        which nobody can tell, and a program must not choose an answer that excuses it.
        """
        self._load()
        nonce = os.urandom(8)
        try:
            request = encode(("call", nonce, positional, named))
        except BadValue as error:
            ending = Ending.PROTOCOL if self.calls else Ending.JUDGE_ERROR
            self._stop(ending, f"a test's arguments: {error}")
        self.calls += 1
        return self._answer(nonce, request)

    def finish(self) -> None:
        """Ask the program to stop, which proves that it is still there and has sent nothing out of turn."""
        self._load()
        nonce = os.urandom(8)
        self._answer(nonce, encode(("stop", nonce)))

    def _load(self) -> None:
        """Wait until the program is loaded, once."""
        if self.fault:
            raise _Over
        if not self._is_loaded:
            self._is_loaded = True
            kind, *rest = self._receive()
            if kind == "raised":
                self._note_exception(*rest[1:])
                self._stop(Ending.MEMORY if rest[1] == "MemoryError" else Ending.EXCEPTION, _line(*rest[1:]))
            if kind != "ready":
                self._stop(Ending.PROTOCOL, "an answer before any question")

    def _answer(self, nonce: bytes, request: bytes) -> object:
        try:
            self._channel.write(request)
        except OSError:
            self._stop(Ending.PROTOCOL, SILENT)
        kind, *rest = self._receive()
        if kind == "ready":
            self._stop(Ending.PROTOCOL, "an answer out of turn")
        echoed, *rest = rest
        if echoed != nonce:
            self._stop(Ending.PROTOCOL, "an answer to another question")
        if kind == "value":
            return rest[0]
        if kind == "unsendable":
            self._stop(Ending.PROTOCOL, f"the program answered {rest[0]}")
        if kind == "raised":
            raise self._note_exception(*rest)
        raise AssertionError(f"a kind of message without a rule: {kind}")

    def _receive(self) -> tuple:
        """The next message; its shape has been checked."""
        if not self.has_heard and self._channel.listen():
            self.has_heard = True  # said before more is read: it may kill this process
            os.write(self._report, ANSWERED)
        try:
            frame = self._channel.read()
            if frame is None:
                self._stop(Ending.PROTOCOL, SILENT)
            message = decode(frame)
        except BadValue as error:
            self._stop(Ending.PROTOCOL, f"the program sent {error}")
        if type(message) is tuple and message:
            kind, *rest = message
            shape = _SHAPES.get(kind) if type(kind) is str else None
            if shape is not None and len(shape) == len(rest) and all(map(isinstance, rest, shape)):
                return message
        self._stop(Ending.PROTOCOL, "the program sent a malformed message")

    def _note_exception(self, name: str, text: str) -> Exception:
        """The exception that the program's call raised, to be raised in the tests.

        One that is not an ordinary Exception (SystemExit) ends the tests. StopIteration becomes RuntimeError, as in a
        generator: it would end a loop of the tests early and unnoticed.
        """
        kind = getattr(builtins, name, None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            self._stop(Ending.EXCEPTION, _line(name, text))
        if issubclass(kind, (StopIteration, StopAsyncIteration)):
            kind = RuntimeError
        try:
            self.raised = kind(text)
        except Exception:  # such as UnicodeDecodeError, which wants five arguments
            self.raised = RuntimeError(f"{name}: {text}")
        self.raised_name = name
        return self.raised

    def _stop(self, ending: Ending, detail: str) -> None:
        self.fault = self.fault or (ending, detail)
        raise _Over


_SHAPES = {
    "ready": (),
    "value": (bytes, object),
    "raised": (bytes, str, str),
    "unsendable": (bytes, str),
}


def run(task: dict[str, Any], channel: int, report: int) -> None:
    """Judge the program at the other end of `channel`; the verdict goes to `report` as one line: ending, calls, detail."""
    judge = _judge_script if task["profile"] == "stdio" else _judge_function
    ending, detail, calls = judge(task, channel, report)
    shown = "".join(c if c.isprintable() else "?" for c in detail[:_DETAIL])  # no escape codes for a terminal
    os.write(report, f"{ending}\t{calls}\t{shown}\n".encode())


def _judge_function(task: dict[str, Any], channel: int, report: int) -> tuple[Ending, str, int]:
    """Run the problem's tests against the stand-in."""
    talk = _Conversation(Channel(channel), report)
    try:
        names = _names_of_prompt(task["prompt"])
        stand_in = names[task["entry"]] = talk.call
        exec(compile(task["test"], "<tests>", "exec", dont_inherit=True), names)
        check = names.get("check")
        if callable(check) and check is not stand_in:  # a program may be called so
            check(stand_in)
        talk.finish()
    except BaseException as error:
        ending, detail = talk.fault or _blame(error, talk)
        return ending, detail, talk.calls
    if talk.fault:  # the tests swallowed it with a bare except
        return *talk.fault, talk.calls
    return Ending.PASSED, "", talk.calls


def _blame(error: BaseException, talk: _Conversation) -> tuple[Ending, str]:
    """Whose fault an error in the tests is: the program's, once it has been asked anything."""
    detail = _line(type(error).__name__, str(error)[:_DETAIL])
    if not talk.has_heard:
        return Ending.JUDGE_ERROR, f"the tests: {detail}"
    if error is talk.raised:
        is_memory = isinstance(error, MemoryError)
        return (Ending.MEMORY if is_memory else Ending.EXCEPTION), detail
    if isinstance(error, MemoryError):
        return Ending.MEMORY, "the tests ran out of memory on the program's answers"
    return Ending.WRONG, detail


def _names_of_prompt(prompt: str) -> dict[str, Any]:
    """What the prompt defines (helpers that the tests may use), its unfinished function included.

    A prompt that is no program even when `pass` is added (a comment, say) defines nothing.
    """
    for text in (prompt, prompt + "\n    pass\n"):
        names: dict[str, Any] = {"__name__": "tests"}
        try:
            code = compile(text, "<prompt>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        exec(code, names)
        return names
    return {"__name__": "tests"}


def _judge_script(task: dict[str, Any], channel: int, report: int) -> tuple[Ending, str, int]:
    """Read the script's standard output to its end and compare."""
    expected = task["stdout"]
    most = 4 * len(expected) + _SPARE_OUTPUT
    got = bytearray()
    while part := _read(channel):
        if not got:
            os.write(report, ANSWERED)
        got += part
        if len(got) > most:
            return Ending.PROTOCOL, f"wrote more than {most} bytes", 1
    if outputs_match(got.decode("utf-8", "replace"), expected):
        return Ending.PASSED, "", 1
    return Ending.WRONG, f"wrote {bytes(got[:60])!r} instead of {expected[:60]!r}", 1


def _read(channel: int) -> bytes:
    try:
        return os.read(channel, 1 << 16)
    except ConnectionError:
        return b""


def _line(name: str, text: str) -> str:
    return " ".join(f"{name}: {text}".split()) if text else name
