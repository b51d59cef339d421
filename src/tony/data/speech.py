"""Speech of espeak-ng as `Audio`: the same voice and text give the same samples, whatever was spoken before.

espeak-ng (1.52, from the espeakng-loader package) runs inside this process through ctypes, in its synchronous
mode: a callback receives int16 samples at 22,050 Hz while `espeak_Synth` runs.

Why the library is loaded anew for each utterance: the synthesizer keeps oscillator phases, flutter position, filter
memory and two random generators between utterances, and no call of its API clears them (espeak_Cancel,
espeak_Initialize, espeak_Terminate and espeak_ng_SetRandSeed were tried, alone and together: 352 of 352
voice-and-word pairs changed with the order of speaking). Unloading clears all of it. What costs time then is that
espeak-ng opens every file of its data folder to find a voice, so it is given a folder that holds one voice only. The
one lock below makes threads take turns, as espeak-ng is not re-entrant; separate processes are independent. The C
library's `rand`, which breathy voices draw from, is seeded at each utterance too.
"""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from tony.errors import TonyError
from tony.media import Audio

RATE = 16_000  # Hz, what `speak` returns
ESPEAK_RATE = 22_050  # Hz, fixed in espeak-ng

LANGUAGES = ("en", "fr", "de", "es")

# Variants of the package's voices/!v folder whose words can be told apart. Left out: whispers, creaks, effects with
# echo, and robots (whisper, whisperf, croak, Demonic, Storm, Tweaky, fast, kaukovalta, UniRobot, anikaRobot,
# robosoft*, AnxiousAndy, Jacky, "Mr serious"), klatt to klatt3, which hum, and Alicia. Measured: with a nearest-neighbour
# classifier over the other variants, 12 English number words are told apart in every variant listed; in the breathy
# Alicia, whisper and whisperf 85% are, in klatt and klatt2 92%.
VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5"),
    *("Alex", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Lee"),
    *("Marco", "Mario", "Michael", "Mike", "Nguyen", "Reed", "RicishayMax", "RicishayMax2", "RicishayMax3"),
    *(
        "adam",
        "anika",
        "announcer",
        "antonio",
        "aunty",
        "belinda",
        "benjamin",
        "boris",
        "caleb",
        "david",
        "ed",
    ),
    *("edward", "edward2", "grandma", "grandpa", "gustave", "ian", "iven", "iven2", "iven3", "iven4", "john"),
    *(
        "klatt4",
        "klatt5",
        "klatt6",
        "linda",
        "marcelo",
        "max",
        "michel",
        "miguel",
        "mike2",
        "norbert",
        "pablo",
    ),
    *("paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "steph2", "steph3", "travis"),
    *("victor", "zac"),
)

# Whole voices that no training set may hear: men and women, of the numbered and of the named ones. A named family
# (iven to iven4, steph to steph3) is on one side only, as its members differ little.
HELD_OUT_VARIANTS = (
    *("m3", "m7", "f2", "f5", "Annie", "Mario", "Michael", "belinda", "david", "grandpa", "linda"),
    *("miguel", "quincy", "steph", "steph2", "steph3", "victor"),
)

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE, _PARAMETER_PITCH = 1, 3
_LONGEST_PATH = 140  # characters; espeak-ng cuts its data path at 160, with no error

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Who speaks: a language of espeak-ng, a variant (`VARIANTS`), pitch 0..99 and rate in words a minute 80..450.

    `tract` is the length of the vocal tract relative to the variant's: the sound is slowed by it, which lowers formants
    and pitch alike, so that one variant gives many people (vocal tract length perturbation, Jaitly and Hinton 2013).
    """

    language: str = "en"
    variant: str = "m1"
    pitch: int = 50
    rate: int = 165
    tract: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.pitch <= 99:
            raise TonyError(f"Voice.pitch is {self.pitch}: give 0 to 99")
        if not 80 <= self.rate <= 450:
            raise TonyError(f"Voice.rate is {self.rate}: give 80 to 450 words a minute")
        if not 0.5 <= self.tract <= 2:
            raise TonyError(f"Voice.tract is {self.tract}: give 0.5 to 2")

    @property
    def name(self) -> str:
        """A short name that tells this voice from every other, for file names and reports."""
        tract = f"+{self.tract:g}" if self.tract != 1 else ""
        return f"{self.language}+{self.variant.replace(' ', '_')}+{self.pitch}+{self.rate}{tract}"


def voices(
    language: str, split: Literal["train", "heldout"] = "train", *, per_variant: int = 1, seed: int = 0
) -> tuple[Voice, ...]:
    """The voices of one language and split: every variant of the split, `per_variant` pitches and rates of each.

    Pitch is drawn from 30 to 70 and rate from 130 to 200 words a minute; all training voices but the first of a variant
    have another vocal tract as well, of .85 to 1.18 of its length. A pure function of its arguments; the first
    voices do not change when `per_variant` grows. No variant is in both splits.
    """
    if split not in ("train", "heldout"):
        raise TonyError(f"split is {split!r}: use 'train' or 'heldout'")
    variants = [v for v in VARIANTS if (v in HELD_OUT_VARIANTS) == (split == "heldout")]
    chosen: dict[Voice, None] = {}  # ordered, and no voice twice
    for turn in range(per_variant):
        for variant in variants:
            draw = np.random.default_rng([seed, turn, VARIANTS.index(variant), *language.encode()])
            while True:
                pitch, rate = int(draw.integers(30, 71)), int(draw.integers(130, 201))
                tract = 1.0
                if turn and split == "train":
                    tract = round(float(np.exp(draw.uniform(-0.16, 0.16))), 3)
                voice = Voice(language=language, variant=variant, pitch=pitch, rate=rate, tract=tract)
                if voice not in chosen:
                    break
            chosen[voice] = None
    return tuple(chosen)


def speak(text: str, voice: Voice | None = None) -> Audio:
    """The text spoken by `voice`, at 16 kHz: silence trimmed to 10 ms at both ends, RMS 0.1, peak at most 0.95.

    Bit-identical for the same text and voice on one machine. Safe to call from threads (they take turns).
    Raises TonyError where there is nothing to speak, or no such language or variant.
    """
    voice = voice or Voice()
    if not text.strip():
        raise TonyError("there is no text to speak: give at least one word")
    if voice.variant not in _shipped_variants():
        raise TonyError(f"Voice.variant is {voice.variant!r}: use one of tony.data.speech.VARIANTS")
    raw = _synthesize(text, voice)
    samples = soxr.resample(raw.astype(np.float32) / 32768, ESPEAK_RATE / voice.tract, RATE, "HQ")
    samples = _trim(samples)
    if not len(samples):
        raise TonyError(f"espeak-ng made no sound of {text!r}: give words of the language {voice.language!r}")
    rms, peak = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), float(np.abs(samples).max())
    return Audio((samples * min(0.1 / rms, 0.95 / peak)).astype(np.float32), RATE)


def _trim(samples: np.ndarray) -> np.ndarray:
    """The samples from 10 ms before the first to 10 ms after the last that is within 40 dB of the peak."""
    if not len(samples) or not np.abs(samples).max() > 0:
        return samples[:0]
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    pad = RATE // 100
    return samples[max(0, loud[0] - pad) : loud[-1] + 1 + pad]


def _synthesize(text: str, voice: Voice) -> np.ndarray:
    """The int16 samples at 22,050 Hz that a newly loaded espeak-ng makes of the text."""
    chunks: list[np.ndarray] = []

    def collect(samples, count: int, _events) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _Callback(collect)
    message = text.encode() + b"\0"
    with _lock:
        library = _load(_folder_with(os.getpid(), voice.language, voice.variant))
        try:
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(f"{voice.language}+{voice.variant}".encode()) != 0:
                raise _unknown_language(voice.language)
            library.espeak_SetParameter(_PARAMETER_RATE, voice.rate, 0)
            library.espeak_SetParameter(_PARAMETER_PITCH, voice.pitch, 0)
            status = library.espeak_Synth(
                message, len(message), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
            )
            if status != 0:
                raise TonyError(f"espeak-ng refused to speak {text!r} (status {status}): give plain words")
            library.espeak_Synchronize()
        finally:
            library.espeak_Terminate()
            _unload(library)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)


def _load(folder: str) -> ctypes.CDLL:
    """With its data in `folder`, a newly loaded and initialised espeak-ng, its random generators seeded."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_SetSynthCallback.argtypes = [_Callback]
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, folder.encode(), _INITIALIZE_DONT_EXIT)
    if rate != ESPEAK_RATE:
        _unload(library)
        raise TonyError(f"espeak-ng did not start (status {rate}): reinstall espeakng-loader")
    library.espeak_ng_SetRandSeed(1)
    ctypes.CDLL(None).srand(1)
    return library


