"""Protects the guide: its snippet prints what the page says, and the numbers it names are those of the code."""

from pathlib import Path

from tony.evals.quiz import Settings
from tony.evals.quiz.answers import FILE as ANSWERS
from tony.evals.quiz.items import FILE as ITEMS

GUIDE = Path(__file__).parents[2] / "docs" / "quiz.md"


def test_the_snippet_prints_what_is_shown(run_guide):
    assert run_guide(GUIDE) == 1


def test_settings_and_files_are_those_of_the_code():
    text, settings = GUIDE.read_text(encoding="utf-8"), Settings()
    assert f"at most ({settings.words})" in text and f"temperature {settings.control_temperature}" in text
    assert settings.candidates == 5 and "of five texts" in text
    assert f"`{ITEMS}`" in text and f"`{ANSWERS}`" in text
