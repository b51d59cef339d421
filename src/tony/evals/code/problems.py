"""Programming problems of HumanEval's and APPS's form, read from JSONL, and the program that judges a completion.

HumanEval: task_id, prompt, entry_point, test (defines `check(candidate)`), canonical_solution if known.
APPS: task_id (or problem_id, id), input_output = {"inputs": [...], "outputs": [...]} and, where a function is called
instead of a script run, "fn_name" in it. Completions of APPS problems are whole programs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tony.data.code_filters import human_eval_file
from tony.errors import TonyError
from tony.evals.code.lines import read_lines, text_of
from tony.evals.code.sampler import FUNCTION_STOPS, SCRIPT_STOPS
from tony.sandbox import Case, FunctionProgram, Program, ScriptProgram

HUMAN_EVAL = "human-eval"
# APPS calls with each input as the arguments and also takes an answer that equals the first item of the output.
_APPS_CHECK = """\
def check(candidate):
    for arguments, expected in zip({inputs!r}, {outputs!r}):
        got = candidate(*arguments)
        got = list(got) if isinstance(got, tuple) else got
        assert got == expected or isinstance(expected, list) and expected and got == expected[0]
"""


@dataclass(frozen=True)
class Problem:
    """One problem: the prompt that a model completes, and tests or cases that judge the result.

    Attributes:
        task_id: its name.
        prompt: what a completion is appended to; for APPS the question as a comment.
        entry: the tested function; empty where cases judge a script.
        test: code that defines `check(candidate)`.
        cases: standard input and output, where a script is judged.
        solution: a right completion, where the file has one.
        stops: the strings that end a completion.
    """

    task_id: str
    prompt: str = ""
    entry: str = ""
    test: str = ""
    cases: tuple[Case, ...] = ()
    solution: str | None = None
    stops: tuple[str, ...] = FUNCTION_STOPS

    def program(self, completion: str, is_whole: bool = False) -> Program:
        """What the sandbox runs; `is_whole`: the text is a whole program, not what follows the prompt."""
        source = completion if is_whole else self.prompt + completion
        if self.cases:
            return ScriptProgram(source, self.cases)
        return FunctionProgram(source, self.entry, self.test, self.prompt)


def read_problems(path: Path | None = None) -> dict[str, Problem]:
    """The problems of a JSONL file by task id; without `path`, HumanEval from the package human-eval.

    Raises:
        TonyError: the package is not installed, or the file is damaged, empty or names a problem twice.
    """
    path = path or human_eval_file()
    problems: dict[str, Problem] = {}
    for number, row in read_lines(path):
        where = f"{path}, line {number}"
        problem = _apps(row, where) if "input_output" in row else _function(row, where)
        if problem.task_id in problems:
            raise TonyError(
                f"{where}: task {problem.task_id!r} is there twice. Give every problem its own id"
            )
        problems[problem.task_id] = problem
    if not problems:
        raise TonyError(f"{path}: holds no problem. Give a JSONL file of HumanEval's or APPS's form")
    return problems


def _function(row: dict[str, Any], where: str) -> Problem:
    task_id, prompt, entry, test = (
        text_of(row, n, where) for n in ("task_id", "prompt", "entry_point", "test")
    )
    solution = row.get("canonical_solution")
    return Problem(task_id, prompt, entry, test, solution=solution if isinstance(solution, str) else None)


def _apps(row: dict[str, Any], where: str) -> Problem:
    name = next((row[key] for key in ("task_id", "problem_id", "id") if key in row), None)
    if not isinstance(name, str | int):
        raise TonyError(f"{where}: a problem without a task_id. Give every problem its own id")
    try:
        tests = row["input_output"]
        tests = json.loads(tests) if isinstance(tests, str) else tests
        inputs, outputs = tests["inputs"], tests["outputs"]
        pairs = list(zip(inputs, outputs, strict=True))
    except (ValueError, TypeError, KeyError):
        raise TonyError(
            f"{where}: input_output needs two lists of the same length, inputs and outputs"
        ) from None
    if not pairs:
        raise TonyError(f"{where}: a problem without a test case judges nothing. Remove it or add a case")
    entry = str(tests.get("fn_name") or "")
    prompt = _apps_prompt(row, entry, pairs[0])
    if entry:
        test = _APPS_CHECK.format(inputs=inputs, outputs=outputs)
        return Problem(str(name), prompt, entry, test, stops=SCRIPT_STOPS)
    cases = tuple(Case(_joined(i), _joined(o)) for i, o in pairs)
    return Problem(str(name), prompt, cases=cases, stops=SCRIPT_STOPS)


def _apps_prompt(row: dict[str, Any], entry: str, example: tuple[object, object]) -> str:
    """The question as a comment, one example with it as a hint at the format (Chen et al. 2021, section 3.4: "1-shot").

    Empty where the file has no question. A comment, so that a completion is a whole program either way.
    """
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        return ""
    starter = row.get("starter_code")
    parts = [question.strip()]
    if entry:
        parts.append(f"Write the function {entry}. " + (starter if isinstance(starter, str) else ""))
        parts.append(f"Example arguments: {example[0]!r}\nExample result: {example[1]!r}")
    else:
        parts.append(f"Example input:\n{_joined(example[0])}\nExample output:\n{_joined(example[1])}")
    lines = "\n\n".join(["Problem", *parts, "Solution in Python"]).splitlines()
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _joined(text: object) -> str:
    """Some APPS problems give the lines of an input or output as a list."""
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)