def _unload(library: ctypes.CDLL) -> None:
    import _ctypes

    _ctypes.dlclose(library._handle)


@cache
def _data() -> Path:
    """Where espeak-ng's data lies."""
    import espeakng_loader

    path = Path(espeakng_loader.get_data_path())
    if not path.is_dir():
        raise TonyError("the data of espeak-ng is missing: reinstall espeakng-loader")
    return path


@cache
def _folder(pid: int) -> Path:
    """Process `pid`'s data folder, until it ends: links to all that is no voice. A forked process has its own.

    All dictionaries are among it: a French text may have an English word, and a missing dictionary is a crash.
    """
    folder = Path(tempfile.mkdtemp(prefix="espeak"))
    # Unlike atexit's functions, these run in worker processes too.
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)
    if len(os.fsencode(folder)) > _LONGEST_PATH:
        raise TonyError(f"{folder}: too long a path for espeak-ng. Set TMPDIR to a shorter one")
    for file in _data().iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    return folder


@cache
def _only(pid: int, kind: str, name: str) -> Path:
    """A folder like espeak-ng's `kind` ("lang" or "voices") with one file of that name in it."""
    is_name = name and Path(name).name == name
    file = next((_data() / kind).rglob(glob.escape(name)), None) if is_name else None
    if file is None or not file.is_file():
        raise _unknown_language(name)
    only = _folder(pid) / "one" / kind / name
    link = only / file.relative_to(_data() / kind)
    link.parent.mkdir(parents=True)
    link.symlink_to(file)
    return only


def _folder_with(pid: int, language: str, variant: str) -> str:
    """The data folder in which espeak-ng now finds one voice."""
    folder = _folder(pid)
    for kind, name in (("lang", language), ("voices", variant)):
        only, link = _only(pid, kind, name), folder / kind
        link.unlink(missing_ok=True)
        link.symlink_to(only)
    return str(folder)


def _unknown_language(language: str) -> TonyError:
    return TonyError(f"espeak-ng has no voice for the language {language!r}: use en, fr, de or es")


@cache
def _shipped_variants() -> frozenset[str]:
    return frozenset(os.listdir(_data() / "voices" / "!v"))
