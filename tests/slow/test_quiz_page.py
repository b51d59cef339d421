"""The quiz in a real Chromium, at the width of a desk and of a phone: three texts are judged, and a reload goes on."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tony.evals.quiz import Answers, Item, Quiz
from tony.serve.quiz import create_quiz_app

ROOT = Path(__file__).parents[2]


def _load(name):
    path = ROOT / "tests" / "serve" / f"{name}.py"
    key = f"serve_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, path)
        sys.modules[key] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[key]


browser, _, serving = _load("browser"), _load("fakes"), _load("conftest")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.chromium() is None, reason="no Chromium here: install Debian's chromium package"
    ),
]

TEXT = (
    "The council met twice before the winter and could not agree on the bridge. Those who lived on the far bank "
    "wanted it rebuilt in stone, as it had been before the flood, and those on the near bank wanted the money spent "
    "on the school, whose roof had let in the rain for three years.\n\nIn the end a boatman settled the matter. "
    "He offered to carry the children across every morning for the price of a new boat, and was taken at his word."
)
ITEMS = [
    Item(f"{title}, and what the town made of it", TEXT, TEXT.replace("council", "committee"), "Flame " * 60)
    for title in ("A bridge in doubt", "The winter market", "No school on Monday")
]


def served(path):
    return serving.live_app(create_quiz_app(Quiz(ITEMS, Answers(path, "q"), seed=0)))


def shot(page, name):
    """TONY_QUIZ_SHOTS=FOLDER keeps pictures to look at."""
    assert page.overflow() == 0
    if folder := os.environ.get("TONY_QUIZ_SHOTS"):
        page.screenshot(Path(folder) / f"{name}.png")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_a_person_takes_the_quiz(tmp_path, width, dark):
    path = tmp_path / "quiz.sqlite"
    name = f"quiz-{width}{'-dark' if dark else ''}"
    with served(path) as url, browser.browse() as page:
        page.open(url, width, 844 if width < 600 else 900, dark)
        page.wait("!document.querySelector('#welcome').hidden")
        shot(page, f"{name}-welcome")
        page.click("#begin")
        page.wait("document.querySelector('#place').textContent === '1 of 3'")
        assert page.run("document.querySelector('#next').disabled")
        page.click(".choice:nth-child(4)")
        page.run("scrollTo(0, 0)")
        shot(page, f"{name}-question")
        page.click("#next")
        page.wait("document.querySelector('#place').textContent === '2 of 3'")
        assert page.run("scrollY") == 0 and page.run("document.querySelector(':checked') === null")
        text = page.run("document.querySelector('.passage').innerText")

        page.open(url, width, 844 if width < 600 else 900, dark)  # a reload shows the same question
        page.wait("document.querySelector('#place').textContent === '2 of 3'")
        assert page.run("document.querySelector('.passage').innerText") == text
        page.click(".choice:nth-child(3)")
        shot(page, f"{name}-choices")
        page.run("document.querySelector('#next').click(); document.querySelector('#next').click()")
        page.wait("document.querySelector('#place').textContent === '3 of 3'")
        page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: '1'}))")
        page.wait("document.querySelector('.choice:nth-child(1) :checked')")
        page.press("Enter")
        page.wait("!document.querySelector('#thanks').hidden")
        shot(page, f"{name}-thanks")
        page.click("#another")
        page.wait("!document.querySelector('#welcome').hidden")
        assert page.problems == []
    assert [a.rating for a in Answers(path, "q").by_participant()[1]] == [4, 3, 1]
