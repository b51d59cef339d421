"""Every Python snippet of docs/tune.md runs, in order; every option and name that it writes exists."""

import inspect
import re

import tony.cli.tune
from tony.tune.proxy import KEYS
from tony.tune.space import read_space


def test_the_guide_is_true(repository, capsys):
    guide = (repository / "docs" / "tune.md").read_text(encoding="utf-8")
    names = {}
    for snippet in re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL):
        exec(compile(snippet, "docs/tune.md", "exec"), names)
    assert "drift 2^0." in capsys.readouterr().out
    known = set(inspect.signature(tony.cli.tune.tune).parameters)
    options = {
        option.replace("-", "_").removeprefix("no_") for option in re.findall(r"--([a-z][a-z-]+)", guide)
    }
    assert options <= known, options - known
    for item in re.findall(r"--space ([^\s`]+)", guide):
        assert read_space([item])
    table = re.findall(r"^\| (`.*?) \|", guide, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(table))) == set(KEYS)
