"""Every snippet of docs/mup.md runs, in order, as a reader would paste them."""

import re

import torch


def test_the_guides_snippets_run(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    guide = (repository / "docs" / "mup.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 6
    names = {"__name__": "guide"}
    torch.manual_seed(0)
    for snippet in snippets:
        exec(compile(snippet, "docs/mup.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "pass" in printed and "classes.weight" in printed
    assert (tmp_path / "coordinates.png").exists()
    to_passing = "\n".join(snippets[1:3]).splitlines()
    assert len([line for line in to_passing if line.strip()]) <= 20
