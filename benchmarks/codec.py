"""How intelligible is speech after 50 ids a second? STOI and ESTOI of Tony's sound codec beside k-means + Griffin-Lim.

    python benchmarks/codec.py [--steps N] [--save FOLDER]

ONE codec of 4,096 codes is trained on two sources, then measured on what it never heard:
- synthetic: espeak-ng in English, French, German and Spanish; held-out voices speak held-out sentences;
- real: Debian's Asterisk prompts (asterisk-core-sounds-XX-g722, CC-BY-SA-3.0, Russian CC-BY-3.0), one professional
  speaker in each of English, Spanish, French, Italian and Russian; held out by the hash of the prompt's name, so that a
  held-out prompt is held out in all languages; a quarter of the others are trained on. The packages are fetched by name
  with apt-get and kept in ~/.cache/tony/debian; nothing of them is stored in the repository.

The peer has the same bit rate (600 bit/s) and the same split: the log-mel spectrum of each 20 ms as one of 4,096 k-means
centres, or as two residual codes of 64, made sound by Griffin-Lim. The peer's window is centred and Griffin-Lim needs
the whole clip, so its delay is unlimited.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

from tony.data.speech import speak, voices
from tony.errors import TonyError
from tony.media import Audio
from tony.tokens.sound import HOP, RATE, SoundCodec, SoundConfig, mel_filters
from tony.train.codecs import train_sound_codec

CACHE = Path.home() / ".cache" / "tony" / "debian"
LANGUAGES = {"en": "en", "es": "es", "fr": "fr", "it": "it", "ru": "ru"}  # of the real prompts
STEPS = 2400
TRAIN_SENTENCES = 1800  # synthetic, of each of four languages

# German has no Asterisk package in Debian: sentences of our own, every combination of three parts.
GERMAN = (
    ("Bitte", "Jetzt", "Heute Abend", "Um acht Uhr", "Zum Schluss", "Morgen", "Nach dem Essen", "Vielleicht"),
    ("hoeren wir", "suchen die Kinder", "oeffnet der Nachbar", "findet meine Schwester", "zeigen sie uns"),
    (
        "das alte Haus",
        "einen kurzen Weg",
        "die neue Nummer",
        "siebzehn Briefe",
        "ein schoenes Bild",
        "zwei Voegel",
    ),
)


@dataclass(frozen=True)
class Split:
    """Clips to train on, and clips to measure on by group ("synthetic en", "real fr", ...)."""

    train: list[Audio]
    test: dict[str, list[Audio]]


def fetch(language: str) -> Path:
    """The folder where one language's prompts and transcripts are unpacked, fetched from Debian if need be."""
    target = CACHE / "unpacked" / language
    if (target / "done").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    for package in (f"asterisk-core-sounds-{language}-g722", f"asterisk-core-sounds-{language}"):
        found = sorted(CACHE.glob(f"{package}_*.deb"))
        if not found:
            for command in (
                ["apt-get", "download", package],
                ["apt-get", "update"],
                ["apt-get", "download", package],
            ):
                done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False)
                found = sorted(CACHE.glob(f"{package}_*.deb"))
                if found:
                    break
        if not found:
            raise TonyError(
                f"the package {package} cannot be fetched ({done.stderr.strip()[-200:]}): it needs Debian's apt-get"
            )
        subprocess.run(["dpkg-deb", "-x", found[-1], target], check=True)
    (target / "done").touch()
    return target


def transcripts(language: str) -> dict[str, str]:
    """What is said in each prompt, by its name; tones and silences, written in brackets, are left out."""
    (path,) = fetch(language).rglob("core-sounds-*.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode("utf-8", "replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith(";"))
    return {
        name.strip(): text.strip() for name, text in pairs if text.strip() and text.strip()[0] not in "[<("
    }


