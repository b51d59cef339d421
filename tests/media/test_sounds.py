"""Sound comes in as mono floats on the right scale; WAV and FLAC give back every 16-bit sample."""

import io
import wave

import av
import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tony.errors import TonyError
from tony.media import Audio, decode, encode, read, write

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def snr_db(signal: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(np.mean(signal**2) / np.mean((signal - other) ** 2))


def in_container(samples: np.ndarray, rate: int, muxer: str, codec: str, layout: str = "mono") -> bytes:
    """`samples` (channels, n) as a browser or a telephone would send them."""
    data = io.BytesIO()
    with av.open(data, "w", format=muxer) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate = rate
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return data.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int16, st.integers(1, 200)),
    st.sampled_from(["wav", "flac"]),
    st.sampled_from([8000, 16000, 44100]),
)
def test_wav_and_flac_round_trips_are_exact(whole, kind, rate):
    audio = Audio(whole.astype(np.float32) / 32768, rate)
    assert decode(encode(audio, kind), kind) == audio


@settings(max_examples=20, deadline=None)
@given(arrays(np.int16, st.integers(1, 50)))
def test_pcm16_round_trip_is_exact_at_its_rate(whole):
    audio = Audio(whole.astype(np.float32) / 32768, 24_000)
    assert encode(audio, "pcm16") == whole.astype("<i2").tobytes()
    assert decode(encode(audio, "pcm16"), "pcm16") == audio
    assert decode(encode(audio, "pcm16"), "audio/pcm;rate=8000").rate == 8000


def test_wav_as_the_standard_library_sees_it():
    samples = np.array([0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0], np.float32)
    with wave.open(io.BytesIO(encode(Audio(samples, 22_050), "wav"))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22_050)
        whole = np.frombuffer(file.readframes(7), "<i2")
    assert whole.tolist() == [0, 16384, -16384, 32767, -32768, 32767, -32768]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 64, 128, 255], np.uint8), [-1, -0.5, 0, 127 / 128]),
        (np.array([-32768, 0, 16384], np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 2**30], np.int32), [-1, 0.5]),
        (np.array([0.25, -1.5], np.float32), [0.25, -1.5]),
        (np.array([[0.5, 0.25], [1.0, -1.0]], np.float32), [0.375, 0]),
    ],
)
def test_scipys_wav_in_every_number_format(tmp_path, values, expected):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, values)
    assert read(tmp_path / "a.wav").samples.tolist() == expected


def test_24_bit_flac_and_six_channels(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(), RATE, subtype="PCM_24")
    assert np.abs(read(tmp_path / "a.flac").samples - tone()).max() < 2**-22
    channels = np.random.default_rng(0).uniform(-1, 1, (100_000, 6)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    assert np.allclose(read(tmp_path / "a.wav").samples, channels.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("kind", "least_db"), [("ogg", 12), ("opus", 8), ("mp3", 12)])
def test_lossy_formats_sound_alike(tmp_path, kind, least_db):
    write(Audio(tone(), RATE), tmp_path / f"a.{kind}")
    back = read(tmp_path / f"a.{kind}")
    assert back.rate in (RATE, 48_000) and abs(back.seconds - 1) < 0.1
    spectrum = np.abs(np.fft.rfft(back.samples))
    assert abs(spectrum.argmax() / back.seconds - 440) < 2
    if len(back.samples) == RATE:
        assert snr_db(tone(), back.samples) > least_db


@pytest.mark.parametrize(
    ("muxer", "codec", "name"),
    [
        ("webm", "libopus", "audio/webm;codecs=opus"),  # Chromium's recorder
        ("ogg", "libopus", "audio/ogg; codecs=opus"),  # Firefox's
        ("ipod", "aac", "a.m4a"),  # telephones and Safari
        ("mp4", "aac", "audio/mp4"),
        ("adts", "aac", "audio/aac"),
        ("mp3", "libmp3lame", "audio/mpeg"),
    ],
)
def test_what_browsers_and_telephones_record(muxer, codec, name, capfd):
    rate = 48_000
    stereo = np.stack([tone(rate=rate) * 0.5, tone(rate=rate) * 1.5])  # mean: the tone itself
    back = decode(in_container(stereo, rate, muxer, codec, "stereo"), name)
    assert back.rate == rate and abs(back.seconds - 1) < 0.1
    middle = back.samples[rate // 4 : 3 * rate // 4]
    assert abs(np.sqrt(np.mean(middle**2)) - 0.5 / np.sqrt(2)) < 0.02
    assert abs(np.abs(np.fft.rfft(middle)).argmax() * 2 - 440) <= 2
    assert capfd.readouterr().err == ""


def test_long_vorbis_is_written_in_pieces():
    audio = Audio(np.zeros(2_000_000, np.float32), 48_000)
    assert len(decode(encode(audio, "ogg"), "ogg").samples) == 2_000_000


def test_a_rate_that_a_format_does_not_have():
    with pytest.raises(TonyError, match=r"mp3 cannot hold sound at 16001 Hz: use to_rate"):
        encode(Audio(tone(), 16_001), "mp3")
