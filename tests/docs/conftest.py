import contextlib
import io
import re
from pathlib import Path

import pytest

BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


@pytest.fixture
def run_guide():
    """(guide) -> how many snippets it has: they run one after another, and each prints what stands below it, or nothing."""

    def run(guide: Path) -> int:
        text, names = guide.read_text(encoding="utf-8"), {}
        blocks = BLOCK.findall(text)
        assert len(blocks) == text.count("```python")
        for code, shown in blocks:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(code, str(guide), "exec"), names)
            assert printed.getvalue() == shown, code
        return len(blocks)

    return run
