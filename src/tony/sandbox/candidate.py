"""The process that runs an untrusted program. Nothing here is secret, and nothing here decides anything.

Whatever the program does to this interpreter (frames, builtins, this very module), all that leaves the process are frames,
and the judge takes them for answers of the program, right or wrong.
"""

from __future__ import annotations

import builtins
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from tony.sandbox.channel import Channel
from tony.sandbox.values import BadValue, decode, encode
from tony.sandbox.verdict import OUT_OF_MEMORY

_TEXT = 200


def run(task: dict[str, Any], channel: int, stdin: int | None = None) -> None:
    """Run the program of `task` as its profile says. May return, raise or never end: the caller exits afterwards."""
    if task["profile"] == "stdio":
        _run_as_script(task["source"], stdin, channel)
    else:
        _serve_function(task["source"], task["entry"], Channel(channel))


def _serve_function(source: str, entry: str, channel: Channel) -> None:
    """Load the program, then answer calls of its function until told to stop."""
    try:
        function = _find(_execute(source, "candidate"), entry)
        frame = encode(("ready",))
    except BaseException as error:
        frame = encode(("raised", b"", *_describe(error)))
    while True:
        channel.write(frame)
        request = channel.read()
        if request is None:
            return
        kind, nonce, *call = decode(request)
        if kind == "stop":
            channel.write(encode(("value", nonce, None)))
            return
        try:
            positional, named = call
            frame = encode(("value", nonce, function(*positional, **named)), opaque=True)
        except BadValue as error:
            frame = encode(("unsendable", nonce, str(error)))
        except BaseException as error:
            frame = encode(("raised", nonce, *_describe(error)))


def _execute(source: str, name: str) -> dict[str, Any]:
    """Run `source` as a module of its own called `name`; its names come back."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def _find(names: dict[str, Any], entry: str) -> Callable:
    """The function `entry`, or that method of a `Solution` class, as contest sites write it."""
    if entry not in names and "Solution" in names:
        return getattr(names["Solution"](), entry)
    try:
        return names[entry]
    except KeyError:
        raise NameError(f"name {entry!r} is not defined") from None


def _describe(error: BaseException) -> tuple[str, str]:
    """The nearest built-in class of `error` and the beginning of its text."""
    name = next(kind.__name__ for kind in type(error).__mro__ if vars(builtins).get(kind.__name__) is kind)
    try:
        text = str(error)[:_TEXT]
    except Exception:
        text = ""
    return name, text


def _run_as_script(source: str, stdin: int, channel: int) -> None:
    """Run the program as a script whose standard output is the channel; then leave with its status."""
    os.dup2(stdin, 0)
    os.dup2(channel, 1)
    os.close(stdin)
    os.close(channel)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.argv = ["program.py"]
    builtins.exit = builtins.quit = sys.exit
    status = 0
    try:
        _execute(source, "__main__")
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except MemoryError:
        status = OUT_OF_MEMORY
    except BaseException:
        status = 1
    try:
        sys.stdout.flush()
    except Exception:
        status = status or 1
    os._exit(status & 0xFF)
