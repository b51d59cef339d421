"""Docstrings from code, graded by going back: does the model write a right function from its own docstring?

Chen et al. 2021 (section 5) train Codex-D for this and grade 1,640 docstrings by hand. Here a docstring's score is the
pass rate of functions that the same model writes from it, beside that of the original docstring: a lower bound on
what the docstring says, for the model must also be able to read it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tony.evals.code.problems import Problem
from tony.evals.code.studies import by_problem, difference, rates, share
from tony.evals.pass_at_k import mean_over_problems

QUOTES = '"""'
# One example of the form, not of HumanEval.
_EXAMPLE = '''\
def area(width, height):
    return width * height


# What the function above does, as its docstring:
"""Return the area of a rectangle of the given width and height."""


'''
_ASK = f"\n\n# What the function above does, as its docstring:\n{QUOTES}"
COPIED = 0.5  # share of the body's lines from which on a docstring counts as a copy of the code


def docstring_parts(problem: Problem) -> tuple[str, str] | None:
    """(what stands before the docstring, the docstring with its closing quotes) of a prompt; None where it has none."""
    try:
        tree = ast.parse(problem.prompt + "    pass\n")
    except SyntaxError:
        return None
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == problem.entry]
    docstring = ast.get_docstring(found[-1]) if found else None
    if docstring is None:
        return None
    lines = problem.prompt.splitlines(keepends=True)
    return "".join(lines[: found[-1].body[0].lineno - 1]), docstring + QUOTES


def docstring_prompt(before: str, body: str) -> str:
    """Signature and body, and the beginning of a docstring for them."""
    return f"{_EXAMPLE}{before.strip()}\n{body.rstrip()}\n{_ASK}"


def docstring_problems(problems: Mapping[str, Problem]) -> dict[str, Problem]:
    """For each problem that can be used: complete signature and body by a docstring. These are drawn, not run."""
    found = {}
    for name, problem in problems.items():
        parts = docstring_parts(problem)
        if parts is not None and problem.solution is not None:
            prompt = docstring_prompt(parts[0], problem.solution)
            found[name] = Problem(name, prompt, problem.entry, stops=(QUOTES,))
    return found


def is_copy(docstring: str, body: str) -> bool:
    """Whether a docstring tells what the code does by repeating it."""
    lines = [line.strip() for line in body.splitlines() if len(line.strip()) > 8]
    return bool(lines) and sum(line in docstring for line in lines) >= COPIED * len(lines)


def back_problems(
    problems: Mapping[str, Problem], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Problem], list[str]]:
    """The problem that each docstring poses (`generated/...`) and the original one (`original/...`); the copies' task ids.

    A docstring that copies the code, or is empty, poses no problem and scores 0.
    """
    found: dict[str, Problem] = {}
    refused = []
    for row in rows:
        name = row["task_id"]
        before, _ = docstring_parts(problems[name]) or ("", "")
        text = row["completion"].strip().replace("\\", "\\\\")
        task = f"generated/{name}/{row['sample_id']}"
        if not text or is_copy(text, problems[name].solution or ""):
            refused.append(task)
            continue
        lines = "\n".join(f"    {line.strip()}".rstrip() for line in text.splitlines())
        prompt = f"{before}    {QUOTES}\n{lines}\n    {QUOTES}\n"
        found[task] = replace(problems[name], task_id=task, prompt=prompt)
        original = f"original/{name}"
        found[original] = replace(problems[name], task_id=original)
    return found, refused


def report(rows: Sequence[Mapping[str, Any]], refused: Sequence[str]) -> dict[str, Any]:
    """Back-translation pass rate of generated and of original docstrings, and the share of copies."""
    counts = by_problem(rows)
    original = {task.partition("/")[2]: c for task, c in counts.items() if task.startswith("original/")}
    generated: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for task, count in [*counts.items(), *((task, (1, 0)) for task in refused)]:
        if task.startswith("generated/"):
            generated[task.partition("/")[2].rpartition("/")[0]].append(count)
    # every docstring weighs the same, whatever the number of functions written from it
    values = {name: sum(c / n for n, c in group) / len(group) for name, group in generated.items()}
    value, low, high = mean_over_problems(list(values.values()))
    mine = {
        "name": "generated docstrings", "metric": "back-translation pass@1", "value": value, "low": low, "high": high,
        "n": len(values),
    }  # fmt: skip
    return {
        "results": [mine, share("original docstrings", list(original.values()))],
        "differences": [difference("generated minus original", values, rates(original))],
        "num_docstrings": sum(map(len, generated.values())),
        "num_copies_or_empty": len(refused),
    }
