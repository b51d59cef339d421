"""Protects: right replies are judged right and wrong ones wrong, by judges that know held-out real examples."""

import json

import numpy as np
import pytest

from tony.data.digits import DIRECTIONS, WORDS, DigitWorld
from tony.errors import TonyError
from tony.evals import omni as suite
from tony.evals.judges import Heard, ImageJudge, SoundJudge, features
from tony.evals.omni import Cell, cells_of, evaluate_omni, judge
from tony.media import Audio, Document, Image, Text
from tony.runs import Run, load_recipe
from tony.runs.data_recipes import DigitsData


@pytest.fixture(scope="module")
def world():
    """English and French, twelve voices each: enough to train a judge of sounds."""
    return DigitWorld(DigitsData(voices=12, languages=("en", "fr")))


@pytest.fixture(scope="module")
def judges(world):
    return ImageJudge(world), SoundJudge(world)


def test_judges_know_held_out_real_examples(judges):
    images, sounds = judges
    right, n = images.accuracy
    assert n == 360 and right / n > 0.95
    right, n = sounds.accuracy
    assert n > 400 and right / n > 0.9


def test_judges_know_the_voices_that_answer(world, judges):
    asked = world.preset_utterances()
    heard = judges[1].hear([u.audio for u in asked])
    assert heard == [Heard(u.language, u.number) for u in asked]


def test_judges_take_other_sizes_and_rates(world, judges):
    pixels, digits = world.pictures("heldout")
    large = [Image(np.kron(p, np.ones((4, 4), np.uint8))[..., None].repeat(3, 2)) for p in pixels[:60]]
    assert (judges[0].digits(large) == digits[:60]).mean() > 0.95
    sound = next(u for u in world.preset_utterances() if u.number == 7)
    from tony.media import to_rate

    assert judges[1].hear([to_rate(sound.audio, 24_000)]) == [Heard(sound.language, 7)]
    assert judges[1].hear([]) == [] and len(judges[0].digits([])) == 0


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1), np.zeros(320), np.ones(50_000)], ids=len)
def test_any_sound_has_features(samples):
    assert np.isfinite(features(samples.astype(np.float32))).all()


def perfect(example):
    return example.reply


def wrong_digit(world):
    """A reply to another number in the same form."""

    def make(example):
        rng = np.random.default_rng(example.number)
        other = 3 if example.number != 3 else 4
        if example.direction:
            return Document([Text("up" if example.direction != "up" else "down")])
        kinds = [
            k
            for k, last in zip(example.want, (None, *example.want), strict=False)
            if k != "image" or last != "image"
        ]
        return Document(p for kind in kinds for p in world.answer(kind, other, example.language, rng))

    return make


def made(world, cell, n=25, seed=0):
    rng = np.random.default_rng(seed)
    return [cell.make(world, rng) for _ in range(n)]


def all_cells():
    return [*cells_of("en"), *cells_of("fr")]


@pytest.mark.parametrize("cell", all_cells(), ids=lambda c: f"{c.language} {c.name}")
def test_replies_are_judged(world, judges, cell, monkeypatch):
    """Perfect replies are right up to the judges' own mistakes; replies to another number are wrong."""
    if (
        cell.name == "audio+audio->audio"
    ):  # sums are slow to speak, and what is asked does not reach the judges
        said = world.utterances("heldout")[0].audio
        sums = [type("Said", (), {"audio": said, "number": n})() for n in range(19)]
        monkeypatch.setitem(vars(world), "_sums", {"heldout": {"en": sums}})
    asked = made(world, cell)
    right = judge(cell, asked, [perfect(e) for e in asked], *judges)
    assert sum(v.right for v in right) >= 24
    assert all(v.to_dict()["expected"] == v.answer for v in right if v.right)
    wrong = judge(cell, asked, [wrong_digit(world)(e) for e in asked], *judges)
    assert sum(v.right for v in wrong) <= 1
    json.dumps([v.to_dict() for v in right + wrong])


def test_part_of_a_reply_is_not_enough(world, judges):
    cell = next(c for c in cells_of("en") if c.name == "image->text+image+audio")
    asked = made(world, cell, 5)
    for cut in (slice(0, 2), slice(1, 3), slice(0, 0)):
        verdicts = judge(cell, asked, [Document(e.reply.parts[cut]) for e in asked], *judges)
        assert not any(v.right for v in verdicts)
    swapped = judge(cell, asked, [Document(e.reply.parts[::-1]) for e in asked], *judges)
    assert not any(v.right for v in swapped), "the asked order counts"


