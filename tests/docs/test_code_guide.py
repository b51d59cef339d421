"""Protects the guide: its snippet prints what the page says, and the page names every study, option and stop string."""

from pathlib import Path

from tony.evals.code import STUDIES
from tony.evals.code.sampler import FUNCTION_STOPS

GUIDE = Path(__file__).parents[2] / "docs" / "code.md"


def test_the_snippet_prints_what_is_shown(run_guide):
    assert run_guide(GUIDE) == 1


def test_every_study_and_stop_string_is_named():
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in STUDIES)
    shown = (f"`{stop!r}`" if "`" not in stop else f"`` {stop!r} ``" for stop in FUNCTION_STOPS)
    assert all(stop.replace("'", "") in text for stop in shown)
