"""Protects: what is held out is never trained on, and every example says what it claims to say."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tony.data import digits
from tony.data.digits import DIRECTIONS, PRESET, WORDS, DigitWorld, Example
from tony.data.speech import HELD_OUT_VARIANTS, VARIANTS, speak, voices
from tony.errors import TonyError
from tony.media import Audio, Image, Text, Video
from tony.runs.data_recipes import DigitsData

NUMBER_OF = {(language, word): n for language, words in WORDS.items() for n, word in enumerate(words)}


def content(image_or_array):
    return np.asarray(getattr(image_or_array, "pixels", image_or_array)).tobytes()


def test_held_out_pictures_are_never_trained_on(world):
    """By content, the varied copies of training pictures and the frames of clips included."""
    train, _ = world.pictures("train")
    heldout, labels = world.pictures("heldout")
    assert len(train) + len(heldout) == 1797 and abs(len(heldout) - 1797 / 5) < 2
    assert set(labels) == set(range(10))
    shown = {content(i) for bank in world._shown["train"].values() for i in bank}
    shown |= {content(i) for i in world.images()} | {content(p) for p in train}
    assert len(shown) > 10_000, "training pictures are varied"
    assert not shown & {content(p) for p in heldout}


def test_held_out_voices_are_never_trained_on(world):
    for language in world.recipe.languages:
        train = {v.variant for v in voices(language, "train", seed=world.seed)}
        heldout = {v.variant for v in voices(language, "heldout", seed=world.seed)}
        assert heldout <= set(HELD_OUT_VARIANTS) and train <= set(VARIANTS) - set(HELD_OUT_VARIANTS)
    heard = {u.audio.samples.tobytes() for u in world.utterances("heldout")}
    trained = {u.audio.samples.tobytes() for u in world.utterances("train")}
    trained |= {u.audio.samples.tobytes() for u in world.preset_utterances()}
    assert len(heard) == len(world.utterances("heldout")) and not heard & trained
    assert not {v.variant for v in PRESET.values()} & set(HELD_OUT_VARIANTS)


def test_a_third_of_what_the_codec_hears_are_preset_words(world):
    """Each as often as the others: with fewer of them the small codec ran two words together."""
    preset = [u.audio.samples.tobytes() for u in world.preset_utterances()]
    heard = Counter(a.samples.tobytes() for a in world.sounds())
    times = {heard[each] for each in preset}
    assert len(times) == 1 and times != {0}
    assert 1 / 3 <= sum(heard[each] for each in preset) / heard.total() < 0.45
    heldout = {u.audio.samples.tobytes() for u in world.utterances("heldout")}
    assert not heldout & set(heard)


def test_utterances_say_what_they_claim(world):
    for split in ("train", "heldout"):
        found = {(u.language, u.number) for u in world.utterances(split)}
        assert found == {(language, n) for language in ("en", "fr") for n in range(19)}
    assert all(u.audio.rate == 16_000 and 0.1 < u.audio.seconds < 2.5 for u in world.utterances("heldout"))
    preset = next(u for u in world.preset_utterances() if (u.language, u.number) == ("fr", 7))
    assert preset.audio == speak("sept", PRESET["fr"])


def test_words_are_as_people_write_them():
    assert all(len(set(words)) == 19 for words in WORDS.values())
    for n, expected in {
        7: "seven sept sieben siete",
        12: "twelve douze zw\u00f6lf doce",
        16: "sixteen seize sechzehn diecis\u00e9is",
    }.items():
        assert [WORDS[language][n] for language in ("en", "fr", "de", "es")] == expected.split()


def test_pixels_keep_the_seventeen_levels(world):
    from sklearn.datasets import load_digits

    from tony.tokens.pixels import PixelCodec

    codec, values = PixelCodec.grey(8, 17), {im.astype(np.int64).tobytes() for im in load_digits().images}
    pixels, _ = world.pictures("heldout")
    assert all(codec.encode(Image(p)).tobytes() in values for p in pixels)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_clips_move_as_named(world, direction):
    """Each frame is the one before moved by one pixel: right is towards larger columns, down towards larger rows."""
    clip = world.clip(7, direction, "heldout", np.random.default_rng(0))
    assert clip.frames.shape == (4, 8, 8, 1)
    frames = clip.frames[..., 0]
    for before, after in itertools.pairwise(frames):
        match direction:
            case "left":
                moved, edge = (after[:, :-1], before[:, 1:]), after[:, -1]
            case "right":
                moved, edge = (after[:, 1:], before[:, :-1]), after[:, 0]
            case "up":
                moved, edge = (after[:-1], before[1:]), after[-1]
            case "down":
                moved, edge = (after[1:], before[:-1]), after[0]
        assert (moved[0] == moved[1]).all() and (edge == 0).all()
    assert content(frames[0]) in {content(p) for p in world.pictures("heldout")[0]}


class Reader:
    """Reads a number back from the parts of a world: what a perfect listener would say."""

    def __init__(self, world, split):
        self.images = {content(i): d for d, bank in world._shown[split].items() for i in bank}
        self.images |= {content(i): d for d, bank in world._drawn.items() for i in bank}
        sounds = [*world.utterances(split), *world.preset_utterances()]
        self.sounds = {u.audio.samples.tobytes(): u.number for u in sounds}
        if "_sums" in vars(world):
            self.sounds |= {u.audio.samples.tobytes(): u.number for u in world._sums[split]["en"]}

    def numbers(self, parts):
        """The numbers that parts name, pictures in a row read as one number of two digits."""
        found, drawn = [], ""
        for part in [*parts, None]:
            if isinstance(part, Image):
                drawn += str(self.images[content(part)])
                continue
            if drawn:
                found, drawn = [*found, int(drawn)], ""
            match part:
                case Text():
                    if not part.text.endswith(":") and part.text != "+":
                        found += [
                            n
                            for word in part.text.split(" + ")
                            for (_, w), n in NUMBER_OF.items()
                            if w == word
                        ][:2]
                case Audio():
                    found.append(self.sounds[part.samples.tobytes()])
                case Video():
                    found.append(self.images[content(part.frames[0])])
        return found


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("source", ["text", "image", "audio", "video"])
@pytest.mark.parametrize("want", [["text"], ["image"], ["audio"], ["text", "image", "audio"]])
def test_show_gives_back_the_number_that_went_in(world, split, source, want):
    reader, rng = Reader(world, split), np.random.default_rng(0)
    for _ in range(10):
        example = world.show(source, want, "fr", "en", split, rng)
        assert reader.numbers(example.prompt)[0] == example.number
        assert set(reader.numbers(example.reply)) == {example.number}
        assert [p.modality for p in example.reply] == list(example.want)
        for part in example.reply:
            if isinstance(part, Text):
                assert part.text == WORDS["en"][example.number]


@pytest.mark.parametrize(
    "sources", [("text", "text"), ("text", "audio"), ("image", "image"), ("audio", "video")]
)
def test_sums_are_right(world, sources):
    reader, rng = Reader(world, "heldout"), np.random.default_rng(1)
    for _ in range(20):
        example = world.add(sources, ["text"], "en", "fr", "heldout", rng)
        if sources == ("text", "text"):
            words, ask = (part.text for part in example.prompt)
            a, b = (NUMBER_OF["en", word] for word in words.split(" + "))
        else:
            plus = next(i for i, p in enumerate(example.prompt) if p == Text("+"))
            ((a,), (b,)) = (
                reader.numbers(example.prompt.parts[:plus]),
                reader.numbers(example.prompt.parts[plus + 1 : -1]),
            )
            ask = example.prompt.parts[-1].text
        assert (a + b, ask) == (example.number, "fr:")
        assert example.reply.parts[0].text == WORDS["fr"][a + b]


def test_a_language_is_asked_for_only_where_it_matters(world):
    rng = np.random.default_rng(2)
    asks = {
        ("en", "text"): False, ("fr", "text"): True, ("fr", "audio"): True, ("fr", "image"): False
    }  # fmt: skip
    for (asked, want), expected in asks.items():
        example = world.show("image", [want], "en", asked, "train", rng)
        assert (Text("fr:") in example.prompt.parts) == expected


def test_where_asks_for_the_direction(world):
    example = world.where("heldout", np.random.default_rng(3))
    assert example.prompt.parts[1] == Text("where:") and example.reply.parts == (Text(example.direction),)


def test_spoken_sums_say_both_digits(monkeypatch):
    """Every pair of digits is spoken with its own word for plus, in voices of the split."""
    said = []

    def listen(jobs):
        said.extend(jobs)
        return [Audio(np.full(10, i, np.float32), 16_000) for i, _ in enumerate(jobs)]

    monkeypatch.setattr(digits, "_speak_all", listen)
    world = DigitWorld(DigitsData(voices=1, languages=("en", "es")))
    example = world.spoken_sum(["text"], "es", "es", "heldout", np.random.default_rng(0))
    sums = {text: voice for text, voice in said if " " in text}
    assert {f"{a} m\u00e1s {b}" for a in WORDS["es"][:10] for b in WORDS["es"][:10]} <= set(sums)
    heldout = world._sums["heldout"]["es"]
    assert all(u.number == sum(u.addends) for u in heldout) and len(heldout) == 300
    assert example.number in range(19)
    spoken = [(text, voice) for text, voice in said[-200:] if " " in text]
    assert all(voice.variant in HELD_OUT_VARIANTS for _, voice in spoken)


def test_documents_are_the_same_for_one_seed_and_differ_for_two(monkeypatch):
    def fake(jobs):
        """Sounds that are a function of what is said by whom, without speaking."""
        seeds = [sum(map(ord, text + voice.name)) for text, voice in jobs]
        return [Audio(np.random.default_rng(s).standard_normal(20).astype(np.float32), 16_000) for s in seeds]

    monkeypatch.setattr(digits, "_speak_all", fake)

    def documents(seed, split="train"):
        return list(DigitWorld(DigitsData(examples=60, voices=2), seed).documents(split))[:60]

    first = documents(0)
    assert len(first) == 60 and first == documents(0)
    assert first != documents(1) and first != documents(0, "heldout")
    for document in first:
        assert {(p.role, p.counted) for p in document} == {("user", False), ("assistant", True)}


def test_the_mixture_is_the_recipes(world):
    rng = np.random.default_rng(0)

    def only(kind):
        mixture = dict.fromkeys(digits.MIXTURE, 0.0) | {kind: 1.0}
        return DigitWorld(world.recipe.model_copy(update={"mixture": mixture}))

    wheres = only("video->direction")
    assert all(wheres.draw("train", rng).direction for _ in range(20))
    words = only("text->text")
    assert all(
        e.want == ("text",) and isinstance(e.prompt.parts[0], Text) for e in (words.draw("train", rng),)
    )
    with pytest.raises(TonyError, match=r"data\.mixture.*'text->smell'"):
        DigitWorld(DigitsData(mixture={"text->smell": 1.0}))
    with pytest.raises(TonyError, match=r"data\.mixture"):
        DigitWorld(DigitsData(mixture=dict.fromkeys(digits.MIXTURE, 0.0)))


def test_lessons_come_first_and_name_single_parts(monkeypatch):
    monkeypatch.setattr(
        digits, "_speak_all", lambda jobs: [Audio(np.ones(20, np.float32), 16_000)] * len(jobs)
    )
    world = DigitWorld(DigitsData(examples=200, voices=2, lessons=0.5))
    documents = list(world.documents("train"))
    lessons = [
        sum(p.counted for p in d) == 1 and sum(not isinstance(p, Text) for p in d) <= 1 for d in documents
    ]
    assert len(documents) == 200 and all(lessons[:100]) and not all(lessons[100:])


def test_text_for_the_vocabulary_covers_every_answer(world):
    texts = set(world.texts())
    for language in world.recipe.languages:
        assert {*WORDS[language], f"{language}:"} <= texts
    assert {"where:", "+", *DIRECTIONS} <= texts


def test_an_example_is_a_conversation():
    example = Example(
        prompt=digits.Document([Text("seven")]),
        reply=digits.Document([Text("sept")]),
        want=("text",),
        number=7,
        language="fr",
    )
    user, assistant = example.document
    assert user == Text("seven", role="user", counted=False) and assistant == replace(
        Text("sept"), role="assistant"
    )
