"""Protects the verdict and the machine: no hostile program passes or gets out, and the worker is well after each.

The suite can fail: with a layer removed, the programs that it stops do get out, and a program that is right passes.
"""

import gc
import os
from pathlib import Path

import pytest

from tony.sandbox import Ending, FunctionProgram, Limits, Sandbox

LIMITS = Limits(cpu_s=1.0, wall_s=5.0)


@pytest.fixture(scope="module")
def suite(beside):
    return beside(Path(__file__).parent / "hostile" / "suite.py")


@pytest.fixture(scope="module")
def host(suite):
    with suite.Host() as made:
        yield made


def test_the_suite_holds_a_hundred_programs_and_more(suite):
    programs = suite.read_suite()
    assert len(programs) >= 100 and len({p.name for p in programs}) == len(programs)


def test_none_gets_out_or_passes_and_the_worker_stays_well(suite, host):
    wrong = []
    with Sandbox(LIMITS, workers=1, calibrate=False) as sandbox:
        honest = FunctionProgram(suite.HONEST, "f", suite.TEST)
        assert sandbox.run(honest).passed
        gc.collect()  # what tests before this one left open is not ours
        before = len(os.listdir("/proc/self/fd"))
        for hostile in suite.read_suite():
            found = sandbox.run(hostile.program(host.places))
            right = hostile.endings or set(Ending) - {Ending.PASSED, Ending.JUDGE_ERROR}
            if found.ending not in right or suite.MARK in found.detail or host.damage():
                wrong.append((hostile.theme, hostile.name, str(found.ending), found.detail, host.damage()))
            if not sandbox.run(honest).passed:
                wrong.append((hostile.theme, hostile.name, "the worker is not well"))
        assert len(os.listdir("/proc/self/fd")) <= before
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    ("without", "names"),
    [
        (("landlock", "namespaces", "view"), ["read a file of the host", "the root folder"]),
        (("seccomp",), ["session", "socket pair", "an event descriptor"]),
        (("seccomp", "limits"), ["fork"]),
        (("limits",), ["memory it may not have"]),
    ],
    ids=lambda v: "-".join(v),
)
def test_without_a_layer_its_programs_get_out(suite, host, without, names):
    programs = {p.name: p for p in suite.read_suite()}
    with Sandbox(
        Limits(cpu_s=3.0, wall_s=10.0), workers=1, calibrate=False, allow_missing=True, without=without
    ) as sandbox:
        assert not sandbox.report.is_complete
        for name in names:
            assert suite.MARK in sandbox.run(programs[name].program(host.places)).detail, name
