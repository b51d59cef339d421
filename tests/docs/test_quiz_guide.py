"""Protects the guide: its snippet prints what the page says, and the numbers it names are those of the code."""

import contextlib
import io
import re
from pathlib import Path

from tony.evals.quiz import Settings
from tony.evals.quiz.answers import FILE as ANSWERS
from tony.evals.quiz.items import FILE as ITEMS

GUIDE = Path(__file__).parents[2] / "docs" / "quiz.md"
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_snippet_prints_what_is_shown():
    ((code, shown),) = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(GUIDE), "exec"), {})
    assert printed.getvalue() == shown


def test_settings_and_files_are_those_of_the_code():
    text, settings = GUIDE.read_text(encoding="utf-8"), Settings()
    assert f"at most ({settings.words})" in text and f"temperature {settings.control_temperature}" in text
    assert settings.candidates == 5 and "of five texts" in text
    assert f"`{ITEMS}`" in text and f"`{ANSWERS}`" in text
