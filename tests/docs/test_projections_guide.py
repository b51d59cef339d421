"""Protects the guide: its snippets run one after another, and each prints what the page says it prints."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "projections.md"


def test_every_snippet_prints_what_is_shown(run_guide):
    assert run_guide(GUIDE) >= 6


def test_pictures_and_names_are_there():
    text = GUIDE.read_text(encoding="utf-8")
    for picture in re.findall(r"\]\(([\w-]+\.png)\)", text):
        assert (GUIDE.parent / picture).exists(), picture
    from tony.projections.selection import METHODS
    from tony.projections.variance import PROJECTIONS

    assert all(f"`{name}`" in text for name in (*METHODS, *PROJECTIONS))
