"""The hostile programs: read from the text files beside this one, made ready to run, and what shows that one got out.

    === name [| program or script] [-> ending, ending]

What follows a header is an attempt: the body of the tested function, which has escaped when its last line is reached.
With `program` it is a whole program, with `script` one that is judged by its standard output. Escapes are visible: the
answer begins with ESCAPED, which the judge's message repeats, or the host below is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tony.sandbox import Case, FunctionProgram, ScriptProgram

HERE = Path(__file__).parent
MARK = "ESCAPED"
SECRET = "7919 * x % 104729 + 0.25"
TEST = f"""
KEPT_FROM_PROGRAMS = "the-secret-of-the-tests"
def check(candidate):
    for x in (3, 5, 8, 13):
        got = candidate(x)
        assert got == {SECRET}, got
"""
HONEST = f"def f(x):\n    return {SECRET}\n"
_HEADER = re.compile(r"^=== (.+)$", re.MULTILINE)
_ATTEMPT = "def f(x):\n    try:\n{}\n    except Exception as error:\n        return 'contained ' + repr(error)\n    return 'ESCAPED'\n"


@dataclass(frozen=True)
class Hostile:
    """One program.

    Attributes:
        theme: the file it stands in.
        endings: those that are right for it; any but passed and judge error where empty.
    """

    name: str
    theme: str
    kind: str
    body: str
    endings: tuple[str, ...] = ()

    def program(self, host: dict[str, str]) -> FunctionProgram | ScriptProgram:
        """Ready to run, with the places of `host` filled in."""
        body = self.body
        for key, value in host.items():
            body = body.replace(f"@{key}@", value)
        if self.kind == "script":
            return ScriptProgram(body, (Case("7\n", "the-answer-is-61\n"),))
        source = _ATTEMPT.format(textwrap.indent(body, "        ")) if self.kind == "attempt" else body
        return FunctionProgram(source, "f", TEST)


def read_suite() -> list[Hostile]:
    """Every program, by file and in its order."""
    found = []
    for path in sorted(HERE.glob("*.txt")):
        _, *parts = _HEADER.split(path.read_text(encoding="utf-8"))
        for header, body in zip(parts[::2], parts[1::2], strict=True):
            head, _, endings = header.partition("->")
            name, _, kind = head.partition("|")
            allowed = tuple(e.strip() for e in endings.split(",") if e.strip())
            found.append(
                Hostile(name.strip(), path.stem, kind.strip() or "attempt", body.strip("\n"), allowed)
            )
    return found


class Host:
    """What programs must not reach: a folder anyone may write, a listener, an abstract socket, a process, a variable."""

    def __enter__(self) -> Host:
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="host-")))
        self.folder.chmod(0o777)
        (self.folder / "secret").write_text("a file of the host")
        (self.folder / "secret").chmod(0o666)
        self._listeners = [self._stack.enter_context(socket.socket(kind)) for kind in (2, 1)]
        self._listeners[0].bind(("127.0.0.1", 0))
        self._listeners[1].bind(f"\0host-{os.getpid()}")
        for listener in self._listeners:
            listener.listen()
            listener.setblocking(False)
        os.environ["HOST_SECRET"] = "a variable of the host"
        self.victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
        self.places = {
            "FOLDER": str(self.folder),
            "PORT": str(self._listeners[0].getsockname()[1]),
            "ABSTRACT": f"host-{os.getpid()}",
            "VICTIM": str(self.victim.pid),
            "EVALUATOR": str(os.getpid()),
        }
        return self

    def __exit__(self, *_: object) -> None:
        os.environ.pop("HOST_SECRET", None)
        self.victim.kill()
        self.victim.wait()
        self._stack.close()

    def damage(self) -> list[str]:
        """What has been changed, in words."""
        found = []
        if sorted(p.name for p in self.folder.iterdir()) != ["secret"]:
            found.append("files appeared or went")
        if (self.folder / "secret").read_text() != "a file of the host":
            found.append("a file was changed")
        for listener in self._listeners:
            with contextlib.suppress(BlockingIOError):
                listener.accept()[0].close()
                found.append("a connection arrived")
        if self.victim.poll() is not None:
            found.append("a process was ended")
        return found
