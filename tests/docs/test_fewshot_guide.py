"""Protects the guide: its snippets print what the page says, and it names every group, task and probe."""

from pathlib import Path

import torch

from tony.evals.bias import PROBES
from tony.evals.bias.occupations import OCCUPATIONS
from tony.evals.fewshot.tasks import GROUPS

GUIDE = Path(__file__).parents[2] / "docs" / "fewshot.md"


def test_the_snippets_print_what_is_shown(run_guide):
    torch.manual_seed(0)
    assert run_guide(GUIDE) >= 4


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