def is_test(name: str) -> bool:
    """Whether a prompt (of any language) is held out: a twelfth of the names are."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 12 == 0


def real_prompts(language: str) -> dict[str, Audio]:
    """The prompts of one language with speech in them, by name, trimmed and of RMS 0.1 as `speak` gives them."""
    import av

    spoken, clips = transcripts(language), {}
    for path in sorted(fetch(language).rglob("*.g722")):
        name = str(
            path.relative_to(next(p for p in path.parents if p.parent.name == "sounds")).with_suffix("")
        )
        if name not in spoken:
            continue
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        samples = np.concatenate(frames).astype(np.float32) / 32768
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max(initial=0))
        if len(loud):
            samples = samples[max(0, loud[0] - RATE // 50) : loud[-1] + RATE // 50]
            rms, peak = float(np.sqrt(np.mean(samples**2))), float(np.abs(samples).max())
            clips[name] = Audio((samples * min(0.1 / rms, 0.95 / peak)).astype(np.float32), RATE)
    return clips


def sentences(language: str) -> dict[str, str]:
    if language == "de":
        whole = [" ".join((a, b, c)) for a in GERMAN[0] for b in GERMAN[1] for c in GERMAN[2]]
        whole = [s.replace("oe", "\u00f6") for s in whole]
        return {s: s for s in whole}
    return {name: text for name, text in transcripts(language).items() if len(text) > 12}


def gather(train_per_language: int, test_per_language: int) -> Split:
    """The split: real prompts, and the same sentences (and German ones) spoken by espeak-ng."""
    rng = np.random.default_rng(0)
    train: list[Audio] = []
    test: dict[str, list[Audio]] = {}
    for language in LANGUAGES:
        clips = real_prompts(language)
        # Every fourth prompt: five speakers are soon learnt, and the many voices of the other source are not.
        train += [clip for name, clip in clips.items() if not is_test(name)][::4]
        heldout = [clip for name, clip in clips.items() if is_test(name) and 0.8 < clip.seconds < 12]
        test[f"real {language}"] = heldout[:test_per_language]
    for language in ("en", "fr", "de", "es"):
        texts = sentences(language)
        for split, count in (("train", train_per_language), ("heldout", test_per_language)):
            names = sorted(name for name in texts if is_test(name) == (split == "heldout"))
            speakers = voices(language, split, per_variant=6)
            clips = []
            for _ in range(count):
                name = names[int(rng.integers(len(names)))]
                clip = speak(" ".join(texts[name].split()[:14]), speakers[int(rng.integers(len(speakers)))])
                if split == "train" or clip.seconds > 0.8:
                    clips.append(clip)
            if split == "train":
                train += clips
            else:
                test[f"synthetic {language}"] = clips
    return Split(train, test)


@dataclass(frozen=True)
class Scores:
    """Means over clips, by group: STOI and ESTOI (pystoi, higher is better), log-mel distance in dB (lower is)."""

    stoi: dict[str, float]
    estoi: dict[str, float]
    mel_db: dict[str, float]
    clips: dict[str, int]


def log_mel(samples: np.ndarray, window: int = 512, hop: int = HOP) -> np.ndarray:
    """The log-mel spectrum (frames, 64) of centred windows, natural logarithm of power."""
    padded = np.pad(samples, (window // 2, window // 2 + hop))
    starts = np.arange(-(-len(samples) // hop)) * hop
    windows = padded[starts[:, None] + np.arange(window)] * np.hanning(window + 1)[:-1]
    power = np.abs(np.fft.rfft(windows)) ** 2
    return np.log(power @ mel_filters(64, window).numpy() + 1e-5)


def score(copies: dict[str, list[np.ndarray]], originals: dict[str, list[Audio]]) -> Scores:
    """STOI, ESTOI and mel distance of copies, by group and for all synthetic and all real clips together."""
    from pystoi import stoi

    rows: dict[str, list[tuple[float, float, float]]] = {}
    for group, clips in originals.items():
        for copy, clip in zip(copies[group], clips, strict=True):
            clean, made = clip.samples.astype(np.float64), copy[: len(clip.samples)].astype(np.float64)
            distance = 4.343 * float(np.abs(log_mel(clean) - log_mel(made)).mean())
            row = stoi(clean, made, RATE, False), stoi(clean, made, RATE, True), distance
            for name in (group, group.split()[0]):
                rows.setdefault(name, []).append(row)
    means = {name: np.mean(values, axis=0) for name, values in rows.items()}
    columns = [{name: round(float(mean[i]), 4) for name, mean in means.items()} for i in range(3)]
    return Scores(*columns, {name: len(values) for name, values in rows.items()})


def perplexity(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


# --- the peer: k-means codes of the log-mel spectrum, Griffin-Lim ---------------------------------------------------


def griffin_lim(mels: np.ndarray, iterations: int = 32) -> np.ndarray:
    """Samples (frames * 320,) whose log-mel spectrum is about `mels` (frames, 64); fast Griffin-Lim, momentum .99."""
    window, hop, fine = 512, HOP, 4
    import torch

    # Four times as many frames, by interpolation: windows 5 ms apart overlap enough for Griffin-Lim.
    frames = np.arange(len(mels) * fine) / fine
    dense = np.stack([np.interp(frames, np.arange(len(mels)), band) for band in mels.T], axis=1)
    filters = mel_filters(64, window).numpy()
    spread = filters / np.maximum(
        filters.sum(1, keepdims=True), 1e-6
    )  # each frequency takes its bands' power
    magnitude = torch.from_numpy(np.sqrt(np.exp(dense) @ spread.T).T)  # (F, frames)
    shape = torch.hann_window(window, dtype=torch.float64)
    options = {"n_fft": window, "hop_length": hop // fine, "window": shape}
    generator = torch.Generator().manual_seed(0)
    phase = torch.rand(magnitude.shape, generator=generator, dtype=torch.float64) * 2 * np.pi
    guess, before = torch.polar(magnitude, phase), torch.zeros_like(magnitude, dtype=torch.complex128)
    length = (magnitude.shape[1] - 1) * hop // fine
    for _ in range(iterations):
        waves = torch.istft(guess, **options, length=length)
        rebuilt = torch.stft(waves, **options, return_complex=True)
        pushed = rebuilt + 0.99 / 1.99 * (rebuilt - before)
        before = rebuilt
        guess = magnitude * pushed / pushed.abs().clamp(min=1e-9)
    samples = torch.istft(guess, **options, length=length).numpy()
    return np.pad(samples, (0, len(mels) * hop - len(samples)))


class KMeansPeer:
    """Log-mel frames as one or more residual k-means codes a frame."""

    def __init__(self, clips: list[Audio], sizes: tuple[int, ...]) -> None:
        from sklearn.cluster import MiniBatchKMeans

        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(clips))[:1500]
        frames = np.concatenate([log_mel(clips[i].samples) for i in chosen])
        frames = frames[rng.permutation(len(frames))[:150_000]]
        self.books = []
        for size in sizes:
            book = MiniBatchKMeans(size, random_state=0, n_init=1, batch_size=8192, max_iter=15).fit(frames)
            self.books.append(book)
            frames = frames - book.cluster_centers_[book.predict(frames)]

    def copy(self, clip: Audio) -> np.ndarray:
        left = log_mel(clip.samples)
        found = np.zeros_like(left)
        for book in self.books:
            step = book.cluster_centers_[book.predict(left)]
            found, left = found + step, left - step
        return griffin_lim(found)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--save", type=Path, help="keep the trained codec in this folder")
    chosen = options.parse_args()
    started = time.perf_counter()
    split = gather(train_per_language=TRAIN_SENTENCES, test_per_language=24)
    seconds = sum(clip.seconds for clip in split.train)
    print(
        f"{len(split.train)} training clips, {seconds / 60:.0f} min; made in {time.perf_counter() - started:.0f} s"
    )

    def progress(step: int, steps: int, terms: dict[str, float]) -> None:
        if step % 100 == 0 or step == steps:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in terms.items())
            print(f"step {step}/{steps}  {time.perf_counter() - started:.0f} s  {shown}", flush=True)

    started = time.perf_counter()
    codec = train_sound_codec(split.train, SoundConfig(), chosen.steps, 0, progress=progress)
    train_seconds = time.perf_counter() - started
    if chosen.save:
        codec.save(chosen.save)

    started = time.perf_counter()
    counts, ours = np.zeros(codec.size), {}
    for group, clips in split.test.items():
        ids = [codec.encode(clip) for clip in clips]
        counts += np.bincount(np.concatenate(ids), minlength=codec.size)
        ours[group] = [codec.decode(row).samples for row in ids]
    real_time = (time.perf_counter() - started) / sum(
        c.seconds for clips in split.test.values() for c in clips
    )
    table = {"tony": score(ours, split.test)}

    for name, sizes in (("kmeans 4096", (4096,)), ("kmeans 64x64", (64, 64))):
        started = time.perf_counter()
        peer = KMeansPeer(split.train, sizes)
        fit_seconds = time.perf_counter() - started
        copies = {group: [peer.copy(clip) for clip in clips] for group, clips in split.test.items()}
        table[f"{name} + Griffin-Lim"] = score(copies, split.test)
        print(f"{name}: fitted in {fit_seconds:.0f} s")

    print(f"\n{'600 bit/s, 50 ids/s':28}" + "".join(f"{g:>16}" for g in table["tony"].stoi))
    for name, scores in table.items():
        for measure in ("stoi", "estoi", "mel_db"):
            row = getattr(scores, measure)
            print(
                f"{name if measure == 'stoi' else '':20}{measure:>8}"
                + "".join(f"{v:16.3f}" for v in row.values())
            )
    estoi = table["tony"].estoi
    ok = (
        estoi["synthetic"] >= 0.78
        and estoi["real"] >= 0.66
        and SoundCodec.look_ahead_ms <= 20
        and train_seconds <= 240
        and codec.size == 4096
    )
    figures = {
        "benchmark": "codec",
        "codes": codec.size,
        "look_ahead_ms": codec.look_ahead_ms,
        "latency_ms": codec.latency_ms,
        "steps": chosen.steps,
        "train_seconds": round(train_seconds, 1),
        "clips": table["tony"].clips,
        "codes_used": int((counts > 0).sum()),
        "perplexity": round(perplexity(counts), 1),
        "real_time_factor": round(real_time, 4),
        "scores": {n: {"stoi": s.stoi, "estoi": s.estoi, "mel_db": s.mel_db} for n, s in table.items()},
        "ok": bool(ok),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    try:
        main()
    except TonyError as error:
        sys.exit(f"codec.py: {error}")
