"""Protects what children inherit from their fork server: nothing of what it rehearsed, and what they cost is told rightly."""

import sys
from pathlib import Path

import pytest

import tony
from tony.sandbox import Case, Ending, FunctionProgram, Limits, Sandbox, ScriptProgram, worker

ANY = "def check(f): f()"
LOOK = """
import ctypes, gc
def f():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.memmem.restype = libc.sbrk.restype = ctypes.c_void_p
    needle = ctypes.create_string_buffer({size})
    for i, c in enumerate({changed}): needle[i] = c ^ 1
    gc.unfreeze()
    pages = {{(id(o) >> 18 << 18) + k for o in gc.get_objects() for k in range(0, 1 << 18, 4096)}}
    for end in (libc.sbrk(0), ctypes.c_void_p.in_dll(libc, "__libc_stack_end").value):
        pages |= set(range((end >> 12) - 2000 << 12, end, 4096))
    found = 0
    for page in pages:
        ctypes.set_errno(0)
        if libc.access(ctypes.c_void_p(page), 0) < 0 and ctypes.get_errno() == 14: continue
        at = libc.memmem(ctypes.c_void_p(page), 4096, needle, {size})
        found += at is not None and at != ctypes.addressof(needle)
    return found
"""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(Limits(cpu_s=2.0, wall_s=20.0), workers=1, calibrate=False) as made:
        yield made


def told(sandbox, source):
    """What the function `f` of `source` returns, a short value."""
    found = sandbox.run(FunctionProgram(source, "f", "def check(f): raise KeyError(repr(f()))"))
    assert found.ending is Ending.WRONG, found
    return eval(eval(found.detail.removeprefix("KeyError: ")))


def test_a_program_holds_three_streams_and_its_channel(sandbox):
    source = (
        "import os\ndef f():\n    found = []\n    for d in range(64):\n        try: os.fstat(d)\n"
        "        except OSError: continue\n        found.append(d)\n    return found\n"
    )
    assert told(sandbox, source) == [0, 1, 2, 4]
    assert told(sandbox, "import sys\ndef f(): return sys.stdin.read()") == ""


def test_nothing_of_the_sandbox_or_its_rehearsal_can_be_imported_or_seen(sandbox):
    source = "import sys, builtins\ndef f(): return [n for n in sys.modules if n.startswith('tony')]"
    assert told(sandbox, source) == []
    test = (
        "import sys\nassert 'candidate' not in sys.modules and 'helper' not in globals()\ndef check(f): f()"
    )
    assert sandbox.run(FunctionProgram("def f(): return 1", "f", test)).passed
    assert told(sandbox, "def f(): return 'helper' in globals() or 'math' in globals()") is False


def test_a_program_cannot_find_out_how_the_one_before_it_ended(sandbox, monkeypatch):
    packets, receive = [], worker._Server._receive

    def noting(self, patience_s):
        packets.append(receive(self, patience_s))
        return packets[-1]

    monkeypatch.setattr(worker._Server, "_receive", noting)
    source = "import os, time\nwhile time.process_time() < 0.05: pass\ndef f(): os._exit(213)"
    assert sandbox.run(FunctionProgram(source, "f", ANY)).detail == "left with exit status 213"
    before = packets[0][-152:][:40]  # status, and time in either mode
    changed = bytes(byte ^ 1 for byte in before)
    assert told(sandbox, LOOK.format(size=len(changed), changed=changed)) == 0


def test_a_program_is_not_told_where_the_sandbox_lies(sandbox):
    place = str(Path(tony.__file__).parent)
    source = f"import sys\ndef f(): return [p for p in (*sys.path_importer_cache, *sys.orig_argv) if {place!r} in p]"
    assert told(sandbox, source) == []


def test_random_numbers_are_the_same_every_time_and_differ_between_programs_and_judge(sandbox):
    source = "import random\ndef f(): return random.getrandbits(64)"
    first = told(sandbox, source)
    assert told(sandbox, source) == first != told(sandbox, source + "\n")
    test = "import random\ndef check(f): assert f() == random.getrandbits(64)"
    assert sandbox.run(FunctionProgram(source, "f", test)).ending is Ending.WRONG


