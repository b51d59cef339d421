"""Protects the guide: its snippets print what the page says, and it names every group, task and probe."""

import contextlib
import io
import re
from pathlib import Path

import torch

from tony.evals.bias import PROBES
from tony.evals.bias.occupations import OCCUPATIONS
from tony.evals.fewshot.tasks import GROUPS

GUIDE = Path(__file__).parents[2] / "docs" / "fewshot.md"
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_snippets_print_what_is_shown():
    torch.manual_seed(0)
    names = {}
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(blocks) == 4
    for code, shown in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, str(GUIDE), "exec"), names)
        assert printed.getvalue() == shown


def test_every_group_and_task_is_named():
    text = GUIDE.read_text(encoding="utf-8")
    for name, group in GROUPS.items():
        assert f"| `{name}` |" in text
        if name != "numbers":
            assert all(f"`{task.name}`" in text for task in group())


def test_every_probe_is_named():
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in PROBES)
    assert f"over {len(OCCUPATIONS)} occupations" in text
