"""Subtly wrong versions of right programs: one operator or number changed, and nothing else of the text."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from tony.evals.code.problems import Problem
from tony.sandbox import Ending, Sandbox

# What a person may mix up: operator -> its text, and others of the same kind, with which the program still runs.
_SWAPS = {
    ast.Lt: ("<", "<=", ">"), ast.LtE: ("<=", "<"), ast.Gt: (">", ">=", "<"), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="),
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "+"), ast.FloorDiv: ("//", "%"), ast.Mod: ("%", "//"),
    ast.And: ("and", "or"), ast.Or: ("or", "and"),
}  # fmt: skip


def mutants(source: str) -> Iterator[str]:
    """Each program that differs from `source` in one operator (< for <=, + for -) or one whole number (by one).

    Raises:
        SyntaxError: `source` is no program.
    """
    text = source.encode()  # the parser counts columns in bytes
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def begin(node: ast.expr) -> int:
        return starts[node.lineno - 1] + node.col_offset

    def end(node: ast.expr) -> int:
        return starts[node.end_lineno - 1] + node.end_col_offset

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            gaps = list(zip([node.left, *node.comparators], node.comparators, node.ops, strict=False))
        elif isinstance(node, ast.BinOp):
            gaps = [(node.left, node.right, node.op)]
        elif isinstance(node, ast.BoolOp):
            gaps = [(a, b, node.op) for a, b in zip(node.values, node.values[1:], strict=False)]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield (text[: begin(node)] + str(node.value + 1).encode() + text[end(node) :]).decode()
            continue
        else:
            continue
        for left, right, operator in gaps:
            old, *others = _SWAPS.get(type(operator), ("",))
            at = text.find(old.encode(), end(left), begin(right)) if old else -1
            for new in others if at >= 0 else ():
                yield (text[:at] + new.encode() + text[at + len(old) :]).decode()


def subtle_bugs(problems: Mapping[str, Problem], sandbox: Sandbox, most: int = 40) -> dict[str, str]:
    """For each problem with a right completion that has one, a completion that runs and gives wrong answers.

    Args:
        most: mutants tried of a problem. The first that ends as `wrong` is taken: one that raises is not subtle.
    """
    tried: dict[tuple[str, int], str] = {}
    for name, problem in problems.items():
        if problem.solution is None:
            continue
        whole = problem.prompt + problem.solution
        made = (text for text in mutants(whole) if text.startswith(problem.prompt))
        for number, text in zip(range(most), made, strict=False):
            tried[name, number] = text[len(problem.prompt) :]
    programs = ((key, problems[key[0]].program(text)) for key, text in tried.items())
    endings = {key: verdict.ending for key, verdict in sandbox.run_all(programs)}
    found: dict[str, str] = {}
    for (name, number), text in sorted(tried.items(), key=lambda item: item[0]):
        if endings[name, number] is Ending.WRONG:
            found.setdefault(name, text)
    return found


def joined(problems: Sequence[tuple[Problem, str]]) -> str:
    """Solved problems one after another, as a prompt begins with them."""
    return "".join(f"{problem.prompt.strip()}\n{text.rstrip()}\n\n\n" for problem, text in problems)