def test_what_a_program_cost_is_told(sandbox):
    idle = sandbox.run(FunctionProgram("def f(): return 1", "f", ANY))
    source = (
        "import time\ndef f():\n    held = bytearray(100 << 20)\n    while time.process_time() < 0.5: pass\n"
    )
    busy = sandbox.run(FunctionProgram(source, "f", ANY))
    assert idle.passed and 0 < idle.cpu_s < 0.1 and 1 << 20 < idle.memory_bytes < 64 << 20
    assert busy.passed and 0.5 <= busy.cpu_s < 1.0 and 100 << 20 < busy.memory_bytes < 200 << 20


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        ("import os\ndef f(): os._exit(7)", "left with exit status 7"),
        ("import ctypes\ndef f(): ctypes.string_at(0)", "ended by SIGSEGV"),
    ],
)
def test_how_a_program_ended_is_told(sandbox, source, detail):
    found = sandbox.run(FunctionProgram(source, "f", ANY))
    assert found.ending is Ending.EXCEPTION and found.detail == detail


def test_what_a_script_does_with_its_output_closed_is_held_against_its_limits_and_nothing_else():
    source = "import os, time\nprint(input(), flush=True)\nos.close(1)\n"
    cases = (Case("a", "a"),)
    with Sandbox(Limits(cpu_s=1.0, wall_s=6.0), workers=1, calibrate=False) as made:
        for rest, detail in (
            ("time.sleep(1.5)", ""),
            ("time.sleep(60)", "it closed its output and did not end"),
            ("time.sleep(1.5)", ""),  # the order that ended the wait before it is not taken for its own
            ("while True: pass", "over 1.00 s of processor time"),
        ):
            found = made.run(ScriptProgram(source + rest, cases))
            assert found.ending is (Ending.TIME if detail else Ending.PASSED), found
            assert found.detail.endswith(detail)


def test_a_script_is_waited_for_only_where_its_end_has_a_say():
    flood = (
        "import os, time\ntry:\n    while True: os.write(1, b'a' * 65536)\nexcept OSError: time.sleep(60)\n"
    )
    with Sandbox(Limits(cpu_s=2.0, wall_s=30.0), workers=1, calibrate=False) as made:
        found = made.run(ScriptProgram(flood, (Case("", "a"),)))
        assert found.ending is Ending.PROTOCOL and found.wall_s < 20
        assert made.run(ScriptProgram("print('a')", (Case("", "a"),))).wall_s < 20


def test_long_programs_and_values_cross_whole(sandbox):
    source = f"TEXT = {'x' * 500_000!r}\ndef f(x): return [TEXT, x]"
    test = "def check(f):\n    x = list(range(100_000))\n    assert f(x) == ['x' * 500_000, x]\n"
    assert sandbox.run(FunctionProgram(source, "f", test)).passed


def test_the_limits_of_each_sandbox_are_its_own():
    source = "import resource\ndef f(): return resource.getrlimit(resource.RLIMIT_AS)[1] >> 20"
    for size in (256, 384):
        with Sandbox(Limits(memory_bytes=size << 20), workers=1, calibrate=False) as made:
            assert told(made, source) == size


def test_a_server_starts_without_any_layer_and_says_so():
    without = ("landlock", "seccomp", "limits", "capabilities", "environment", "namespaces", "view", "user")
    with Sandbox(workers=1, calibrate=False, allow_missing=True, without=without) as made:
        assert set(made.report.missing) == set(without)
        assert made.run(FunctionProgram("def f(): return 1", "f", ANY)).passed


def test_a_sandbox_starts_where_the_callers_input_is_closed(tmp_path):
    """Its servers' sockets then have the lowest numbers."""
    import subprocess

    code = (
        "import os; os.close(0)\nfrom tony.sandbox import FunctionProgram, Sandbox\n"
        "with Sandbox(workers=1, calibrate=False) as s:\n"
        f"    assert s.run(FunctionProgram('def f(): return 1', 'f', {ANY!r})).passed\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
