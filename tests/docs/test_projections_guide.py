"""Protects the guide: its snippets run one after another, and each prints what the page says it prints."""

import contextlib
import io
import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "projections.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def test_every_snippet_prints_what_is_shown():
    text = GUIDE.read_text(encoding="utf-8")
    blocks, names = BLOCK.findall(text), {}
    assert len(blocks) == text.count("```python") >= 6
    for code, shown in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, str(GUIDE), "exec"), names)
        assert printed.getvalue() == shown, code


def test_pictures_and_names_are_there():
    text = GUIDE.read_text(encoding="utf-8")
    for picture in re.findall(r"\]\(([\w-]+\.png)\)", text):
        assert (GUIDE.parent / picture).exists(), picture
    from tony.projections.selection import METHODS
    from tony.projections.variance import PROJECTIONS

    assert all(f"`{name}`" in text for name in (*METHODS, *PROJECTIONS))
