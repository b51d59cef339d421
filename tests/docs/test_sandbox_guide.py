"""Protects the guide: its snippet prints what the page says, and the page names every layer and ending."""

from pathlib import Path

from tony.sandbox import LAYERS, Ending

GUIDE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def test_the_snippet_prints_what_is_shown(run_guide):
    assert run_guide(GUIDE) == 1


def test_every_layer_and_ending_is_named():
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in [layer.name for layer in LAYERS] + list(Ending))
