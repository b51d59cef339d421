"""Protects the guide: its snippet prints what the page says, and the page names every study, option and stop string."""

import contextlib
import io
import re
from pathlib import Path

from tony.evals.code import STUDIES
from tony.evals.code.sampler import FUNCTION_STOPS

GUIDE = Path(__file__).parents[2] / "docs" / "code.md"
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_snippet_prints_what_is_shown():
    ((code, shown),) = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(GUIDE), "exec"), {})
    assert printed.getvalue() == shown


def test_every_study_and_stop_string_is_named():
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in STUDIES)
    assert all(f"`{stop!r}`".replace("'", "") in text for stop in FUNCTION_STOPS)
