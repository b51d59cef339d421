"""Protects what children inherit from their fork server: nothing of what it rehearsed, and what they cost is told rightly."""

import sys

import pytest

from tony.sandbox import Case, Ending, FunctionProgram, Limits, Sandbox, ScriptProgram

ANY = "def check(f): f()"


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


def test_a_script_that_leaves_late_is_found_out_and_one_that_leaves_soon_is_not(sandbox):
    source = "import os, time\nprint(input(), flush=True)\nos.close(1)\ntime.sleep({})\n"
    cases = (Case("a", "a"),)
    assert sandbox.run(ScriptProgram(source.format(0.1), cases)).passed
    found = sandbox.run(ScriptProgram(source.format(15), cases))
    assert found.ending is Ending.TIME and found.detail.endswith("it closed its output and did not end")


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