def test_a_number_of_two_digits_needs_both_pictures(world, judges):
    rng = np.random.default_rng(0)
    example = world._example([Text("twelve")], ["image"], 12, "en", rng)
    one, two = (next(iter(world.answer("image", d, "en", rng))) for d in (1, 2))
    cell = Cell("text->image", "en", None)
    for parts, expected in (
        ([one, two], True),
        ([two, one], False),
        ([one], False),
        ([one, two, two], False),
    ):
        (verdict,) = judge(cell, [example], [Document(parts)], *judges)
        assert verdict.right == expected, verdict.answer


def test_the_right_word_in_another_language_is_wrong(world, judges):
    example = world._example([Text("seven")], ["audio"], 7, "fr", np.random.default_rng(0))
    for language, expected in (("fr", True), ("en", False)):
        reply = Document(world.answer("audio", 7, language, np.random.default_rng(0)))
        assert judge(Cell("text->audio", "fr", None), [example], [reply], *judges)[0].right == expected


def test_cells_are_the_table_of_the_issue():
    english = {c.name for c in cells_of("en")}
    assert {
        f"{a}->{b}" for a in ("text", "image", "audio", "video") for b in ("text", "image", "audio")
    } <= english
    assert english >= {"text+text->text", "audio+audio->audio", "video->direction", "image+audio->text"}
    assert "image->text+image+audio" in english
    assert {"text->text", "image->text", "text->audio", "audio->audio"} <= {c.name for c in cells_of("fr")}


def test_every_question_is_held_out(world):
    trained = {p.tobytes() for p in world.pictures("train")[0]}
    heard = {u.audio.samples.tobytes() for u in world.utterances("train")}
    for cell in all_cells():
        if cell.name == "audio+audio->audio":
            continue
        for example in made(world, cell, 10):
            for part in example.prompt:
                if isinstance(part, Image):
                    assert part.pixels[..., 0].tobytes() not in trained
                if isinstance(part, Audio):
                    assert part.samples.tobytes() not in heard


class Mute:
    """A stand-in for a model: every answer is a question mark."""

    def __init__(self, run):
        self.run, self.recipe, self.name = run, run.recipe, run.name

    def replies(self, documents, wants, *, seed=0, sampling=None):
        return [Document([Text("?")]) for _ in documents]


@pytest.mark.parametrize("languages", [["en"], ["fr", "en"]])
def test_the_whole_suite_writes_its_files(tmp_path, languages, monkeypatch):
    recipe = load_recipe({"name": "mute", "data": {"kind": "digits", "voices": 2, "languages": languages}})
    run = Run.create(recipe, tmp_path)
    monkeypatch.setattr(DigitWorld, "_speak_sums", lambda self, split: {
        "en": [u for u in self.utterances(split) if u.language == "en"]
    })  # fmt: skip
    told = []
    result = evaluate_omni(
        Mute(run), examples=2, processes=1, progress=lambda done, total: told.append((done, total))
    )
    stored = run.evaluation("omni")
    assert stored["cells"] == result["cells"] and stored["suite"] == "omni"
    assert set(stored["languages"]) == set(languages) - {"en"}
    assert all(cell["n"] == 2 and cell["accuracy"] == 0 for cell in stored["cells"].values())
    assert set(stored["judges"]) == {"image", "audio"} and stored["settings"]["examples"] == 2
    samples = [json.loads(line) for line in (run.path / "evals" / "omni.jsonl").read_text().splitlines()]
    assert len(samples) == 2 * told[-1][1] == 2 * len(stored["results"])
    assert {"judges", "answers"} == set(json.loads((run.path / "evals" / "omni.timings.json").read_text()))


def test_a_model_of_other_data_is_refused(tmp_path):
    run = Run.create(load_recipe({"name": "mine", "data": {"kind": "folder", "path": "x"}}), tmp_path)
    with pytest.raises(TonyError, match="not trained on the digit world"):
        evaluate_omni(Mute(run))


def test_words_and_directions_are_what_is_expected(world):
    example = world.where("heldout", np.random.default_rng(0))
    assert suite._expected(example) == [example.direction] and example.direction in DIRECTIONS
    assert WORDS["fr"][16] == "seize"
