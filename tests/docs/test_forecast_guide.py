"""Protects the guide: its snippet prints what the page says, and it names every form, study and key of a ladder."""

from pathlib import Path

from tony.forecast.ladder import LadderRecipe
from tony.forecast.studies import STUDIES

GUIDE = Path(__file__).parents[2] / "docs" / "forecast.md"


def test_the_snippet_prints_what_is_shown(run_guide):
    assert run_guide(GUIDE) == 1


def test_every_study_and_key_is_named():
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in STUDIES)
    assert all(f"`{name}`" in text for name in LadderRecipe.model_fields)
