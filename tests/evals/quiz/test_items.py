"""Protects: items follow from the seed, are closest in length to the real text, and a kill loses the one being made."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from tony.errors import TonyError
from tony.evals.quiz import Item, Passage, Settings, make_items, read_items
from tony.evals.quiz.items import FILE, digest

PASSAGES = [Passage(f"Title {i}", " ".join([f"real{i}"] * (20 + i)), f"Title {i}\n\n") for i in range(6)]
SETTINGS = Settings(words=30, seed=3)
SOURCES = {"model": "fake", "control": "bad"}


@dataclass
class FakeWriter:
    """Texts of random lengths; dies at the call with this number, as a killed process would."""

    word: str
    dies_at: int = -1
    calls: list[str] = field(default_factory=list)

    def write(self, passage, n, seed):
        if len(self.calls) == self.dies_at:
            raise KeyboardInterrupt
        self.calls.append(passage.opening)
        lengths = np.random.default_rng(seed).integers(1, 40, n)
        return [" ".join([f"{self.word}{k}"] * int(length)) for k, length in enumerate(lengths)]


def make(folder, model=None, control=None, settings=SETTINGS, **more):
    return make_items(
        PASSAGES, model or FakeWriter("m"), control or FakeWriter("c"), settings, SOURCES, folder, **more
    )


def test_items_hold_the_candidate_closest_in_length(tmp_path):
    items = make(tmp_path)
    assert [item.opening for item in items] == [p.opening for p in PASSAGES]
    writer = FakeWriter("m")
    for number, (item, passage) in enumerate(zip(items, PASSAGES, strict=True)):
        length = len(passage.text.split())
        lengths = [
            min(len(text.split()), int(1.25 * length))
            for text in writer.write(passage, SETTINGS.candidates, 2 * number + (SETTINGS.seed << 32))
        ]
        assert abs(len(item.model.split()) - length) == min(abs(n - length) for n in lengths)
        assert item.human == passage.text and item.control.startswith("c")
    assert make(tmp_path / "other", settings=Settings(words=30, seed=4)) != items


@pytest.mark.parametrize("dies_at", [0, 1, 4])
def test_a_killed_call_goes_on_to_the_same_bytes(tmp_path, dies_at):
    make(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "killed", model=FakeWriter("m", dies_at))
    with pytest.raises(TonyError, match=f"{6 - dies_at} of 6 items are missing"):
        read_items(tmp_path / "killed")
    with (tmp_path / "killed" / FILE).open("ab") as file:
        file.write(b'{"opening": "cut sh')  # the line being written when the power went
    again, seen = FakeWriter("m"), []
    make(tmp_path / "killed", model=again, progress=lambda done, total: seen.append((done, total)))
    assert again.calls == [p.opening for p in PASSAGES[dies_at:]]
    assert seen == [(done, 6) for done in range(dies_at, 7)]
    assert (tmp_path / "killed" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()


def test_items_are_read_again(tmp_path):
    items = make(tmp_path)
    head, found = read_items(tmp_path)
    assert found == items and head["items"] == 6 and head["model"] == "fake"
    assert digest(head) != digest(head | {"model": "other"})


def test_what_is_no_quiz_is_one_line(tmp_path):
    with pytest.raises(TonyError, match="no quiz yet"):
        read_items(tmp_path)
    for content in ("", "{}\n", '{"items": 1}\n{"opening": "x"}\n'):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(TonyError, match="not the items of a quiz"):
            read_items(tmp_path)


def test_a_writer_of_nothing_is_named(tmp_path):
    class Mute:
        def write(self, passage, n, seed):
            return [" \n"] * n

    with pytest.raises(TonyError, match="the control bad wrote nothing after 'Title 0'"):
        make(tmp_path, control=Mute())
    with pytest.raises(TonyError, match="words=3"):
        Settings(words=3)


def test_an_item_shows_the_text_of_an_arm():
    item = Item("o", "h", "m", "c")
    assert [item.text(arm, machine) for arm in ("model", "control") for machine in (True, False)] == list(
        "mhch"
    )
    assert json.loads(json.dumps(item.__dict__)) == {
        "opening": "o",
        "human": "h",
        "model": "m",
        "control": "c",
    }
