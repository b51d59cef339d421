"""Protects: the same voice and text give the same samples, whatever was spoken before, in any thread."""

import threading

import numpy as np
import pytest

from tony.data.speech import HELD_OUT_VARIANTS, LANGUAGES, RATE, VARIANTS, Voice, speak, voices
from tony.errors import TonyError

WORDS = {"en": "seven", "fr": "dix-sept", "de": "sieben", "es": "siete"}


def test_same_samples_whatever_was_spoken_before():
    picks = [
        Voice(language=lang, variant=v) for lang in LANGUAGES for v in ("m1", "f2", "Reed", "klatt4", "adam")
    ]
    first = {voice: speak(WORDS[voice.language], voice).samples for voice in picks}
    order = np.random.default_rng(0).permutation(len(picks))
    speak("something else entirely", Voice(variant="f4", pitch=80, rate=300))
    for i in order:
        again = speak(WORDS[picks[i].language], picks[i]).samples
        assert np.array_equal(again, first[picks[i]]), picks[i]


def test_threads_take_turns():
    expected = {v: speak("four", Voice(variant=v)).samples for v in ("m1", "f1", "m5")}
    failed = []

    def work(variant):
        for _ in range(5):
            if not np.array_equal(speak("four", Voice(variant=variant)).samples, expected[variant]):
                failed.append(variant)

    threads = [threading.Thread(target=work, args=(v,)) for v in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_sound_is_trimmed_and_normalised():
    for voice in voices("en", "heldout"):
        audio = speak("five", voice)
        assert audio.rate == RATE and 0.15 < audio.seconds < 1.5
        assert np.abs(audio.samples).max() <= 0.95 + 1e-6
        assert 0.02 < np.sqrt(np.mean(audio.samples**2)) <= 0.1 + 1e-4
        loud = np.flatnonzero(np.abs(audio.samples) > 0.01 * np.abs(audio.samples).max())
        assert loud[0] <= RATE // 100 and len(audio.samples) - loud[-1] <= RATE // 100 + 1


def test_pitch_rate_language_and_variant_are_heard():
    def pitch_hz(audio):
        x = audio.samples[len(audio.samples) // 4 : len(audio.samples) // 2]
        correlation = np.correlate(x, x, "full")[len(x) - 1 :]
        lags = slice(RATE // 400, RATE // 60)
        return RATE / (lags.start + np.argmax(correlation[lags]))

    low, high = (pitch_hz(speak("one", Voice(variant="m1", pitch=p))) for p in (20, 80))
    assert high > 1.3 * low
    slow, fast = (speak("seventeen", Voice(rate=r)).seconds for r in (110, 220))
    assert slow > 1.4 * fast
    assert not np.array_equal(speak("six", Voice(language="fr")).samples, speak("six", Voice()).samples)


@pytest.mark.parametrize("language", ["", "xx", "/etc", "..", "gmw/en", "*"])
def test_a_language_that_is_none_is_refused(language):
    with pytest.raises(TonyError, match="no voice for the language"):
        speak("one", Voice(language=language))


@pytest.mark.parametrize("language", ["fr", "de", "es"])
def test_a_word_of_another_language_is_spoken(language):
    """espeak-ng then reads the English dictionary too, and without it the process would die."""
    alone = speak("email", Voice(language=language)).seconds
    assert speak("le weekend, email, business, download", Voice(language=language)).seconds > 2 * alone > 0.4


def test_a_longer_tract_lowers_and_slows_the_whole_sound():
    """A slowed sound is the same sound read at another rate: its spectrum is squeezed by exactly that factor."""
    plain, long = (speak("one", Voice(tract=t)).samples for t in (1.0, 1.25))
    assert len(long) == pytest.approx(1.25 * len(plain), rel=0.02)
    n = 1 << 16
    one, other = (np.abs(np.fft.rfft(x, n)) for x in (plain, long))
    hertz = np.arange(n // 2 + 1) * RATE / n
    heard = hertz < 3000
    squeezed = np.interp(hertz[heard] * 1.25, hertz, one)
    correlations = [np.corrcoef(other[heard], x)[0, 1] for x in (squeezed, one[heard])]
    assert correlations[0] > 0.95 and correlations[1] < 0.7


def test_held_out_voices_are_whole_variants():
    assert set(HELD_OUT_VARIANTS) < set(VARIANTS) and len(set(VARIANTS)) == len(VARIANTS)
    for language in LANGUAGES:
        train, heldout = voices(language, per_variant=3), voices(language, "heldout", per_variant=3)
        assert not {v.variant for v in train} & {v.variant for v in heldout}
        assert {v.variant for v in heldout} == set(HELD_OUT_VARIANTS)
        assert len({v.name for v in train}) == len(train) == 3 * (len(VARIANTS) - len(HELD_OUT_VARIANTS))
        assert train[: len(train) // 3] == voices(language)
        assert all(v.tract == 1 for v in voices(language)) and len({v.tract for v in train}) > 20


@pytest.mark.parametrize(
    ("text", "voice", "said"),
    [
        ("  ", {}, "no text"),
        ("one", {"variant": "nobody"}, "variant"),
        ("one", {"language": "xx"}, "language"),
        ("one", {"pitch": 100}, "pitch"),
        ("one", {"rate": 10}, "rate"),
        ("one", {"tract": 0.1}, "tract"),
    ],
)
def test_bad_input_gets_one_line(text, voice, said):
    with pytest.raises(TonyError, match=said):
        speak(text, Voice(**voice))
