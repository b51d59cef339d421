"""Protects the guide: its snippet prints what the page says, and the page names every layer and ending."""

import contextlib
import io
import re
from pathlib import Path

from tony.sandbox import LAYERS, Ending

GUIDE = Path(__file__).parents[2] / "docs" / "sandbox.md"
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_snippet_prints_what_is_shown():
    ((code, shown),) = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(GUIDE), "exec"), {})
    assert printed.getvalue() == shown


def test_every_layer_and_ending_is_named():
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in [layer.name for layer in LAYERS] + list(Ending))
